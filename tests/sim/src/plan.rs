//! What one seed draws: the whole run but for the dice of the network, as data that can be printed, changed and shrunk.

mod draw;

use crate::disk::WriteFault;
use crate::villain::Kind;
use std::fmt;

/// A machine of the network: validators by their place in the set, then second machines of twins, then observers, then the
/// one that joins.
pub type Machine = usize;

/// Everything that makes up a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed: also that of the dice rolled while the run lasts.
    pub seed: u64,
    /// The powers of the validators in the first epoch, in the order of their keys; 0 for one that may come later.
    pub powers: Vec<u64>,
    /// Blocks per epoch; 0 for one epoch without end.
    pub epoch_blocks: u32,
    /// What the authority asks for: when, whose power, how much from the next epoch on.
    pub changes: Vec<PowerChange>,
    /// Nodes without a key that follow the chain.
    pub observers: usize,
    /// When one more of them comes, without a chain, that begins with a snapshot; `None` for none.
    pub joins_ms: Option<u64>,
    /// Time-outs and cadence.
    pub times: Times,
    /// The network while faults are on.
    pub storm: Weather,
    /// The network afterwards.
    pub calm: Weather,
    /// How long faults are on, in milliseconds.
    pub storm_ms: u64,
    /// How long the ledger takes for one command at most, in milliseconds.
    pub ledger_ms_max: u64,
    /// How long a synced write takes at most, in milliseconds.
    pub write_ms_max: u64,
    /// The transactions.
    pub load: Load,
    /// Validators that break the rules: place and behaviour. Together they hold less than a third of the power.
    pub villains: Vec<(usize, Kind)>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Machines that stay down when the faults stop. With the villains they hold less than a third of the power.
    pub broken: Vec<Machine>,
    /// Messages that a story wants lost or late; a seed draws none.
    pub rules: Vec<Rule>,
    /// How many blocks everybody must finalize once the faults have stopped.
    pub goal_blocks: u32,
}

/// A change of the validators that the authority asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerChange {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// Whose power.
    pub validator: usize,
    /// The new power; 0 to remove.
    pub power: u64,
}

/// Time-outs and cadence in milliseconds, as in `cairn_consensus::Timing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How long a view waits for its proposal.
    pub leader_timeout_ms: u64,
    /// How long a view waits for a certified block.
    pub certify_timeout_ms: u64,
    /// How often unanswered messages are repeated.
    pub retry_ms: u64,
    /// A leader not heard from for this long is not waited for.
    pub skip_timeout_ms: u64,
    /// The least time between blocks.
    pub block_interval_ms: u64,
    /// The time between blocks of a chain without transactions.
    pub idle_block_interval_ms: u64,
}

/// What the network does to messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// The shortest delay.
    pub delay_ms_min: u64,
    /// The longest delay, but for messages that are held up.
    pub delay_ms_max: u64,
    /// Messages that are lost, of a hundred.
    pub loss_percent: u64,
    /// Messages that come twice, of a hundred.
    pub duplicate_percent: u64,
    /// Messages that are held up and overtaken, of a hundred.
    pub late_percent: u64,
    /// How long those are held up at most.
    pub late_ms_max: u64,
}

/// The transactions of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// The longest time between two submissions, in milliseconds; 0 for no transactions at all.
    pub pause_ms_max: u64,
    /// How many transactions are submitted at once, at most.
    pub burst_max: u64,
    /// Accounts that send.
    pub accounts: usize,
    /// The room for transactions in a block, in bytes.
    pub block_bytes_max: usize,
}

/// Something that goes wrong at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it begins, in milliseconds.
    pub at_ms: u64,
    /// What it is.
    pub kind: FaultKind,
}

/// What can go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Machines of different groups cannot reach each other.
    Partition {
        /// The group of each machine.
        groups: Vec<u8>,
        /// Whether only messages from a lower group to a higher one are lost.
        is_one_way: bool,
        /// Whether the streams break, so that both sides are told.
        breaks_streams: bool,
        /// How long it lasts.
        for_ms: u64,
    },
    /// The machine loses power.
    PowerLoss {
        /// The machine.
        machine: Machine,
        /// When it starts again.
        down_ms: u64,
    },
    /// The process is killed; what it wrote is kept.
    Kill {
        /// The machine.
        machine: Machine,
        /// When it starts again.
        down_ms: u64,
    },
    /// A write fails: see [`WriteFault`].
    Write {
        /// The machine.
        machine: Machine,
        /// Which write from then on.
        after: u64,
        /// How.
        fault: WriteFault,
        /// When the machine starts again.
        down_ms: u64,
    },
    /// The machine loses power, and the record of its votes is lost, as with a key that is restored from a backup.
    LoseRecord {
        /// The machine.
        machine: Machine,
        /// When it starts again.
        down_ms: u64,
    },
    /// The process stands still; what reaches it waits.
    Pause {
        /// The machine.
        machine: Machine,
        /// How long.
        for_ms: u64,
    },
    /// The time of day jumps.
    ClockJump {
        /// The machine.
        machine: Machine,
        /// How far.
        by_ms: i64,
    },
}

