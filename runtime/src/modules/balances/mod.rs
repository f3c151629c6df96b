//! Balances (index 2): amounts held by accounts, and their transfer.
//!
//! Invariants, after every block:
//! - `TotalIssuance` is the sum of `free` and `reserved` over all accounts;
//! - `TotalIssuance` plus `Burnt` is the issuance of genesis: nothing is ever created, and what is destroyed is counted;
//! - an account holds either nothing or at least [`EXISTENTIAL_DEPOSIT`]; what falls below is *dust*: it is burnt.

mod call;
mod error;
mod event;
pub(crate) mod exec;
mod genesis;
mod state;
#[cfg(test)]
mod tests;

pub use call::Call;
pub use error::Error;
pub use event::Event;
pub use genesis::BalancesGenesisError;
pub(crate) use genesis::build;
pub use state::EXISTENTIAL_DEPOSIT;
pub(crate) use state::{BURNT, TOTAL_ISSUANCE};
