//! System (index 0): accounts as clients read them, remarks, and the events that end every extrinsic.
//!
//! An account's record exists while it holds a balance or has ever sent a transaction. The nonce of an account that
//! lost its balance is kept, so that no immortal transaction can be replayed once the account is funded again.

mod call;
mod event;
pub(crate) mod exec;
mod state;
#[cfg(test)]
mod tests;

pub use call::Call;
pub use event::Event;
pub(crate) use state::LAST_RUNTIME_UPGRADE;
pub use state::{ACCOUNT_FLAGS_NEW_LOGIC, AccountData, AccountInfo, LastRuntimeUpgradeInfo, last_upgrade};
