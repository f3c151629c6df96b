//! Simplex consensus with a certify step, as a pure state machine.
#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic, clippy::indexing_slicing)]

mod chain;
mod config;
mod engine;
mod evidence;
mod fetch;
mod input;
mod journal;
mod output;
mod pace;
mod peers;
mod round;
mod schedule;
mod state;
mod tally;

pub use config::{Config, ConfigError, Head, Timing};
pub use engine::Engine;
pub use evidence::{Evidence, EvidenceError};
pub use input::{Input, Now, Verdict};
pub use journal::JournalRecord;
pub use output::{Offence, Output};
pub use state::{Deadline, EngineState, ValidatorState, VoteCount};

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "tests may stop at what they did not expect"
)]
mod tests;
