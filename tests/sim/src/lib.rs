//! A whole network in one thread, from one seed: the real cores of consensus, mempool, block sync, ledger, runtime and
//! storage, on a virtual clock, a simulated network and disks that crash.
//!
//! ```text
//!  seed ─► Plan ─► World { machines, network, clock } ──► Checker after every event ──► Outcome
//!                    │ Node: Engine, Pool, Sync, Ledger on a Disk
//!                    └ Villain: a node that breaks the rules
//! ```
//! A run has two phases. *Safety*: everything the plan contains goes wrong, and what must never happen is looked for after
//! each event. *Liveness*: the faults stop for all but less than a third of the power, and everybody else must finalize
//! new blocks and a new transaction within a bound that follows from the plan's times (see [`liveness`]).
//!
//! The same plan gives the same run on every machine: no threads, clocks, hash maps or floats; its trace hash says so.
//! See `docs/simulation.md`.

mod check;
mod disk;
pub mod liveness;
mod minimize;
mod network;
mod node;
mod plan;
mod rng;
mod run;
mod scenario;
mod setup;
mod trace;
mod traffic;
mod villain;
mod wire;
mod world;

pub use check::Failure;
pub use disk::{Disk, WriteFault};
pub use minimize::minimize;
pub use plan::{Fault, FaultKind, Load, Machine, Matter, Plan, PowerChange, Rule, Times, Weather};
pub use rng::Rng;
pub use run::{Outcome, Statistics, run, run_seed};
pub use scenario::Scenario;
pub use villain::Kind;
