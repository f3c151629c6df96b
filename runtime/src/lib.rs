//! The deterministic state transition: what a block does to the state, and what clients see of it.
//!
//! ```text
//! OpaqueExtrinsic ─► Transaction (decoded once) ─► validate (for the pool)
//!                                               └► build_block / execute_block ─► changes, events, results
//! ```
//! The crate is pure: it reads the state through [`StateReader`] and returns changes; it knows no clock, no disk, no
//! threads. Signatures are checked by the caller, in batches, from [`Transaction::signature_claim`]. Outside bytes never
//! panic; batches, events, weight and bytes of a block are bounded. A block that breaks a rule is a [`BlockError`]; a
//! call that fails is an event and costs its fee.
//!
//! Module indices are fixed: System 0, Timestamp 1, Balances 2, TransactionPayment 3, Utility 4, Validators 5.

#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "a test may panic"))]

pub mod client;
mod dispatch;
mod event;
mod executor;
mod genesis;
mod invalid;
pub mod keys;
mod metadata;
pub mod modules;
mod overlay;
#[cfg(test)]
mod properties;
mod rules;
mod runtime_api;
mod state;
#[cfg(test)]
mod testing;
mod transaction;
mod validity;
mod version;
pub mod weight;

pub use cairn_primitives::extrinsic::{Era, SignedPart, TransactionExtra};
pub use dispatch::{
    ArithmeticError, DispatchClass, DispatchError, DispatchEventInfo, ModuleError, Origin, Pays, TokenError,
    TransactionalError, TrieError,
};
pub use event::{EventRecord, Phase};
pub use executor::{
    BLOCK_EVENTS_MAX, BlockContext, BlockError, BlockLimits, BlockOutcome, BuiltBlock, build_block, execute_block,
};
pub use genesis::{GenesisConfig, GenesisError, genesis_state};
pub use invalid::{InvalidTransaction, InvalidityCode, TransactionValidityError, UnknownCode, ValidateError};
pub use metadata::{METADATA_VERSIONS, metadata};
pub use modules::balances::EXISTENTIAL_DEPOSIT;
pub use modules::system::{AccountData, AccountInfo, last_upgrade};
pub use modules::transaction_payment::{FeeParameters, InclusionFee};
pub use modules::validators::{BLOCK_REPORTS_MAX, is_punishable, next_validators, offence};
pub use modules::{RuntimeCall, RuntimeError, RuntimeEvent};
pub use rules::{Rules, RulesSchedule, UnknownRules, Upgrade};
pub use runtime_api::{
    BlockHashes, CallContext, CallError, FeeDetails, RuntimeDispatchInfo, TransactionSource, ValidTransaction, call,
};
pub use state::{StateReadError, StateReader, TakeValue};
pub use transaction::{SignatureClaim, Transaction, TransactionError};
pub use validity::{Admittance, Validity, account, validate};
pub use version::{RuntimeVersion, SPEC_NAME, code_marker, runtime_version};
pub use weight::Weight;

/// How many blocks back the hash of a block can be used in a transaction's era. No more than 4,096, or phases would be
/// quantised.
pub const BLOCK_HASH_COUNT: u32 = 4_096;
