//! Attacks a network of real nodes and says what came of it.
//!
//! `make hostile`, or `cargo run --release -p cairn-tests --bin hostile -- --attack streams --rounds 20`

use cairn_tests::{hostile, program::finish};
use clap::Parser as _;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    finish(hostile::run(&hostile::Options::parse()).await)
}
