//! Damages copies of a long chain's database and sees that `cairn db check` finds and names everything.
//!
//! `make damage`, or `cargo run --release -p cairn-tests --bin damage -- --history window --blocks 10000`

use cairn_tests::damage;
use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match damage::run(&damage::Options::parse(), &mut |line| println!("{line}")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
