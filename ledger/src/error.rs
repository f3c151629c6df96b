//! Errors of the ledger, sorted by what they ask of the caller.

use cairn_primitives::{Epoch, Hash, Height};
use cairn_runtime::{UnknownRules, Upgrade};
use cairn_storage::{DatabaseError, StateError};

pub use cairn_storage::ErrorClass;

/// Why the ledger did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database failed; the committed state is as it was.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The state store failed; the committed state is as it was.
    #[error(transparent)]
    State(#[from] StateError),
    /// The data folder belongs to another chain.
    #[error(
        "the database holds the chain with genesis {found}, the chain spec describes {expected}: \
         use the matching spec or another data folder"
    )]
    OtherChain {
        /// Genesis in the database.
        found: Hash,
        /// Genesis of the chain spec.
        expected: Hash,
    },
    /// The chain in the data folder changed its rules at another height than the chain spec says.
    #[error(
        "the chain spec says that rules {} hold from block {} on, but block {} in the database is not the last one under \
         other rules: use the chain spec that the chain was made with",
        .0.spec_version, .0.height, .0.height.0.saturating_sub(1)
    )]
    OtherRules(Upgrade),
    /// The chain in the data folder changed its rules, and the chain spec does not say so.
    #[error(
        "rules {found} hold in the database since the chain changed its rules, and its chain spec names no change to them at \
         or below block {head}, the last one here: add the change to `upgrades` of the chain spec"
    )]
    UnnamedRules {
        /// The version of the rules that the last change brought.
        found: u32,
        /// The height of the committed head.
        head: Height,
    },
    /// What comes is under rules that this binary does not have.
    #[error(transparent)]
    UnknownRules(#[from] UnknownRules),
    /// The genesis state cannot be built.
    #[error("the genesis block cannot be built: {0}")]
    Genesis(String),
    /// A block that is neither the committed head nor among the executed blocks above it: it may come later.
    #[error("block {0} is unknown or not on top of the committed chain")]
    UnknownBlock(Hash),
    /// A block is wanted for an epoch other than the running one.
    #[error("a block was asked for in epoch {asked}, the running one is {running}")]
    WrongEpoch {
        /// Asked for.
        asked: Epoch,
        /// In which the next block on the committed chain is.
        running: Epoch,
    },
    /// The last block of an epoch comes without its own finalization, which the next epoch has to be able to show.
    #[error("block {hash} at height {height} closes its epoch and comes without a finalization of its own")]
    UnprovedHandover {
        /// The block.
        hash: Hash,
        /// Its height.
        height: Height,
    },
    /// A block that was to be added below those that are here is not the parent of the lowest.
    #[error("block {hash} at height {height} is not the one below the lowest block here")]
    NotBelow {
        /// The block.
        hash: Hash,
        /// Its height.
        height: Height,
    },
    /// A block that others finalized breaks a rule here.
    #[error(
        "block {hash} at height {height} is final, but invalid at this node: {reason}. \
         This software or its data is wrong, or more than a third of the voting power is malicious: do not restart blindly"
    )]
    FinalizedInvalid {
        /// The block.
        hash: Hash,
        /// Its height.
        height: Height,
        /// The broken rule.
        reason: String,
    },
    /// The runtime could not build or run a block for a reason that is not the block's fault.
    #[error("execution failed: {0}")]
    Execution(String),
}

impl LedgerError {
    /// What the error asks of the caller.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::UnknownBlock(_)
            | Self::WrongEpoch { .. }
            | Self::UnprovedHandover { .. }
            | Self::NotBelow { .. }
            | Self::UnknownRules(_) => ErrorClass::Unavailable,
            Self::Database(_)
            | Self::State(_)
            | Self::OtherChain { .. }
            | Self::OtherRules(_)
            | Self::UnnamedRules { .. }
            | Self::Genesis(_)
            | Self::FinalizedInvalid { .. }
            | Self::Execution(_) => ErrorClass::Fatal,
        }
    }
}

/// Why a read has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The state store failed.
    #[error(transparent)]
    State(StateError),
    /// What is asked at the block is told by the rules of the next one, which are not here.
    #[error(transparent)]
    UnknownRules(#[from] UnknownRules),
    /// No finalized block has this hash.
    #[error("block {0} is unknown or not final")]
    UnknownBlock(Hash),
    /// The epoch has not begun at the committed head.
    #[error("epoch {0} has not begun, its validators are not known")]
    UnknownEpoch(Epoch),
    /// The newest block is genesis, or only final through a descendant: a snapshot of it could not be trusted.
    #[error("the newest block, of height {0}, has no finalization of its own, which a snapshot needs: try again later")]
    NoFinalization(Height),
    /// A block is only in the history of later ones.
    #[error("block {block} is not below block {under}: the history of a block has what is before it")]
    NotBelow {
        /// The block to be shown.
        block: Height,
        /// The block in whose history it was to be.
        under: Height,
    },
    /// The block is below those that are here.
    #[error("this node has blocks from height {lowest} on: ask one that has all blocks")]
    BlockNotKept {
        /// The lowest height from which on all blocks are here.
        lowest: Height,
    },
    /// The list of all headers begins at genesis, and the node does not have the first of them.
    #[error("this node has blocks from height {lowest} on and cannot prove history: ask one that has all blocks")]
    NoHistory {
        /// The lowest height from which on all blocks are here.
        lowest: Height,
    },
    /// The state of the block is no longer kept here.
    #[error(
        "the state at height {height} was pruned; this node keeps states from height {lowest} on: ask an archive node"
    )]
    Pruned {
        /// Height asked for.
        height: Height,
        /// The lowest height kept.
        lowest: Height,
    },
}

impl From<StateError> for ReadError {
    fn from(error: StateError) -> Self {
        // The height left the window between the question and the answer.
        if let StateError::Pruned { height, lowest } = error {
            return Self::Pruned { height, lowest };
        }
        Self::State(error)
    }
}
