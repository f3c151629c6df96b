//! What the configuration and the chain spec mean for each part of a node.

use crate::config::NodeConfig;
use crate::drivers::ledger::epoch_start;
use crate::exit::{ExitContext as _, ExitKind};
use crate::launch::{ConsensusKey, Launch};
use crate::peer_file::{PeerFile, Remembered};
use crate::vote_record::{Found, VoteRecord};
use cairn_chain_spec::ChainSpec;
use cairn_consensus::{Head, Timing, VoteGuard};
use cairn_ledger::{OpenedEpoch, Reader};
use cairn_mempool::PoolConfig;
use cairn_network::{Event, Handle as Network, Limits, NetworkConfig, NodeKey, Validators};
use cairn_primitives::PublicKey;
use cairn_rpc::RpcConfig;
use cairn_rpc::ports::{ChainProperties, ChainType, NodeIdentity, PlannedUpgrade};
use cairn_runtime::{Rules, Upgrade};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;

/// For how many views below the last finalized one votes are kept.
const RETENTION_VIEWS: u64 = 64;

/// Starts the network with the peers that the settings, the chain spec and the last run name.
///
/// # Errors
/// A setting is no multiaddress, or an address cannot be listened on.
pub fn start_network(launch: &Launch, validators: Validators) -> anyhow::Result<(Network, mpsc::Receiver<Event>)> {
    let section = &launch.config.network;
    let node_key = NodeKey::from_seed(*launch.node_key.to_seed());
    let mut config = NetworkConfig::new(node_key, launch.genesis.hash());
    config.listen = addresses(&section.listen, "network.listen")?;
    config.boot_nodes = addresses(&section.boot_nodes, "network.boot_nodes")?;
    config.boot_nodes.extend(addresses(launch.spec.boot_nodes(), "bootNodes of the chain spec")?);
    let own = config.node_key.peer_id();
    config.boot_nodes.retain(|address| cairn_network::split_peer_address(address).is_ok_and(|(peer, _)| peer != own));
    config.reserved = addresses(&section.reserved, "network.reserved")?;
    config.reserved_only = section.reserved_only;
    config.external = addresses(&section.external, "network.external")?;
    let Remembered { known, banned } = PeerFile::new(&launch.config.node.data_dir, launch.genesis.hash()).load();
    (config.known, config.banned) = (known, banned);
    config.consensus_keys = launch.consensus_keys.iter().map(|key| key.pair.clone()).collect();
    config.validators = validators;
    config.limits = Limits {
        inbound: section.peers_in_max,
        outbound: section.peers_out_max,
        per_address: section.connections_per_address_max,
        ..Limits::default()
    };
    config.registry = Some(launch.registry.clone());
    cairn_network::start(config).exit_with(ExitKind::Address, "the peer-to-peer network cannot be started")
}

fn addresses(texts: &[String], setting: &str) -> anyhow::Result<Vec<cairn_network::Multiaddr>> {
    let parse = |text: &String| {
        let message = || format!("{setting}: `{text}` is not a multiaddress such as /ip4/0.0.0.0/tcp/30333");
        text.parse().map_err(anyhow::Error::new).exit_with(ExitKind::Config, message())
    };
    texts.iter().map(parse).collect()
}

/// The guard of each consensus key with what its record says, and the records to go on with.
///
/// # Errors
/// A record cannot be read, or is of another key or chain.
pub fn vote_guards(launch: &Launch) -> anyhow::Result<(Vec<VoteGuard>, BTreeMap<PublicKey, VoteRecord>)> {
    let genesis = launch.genesis.hash();
    let mut guards = Vec::new();
    let mut records = BTreeMap::new();
    for ConsensusKey { pair, record } in &launch.consensus_keys {
        let key = pair.public();
        let (file, found) = VoteRecord::open(record, key, genesis)?;
        guards.push(match found {
            Found::Records(found) => VoteGuard::new(pair.clone(), genesis, found),
            Found::Lost => {
                tracing::warn!(
                    %key,
                    "{} does not exist: what this key has signed is not known, so it signs nothing until everything it can \
                     have voted on is final. If it never signed for this chain, make the record with `cairn keys \
                     new-record`",
                    record.display()
                );
                VoteGuard::without_record(pair.clone(), genesis)
            }
        });
        records.insert(key, file);
    }
    Ok((guards, records))
}

