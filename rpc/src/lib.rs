//! The JSON-RPC server: HTTP and WebSocket on one port, in the shapes that Substrate clients read, plus the `cairn_*`
//! family with proofs and batches.
//!
//! ```text
//! socket ► server (places, origins, timeouts) ► middleware (time limit, metrics) ► methods ► ports ► the node
//!                                       heads: watch of the node ► one feeder ► a cursor for each subscriber
//! ```
//!
//! It translates and bounds; whether a transaction or a block is valid is decided elsewhere. It knows the node only
//! through the [`ports`], so it compiles and is tested without one. Every request and queue is bounded by [`RpcConfig`];
//! what exceeds a bound is refused with a code of [`Code`] and costs the caller, not the node.

mod access;
pub mod config;
pub mod error;
mod follow;
mod heads;
mod json;
mod methods;
mod metrics;
mod middleware;
mod params;
pub mod ports;
mod rate;
pub mod server;
mod session;
mod socket;
mod storage_query;
mod table;
#[cfg(test)]
mod tests;

pub use config::{AllowedOrigins, RpcConfig, Token};
pub use error::{Code, RpcError};
pub use ports::{
    CallError, ChainPort, ChainProperties, ChainType, EventEntry, Head, Health, MempoolStatus, NodeIdentity, NodePort,
    Peer, Ports, ReadError, Refusal, RuntimeVersion, StatusStream, SubmitError, SyncState, TransactionLocation,
    TransactionPort, TransactionStatus,
};
pub use server::{Server, ServerHandle, StartError};

/// The OpenRPC document of all methods, as `rpc.discover` answers and `docs/openrpc.json` holds it.
#[must_use]
pub fn openrpc() -> serde_json::Value {
    table::document()
}
