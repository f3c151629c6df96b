//! TransactionPayment (index 3): what transactions pay, and who gets it.
//!
//! `fee = base + bytes × per_byte + ref_time × per_microsecond`, rounded up, plus the tip. It is withdrawn before the
//! call and not given back where the call fails. At the end of the block a share of the fees is burnt; the rest and all
//! tips go to the proposer, in one deposit. A payment that would leave the sender below the existential deposit is
//! refused: paying never kills an account.

mod error;
mod event;
pub(crate) mod exec;
mod genesis;
mod state;
#[cfg(test)]
mod tests;

pub use error::FeeParametersError;
pub use event::Event;
pub use exec::InclusionFee;
pub(crate) use genesis::build;
pub(crate) use state::PARAMETERS;
pub use state::{BURNT_PERMILLE_MAX, FeeParameters};
