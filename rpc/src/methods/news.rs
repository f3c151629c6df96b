//! `cairn_subscribeEvents` and `cairn_subscribeTransaction`: what happens in blocks, without a gap.

use super::heads::next;
use super::transaction::states_of;
use super::{Context, End, Module, Registered, Subscriber, closing};
use crate::error::RpcError;
use crate::json::to_hex;
use crate::params::{Args, Bytes, HashArg, HeightArg};
use crate::ports::{ReadError, TransactionStatus};
use cairn_primitives::{Hash, Height};
use futures::StreamExt;
use jsonrpsee::core::SubscriptionError;
use jsonrpsee::server::PendingSubscriptionSink;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The longest bytes that a filter looks for, and how many of them.
const FILTER_BYTES_MAX: usize = 64;
const FILTERS_MAX: usize = 64;

pub(super) fn register(module: &mut Module) -> Registered {
    module.register_subscription(
        "cairn_subscribeEvents",
        "cairn_event",
        "cairn_unsubscribeEvents",
        |params, pending, context, _| async move {
            match Args::new(&params).and_then(|mut args| event_params(&context, &mut args)) {
                Ok((filter, start)) => events(pending, context, filter, start).await,
                Err(error) => reject(pending, error).await,
            }
        },
    )?;
    module.register_subscription(
        "cairn_subscribeTransaction",
        "cairn_transaction",
        "cairn_unsubscribeTransaction",
        |params, pending, context, _| async move {
            match Args::new(&params).and_then(|mut args| args.required::<HashArg>("hash")) {
                Ok(HashArg(hash)) => transaction(pending, context, hash).await,
                Err(error) => reject(pending, error).await,
            }
        },
    )?;
    Ok(())
}

async fn reject(pending: PendingSubscriptionSink, error: RpcError) -> Result<(), SubscriptionError> {
    pending.reject(error).await;
    Ok(())
}

/// Which events a subscriber gets: those whose record contains one of these byte strings, such as an account; all if none is
/// named.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    #[serde(default)]
    contains: Vec<Bytes>,
}

impl Filter {
    fn check(&self) -> Result<(), RpcError> {
        let fits = |Bytes(bytes): &Bytes| (1..=FILTER_BYTES_MAX).contains(&bytes.len());
        if self.contains.len() <= FILTERS_MAX && self.contains.iter().all(fits) {
            return Ok(());
        }
        let detail = format!("a filter has at most {FILTERS_MAX} byte strings of 1 to {FILTER_BYTES_MAX} bytes");
        Err(RpcError::invalid_params(detail))
    }

    fn takes(&self, record: &[u8]) -> bool {
        let holds = |Bytes(bytes): &Bytes| record.windows(bytes.len()).any(|window| window == bytes.as_slice());
        self.contains.is_empty() || self.contains.iter().any(holds)
    }
}

fn event_params(context: &Context, args: &mut Args<'_>) -> Result<(Filter, Option<Height>), RpcError> {
    let filter = args.optional::<Filter>("filter")?.unwrap_or_default();
    filter.check()?;
    let start = args.optional::<HeightArg>("fromHeight")?.map(|HeightArg(height)| height);
    context.check_start(start)?;
    Ok((filter, start))
}

/// One message for each block, with the events that the filter takes: a client that comes back goes on from the height after
/// the last one it saw.
async fn events(
    pending: PendingSubscriptionSink,
    context: Arc<Context>,
    filter: Filter,
    start: Option<Height>,
) -> Result<(), SubscriptionError> {
    let mut cursor = context.feed.cursor(start);
    let Ok(sink) = pending.accept().await else { return Ok(()) };
    let subscriber = Subscriber::new(sink, Arc::clone(&context));
    let filter = Arc::new(filter);
    let end: Result<(), End> = async {
        loop {
            let item = next(&subscriber, &mut cursor).await?;
            let (hash, filter) = (item.head.hash, Arc::clone(&filter));
            let taken = context.heavy(move |context| taken(context, &hash, &filter));
            let events = subscriber.unless_closed(taken).await??;
            let message = json!({ "height": item.head.height.0, "hash": hash.to_string(), "events": events });
            subscriber.send_value(&message).await?;
        }
    }
    .await;
    closing(end)
}

fn taken(context: &Context, at: &Hash, filter: &Filter) -> Result<Vec<Value>, RpcError> {
    let entries = context.chain.event_records(at)?.ok_or(ReadError::UnknownBlock(*at))?;
    let taken = entries.iter().zip(0u32..).filter(|(entry, _)| filter.takes(&entry.record));
    let taken = taken
        .map(|(entry, index)| json!({ "index": index, "extrinsic": entry.extrinsic, "event": to_hex(&entry.record) }));
    Ok(taken.collect())
}

/// The states of a transaction, wherever it is: in a block already, waiting, or not yet here.
async fn transaction(
    pending: PendingSubscriptionSink,
    context: Arc<Context>,
    hash: Hash,
) -> Result<(), SubscriptionError> {
    let Ok(sink) = pending.accept().await else { return Ok(()) };
    let subscriber = Subscriber::new(sink, Arc::clone(&context));
    let end: Result<(), End> = async {
        let mut states = states_of(&context, &hash)?;
        while let Some(state) = subscriber.unless_closed(states.next()).await? {
            subscriber.send_value(&state_message(&context, state)?).await?;
        }
        Ok(())
    }
    .await;
    closing(end)
}

fn state_message(context: &Context, state: TransactionStatus) -> Result<Value, RpcError> {
    Ok(match state {
        TransactionStatus::Ready => json!({ "status": "waiting" }),
        TransactionStatus::Future => json!({ "status": "future" }),
        TransactionStatus::Included { block, index } => {
            let height = context.chain.height_of(&block)?.map(|height| height.0);
            json!({ "status": "finalized", "blockHash": block.to_string(), "height": height, "index": index })
        }
        TransactionStatus::Usurped(by) => json!({ "status": "usurped", "by": by.to_string() }),
        TransactionStatus::Dropped => json!({ "status": "dropped" }),
        TransactionStatus::Invalid => json!({ "status": "invalid" }),
    })
}
