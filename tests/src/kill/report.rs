//! The figures of a run.

use std::fmt;
use std::time::Duration;

/// What happened and what was checked.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What victims and moments were drawn from.
    pub seed: u64,
    /// Processes killed.
    pub kills: u32,
    /// Of those, killed before they answered.
    pub kills_starting: u32,
    /// How often one, two, or all nodes were killed at a time.
    pub turns: [u32; 3],
    /// Starts after kills.
    pub restarts: u32,
    /// From the start of a killed node until it answered.
    pub answers: Vec<Duration>,
    /// From the start of a killed node until it told of a block that was not final anywhere when it came back.
    pub recoveries: Vec<Duration>,
    /// The height at the end.
    pub height: u32,
    /// Hashes of final blocks that were compared.
    pub compared: u64,
    /// Transactions that pools took.
    pub taken: u64,
    /// Transactions in finalized blocks.
    pub finalized: u64,
    /// From the first kill to the end.
    pub took: Duration,
}

fn quantiles(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| {
        let rank = sorted.len().saturating_mul(percent).div_ceil(100).saturating_sub(1);
        sorted.get(rank).map_or(0.0, Duration::as_secs_f64)
    };
    format!("half within {:.2} s, slowest {:.2} s", at(50), at(100))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(f, "{name:<24}{value}");
        let [one, two, all] = self.turns;
        row("seed", self.seed.to_string())?;
        row(
            "kills",
            format!(
                "{} in {:.0} s, {} of nodes that were starting",
                self.kills,
                self.took.as_secs_f64(),
                self.kills_starting
            ),
        )?;
        row("at a time", format!("one node {one} times, two {two} times, all four {all} times"))?;
        row("restarts", self.restarts.to_string())?;
        row("start to answer", quantiles(&self.answers))?;
        row("start to new block", quantiles(&self.recoveries))?;
        row("blocks finalized", self.height.to_string())?;
        row("transactions", format!("{} taken by pools, {} final", self.taken, self.finalized))?;
        row("hashes compared", self.compared.to_string())?;
        row("lost or changed blocks", "0".into())?;
        row("evidence, error lines", "0".into())
    }
}

#[cfg(test)]
mod tests {
    use super::{Report, quantiles};
    use std::time::Duration;

    #[test]
    fn report_quantiles_are_ranks() {
        let times: Vec<Duration> = (1..=10).rev().map(Duration::from_secs).collect();
        assert_eq!(quantiles(&times), "half within 5.00 s, slowest 10.00 s");
        assert_eq!(quantiles(&[]), "half within 0.00 s, slowest 0.00 s");
    }

    #[test]
    fn report_names_seed_and_kills() {
        let text = Report { seed: 42, kills: 7, ..Report::default() }.to_string();
        assert!(text.contains("42") && text.contains("7 in 0 s"), "{text}");
    }
}
