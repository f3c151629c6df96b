//! Networks of nodes that each have a network namespace, addresses and a line of their own: with delay, loss, partitions,
//! nodes that sleep, nodes that nobody can dial.
//!
//! ```text
//!   node 1 ── cairnd1, 10.77.0.1 ──┐
//!   node 2 ── cairnd2, 10.77.0.2 ──┼── this program: packets go on later, or not at all
//!     …                            │
//!   node n ── clients0, 10.78.0.n ─┴── bridge of clients ── this program as a client
//! ```
//! Needs root, `ip` and `/dev/net/tun`; [`missing`] says what there is not.

mod air;
mod lab;
mod stories;

pub use lab::missing;
pub use stories::{Story, tell};
