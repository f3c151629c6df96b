//! What the node keeps: the database port, the tables of the chain and the state tree.
//!
//! ```text
//!  ledger (the one writer)                      read model
//!     │ blocks::put_…, StateStore::stage           │ blocks::…, StateReadModel, StateView
//!     ▼                                            ▼
//!  WriteBatch ──► Database::write(batch, Synced)   DatabaseView::get, multi_get, scan
//!                     │
//!                     ├── MemoryDatabase (tests, simulation, browser)
//!                     └── RocksDatabase  (crate cairn-storage-rocks)
//! ```
//!
//! - [`database`] is the port: tables of bytes, sorted scans, one atomic batch, snapshots.
//! - [`table`] lists every table with key, value, writer and pruning.
//! - [`blocks`] gives typed access to blocks, finalizations, indexes, pending blocks and the consensus journal.
//! - [`state`] keeps the state and its Merkle tree: roots, overlays for blocks that are not final, history, proofs.
//! - [`damage`] is what a check of the records finds, [`state::audit`] checks those of the state.
//! - [`conformance`] is the suite that every adapter of the port passes.
//!
//! This crate does no I/O of its own, knows no file, thread or clock, and never decides whether a block is valid. Damaged
//! records are reported with their table and never taken for missing ones.
#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::indexing_slicing)]

pub mod batch;
pub mod blocks;
pub mod conformance;
pub mod damage;
pub mod database;
pub mod error;
pub mod memory;
pub mod state;
pub mod table;

pub use batch::WriteBatch;
pub use damage::{Damage, Damages};
pub use database::{Database, DatabaseView, Direction, Durability, KeyRange, Record};
pub use error::{DatabaseError, ErrorClass};
pub use memory::MemoryDatabase;
pub use state::{
    ArchiveMerge, CheckpointLimits, Checkpointer, HistoryMode, Overlay, StagedState, StateConfig, StateError,
    StateHead, StateLoader, StateReadModel, StateStore, StateView, Values,
};
pub use table::Table;
