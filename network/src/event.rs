//! What the network tells the node, and the node tells the network about peers.

use cairn_primitives::message::{ConsensusMessage, StateRequest, StateResponse, SyncRequest, SyncResponse};
use cairn_primitives::{FinalizedBlock, OpaqueExtrinsic, PublicKey};
use libp2p::gossipsub::MessageId;
use libp2p::{Multiaddr, PeerId};
use std::time::Duration;
use tokio::sync::oneshot;

/// A gossip message that waits for the node's verdict, and who forwarded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipId {
    pub(crate) message: MessageId,
    pub(crate) source: PeerId,
}

/// The node's answer to a gossip message; without one within seconds it is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Forward it.
    Accept,
    /// Do not forward it; nobody is to blame.
    Ignore,
    /// Do not forward it; whoever sent it is to blame.
    Reject,
}

/// What a peer did wrong, from worst to least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offence {
    /// It sent bytes that no correct node sends: malformed, oversized, wrongly signed.
    Malformed,
    /// It sent something well-formed that is false: an invalid block, a gap, a wrong certificate.
    Invalid,
    /// It asks more than its share.
    Flooding,
    /// Its answer was of no use: off-range, empty, stale.
    Useless,
    /// It did not answer in time.
    Slow,
}

impl Offence {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::Malformed, Self::Invalid, Self::Flooding, Self::Useless, Self::Slow];

    /// The offence with a label.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|offence| offence.label() == label)
    }

    /// A word for logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Invalid => "invalid",
            Self::Flooding => "flooding",
            Self::Useless => "useless",
            Self::Slow => "slow",
        }
    }
}

/// What happened on the network.
#[derive(Debug)]
pub enum Event {
    /// Transactions came by gossip; they wait for [`crate::Handle::verdict`].
    Transactions {
        /// Who forwarded them.
        peer: PeerId,
        /// What to give the verdict on.
        id: GossipId,
        /// The transactions, in the order sent.
        extrinsics: Vec<OpaqueExtrinsic>,
    },
    /// A finalized block came by gossip; it waits for [`crate::Handle::verdict`].
    Block {
        /// Who forwarded it.
        peer: PeerId,
        /// What to give the verdict on.
        id: GossipId,
        /// The block; its finalization is not checked.
        block: Box<FinalizedBlock>,
    },
    /// A validator sent a consensus message; sender and encoding are checked, nothing else.
    Consensus {
        /// The authenticated sender.
        from: PublicKey,
        /// The message.
        message: ConsensusMessage,
    },
    /// A validator can be sent to and heard from.
    ValidatorConnected(PublicKey),
    /// A validator was lost; the network tries to get it back.
    ValidatorDisconnected(PublicKey),
    /// The first connection to a peer came up.
    PeerConnected(PeerId),
    /// The last connection to a peer closed.
    PeerDisconnected(PeerId),
    /// A peer of another chain was turned away.
    WrongGenesis {
        /// The peer.
        peer: PeerId,
        /// How it names its chain.
        theirs: String,
        /// How this node names its own.
        ours: String,
    },
    /// A peer was banned.
    Banned {
        /// The peer.
        peer: PeerId,
        /// Its last offence.
        reason: Offence,
        /// For how long.
        duration: Duration,
    },
    /// A peer asks for blocks; dropping `reply` refuses.
    SyncRequest {
        /// The peer.
        peer: PeerId,
        /// What it asks for.
        request: SyncRequest,
        /// Takes the answer.
        reply: oneshot::Sender<SyncResponse>,
    },
    /// A peer asks for state; dropping `reply` refuses.
    StateRequest {
        /// The peer.
        peer: PeerId,
        /// What it asks for.
        request: StateRequest,
        /// Takes the answer.
        reply: oneshot::Sender<StateResponse>,
    },
    /// The node listens on an address, which ends in its own `/p2p/<peer id>`.
    Listening(Multiaddr),
    /// A listener failed while running.
    ListenerFailed {
        /// The addresses it listened on.
        addresses: Vec<Multiaddr>,
        /// What went wrong.
        reason: String,
    },
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The peer.
    Inbound,
    /// This node.
    Outbound,
}

/// A connected peer.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Who.
    pub peer: PeerId,
    /// The remote address of its first connection.
    pub address: Multiaddr,
    /// Who opened that connection.
    pub direction: Direction,
    /// Name and version it gives itself.
    pub agent: Option<String>,
    /// Its consensus key, once it has proved to be a validator.
    pub validator: Option<PublicKey>,
    /// Its reputation: 0 at best, banned at -100.
    pub score: i32,
    /// Its last offence, as far as it is remembered.
    pub last_offence: Option<Offence>,
    /// The last measured round trip.
    pub round_trip: Option<Duration>,
    /// How long it has been connected.
    pub connected: Duration,
}

/// A banned peer.
#[derive(Clone, Debug)]
pub struct BanStatus {
    /// Who.
    pub peer: PeerId,
    /// The offence that led to the ban.
    pub reason: Offence,
    /// The time left.
    pub remaining: Duration,
    /// Which ban of the peer it is, from 1 on: each lasts twice as long as the one before.
    pub count: u32,
}

/// What the network looks like from here.
#[derive(Clone, Debug)]
pub struct NetworkStatus {
    /// This node's peer id.
    pub local: PeerId,
    /// The addresses listened on, each with `/p2p/<peer id>`.
    pub listening: Vec<Multiaddr>,
    /// Connected peers.
    pub connected: Vec<PeerStatus>,
    /// Banned peers.
    pub banned: Vec<BanStatus>,
    /// Addresses of peers that were connected at some time, each with `/p2p/<peer id>`: worth keeping across restarts. At
    /// most 256, those of connected peers first.
    pub known: Vec<Multiaddr>,
}
