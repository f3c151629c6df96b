//! The figures of a run, for people and for programs.

use super::flow::Outcome;
use super::process::{Process, Usage};
use super::readers::{Heads, Reads};
use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// The figures of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The nodes that took transactions; blocks were read from the first.
    pub urls: Vec<String>,
    /// The chain's name.
    pub chain: String,
    /// For how long transactions were submitted.
    pub window: Duration,
    /// From the first submission until everything was final.
    pub total: Duration,
    /// Accounts that sent and received.
    pub accounts: u64,
    /// Transactions in one request.
    pub batch: u64,
    /// The most transactions under way.
    pub in_flight: u64,
    /// The rate asked for.
    pub rate: Option<u64>,
    /// Transactions signed before the clock started.
    pub signed_ahead: u64,
    /// Transactions submitted.
    pub submitted: u64,
    /// Transactions final at the end.
    pub finalized: u64,
    /// Of those, final while transactions were submitted.
    pub finalized_in_window: u64,
    /// Refusals after which a transaction was submitted again.
    pub retried: u64,
    /// Transactions refused for good.
    pub refused: u64,
    /// The first of those refusals.
    pub refusal: Option<String>,
    /// Transactions given up.
    pub unfinished: u64,
    /// Blocks finalized while transactions were submitted.
    pub blocks_in_window: u64,
    /// The most of our transactions in one block.
    pub block_transactions_max: u64,
    /// From submission to the news of the final block, ascending.
    pub latencies: Vec<Duration>,
    /// The nodes with what they used from the first submission to the end; `None` for those that ended.
    pub processes: Vec<(Process, Option<Usage>)>,
    /// The load generator's own CPU time meanwhile.
    pub own_cpu: Duration,
    /// What readers saw, if there were any.
    pub reads: Option<Reads>,
    /// What subscribers saw, if there were any.
    pub heads: Option<Heads>,
}

impl Report {
    /// Takes over what happened.
    pub(super) fn take(&mut self, start: Instant, outcome: Outcome) {
        let end = start + self.window;
        let Outcome { submitted, finalized, retried, refused, refusal, unfinished, mut latencies, blocks } = outcome;
        latencies.sort_unstable();
        let in_window = blocks.iter().filter(|block| block.at <= end);
        (self.blocks_in_window, self.finalized_in_window) =
            in_window.fold((0, 0), |(blocks, transactions), block| (blocks + 1, transactions + block.transactions));
        self.block_transactions_max = blocks.iter().map(|block| block.transactions).max().unwrap_or_default();
        (self.submitted, self.finalized, self.retried) = (submitted, finalized, retried);
        (self.refused, self.refusal, self.unfinished) = (refused, refusal, unfinished);
        self.latencies = latencies;
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.window.as_secs_f64()
    }

    /// The latency that `percent` of the transactions did not exceed, in milliseconds.
    fn latency_ms(&self, percent: usize) -> Option<f64> {
        percentile_ms(&self.latencies, percent)
    }

    /// CPU time of all nodes; unknown if one ended and took its figure along.
    fn cpu(&self) -> Option<Duration> {
        let cpu = self.processes.iter().map(|(_, usage)| usage.map(|usage| usage.cpu));
        cpu.sum::<Option<Duration>>().filter(|_| !self.processes.is_empty())
    }

    fn micros_per_transaction(&self, cpu: Duration) -> Option<f64> {
        (self.finalized > 0).then(|| cpu.as_secs_f64() * 1e6 / self.finalized as f64)
    }

