//! `state_*`: storage, runtime calls, versions and metadata.

use super::heads::next;
use super::{Context, End, Module, Registered, Subscriber, closing, expensive, quick};
use crate::error::{Code, RpcError};
use crate::json::{hex_or_null, to_hex};
use crate::params::{Args, Bytes, Key};
use crate::ports::RuntimeVersion;
use cairn_primitives::Hash;
use cairn_primitives::hash::blake2_256;
use jsonrpsee::core::SubscriptionError;
use jsonrpsee::server::PendingSubscriptionSink;
use serde_json::{Value, json};
use std::sync::Arc;

/// Pages of keys that `state_getKeys` answers at once; beyond them the client has to take pages.
const UNPAGED_PAGES_MAX: usize = 50;

pub(super) fn register(module: &mut Module) -> Registered {
    register_storage(module)?;
    expensive(
        module,
        "state_call",
        &["state_callAt"],
        |context, args| {
            let function = super::archive::function(args)?;
            Ok((function, args.required::<Bytes>("input")?.0, context.at(args)?))
        },
        |context, (function, input, at): (String, Vec<u8>, Hash)| {
            let output =
                context.chain.runtime_call(&at, &function, &input).map_err(|error| RpcError::call(error, &at))?;
            Ok(to_hex(&output))
        },
    )?;
    expensive(
        module,
        "state_getMetadata",
        &[],
        |context, args| context.at(args),
        |context, at: Hash| {
            context.chain.metadata(&at).map(|bytes| to_hex(&bytes)).map_err(|error| RpcError::read(error, &at))
        },
    )?;
    quick(module, "state_getRuntimeVersion", &["chain_getRuntimeVersion"], |context, args| {
        let at = context.at(args)?;
        runtime_version(context, &at)
    })?;
    let (subscribe, unsubscribe) = ("state_subscribeRuntimeVersion", "state_unsubscribeRuntimeVersion");
    module.register_subscription(subscribe, "state_runtimeVersion", unsubscribe, |_, pending, context, _| {
        follow_version(pending, context)
    })?;
    module.register_alias("chain_subscribeRuntimeVersion", subscribe)?;
    module.register_alias("chain_unsubscribeRuntimeVersion", unsubscribe)?;
    module.register_subscription(
        "state_subscribeStorage",
        "state_storage",
        "state_unsubscribeStorage",
        |params, pending, context, _| async move {
            match Args::new(&params).and_then(|mut args| keys(&context, &mut args)) {
                Ok(keys) => follow_storage(pending, context, keys).await,
                Err(error) => {
                    pending.reject(error).await;
                    Ok(())
                }
            }
        },
    )?;
    Ok(())
}

fn register_storage(module: &mut Module) -> Registered {
    quick(module, "state_getStorage", &["state_getStorageAt"], |context, args| {
        Ok(hex_or_null(read(context, args)?.as_deref()))
    })?;
    quick(module, "state_getStorageHash", &["state_getStorageHashAt"], |context, args| {
        Ok(read(context, args)?.map(|value| blake2_256(&value).to_string()))
    })?;
    quick(module, "state_getStorageSize", &["state_getStorageSizeAt"], |context, args| {
        Ok(read(context, args)?.map(|value| value.len()))
    })?;
    expensive(
        module,
        "state_getKeysPaged",
        &["state_getKeysPagedAt"],
        |context, args| {
            let prefix = args.optional::<Key>("prefix")?.map_or_else(Vec::new, |Key(prefix)| prefix);
            let count = args.required::<u32>("count")?;
            let start = args.optional::<Key>("startKey")?.map(|Key(start)| start);
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            context.check_keys(count)?;
            Ok((prefix, count, start, context.at(args)?))
        },
        |context, (prefix, count, start, at): (Vec<u8>, usize, Option<Vec<u8>>, Hash)| {
            let keys = context
                .chain
                .storage_keys(&at, &prefix, start.as_deref(), count)
                .map_err(|error| RpcError::read(error, &at))?;
            Ok(keys.iter().map(|key| to_hex(key)).collect::<Vec<_>>())
        },
    )?;
    expensive(
        module,
        "state_getKeys",
        &[],
        |context, args| {
            let Key(prefix) = args.required("prefix")?;
            Ok((prefix, context.at(args)?))
        },
        |context, (prefix, at): (Vec<u8>, Hash)| {
            let limit = context.config.keys_max.saturating_mul(UNPAGED_PAGES_MAX);
            let read = context.chain.storage_keys(&at, &prefix, None, limit.saturating_add(1));
            let keys = read.map_err(|error| RpcError::read(error, &at))?;
            if keys.len() > limit {
                let detail = format!("over {limit} keys: use state_getKeysPaged");
                return Err(RpcError::with_detail(Code::ResponseTooLarge, detail));
            }
            Ok(keys.iter().map(|key| to_hex(key)).collect::<Vec<_>>())
        },
    )?;
    expensive(
        module,
        "state_queryStorageAt",
        &[],
        |context, args| Ok((keys(context, args)?, context.at(args)?)),
        |context, (keys, at): (Vec<Vec<u8>>, Hash)| {
            let mut changes = Vec::with_capacity(keys.len());
            for key in &keys {
                let value = context.chain.storage(&at, key).map_err(|error| RpcError::read(error, &at))?;
                changes.push((to_hex(key), hex_or_null(value.as_deref())));
            }
            Ok([json!({ "block": at.to_string(), "changes": changes })])
        },
    )
}

