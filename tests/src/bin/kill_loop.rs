//! Kills the validators of a network under load, over and over, and checks that nothing final is lost.
//!
//! `cargo run --release -p cairn-tests --bin kill_loop -- --kills 200`

use cairn_tests::kill;
use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = kill::Options::parse();
    match kill::run(&options) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            eprintln!("the same draws again: --kills {} --seed {}", options.kills, options.seed);
            ExitCode::FAILURE
        }
    }
}
