//! Virtual time: the events of a run in their order, and what each does to the machines.
//!
//! Events are ordered by time, then by when they were planned. An event concerns one machine; a machine that stands still
//! gets its events when it goes on. After each event the checker looks at what came of it.

mod effects;
mod faults;

use crate::check::{Checker, Failure};
use crate::disk::Disk;
use crate::liveness;
use crate::network::Network;
use crate::node::{Clock, Effect, Files, Joined, Joining, Node};
use crate::plan::{Machine, Plan};
use crate::rng::Rng;
use crate::setup::{Setup, WALL_MS};
use crate::trace::Trace;
use crate::traffic::Traffic;
use crate::villain::{self, Villain};
use crate::wire::Wire;
use cairn_primitives::message::{StateResponse, SyncResponse};
use cairn_primitives::{Hash, Height};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// How often block sync wants a tick.
const SYNC_TICK_MS: u64 = cairn_sync::TICK_INTERVAL_MS;

/// How often the mempool wants a tick.
const POOL_TICK_MS: u64 = 1_000;

/// How often queues and memory are looked at, in events of a machine.
const BOUNDS_EVERY: u64 = 16;

/// Events after which a run counts as stuck: some hundred times what runs need.
const EVENTS_MAX: u64 = 20_000_000;

/// Something that is going to happen.
enum Event {
    /// A message arrives at the life of a machine that it was sent to.
    Deliver { from: Machine, to: Machine, life: u64, wire: Wire },
    /// Consensus takes its inputs.
    Turn { at: Machine, life: u64 },
    /// Consensus wanted to be woken.
    Wake { at: Machine, life: u64 },
    /// The ledger takes a command.
    Ledger { at: Machine, life: u64 },
    /// Block sync looks at the clock.
    SyncTick { at: Machine, life: u64 },
    /// The mempool looks at the clock.
    PoolTick { at: Machine, life: u64 },
    /// A machine looks whether its stream to a peer is as it should be.
    Link { at: Machine, peer: Machine },
    /// A machine starts.
    Start { at: Machine },
    /// A fault of the plan begins.
    Fault(usize),
    /// A partition ends.
    Heal(usize),
    /// Clients submit.
    Submit,
    /// The authority asks for a change of the validators.
    Change(usize),
    /// The transaction of the liveness phase is submitted.
    LastSubmit,
    /// The faults stop.
    Calm,
}

/// A machine: what survives the process, and the process.
struct Host {
    disk: Disk,
    /// What a joining node keeps beside it.
    files: Files,
    node: Option<Node>,
    /// A process that has no chain yet.
    joining: Option<Joining>,
    /// Nobody had a snapshot: it begins with blocks.
    begins_with_blocks: bool,
    /// It began with a snapshot.
    has_joined: bool,
    villain: Option<Box<dyn Villain>>,
    villain_rng: Rng,
    life: u64,
    born_ms: u64,
    skew_ms: i64,
    paused_until_ms: u64,
    /// The life of each peer that the stream is up to.
    links: Vec<Option<u64>>,
    /// The machines of validators that the node was told it can reach.
    reachable: BTreeSet<Machine>,
    is_turn_planned: bool,
    is_ledger_planned: bool,
    wake_ms: Option<u64>,
    /// Until when consensus waits for its disk.
    writing_until_ms: u64,
    /// How long the machine stays down after the write fault that is armed.
    down_ms: u64,
    is_start_planned: bool,
    /// Stays down for good.
    is_out: bool,
    gossip_seen: BTreeSet<u64>,
    events: u64,
}

impl Host {
    /// Whether a process runs.
    const fn is_up(&self) -> bool {
        self.node.is_some() || self.joining.is_some()
    }
}

/// Who is expected to go on in the liveness phase, and how far.
struct Goal {
    height: Height,
    machines: Vec<Machine>,
    transaction: Option<Hash>,
    since_ms: u64,
    until_ms: u64,
}

/// A run under way.
pub(crate) struct World {
    setup: Arc<Setup>,
    hosts: Vec<Host>,
    network: Network,
    checker: Checker,
    trace: Trace,
    traffic: Traffic,
    rng: Rng,
    now_ms: u64,
    events: BTreeMap<(u64, u64), Event>,
    planned: u64,
    gossip: BTreeMap<u64, Wire>,
    goal: Option<Goal>,
    submitted: u64,
    crashes: u64,
    /// When and where transactions were submitted that are not final there yet.
    open: BTreeMap<Hash, (u64, Machine)>,
    /// From submission to the moment the transaction was final at the node it was submitted to.
    latencies_ms: Vec<u64>,
}

