//! `transaction_v1_*` and `transactionWatch_v1_*`: transactions on their way in, as the newer clients send them.
//!
//! A broadcast says nothing about what becomes of the transaction: it is offered to the pool again and again until the
//! client stops it or leaves. A watched one is offered once and its states are told.

use super::{Context, End, Module, Registered, Subscriber, closing, in_session};
use crate::error::{Code, RpcError};
use crate::params::{Args, Bytes, extrinsic};
use crate::ports::{Refusal, StatusStream, SubmitError, TransactionStatus};
use cairn_primitives::{Hash, OpaqueExtrinsic};
use futures::StreamExt;
use jsonrpsee::core::SubscriptionError;
use jsonrpsee::server::PendingSubscriptionSink;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;

/// Blocks after which a broadcast transaction is offered again: the pool may have dropped or not taken it.
const OFFER_EVERY_BLOCKS: u32 = 8;

pub(super) fn register(module: &mut Module) -> Registered {
    in_session(module, "transaction_v1_broadcast", |context, session, args| {
        let Bytes(bytes) = args.required("transaction")?;
        let task = keep_offering(Arc::clone(context), extrinsic(&bytes));
        Ok(session.broadcast(context.config.broadcasts_per_connection_max, task))
    })?;
    in_session(module, "transaction_v1_stop", |_, session, args| {
        let id = args.required::<Cow<'_, str>>("operationId")?;
        if session.stop_broadcast(&id) {
            return Ok(());
        }
        Err(RpcError::invalid_params("no broadcast of this connection has this id"))
    })?;
    module.register_subscription(
        "transactionWatch_v1_submitAndWatch",
        "transactionWatch_v1_watchEvent",
        "transactionWatch_v1_unwatch",
        |params, pending, context, _| async move {
            match Args::new(&params).and_then(|mut args| args.required::<Bytes>("transaction")) {
                Ok(Bytes(bytes)) => watch(pending, context, extrinsic(&bytes)).await,
                Err(error) => {
                    pending.reject(error).await;
                    Ok(())
                }
            }
        },
    )?;
    Ok(())
}

/// Offers a transaction to the pool every few blocks. An invalid one is offered as well, as it may become valid; bytes that
/// are no transaction only wait for the client to stop.
async fn keep_offering(context: Arc<Context>, extrinsic: Result<OpaqueExtrinsic, String>) {
    let Ok(extrinsic) = extrinsic else { return std::future::pending().await };
    let mut cursor = context.feed.cursor(None);
    loop {
        let verdicts = context.transactions.submit(vec![extrinsic.clone()]).await;
        if let Some(Err(SubmitError { refusal: Refusal::AlreadyIncluded, .. })) = verdicts.first() {
            // Final: nothing is left to offer. The id stays until the client stops it.
            return std::future::pending().await;
        }
        for _ in 0..OFFER_EVERY_BLOCKS {
            if !matches!(cursor.next().await, Some(Ok(_))) {
                return;
            }
        }
    }
}

/// The states of a transaction that is offered now, or that the node has already.
async fn offer(context: &Context, extrinsic: OpaqueExtrinsic) -> Result<StatusStream, SubmitError> {
    let hash = extrinsic.hash();
    match context.transactions.submit_and_watch(extrinsic).await {
        Err(SubmitError { refusal: Refusal::AlreadyKnown | Refusal::AlreadyIncluded, .. }) => {}
        states => return states,
    }
    states_of(context, &hash).map_err(|error| SubmitError { refusal: Refusal::Unavailable, detail: error.message })
}

/// The states of a transaction that was offered before: where it is, or what happens next.
pub(super) fn states_of(context: &Context, hash: &Hash) -> Result<StatusStream, RpcError> {
    // Watched before it is looked for: a block that includes it in between is not missed.
    let later = context.transactions.watch(hash);
    let Some(location) = context.chain.transaction(hash)? else {
        return Ok(Box::pin(futures::stream::iter([TransactionStatus::Ready]).chain(later)));
    };
    let block = context.chain.block_hash(location.height)?.ok_or_else(|| RpcError::new(Code::Internal))?;
    Ok(Box::pin(futures::stream::iter([TransactionStatus::Included { block, index: location.index }])))
}

async fn watch(
    pending: PendingSubscriptionSink,
    context: Arc<Context>,
    extrinsic: Result<OpaqueExtrinsic, String>,
) -> Result<(), SubscriptionError> {
    let Ok(sink) = pending.accept().await else { return Ok(()) };
    let subscriber = Subscriber::new(sink, Arc::clone(&context));
    let states = match extrinsic {
        Ok(extrinsic) => offer(&context, extrinsic).await,
        Err(detail) => Err(SubmitError { refusal: Refusal::Malformed, detail }),
    };
    closing(match states {
        Ok(states) => tell(&subscriber, states).await,
        Err(error) => subscriber.send_value(&refused(error)).await,
    })
}

/// Sends a transaction's states as events until the last.
async fn tell(subscriber: &Subscriber, mut states: StatusStream) -> Result<(), End> {
    let mut told_valid = false;
    loop {
        let last = match subscriber.unless_closed(states.next()).await? {
            Some(TransactionStatus::Ready | TransactionStatus::Future) => {
                if !told_valid {
                    told_valid = true;
                    subscriber.send_value(&json!({ "event": "validated" })).await?;
                }
                continue;
            }
            Some(TransactionStatus::Included { block, index }) => {
                let block = json!({ "hash": block.to_string(), "index": index });
                subscriber.send_value(&json!({ "event": "bestChainBlockIncluded", "block": block })).await?;
                json!({ "event": "finalized", "block": block })
            }
            Some(TransactionStatus::Usurped(hash)) => {
                json!({ "event": "invalid", "error": format!("{hash} took its nonce") })
            }
            Some(TransactionStatus::Invalid) => {
                json!({ "event": "invalid", "error": "the transaction can no longer be included" })
            }
            Some(TransactionStatus::Dropped) => {
                json!({ "event": "dropped", "error": "the pool has better transactions" })
            }
            None => json!({ "event": "dropped", "error": "the node follows too many transactions" }),
        };
        return subscriber.send_value(&last).await;
    }
}

/// A refusal as the last event: what the pool has no room for may be offered again, the rest is invalid.
fn refused(error: SubmitError) -> Value {
    let event = match error.refusal {
        Refusal::PoolFull | Refusal::PriorityTooLow | Refusal::Banned | Refusal::Unavailable => "dropped",
        Refusal::Malformed
        | Refusal::BadSignature
        | Refusal::Stale
        | Refusal::Future
        | Refusal::Unaffordable
        | Refusal::EraEnded
        | Refusal::BadCall
        | Refusal::TooLarge
        | Refusal::AlreadyKnown
        | Refusal::AlreadyIncluded => "invalid",
    };
    json!({ "event": event, "error": error.detail })
}
