//! What can be asked for on the command line.

use super::Attack;
use clap::Parser;

/// Attacks a network of four validators and says what came of it.
#[derive(Clone, Debug, Parser)]
#[command(name = "hostile")]
pub struct Options {
    /// The attacks; all of them if none is named.
    #[arg(long = "attack", value_name = "NAME")]
    pub attacks: Vec<Attack>,
    /// How often each attack is made, each time by a new peer; twice at most where peers wait for the node to ask.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: u32,
    /// How many honest transfers are timed, before and during the attacks at least.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(5..=10_000))]
    pub transfers: u32,
}
