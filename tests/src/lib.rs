//! What tests of the whole system share: a JSON-RPC client, a network of real node processes, a load generator, a loop
//! that kills nodes, a node that starts late, peers that attack or fetch snapshots, a long chain and its deliberate damage,
//! networks in network namespaces, and the way of a vote.
//!
//! Nothing here is part of a node. The load generator is the program `load` of this package, the loop `kill_loop`, the
//! late node `late_node`, the attackers `hostile`, the fetching peers `serving`, the damage `damage`, the namespaces
//! `namespaces`, the vote `vote_latency`.

pub mod chain;
pub mod damage;
pub mod harness;
pub mod hostile;
pub mod kill;
pub mod late;
pub mod load;
pub mod namespaces;
pub mod program;
pub mod rpc;
pub mod serving;
pub mod votes;
