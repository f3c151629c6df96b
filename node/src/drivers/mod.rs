//! The loops around the pure machines: receive, step, carry the outputs out.
//!
//! ```text
//!            ┌────────── network ◄───────────────┐ votes, gossip, sync requests
//!            ▼ events                            │
//!  rpc ─► mempool ◄─► (shared pool) ◄─► ledger ◄─┴► consensus
//!                                        ▲   └─► bus ─► rpc, sync, metrics
//!                                        └── sync
//! ```
//!
//! Ledger, consensus, mempool and replay block on disk or on CPU and run on threads of their own; the others are tasks. Whichever
//! ends first ends the node (see [`crate::supervisor`]).

pub mod backfill;
pub mod consensus;
pub mod epochs;
mod import;
pub mod ledger;
pub mod mempool;
pub mod peer_refs;
pub mod replay;
pub mod router;
pub mod snapshots;
pub mod sync;
pub mod upgrades;
pub mod watchers;

use cairn_network::CommandError;

/// Goes on when the network does not take a verdict or a report: a verdict that is missing means "ignore", a report that
/// is missing spares the peer once.
pub fn tell_network(result: Result<(), CommandError>) {
    if let Err(error) = result {
        tracing::debug!(%error, "the network did not take a verdict or a report");
    }
}
