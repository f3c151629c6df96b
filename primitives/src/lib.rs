//! The vocabulary of the chain: hashes, keys, accounts, headers, blocks, transactions, votes, certificates, list trees
//! and state proofs, with their strict encodings.
//!
//! Everything here is a pure function of its input: no I/O, no clock, no environment, no randomness. Whatever comes from
//! outside passes through [`codec::decode_strict`] once and is a checked type afterwards.

#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::indexing_slicing))]

pub mod account;
pub mod authority;
pub mod block;
pub mod certificate;
pub mod codec;
pub mod crypto;
pub mod epoch;
pub mod evidence;
pub mod extrinsic;
pub mod hash;
pub mod header;
pub mod light;
pub mod list_tree;
pub mod message;
pub mod number;
pub mod signer;
pub mod snapshot;
pub mod state_changes;
pub mod state_proof;
pub mod validator;
pub mod vote;

pub use account::{AccountId32, MultiAddress};
pub use block::{ArchivedBlock, Block, Body, FinalizedBlock, OpaqueExtrinsic};
pub use certificate::Certificate;
pub use crypto::{KeyPair, PublicKey, Signature};
pub use epoch::EpochSchedule;
pub use evidence::{Evidence, EvidenceError};
pub use hash::Hash;
pub use header::{ConsensusContext, Header};
pub use number::{Epoch, Height, Power, TimestampMs, View};
pub use state_changes::{StateChanges, StateChangesBuilder};
pub use validator::{Validator, ValidatorIndex, ValidatorSet};
pub use vote::{Proposal, Subject, Vote, VoteKind};
