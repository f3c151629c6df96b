//! Checks what a node answers from a trust anchor alone: the shapes of the `cairn_*` answers that carry proofs, and a
//! [`Verifier`] that believes none of them.
//!
//! ```text
//! TrustAnchor ─► Verifier ─ follow(handover) ─► Verifier of the next epoch
//!                   ├─ block(answer, finality) ─► VerifiedBlock
//!                   ├─ state(ProofAnswer, keys) ─► values, or their absence
//!                   ├─ transaction(TransactionAnswer, hash) ─► extrinsic at its place
//!                   └─ event(EventAnswer, index) ─► record at its place
//! ```
//!
//! The server writes its answers with the same types that clients read, so there is one shape. Reading is strict: unknown
//! or missing fields, upper-case digits and bytes that are not the one encoding of a value are refused, and every field
//! that repeats something is compared. So an answer that is accepted is the answer that was proved, bit for bit.
//!
//! Nothing here asks anyone, tells the time or starts anything; it builds for WebAssembly. All lists are bounded.

#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::indexing_slicing))]

mod answer;
#[cfg(test)]
mod tests;
mod text;
mod verify;

pub use answer::{
    BlockAnswer, EventAnswer, Finality, FinalityAnswer, HANDOVERS_MAX, Handover, HistoryAnswer, ItemAnswer, LINKS_MAX,
    ProofAnswer, SetAnswer, TransactionAnswer, ValidatorAnswer,
};
pub use text::{Bounded, Bytes, Encoded, HashText, Number};
pub use verify::{BlockRef, VerifiedBlock, Verifier, VerifyError};
