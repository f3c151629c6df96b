//! Peers that mean harm, written on libp2p and not on our node, against networks of the real binary.
//!
//! ```text
//!   honest clients ── transfers, one after the other ──► validators ◄── attackers, each with an identity of its own
//!        └─ how long until final                           └─ resident memory, bans, drops
//! ```
//! Each attack says what must come of it: a ban, or that the node carries on as before. While attacks run, honest transfers
//! are timed and the memory of the node under attack is watched.

mod attack;
mod attacker;
mod options;
mod run;
mod wire;

pub use attack::Attack;
pub(crate) use attack::{offered_snapshot, state_request};
pub(crate) use attacker::{Attacker, Target};
pub use options::Options;
pub(crate) use run::percentile;
pub use run::{Report, run};