/// What a run comes to.
pub(crate) struct Report {
    pub(crate) trace: Hash,
    pub(crate) events: u64,
    pub(crate) virtual_ms: u64,
    pub(crate) height: Height,
    pub(crate) transactions: usize,
    pub(crate) crashes: u64,
    pub(crate) joined: u64,
    pub(crate) accused: usize,
    pub(crate) epochs: u64,
    pub(crate) changed_sets: u64,
    pub(crate) messages: u64,
    pub(crate) recovery_ms: u64,
    pub(crate) bound_ms: u64,
    pub(crate) latencies_ms: Vec<u64>,
    pub(crate) failure: Option<Failure>,
}

impl World {
    pub(crate) fn new(plan: Plan, is_printing: bool) -> anyhow::Result<Self> {
        let setup = Arc::new(Setup::new(plan)?);
        let plan = &setup.plan;
        let machines = plan.machines();
        let hosts = (0..machines)
            .map(|at| Host {
                disk: Disk::default(),
                files: Files::default(),
                node: None,
                joining: None,
                begins_with_blocks: false,
                has_joined: false,
                villain: plan.villain_of(at).and_then(villain::behaviour),
                villain_rng: Rng::new(plan.seed, &format!("villain {at}")),
                life: 0,
                born_ms: 0,
                skew_ms: 0,
                paused_until_ms: 0,
                links: vec![None; machines],
                reachable: BTreeSet::new(),
                is_turn_planned: false,
                is_ledger_planned: false,
                wake_ms: None,
                writing_until_ms: 0,
                down_ms: 100,
                is_start_planned: false,
                is_out: false,
                gossip_seen: BTreeSet::new(),
                events: 0,
            })
            .collect();
        Ok(Self {
            hosts,
            network: Network::new(plan),
            checker: Checker::new(setup.clone()),
            trace: Trace::new(is_printing),
            traffic: Traffic::new(plan.seed),
            rng: Rng::new(plan.seed, "world"),
            now_ms: 0,
            events: BTreeMap::new(),
            planned: 0,
            gossip: BTreeMap::new(),
            goal: None,
            submitted: 0,
            open: BTreeMap::new(),
            latencies_ms: Vec::new(),
            crashes: 0,
            setup,
        })
    }

    /// Runs to the end: the goal of the liveness phase, or the first check that fails.
    pub(crate) fn run(mut self) -> Report {
        let failure = self.run_all().err();
        let goal = self.goal.as_ref();
        Report {
            trace: self.trace.hash(),
            events: self.trace.events(),
            virtual_ms: self.now_ms,
            height: self.checker.height(),
            transactions: self.checker.transactions(),
            crashes: self.crashes,
            joined: self.hosts.iter().filter(|host| host.has_joined).count() as u64,
            accused: self.checker.accused(),
            epochs: self.checker.epochs().0,
            changed_sets: self.checker.epochs().1,
            messages: self.network.sent,
            recovery_ms: goal.map_or(0, |goal| self.now_ms - goal.since_ms),
            bound_ms: goal.map_or(0, |goal| goal.until_ms - goal.since_ms),
            latencies_ms: self.latencies_ms,
            failure,
        }
    }

    fn run_all(&mut self) -> Result<(), Failure> {
        for at in 0..self.hosts.len() {
            self.hosts[at].disk.make_vote_record();
            let joins_ms = self.setup.plan.joins_ms.filter(|_| self.setup.plan.joiner() == Some(at));
            self.plan_start(at, joins_ms.unwrap_or(self.now_ms));
        }
        for number in 0..self.setup.plan.faults.len() {
            self.plan_at(self.setup.plan.faults[number].at_ms, Event::Fault(number));
        }
        for number in 0..self.setup.plan.changes.len() {
            self.plan_at(self.setup.plan.changes[number].at_ms, Event::Change(number));
        }
        if self.setup.plan.load.pause_ms_max > 0 {
            self.plan_in(100, Event::Submit);
        }
        self.plan_at(self.setup.plan.storm_ms, Event::Calm);
        while let Some(((time_ms, _), event)) = self.events.pop_first() {
            self.now_ms = time_ms;
            self.handle(event)?;
            if self.is_done()? {
                return Ok(());
            }
            if self.trace.events() > EVENTS_MAX {
                return Err(Failure::new("events", format!("{EVENTS_MAX} events are not enough")));
            }
        }
        Err(Failure::new("liveness", "nothing happens any more"))
    }

