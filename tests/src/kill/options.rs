//! What can be asked for on the command line.

use clap::Parser;
use std::time::{SystemTime, UNIX_EPOCH};

/// Kills the validators of a network under load, over and over, and checks that nothing final is lost.
#[derive(Clone, Debug, Parser)]
#[command(name = "kill_loop")]
pub struct Options {
    /// How many processes to kill.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub kills: u32,
    /// What victims and moments are drawn from; another one each time if none is given.
    #[arg(long, default_value_t = any_seed())]
    pub seed: u64,
    /// Transactions a second, all nodes together; 0 for an idle chain.
    #[arg(long, default_value_t = 800, value_parser = clap::value_parser!(u64).range(0..=20_000))]
    pub rate: u64,
}

/// A seed that nobody has seen: printed by whoever uses it.
fn any_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or_default()
}
