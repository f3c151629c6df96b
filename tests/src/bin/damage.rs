//! Damages copies of a long chain's database and sees that `cairn db check` finds and names everything.
//!
//! `make damage`, or `cargo run --release -p cairn-tests --bin damage -- --history window --blocks 10000`

use cairn_tests::{damage, program::finish};
use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let tell = &mut |line| println!("{line}");
    finish(damage::run(&damage::Options::parse(), tell).map(|()| ""))
}
