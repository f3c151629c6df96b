//! Puts a running development network under load and says what came of it.
//!
//! `cargo run --release -p cairn-tests --bin load -- --url ws://127.0.0.1:9944 --seconds 30`

use cairn_tests::load;
use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = load::Options::parse();
    let is_json = options.json;
    match load::run(options) {
        Ok(report) => {
            if is_json {
                println!("{}", report.to_json());
            } else {
                println!("{report}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
