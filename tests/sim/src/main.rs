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
        Action::Plan { seed } => {
            println!("{}", Plan::from_seed(seed));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn tell(outcome: &Outcome) -> ExitCode {
    let all = &outcome.statistics;
    println!(
        "trace {}\n{} events, {} messages, {} blocks, {} transactions, {} crashes, {} accused in {} virtual ms",
        outcome.trace, all.events, all.messages, all.blocks, all.transactions, all.crashes, all.accused, all.virtual_ms
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

/// What the threads share.
struct Shared {
    next: AtomicU64,
    stop: AtomicBool,
    statistics: Mutex<Statistics>,
    failures: Mutex<Vec<(u64, Failure)>>,
    /// The seeds under way: told when they take long.
    running: Mutex<BTreeSet<u64>>,
}

fn run_many(options: &Run) -> anyhow::Result<ExitCode> {
    let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = options.jobs.unwrap_or(available).max(1);
    let shared = Shared {
        next: AtomicU64::new(options.seeds.start),
        stop: AtomicBool::new(false),
        statistics: Mutex::default(),
        failures: Mutex::default(),
        running: Mutex::default(),
    };
    let started = Instant::now();
    // A panic of a core is a failure that is told in its place.
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(|| work(&shared, options))).collect();
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
        "{} of {wanted} seeds, {}.{} a second, {} failed: {} blocks, {} transactions, {} crashes, {} accused, {} epochs, {} \
         with other validators, {} M events, \
         slowest recovery {} of 1000 of its bound; running {running:?}",
        all.runs,
        all.runs * 1_000 / milliseconds,
        all.runs * 10_000 / milliseconds % 10,
        failures.len(),
        all.blocks,
        all.transactions,
        all.crashes,
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
