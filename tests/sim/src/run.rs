//! One run from a plan or a seed, panics included.

use crate::check::Failure;
use crate::plan::Plan;
use crate::world::{Report, World};
use cairn_primitives::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The hash over all events: the same on every machine.
    pub trace: Hash,
    /// What the run came to.
    pub statistics: Statistics,
    /// From submission to finality at the node asked, in virtual milliseconds, of every transaction.
    pub latencies_ms: Vec<u64>,
    /// The first check that failed.
    pub failure: Option<Failure>,
}

/// What a run came to; sums and maxima when added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Runs.
    pub runs: u64,
    /// Events.
    pub events: u64,
    /// Messages sent.
    pub messages: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// Finalized blocks.
    pub blocks: u64,
    /// Committed transactions.
    pub transactions: u64,
    /// Processes that ended in the middle of their work.
    pub crashes: u64,
    /// Nodes that began with a snapshot.
    pub joined: u64,
    /// Validators accused with evidence.
    pub accused: u64,
    /// Epochs that were opened, the first ones not counted.
    pub epochs: u64,
    /// Those of them with other validators than the epoch before.
    pub changed_sets: u64,
    /// The longest time until everybody went on after the faults, as part of the bound, in thousandths.
    pub recovery_permille_max: u64,
}

impl Statistics {
    /// Adds what other runs came to.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.events += other.events;
        self.messages += other.messages;
        self.virtual_ms += other.virtual_ms;
        self.blocks += other.blocks;
        self.transactions += other.transactions;
        self.crashes += other.crashes;
        self.joined += other.joined;
        self.accused += other.accused;
        self.epochs += other.epochs;
        self.changed_sets += other.changed_sets;
        self.recovery_permille_max = self.recovery_permille_max.max(other.recovery_permille_max);
    }
}

impl Outcome {
    fn of(report: Report) -> Self {
        let statistics = Statistics {
            runs: 1,
            events: report.events,
            messages: report.messages,
            virtual_ms: report.virtual_ms,
            blocks: u64::from(report.height.0),
            transactions: report.transactions as u64,
            crashes: report.crashes,
            joined: report.joined,
            accused: report.accused as u64,
            epochs: report.epochs,
            changed_sets: report.changed_sets,
            recovery_permille_max: report.recovery_ms * 1_000 / report.bound_ms.max(1),
        };
        Self { trace: report.trace, statistics, latencies_ms: report.latencies_ms, failure: report.failure }
    }

    fn broken(failure: Failure) -> Self {
        let statistics = Statistics { runs: 1, ..Statistics::default() };
        Self { trace: Hash::ZERO, statistics, latencies_ms: Vec::new(), failure: Some(failure) }
    }
}

/// Runs a plan; `is_printing` says whether every event goes to standard output.
#[must_use]
pub fn run(plan: &Plan, is_printing: bool) -> Outcome {
    // A core that panics is a failure like any other; the world is thrown away.
    let result = catch_unwind(AssertUnwindSafe(|| World::new(plan.clone(), is_printing).map(World::run)));
    match result {
        Ok(Ok(report)) => Outcome::of(report),
        Ok(Err(error)) => Outcome::broken(Failure { check: "plan", detail: format!("{error:#}") }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            Outcome::broken(Failure { check: "panic", detail: text.unwrap_or_else(|| "without words".to_owned()) })
        }
    }
}

/// Runs what a seed draws.
#[must_use]
pub fn run_seed(seed: u64, is_printing: bool) -> Outcome {
    run(&Plan::from_seed(seed), is_printing)
}
