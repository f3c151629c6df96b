//! What the driver tells the engine.

use crate::journal::JournalRecord;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Block, Certificate, Hash, Height, TimestampMs, ValidatorIndex, View};
use std::sync::Arc;

/// The time of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// A clock that never goes back, from any origin: all time-outs count on it.
    pub monotonic_ms: u64,
    /// The time of day; it may jump. Used for block timestamps and the block interval only.
    pub wall: TimestampMs,
}

/// One thing that happened; validators are named by index to an engine, by key to [`crate::Consensus`].
#[derive(Clone, Debug)]
pub enum Input<V = ValidatorIndex> {
    /// A record of the journal, in any order; before [`Input::Start`] only.
    Replay(JournalRecord),
    /// A block that the ledger stored at [`crate::Output::Certify`] and has not committed; before [`Input::Start`] only.
    Restored(Arc<Block>),
    /// The journal and the restored blocks are complete: take part. Messages before it are ignored.
    Start,
    /// The time [`crate::Engine::next_deadline`] named has come.
    Tick,
    /// A message from a validator, authenticated by the stream it came on.
    Message {
        /// The sender.
        from: V,
        /// The message.
        message: ConsensusMessage,
    },
    /// The answer to [`crate::Output::Propose`].
    Proposed {
        /// The view of the request.
        view: View,
        /// The block, or `None` if none could be built.
        block: Option<Arc<Block>>,
    },
    /// The answer to [`crate::Output::Verify`].
    Verified {
        /// The block's hash.
        block: Hash,
        /// What the ledger found.
        verdict: Verdict,
    },
    /// The answer to [`crate::Output::Certify`].
    Certified {
        /// The block's hash.
        block: Hash,
        /// Whether it executed to the roots in its header. If so, it is stored durably by now.
        holds: bool,
    },
    /// The ledger committed blocks that block sync brought, up to this one; the certificate is verified already.
    CommittedElsewhere {
        /// Height of the block that `certificate` finalizes.
        height: Height,
        /// Its timestamp.
        timestamp: TimestampMs,
        /// Its own finalization.
        certificate: Certificate,
    },
    /// Whether there are transactions to include that no block under way includes already.
    WorkAvailable(bool),
    /// The stream to a validator came up or went down.
    Peer {
        /// The validator.
        validator: V,
        /// Whether it can be reached now.
        connected: bool,
    },
}

/// What the ledger finds out about a proposed block before anyone votes for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Form, weight and signatures are right; the roots are judged by certification.
    Valid,
    /// It can never become valid.
    Invalid(String),
    /// It cannot be judged yet.
    NotYet {
        /// When to ask again, in milliseconds from now.
        retry_ms: u64,
    },
}
