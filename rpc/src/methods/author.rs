//! `author_*`: transactions on their way in.

use super::{Context, End, Module, Registered, Subscriber, asking, closing, waiting};
use crate::error::{Code, RpcError};
use crate::json::to_hex;
use crate::params::{Args, Bytes, extrinsic};
use crate::ports::{StatusStream, TransactionStatus};
use cairn_primitives::OpaqueExtrinsic;
use futures::StreamExt;
use jsonrpsee::core::SubscriptionError;
use jsonrpsee::server::PendingSubscriptionSink;
use parity_scale_codec::Encode;
use serde_json::json;
use std::sync::Arc;

/// The most transactions that `author_pendingExtrinsics` lists.
const PENDING_LEN_MAX: usize = 1_000;

pub(super) fn register(module: &mut Module) -> Registered {
    waiting(
        module,
        "author_submitExtrinsic",
        &[],
        |_, args| one(args),
        |context, extrinsic| async move {
            let verdict = context.transactions.submit(vec![extrinsic]).await.into_iter().next();
            let hash = verdict.ok_or_else(|| RpcError::new(Code::Internal))??;
            Ok(hash.to_string())
        },
    )?;
    asking(module, "author_pendingExtrinsics", |context| async move {
        let pending = context.transactions.pending(PENDING_LEN_MAX).await;
        Ok(pending.iter().map(|extrinsic| to_hex(&extrinsic.encode())).collect::<Vec<_>>())
    })?;
    module.register_subscription(
        "author_submitAndWatchExtrinsic",
        "author_extrinsicUpdate",
        "author_unwatchExtrinsic",
        |params, pending, context, _| async move {
            match submit(&context, Args::new(&params).and_then(|mut args| one(&mut args))).await {
                Ok(statuses) => watch(pending, context, statuses).await,
                Err(error) => {
                    pending.reject(error).await;
                    Ok(())
                }
            }
        },
    )?;
    Ok(())
}

/// The extrinsic that a request carries.
fn one(args: &mut Args<'_>) -> Result<OpaqueExtrinsic, RpcError> {
    let Bytes(bytes) = args.required("extrinsic")?;
    extrinsic(&bytes).map_err(|reason| RpcError::with_detail(Code::BadFormat, reason))
}

async fn submit(context: &Context, extrinsic: Result<OpaqueExtrinsic, RpcError>) -> Result<StatusStream, RpcError> {
    Ok(context.transactions.submit_and_watch(extrinsic?).await?)
}

/// Sends a transaction's states; a block that includes it is final at once.
async fn watch(
    pending: PendingSubscriptionSink,
    context: Arc<Context>,
    mut statuses: StatusStream,
) -> Result<(), SubscriptionError> {
    let Ok(sink) = pending.accept().await else { return Ok(()) };
    let subscriber = Subscriber::new(sink, context);
    closing(
        async {
            loop {
                let status = tokio::select! {
                    () = subscriber.sink.closed() => return Err(End::Gone),
                    status = statuses.next() => status,
                };
                match status {
                    None => return Ok(()),
                    Some(TransactionStatus::Ready) => subscriber.send_value(&"ready").await?,
                    Some(TransactionStatus::Future) => subscriber.send_value(&"future").await?,
                    Some(TransactionStatus::Included { block, .. }) => {
                        subscriber.send_value(&json!({ "inBlock": block.to_string() })).await?;
                        return subscriber.send_value(&json!({ "finalized": block.to_string() })).await;
                    }
                    Some(TransactionStatus::Usurped(hash)) => {
                        return subscriber.send_value(&json!({ "usurped": hash.to_string() })).await;
                    }
                    Some(TransactionStatus::Dropped) => return subscriber.send_value(&"dropped").await,
                    Some(TransactionStatus::Invalid) => return subscriber.send_value(&"invalid").await,
                }
            }
        }
        .await,
    )
}
