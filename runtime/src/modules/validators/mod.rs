//! Validators (index 5): who votes in the next epoch, the keys they vote with, and what equivocation costs.
//!
//! ```text
//! genesis ─► Next ─(state after an epoch's last block)─► the set of the next epoch
//!             ▲ set_validator (the authority) · rotate_key (signed by both keys) · report_equivocation (the block)
//! ```
//! A *member* is named by the first key it had, for ever; the key it votes with may change once an epoch. The set of the
//! running epoch is not in the state: it was fixed by the block that opened the epoch.
//!
//! Invariants, after every block:
//! - `Next` is a [`ValidatorSet`](cairn_primitives::ValidatorSet): 1 to 256 members, each with power, sorted by member;
//! - `Keys` has every key that a member ever had; a key is never used twice, and a retired one never again;
//! - a member with an offence is in `Next` only where it was the last one, and cannot come back.
//!
//! Bounds: the members of a set; one new key a member and epoch; [`BLOCK_REPORTS_MAX`] reports a block.

mod call;
mod error;
mod event;
pub(crate) mod exec;
mod genesis;
mod rotation;
mod state;
#[cfg(test)]
mod tests;

pub use call::Call;
pub use error::Error;
pub use event::Event;
pub(crate) use genesis::build;
pub use rotation::{KeyRotation, RotationProof};
pub(crate) use state::{AUTHORITY, KEYS, NEXT, OFFENCES};
pub use state::{KeyRecord, Member, Offence, is_punishable, next_validators, offence};

/// How many reports of equivocation a block may have: each costs two signature checks. More wait for the next block.
pub const BLOCK_REPORTS_MAX: usize = 8;