    fn percent_of_a_core(&self, cpu: Duration) -> f64 {
        100.0 * cpu.as_secs_f64() / self.total.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// One JSON object; figures that are not known are `null`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let rounded = |value: f64| (value * 100.0).round() / 100.0;
        let processes = self.processes.iter().map(|(process, usage)| {
            json!({
                "pid": process.pid,
                "name": process.name,
                "cpuSeconds": usage.map(|usage| rounded(usage.cpu.as_secs_f64())),
                "cpuPercent": usage.map(|usage| rounded(self.percent_of_a_core(usage.cpu))),
                "residentBytes": usage.map(|usage| usage.resident_bytes),
            })
        });
        let latency = |percent| self.latency_ms(percent).map(rounded);
        json!({
            "urls": self.urls,
            "chain": self.chain,
            "seconds": self.window.as_secs_f64(),
            "totalSeconds": rounded(self.total.as_secs_f64()),
            "accounts": self.accounts,
            "batch": self.batch,
            "inFlightMax": self.in_flight,
            "rate": self.rate,
            "signedAhead": self.signed_ahead,
            "signedUnderWay": self.submitted.saturating_sub(self.signed_ahead),
            "submitted": self.submitted,
            "finalized": self.finalized,
            "retried": self.retried,
            "refused": self.refused,
            "refusal": self.refusal,
            "unfinished": self.unfinished,
            "transactionsPerSecond": rounded(self.per_second(self.finalized_in_window)),
            "blocksPerSecond": rounded(self.per_second(self.blocks_in_window)),
            "blockTransactionsMax": self.block_transactions_max,
            "latencyMs": {
                "p50": latency(50), "p95": latency(95), "p99": latency(99), "max": latency(100),
                "samples": self.latencies.len(),
            },
            "cpuMicrosPerTransaction": self.cpu().and_then(|cpu| self.micros_per_transaction(cpu)).map(rounded),
            "processes": processes.collect::<Vec<_>>(),
            "loadCpuMicrosPerTransaction": self.micros_per_transaction(self.own_cpu).map(rounded),
            "loadCpuPercent": rounded(self.percent_of_a_core(self.own_cpu)),
            "reads": self.reads.as_ref().map(Reads::to_json),
            "heads": self.heads.map(Heads::to_json),
        })
    }
}

/// What `percent` of ascending times did not exceed, in milliseconds.
fn percentile_ms(times: &[Duration], percent: usize) -> Option<f64> {
    let rank = times.len().checked_mul(percent)?.div_ceil(100);
    Some(times.get(rank.checked_sub(1)?)?.as_secs_f64() * 1e3)
}

impl Reads {
    fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.time.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn to_json(&self) -> Value {
        let rounded =
            |percent| percentile_ms(&self.latencies, percent).map(|value| (value * 1_000.0).round() / 1_000.0);
        json!({
            "transport": format!("{:?}", self.transport).to_lowercase(), "connections": self.connections,
            "requests": self.latencies.len(), "perSecond": self.per_second().round(),
            "latencyMs": { "p50": rounded(50), "p99": rounded(99), "max": rounded(100) },
        })
    }
}

impl fmt::Display for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |percent| percentile_ms(&self.latencies, percent).unwrap_or_default();
        write!(
            f,
            "{:.0} a second over {} connections ({:?}), p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
            self.per_second(),
            self.connections,
            self.transport,
            ms(50),
            ms(99),
            ms(100)
        )
    }
}

impl Heads {
    fn to_json(self) -> Value {
        let (fewest, most) = self.heads;
        json!({ "subscribers": self.subscribers, "fewest": fewest, "most": most, "last": self.last })
    }
}

