//! `system_*`: the node and the chain's name.

use super::{Module, Registered, asking, quick, waiting};
use crate::error::RpcError;
use cairn_primitives::AccountId32;
use cairn_primitives::account::SS58_PREFIX_DEFAULT;
use serde_json::{Value, json};
use std::borrow::Cow;

pub(super) fn register(module: &mut Module) -> Registered {
    quick(module, "system_chain", &[], |context, _| Ok(context.node.identity().chain.clone()))?;
    quick(module, "system_chainType", &[], |context, _| Ok(context.node.identity().chain_type))?;
    quick(module, "system_properties", &[], |context, _| Ok(context.node.identity().properties.clone()))?;
    quick(module, "system_name", &[], |context, _| Ok(context.node.identity().node_name.clone()))?;
    quick(module, "system_version", &[], |context, _| Ok(context.node.identity().node_version.clone()))?;
    quick(module, "system_localPeerId", &[], |context, _| Ok(context.node.identity().peer_id.clone()))?;
    quick(module, "system_nodeRoles", &[], |context, _| {
        // Substrate knows two roles.
        Ok([if context.node.identity().role == "validator" { "Authority" } else { "Full" }])
    })?;
    asking(module, "system_health", |context| async move { Ok(context.node.health().await) })?;
    asking(module, "system_syncState", |context| async move { Ok(context.node.sync_state().await) })?;
    asking(module, "system_localListenAddresses", |context| async move { Ok(context.node.listen_addresses().await) })?;
    asking(module, "system_peers", |context| async move {
        let peers = context.node.peers().await;
        let shape = peers.into_iter().map(|peer| {
            // A peer that has not told its head yet is taken to be at genesis.
            let (role, best) = (if peer.validator.is_some() { "AUTHORITY" } else { "FULL" }, peer.best_block);
            json!({ "peerId": peer.peer_id, "roles": role, "bestHash": Value::Null, "bestNumber": best.unwrap_or(0) })
        });
        Ok(shape.collect::<Vec<_>>())
    })?;
    waiting(
        module,
        "system_accountNextIndex",
        &["account_nextIndex"],
        |context, args| {
            let text = args.required::<Cow<'_, str>>("account")?;
            account(&text, context.node.identity().properties.ss58_format)
        },
        |context, account| async move { Ok(context.transactions.next_nonce(&account).await?) },
    )
}

/// An account by its address, of this chain or with the generic prefix that some clients use for every chain.
fn account(text: &str, prefix: u16) -> Result<AccountId32, RpcError> {
    AccountId32::from_ss58(text, prefix)
        .or_else(|error| AccountId32::from_ss58(text, SS58_PREFIX_DEFAULT).map_err(|_| error))
        .map_err(|error| RpcError::invalid_params(format!("parameter 1 `account`: {error}")))
}
