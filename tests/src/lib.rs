//! What tests of the whole system share: a JSON-RPC client, a network of real node processes, and a load generator.
//!
//! Nothing here is part of a node. The load generator is the program `load` of this package.

pub mod harness;
pub mod load;
pub mod rpc;
