//! Messages between nodes, as they travel on direct streams and in gossip.
#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use crate::block::{ArchivedBlock, BLOCK_BYTES_MAX, Block, FinalizedBlock, OpaqueExtrinsic};
use crate::certificate::{CERTIFICATE_BYTES_MAX, Certificate};
use crate::evidence::Evidence;
use crate::hash::Hash;
use crate::number::{Epoch, Height, View};
use crate::snapshot::SnapshotOffer;
use crate::state_proof::CHUNK_BYTES_MAX;
use crate::vote::{Proposal, Vote, VoteKind};
use parity_scale_codec::{Decode, Encode};
use std::sync::Arc;

/// The largest encoded [`ConsensusMessage`], in bytes: a full proposal.
pub const CONSENSUS_MESSAGE_BYTES_MAX: usize = BLOCK_BYTES_MAX + 1024;

/// The largest encoded [`SyncRequest`], in bytes.
pub const SYNC_REQUEST_BYTES_MAX: usize = 64;

/// The largest encoded [`SyncResponse`], in bytes: a block of the largest with its finalization and all events it can have.
pub const SYNC_RESPONSE_BYTES_MAX: usize = 4 * BLOCK_BYTES_MAX + CERTIFICATE_BYTES_MAX + 1024;

/// The largest encoded [`SyncResponse::Blocks`], in bytes: some blocks, or one of the largest with its finalization.
pub const SYNC_BLOCKS_BYTES_MAX: usize = 2 * BLOCK_BYTES_MAX + CERTIFICATE_BYTES_MAX + 1024;

/// The most blocks one [`SyncRequest::Blocks`] or [`SyncRequest::Archive`] may ask for.
pub const SYNC_BLOCKS_MAX: u32 = 256;

/// The largest encoded [`StateRequest`], in bytes.
pub const STATE_REQUEST_BYTES_MAX: usize = 64;

/// The largest encoded [`StateResponse`], in bytes: one chunk.
pub const STATE_RESPONSE_BYTES_MAX: usize = CHUNK_BYTES_MAX + 1024;

/// The bytes of one part of a manifest; the last part may have fewer.
pub const MANIFEST_PART_BYTES: usize = 1 << 20;

/// The most snapshots that a node offers.
pub const SNAPSHOT_OFFERS_MAX: usize = 4;

/// The largest encoded list of transactions in one gossip message, in bytes.
pub const TRANSACTIONS_BYTES_MAX: usize = 1 << 20;

/// What validators send each other on their direct streams.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ConsensusMessage {
    /// A leader's block with its notarize vote.
    #[codec(index = 0)]
    Proposal {
        /// What is proposed; `proposal.block` is the hash of `block`'s header.
        proposal: Proposal,
        /// The block.
        block: Arc<Block>,
        /// The leader's notarize vote for `proposal`.
        vote: Vote,
    },
    /// A vote.
    #[codec(index = 1)]
    Vote(Vote),
    /// A certificate, sent by itself or as the answer to [`ConsensusMessage::FetchCertificate`].
    #[codec(index = 2)]
    Certificate(Certificate),
    /// A request for a certificate that lets the asker pass or build on a view.
    #[codec(index = 3)]
    FetchCertificate {
        /// The kind wanted.
        kind: VoteKind,
        /// Its epoch.
        epoch: Epoch,
        /// Its view.
        view: View,
    },
    /// A request for a block.
    #[codec(index = 4)]
    FetchBlock(Hash),
    /// The answer to [`ConsensusMessage::FetchBlock`].
    #[codec(index = 5)]
    Block(Arc<Block>),
    /// Evidence that the receiver may put into a block.
    #[codec(index = 6)]
    Evidence(Box<Evidence>),
    /// The question where the receiver stands, by a validator that lost the record of its votes.
    #[codec(index = 7)]
    Probe {
        /// The epoch.
        epoch: Epoch,
    },
    /// The answer to [`ConsensusMessage::Probe`].
    #[codec(index = 8)]
    Standing {
        /// The epoch.
        epoch: Epoch,
        /// The view that the sender is in.
        view: View,
        /// What let it enter the view; `None` in the first one.
        entry: Option<Certificate>,
    },
}

impl ConsensusMessage {
    /// The epoch that the message belongs to; `None` for what is good in any.
    #[must_use]
    pub const fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::Proposal { proposal, .. } => Some(proposal.epoch),
            Self::Vote(vote) => Some(vote.subject.epoch()),
            Self::Certificate(certificate) => Some(certificate.subject.epoch()),
            Self::FetchCertificate { epoch, .. } | Self::Probe { epoch } | Self::Standing { epoch, .. } => Some(*epoch),
            Self::FetchBlock(_) | Self::Block(_) | Self::Evidence(_) => None,
        }
    }
}

/// What a node asks another about the finalized chain.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SyncRequest {
    /// How far the other is.
    #[codec(index = 0)]
    Status,
    /// Finalized blocks `from`, `from + 1`, … in order; the answer may be shorter, but ends in a block that carries its
    /// own finalization.
    #[codec(index = 1)]
    Blocks {
        /// The first height.
        from: Height,
        /// How many at most, up to [`SYNC_BLOCKS_MAX`].
        count: u32,
    },
    /// Finalized blocks with their events, `last`, `last - 1`, … in falling order; the answer may be shorter.
    #[codec(index = 2)]
    Archive {
        /// The highest height.
        last: Height,
        /// How many at most, up to [`SYNC_BLOCKS_MAX`].
        count: u32,
    },
}

/// The answer to a [`SyncRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SyncResponse {
    /// The highest finalized block that carries its own finalization; `None` at genesis.
    #[codec(index = 0)]
    Status {
        /// Height of the last finalized block.
        head: Height,
        /// The newest finalization.
        finalization: Option<Certificate>,
        /// The lowest height from which on it has all blocks; 0 where it has the whole chain.
        lowest: Height,
    },
    /// The blocks asked for.
    #[codec(index = 1)]
    Blocks(Vec<FinalizedBlock>),
    /// The server does not have what was asked for, or is too busy.
    #[codec(index = 2)]
    Refused,
    /// The blocks asked for with their events, highest first.
    #[codec(index = 3)]
    Archive(Vec<ArchivedBlock>),
}

/// What a node asks another about the state.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum StateRequest {
    /// Which snapshots the other offers.
    #[codec(index = 0)]
    Snapshots,
    /// A part of a snapshot's manifest.
    #[codec(index = 1)]
    Manifest {
        /// The snapshot.
        id: Hash,
        /// The first byte, a multiple of [`MANIFEST_PART_BYTES`].
        from: u32,
    },
    /// A chunk.
    #[codec(index = 2)]
    Chunk {
        /// The snapshot.
        id: Hash,
        /// The number of the chunk.
        index: u32,
    },
}

/// The answer to a [`StateRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum StateResponse {
    /// At most [`SNAPSHOT_OFFERS_MAX`], newest first.
    #[codec(index = 0)]
    Snapshots(Vec<SnapshotOffer>),
    /// Bytes of the manifest: [`MANIFEST_PART_BYTES`], or those that are left.
    #[codec(index = 1)]
    Manifest(Vec<u8>),
    /// The encoded chunk.
    #[codec(index = 2)]
    Chunk(Vec<u8>),
    /// The server does not have what was asked for, or is too busy.
    #[codec(index = 3)]
    Refused,
}

/// What travels on the transactions topic.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TransactionGossip(pub Vec<OpaqueExtrinsic>);
