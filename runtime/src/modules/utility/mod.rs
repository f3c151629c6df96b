//! Utility (index 4): several calls in one transaction.
//!
//! `batch` stops at the first call that fails and keeps what was done before it; `batch_all` does all or nothing;
//! `force_batch`, since rules 4, goes on after failures.
//! Batches nest up to [`BATCH_DEPTH_MAX`] levels; deeper ones do not decode.

mod call;
mod error;
mod event;
pub(crate) mod exec;
#[cfg(test)]
mod tests;

pub use call::{BATCH_CALLS_MAX, BATCH_DEPTH_MAX, Call};
pub use error::Error;
pub use event::Event;