    fn plan_at(&mut self, at_ms: u64, event: Event) {
        self.planned += 1;
        self.events.insert((at_ms.max(self.now_ms), self.planned), event);
    }

    fn plan_in(&mut self, delay_ms: u64, event: Event) {
        self.plan_at(self.now_ms + delay_ms, event);
    }

    /// Notes an event in the trace.
    fn note(&mut self, at: Machine, what: &dyn fmt::Display) {
        self.trace.add(self.now_ms, at, what);
    }

    fn clock(&self, at: Machine) -> Clock {
        let host = &self.hosts[at];
        let wall_ms = (WALL_MS + self.now_ms).saturating_add_signed(host.skew_ms);
        Clock { monotonic_ms: self.now_ms - host.born_ms, wall_ms }
    }

    /// The machine that an event concerns, if it is one, and the life that it is for.
    const fn place(event: &Event) -> Option<(Machine, Option<u64>)> {
        match event {
            Event::Deliver { to, life, .. } => Some((*to, Some(*life))),
            Event::Turn { at, life }
            | Event::Wake { at, life }
            | Event::Ledger { at, life }
            | Event::SyncTick { at, life }
            | Event::PoolTick { at, life } => Some((*at, Some(*life))),
            Event::Link { at, .. } => Some((*at, None)),
            Event::Start { .. }
            | Event::Fault(_)
            | Event::Heal(_)
            | Event::Submit
            | Event::Change(_)
            | Event::LastSubmit
            | Event::Calm => None,
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), Failure> {
        if let Some((at, life)) = Self::place(&event) {
            let host = &self.hosts[at];
            if !host.is_up() || life.is_some_and(|life| life != host.life) {
                return Ok(());
            }
            if host.paused_until_ms > self.now_ms {
                let until_ms = host.paused_until_ms;
                self.plan_at(until_ms, event);
                return Ok(());
            }
        }
        match event {
            Event::Deliver { from, to, wire, .. } => self.deliver(from, to, &wire),
            Event::Turn { at, .. } => {
                self.hosts[at].is_turn_planned = false;
                self.turn(at)
            }
            Event::Wake { at, .. } => self.wake(at),
            Event::Ledger { at, .. } => self.ledger(at),
            Event::SyncTick { at, life } => {
                self.plan_in(SYNC_TICK_MS, Event::SyncTick { at, life });
                self.join(at, |joining, clock, files, effects| joining.tick(clock, files, effects))?;
                self.enter(at, 0, |node, clock, effects| node.sync_tick(clock, effects))
            }
            Event::PoolTick { at, life } => {
                self.plan_in(POOL_TICK_MS, Event::PoolTick { at, life });
                self.enter(at, 0, |node, clock, effects| node.pool_tick(clock, effects))
            }
            Event::Link { at, peer } => self.relink(at, peer),
            Event::Start { at } => self.start(at),
            Event::Fault(number) => self.fault(number),
            Event::Heal(number) => {
                self.network.end_partition(number);
                self.note(0, &format_args!("partition {number} heals"));
                self.relink_all();
                Ok(())
            }
            Event::Submit => self.submit(),
            Event::Change(number) => self.change(number),
            Event::LastSubmit => self.submit_last(),
            Event::Calm => self.calm_down(),
        }
    }

    /// Lets a node do something, carries out what follows, and checks it. `spoken_after_ms` is how long its words wait for
    /// the disk.
    fn enter(
        &mut self,
        at: Machine,
        spoken_after_ms: u64,
        work: impl FnOnce(&mut Node, Clock, &mut Vec<Effect>) -> anyhow::Result<()>,
    ) -> Result<(), Failure> {
        let clock = self.clock(at);
        let Some(node) = self.hosts[at].node.as_mut() else { return Ok(()) };
        let mut effects = Vec::new();
        let outcome = work(node, clock, &mut effects);
        self.after(at, spoken_after_ms, effects, outcome)
    }

    /// Lets a node that has no chain yet do something. Once it has one, it starts as any other.
    fn join(
        &mut self,
        at: Machine,
        work: impl FnOnce(&mut Joining, Clock, &mut Files, &mut Vec<Effect>) -> anyhow::Result<Option<Joined>>,
    ) -> Result<(), Failure> {
        let clock = self.clock(at);
        let host = &mut self.hosts[at];
        let Some(joining) = host.joining.as_mut() else { return Ok(()) };
        let mut effects = Vec::new();
        let outcome = work(joining, clock, &mut host.files, &mut effects);
        self.carry_out(at, 0, effects)?;
        match outcome {
            Ok(None) => Ok(()),
            Ok(Some(joined)) => {
                self.note(at, &format_args!("joins: {joined:?}"));
                self.hosts[at].begins_with_blocks = joined == Joined::Blocks;
                self.stop(at, Some(1));
                Ok(())
            }
            Err(error) => self.ended(at, &error),
        }
    }

    /// What follows from a node's work: effects first, as they came before it ended, if it did.
    fn after(
        &mut self,
        at: Machine,
        spoken_after_ms: u64,
        effects: Vec<Effect>,
        outcome: anyhow::Result<()>,
    ) -> Result<(), Failure> {
        self.carry_out(at, spoken_after_ms, effects)?;
        if let Err(error) = outcome {
            return self.ended(at, &error);
        }
        self.plan_work(at);
        let host = &mut self.hosts[at];
        host.events += 1;
        if host.events.is_multiple_of(BOUNDS_EVERY) && self.setup.plan.villain_of(at).is_none() {
            let clock = self.clock(at);
            if let Some(node) = &self.hosts[at].node {
                let fetches = node.consensus.as_ref().map_or(0, |consensus| consensus.standing(clock).fetches);
                self.checker.bounds(at, node, fetches)?;
            }
        }
        Ok(())
    }

    /// Plans the next turns of a node's parts.
    fn plan_work(&mut self, at: Machine) {
        let (now_ms, write_ms_max, ledger_ms_max) =
            (self.now_ms, self.setup.plan.write_ms_max, self.setup.plan.ledger_ms_max);
        debug_assert!(write_ms_max < 1_000, "writes take part of a second");
        let host = &mut self.hosts[at];
        let Some(node) = &host.node else { return };
        let life = host.life;
        let mut planned = Vec::new();
        if let Some(consensus) = &node.consensus {
            if consensus.waiting() > 0 && !host.is_turn_planned {
                host.is_turn_planned = true;
                planned.push((host.writing_until_ms.max(now_ms), Event::Turn { at, life }));
            }
            if let Some(deadline) = consensus.next_deadline() {
                let due_ms = (host.born_ms + deadline).max(host.writing_until_ms);
                if host.wake_ms.is_none_or(|planned| planned != due_ms) {
                    host.wake_ms = Some(due_ms);
                    planned.push((due_ms, Event::Wake { at, life }));
                }
            }
        }
        if node.ledger.commands() > 0 && !host.is_ledger_planned {
            host.is_ledger_planned = true;
            let takes_ms = if ledger_ms_max == 0 { 0 } else { self.rng.below(ledger_ms_max + 1) };
            planned.push((now_ms + takes_ms, Event::Ledger { at, life }));
        }
        for (at_ms, event) in planned {
            self.plan_at(at_ms, event);
        }
    }

    fn turn(&mut self, at: Machine) -> Result<(), Failure> {
        let host = &self.hosts[at];
        let waiting = host.node.as_ref().and_then(|node| node.consensus.as_ref()).map_or(0, |part| part.waiting());
        let writes_before = host.disk.writes();
        let write_ms_max = self.setup.plan.write_ms_max;
        let write_ms = if write_ms_max == 0 { 0 } else { self.rng.below(write_ms_max + 1) };
        self.note(at, &format_args!("turn: {waiting} inputs"));
        self.enter(at, write_ms, |node, clock, effects| node.consensus_turn(clock, effects))?;
        let host = &mut self.hosts[at];
        if host.disk.writes() > writes_before {
            host.writing_until_ms = self.now_ms + write_ms;
        }
        Ok(())
    }

    fn wake(&mut self, at: Machine) -> Result<(), Failure> {
        if self.hosts[at].wake_ms.is_none_or(|wanted_ms| wanted_ms > self.now_ms) {
            return Ok(()); // A later time was planned since.
        }
        self.hosts[at].wake_ms = None;
        if self.hosts[at].is_turn_planned {
            return Ok(()); // That turn looks at the clock, too, and plans anew.
        }
        self.turn(at)
    }

    fn ledger(&mut self, at: Machine) -> Result<(), Failure> {
        self.hosts[at].is_ledger_planned = false;
        let command = self.hosts[at].node.as_ref().and_then(|node| node.ledger.next_command());
        let name = command.map_or("nothing", |command| command.name());
        self.note(at, &format_args!("ledger: {name}"));
        self.enter(at, 0, |node, clock, effects| node.ledger_turn(clock, effects))
    }

    fn deliver(&mut self, from: Machine, to: Machine, wire: &Wire) -> Result<(), Failure> {
        self.note(to, &format_args!("from {from}: {wire}"));
        match wire {
            Wire::Consensus(message) => {
                self.overhear(to, message)?;
                let Some(key) = self.setup.key_of(from).map(cairn_primitives::KeyPair::public) else { return Ok(()) };
                self.enter(to, 0, |node, _, _| {
                    node.consensus_message(&key, message);
                    Ok(())
                })
            }
            Wire::Transactions { id, extrinsics } => {
                if !self.hosts[to].gossip_seen.insert(*id) {
                    return Ok(());
                }
                self.enter(to, 0, |node, clock, effects| node.gossiped_transactions(clock, *id, extrinsics, effects))
            }
            Wire::Block { id, block } => {
                if !self.hosts[to].gossip_seen.insert(*id) {
                    return Ok(());
                }
                self.enter(to, 0, |node, clock, effects| node.gossiped_block(clock, from, *id, block, effects))
            }
            Wire::SyncRequest { token, .. } if self.hosts[to].joining.is_some() => {
                // It has nothing to give.
                let response = Arc::new(SyncResponse::Refused);
                self.send(to, from, 0, &Wire::SyncResponse { token: *token, response });
                Ok(())
            }
            Wire::SyncRequest { token, request } => self.enter(to, 0, |node, _, effects| {
                node.sync_request(from, *token, request, effects);
                Ok(())
            }),
            Wire::StateRequest { token, .. } if self.hosts[to].joining.is_some() => {
                let response = Arc::new(StateResponse::Refused);
                self.send(to, from, 0, &Wire::StateResponse { token: *token, response });
                Ok(())
            }
            Wire::StateRequest { token, request } => self.enter(to, 0, |node, _, effects| {
                node.state_request(from, *token, request, effects);
                Ok(())
            }),
            Wire::StateResponse { token, response } => {
                let response = (**response).clone();
                self.join(to, |joining, clock, files, effects| {
                    joining.response(clock, *token, response, files, effects)
                })
            }
            Wire::SyncResponse { token, response } => {
                let response = (**response).clone();
                self.enter(to, 0, |node, clock, effects| node.sync_response(clock, *token, response, effects))
            }
        }
    }

    /// The machines whose process runs and that follow the rules.
    fn running(&self) -> Vec<Machine> {
        let is_up = |at: &Machine| self.hosts[*at].node.is_some() && self.hosts[*at].paused_until_ms <= self.now_ms;
        (0..self.hosts.len()).filter(|at| is_up(at) && self.setup.plan.villain_of(*at).is_none()).collect()
    }

    fn submit(&mut self) -> Result<(), Failure> {
        let pause_ms = self.traffic.pause_ms(&self.setup);
        if self.goal.is_none() {
            self.plan_in(pause_ms, Event::Submit);
        }
        let running = self.running();
        let Some(at) = self.traffic.machine(&running) else { return Ok(()) };
        for _ in 0..self.traffic.burst(&self.setup) {
            let Some(node) = &self.hosts[at].node else { return Ok(()) };
            let Some(extrinsic) = self.traffic.transaction(&self.setup, node) else { continue };
            self.submitted += 1;
            self.open.insert(extrinsic.hash(), (self.now_ms, at));
            self.note(at, &format_args!("a client submits {}", crate::wire::Short(extrinsic.hash())));
            self.enter(at, 0, |node, clock, effects| node.submit(clock, extrinsic, effects).map(drop))?;
        }
        Ok(())
    }

    /// The authority asks some node for a change of the validators.
    fn change(&mut self, number: usize) -> Result<(), Failure> {
        let change = self.setup.plan.changes[number];
        let running = self.running();
        let Some(at) = self.traffic.machine(&running) else { return Ok(()) };
        let Some(node) = &self.hosts[at].node else { return Ok(()) };
        let Some(extrinsic) = Traffic::change(&self.setup, node, &change) else { return Ok(()) };
        self.note(at, &format_args!("the authority asks for {change:?}"));
        self.enter(at, 0, |node, clock, effects| node.submit(clock, extrinsic, effects).map(drop))
    }

    /// Submits the transaction of the liveness phase, again as long as no running node knows it.
    fn submit_last(&mut self) -> Result<(), Failure> {
        self.plan_in(500, Event::LastSubmit);
        let known = self.goal.as_ref().and_then(|goal| goal.transaction);
        let running = self.running();
        if let Some(hash) = known {
            let is_known = |at: &Machine| self.hosts[*at].node.as_ref().is_some_and(|node| node.mempool.knows(&hash));
            if self.checker.is_included(&hash) || running.iter().any(is_known) {
                return Ok(());
            }
        }
        let Some(at) = self.traffic.machine(&running) else { return Ok(()) };
        let Some(node) = &self.hosts[at].node else { return Ok(()) };
        let Some(extrinsic) = Traffic::last_transaction(&self.setup, node) else { return Ok(()) };
        let hash = extrinsic.hash();
        self.note(at, &format_args!("the last transaction {}", crate::wire::Short(hash)));
        if let Some(goal) = &mut self.goal {
            goal.transaction = Some(hash);
        }
        self.enter(at, 0, |node, clock, effects| node.submit(clock, extrinsic, effects).map(drop))
    }

    /// Whether the goal of the liveness phase is reached; an error when it is too late for that.
    fn is_done(&self) -> Result<bool, Failure> {
        let Some(goal) = &self.goal else { return Ok(false) };
        let is_included = goal.transaction.is_some_and(|hash| self.checker.is_included(&hash));
        if is_included && goal.machines.iter().all(|at| self.checker.told(*at) >= goal.height) {
            return Ok(true);
        }
        if self.now_ms <= goal.until_ms {
            return Ok(false);
        }
        let mut detail = format!(
            "{} ms after the faults stopped not everybody has block {} (transaction included: {is_included})",
            self.now_ms - goal.since_ms,
            goal.height
        );
        for at in 0..self.hosts.len() {
            let kind = self.setup.plan.villain_of(at).map_or_else(String::new, |kind| format!(" ({kind:?})"));
            detail += &format!("\n  node {at}{kind}: {}", self.describe(at));
        }
        Err(Failure::new("liveness", detail))
    }

    fn describe(&self, at: Machine) -> String {
        if let Some(joining) = &self.hosts[at].joining {
            return format!("joining: {}", joining.standing());
        }
        let Some(node) = &self.hosts[at].node else { return "down".to_owned() };
        let standing = node.consensus.as_ref().map(|consensus| consensus.standing(self.clock(at)));
        let head = node.reader().head().height;
        let text = standing.map_or_else(String::new, |standing| standing.text);
        format!("head {head}; {text}; sync {}; mempool {:?}", node.sync.standing(), node.mempool.status().0)
    }

    /// The faults stop: everybody but those that stay broken runs, is connected, and has a good clock.
    fn calm_down(&mut self) -> Result<(), Failure> {
        let plan = self.setup.plan.clone();
        self.note(0, &"the faults stop");
        self.network.calm_down(plan.calm);
        for at in 0..self.hosts.len() {
            let host = &mut self.hosts[at];
            host.disk.disarm();
            host.paused_until_ms = 0;
            host.skew_ms = host.skew_ms.clamp(-liveness::CALM_SKEW_MS_MAX, liveness::CALM_SKEW_MS_MAX);
            if plan.broken.contains(&at) {
                host.is_out = true;
                self.kill(at, None)?;
            } else if !host.is_up() {
                self.plan_start(at, self.now_ms + 1);
            }
        }
        self.relink_all();
        let factor = |at: usize| {
            let consensus = self.hosts[at].node.as_ref()?.consensus.as_ref()?;
            Some(consensus.standing(self.clock(at)).factor)
        };
        let factor = (0..self.hosts.len()).filter_map(factor).max().unwrap_or(1);
        let is_expected = |at: &Machine| plan.villain_of(*at).is_none() && !plan.broken.contains(at);
        self.goal = Some(Goal {
            height: Height(self.checker.height().0 + plan.goal_blocks),
            machines: (0..self.hosts.len()).filter(is_expected).collect(),
            transaction: None,
            since_ms: self.now_ms,
            until_ms: self.now_ms + liveness::bound_ms(&plan, factor),
        });
        self.plan_in(50, Event::LastSubmit);
        Ok(())
    }
}
