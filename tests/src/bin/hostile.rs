//! Attacks a network of real nodes and says what came of it.
//!
//! `make hostile`, or `cargo run --release -p cairn-tests --bin hostile -- --attack streams --rounds 20`

use cairn_tests::hostile;
use clap::Parser as _;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match hostile::run(&hostile::Options::parse()).await {
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
