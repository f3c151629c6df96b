//! The real binary: networks of processes on loopback, killed, restarted, fed with bad input.
//!
//! `cargo build --release -p cairn-node && cargo test --release -p cairn-tests --test process`. The program is the one built
//! beside the tests, or the one that `CAIRN_BINARY` names. Networks run one after the other.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod archive;
mod bad_input;
mod damage;
mod db;
mod devnet;
mod epochs;
mod faults;
mod hostile;
mod join;
mod kill_loop;
mod load;
mod owner;
mod peers;
mod proofs;
mod pruning;
mod restart;
mod snapshot;
mod upgrade;
mod vote_record;