impl FaultKind {
    /// The machine it befalls; `None` for the network.
    #[must_use]
    pub const fn machine(&self) -> Option<Machine> {
        match self {
            Self::Partition { .. } => None,
            Self::PowerLoss { machine, .. }
            | Self::Kill { machine, .. }
            | Self::Write { machine, .. }
            | Self::LoseRecord { machine, .. }
            | Self::Pause { machine, .. }
            | Self::ClockJump { machine, .. } => Some(*machine),
        }
    }
}

/// A rule of a story about consensus messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// From when on, in milliseconds.
    pub from_ms: u64,
    /// Until when, not included.
    pub until_ms: u64,
    /// The senders concerned; `None` for all.
    pub senders: Option<Vec<Machine>>,
    /// The receivers concerned; `None` for all.
    pub receivers: Option<Vec<Machine>>,
    /// The messages concerned.
    pub what: Matter,
    /// How much later they come; `None` if never.
    pub delay_ms: Option<u64>,
}

/// Kinds of consensus messages that a rule of a story can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matter {
    /// All of them.
    Everything,
    /// Proposals.
    Proposals,
    /// Notarize votes that travel without a proposal.
    Notarizes,
    /// Nullify votes.
    Nullifies,
    /// Finalize votes.
    Finalizes,
    /// Certificates of any kind.
    Certificates,
    /// Finalizations.
    Finalizations,
}

impl Plan {
    /// What the seed draws.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        draw::draw(seed)
    }

    /// A network of validators of equal power where nothing goes wrong.
    #[must_use]
    pub fn quiet(validators: usize) -> Self {
        let weather = Weather::steady(20);
        Self {
            seed: 0,
            powers: vec![1; validators],
            epoch_blocks: 0,
            changes: Vec::new(),
            observers: 0,
            joins_ms: None,
            times: Times::for_delay(20),
            storm: weather,
            calm: weather,
            storm_ms: 2_000,
            ledger_ms_max: 2,
            write_ms_max: 2,
            load: Load { pause_ms_max: 100, burst_max: 3, accounts: 4, block_bytes_max: 1 << 14 },
            villains: Vec::new(),
            faults: Vec::new(),
            broken: Vec::new(),
            rules: Vec::new(),
            goal_blocks: 3,
        }
    }

    /// The one-way delay of [`Plan::steady`], in milliseconds.
    pub const LATENCY_DELAY_MS: u64 = 100;

    /// Validators of equal power on a network without faults, where nothing but messages takes time: for measuring how
    /// many delays a transaction takes. Time-outs are those of a usual chain.
    #[must_use]
    pub fn steady(validators: usize) -> Self {
        let weather = Weather::steady(Self::LATENCY_DELAY_MS);
        let times = Times {
            leader_timeout_ms: 1_000,
            certify_timeout_ms: 2_000,
            retry_ms: 1_000,
            skip_timeout_ms: 5_000,
            block_interval_ms: 0,
            idle_block_interval_ms: 1_000,
        };
        Self {
            times,
            storm: weather,
            calm: weather,
            storm_ms: 20_000,
            ledger_ms_max: 0,
            write_ms_max: 0,
            load: Load {
                pause_ms_max: 2 * Self::LATENCY_DELAY_MS,
                burst_max: 1,
                accounts: 8,
                block_bytes_max: 1 << 14,
            },
            ..Self::quiet(validators)
        }
    }

    /// All validators' power.
    #[must_use]
    pub fn total_power(&self) -> u64 {
        self.powers.iter().sum()
    }

    /// The most power that may be malicious or broken.
    #[must_use]
    pub fn tolerated_power(&self) -> u64 {
        (self.total_power() - 1) / 3
    }

    /// The validators that run on two machines with one key.
    pub fn twins(&self) -> impl Iterator<Item = usize> + '_ {
        self.villains.iter().filter(|(_, kind)| *kind == Kind::Twin).map(|(place, _)| *place)
    }

    /// The machines that lose the record of their votes: silent for a while, they count like those that stay broken.
    pub fn forgetful(&self) -> impl Iterator<Item = Machine> + '_ {
        let mut found: Vec<_> = self
            .faults
            .iter()
            .filter_map(|fault| match fault.kind {
                FaultKind::LoseRecord { machine, .. } => Some(machine),
                FaultKind::Partition { .. }
                | FaultKind::PowerLoss { .. }
                | FaultKind::Kill { .. }
                | FaultKind::Write { .. }
                | FaultKind::Pause { .. }
                | FaultKind::ClockJump { .. } => None,
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        found.into_iter()
    }

    /// Whether a validator is a villain, stays broken, or loses the record of its votes.
    #[must_use]
    pub fn is_bad(&self, validator: usize) -> bool {
        self.villain_of(validator).is_some()
            || self.broken.contains(&validator)
            || self.forgetful().any(|other| other == validator)
    }

    /// The most power that bad validators can have in any epoch, and the least that the others can, whichever of the
    /// changes come about.
    #[must_use]
    pub fn extreme_powers(&self) -> (u64, u64) {
        let (mut bad, mut good) = (0, 0);
        for (validator, first) in self.powers.iter().enumerate() {
            let changes = self.changes.iter().filter(|change| change.validator == validator).map(|change| change.power);
            let powers = std::iter::once(*first).chain(changes);
            if self.is_bad(validator) {
                bad += powers.max().unwrap_or(0);
            } else {
                good += powers.min().unwrap_or(0);
            }
        }
        (bad, good)
    }

    /// Whether bad validators hold less than a third of the power in every epoch that can come about.
    #[must_use]
    pub fn is_tolerable(&self) -> bool {
        let (bad, good) = self.extreme_powers();
        good > 2 * bad
    }

    /// How many machines there are.
    #[must_use]
    pub fn machines(&self) -> usize {
        self.powers.len() + self.twins().count() + self.observers + usize::from(self.joins_ms.is_some())
    }

    /// The machine that begins with a snapshot: the last one.
    #[must_use]
    pub fn joiner(&self) -> Option<Machine> {
        self.joins_ms.map(|_| self.machines() - 1)
    }

    /// The validator whose key a machine holds; `None` for an observer.
    #[must_use]
    pub fn validator_of(&self, machine: Machine) -> Option<usize> {
        if machine < self.powers.len() {
            return Some(machine);
        }
        self.twins().nth(machine - self.powers.len())
    }

    /// The behaviour of the machine's validator, if it breaks the rules.
    #[must_use]
    pub fn villain_of(&self, machine: Machine) -> Option<Kind> {
        let validator = self.validator_of(machine)?;
        self.villains.iter().find(|(place, _)| *place == validator).map(|(_, kind)| *kind)
    }
}