/// What the engine begins an epoch with.
///
/// # Errors
/// The database failed.
pub fn consensus_config(
    launch: &Launch,
    reader: &Reader,
    epoch: &OpenedEpoch,
    guards: Vec<VoteGuard>,
) -> anyhow::Result<cairn_consensus::Config> {
    let genesis = reader.genesis_hash();
    let head = reader.head();
    let (view, finalization) = reader.head_view()?;
    Ok(cairn_consensus::Config {
        genesis,
        epoch: epoch_start(epoch),
        guards,
        timing: timing(&launch.spec),
        retention: RETENTION_VIEWS,
        committed: Head { height: head.height, hash: head.hash, view, timestamp: head.timestamp },
        finalization,
    })
}

const fn timing(spec: &ChainSpec) -> Timing {
    let consensus = spec.consensus();
    Timing {
        leader_timeout_ms: consensus.leader_timeout_ms,
        certify_timeout_ms: consensus.certify_timeout_ms,
        retry_ms: consensus.retry_ms,
        skip_timeout_ms: consensus.skip_timeout_ms,
        block_interval_ms: consensus.block_interval_ms,
        idle_block_interval_ms: consensus.idle_block_interval_ms,
    }
}

/// The bounds of the pool.
pub fn pool_config(config: &NodeConfig) -> PoolConfig {
    PoolConfig {
        transactions_max: usize::try_from(config.mempool.count_max).unwrap_or(usize::MAX),
        bytes_max: usize::try_from(config.mempool.bytes_max).unwrap_or(usize::MAX),
        ..PoolConfig::default()
    }
}

/// Where RPC listens, what it offers and its limits.
pub fn rpc_config(launch: &Launch) -> RpcConfig {
    let section = &launch.config.rpc;
    RpcConfig {
        listen: section.listen,
        request_bytes_max: section.request_bytes_max,
        response_bytes_max: section.response_bytes_max,
        batch_len_max: section.batch_max,
        connections_max: usize::try_from(section.connections_max).unwrap_or(usize::MAX),
        subscriptions_per_connection_max: section.subscriptions_max,
        calls_per_second_max: section.calls_per_second_max,
        offers_unsafe: section.offers_unsafe(),
        unsafe_token: launch.unsafe_token.clone(),
        call_timeout: Duration::from_millis(u64::from(section.request_time_ms_max)),
        ..RpcConfig::default()
    }
}

/// What RPC says of the node and its chain.
pub fn identity(launch: &Launch, network: &Network) -> NodeIdentity {
    let spec = &launch.spec;
    let properties = spec.properties();
    NodeIdentity {
        chain: spec.name().to_owned(),
        chain_id: spec.id().to_owned(),
        chain_type: if spec.is_development() { ChainType::Development } else { ChainType::Live },
        properties: ChainProperties {
            ss58_format: properties.ss58_format,
            token_decimals: properties.token_decimals,
            token_symbol: properties.token_symbol.clone(),
        },
        node_name: launch.config.node.name.clone(),
        node_version: env!("CARGO_PKG_VERSION").to_owned(),
        role: launch.config.node.role.word().to_owned(),
        upgrades: spec.rules().upgrades().iter().map(planned).collect(),
        peer_id: network.local_peer_id().to_string(),
    }
}

fn planned(upgrade: &Upgrade) -> PlannedUpgrade {
    let Upgrade { height, spec_version } = *upgrade;
    PlannedUpgrade { height, spec_version, known: Rules::from_spec_version(spec_version).is_some() }
}
