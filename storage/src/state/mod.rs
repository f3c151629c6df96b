//! The state: a map from storage key to value, committed by one Merkle root, readable and provable by version.
//!
//! The commitment is the SHA-256 tree of the `jmt` crate, hash by hash (see [`cairn_primitives::state_proof`]). How it is
//! kept:
//! ```text
//!   tree of the head ──► Node ──► Node ──► Bucket ──► page of a few leaves: key hash, leaf hash, key, value
//!     │ layers                │ 4 hashes       │
//!     ▼ over it               └ changed in     └ resident, or read from table `state_pages` when asked for
//!   other versions              place
//! ```
//! - The *upper levels* are nodes in memory, each for two levels of the tree. What another version, committed before or not
//!   final yet, has otherwise than the head is in layers ([`layer`]), as small as what blocks changed.
//! - A *bucket* holds all leaves below one node. It splits in four above [`page::SPLIT_LEAVES_MAX`] leaves, and four merge at
//!   [`page::MERGE_LEAVES_MAX`]. Everything inside a bucket is computed from its leaf hashes. Values over
//!   [`page::INLINE_VALUE_MAX`] bytes lie in table `state_keys`; the page keeps their hash.
//! - A block's hashes are computed level by level, many at once ([`hashing`]), parts of the tree on several threads
//!   ([`update`]); the root is the same for any number.
//! - A committed block writes its diff ([`diff`]); pages and archive follow behind ([`checkpoint`], [`unsaved`]).
//! - Pages that are on disk may leave memory ([`cache`], byte budget). Pages that changed since a checkpoint saved them and
//!   pages that a newer version replaced as a whole stay.
//! - *History*: the past is the head with what later blocks replaced put back, from the diffs of a window or from an archive
//!   ([`history`] for values, [`keys`], [`archive`] and [`past`] for every fourth level of the tree). The last
//!   [`store::RECENT_VERSIONS_MAX`] versions, within a byte budget, are provable on every node, all heights on an archive.
//! - An archive is extended downwards with the records of another one ([`merge`]).
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
mod layer;
mod leaves;
mod load;
mod merge;
mod open;
mod overlay;
mod packed;
mod page;
mod past;
mod pieces;
mod prove;
mod rework;
mod shared;
mod store;
mod tree;
mod unsaved;
mod update;
mod values;
mod view;

#[cfg(test)]
mod tests;

pub use checkpoint::{CheckpointLimits, Checkpointer};
pub use error::StateError;
pub use history::KEYS_PER_CALL_MAX;
pub use load::StateLoader;
pub use merge::ArchiveMerge;
pub use overlay::Overlay;
pub use page::{INLINE_VALUE_MAX, MERGE_LEAVES_MAX, SPLIT_LEAVES_MAX};
pub use store::{HistoryMode, RECENT_VERSIONS_MAX, StagedState, StateConfig, StateHead, StateStore};
pub use values::Values;
pub use view::{StateReadModel, StateView};
