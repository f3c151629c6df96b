//! What the engine asks of the driver, in the order in which it must happen.

use crate::guard::Refusal;
use crate::journal::JournalRecord;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{
    Block, Certificate, Epoch, Evidence, Hash, Proposal, Subject, TimestampMs, ValidatorIndex, View,
};
use std::sync::Arc;

/// One thing to do; validators are named by index by an engine, by key by [`crate::Consensus`].
///
/// All [`Output::Journal`] records of a step are appended and synced with one sync before any [`Output::Broadcast`],
/// [`Output::Send`] or [`Output::Finalize`] of that step is carried out. The rest may be started at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<V = ValidatorIndex> {
    /// Append the record to the journal. If that fails the process must end.
    Journal(JournalRecord),
    /// Send the message to every other validator.
    Broadcast(ConsensusMessage),
    /// Send the message to one validator.
    Send {
        /// The addressee.
        to: V,
        /// The message.
        message: ConsensusMessage,
    },
    /// Send the block to the validator as [`ConsensusMessage::Block`] if the ledger has it; otherwise do nothing.
    ServeBlock {
        /// The addressee.
        to: V,
        /// The block's hash.
        block: Hash,
    },
    /// Build a block on `parent`, which the ledger has executed, and answer with [`crate::Input::Proposed`].
    Propose {
        /// The epoch, for the block's consensus context.
        epoch: Epoch,
        /// The view, for the context and the answer.
        view: View,
        /// Our own index, for the context.
        proposer: ValidatorIndex,
        /// The parent's hash.
        parent: Hash,
        /// The timestamp to put into the block: now, and above the parent's.
        timestamp: TimestampMs,
        /// Evidence to put into the block, unless its offender is punished already.
        evidence: Vec<Evidence>,
    },
    /// Check a proposed block and answer with [`crate::Input::Verified`]; execution may start, its result is asked later.
    ///
    /// Checked already: hash, extrinsics root, epoch, view, proposer, height, parent, timestamp, the hash of this epoch's
    /// validators. The ledger has executed the parent.
    Verify {
        /// The proposal.
        proposal: Proposal,
        /// Its block.
        block: Arc<Block>,
        /// The hash of the parent.
        parent: Hash,
    },
    /// Execute the block (once), compare the roots with its header, store it durably, and answer with
    /// [`crate::Input::Certified`]. Asked again after a restart. The ledger has executed the parent.
    Certify {
        /// The block's hash.
        hash: Hash,
        /// The block.
        block: Arc<Block>,
    },
    /// Commit these blocks; all of them were certified. Those at or below the ledger's head are skipped.
    Finalize {
        /// Hashes in the order of heights; the last one is the block that `certificate` is about.
        blocks: Vec<Hash>,
        /// The finalization.
        certificate: Certificate,
    },
    /// The chain is final up to a block whose ancestors are out of reach of single fetches: start block sync.
    /// Repeated while that stays so.
    Behind {
        /// The newest finalization seen.
        certificate: Certificate,
    },
    /// A validator broke the protocol in a way that proves nothing to others.
    Blame {
        /// The validator.
        validator: V,
        /// What it did.
        offence: Offence,
    },
    /// A validator signed two things that exclude each other.
    Evidence(Evidence),
    /// The vote guard did not sign a vote that the engine wanted to cast, though it is not silent.
    VoteRefused {
        /// What was to be voted for.
        subject: Subject,
        /// Why not.
        refusal: Refusal,
    },
    /// A certificate holds a vote of our key that its record does not: the record is older than it should be, or another
    /// node signs with the same key. Nothing is signed until that does no harm any more; see [`crate::Silence`].
    RecordLost {
        /// What was voted for.
        subject: Subject,
    },
    /// A finalized block contradicts this node: it does not execute to its roots here, or it does not descend from the
    /// committed chain. The process must stop: its state or its software is wrong, or a third of the power is malicious.
    Diverged {
        /// The finalized block.
        block: Hash,
    },
}

impl Output {
    /// Names validators in another way; `None` where one has no other name.
    pub(crate) fn map_validator<V>(self, name: impl FnOnce(ValidatorIndex) -> Option<V>) -> Option<Output<V>> {
        Some(match self {
            Self::Send { to, message } => Output::Send { to: name(to)?, message },
            Self::ServeBlock { to, block } => Output::ServeBlock { to: name(to)?, block },
            Self::Blame { validator, offence } => Output::Blame { validator: name(validator)?, offence },
            Self::Journal(record) => Output::Journal(record),
            Self::Broadcast(message) => Output::Broadcast(message),
            Self::Propose { epoch, view, proposer, parent, timestamp, evidence } => {
                Output::Propose { epoch, view, proposer, parent, timestamp, evidence }
            }
            Self::Verify { proposal, block, parent } => Output::Verify { proposal, block, parent },
            Self::Certify { hash, block } => Output::Certify { hash, block },
            Self::Finalize { blocks, certificate } => Output::Finalize { blocks, certificate },
            Self::Behind { certificate } => Output::Behind { certificate },
            Self::Evidence(evidence) => Output::Evidence(evidence),
            Self::VoteRefused { subject, refusal } => Output::VoteRefused { subject, refusal },
            Self::RecordLost { subject } => Output::RecordLost { subject },
            Self::Diverged { block } => Output::Diverged { block },
        })
    }
}

/// What a sender can be blamed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Offence {
    /// A vote with a signature that does not verify.
    #[error("wrong signature under a vote")]
    BadSignature,
    /// A certificate that does not verify.
    #[error("certificate that does not verify")]
    BadCertificate,
    /// A vote signed by somebody else than the sender.
    #[error("vote of another signer")]
    NotTheSigner,
    /// A proposal by somebody else than the leader, or one that contradicts itself.
    #[error("malformed proposal")]
    BadProposal,
    /// A proposal that the ledger, or the rules on ancestry and context, refuse.
    #[error("invalid proposal")]
    InvalidProposal,
    /// A block whose body does not match its header.
    #[error("block whose body does not match its header")]
    BadBlock,
    /// An answer to a probe that proves less than it says.
    #[error("unproved standing")]
    BadStanding,
    /// Evidence that proves nothing.
    #[error("evidence that proves nothing")]
    BadEvidence,
    /// Two votes that exclude each other; [`Output::Evidence`] carries the proof.
    #[error("conflicting votes")]
    Conflict,
}
