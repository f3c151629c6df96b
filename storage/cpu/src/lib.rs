//! What state and ledger ask of the processor: memory ahead of time, several threads.
//!
//! [`fetch_ahead`] asks for memory without waiting for it; elsewhere than on x86-64 it does nothing. [`Workers`] are threads for
//! pieces of work that do not depend on each other; threads that [`give_way`] leave the cores to whoever commits blocks.
//!
//! The only `unsafe` code is the prefetch instruction, which cannot fault.
#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::indexing_slicing)]

mod fetch;
mod priority;
mod workers;

pub use fetch::fetch_ahead;
pub use priority::{BEHIND_ALL, BEHIND_BLOCKS, give_way};
pub use workers::Workers;
