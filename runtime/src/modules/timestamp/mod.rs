//! Timestamp (index 1): the time of the block, set by its first extrinsic to the time in the header.

mod call;
pub(crate) mod exec;
mod state;
#[cfg(test)]
mod tests;

pub use call::Call;
pub use state::MINIMUM_PERIOD_MS;
pub(crate) use state::NOW;
