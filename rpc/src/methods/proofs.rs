//! `cairn_get*`: answers that prove themselves, in the shapes of `cairn_verifier`.

use super::cairn::{block_or_head, known_block};
use super::{Context, Module, Registered, expensive};
use crate::error::{Code, RpcError};
use crate::json::to_hex;
use crate::params::{Args, BlockArg, HashArg, Key};
use crate::ports::{EventEntry, ReadError, TransactionLocation};
use cairn_primitives::list_tree::prove_place;
use cairn_primitives::{Block, Epoch, Hash, Header, Height};
use cairn_verifier::{
    BlockAnswer, Bytes, Encoded, EventAnswer, Finality, FinalityAnswer, HANDOVERS_MAX, Handover, HashText,
    HistoryAnswer, ItemAnswer, LINKS_MAX, ProofAnswer, SetAnswer, TransactionAnswer,
};
use parity_scale_codec::Encode;
use serde_json::{Value, json};

/// A block that is to be proved, and the later block in whose history it is to be shown, if one is named.
#[derive(Clone, Copy)]
struct Wanted {
    at: Hash,
    under: Option<Hash>,
}

pub(super) fn register(module: &mut Module) -> Registered {
    expensive(
        module,
        "cairn_getProof",
        &[],
        |context, args| {
            let keys = args.required::<Vec<Key>>("keys")?;
            context.check_keys(keys.len())?;
            let keys = keys.into_iter().map(|Key(key)| key).collect();
            let at = block_or_head(context, args)?;
            Ok((keys, Wanted { at, under: under(context, args)? }))
        },
        |context, (keys, wanted): (Vec<Vec<u8>>, Wanted)| get_proof(context, keys, wanted),
    )?;
    expensive(
        module,
        "cairn_getFinality",
        &[],
        |context, args| {
            let at = block_or_head(context, args)?;
            let from = args.optional::<u64>("fromEpoch")?.map(Epoch);
            Ok((from, Wanted { at, under: under(context, args)? }))
        },
        |context, (from, wanted): (Option<Epoch>, Wanted)| get_finality(context, from, wanted),
    )?;
    expensive(
        module,
        "cairn_getTransaction",
        &[],
        |_, args| args.required::<HashArg>("hash").map(|HashArg(hash)| hash),
        |context, hash: Hash| get_transaction(context, &hash),
    )?;
    expensive(
        module,
        "cairn_getTransactionProof",
        &[],
        |context, args| {
            let HashArg(hash) = args.required("hash")?;
            Ok((hash, under(context, args)?))
        },
        |context, (hash, under): (Hash, Option<Hash>)| get_transaction_proof(context, &hash, under),
    )?;
    expensive(
        module,
        "cairn_getEventProof",
        &[],
        |context, args| {
            let at = known_block(context, args.required::<BlockArg>("block")?)?;
            let index = args.required::<u32>("index")?;
            Ok((index, Wanted { at, under: under(context, args)? }))
        },
        |context, (index, wanted): (u32, Wanted)| get_event_proof(context, index, wanted),
    )
}

/// The block in whose history another is to be shown.
fn under(context: &Context, args: &mut Args<'_>) -> Result<Option<Hash>, RpcError> {
    args.optional::<BlockArg>("under")?.map(|block| known_block(context, block)).transpose()
}

fn known_header(context: &Context, at: &Hash) -> Result<Header, RpcError> {
    context.chain.header(at)?.ok_or_else(|| ReadError::UnknownBlock(*at).into())
}

/// What is missing though a record that is there points to it.
fn lost() -> RpcError {
    RpcError::new(Code::Internal)
}

fn get_proof(context: &Context, keys: Vec<Vec<u8>>, wanted: Wanted) -> Result<ProofAnswer, RpcError> {
    let header = known_header(context, &wanted.at)?;
    let proofs = context.chain.prove(&wanted.at, &keys).map_err(|error| RpcError::read(error, &wanted.at))?;
    let items = keys.into_iter().zip(proofs).map(|(key, proof)| ItemAnswer {
        value: proof.value().map(|value| Bytes(value.to_vec())),
        ics23: Bytes(proof.to_ics23(&key)),
        proof: Encoded(proof),
        key: Bytes(key),
    });
    let items = items.collect();
    Ok(ProofAnswer { items, finality: finality(context, &header, wanted)?, block: BlockAnswer::new(header, wanted.at) })
}

fn get_finality(context: &Context, from: Option<Epoch>, wanted: Wanted) -> Result<FinalityAnswer, RpcError> {
    let header = known_header(context, &wanted.at)?;
    let finality = finality(context, &header, wanted)?;
    let mut handovers = Vec::new();
    if let Some(from) = from {
        let signed = wanted.under.unwrap_or(wanted.at);
        let (to, _) = context.chain.validators(&signed).map_err(|error| RpcError::read(error, &signed))?;
        for epoch in (from.0..to.0).take(HANDOVERS_MAX) {
            handovers.push(handover(context, Epoch(epoch))?);
        }
    }
    Ok(FinalityAnswer { block: BlockAnswer::new(header, wanted.at), finality, handovers })
}

