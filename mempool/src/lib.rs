//! The transactions that wait for a block: a pure machine, `step(now, Input, &mut Vec<Output>)`.
//!
//! ```text
//! rpc, gossip ──Insert──► ┌──────┐ ──Admitted, Refused, Replaced──► client, gossip
//! ledger ──BlockCommitted─► │ Pool │ ──Included, Dropped, Promoted──► watchers
//! ledger ◄──── select ───── └──────┘ ──Propagate──► gossip
//! ```
//!
//! Each sender has one queue by nonce. Its *ready* part starts at the account's nonce, has no gap, and costs together
//! no more than the sender may spend; the rest is *future* and waits. Blocks are filled by tip, then by arrival, each
//! sender in the order of its nonces, so two nodes with the same history choose the same transactions.
//!
//! Does not: verify signatures, execute, read state or know time. The caller hands in what it read from the committed
//! state and keeps the pool posted with every committed block.
//!
//! Bounds: count and bytes in total and per sender, distance of nonces, evictions per insertion, remembered included
//! hashes (see [`PoolConfig`]). A full pool drops future transactions first, then the cheapest last transaction of a
//! sender; a newcomer that is not better than those is refused with the tip it would need. Every refusal is a typed
//! [`Refusal`]; nothing here panics or fails otherwise.
#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::indexing_slicing)]

mod admission;
mod config;
mod error;
mod message;
mod order;
mod pool;
mod queue;
mod recent;
mod transaction;

pub use config::PoolConfig;
pub use error::{DropReason, Refusal};
pub use message::{Input, Output};
pub use order::{Ancestors, Pending, Selection};
pub use pool::{Known, Pool, Status};
pub use transaction::{AccountState, Origin, PoolTransaction};

#[cfg(test)]
mod tests;
