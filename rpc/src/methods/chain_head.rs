//! `chainHead_v1_*`, the following of heads; its operations are in [`super::operations`].
//!
//! Finality is instant, so each block is reported as new, as best and as final at once, in this order.

use super::heads::next;
use super::{Context, End, Module, Registered, Subscriber, closing, in_session, operations};
use crate::error::{Code, RpcError};
use crate::follow::Follow;
use crate::heads::HeadItem;
use crate::json::to_hex;
use crate::params::{Args, HashArg, HashArgs};
use crate::ports::{ReadError, RuntimeVersion};
use crate::session::{Followed, Session};
use cairn_primitives::{Hash, Header, Height};
use jsonrpsee::core::SubscriptionError;
use jsonrpsee::server::PendingSubscriptionSink;
use jsonrpsee::types::SubscriptionId;
use parity_scale_codec::Encode;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Finalized blocks that a new subscription begins with: those of the last minute, at most so many. A client that comes
/// back finds among them the last block it knows.
const INITIAL_LEN_MAX: u32 = 32;
const INITIAL_AGE_MS_MAX: u64 = 60_000;

pub(super) fn register(module: &mut Module) -> Registered {
    module.register_subscription(
        "chainHead_v1_follow",
        "chainHead_v1_followEvent",
        "chainHead_v1_unfollow",
        |params, pending, context, extensions| async move {
            match begin(&params, &pending, &context, &extensions) {
                Ok((followed, events)) => follow(pending, context, followed, events).await,
                Err(error) => {
                    pending.reject(error).await;
                    Ok(())
                }
            }
        },
    )?;
    in_session(module, "chainHead_v1_header", |context, session, args| {
        let follow = subscription(session, args)?;
        let HashArg(hash) = args.required("hash")?;
        let Some(follow) = follow else { return Ok(None) };
        follow.check_pinned(&hash)?;
        Ok(context.chain.header(&hash)?.map(|header| to_hex(&header.encode())))
    })?;
    in_session(module, "chainHead_v1_unpin", |_, session, args| {
        let follow = subscription(session, args)?;
        let hashes: Vec<Hash> = match args.required::<HashArgs>("hashOrHashes")? {
            HashArgs::One(HashArg(hash)) => vec![hash],
            HashArgs::Many(hashes) => hashes.into_iter().map(|HashArg(hash)| hash).collect(),
        };
        follow.map_or(Ok(()), |follow| follow.unpin(&hashes))
    })?;
    operations::register(module)
}

