//! The table.

use crate::Options;
use crate::limit::Limit;
use crate::meter::Cost;
use crate::passes::{Proposed, Stages};

/// Prints all figures, per transfer.
pub(crate) fn print(options: &Options, count: f64, limit: &Limit, propose: &Proposed, stages: &Stages, import: &Cost) {
    let Options { accounts, blocks, transfers, .. } = options;
    println!(
        "{accounts} accounts, {blocks} blocks of {transfers} transfers, each block committed with a synced write\n"
    );
    println!("| stage | µs on the clock | µs of CPU |\n|---|---|---|");
    let row = |name: &str, cost: Cost, count: f64| {
        let micros = |time: std::time::Duration| time.as_secs_f64() * 1e6 / count;
        println!("| {name} | {:.2} | {:.2} |", micros(cost.wall), micros(cost.cpu));
    };
    row(&format!("limit: signatures alone, {} threads", limit.threads), limit.cost, limit.signatures);
    row("decode", stages.decode, count);
    row("verify", stages.verify, count);
    row("check form and roots of the body", stages.check, count);
    row("execute", stages.execute, count);
    row("root", stages.root, count);
    row("commit", stages.commit, count);
    row("close: what was put off", stages.close, count);
    row("all stages, one after the other", stages.sum(), count);
    row("import, overlapped", *import, count);
    row("propose, from the pool", propose.propose, count);
    row("commit of what was proposed", propose.commit, count);
    let rate = |cost: &Cost, count: f64| count / cost.wall.as_secs_f64();
    let (most, reached) = (rate(&limit.cost, limit.signatures), rate(import, count));
    println!("\nsignatures alone  {most:.0} a second");
    println!("import            {reached:.0} transfers a second, {:.1} % of it", reached / most * 100.0);
    // What executing costs whoever does nothing else with a block: no roots, no commit, nothing beside it.
    let mut replay = stages.execute;
    let without = rate(&replay, count);
    replay += stages.decode;
    replay += stages.verify;
    let replayed = rate(&replay, count);
    println!("executor alone    {replayed:.0} transfers a second: import is {:.1} % of it", reached / replayed * 100.0);
    println!("  no signatures   {without:.0} transfers a second: import is {:.1} % of it", reached / without * 100.0);
    // On a machine that others use, the clock says less than the CPU.
    let (verify, all) = (limit.cost.cpu.as_secs_f64() / limit.signatures, import.cpu.as_secs_f64() / count);
    println!("by CPU time       {:.1} %", verify / all * 100.0);
}
