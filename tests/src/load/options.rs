//! What can be asked for on the command line.

use super::wire::Transport;
use clap::Parser;

/// Transactions a second that are signed ahead for where no rate is given.
const RATE_SIGNED_AHEAD: u64 = 25_000;

/// The most transactions that are signed ahead: about 320 bytes each, so 480 MB.
const SIGNED_AHEAD_MAX: u64 = 1_500_000;

/// Requests a second at a low rate: batches are made no larger than this asks for.
const REQUESTS_PER_SECOND: u64 = 100;

/// Submits signed transfers between many accounts to a development network and measures what becomes of them.
#[derive(Clone, Debug, Parser)]
#[command(name = "load")]
pub struct Options {
    /// A node's WebSocket URL; several spread the load. Blocks are read from the first.
    #[arg(long = "url", default_value = "ws://127.0.0.1:9944", value_name = "URL")]
    pub urls: Vec<String>,
    /// For how long to submit.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// How many accounts send and receive; rounded up to a multiple of the batch.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    pub accounts: u64,
    /// Transactions a second; as fast as the network takes them if none is given; 0 watches an idle network.
    #[arg(long, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub rate: Option<u64>,
    /// Transactions in one request; fewer at low rates.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub batch: u64,
    /// The most transactions that are submitted and not final: what bounds latency, and the pool's filling.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=90_000))]
    pub in_flight: u64,
    /// How many transactions to sign before the clock starts; more are signed under way if these do not last.
    #[arg(long, value_parser = clap::value_parser!(u64).range(0..=10_000_000))]
    pub sign_ahead: Option<u64>,
    /// Connections that read accounts meanwhile, each with one request under way.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub readers: u64,
    /// How the readers' requests travel.
    #[arg(long, value_enum, default_value = "ws")]
    pub transport: Transport,
    /// Connections that subscribe to finalized heads meanwhile.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub subscribers: u64,
    /// A node process to measure; all processes named `cairn` that run nodes if none is given.
    #[arg(long = "pid", value_name = "PID")]
    pub pids: Vec<u32>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

impl Options {
    /// Transactions in one request, as far as the rate fills them.
    #[must_use]
    pub fn batch_len(&self) -> u64 {
        let filled = self.rate.map_or(u64::MAX, |rate| rate / REQUESTS_PER_SECOND);
        self.batch.min(filled).min(self.in_flight).max(1)
    }

    /// How many accounts take part, so that every batch begins at the same accounts in each round.
    #[must_use]
    pub fn account_count(&self) -> u64 {
        self.accounts.next_multiple_of(self.batch_len())
    }

    /// How many batches to sign before the clock starts.
    #[must_use]
    pub fn batches_ahead(&self) -> u64 {
        let expected = self.rate.unwrap_or(RATE_SIGNED_AHEAD).saturating_mul(self.seconds);
        self.sign_ahead.unwrap_or_else(|| expected.min(SIGNED_AHEAD_MAX)).div_ceil(self.batch_len())
    }
}

#[cfg(test)]
mod tests {
    use super::Options;
    use clap::Parser as _;

    fn options(line: &str) -> Options {
        Options::try_parse_from(line.split_whitespace()).unwrap()
    }

    #[test]
    fn batch_at_low_rate_is_single_transactions() {
        assert_eq!(options("load --rate 100").batch_len(), 1);
        assert_eq!(options("load --rate 5000").batch_len(), 50);
        assert_eq!(options("load").batch_len(), 200);
        assert_eq!(options("load --in-flight 50").batch_len(), 50);
    }

    #[test]
    fn accounts_are_a_multiple_of_the_batch() {
        assert_eq!(options("load --accounts 2001 --batch 200").account_count(), 2_200);
        assert_eq!(options("load --accounts 2001 --rate 10").account_count(), 2_001);
    }

    #[test]
    fn transactions_signed_ahead_are_those_the_rate_needs() {
        assert_eq!(options("load --rate 1000 --seconds 10").batches_ahead(), 1_000);
        assert_eq!(options("load --sign-ahead 401").batches_ahead(), 3);
        assert_eq!(options("load --rate 0").batches_ahead(), 0);
    }
}
