//! The swarm: transports, protocols and their settings.

use crate::address_limit;
use crate::codec::{BlockSync, Exchange, ExchangeCodec, StateSync};
use crate::config::NetworkConfig;
use crate::driver::authorities::RECORD_TTL;
use crate::error::StartError;
use crate::gossip::{self, Topics};
use crate::metrics::Metrics;
use crate::protocol;
use cairn_primitives::authority::RECORD_BYTES_MAX;
use cairn_primitives::validator::VALIDATORS_MAX;
use libp2p::allow_block_list::{self, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::kad::{self, BucketInserts, StoreInserts};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{StreamProtocol, Swarm, SwarmBuilder, gossipsub, identify, noise, ping, tcp, yamux};
use std::time::Duration;

/// How long a request for blocks or state may take from end to end.
pub(crate) const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(15);

/// Streams of one protocol of requests on one connection at a time, in both directions together.
const EXCHANGE_STREAMS_MAX: usize = 16;

/// Connections to one peer: both sides may dial at once, and a dead one may linger until it is noticed.
const CONNECTIONS_PER_PEER: u32 = 3;

/// Streams on one connection at a time; gossip, identify, ping, queries, sync and consensus need about thirty.
const STREAMS_MAX: usize = 128;

/// Authority records kept: one for each validator of two epochs.
const RECORDS_MAX: usize = 2 * VALIDATORS_MAX;

/// The QUIC receive window of one stream and of one connection, in bytes.
const QUIC_WINDOW: (u32, u32) = (2 << 20, 6 << 20);

/// Everything the node speaks.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) addresses: address_limit::Behaviour,
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) blocked: allow_block_list::Behaviour<BlockedPeers>,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) kad: kad::Behaviour<MemoryStore>,
    pub(crate) gossip: gossipsub::Behaviour,
    pub(crate) sync: request_response::Behaviour<ExchangeCodec<BlockSync>>,
    pub(crate) state: request_response::Behaviour<ExchangeCodec<StateSync>>,
    pub(crate) consensus: protocol::Behaviour,
}

/// The names of the protocols of one chain.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// How the chain is called in identify.
    pub(crate) chain: String,
    pub(crate) kad: StreamProtocol,
    pub(crate) sync: StreamProtocol,
    pub(crate) state: StreamProtocol,
    pub(crate) consensus: StreamProtocol,
    pub(crate) topics: Topics,
}

impl Names {
    pub(crate) fn new(genesis: &cairn_primitives::Hash) -> Result<Self, StartError> {
        let genesis8: String = hex::encode(genesis.0).chars().take(16).collect();
        let name = |purpose: &str| {
            StreamProtocol::try_from_owned(format!("/cairn/{genesis8}/{purpose}/1"))
                .map_err(|error| StartError::Setup { part: "protocol names", reason: error.to_string() })
        };
        Ok(Self {
            chain: format!("cairn/{genesis8}"),
            kad: name("kad")?,
            sync: name("sync")?,
            state: name("state")?,
            consensus: name("consensus")?,
            topics: Topics::new(&genesis8),
        })
    }
}

/// Builds the swarm; it does not listen yet.
pub(crate) fn swarm(config: &NetworkConfig, names: &Names, metrics: &Metrics) -> Result<Swarm<Behaviour>, StartError> {
    let setup = |part: &'static str, reason: String| StartError::Setup { part, reason };
    let behaviour = behaviour(config, names, metrics)?;
    let swarm = SwarmBuilder::with_existing_identity(config.node_key.keypair().clone())
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, || {
            let mut yamux = yamux::Config::default();
            yamux.set_max_num_streams(STREAMS_MAX);
            yamux
        })
        .map_err(|error| setup("the TCP transport", error.to_string()))?
        .with_quic_config(|mut quic| {
            quic.max_concurrent_stream_limit = u32::try_from(STREAMS_MAX).unwrap_or(u32::MAX);
            (quic.max_stream_data, quic.max_connection_data) = QUIC_WINDOW;
            quic
        })
        .with_dns()
        .map_err(|error| setup("name resolution", error.to_string()))?
        .with_behaviour(|_| behaviour)
        .map_err(|error| setup("the protocols", error.to_string()))?
        // Connections are bounded by number, and kept: a mesh that is idle is still a mesh.
        .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(Duration::from_secs(u64::MAX)))
        .build();
    Ok(swarm)
}

fn behaviour(config: &NetworkConfig, names: &Names, metrics: &Metrics) -> Result<Behaviour, StartError> {
    let public = config.node_key.keypair().public();
    let limits = ConnectionLimits::default()
        .with_max_established_incoming(Some(config.limits.inbound))
        .with_max_established_outgoing(Some(config.limits.outbound))
        .with_max_pending_incoming(Some(config.limits.pending))
        .with_max_pending_outgoing(Some(config.limits.pending))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER));
    let identify = identify::Config::new(names.chain.clone(), public)
        .with_agent_version(config.agent.clone())
        .with_push_listen_addr_updates(true)
        .with_cache_size(0);
    let ping = ping::Config::new().with_interval(Duration::from_secs(15)).with_timeout(Duration::from_secs(10));
    Ok(Behaviour {
        addresses: address_limit::Behaviour::new(config.limits.per_address),
        limits: connection_limits::Behaviour::new(limits),
        blocked: allow_block_list::Behaviour::default(),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping),
        kad: kademlia(config, names),
        gossip: gossip::behaviour(&names.topics)?,
        sync: exchange(&names.sync, metrics),
        state: exchange(&names.state, metrics),
        consensus: protocol::Behaviour::new(names.consensus.clone()),
    })
}

fn exchange<E: Exchange>(name: &StreamProtocol, metrics: &Metrics) -> request_response::Behaviour<ExchangeCodec<E>> {
    let config = request_response::Config::default()
        .with_request_timeout(EXCHANGE_TIMEOUT)
        .with_max_concurrent_streams(EXCHANGE_STREAMS_MAX);
    let codec = ExchangeCodec::new(metrics.clone());
    request_response::Behaviour::with_codec(codec, [(name.clone(), ProtocolSupport::Full)], config)
}

fn kademlia(config: &NetworkConfig, names: &Names) -> kad::Behaviour<MemoryStore> {
    let local = config.node_key.peer_id();
    let mut kad = kad::Config::new(names.kad.clone());
    // Peers enter the table once identify has shown that they are of this chain; a record is stored once the swarm task has
    // checked it, and it decides when to look around and to tell.
    kad.set_kbucket_inserts(BucketInserts::Manual)
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_record_ttl(Some(RECORD_TTL))
        .set_periodic_bootstrap_interval(None)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_query_timeout(Duration::from_secs(10));
    let store = MemoryStoreConfig {
        max_records: RECORDS_MAX,
        max_value_bytes: RECORD_BYTES_MAX,
        max_provided_keys: 0,
        max_providers_per_key: 0,
    };
    let mut behaviour = kad::Behaviour::with_config(local, MemoryStore::with_config(local, store), kad);
    // Who talks to reserved peers alone is not to be found by others.
    behaviour.set_mode(Some(if config.reserved_only { kad::Mode::Client } else { kad::Mode::Server }));
    behaviour
}
