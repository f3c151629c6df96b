//! `cairn_*`: validators, the node, and batches of transactions.
//!
//! Amounts and power are decimal text: JavaScript's numbers end at 2^53.

use super::{Context, Module, Registered, asking, quick, waiting};
use crate::error::{Code, RpcError};
use crate::params::{Args, BatchItem, BlockArg};
use crate::ports::PlannedUpgrade;
use cairn_primitives::Hash;
use cairn_verifier::SetAnswer;
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn register(module: &mut Module) -> Registered {
    quick(module, "cairn_validators", &[], |context, args| {
        let at = block_or_head(context, args)?;
        let (epoch, set) = context.chain.validators(&at).map_err(|error| RpcError::read(error, &at))?;
        Ok(SetAnswer::new(epoch, &set, Some(at)))
    })?;
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

fn register_node(module: &mut Module) -> Registered {
    asking(module, "cairn_nodeInfo", |context| async move {
        let (head, node) = (context.chain.head(), context.node.identity());
        let properties = &node.properties;
        let upgrade = |upgrade: &PlannedUpgrade| json!({ "height": upgrade.height.0, "specVersion": upgrade.spec_version, "known": upgrade.known });
        Ok(json!({
            "chain": node.chain, "chainId": node.chain_id, "chainType": node.chain_type, "properties": properties,
            "genesisHash": context.chain.genesis_hash().to_string(),
            "name": node.node_name, "version": node.node_version, "role": node.role, "peerId": node.peer_id,
            "startedAtMs": context.node.started_at().0,
            "listenAddresses": context.node.listen_addresses().await,
            "health": context.node.health().await,
            "head": { "height": head.height.0, "hash": head.hash.to_string() },
            "upgrades": node.upgrades.iter().map(upgrade).collect::<Vec<_>>(),
        }))
    })?;
    asking(module, "cairn_consensusState", |context| async move { Ok(context.node.consensus_state().await) })?;
    asking(module, "cairn_whyNoBlock", |context| async move { Ok(context.node.why_no_block().await) })?;
    asking(module, "cairn_peers", |context| async move { Ok(context.node.peers().await) })?;
    asking(module, "cairn_bannedPeers", |context| async move { Ok(context.node.banned_peers().await) })?;
    asking(module, "cairn_databaseStats", |context| async move { Ok(context.node.database_stats().await) })?;
    asking(module, "cairn_createSnapshot", |context| async move { Ok(context.node.create_snapshot().await) })?;
    asking(module, "cairn_snapshotState", |context| async move { Ok(context.node.snapshot_state().await) })?;
    asking(module, "cairn_syncState", |context| async move { Ok(context.node.sync_state().await) })?;
    asking(module, "cairn_mempool", |context| async move { Ok(context.transactions.status().await) })
}

/// The block a request names by hash or height, or the head.
pub(super) fn block_or_head(context: &Context, args: &mut Args<'_>) -> Result<Hash, RpcError> {
    match args.optional::<BlockArg>("at")? {
        None => Ok(context.chain.head().hash),
        Some(block) => known_block(context, block),
    }
}

/// The hash of a block; one that is given by its hash is not looked for.
pub(super) fn known_block(context: &Context, block: BlockArg) -> Result<Hash, RpcError> {
    match block {
        BlockArg::Hash(hash) => Ok(hash),
        BlockArg::Height(height) => {
            let detail = || RpcError::with_detail(Code::UnknownBlock, format!("no block at height {height} yet"));
            context.chain.block_hash(height)?.ok_or_else(detail)
        }
    }
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
