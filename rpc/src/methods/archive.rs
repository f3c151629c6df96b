//! `archive_v1_*`: blocks, calls and storage of any block the node keeps.
//!
//! The group is announced on every node: blocks are kept for ever, and state that was pruned here is refused as such.

use super::{Context, End, Module, Registered, Subscriber, closing, expensive, quick};
use crate::error::RpcError;
use crate::json::to_hex;
use crate::params::{Args, Bytes, HashArg, HeightArg, Key};
use crate::ports::{CallError, ReadError};
use crate::storage_query::{Diff, DiffItem, Item, Query};
use cairn_primitives::{Hash, Height};
use jsonrpsee::core::SubscriptionError;
use jsonrpsee::server::PendingSubscriptionSink;
use parity_scale_codec::Encode;
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;

/// The longest name of a runtime function, in bytes.
pub(super) const FUNCTION_NAME_BYTES_MAX: usize = 128;

pub(super) fn register(module: &mut Module) -> Registered {
    quick(module, "archive_v1_finalizedHeight", &[], |context, _| Ok(context.chain.head().height.0))?;
    quick(module, "archive_v1_genesisHash", &[], |context, _| Ok(context.chain.genesis_hash().to_string()))?;
    quick(module, "archive_v1_hashByHeight", &[], |context, args| {
        let HeightArg(height) = args.required("height")?;
        Ok(context.chain.block_hash(height)?.map(|hash| hash.to_string()).into_iter().collect::<Vec<_>>())
    })?;
    quick(module, "archive_v1_header", &[], |context, args| {
        let HashArg(hash) = args.required("hash")?;
        Ok(context.chain.header(&hash)?.map(|header| to_hex(&header.encode())))
    })?;
    expensive(
        module,
        "archive_v1_body",
        &[],
        |_, args| args.required::<HashArg>("hash").map(|HashArg(hash)| hash),
        |context, hash| body(context, &hash),
    )?;
    expensive(
        module,
        "archive_v1_call",
        &[],
        |_, args| {
            let HashArg(hash) = args.required("hash")?;
            Ok((hash, function(args)?, args.required::<Bytes>("callParameters")?.0))
        },
        |context, (hash, function, input): (Hash, String, Vec<u8>)| match context
            .chain
            .runtime_call(&hash, &function, &input)
        {
            Ok(output) => Ok(json!({ "success": true, "value": to_hex(&output) })),
            Err(CallError::Read(ReadError::UnknownBlock(_))) => Ok(Value::Null),
            Err(error) => Ok(json!({ "success": false, "error": RpcError::call(error, &hash).message })),
        },
    )?;
    module.register_subscription(
        "archive_v1_storage",
        "archive_v1_storageEvent",
        "archive_v1_stopStorage",
        |params, pending, context, _| async move {
            match Args::new(&params).and_then(|mut args| storage_params(&context, &mut args)) {
                Ok(query) => storage(pending, context, query).await,
                Err(error) => reject(pending, error).await,
            }
        },
    )?;
    module.register_subscription(
        "archive_v1_storageDiff",
        "archive_v1_storageDiffEvent",
        "archive_v1_stopStorageDiff",
        |params, pending, context, _| async move {
            match Args::new(&params).and_then(|mut args| diff_params(&context, &mut args)) {
                Ok((new, items, old)) => storage_diff(pending, context, new, items, old).await,
                Err(error) => reject(pending, error).await,
            }
        },
    )?;
    Ok(())
}

/// The name of a runtime function.
pub(super) fn function(args: &mut Args<'_>) -> Result<String, RpcError> {
    let function = args.required::<Cow<'_, str>>("function")?;
    if function.len() > FUNCTION_NAME_BYTES_MAX {
        return Err(RpcError::invalid_params("the function's name is too long"));
    }
    Ok(function.into_owned())
}

/// The extrinsics of a block with their length prefixes; `None` for an unknown hash.
pub(super) fn body(context: &Context, hash: &Hash) -> Result<Option<Vec<String>>, RpcError> {
    let block = context.chain.block(hash)?;
    Ok(block.map(|block| block.block.extrinsics.iter().map(|extrinsic| to_hex(&extrinsic.encode())).collect()))
}

