//! Subscriptions to heads.
//!
//! Finality is instant, so the same heads come as new and as finalized; on one connection a block's new head comes
//! before its finalized head.

use super::{Context, End, Module, Registered, Subscriber, closing};
use crate::error::{Code, RpcError};
use crate::heads::{HeadCursor, HeadItem};
use crate::params::{Args, HeightArg};
use cairn_primitives::Height;
use jsonrpsee::core::SubscriptionError;
use jsonrpsee::server::PendingSubscriptionSink;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn register(module: &mut Module) -> Registered {
    for (subscribe, notification, unsubscribe) in [
        ("chain_subscribeNewHeads", "chain_newHead", "chain_unsubscribeNewHeads"),
        ("chain_subscribeAllHeads", "chain_allHead", "chain_unsubscribeAllHeads"),
    ] {
        module.register_subscription(subscribe, notification, unsubscribe, |_, pending, context, _| {
            new_heads(pending, context)
        })?;
    }
    let (subscribe, unsubscribe) = ("chain_subscribeFinalizedHeads", "chain_unsubscribeFinalizedHeads");
    module.register_subscription(subscribe, "chain_finalizedHead", unsubscribe, |_, pending, context, _| {
        finalized_heads(pending, context)
    })?;
    for (alias, name) in [
        ("chain_subscribeNewHead", "chain_subscribeNewHeads"),
        ("subscribe_newHead", "chain_subscribeNewHeads"),
        ("chain_unsubscribeNewHead", "chain_unsubscribeNewHeads"),
        ("unsubscribe_newHead", "chain_unsubscribeNewHeads"),
        ("chain_subscribeFinalisedHeads", subscribe),
        ("chain_unsubscribeFinalisedHeads", unsubscribe),
    ] {
        module.register_alias(alias, name)?;
    }
    module.register_subscription(
        "cairn_subscribeBlocks",
        "cairn_block",
        "cairn_unsubscribeBlocks",
        |params, pending, context, _| async move {
            match Args::new(&params).and_then(|mut args| block_params(&context, &mut args)) {
                Ok((start, detail)) => blocks(pending, context, start, detail).await,
                Err(error) => {
                    pending.reject(error).await;
                    Ok(())
                }
            }
        },
    )?;
    Ok(())
}

async fn new_heads(pending: PendingSubscriptionSink, context: Arc<Context>) -> Result<(), SubscriptionError> {
    // Registered before the client can know of the subscription, so that no finalized head overtakes its new head.
    let progress = context.order.register(pending.connection_id().0);
    let mut cursor = context.feed.cursor(None);
    let Ok(sink) = pending.accept().await else { return Ok(()) };
    let subscriber = Subscriber::new(sink, context);
    closing(
        async {
            loop {
                let item = next(&subscriber, &mut cursor).await?;
                subscriber.send(item.json.clone()).await?;
                progress.sent(item.head.height);
            }
        }
        .await,
    )
}

async fn finalized_heads(pending: PendingSubscriptionSink, context: Arc<Context>) -> Result<(), SubscriptionError> {
    let connection = pending.connection_id().0;
    let mut cursor = context.feed.cursor(None);
    let Ok(sink) = pending.accept().await else { return Ok(()) };
    let subscriber = Subscriber::new(sink, Arc::clone(&context));
    closing(
        async {
            loop {
                let item = next(&subscriber, &mut cursor).await?;
                tokio::select! {
                    () = context.order.wait(connection, item.head.height) => {}
                    () = subscriber.sink.closed() => return Err(End::Gone),
                }
                subscriber.send(item.json.clone()).await?;
            }
        }
        .await,
    )
}

/// The next head, unless the client leaves first.
pub(super) async fn next(subscriber: &Subscriber, cursor: &mut HeadCursor) -> Result<Arc<HeadItem>, End> {
    tokio::select! {
        () = subscriber.sink.closed() => Err(End::Gone),
        item = cursor.next() => match item {
            Some(item) => item.map_err(End::Failed),
            None => Err(End::Gone),
        },
    }
}

/// How much of each block a subscriber gets.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Detail {
    /// The header.
    Header,
    /// The header and the hashes of the extrinsics.
    Hashes,
}

fn block_params(context: &Context, args: &mut Args<'_>) -> Result<(Option<Height>, Detail), RpcError> {
    let start = args.optional::<HeightArg>("fromHeight")?.map(|HeightArg(height)| height);
    let detail = args.optional::<Detail>("detail")?.unwrap_or(Detail::Header);
    context.check_start(start)?;
    Ok((start, detail))
}

async fn blocks(
    pending: PendingSubscriptionSink,
    context: Arc<Context>,
    start: Option<Height>,
    detail: Detail,
) -> Result<(), SubscriptionError> {
    let mut cursor = context.feed.cursor(start);
    let Ok(sink) = pending.accept().await else { return Ok(()) };
    let subscriber = Subscriber::new(sink, Arc::clone(&context));
    closing(
        async {
            loop {
                let item = next(&subscriber, &mut cursor).await?;
                subscriber.send(block_message(&context, &item, detail)?).await?;
            }
        }
        .await,
    )
}

fn block_message(context: &Context, item: &HeadItem, detail: Detail) -> Result<Box<RawValue>, RpcError> {
    let mut message = json!({
        "height": item.head.height.0,
        "hash": item.head.hash.to_string(),
        "timestampMs": item.header.context().ok().map(|context| context.timestamp.0),
        "header": &*item.json,
    });
    if detail == Detail::Hashes {
        let block = context.chain.block(&item.head.hash)?.ok_or_else(|| RpcError::new(Code::Internal))?;
        let hashes = block.block.extrinsics.iter().map(|extrinsic| Value::from(extrinsic.hash().to_string()));
        if let Some(fields) = message.as_object_mut() {
            fields.insert("extrinsicHashes".to_owned(), hashes.collect());
        }
    }
    serde_json::value::to_raw_value(&message).map_err(|_| RpcError::new(Code::Internal))
}