/// The follow subscription that a request names, if it is alive.
pub(super) fn subscription(session: &Session, args: &mut Args<'_>) -> Result<Option<Arc<Follow>>, RpcError> {
    Ok(session.follow(&args.required::<Cow<'_, str>>("followSubscription")?))
}

type Begun = (Followed, mpsc::Receiver<Value>);

/// Registers the subscription before the client can know of it.
fn begin(
    params: &jsonrpsee::types::Params<'_>,
    pending: &PendingSubscriptionSink,
    context: &Context,
    extensions: &jsonrpsee::Extensions,
) -> Result<Begun, RpcError> {
    let with_runtime = Args::new(params)?.required::<bool>("withRuntime")?;
    let id = match pending.subscription_id() {
        SubscriptionId::Str(id) => id.into_owned(),
        SubscriptionId::Num(id) => id.to_string(),
    };
    let config = &context.config;
    let (follow, events) = Follow::new(with_runtime, config.pinned_blocks_max, config.operations_per_follow_max);
    Ok((Session::of(extensions)?.add_follow(id, follow, config)?, events))
}

async fn follow(
    pending: PendingSubscriptionSink,
    context: Arc<Context>,
    followed: Followed,
    events: mpsc::Receiver<Value>,
) -> Result<(), SubscriptionError> {
    let Ok(sink) = pending.accept().await else { return Ok(()) };
    let subscriber = Subscriber::new(sink, Arc::clone(&context));
    let Err(end) = report(&subscriber, &context, &followed.follow, events).await else { return Ok(()) };
    drop(followed);
    match end {
        End::Gone => Ok(()),
        End::Failed(error) => {
            tracing::debug!(%error, "a follow subscription stops");
            // The end of the group: the client subscribes anew. One that does not read will not see it.
            closing(subscriber.send_value(&json!({ "event": "stop" })).await.or(Ok(())))
        }
    }
}

/// Reports heads and the events of operations until the subscription ends.
async fn report(
    subscriber: &Subscriber,
    context: &Context,
    follow: &Follow,
    mut events: mpsc::Receiver<Value>,
) -> Result<(), End> {
    let mut cursor = context.feed.cursor(None);
    let first = next(subscriber, &mut cursor).await?;
    let mut runtime = context.chain.runtime_version(&first.head.hash).map_err(RpcError::from)?;
    let mut initialized = json!({ "event": "initialized", "finalizedBlockHashes": initial(context, follow, &first)? });
    if let (true, Some(fields)) = (follow.with_runtime, initialized.as_object_mut()) {
        fields.insert("finalizedBlockRuntime".into(), runtime_json(&runtime));
    }
    subscriber.send_value(&initialized).await?;
    subscriber.send_value(&best(&first.head.hash)).await?;
    loop {
        tokio::select! {
            item = next(subscriber, &mut cursor) => {
                let item = item?;
                let hash = item.head.hash;
                pin(follow, hash)?;
                let newest = context.chain.runtime_version(&hash).map_err(RpcError::from)?;
                let change = if newest == runtime { Value::Null } else { runtime_json(&newest) };
                runtime = newest;
                let parent = item.header.parent_hash.to_string();
                let mut new = json!({ "event": "newBlock", "blockHash": hash.to_string(), "parentBlockHash": parent });
                if let (true, Some(fields)) = (follow.with_runtime, new.as_object_mut()) {
                    fields.insert("newRuntime".into(), change);
                }
                subscriber.send_value(&new).await?;
                subscriber.send_value(&best(&hash)).await?;
                let finalized = [hash.to_string()];
                let none: [String; 0] = [];
                subscriber
                    .send_value(&json!({ "event": "finalized", "finalizedBlockHashes": finalized, "prunedBlockHashes": none }))
                    .await?;
            }
            Some(event) = events.recv() => subscriber.send_value(&event).await?,
        }
    }
}

fn best(hash: &Hash) -> Value {
    json!({ "event": "bestBlockChanged", "bestBlockHash": hash.to_string() })
}

fn pin(follow: &Follow, hash: Hash) -> Result<(), RpcError> {
    if follow.pin(hash) {
        return Ok(());
    }
    // Never seen by a client: it gets `stop`.
    Err(RpcError::with_detail(Code::TooManyFollows, "too many blocks are pinned"))
}

/// Pins and names the finalized blocks of the last minute, the head last.
fn initial(context: &Context, follow: &Follow, head: &HeadItem) -> Result<Vec<String>, RpcError> {
    let time = |header: &Header| header.context().map_or(0, |context| context.timestamp.0);
    let newest = time(&head.header);
    let mut hashes = vec![head.head.hash];
    let mut header = head.header.clone();
    while header.height() > Height::ZERO && hashes.len() < usize::try_from(INITIAL_LEN_MAX).unwrap_or(usize::MAX) {
        let hash = header.parent_hash;
        header = context.chain.header(&hash)?.ok_or(ReadError::UnknownBlock(hash))?;
        if newest.saturating_sub(time(&header)) > INITIAL_AGE_MS_MAX {
            break;
        }
        hashes.push(hash);
    }
    hashes.reverse();
    hashes.iter().try_for_each(|hash| pin(follow, *hash))?;
    Ok(hashes.iter().map(ToString::to_string).collect())
}

fn runtime_json(runtime: &RuntimeVersion) -> Value {
    let apis: Map<_, _> = runtime.apis.iter().map(|(id, version)| (to_hex(id), Value::from(*version))).collect();
    let spec = json!({
        "specName": runtime.spec_name,
        "implName": runtime.impl_name,
        "specVersion": runtime.spec_version,
        "implVersion": runtime.impl_version,
        "transactionVersion": runtime.transaction_version,
        "apis": apis,
    });
    json!({ "type": "valid", "spec": spec })
}