/// The items of a storage request. There are no child tries, so nothing is found in one.
pub(super) fn items(context: &Context, args: &mut Args<'_>) -> Result<Vec<Item>, RpcError> {
    let items = args.required::<Vec<Item>>("items")?;
    context.check_keys(items.len())?;
    items.iter().try_for_each(Item::check)?;
    Ok(if args.optional::<Key>("childTrie")?.is_some() { Vec::new() } else { items })
}

fn storage_params(context: &Context, args: &mut Args<'_>) -> Result<Query, RpcError> {
    let HashArg(hash) = args.required("hash")?;
    Ok(Query::new(hash, items(context, args)?))
}

type DiffParams = (Hash, Vec<DiffItem>, Option<Hash>);

fn diff_params(context: &Context, args: &mut Args<'_>) -> Result<DiffParams, RpcError> {
    let HashArg(hash) = args.required("hash")?;
    let items = args.optional::<Vec<DiffItem>>("items")?.unwrap_or_else(|| vec![DiffItem::all()]);
    context.check_keys(items.len())?;
    let previous = args.optional::<HashArg>("previousHash")?.map(|HashArg(hash)| hash);
    Ok((hash, items, previous))
}

async fn reject(pending: PendingSubscriptionSink, error: RpcError) -> Result<(), SubscriptionError> {
    pending.reject(error).await;
    Ok(())
}

/// A found item with the name of its event.
#[derive(Serialize)]
struct Event<T> {
    event: &'static str,
    #[serde(flatten)]
    item: T,
}

async fn storage(
    pending: PendingSubscriptionSink,
    context: Arc<Context>,
    mut query: Query,
) -> Result<(), SubscriptionError> {
    let Ok(sink) = pending.accept().await else { return Ok(()) };
    let subscriber = Subscriber::new(sink, Arc::clone(&context));
    let sent = async {
        while !query.is_done() {
            let step = subscriber.unless_closed(context.heavy(move |context| {
                let found = query.step(&*context.chain)?;
                Ok((query, found))
            }));
            let (rest, found) = step.await??;
            query = rest;
            for item in found {
                subscriber.send_value(&Event { event: "storage", item }).await?;
            }
        }
        subscriber.send_value(&json!({ "event": "storageDone" })).await
    };
    finish(&subscriber, sent.await, "storageError").await
}

async fn storage_diff(
    pending: PendingSubscriptionSink,
    context: Arc<Context>,
    new: Hash,
    items: Vec<DiffItem>,
    old: Option<Hash>,
) -> Result<(), SubscriptionError> {
    let Ok(sink) = pending.accept().await else { return Ok(()) };
    let subscriber = Subscriber::new(sink, Arc::clone(&context));
    let sent = async {
        let old = ancestor(&context, &new, old)?;
        let mut diff = Diff::new(old, new, items);
        while !diff.is_done() {
            let step = subscriber.unless_closed(context.heavy(move |context| {
                let found = diff.step(&*context.chain)?;
                Ok((diff, found))
            }));
            let (rest, found) = step.await??;
            diff = rest;
            for difference in found {
                subscriber.send_value(&difference).await?;
            }
        }
        subscriber.send_value(&json!({ "event": "storageDiffDone" })).await
    };
    finish(&subscriber, sent.await, "storageDiffError").await
}

/// The block that a difference begins from: the one named, which must be older, or the parent; `None` before genesis.
fn ancestor(context: &Context, new: &Hash, old: Option<Hash>) -> Result<Option<Hash>, RpcError> {
    let height = |hash: &Hash| context.chain.height_of(hash)?.ok_or(ReadError::UnknownBlock(*hash));
    let above = height(new)?;
    match old {
        Some(old) if height(&old)? < above => Ok(Some(old)),
        Some(_) => Err(RpcError::invalid_params("`previousHash` is no ancestor of `hash`")),
        None if above == Height::ZERO => Ok(None),
        None => Ok(context.chain.header(new)?.map(|header| header.parent_hash)),
    }
}

/// Ends a subscription: what failed is its last event.
async fn finish(subscriber: &Subscriber, end: Result<(), End>, event: &str) -> Result<(), SubscriptionError> {
    match end {
        Err(End::Failed(error)) if error.code != crate::error::Code::SlowSubscriber => {
            closing(subscriber.send_value(&json!({ "event": event, "error": error.message })).await)
        }
        end => closing(end),
    }
}
