//! The chain as data: a JSON document that says how a chain begins, checked and turned into what the core needs.
//!
//! ```text
//! JSON text ──parse──► Document ──check──► ChainSpec ──► validator set, time-outs, genesis of the runtime, spec hash
//!  (a file)            (as written)        (as meant)
//! ```
//! A [`Document`] is what people and tools edit; it may be wrong. A [`ChainSpec`] has been checked as a whole: every key
//! is a key, every sum fits, every limit is kept. Whatever is wrong comes back at once, each [`Issue`] with the JSON path
//! of the culprit, the limit and the cure. [`ChainSpec::spec_hash`] covers everything that all nodes of a chain must share,
//! so everything but the boot nodes; the genesis block carries it.
//!
//! This crate reads no files and knows no network: it takes text and gives text.

#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::indexing_slicing))]

mod amount;
mod check;
pub mod development;
mod document;
mod error;
mod preset;
mod spec;

pub use amount::Amount;
pub use document::{
    BalanceEntry, ChainType, Consensus, DOCUMENT_BYTES_MAX, Document, Fees, Properties, UpgradeEntry, ValidatorEntry,
};
pub use error::{Issue, SpecError};
pub use preset::{LOCAL_VALIDATORS_MAX, PresetError};
pub use spec::ChainSpec;
