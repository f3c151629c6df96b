//! Measures what the link of two validators adds to the way of a vote over a raw libp2p stream.
//!
//! `cargo run --release -p cairn-tests --bin vote_latency -- --rounds 5000`

use cairn_tests::{program::finish, votes};
use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    finish(votes::run(&votes::Options::parse()))
}
