//! The table of a run.

use crate::measure::Outcome;
use anyhow::{Result, ensure};

/// Prints the median round of each peer, and its speed against the first one.
pub fn print(rounds: &[Vec<Outcome>], json: bool) -> Result<()> {
    let trees: Vec<_> = rounds.iter().filter(|outcomes| !outcomes[0].peer.starts_with("nomt")).collect();
    for pair in trees.windows(2) {
        for (one, other) in pair[0].iter().zip(pair[1]) {
            ensure!(one.root == other.root, "{} and {} disagree on a root", one.peer, other.peer);
        }
    }
    if json {
        println!("{}", serde_json::to_string_pretty(rounds)?);
        return Ok(());
    }
    let medians: Vec<_> = rounds.iter().map(|outcomes| median(outcomes)).collect();
    println!(
        "{:<10} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "peer",
        "writes/s",
        "µs",
        "median",
        "slowest",
        "read µs",
        "CPU µs",
        "proof µs",
        "RSS MiB",
        "peak",
        "disk MiB",
        "open s"
    );
    for outcome in &medians {
        println!(
            "{:<10} {:>10.0} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>8.1} {:>8.0} {:>8.0} {:>8.0} {:>8.1}",
            outcome.peer,
            outcome.writes_per_second,
            outcome.write_micros,
            outcome.median_micros,
            outcome.slowest_micros,
            outcome.read_micros,
            outcome.cpu_micros,
            outcome.proof_micros,
            outcome.resident_mib,
            outcome.peak_mib,
            outcome.disk_mib,
            outcome.open_seconds
        );
    }
    println!();
    for ours in medians.iter().filter(|outcome| outcome.peer.starts_with("cairn")) {
        for peer in medians.iter().filter(|outcome| !outcome.peer.starts_with("cairn")) {
            let ratio = ours.writes_per_second / peer.writes_per_second;
            println!("{} writes {ratio:.1} times as fast as {}", ours.peer, peer.peer);
        }
    }
    Ok(())
}

fn median(outcomes: &[Outcome]) -> &Outcome {
    let mut sorted: Vec<_> = outcomes.iter().collect();
    sorted.sort_by(|a, b| a.write_micros.total_cmp(&b.write_micros));
    sorted[sorted.len() / 2]
}
