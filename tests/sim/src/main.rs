//! Runs seeds of the simulation, replays one, or makes a failing one smaller. See `docs/simulation.md`.

use anyhow::Context;
use cairn_sim::{Failure, Outcome, Plan, Statistics, minimize, run, run_seed};
use clap::{Args, Parser, Subcommand};
use std::collections::BTreeSet;
use std::ops::Range;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Whole networks on virtual time, each from one seed.
#[derive(Parser)]
#[command(name = "sim")]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Run many seeds and stop at the first that fails.
    Run(Run),
    /// Run one seed again and say what becomes of it.
    Replay {
        /// The seed.
        seed: u64,
        /// Print every event.
        #[arg(long)]
        trace: bool,
    },
    /// Make a failing seed smaller: fewer villains, faults, validators, less time.
    Minimize {
        /// The seed.
        seed: u64,
        /// Print every event of the smallest run.
        #[arg(long)]
        trace: bool,
    },
    /// Measure how long a transaction takes from submission to finality, in virtual time without faults.
    Latency {
        /// The numbers of validators.
        #[arg(default_values_t = [4, 16, 50, 100])]
        validators: Vec<usize>,
    },
    /// Turn deliberate bugs on, one after the other, and see how many seeds it takes to find each.
    #[cfg(feature = "mutants")]
    Mutants(Run),
    /// Print what a seed draws.
    Plan {
        /// The seed.
        seed: u64,
    },
}

