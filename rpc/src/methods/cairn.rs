//! `cairn_*`: proofs, finality, validators, the node, and batches of transactions.
//!
//! Amounts and power are decimal text: JavaScript's numbers end at 2^53.

use super::{Context, Module, Registered, asking, expensive, quick, waiting};
use crate::error::{Code, RpcError};
use crate::json::{hex_or_null, to_hex};
use crate::params::{Args, BatchItem, BlockArg, HashArg, Key};
use cairn_primitives::{Epoch, Hash, Header, Height, ValidatorSet};
use parity_scale_codec::Encode;
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The most headers between a block and the descendant whose finalization covers it. Only blocks that became final with a
/// child lack a finalization of their own, so the way is short; beyond it a history proof is due.
const LINK_LEN_MAX: u32 = 256;

pub(super) fn register(module: &mut Module) -> Registered {
    register_chain(module)?;
    register_node(module)?;
    waiting(
        module,
        "cairn_submitBatch",
        &[],
        |context, args| {
            let items = args.required::<Vec<BatchItem>>("extrinsics")?;
            let limit = context.config.submit_batch_len_max;
            if items.len() > limit {
                let detail = format!("{} extrinsics, at most {limit} are allowed in one request", items.len());
                return Err(RpcError::invalid_params(detail));
            }
            Ok(items)
        },
        submit_batch,
    )
}

fn register_chain(module: &mut Module) -> Registered {
    expensive(
        module,
        "cairn_getProof",
        &[],
        |context, args| {
            let keys = args.required::<Vec<Key>>("keys")?;
            context.check_keys(keys.len())?;
            let keys: Vec<_> = keys.into_iter().map(|Key(key)| key).collect();
            Ok((keys, block_or_head(context, args)?))
        },
        |context, (keys, at): (Vec<Vec<u8>>, Hash)| get_proof(context, &keys, &at),
    )?;
    expensive(module, "cairn_getFinality", &[], block_or_head, |context, at: Hash| {
        let header = known_header(context, &at)?;
        Ok(json!({ "block": block_json(&header, &at), "finality": finality(context, &header, &at)? }))
    })?;
    expensive(
        module,
        "cairn_getTransaction",
        &[],
        |_, args| args.required::<HashArg>("hash").map(|HashArg(hash)| hash),
        |context, hash: Hash| {
            let Some(location) = context.chain.transaction(&hash)? else { return Ok(Value::Null) };
            let missing = || RpcError::new(Code::Internal);
            let at = context.chain.block_hash(location.height)?.ok_or_else(missing)?;
            let block = context.chain.block(&at)?.ok_or_else(missing)?.block;
            let place = usize::try_from(location.index).map_err(|_| missing())?;
            let extrinsic = block.extrinsics.get(place).ok_or_else(missing)?;
            Ok(json!({
                "hash": hash.to_string(),
                "blockHash": at.to_string(),
                "height": location.height.0,
                "index": location.index,
                "extrinsic": to_hex(&extrinsic.encode()),
            }))
        },
    )?;
    quick(module, "cairn_validators", &[], |context, args| {
        let at = block_or_head(context, args)?;
        let (epoch, set) = context.chain.validators(&at).map_err(|error| RpcError::read(error, &at))?;
        let mut answer = set_json(epoch, &set);
        if let Some(object) = answer.as_object_mut() {
            object.insert("blockHash".into(), at.to_string().into());
        }
        Ok(answer)
    })?;
    quick(module, "cairn_getEpochHandover", &[], |context, args| {
        let epoch = Epoch(args.required::<u64>("epoch")?);
        let Some(handover) = context.chain.handover(epoch)? else { return Ok(Value::Null) };
        Ok(json!({
            "epoch": epoch.0,
            "closing": block_json(&handover.closing, &handover.closing.hash()),
            "certificate": to_hex(&handover.finalization.encode()),
            "next": set_json(epoch.next(), &handover.validators),
        }))
    })
}

fn set_json(epoch: Epoch, set: &ValidatorSet) -> Value {
    let validators = set.indices().zip(set.validators()).map(|(index, validator)| {
        json!({ "index": index.0, "key": to_hex(&validator.key.0), "power": validator.power.to_string() })
    });
    json!({
        "epoch": epoch.0,
        "hash": set.hash().to_string(),
        "totalPower": set.total_power().to_string(),
        "quorum": set.quorum().to_string(),
        "validators": validators.collect::<Vec<_>>(),
    })
}

