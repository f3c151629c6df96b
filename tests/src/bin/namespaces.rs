//! Networks of real nodes in network namespaces, with delay, loss and partitions.
//!
//! `make namespaces`, or `cargo run --release -p cairn-tests --bin namespaces -- partition43`

use cairn_tests::{namespaces, program::finish};
use clap::Parser;
use std::process::ExitCode;

/// Runs seven validators in network namespaces and says what held.
#[derive(Parser)]
#[command(name = "namespaces")]
struct Options {
    /// What is to happen; everything if nothing is named.
    stories: Vec<namespaces::Story>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(missing) = namespaces::missing() {
        eprintln!("skipped: {missing}");
        return ExitCode::SUCCESS;
    }
    let load = std::env::current_exe().map(|program| program.with_file_name("load")).unwrap_or_default();
    finish(namespaces::tell(&options.stories, &load).await.map(|()| ""))
}