impl fmt::Display for Heads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (fewest, most) = self.heads;
        write!(f, "{} got {fewest} to {most} heads each, all in order without a gap", self.subscribers)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(f, "{name:<24}{value}");
        let rate = self.rate.map_or_else(|| "as fast as possible".into(), |rate| format!("{rate} tx/s"));
        row("chain", format!("{}, through {}", self.chain, self.urls.join(" ")))?;
        row("submitted for", format!("{:.0} s, {rate}", self.window.as_secs_f64()))?;
        row(
            "accounts, batch, window",
            format!("{}, {} tx a request, at most {} tx under way", self.accounts, self.batch, self.in_flight),
        )?;
        let under_way = self.submitted.saturating_sub(self.signed_ahead);
        row("signed", format!("{} ahead, {under_way} under way", self.signed_ahead))?;
        row("submitted", format!("{} tx", self.submitted))?;
        row("finalized", format!("{} tx", self.finalized))?;
        if self.retried + self.refused + self.unfinished > 0 {
            let refusal = self.refusal.as_ref().map_or_else(String::new, |words| format!(" (first: {words})"));
            row("submitted again", format!("{} tx", self.retried))?;
            row("refused", format!("{} tx{refusal}", self.refused))?;
            row("not final at the end", format!("{} tx", self.unfinished))?;
        }
        row("throughput", format!("{:.0} finalized tx/s", self.per_second(self.finalized_in_window)))?;
        row(
            "blocks",
            format!(
                "{:.1} a second, at most {} tx in one",
                self.per_second(self.blocks_in_window),
                self.block_transactions_max
            ),
        )?;
        let ms = |percent| self.latency_ms(percent).map_or_else(|| "-".into(), |ms| format!("{ms:.1} ms"));
        row("submit to final", format!("p50 {}, p95 {}, p99 {}, max {}", ms(50), ms(95), ms(99), ms(100)))?;
        if let Some(reads) = &self.reads {
            row("reads", reads.to_string())?;
        }
        if let Some(heads) = &self.heads {
            row("subscribers", heads.to_string())?;
        }
        let used = |cpu| {
            let micros =
                self.micros_per_transaction(cpu).map_or_else(|| "-".into(), |micros| format!("{micros:.1} µs"));
            format!("{micros} per tx, {:.1}% of a core", self.percent_of_a_core(cpu))
        };
        row("CPU of all nodes", self.cpu().map_or_else(|| "unknown".into(), used))?;
        row("CPU of this program", used(self.own_cpu))?;
        if self.processes.is_empty() {
            row("nodes", "none found on this machine: give --pid".into())?;
        }
        for (process, usage) in &self.processes {
            let used = usage.map_or_else(
                || "ended".into(),
                |usage| {
                    let mib = usage.resident_bytes as f64 / f64::from(1 << 20);
                    format!("{:>6.1}% of a core  {mib:>7.1} MiB resident", self.percent_of_a_core(usage.cpu))
                },
            );
            row(&format!("  {} ({})", process.name, process.pid), used)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::flow::{BlockSeen, Outcome};
    use super::{Process, Report, Usage};
    use std::time::Duration;
    use tokio::time::Instant;

    fn report() -> Report {
        let start = Instant::now();
        let mut report = Report {
            urls: vec!["ws://127.0.0.1:9944".into()],
            chain: "Test".into(),
            window: Duration::from_secs(2),
            total: Duration::from_secs(4),
            accounts: 10,
            batch: 5,
            in_flight: 100,
            rate: None,
            signed_ahead: 60,
            submitted: 0,
            finalized: 0,
            finalized_in_window: 0,
            retried: 0,
            refused: 0,
            refusal: None,
            unfinished: 0,
            blocks_in_window: 0,
            block_transactions_max: 0,
            latencies: Vec::new(),
            processes: vec![(
                Process { pid: 1, name: "a".into() },
                Some(Usage { cpu: Duration::from_millis(5), resident_bytes: 1 }),
            )],
            own_cpu: Duration::from_millis(1),
            reads: None,
            heads: None,
        };
        let block = |seconds, transactions| BlockSeen { at: start + Duration::from_secs(seconds), transactions };
        let outcome = Outcome {
            submitted: 100,
            finalized: 100,
            latencies: (1..=100).rev().map(Duration::from_millis).collect(),
            blocks: vec![block(1, 30), block(2, 50), block(3, 20)],
            ..Outcome::default()
        };
        report.take(start, outcome);
        report
    }

    #[test]
    fn report_counts_what_was_final_in_the_window() {
        let json = report().to_json();
        assert_eq!(json["transactionsPerSecond"], 40.0);
        assert_eq!(json["blocksPerSecond"], 1.0);
        assert_eq!(json["blockTransactionsMax"], 50);
        assert_eq!(json["signedUnderWay"], 40);
        assert_eq!(json["cpuMicrosPerTransaction"], 50.0);
    }

    #[test]
    fn report_with_a_node_that_ended_knows_no_cpu_of_all() {
        let mut report = report();
        report.processes.push((Process { pid: 2, name: "b".into() }, None));
        assert_eq!(report.to_json()["cpuMicrosPerTransaction"], serde_json::Value::Null);
        let text = report.to_string();
        assert!(text.contains("b (2)") && text.contains("ended") && text.contains("unknown"), "{text}");
    }

    #[test]
    fn report_percentiles_are_ranks_of_the_sorted_latencies() {
        let json = report().to_json();
        let latency = &json["latencyMs"];
        assert_eq!((&latency["p50"], &latency["p95"]), (&50.0.into(), &95.0.into()));
        assert_eq!((&latency["p99"], &latency["max"]), (&99.0.into(), &100.0.into()));
    }

    #[test]
    fn report_for_people_names_every_process() {
        let text = report().to_string();
        assert!(text.contains("a (1)") && text.contains("50.0 µs per tx"), "{text}");
        assert!(text.contains("40 finalized tx/s"), "{text}");
    }
}
