//! What goes into the `step` of snapshot sync and what comes out.

use crate::message::{PeerRef, RequestId, Severity};
use cairn_primitives::Hash;
use cairn_primitives::snapshot::{SnapshotOffer, VerifiedManifest};
use std::sync::Arc;

/// An input of [`crate::SnapshotSync::step`].
#[derive(Clone, Debug)]
pub enum SnapshotInput {
    /// A peer is connected.
    PeerConnected(PeerRef),
    /// A peer is gone; its requests need no answer.
    PeerGone(PeerRef),
    /// The answer to [`SnapshotOutput::RequestOffers`]; `None` if it was refused or failed.
    Offers {
        /// Who answered.
        peer: PeerRef,
        /// What it offers.
        offers: Option<Vec<SnapshotOffer>>,
    },
    /// The answer to [`SnapshotOutput::RequestManifest`] or [`SnapshotOutput::RequestChunk`].
    Part {
        /// Who answered.
        peer: PeerRef,
        /// Which request.
        id: RequestId,
        /// What came.
        answer: PartAnswer,
    },
    /// [`SnapshotOutput::Begin`] was done: the manifest is kept, and these chunks of it are here already.
    Begun {
        /// The numbers of the chunks.
        held: Vec<usize>,
    },
    /// The manifest of [`SnapshotOutput::Begin`] does not hold where only the caller could look.
    Refuted {
        /// Why.
        reason: String,
    },
    /// The chunk of [`SnapshotOutput::Store`] is kept.
    Stored {
        /// Its number.
        index: usize,
    },
    /// Time went by; wanted every [`crate::TICK_INTERVAL_MS`].
    Tick,
}

/// What came of a request for a part of a manifest or for a chunk.
#[derive(Clone, Debug)]
pub enum PartAnswer {
    /// Bytes.
    Bytes(Vec<u8>),
    /// The peer said no.
    Refused,
    /// The request or its answer was lost or malformed; the network layer has judged the peer for it.
    Failed,
}

/// An output of [`crate::SnapshotSync::step`].
#[derive(Clone, Debug)]
pub enum SnapshotOutput {
    /// Ask a peer which snapshots it offers.
    RequestOffers(PeerRef),
    /// Ask a peer for a part of a manifest.
    RequestManifest {
        /// Whom.
        peer: PeerRef,
        /// To be named in the answer.
        id: RequestId,
        /// The snapshot.
        snapshot: Hash,
        /// The first byte.
        from: u32,
    },
    /// Ask a peer for a chunk.
    RequestChunk {
        /// Whom.
        peer: PeerRef,
        /// To be named in the answer.
        id: RequestId,
        /// The snapshot.
        snapshot: Hash,
        /// The number of the chunk.
        index: u32,
    },
    /// Check the events of this manifest, and keep it so that a restart can go on. Answered by
    /// [`SnapshotInput::Begun`] or [`SnapshotInput::Refuted`].
    Begin(Arc<VerifiedManifest>),
    /// Keep a chunk, which was checked. Answered by [`SnapshotInput::Stored`].
    Store {
        /// Its number.
        index: usize,
        /// Its encoding.
        bytes: Vec<u8>,
    },
    /// Nobody has this snapshot any more, or it is a lie: forget manifest and chunks.
    Abandon,
    /// A peer misbehaved.
    Report {
        /// Who.
        peer: PeerRef,
        /// What it did.
        offence: SnapshotOffence,
    },
    /// All chunks are kept. Nothing follows.
    Complete(Arc<VerifiedManifest>),
    /// No peer has a snapshot that holds: go on with blocks. Nothing follows.
    NoSnapshot,
}

/// Where snapshot sync stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotState {
    /// Peers are awaited, or what they offer.
    Discovering,
    /// The manifest is being fetched or checked.
    Manifest,
    /// Chunks are being fetched.
    Chunks,
    /// All chunks are here, or there is no snapshot.
    Done,
}

/// What a peer did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotOffence {
    /// It offers more than a node may, or the same twice.
    #[error("offers {count} snapshots, which no node does")]
    InvalidOffers {
        /// How many.
        count: usize,
    },
    /// The manifest it sent does not hold.
    #[error("sent a manifest that does not hold: {reason}")]
    InvalidManifest {
        /// Why.
        reason: String,
    },
    /// A chunk it sent does not hold.
    #[error("sent a chunk that does not hold: {reason}")]
    InvalidChunk {
        /// Why.
        reason: String,
    },
    /// It did not answer in time.
    #[error("did not answer in time")]
    Stalled,
    /// It offers a snapshot, but refuses parts of it again and again.
    #[error("keeps refusing parts of a snapshot it offers")]
    Useless,
}

impl SnapshotOffence {
    /// How bad it is.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Stalled => Severity::Slow,
            Self::Useless => Severity::Useless,
            Self::InvalidOffers { .. } | Self::InvalidManifest { .. } | Self::InvalidChunk { .. } => {
                Severity::Malicious
            }
        }
    }
}
