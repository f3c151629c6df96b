//! Makes a failing plan smaller while it still fails the same check.

use crate::plan::{FaultKind, Plan, Weather};
use crate::run::run;
use crate::villain::Kind;

/// Runs that one minimisation may take.
const RUNS_MAX: u32 = 400;

/// The smallest plan found that fails the same check; `None` if the plan does not fail. `progress` hears of every step.
pub fn minimize(plan: &Plan, progress: &mut dyn FnMut(&str)) -> Option<Plan> {
    let check = run(plan, false).failure?.check;
    let mut search = Search { best: plan.clone(), check, runs: 0, progress };
    loop {
        let before = search.best.clone();
        search.drop_parts();
        search.calm_weather();
        search.shorten();
        if search.best == before || search.runs >= RUNS_MAX {
            return Some(search.best);
        }
    }
}

struct Search<'a> {
    best: Plan,
    check: &'static str,
    runs: u32,
    progress: &'a mut dyn FnMut(&str),
}

impl Search<'_> {
    /// Keeps a smaller plan if it fails the same check.
    fn attempt(&mut self, what: &str, change: impl FnOnce(&mut Plan)) -> bool {
        let mut smaller = self.best.clone();
        change(&mut smaller);
        if smaller == self.best || self.runs >= RUNS_MAX {
            return false;
        }
        self.runs += 1;
        let fails = run(&smaller, false).failure.is_some_and(|failure| failure.check == self.check);
        if fails {
            (self.progress)(what);
            self.best = smaller;
        }
        fails
    }

    fn drop_parts(&mut self) {
        self.attempt("without villains", |plan| plan.villains.clear());
        self.attempt("without faults", |plan| plan.faults.clear());
        self.attempt("without broken machines", |plan| plan.broken.clear());
        self.attempt("without transactions", |plan| plan.load.pause_ms_max = 0);
        self.attempt("without epochs", |plan| {
            plan.epoch_blocks = 0;
            plan.changes.clear();
        });
        self.attempt("without changes of power", |plan| plan.changes.clear());
        self.attempt("without a node that joins", |plan| plan.joins_ms = None);
        self.attempt("without observers", |plan| plan.observers = 0);
        for place in (0..self.best.villains.len()).rev() {
            self.attempt("a villain less", |plan| {
                plan.villains.remove(place);
            });
        }
        let mut size = self.best.faults.len() / 2;
        while size > 0 {
            let mut start = 0;
            while start + size <= self.best.faults.len() {
                let is_dropped = self.attempt("fewer faults", |plan| drop(plan.faults.drain(start..start + size)));
                start += if is_dropped { 0 } else { size };
            }
            size /= 2;
        }
        for place in (0..self.best.broken.len()).rev() {
            self.attempt("a broken machine less", |plan| {
                plan.broken.remove(place);
            });
        }
        while self.best.powers.len() > 1 && self.attempt("a validator less", drop_validator) {}
        self.attempt("equal powers", |plan| {
            plan.powers.iter_mut().for_each(|power| *power = 1);
        });
    }

    fn calm_weather(&mut self) {
        self.attempt("no loss", |plan| plan.storm.loss_percent = 0);
        self.attempt("no duplicates", |plan| plan.storm.duplicate_percent = 0);
        self.attempt("no late messages", |plan| plan.storm.late_percent = 0);
        self.attempt("equal delays", |plan| plan.storm.delay_ms_max = plan.storm.delay_ms_min);
        self.attempt("calm weather", |plan| plan.storm = Weather::steady(plan.storm.delay_ms_min));
        self.attempt("a fast ledger", |plan| plan.ledger_ms_max = 0);
        self.attempt("fast writes", |plan| plan.write_ms_max = 0);
    }

    fn shorten(&mut self) {
        while self.best.storm_ms > 200
            && self.attempt("a shorter storm", |plan| {
                plan.storm_ms /= 2;
                plan.faults.retain(|fault| fault.at_ms < plan.storm_ms);
            })
        {}
        for place in 0..self.best.faults.len() {
            self.attempt("a shorter fault", |plan| match &mut plan.faults[place].kind {
                FaultKind::Partition { for_ms, .. } | FaultKind::Pause { for_ms, .. } => *for_ms /= 2,
                FaultKind::PowerLoss { down_ms, .. }
                | FaultKind::Kill { down_ms, .. }
                | FaultKind::LoseRecord { down_ms, .. }
                | FaultKind::Write { down_ms, .. } => *down_ms /= 2,
                FaultKind::ClockJump { by_ms, .. } => *by_ms /= 2,
            });
        }
        self.attempt("one block to go", |plan| plan.goal_blocks = 1);
    }
}

/// Takes the last validator out, if its absence leaves villains and broken machines within a third.
fn drop_validator(plan: &mut Plan) {
    let original = plan.clone();
    let last = plan.powers.len() - 1;
    let has_twins = plan.villains.iter().any(|(_, kind)| *kind == Kind::Twin);
    plan.powers.pop();
    plan.villains.retain(|(place, _)| *place != last);
    plan.broken.retain(|machine| *machine != last);
    plan.faults.retain(|fault| fault.kind.machine() != Some(last));
    plan.changes.retain(|change| change.validator != last);
    if has_twins || !plan.is_tolerable() {
        *plan = original;
        return;
    }
    // Machines after the one that left move down by one.
    for fault in &mut plan.faults {
        match &mut fault.kind {
            FaultKind::Partition { groups, .. } => {
                groups.remove(last);
            }
            FaultKind::PowerLoss { machine, .. }
            | FaultKind::Kill { machine, .. }
            | FaultKind::Write { machine, .. }
            | FaultKind::LoseRecord { machine, .. }
            | FaultKind::Pause { machine, .. }
            | FaultKind::ClockJump { machine, .. } => *machine -= usize::from(*machine > last),
        }
    }
}
