//! What tests of the whole system share: a JSON-RPC client, a network of real node processes, a load generator, a loop
//! that kills nodes, a node that starts late, and peers that attack.
//!
//! Nothing here is part of a node. The load generator is the program `load` of this package, the loop `kill_loop`, the
//! late node `late_node`, the attackers `hostile`.

pub mod damage;
pub mod harness;
pub mod hostile;
pub mod kill;
pub mod late;
pub mod load;
pub mod rpc;
