//! The state: a map from storage key to value, committed by one Merkle root, readable and provable by version.
//!
//! The commitment is the SHA-256 tree of the `jmt` crate, hash by hash (see [`cairn_primitives::state_proof`]). How it is
//! kept:
//! ```text
//!   version (root) ──► Node ──► Node ──► Bucket ──► page of a few leaves: key hash, leaf hash, key, value
//!                       │ 4 hashes          │
//!                       └ shared between    └ resident, or read from table `state_pages` when asked for
//!                         versions, immutable
//! ```
//! - The *upper levels* are nodes in memory, each for two levels of the tree, never changed once made: a block copies the
//!   paths it touches and shares the rest. A committed version, a block that is not final and a view of a reader are each one
//!   root; none waits for another, and a competing block costs what it changes.
//! - A *bucket* holds all leaves below one node. It splits in four above [`page::SPLIT_LEAVES_MAX`] leaves, and four merge at
//!   [`page::MERGE_LEAVES_MAX`]. Everything inside a bucket is computed from its leaf hashes. Values over
//!   [`page::INLINE_VALUE_MAX`] bytes lie in table `state_keys`; the page keeps their hash.
//! - A block's hashes are computed level by level, many at once ([`hashing`]), parts of the tree on several threads
//!   ([`update`]); the root is the same for any number.
//! - A committed block writes its diff ([`diff`]); pages and archive follow behind ([`checkpoint`], [`unsaved`]).
//! - Pages that are on disk may leave memory ([`cache`], byte budget). Pages that no checkpoint has saved and pages that a
//!   newer version replaced stay with the versions that show them.
//! - *History*: the past is the head with what later blocks replaced put back, from the diffs of a window or from an archive
//!   ([`history`] for values, [`keys`], [`archive`] and [`past`] for every fourth level of the tree). The last
//!   [`store::RECENT_VERSIONS_MAX`] versions, within a byte budget, are provable on every node, all heights on an archive.
//! - Opening streams over the pages, builds the upper levels, applies the diffs above the last checkpoint and compares the
//!   root with the recorded one ([`open`]).
//!
//! Failure: an error of the database is fatal and leaves memory as it was; a root that does not match is reported at
//! opening and never worked with.

mod archive;
pub mod audit;
mod batch;
mod cache;
mod change;
mod checkpoint;
mod diff;
mod error;
mod hashing;
mod history;
mod keys;
mod leaves;
mod load;
mod open;
mod overlay;
mod page;
mod past;
mod prove;
mod rework;
mod shared;
mod store;
mod threads;
mod tree;
mod unsaved;
mod update;
mod view;

#[cfg(test)]
mod tests;

pub use checkpoint::{CheckpointLimits, Checkpointer};
pub use error::StateError;
pub use history::KEYS_PER_CALL_MAX;
pub use load::StateLoader;
pub use overlay::{Changes, Overlay};
pub use page::{INLINE_VALUE_MAX, MERGE_LEAVES_MAX, SPLIT_LEAVES_MAX};
pub use store::{HistoryMode, RECENT_VERSIONS_MAX, StagedState, StateConfig, StateHead, StateStore};
pub use view::{StateReadModel, StateView};
