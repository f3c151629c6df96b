//! The table.

use crate::Options;
use crate::limit::Limit;
use crate::meter::Cost;
use crate::passes::{Proposed, Stages};

/// Prints all figures, per transfer.
pub(crate) fn print(
    options: &Options,
    count: f64,
    limit: &Limit,
    propose: &Proposed,
    stages: &Stages,
    imports: &[Cost],
) {
    let Options { accounts, blocks, transfers, .. } = options;
    println!(
        "{accounts} accounts, {blocks} blocks of {transfers} transfers, each block committed with a synced write\n"
    );
    println!("| stage | µs on the clock | µs of CPU |\n|---|---|---|");
    let (import, imported): (Cost, _) = (imports.iter().sum(), count * imports.len() as f64);
    let (most, signatures): (Cost, _) = (limit.costs.iter().sum(), limit.signatures() * limit.costs.len() as f64);
    let row = |name: &str, cost: Cost, count: f64| {
        let micros = |time: std::time::Duration| time.as_secs_f64() * 1e6 / count;
        println!("| {name} | {:.2} | {:.2} |", micros(cost.wall), micros(cost.cpu));
    };
    row(&format!("limit: signatures alone, {} threads", limit.threads), most, signatures);
    row("decode", stages.decode, count);
    row("verify", stages.verify, count);
    row("check form and roots of the body", stages.check, count);
    row("execute", stages.execute, count);
    row("root", stages.root, count);
    row("commit", stages.commit, count);
    row("close: what was put off", stages.close, count);
    row("all stages, one after the other", stages.sum(), count);
    row("import, overlapped", import, imported);
    row("propose, from the pool", propose.propose, count);
    row("commit of what was proposed", propose.commit, count);
    let rate = |cost: &Cost, count: f64| count / cost.wall.as_secs_f64();
    let (highest, reached) = (rate(&most, signatures), rate(&import, imported));
    println!("\nsignatures alone  {highest:.0} a second");
    println!("import            {reached:.0} transfers a second, {:.1} % of it", reached / highest * 100.0);
    if imports.len() > 1 {
        // Each by what was measured just before and after it.
        let of_its_own = |(import, around): (&Cost, &[Cost])| {
            let highest = rate(&around.iter().sum(), limit.signatures() * around.len() as f64);
            format!("{:.1}", rate(import, count) / highest * 100.0)
        };
        let each: Vec<_> = imports.iter().zip(limit.costs.windows(2)).map(of_its_own).collect();
        println!("  one by one      {} %", each.join(", "));
    }
    // What executing costs whoever does nothing else with a block: no roots, no commit, nothing beside it.
    let mut replay = stages.execute;
    let without = rate(&replay, count);
    replay += stages.decode;
    replay += stages.verify;
    let replayed = rate(&replay, count);
    println!("executor alone    {replayed:.0} transfers a second: import is {:.1} % of it", reached / replayed * 100.0);
    println!("  no signatures   {without:.0} transfers a second: import is {:.1} % of it", reached / without * 100.0);
    // On a machine that others use, the clock says less than the CPU.
    let (verify, all) = (most.cpu.as_secs_f64() / signatures, import.cpu.as_secs_f64() / imported);
    println!("by CPU time       {:.1} %", verify / all * 100.0);
}