/// Reads the value that a request's key and block name.
fn read(context: &Context, args: &mut Args<'_>) -> Result<Option<Vec<u8>>, RpcError> {
    let Key(key) = args.required("key")?;
    let at = context.at(args)?;
    context.chain.storage(&at, &key).map_err(|error| RpcError::read(error, &at))
}

fn keys(context: &Context, args: &mut Args<'_>) -> Result<Vec<Vec<u8>>, RpcError> {
    let keys = args.required::<Vec<Key>>("keys")?;
    context.check_keys(keys.len())?;
    Ok(keys.into_iter().map(|Key(key)| key).collect())
}

fn runtime_version(context: &Context, at: &Hash) -> Result<RuntimeVersion, RpcError> {
    context.chain.runtime_version(at).map_err(|error| RpcError::read(error, at))
}

/// Sends the version at once and then whenever it changes.
async fn follow_version(pending: PendingSubscriptionSink, context: Arc<Context>) -> Result<(), SubscriptionError> {
    let mut cursor = context.feed.cursor(None);
    let Ok(sink) = pending.accept().await else { return Ok(()) };
    let subscriber = Subscriber::new(sink, Arc::clone(&context));
    closing(
        async {
            let mut sent = None;
            loop {
                let item = next(&subscriber, &mut cursor).await?;
                let version = Some(runtime_version(&context, &item.head.hash)?);
                if version != sent {
                    subscriber.send_value(&version).await?;
                    sent = version;
                }
            }
        }
        .await,
    )
}

/// Sends all values at once and then those that change.
async fn follow_storage(
    pending: PendingSubscriptionSink,
    context: Arc<Context>,
    keys: Vec<Vec<u8>>,
) -> Result<(), SubscriptionError> {
    let mut cursor = context.feed.cursor(None);
    let Ok(sink) = pending.accept().await else { return Ok(()) };
    let subscriber = Subscriber::new(sink, Arc::clone(&context));
    closing(
        async {
            // A digest of each value as last sent, so that a subscription costs 32 bytes a key.
            let mut sent: Vec<Option<Option<Hash>>> = vec![None; keys.len()];
            loop {
                let item = next(&subscriber, &mut cursor).await?;
                let changes = changes(&context, &item.head.hash, &keys, &mut sent)?;
                if !changes.is_empty() {
                    let block = item.head.hash.to_string();
                    subscriber.send_value(&json!({ "block": block, "changes": changes })).await?;
                }
            }
        }
        .await,
    )
}

/// The keys whose values differ from what was sent, as clients read them.
fn changes(
    context: &Context,
    at: &Hash,
    keys: &[Vec<u8>],
    sent: &mut [Option<Option<Hash>>],
) -> Result<Vec<(String, Value)>, End> {
    let mut changes = Vec::new();
    for (key, sent) in keys.iter().zip(sent) {
        let value = context.chain.storage(at, key).map_err(|error| RpcError::read(error, at))?;
        let digest = Some(value.as_deref().map(blake2_256));
        if *sent != digest {
            *sent = digest;
            changes.push((to_hex(key), hex_or_null(value.as_deref())));
        }
    }
    Ok(changes)
}
