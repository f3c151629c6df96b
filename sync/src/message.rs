//! What goes into the machine's `step` and what comes out.

use crate::verify::VerifyError;
use cairn_primitives::{Certificate, Epoch, FinalizedBlock, Hash, Height, ValidatorSet};
use std::fmt;
use std::sync::Arc;

/// A peer; the number means something to the caller alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerRef(pub u64);

/// A request for blocks; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// An input of [`crate::Sync::step`].
#[derive(Clone, Debug)]
pub enum Input {
    /// A peer that speaks the sync protocol is connected.
    PeerConnected(PeerRef),
    /// A peer is gone; its requests need no answer.
    PeerGone(PeerRef),
    /// The answer to [`Output::RequestStatus`].
    Status {
        /// Who answered.
        peer: PeerRef,
        /// The height of its last finalized block.
        head: Height,
        /// That block's finalization; `None` at genesis.
        finalization: Option<Certificate>,
        /// The lowest height from which on it has all blocks.
        lowest: Height,
    },
    /// [`Output::RequestStatus`] was refused or failed.
    StatusFailed(PeerRef),
    /// The answer to [`Output::RequestBlocks`].
    Blocks {
        /// Who answered.
        peer: PeerRef,
        /// Which request.
        id: RequestId,
        /// What came.
        answer: Answer,
    },
    /// The block at `height` from [`Output::Import`] is committed, and so are all before it.
    Imported {
        /// Its height.
        height: Height,
        /// Its hash.
        hash: Hash,
    },
    /// A block from [`Output::Import`] could not be executed or stored.
    ImportFailed {
        /// Its height.
        height: Height,
        /// Why.
        reason: String,
    },
    /// The local chain moved by other means than an import: consensus committed a block.
    LocalHead {
        /// The height of the last committed block.
        height: Height,
        /// Its hash.
        hash: Hash,
    },
    /// Gossip brought a finalized block. Answered by exactly one [`Output::Judged`].
    Announced {
        /// Names the message in the answer.
        message: u64,
        /// Who passed it on.
        peer: PeerRef,
        /// The block.
        block: Arc<FinalizedBlock>,
    },
    /// Consensus saw that others are ahead.
    Behind,
    /// The validator set of a further epoch is known: the block that opens it is committed. To be told for each epoch,
    /// before or after that block's [`Input::Imported`] or [`Input::LocalHead`].
    Validators {
        /// The epoch.
        epoch: Epoch,
        /// Its set.
        set: Arc<ValidatorSet>,
    },
    /// Time went by; wanted every [`crate::TICK_INTERVAL_MS`].
    Tick,
}

/// What came of a request for blocks.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Blocks.
    Blocks(Vec<FinalizedBlock>),
    /// The peer said no.
    Refused,
    /// The request or its answer was lost or malformed; the network layer has judged the peer for it.
    Failed,
}

/// An output of [`crate::Sync::step`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask a peer for its tip.
    RequestStatus(PeerRef),
    /// Ask a peer for blocks.
    RequestBlocks {
        /// Whom.
        peer: PeerRef,
        /// To be named in the answer.
        id: RequestId,
        /// The first height.
        from: Height,
        /// How many at most.
        count: u32,
    },
    /// Execute and commit these blocks: in order, linked to those handed out before, all proved final by the finalization
    /// of the last.
    Import(Vec<FinalizedBlock>),
    /// A peer misbehaved.
    Report {
        /// Who.
        peer: PeerRef,
        /// What it did.
        offence: Offence,
    },
    /// What gossip is to do with an announced block.
    Judged {
        /// The message.
        message: u64,
        /// The verdict.
        verdict: Verdict,
    },
    /// The machine changed its state.
    StateChanged {
        /// Before.
        from: State,
        /// Now.
        to: State,
    },
}

/// What gossip is to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it on.
    Accept,
    /// Do not pass it on; nobody is to blame.
    Ignore,
    /// Do not pass it on; the sender is to blame.
    Reject,
}

/// Where the machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// No peers.
    Idle,
    /// Peers are being asked for their tips.
    Discovering,
    /// Blocks are being fetched.
    Blocks,
    /// No peer has proved to be ahead; blocks come by gossip or consensus.
    CaughtUp,
    /// A final block does not fit the local chain: see [`crate::Sync::failure`]. Nothing is fetched until the local head
    /// moves past it by other means.
    Failed,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Discovering => "discovering",
            Self::Blocks => "blocks",
            Self::CaughtUp => "caught-up",
            Self::Failed => "failed",
        })
    }
}

/// What a peer did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Offence {
    /// Its tip is not what it claims.
    #[error("its tip at height {claimed} is a lie: {reason}")]
    LyingTip {
        /// The claim.
        claimed: Height,
        /// What is wrong.
        reason: String,
    },
    /// Blocks it sent do not hold.
    #[error("sent blocks that do not hold: {0}")]
    InvalidBlocks(VerifyError),
    /// A block it passed on does not hold.
    #[error("passed on a block that does not hold: {0}")]
    InvalidAnnouncement(VerifyError),
    /// It did not answer in time.
    #[error("did not answer in time")]
    Stalled,
    /// It says it has blocks, but refuses them again and again.
    #[error("keeps refusing blocks it says it has")]
    Useless,
}

/// How bad an offence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Slowness.
    Slow,
    /// An answer that helps nobody.
    Useless,
    /// Wrong data, which no honest node sends.
    Malicious,
}

impl Offence {
    /// How bad it is.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Stalled => Severity::Slow,
            Self::Useless | Self::InvalidBlocks(VerifyError::Empty) => Severity::Useless,
            Self::LyingTip { .. } | Self::InvalidBlocks(_) | Self::InvalidAnnouncement(_) => Severity::Malicious,
        }
    }
}
