//! Combinations of settings that are each in range and together a mistake.

use super::{NodeConfig, Role};
use crate::exit::{ExitKind, Failure};

/// Refuses combinations that would expose the node or cannot work.
///
/// # Errors
/// Each names the keys and the cure.
pub(super) fn check(config: &NodeConfig) -> anyhow::Result<()> {
    let refuse = |message: String| Err(Failure::new(ExitKind::Config, message).into());
    let address = config.rpc.listen;
    let is_public = !address.ip().is_loopback();
    if is_public && config.rpc.offers_unsafe() && !config.rpc.allow_public_unsafe {
        return refuse(format!(
            "rpc.listen = {address} can be reached by others while rpc.unsafe_methods = \"on\" offers methods that can \
             harm the node: set unsafe_methods to \"auto\", or say rpc.allow_public_unsafe = true as well if a firewall \
             protects this address"
        ));
    }
    if is_public && config.node.role == Role::Validator && !config.rpc.allow_public {
        return refuse(format!(
            "rpc.listen = {address} can be reached by others, but this node is a validator: listen on 127.0.0.1 and let \
             an rpc node serve clients, or say rpc.allow_public = true if you mean it"
        ));
    }
    if config.network.listen.is_empty() {
        return refuse(
            "network.listen is empty: name at least one address, such as /ip4/0.0.0.0/tcp/30333, or \
             /ip4/127.0.0.1/tcp/0 for a node that nobody shall reach"
                .into(),
        );
    }
    if config.network.reserved_only && config.network.reserved.is_empty() {
        return refuse(
            "network.reserved_only = true with an empty network.reserved leaves nobody to talk to: list the reserved \
             nodes or set reserved_only to false"
                .into(),
        );
    }
    if config.metrics.enabled && config.metrics.listen == address && address.port() != 0 {
        return refuse(format!(
            "rpc.listen and metrics.listen are both {address}: give metrics another port, such as 9615"
        ));
    }
    Ok(())
}
