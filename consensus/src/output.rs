//! What the engine asks of the driver, in the order in which it must happen.

use crate::journal::JournalRecord;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Block, Certificate, Epoch, Evidence, Hash, Proposal, TimestampMs, ValidatorIndex, View};
use std::sync::Arc;

/// One thing to do.
///
/// All [`Output::Journal`] records of a step are appended and synced with one sync before any [`Output::Broadcast`],
/// [`Output::Send`] or [`Output::Finalize`] of that step is carried out. The rest may be started at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Append the record to the journal. If that fails the process must end.
    Journal(JournalRecord),
    /// Send the message to every other validator.
    Broadcast(ConsensusMessage),
    /// Send the message to one validator.
    Send {
        /// The addressee.
        to: ValidatorIndex,
        /// The message.
        message: ConsensusMessage,
    },
    /// Send the block to the validator as [`ConsensusMessage::Block`] if the ledger has it; otherwise do nothing.
    ServeBlock {
        /// The addressee.
        to: ValidatorIndex,
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
        validator: ValidatorIndex,
        /// What it did.
        offence: Offence,
    },
    /// A validator signed two things that exclude each other.
    Evidence(Evidence),
    /// A finalized block contradicts this node: it does not execute to its roots here, or it does not descend from the
    /// committed chain. The process must stop: its state or its software is wrong, or a third of the power is malicious.
    Diverged {
        /// The finalized block.
        block: Hash,
    },
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
    /// Two votes that exclude each other; [`Output::Evidence`] carries the proof.
    #[error("conflicting votes")]
    Conflict,
}
