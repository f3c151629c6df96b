//! Measures consensus while snapshots are served.
//!
//! `cargo run --release -p cairn-tests --bin serving -- --accounts 200000`

use cairn_tests::serving;
use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match serving::run(&serving::Options::parse()) {
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
