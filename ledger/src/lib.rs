//! The life of a block: built or verified, executed once, committed once, read by everyone.
//!
//! ```text
//!   propose ──┐                       ┌─► Reader (committed blocks only, any number of threads)
//!   verify ───┼─► pending ─► certify ─┤
//!   import ───┘   (overlay)           └─► commit: ONE synced batch, then one list of facts
//! ```
//!
//! [`Ledger`] is the only writer. It keeps the blocks above the last finalized one with the outcome of their execution,
//! so that a block is executed once per node whichever way it came. [`Reader`] is the read model: a snapshot of the last
//! committed block and everything below it; reading never waits for the writer.
//!
//! The last block of an epoch opens the next one: nothing is built on it before it is committed, and with it the validator
//! set that the state after it says is stored for the next epoch.
//!
//! [`SnapshotSource`] and [`Restore`] take the state of a chain from one database to another; [`Ledger::fill`] adds the blocks
//! below, [`Replay`] the states.
//!
//! What it does not do: order blocks (consensus), choose transactions (mempool), fetch blocks (sync), touch a clock.
//!
//! Bounds: [`PENDING_BLOCKS_MAX`] blocks and [`PENDING_BYTES_MAX`] bytes above the head, [`TRANSACTIONS_REMEMBERED_MAX`]
//! remembered transactions.
//! Failure: an outside block that breaks a rule is [`Verdict::Invalid`]; a database error is fatal and leaves the
//! committed state as it was.

#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::indexing_slicing)]

pub mod audit;
mod backfill;
pub mod block_file;
mod check;
mod epoch;
mod error;
mod events;
mod genesis;
mod history;
mod known;
mod pending;
mod prepare;
mod reader;
mod replay;
pub mod rework;
mod signatures;
mod signers;
mod snapshot;
mod writer;

pub use backfill::{LowestBlock, events_root};
pub use check::Verdict;
pub use epoch::{Handover, OpenedEpoch};
pub use error::{ErrorClass, LedgerError, ReadError};
pub use genesis::Genesis;
pub use known::TRANSACTIONS_REMEMBERED_MAX;
pub use pending::{PENDING_BLOCKS_MAX, PENDING_BYTES_MAX};
pub use prepare::PreparedBlock;
pub use reader::{Head, HeadState, Reader, StateAt};
pub use replay::Replay;
pub use signatures::SignatureChecker;
pub use signers::Signers;
pub use snapshot::{Restore, RestoreError, SnapshotSource, verify_snapshot, verify_snapshot_events};
pub use writer::{Built, CommittedBlock, Ledger, LedgerConfig, ProposalRequest};

#[cfg(test)]
mod tests;
