//! The operations of `chainHead_v1_*`: what a client asks about a pinned block, answered by events of its subscription.

use super::chain_head::subscription;
use super::{Context, Module, Registered, archive, in_session};
use crate::error::{Code, RpcError};
use crate::follow::{Follow, Running, Started};
use crate::json::to_hex;
use crate::params::{Args, Bytes, HashArg};
use crate::session::Session;
use crate::storage_query::Query;
use cairn_primitives::Hash;
use jsonrpsee::server::ResponsePayload;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;

/// Events with items after which a walk waits to be continued, so that it does not hold up the connection.
const STEPS_BEFORE_WAITING: u32 = 4;

pub(super) fn register(module: &mut Module) -> Registered {
    operation(module, "chainHead_v1_body", |context, follow, _, hash| {
        let context = Arc::clone(context);
        Ok(follow.start(1, move |running, _| async move {
            let read = context.heavy(move |context| archive::body(context, &hash)).await;
            let event = match read {
                Ok(Some(value)) => json!({ "event": "operationBodyDone", "operationId": running.id, "value": value }),
                Ok(None) => inaccessible(&running.id),
                Err(error) => failed(&running.id, &error),
            };
            running.send(event).await;
        }))
    })?;
    operation(module, "chainHead_v1_call", |context, follow, args, hash| {
        let function = archive::function(args)?;
        let Bytes(input) = args.required("callParameters")?;
        if !follow.with_runtime {
            return Err(RpcError::new(Code::FollowWithoutRuntime));
        }
        let context = Arc::clone(context);
        Ok(follow.start(1, move |running, _| async move {
            let called = context.heavy(move |context| {
                context.chain.runtime_call(&hash, &function, &input).map_err(|error| RpcError::call(error, &hash))
            });
            let event = match called.await {
                Ok(output) => {
                    json!({ "event": "operationCallDone", "operationId": running.id, "output": to_hex(&output) })
                }
                Err(error) => failed(&running.id, &error),
            };
            running.send(event).await;
        }))
    })?;
    operation(module, "chainHead_v1_storage", |context, follow, args, hash| {
        let mut items = archive::items(context, args)?;
        let context = Arc::clone(context);
        let wanted = items.len().max(1);
        let started = follow.start(wanted, move |running, slots| {
            items.truncate(slots);
            storage(context, running, Query::new(hash, items))
        });
        Ok(started.map(|started| Started { discarded: Some(wanted.saturating_sub(started.slots)), ..started }))
    })?;
    in_session(module, "chainHead_v1_continue", |_, session, args| {
        let follow = subscription(session, args)?;
        let id = args.required::<Cow<'_, str>>("operationId")?;
        follow.map_or(Ok(()), |follow| follow.resume(&id))
    })?;
    in_session(module, "chainHead_v1_stopOperation", |_, session, args| {
        let follow = subscription(session, args)?;
        let id = args.required::<Cow<'_, str>>("operationId")?;
        if let Some(follow) = follow {
            follow.stop(&id);
        }
        Ok(())
    })
}

/// Registers a method that starts an operation on a pinned block.
fn operation<Start>(module: &mut Module, name: &'static str, start: Start) -> Registered
where
    Start: Fn(&Arc<Context>, &Arc<Follow>, &mut Args<'_>, Hash) -> Result<Option<Started>, RpcError>
        + Clone
        + Send
        + Sync
        + 'static,
{
    // Asynchronous, as it starts tasks.
    module.register_async_method(name, move |params, context, extensions| {
        let begun = Session::of(&extensions).and_then(|session| {
            let mut args = Args::new(&params)?;
            let follow = subscription(&session, &mut args)?;
            let HashArg(hash) = args.required("hash")?;
            let Some(follow) = follow else { return Ok(None) };
            follow.check_pinned(&hash)?;
            start(&context, &follow, &mut args, hash)
        });
        std::future::ready(match begun {
            Err(error) => ResponsePayload::error(error),
            Ok(None) => ResponsePayload::success(json!({ "result": "limitReached" })),
            Ok(Some(started)) => answer(started),
        })
    })?;
    Ok(())
}

/// Answers with the operation's id; the operation begins when that is sent.
fn answer(started: Started) -> ResponsePayload<'static, Value> {
    let Started { id, discarded, begin, slots: _ } = started;
    let mut answer = json!({ "result": "started", "operationId": id });
    if let (Some(discarded), Some(fields)) = (discarded, answer.as_object_mut()) {
        fields.insert("discardedItems".into(), discarded.into());
    }
    let (answer, sent) = ResponsePayload::success(answer).notify_on_completion();
    // An error means that the operation was stopped: the subscription is over.
    drop(begin.send(sent));
    answer
}

/// Reads storage items step by step; a long walk waits for the client in between.
async fn storage(context: Arc<Context>, running: Running, mut query: Query) {
    let mut steps = 0_u32;
    while !query.is_done() {
        if steps >= STEPS_BEFORE_WAITING && query.is_walking() {
            steps = 0;
            running
                .wait_for_continue(json!({ "event": "operationWaitingForContinue", "operationId": running.id }))
                .await;
        }
        let read = context.heavy(move |context| {
            let found = query.step(&*context.chain)?;
            Ok((query, found))
        });
        match read.await {
            Ok((rest, items)) => {
                query = rest;
                steps = steps.saturating_add(1);
                if !items.is_empty() {
                    let event = json!({ "event": "operationStorageItems", "operationId": running.id, "items": items });
                    running.send(event).await;
                }
            }
            Err(error) => return running.send(failed(&running.id, &error)).await,
        }
    }
    running.send(json!({ "event": "operationStorageDone", "operationId": running.id })).await;
}

fn inaccessible(id: &str) -> Value {
    json!({ "event": "operationInaccessible", "operationId": id })
}

/// A block that is gone may be asked for again, elsewhere; what the runtime refuses stays refused.
fn failed(id: &str, error: &RpcError) -> Value {
    if error.code == Code::CallFailed {
        json!({ "event": "operationError", "operationId": id, "error": error.message })
    } else {
        inaccessible(id)
    }
}
