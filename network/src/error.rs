//! Errors of the network, sorted by what they mean for the caller.

use libp2p::{Multiaddr, PeerId};

/// What an error means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The input was wrong; the same input will never do.
    Invalid,
    /// Not now; try again, or elsewhere.
    Unavailable,
    /// The network cannot run.
    Fatal,
}

/// Why the network could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {address}: {reason}; choose a free port and an address of this machine, such as \
         /ip4/0.0.0.0/tcp/30333 or /ip4/0.0.0.0/udp/30333/quic-v1"
    )]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the system or libp2p said.
        reason: String,
    },
    /// A peer's address names no peer.
    #[error("{address} does not name a peer; write <address>/p2p/<peer id>")]
    PeerAddress {
        /// The address.
        address: Multiaddr,
    },
    /// Metrics of this name exist already.
    #[error("cannot register network metrics: {0}; use one registry for one network")]
    Metrics(#[from] prometheus::Error),
    /// The transport could not be built.
    #[error("cannot set up {part}: {reason}")]
    Setup {
        /// Which part.
        part: &'static str,
        /// What it said.
        reason: String,
    },
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The queue of commands is full.
    #[error("the network's queue of {limit} commands is full; try again")]
    Full {
        /// Its capacity.
        limit: usize,
    },
    /// What is to be sent exceeds its limit.
    #[error("{what}: {actual} bytes, at most {limit} can be sent")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size, in bytes.
        actual: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// No authenticated stream to the validator exists.
    #[error("the validator is not connected")]
    NotConnected,
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}

/// Why a request for blocks or state got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// The peer is not connected.
    #[error("peer {0} is not connected")]
    NotConnected(PeerId),
    /// Too many requests are under way.
    #[error("{limit} requests are under way, which is the limit; try another peer or later")]
    Busy {
        /// The limit that was hit.
        limit: usize,
    },
    /// No answer in time.
    #[error("peer {0} did not answer in time")]
    Timeout(PeerId),
    /// The peer does not speak the protocol.
    #[error("peer {0} does not answer such requests")]
    Unsupported(PeerId),
    /// The answer broke the protocol; the peer was penalised.
    #[error("peer {peer} broke the protocol: {reason}")]
    Malformed {
        /// The peer.
        peer: PeerId,
        /// How.
        reason: String,
    },
    /// The connection broke.
    #[error("the connection to peer {peer} broke: {reason}")]
    Connection {
        /// The peer.
        peer: PeerId,
        /// How.
        reason: String,
    },
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}

impl StartError {
    /// What the error means: a network that did not start cannot run.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        ErrorClass::Fatal
    }
}

impl CommandError {
    /// What the error means for the caller.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Full { .. } | Self::NotConnected => ErrorClass::Unavailable,
            Self::TooLarge { .. } => ErrorClass::Invalid,
            Self::Stopped => ErrorClass::Fatal,
        }
    }
}

impl SyncError {
    /// What the error means for the caller.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Malformed { .. } => ErrorClass::Invalid,
            Self::NotConnected(_)
            | Self::Busy { .. }
            | Self::Timeout(_)
            | Self::Unsupported(_)
            | Self::Connection { .. } => ErrorClass::Unavailable,
            Self::Stopped => ErrorClass::Fatal,
        }
    }
}
