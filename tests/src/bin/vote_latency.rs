//! Measures what the link of two validators adds to the way of a vote over a raw libp2p stream.
//!
//! `cargo run --release -p cairn-tests --bin vote_latency -- --rounds 5000`

use cairn_tests::votes;
use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match votes::run(&votes::Options::parse()) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