impl Times {
    /// Time-outs that suit a network of the given one-way delay.
    #[must_use]
    pub const fn for_delay(delay_ms: u64) -> Self {
        Self {
            leader_timeout_ms: 4 * delay_ms + 60,
            certify_timeout_ms: 8 * delay_ms + 120,
            retry_ms: 4 * delay_ms + 40,
            skip_timeout_ms: 3_000,
            block_interval_ms: 0,
            idle_block_interval_ms: 200,
        }
    }
}

impl Weather {
    /// Every message takes the same time and none is lost.
    #[must_use]
    pub const fn steady(delay_ms: u64) -> Self {
        Self {
            delay_ms_min: delay_ms,
            delay_ms_max: delay_ms,
            loss_percent: 0,
            duplicate_percent: 0,
            late_percent: 0,
            late_ms_max: 0,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: powers {:?}, {} observers", self.seed, self.powers, self.observers)?;
        if let Some(joins_ms) = self.joins_ms {
            writeln!(f, "  joins     at {joins_ms} ms with a snapshot")?;
        }
        writeln!(f, "  times     {:?}", self.times)?;
        writeln!(f, "  storm     {} ms of {:?}", self.storm_ms, self.storm)?;
        writeln!(f, "  calm      {:?}, {} blocks to go", self.calm, self.goal_blocks)?;
        writeln!(f, "  epochs    {} blocks", self.epoch_blocks)?;
        for change in &self.changes {
            writeln!(f, "  change    {change:?}")?;
        }
        writeln!(f, "  machines  ledger up to {} ms, writes up to {} ms", self.ledger_ms_max, self.write_ms_max)?;
        writeln!(f, "  load      {:?}", self.load)?;
        for (place, kind) in &self.villains {
            writeln!(f, "  villain   {place}: {kind:?}")?;
        }
        for Fault { at_ms, kind } in &self.faults {
            writeln!(f, "  fault     at {at_ms} ms: {kind:?}")?;
        }
        for rule in &self.rules {
            writeln!(f, "  rule      {rule:?}")?;
        }
        write!(f, "  broken    {:?}", self.broken)
    }
}
