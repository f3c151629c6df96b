//! What tests of the whole system share: a JSON-RPC client, a network of real node processes, a load generator, and a loop
//! that kills nodes.
//!
//! Nothing here is part of a node. The load generator is the program `load` of this package, the loop `kill_loop`.

pub mod harness;
pub mod kill;
pub mod load;
pub mod rpc;
