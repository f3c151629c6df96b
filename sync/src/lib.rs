//! Block sync: how a node gets the finalized blocks it does not have. A pure machine,
//! `step(now, Input, &mut Vec<Output>)`, and the answering side, [`serve`]. A node without a chain may begin with the state of a
//! late block: [`SnapshotSync`] is the machine for that, and [`Backfill`] the one that gets the blocks below.
//!
//! ```text
//!            no peer            a peer             a verified tip above ours
//!   Idle ◄──────────── any ──────────► Discovering ──────────────────► Blocks ──┐
//!                                           │ all asked, none above        ▲    │ at the tip
//!                                           └────────────► CaughtUp ───────┘ ◄──┘
//!   Failed: a final block does not fit or does not execute.   behind for a while, or by many
//! ```
//!
//! Nothing is believed without a finalization: a tip counts once its certificate verifies, a range of blocks once the
//! certificate of its last block verifies and every other is the parent of the next. So a range proves itself, whoever
//! sent it, and ranges are fetched from several peers at once. Blocks reach the caller in order, without gaps, and linked
//! to the local head. Only the certificate that closes a range is verified; those inside it are taken off the blocks,
//! as they are not needed and may be forged.
//!
//! Validators change from epoch to epoch, and the set of the next one is known once the last block of this one is imported.
//! So a range never goes past the end of an epoch, nothing is asked for beyond the last epoch whose set is known, and the
//! caller tells each further set ([`Input::Validators`]). A tip in a later epoch cannot be verified yet: the peer is taken at
//! its word for the blocks that lead there, and asked again once it can be.
//!
//! Does not: execute, store, talk to peers or know time. The caller carries requests out, feeds answers in and imports.
//!
//! Bounds: peers, requests in flight in total and per peer, blocks and bytes held, blocks handed out and not yet
//! imported (see [`SyncConfig`]). A peer that lies, stalls or sends what was not asked for is reported, left out for a
//! growing time, and its work goes to others.
#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::indexing_slicing)]

mod backfill;
mod buffer;
mod config;
mod machine;
mod message;
mod peers;
mod serve;
mod snapshot;
mod validators;
mod verify;

pub use backfill::{
    ArchiveAnswer, ArchiveError, ArchiveRules, ArchivedRange, Backfill, BackfillConfig, BackfillInput, BackfillOffence,
    BackfillOutput, BackfillProgress,
};
pub use config::{SyncConfig, TICK_INTERVAL_MS};
pub use machine::{Failure, Progress, Sync};
pub use message::{Answer, Input, Offence, Output, PeerRef, RequestId, Severity, State, Verdict};
pub use serve::{BlockSource, serve};
pub use snapshot::{
    PartAnswer, SnapshotConfig, SnapshotInput, SnapshotOffence, SnapshotOutput, SnapshotProgress, SnapshotState,
    SnapshotSync,
};
pub use validators::{VALIDATOR_SETS_MAX, ValidatorSets};
pub use verify::{VerifiedRange, VerifyError, verify_range};

#[cfg(test)]
mod tests;
