//! A real server over a fake node, driven over sockets.

mod archive;
mod chain_head;
mod client;
mod contract;
mod fake;
mod limits;
mod malformed;
mod methods;
mod proofs;
mod schema;
mod slow;
mod subscriptions;
mod transaction;

use crate::config::RpcConfig;
use crate::ports::ChainPort;
use crate::server::{Server, ServerHandle};
use cairn_primitives::{Hash, Height};
use client::Ws;
use fake::{FakeChain, FakePool};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// A server with its fake node.
struct Rig {
    server: ServerHandle,
    chain: Arc<FakeChain>,
    pool: Arc<FakePool>,
    registry: prometheus::Registry,
}

impl Rig {
    async fn start() -> Self {
        Self::with(RpcConfig::default()).await
    }

    async fn with(config: RpcConfig) -> Self {
        let (chain, pool) = (FakeChain::new(), Arc::<FakePool>::default());
        let config = RpcConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..config };
        let registry = prometheus::Registry::new();
        let server = Server::start(config, fake::ports(&chain, &pool), &registry).await.unwrap();
        Self { server, chain, pool, registry }
    }

    async fn ws(&self) -> Ws {
        Ws::connect(self.server.address()).await
    }

    fn hash(&self, height: u32) -> Hash {
        self.chain.block_hash(Height(height)).unwrap().unwrap()
    }

    /// The value of a metric without labels, or with one label's value.
    fn metric(&self, name: &str, label: Option<&str>) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let has = |metric: &&prometheus::proto::Metric| {
            label.is_none_or(|label| metric.get_label().iter().any(|pair| pair.value() == label))
        };
        let sum =
            |metric: &prometheus::proto::Metric| metric.get_counter().get_value() + metric.get_gauge().get_value();
        family.get_metric().iter().filter(has).map(sum).sum()
    }
}

#[tokio::test]
async fn metrics_registered_are_those_in_the_list() {
    let rig = Rig::start().await;
    let families = rig.registry.gather();
    let registered: BTreeSet<_> = families.iter().map(prometheus::proto::MetricFamily::name).collect();
    let rows = include_str!("../../../docs/metrics.md").lines().filter(|line| line.starts_with("| `cairn_rpc_"));
    let listed: BTreeSet<_> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    assert_eq!(listed, registered, "docs/metrics.md and the code differ");
}
