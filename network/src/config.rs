//! What a node tells its network: keys, addresses, validators and limits.

use crate::error::StartError;
use crate::event::BanStatus;
use cairn_primitives::{Epoch, Hash, KeyPair, PublicKey, ValidatorSet};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// The key a node is known by on the network; another key than the one a validator votes with.
#[derive(Clone)]
pub struct NodeKey(libp2p::identity::Keypair);

impl NodeKey {
    /// The node key of an RFC 8032 seed.
    #[must_use]
    #[allow(clippy::expect_used, reason = "any 32 bytes are an ed25519 seed")]
    pub fn from_seed(mut seed: [u8; 32]) -> Self {
        Self(libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).expect("any 32 bytes are an ed25519 seed"))
    }

    /// The peer id other nodes see.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.0.public().to_peer_id()
    }

    pub(crate) const fn keypair(&self) -> &libp2p::identity::Keypair {
        &self.0
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.peer_id())
    }
}

/// The validators of an epoch, as far as the network must know them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// The epoch.
    pub epoch: Epoch,
    /// Their consensus keys.
    pub keys: BTreeSet<PublicKey>,
}

impl Validators {
    /// The keys of a validator set.
    #[must_use]
    pub fn new(epoch: Epoch, set: &ValidatorSet) -> Self {
        Self { epoch, keys: set.validators().iter().map(|validator| validator.key).collect() }
    }
}

/// How much the network may hold and do.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Established connections that others opened.
    pub inbound: u32,
    /// Established connections that this node opened.
    pub outbound: u32,
    /// Connections that are being set up, in each direction.
    pub pending: u32,
    /// Connections from one IP address, or from one IPv6 network of 64 bits, those being set up included.
    pub per_address: u32,
    /// Peers this node dials by itself to be well connected; boot nodes, reserved peers and validators come on top.
    pub peers_wanted: usize,
    /// Sync requests a peer may make per second in the long run.
    pub sync_requests_per_second: u32,
    /// Sync requests a peer may make at once.
    pub sync_requests_burst: u32,
    /// Requests for state a peer may make per second in the long run; each brings a megabyte.
    pub state_requests_per_peer_second: u32,
    /// Requests for state a peer may make at once.
    pub state_requests_per_peer_burst: u32,
    /// Requests for state that are answered per second in the long run, over all peers.
    pub state_requests_per_second: u32,
    /// Requests for state that are answered at once, over all peers.
    pub state_requests_burst: u32,
    /// How long a first ban lasts; each further one lasts twice as long.
    pub ban: Duration,
    /// Events that wait for the node.
    pub events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            inbound: 96,
            outbound: 64,
            pending: 64,
            per_address: 16,
            peers_wanted: 24,
            sync_requests_per_second: 20,
            sync_requests_burst: 60,
            state_requests_per_peer_second: 20,
            state_requests_per_peer_burst: 40,
            state_requests_per_second: 20,
            state_requests_burst: 20,
            ban: Duration::from_mins(1),
            events: 1024,
        }
    }
}

/// Everything a network is started with.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// The node's key.
    pub node_key: NodeKey,
    /// The genesis hash; nodes of another one are turned away.
    pub genesis: Hash,
    /// Addresses to listen on, e.g. `/ip4/0.0.0.0/tcp/30333` and `/ip4/0.0.0.0/udp/30333/quic-v1`.
    pub listen: Vec<Multiaddr>,
    /// Addresses to announce besides those listened on.
    pub external: Vec<Multiaddr>,
    /// First contacts, each ending in `/p2p/<peer id>`.
    pub boot_nodes: Vec<Multiaddr>,
    /// Peers that are always connected and never banned, each ending in `/p2p/<peer id>`.
    pub reserved: Vec<Multiaddr>,
    /// Whether to connect to reserved peers alone.
    pub reserved_only: bool,
    /// Peers remembered from an earlier run, each ending in `/p2p/<peer id>`; see [`crate::NetworkStatus::known`].
    pub known: Vec<Multiaddr>,
    /// Bans of an earlier run that have not ended; see [`crate::NetworkStatus::banned`].
    pub banned: Vec<BanStatus>,
    /// The consensus keys, on validators, the newest last: the last one among the epoch's validators is used.
    pub consensus_keys: Vec<KeyPair>,
    /// The validators of the current epoch.
    pub validators: Validators,
    /// Limits.
    pub limits: Limits,
    /// Name and version told to peers, e.g. `cairn/0.1.0`.
    pub agent: String,
    /// Where metrics are registered.
    pub registry: Option<prometheus::Registry>,
}

impl NetworkConfig {
    /// A configuration without addresses, peers or validators.
    #[must_use]
    pub fn new(node_key: NodeKey, genesis: Hash) -> Self {
        Self {
            node_key,
            genesis,
            listen: Vec::new(),
            external: Vec::new(),
            boot_nodes: Vec::new(),
            reserved: Vec::new(),
            reserved_only: false,
            known: Vec::new(),
            banned: Vec::new(),
            consensus_keys: Vec::new(),
            validators: Validators::default(),
            limits: Limits::default(),
            agent: concat!("cairn/", env!("CARGO_PKG_VERSION")).to_owned(),
            registry: None,
        }
    }
}

/// Splits `…/p2p/<peer id>` into the peer and the address to dial.
///
/// # Errors
/// The address does not end in a peer id.
pub fn split_peer_address(address: &Multiaddr) -> Result<(PeerId, Multiaddr), StartError> {
    let mut dialable = address.clone();
    match dialable.pop() {
        Some(Protocol::P2p(peer)) if !dialable.is_empty() => Ok((peer, dialable)),
        _ => Err(StartError::PeerAddress { address: address.clone() }),
    }
}