fn register_node(module: &mut Module) -> Registered {
    asking(module, "cairn_nodeInfo", |context| async move {
        let (head, node) = (context.chain.head(), context.node.identity());
        let properties = &node.properties;
        Ok(json!({
            "chain": node.chain, "chainId": node.chain_id, "chainType": node.chain_type, "properties": properties,
            "genesisHash": context.chain.genesis_hash().to_string(),
            "name": node.node_name, "version": node.node_version, "role": node.role, "peerId": node.peer_id,
            "startedAtMs": context.node.started_at().0,
            "listenAddresses": context.node.listen_addresses().await,
            "health": context.node.health().await,
            "head": { "height": head.height.0, "hash": head.hash.to_string() },
        }))
    })?;
    asking(module, "cairn_consensusState", |context| async move { Ok(context.node.consensus_state().await) })?;
    asking(module, "cairn_whyNoBlock", |context| async move { Ok(context.node.why_no_block().await) })?;
    asking(module, "cairn_peers", |context| async move { Ok(context.node.peers().await) })?;
    asking(module, "cairn_bannedPeers", |context| async move { Ok(context.node.banned_peers().await) })?;
    asking(module, "cairn_createSnapshot", |context| async move { Ok(context.node.create_snapshot().await) })?;
    asking(module, "cairn_snapshotState", |context| async move { Ok(context.node.snapshot_state().await) })?;
    asking(module, "cairn_syncState", |context| async move { Ok(context.node.sync_state().await) })?;
    asking(module, "cairn_mempool", |context| async move { Ok(context.transactions.status().await) })
}

/// The block a request names by hash or height, or the head.
fn block_or_head(context: &Context, args: &mut Args<'_>) -> Result<Hash, RpcError> {
    match args.optional::<BlockArg>("at")? {
        None => Ok(context.chain.head().hash),
        Some(BlockArg::Hash(hash)) => Ok(hash),
        Some(BlockArg::Height(height)) => {
            let detail = || RpcError::with_detail(Code::UnknownBlock, format!("no block at height {height} yet"));
            context.chain.block_hash(height)?.ok_or_else(detail)
        }
    }
}

fn known_header(context: &Context, at: &Hash) -> Result<Header, RpcError> {
    context.chain.header(at)?.ok_or_else(|| crate::ports::ReadError::UnknownBlock(*at).into())
}

fn block_json(header: &Header, hash: &Hash) -> Value {
    json!({
        "height": header.number,
        "hash": hash.to_string(),
        "stateRoot": header.state_root.to_string(),
        "header": to_hex(&header.encode()),
    })
}

fn get_proof(context: &Context, keys: &[Vec<u8>], at: &Hash) -> Result<Value, RpcError> {
    let header = known_header(context, at)?;
    let proved = context.chain.prove(at, keys).map_err(|error| RpcError::read(error, at))?;
    let items = proved.iter().map(|item| {
        json!({
            "key": to_hex(&item.key),
            "value": hex_or_null(item.value.as_deref()),
            "proof": to_hex(&item.proof),
            "ics23": to_hex(&item.ics23),
        })
    });
    Ok(json!({
        "block": block_json(&header, at),
        "items": items.collect::<Vec<_>>(),
        "finality": finality(context, &header, at)?,
    }))
}

/// What proves a block final: the certificate of its own finalization, or of the first descendant that has one together
/// with the headers from the block's child to that descendant. `null` for genesis, which is trusted by its hash.
fn finality(context: &Context, header: &Header, at: &Hash) -> Result<Value, RpcError> {
    if header.height() == Height::ZERO {
        return Ok(Value::Null);
    }
    let not_final = || RpcError::new(Code::NotFinal);
    let (finalized, certificate) = context.chain.finalization_for(header.height())?.ok_or_else(not_final)?;
    let distance = finalized.number.checked_sub(header.number).filter(|distance| *distance <= LINK_LEN_MAX);
    let distance = distance.ok_or_else(not_final)?;
    let mut links = Vec::new();
    let mut height = header.height();
    for _ in 0..distance {
        height = height.next();
        let hash = context.chain.block_hash(height)?.ok_or_else(not_final)?;
        links.push(to_hex(&known_header(context, &hash)?.encode()));
    }
    let hash = if distance == 0 { *at } else { finalized.hash() };
    Ok(json!({
        "height": finalized.number,
        "hash": hash.to_string(),
        "links": links,
        "certificate": to_hex(&certificate.encode()),
    }))
}

/// What became of one extrinsic of a batch.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
enum Verdict {
    /// The pool took it.
    Hash(String),
    /// It was refused.
    Error(Value),
}

impl From<RpcError> for Verdict {
    fn from(error: RpcError) -> Self {
        Self::Error(error.to_value())
    }
}

/// One verdict for each extrinsic, in their order.
async fn submit_batch(context: Arc<Context>, items: Vec<BatchItem>) -> Result<Vec<Verdict>, RpcError> {
    let mut offered = Vec::with_capacity(items.len());
    let malformed: Vec<Option<String>> =
        items.into_iter().map(|BatchItem(item)| item.map(|extrinsic| offered.push(extrinsic)).err()).collect();
    let mut verdicts = context.transactions.submit(offered).await.into_iter();
    let answer = malformed.into_iter().map(|malformed| match malformed {
        Some(reason) => Ok(RpcError::with_detail(Code::BadFormat, reason).into()),
        None => match verdicts.next() {
            Some(Ok(hash)) => Ok(Verdict::Hash(hash.to_string())),
            Some(Err(error)) => Ok(RpcError::from(error).into()),
            None => Err(RpcError::new(Code::Internal)),
        },
    });
    answer.collect()
}
