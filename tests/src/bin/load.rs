//! Puts a running development network under load and says what came of it.
//!
//! `cargo run --release -p cairn-tests --bin load -- --url ws://127.0.0.1:9944 --seconds 30`

use cairn_tests::{load, program::finish};
use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = load::Options::parse();
    let is_json = options.json;
    let shown = |report: load::Report| if is_json { format!("{}\n", report.to_json()) } else { format!("{report}\n") };
    finish(load::run(options).map(shown))
}
