//! Measures how fast a node that starts late gets a chain of full blocks.
//!
//! `cargo run --release -p cairn-tests --bin late_node -- --blocks 10000 --transactions 100`

use cairn_tests::{late, program::finish};
use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    finish(late::run(&late::Options::parse()))
}