/// What shows that an epoch that has ended handed over to the next.
fn handover(context: &Context, epoch: Epoch) -> Result<Handover, RpcError> {
    let handover = context.chain.handover(epoch)?.ok_or_else(lost)?;
    let hash = handover.closing.hash();
    Ok(Handover {
        epoch: epoch.0,
        closing: BlockAnswer::new(handover.closing, hash),
        certificate: Encoded(handover.finalization),
        next: SetAnswer::new(epoch.next(), &handover.validators, None),
    })
}

/// What proves a block final: the certificate of its own finalization, or of the first descendant that has one together
/// with the headers in between; of the later block, if the block is to be shown in its history. `None` for genesis, which
/// is trusted by its hash.
fn finality(context: &Context, header: &Header, wanted: Wanted) -> Result<Option<Finality>, RpcError> {
    let Some(under) = wanted.under else {
        return certified(context, header, wanted.at, None);
    };
    let later = known_header(context, &under)?;
    let proof = Encoded(context.chain.prove_history(header.height(), later.height())?);
    let history = HistoryAnswer { under: BlockAnswer::new(later.clone(), under), proof };
    certified(context, &later, under, Some(history))
}

fn certified(
    context: &Context,
    header: &Header,
    at: Hash,
    history: Option<HistoryAnswer>,
) -> Result<Option<Finality>, RpcError> {
    if header.height() == Height::ZERO {
        return Ok(None);
    }
    let not_final = || RpcError::new(Code::NotFinal);
    let (finalized, certificate) = context.chain.finalization_for(header.height())?.ok_or_else(not_final)?;
    let distance = finalized.number.checked_sub(header.number).and_then(|distance| usize::try_from(distance).ok());
    let distance = distance.filter(|distance| *distance <= LINKS_MAX).ok_or_else(not_final)?;
    let mut links = Vec::new();
    let mut height = header.height();
    for _ in 0..distance {
        height = height.next();
        let hash = context.chain.block_hash(height)?.ok_or_else(not_final)?;
        links.push(Encoded(known_header(context, &hash)?));
    }
    let hash = HashText(if distance == 0 { at } else { finalized.hash() });
    Ok(Some(Finality { history, height: finalized.number, hash, links, certificate: Encoded(certificate) }))
}

/// Where a transaction is; `None` if it is in no block.
fn located(context: &Context, hash: &Hash) -> Result<Option<(TransactionLocation, Hash, Block)>, RpcError> {
    let Some(location) = context.chain.transaction(hash)? else { return Ok(None) };
    let at = context.chain.block_hash(location.height)?.ok_or_else(lost)?;
    let block = context.chain.block(&at)?.ok_or_else(lost)?.block;
    Ok(Some((location, at, block)))
}

fn get_transaction(context: &Context, hash: &Hash) -> Result<Value, RpcError> {
    let Some((location, at, block)) = located(context, hash)? else { return Ok(Value::Null) };
    let place = usize::try_from(location.index).map_err(|_| lost())?;
    let extrinsic = block.extrinsics.get(place).ok_or_else(lost)?;
    let entries = context.chain.event_records(&at)?.ok_or_else(lost)?;
    let own = || entries.iter().zip(0u32..).filter(|(entry, _)| entry.extrinsic == Some(location.index));
    let events = own().map(|(entry, index)| json!({ "index": index, "event": to_hex(&entry.record) }));
    Ok(json!({
        "hash": hash.to_string(),
        "blockHash": at.to_string(),
        "height": location.height.0,
        "index": location.index,
        "extrinsic": to_hex(&extrinsic.encode()),
        "success": own().find_map(|(entry, _)| entry.outcome),
        "events": events.collect::<Vec<_>>(),
    }))
}

fn get_transaction_proof(
    context: &Context,
    hash: &Hash,
    under: Option<Hash>,
) -> Result<Option<TransactionAnswer>, RpcError> {
    let Some((location, at, block)) = located(context, hash)? else { return Ok(None) };
    let mut leaves: Vec<_> = block.extrinsics.iter().map(Encode::encode).collect();
    let proof = prove_place(&leaves, location.index.into()).ok_or_else(lost)?;
    let place = usize::try_from(location.index).map_err(|_| lost())?;
    Ok(Some(TransactionAnswer {
        index: location.index,
        extrinsic: Bytes(leaves.swap_remove(place)),
        proof: Encoded(proof),
        finality: finality(context, &block.header, Wanted { at, under })?,
        block: BlockAnswer::new(block.header, at),
    }))
}

fn get_event_proof(context: &Context, index: u32, wanted: Wanted) -> Result<EventAnswer, RpcError> {
    let header = known_header(context, &wanted.at)?;
    let entries = context.chain.event_records(&wanted.at)?.ok_or(ReadError::UnknownBlock(wanted.at))?;
    let mut records: Vec<_> = entries.into_iter().map(|EventEntry { record, .. }| record).collect();
    let Some(proof) = prove_place(&records, index.into()) else {
        return Err(RpcError::invalid_params(format!("index {index}: the block has {} events", records.len())));
    };
    let place = usize::try_from(index).map_err(|_| lost())?;
    Ok(EventAnswer {
        index,
        event: Bytes(records.swap_remove(place)),
        proof: Encoded(proof),
        finality: finality(context, &header, wanted)?,
        block: BlockAnswer::new(header, wanted.at),
    })
}
