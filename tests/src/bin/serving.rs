//! Measures consensus while snapshots are served.
//!
//! `cargo run --release -p cairn-tests --bin serving -- --accounts 200000`

use cairn_tests::{program::finish, serving};
use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    finish(serving::run(&serving::Options::parse()))
}
