//! Hand-written runs that read like stories: who is there, what goes wrong when, what must come of it.

use crate::plan::{Fault, FaultKind, Load, Machine, Matter, Plan, Rule, Weather};
use crate::run::{Outcome, run};
use crate::villain::Kind;

/// A story under way; times are in virtual milliseconds from the start.
#[derive(Clone, Debug)]
#[must_use]
pub struct Scenario {
    plan: Plan,
}

impl Scenario {
    /// A network of validators of equal power, on a steady network of 20 ms, for two seconds.
    pub fn with_validators(count: usize) -> Self {
        Self { plan: Plan::quiet(count) }
    }

    /// The seed of what is left to chance.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.plan.seed = seed;
        self
    }

    /// Gives the validators these powers.
    pub fn powers(mut self, powers: &[u64]) -> Self {
        self.plan.powers = powers.to_vec();
        self
    }

    /// Adds nodes that only follow.
    pub const fn observers(mut self, count: usize) -> Self {
        self.plan.observers = count;
        self
    }

    /// One more node comes then and begins with a snapshot.
    pub const fn joining(mut self, at_ms: u64) -> Self {
        self.plan.joins_ms = Some(at_ms);
        self
    }

    /// How long things go wrong before everybody is expected to go on.
    pub const fn lasting(mut self, storm_ms: u64) -> Self {
        self.plan.storm_ms = storm_ms;
        self
    }

    /// The weather while things go wrong.
    pub const fn weather(mut self, weather: Weather) -> Self {
        self.plan.storm = weather;
        self
    }

    /// Nobody submits anything but the last transaction.
    pub const fn idle(mut self) -> Self {
        self.plan.load = Load { pause_ms_max: 0, ..self.plan.load };
        self
    }

    /// A validator breaks the rules.
    pub fn villain(mut self, validator: usize, kind: Kind) -> Self {
        self.plan.villains.push((validator, kind));
        self
    }

    /// A machine stays down when the faults stop.
    pub fn broken(mut self, machine: Machine) -> Self {
        self.plan.broken.push(machine);
        self
    }

    /// Something goes wrong at a time.
    pub fn at(mut self, at_ms: u64, kind: FaultKind) -> Self {
        self.plan.faults.push(Fault { at_ms, kind });
        self
    }

    /// From one time to another machines of different groups cannot reach each other, and are told so.
    pub fn partition(self, from_ms: u64, until_ms: u64, groups: &[u8]) -> Self {
        let kind = FaultKind::Partition {
            groups: groups.to_vec(),
            is_one_way: false,
            breaks_streams: true,
            for_ms: until_ms.saturating_sub(from_ms),
        };
        self.at(from_ms, kind)
    }

    /// A machine is killed and starts again.
    pub fn kill(self, machine: Machine, from_ms: u64, until_ms: u64) -> Self {
        self.at(from_ms, FaultKind::Kill { machine, down_ms: until_ms.saturating_sub(from_ms) })
    }

    /// From one time to another some messages are lost: what, from whom, to whom; `None` means everybody.
    pub fn lose(
        mut self,
        (from_ms, until_ms): (u64, u64),
        what: Matter,
        senders: Option<&[Machine]>,
        receivers: Option<&[Machine]>,
    ) -> Self {
        let list = |machines: Option<&[Machine]>| machines.map(<[Machine]>::to_vec);
        let (senders, receivers) = (list(senders), list(receivers));
        self.plan.rules.push(Rule { from_ms, until_ms, senders, receivers, what, delay_ms: None });
        self
    }

    /// The plan of the story.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Tells it: what became of it.
    #[must_use]
    pub fn run(&self) -> Outcome {
        run(&self.plan, false)
    }
}