#[derive(Args)]
struct Run {
    /// The seeds, as FIRST..END without END.
    #[arg(long, value_parser = parse_range, default_value = "0..1000")]
    seeds: Range<u64>,
    /// Threads; by default as many as there are processors.
    #[arg(long)]
    jobs: Option<usize>,
    /// Go on after a seed that fails, and list all of them.
    #[arg(long)]
    keep_going: bool,
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let parts = text.split_once("..").and_then(|(start, end)| Some((start.parse().ok()?, end.parse().ok()?)));
    let (start, end): (u64, u64) = parts.ok_or("expected FIRST..END, for example 0..1000")?;
    if start < end { Ok(start..end) } else { Err("the range is empty".to_owned()) }
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Action::Run(options) => run_many(&options),
        Action::Replay { seed, trace } => {
            let plan = Plan::from_seed(seed);
            println!("{plan}");
            Ok(tell(&run(&plan, trace)))
        }
        Action::Minimize { seed, trace } => shrink(seed, trace),
        Action::Latency { validators } => latency(&validators),
        #[cfg(feature = "mutants")]
        Action::Mutants(options) => hunt(&options),
        Action::Plan { seed } => {
            println!("{}", Plan::from_seed(seed));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn tell(outcome: &Outcome) -> ExitCode {
    let all = &outcome.statistics;
    println!(
        "trace {}\n{} events, {} messages, {} blocks, {} transactions, {} crashes, {} joined, {} accused in {} \
         virtual ms",
        outcome.trace,
        all.events,
        all.messages,
        all.blocks,
        all.transactions,
        all.crashes,
        all.joined,
        all.accused,
        all.virtual_ms
    );
    match &outcome.failure {
        None => {
            println!("passed; recovery took {} of 1000 of its bound", all.recovery_permille_max);
            ExitCode::SUCCESS
        }
        Some(failure) => {
            println!("FAILED {failure}");
            ExitCode::FAILURE
        }
    }
}

fn shrink(seed: u64, trace: bool) -> anyhow::Result<ExitCode> {
    let plan = Plan::from_seed(seed);
    let smallest = minimize(&plan, &mut |step| println!("  still fails {step}"));
    let smallest = smallest.with_context(|| format!("seed {seed} does not fail"))?;
    println!("{smallest}");
    Ok(tell(&run(&smallest, trace)))
}

/// Prints a table of submit-to-final times; a mean above five delays and a tenth is a failure.
fn latency(sizes: &[usize]) -> anyhow::Result<ExitCode> {
    println!("one-way delay d = {} ms\n", Plan::LATENCY_DELAY_MS);
    println!("| validators | transactions | mean | p50 | p95 | longest |\n|---|---|---|---|---|---|");
    let mut is_within = true;
    for validators in sizes {
        let outcome = run(&Plan::steady(*validators), false);
        if let Some(failure) = outcome.failure {
            anyhow::bail!("{validators} validators: {failure}");
        }
        let mut times = outcome.latencies_ms;
        times.sort_unstable();
        let count = u64::try_from(times.len()).unwrap_or(u64::MAX).max(1);
        let mean = times.iter().sum::<u64>() / count;
        let part = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
        let shown = |ms: Option<&u64>| delays(ms.copied().unwrap_or_default());
        let row = [delays(mean), shown(part(50)), shown(part(95)), shown(times.last())];
        println!("| {validators} | {} | {} |", times.len(), row.join(" | "));
        is_within &= !times.is_empty() && mean * 10 <= Plan::LATENCY_DELAY_MS * 55;
    }
    Ok(if is_within { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A time in delays with two decimals.
fn delays(ms: u64) -> String {
    let hundredths = ms * 100 / Plan::LATENCY_DELAY_MS;
    format!("{}.{:02} d", hundredths / 100, hundredths % 100)
}

/// Runs seeds with each deliberate bug until one fails, and prints a table. A bug that no seed finds is a failure.
#[cfg(feature = "mutants")]
fn hunt(options: &Run) -> anyhow::Result<ExitCode> {
    use cairn_consensus::mutant::{self, Mutant};
    println!("| bug | rules | seeds until found | found by |\n|---|---|---|---|");
    let mut is_complete = true;
    for bug in Mutant::ALL {
        mutant::set(Some(bug));
        let shared = run_quietly(options);
        let failures = shared.failures.into_inner().unwrap_or_default();
        let found = failures.into_iter().min_by_key(|(seed, _)| *seed);
        let rules = bug.rules();
        match found {
            Some((seed, failure)) => {
                println!("| {bug:?} | {rules} | {} | {} |", seed - options.seeds.start + 1, failure.check);
            }
            None => {
                println!("| {bug:?} | {rules} | not in {} | |", options.seeds.end - options.seeds.start);
                is_complete = false;
            }
        }
    }
    mutant::set(None);
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs seeds on all threads without a word.
#[cfg(feature = "mutants")]
fn run_quietly(options: &Run) -> Shared {
    let shared = Shared::new(options);
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for _ in 0..jobs(options) {
            scope.spawn(|| work(&shared, options));
        }
    });
    shared
}

/// What the threads share.
struct Shared {
    next: AtomicU64,
    stop: AtomicBool,
    statistics: Mutex<Statistics>,
    failures: Mutex<Vec<(u64, Failure)>>,
    /// The seeds under way: told when they take long.
    running: Mutex<BTreeSet<u64>>,
}

impl Shared {
    fn new(options: &Run) -> Self {
        Self {
            next: AtomicU64::new(options.seeds.start),
            stop: AtomicBool::new(false),
            statistics: Mutex::default(),
            failures: Mutex::default(),
            running: Mutex::default(),
        }
    }
}

/// How many threads run seeds.
fn jobs(options: &Run) -> usize {
    let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    options.jobs.unwrap_or(available).max(1)
}

fn run_many(options: &Run) -> anyhow::Result<ExitCode> {
    let shared = Shared::new(options);
    let started = Instant::now();
    // A panic of a core is a failure that is told in its place.
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs(options)).map(|_| scope.spawn(|| work(&shared, options))).collect();
        let mut told = Instant::now();
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(50));
            if told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                progress(&shared, options, started);
            }
        }
    });
    progress(&shared, options, started);
    let mut failures = shared.failures.into_inner().unwrap_or_default();
    failures.sort_by_key(|(seed, _)| *seed);
    for (seed, failure) in &failures {
        println!("\nseed {seed} FAILED at commit {}\n{failure}", commit());
        println!("replay it with: cargo run --release --locked -p cairn-sim --bin sim -- replay {seed} --trace");
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn work(shared: &Shared, options: &Run) {
    while !shared.stop.load(Ordering::Relaxed) {
        let seed = shared.next.fetch_add(1, Ordering::Relaxed);
        if seed >= options.seeds.end {
            return;
        }
        if let Ok(mut running) = shared.running.lock() {
            running.insert(seed);
        }
        let outcome = run_seed(seed, false);
        if let Ok(mut running) = shared.running.lock() {
            running.remove(&seed);
        }
        if let Ok(mut statistics) = shared.statistics.lock() {
            statistics.add(&outcome.statistics);
        }
        if let Some(failure) = outcome.failure {
            if let Ok(mut failures) = shared.failures.lock() {
                failures.push((seed, failure));
            }
            shared.stop.store(!options.keep_going, Ordering::Relaxed);
        }
    }
}

fn progress(shared: &Shared, options: &Run, started: Instant) {
    let (Ok(all), Ok(failures), Ok(running)) =
        (shared.statistics.lock(), shared.failures.lock(), shared.running.lock())
    else {
        return;
    };
    let wanted = options.seeds.end - options.seeds.start;
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
    println!(
        "{} of {wanted} seeds, {}.{} a second, {} failed: {} blocks, {} transactions, {} crashes, {} joined, {} accused, {} epochs, {} \
         with other validators, {} M events, \
         slowest recovery {} of 1000 of its bound; running {running:?}",
        all.runs,
        all.runs * 1_000 / milliseconds,
        all.runs * 10_000 / milliseconds % 10,
        failures.len(),
        all.blocks,
        all.transactions,
        all.crashes,
        all.joined,
        all.accused,
        all.epochs,
        all.changed_sets,
        all.events / 1_000_000,
        all.recovery_permille_max,
    );
}

/// The commit of the working directory, as far as git knows.
fn commit() -> String {
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    text.and_then(|text| String::from_utf8(text).ok())
        .map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}
