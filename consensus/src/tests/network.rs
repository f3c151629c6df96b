//! A network of engines in virtual time, with a ledger and a journal that lose what was not synced when they crash.
//!
//! Everything follows from one seed. After each step the safety of the whole network is checked: agreement, ancestry, one
//! notarization per view, no nullification of a finalized view, no two votes of an honest validator that exclude each
//! other, nothing sent that is not in the synced journal.

use super::fixture::{Dice, Fixture, WALL, WRONG_ROOT};
use crate::{Engine, EpochConfig, Head, Input, JournalRecord, Now, Output, Verdict};
use cairn_primitives::evidence::excludes;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Block, Certificate, Hash, Height, Subject, TimestampMs, ValidatorIndex, View, Vote};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the network does to messages and clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) delay_min: u64,
    pub(super) delay_max: u64,
    pub(super) loss_percent: u64,
    pub(super) duplicate_percent: u64,
    /// How long the ledger takes, at most.
    pub(super) ledger_max: u64,
}

impl Weather {
    pub(super) const fn calm(delay: u64) -> Self {
        Self { delay_min: delay, delay_max: delay, loss_percent: 0, duplicate_percent: 0, ledger_max: 0 }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Deliver { from: usize, to: usize, message: Arc<ConsensusMessage> },
    Answer { node: usize, life: u64, input: Input },
    Tick { node: usize, life: u64 },
}

/// What survives a crash, and what does not.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) index: ValidatorIndex,
    pub(super) engine: Option<Engine>,
    pub(super) journal: Vec<JournalRecord>,
    certified: BTreeMap<Hash, Arc<Block>>,
    pub(super) committed: Vec<(Head, Option<Certificate>)>,
    executed: BTreeSet<Hash>,
    life: u64,
    born_at: u64,
    tick_at: Option<u64>,
    wall_skew: i64,
    is_honest: bool,
    /// The nodes it can talk to share its group.
    pub(super) group: u64,
    pub(super) blocks: BTreeMap<Hash, Arc<Block>>,
    pub(super) steps: u64,
    work: bool,
    /// It dies in the next step that writes to its journal, with only a part of that written.
    pub(super) is_doomed: bool,
}

/// Says of a message whether it is lost: time, sender, receiver, message.
pub(super) type Filter = fn(u64, usize, usize, &ConsensusMessage) -> bool;

/// A network of engines.
pub(super) struct Network {
    pub(super) fixture: Fixture,
    pub(super) nodes: Vec<Node>,
    pub(super) dice: Dice,
    pub(super) weather: Weather,
    pub(super) time: u64,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    salt: u64,
    pub(super) finalized: BTreeMap<Height, Hash>,
    certificates: BTreeMap<(View, u8), Subject>,
    votes: BTreeMap<(ValidatorIndex, View), Vec<Subject>>,
    pub(super) evidence: BTreeSet<ValidatorIndex>,
    /// When each block was proposed, and finalized first.
    pub(super) proposed_at: BTreeMap<Hash, u64>,
    pub(super) finalized_at: BTreeMap<Hash, u64>,
    /// Set in a story: which messages are lost.
    pub(super) filter: Option<Filter>,
    pub(super) sent: u64,
    pub(super) wrong_roots_percent: u64,
    pub(super) behind: BTreeSet<usize>,
    /// Whether journals come back with records twice and in another order.
    pub(super) scrambles_journals: bool,
}

impl Network {
    pub(super) fn new(fixture: Fixture, seed: u64, weather: Weather) -> Self {
        let mut network = Self {
            nodes: Vec::new(),
            dice: Dice::new(seed),
            weather,
            time: 0,
            events: BTreeMap::new(),
            sequence: 0,
            salt: 0,
            finalized: BTreeMap::new(),
            certificates: BTreeMap::new(),
            votes: BTreeMap::new(),
            evidence: BTreeSet::new(),
            proposed_at: BTreeMap::new(),
            finalized_at: BTreeMap::new(),
            filter: None,
            sent: 0,
            wrong_roots_percent: 0,
            behind: BTreeSet::new(),
            scrambles_journals: false,
            fixture,
        };
        for index in network.fixture.set.indices() {
            network.add(index);
        }
        network
    }

    /// Adds a node with the key of a validator; a second one with the same key makes both of them villains.
    pub(super) fn add(&mut self, index: ValidatorIndex) -> usize {
        let mut is_honest = true;
        for twin in self.nodes.iter_mut().filter(|node| node.index == index) {
            twin.is_honest = false;
            is_honest = false;
        }
        self.nodes.push(Node {
            index,
            engine: None,
            journal: Vec::new(),
            certified: BTreeMap::new(),
            committed: vec![(Fixture::opening(), None)],
            executed: BTreeSet::new(),
            life: 0,
            born_at: 0,
            tick_at: None,
            wall_skew: 0,
            is_honest,
            group: 0,
            blocks: BTreeMap::new(),
            steps: 0,
            work: true,
            is_doomed: false,
        });
        self.nodes.len() - 1
    }

    pub(super) fn start_all(&mut self) {
        for node in 0..self.nodes.len() {
            self.start(node);
        }
    }

    /// Starts a node from what is on its disk.
    pub(super) fn start(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let (head, finalization) = node.committed.last().unwrap().clone();
        let guard = Some(self.fixture.guard(node.index, node.journal.iter().cloned()));
        let config = EpochConfig { guard, committed: head, finalization, ..self.fixture.config(Some(node.index)) };
        let mut engine = Engine::new(config).unwrap();
        engine.rig_schedule(self.fixture.schedule.clone());
        node.engine = Some(engine);
        node.life += 1;
        node.born_at = self.time;
        node.tick_at = None;
        node.executed.clear();
        node.is_doomed = false;
        let mut inputs: Vec<_> = node.journal.iter().cloned().map(Input::Replay).collect();
        if self.scrambles_journals {
            for place in 0..inputs.len() {
                let other = usize::try_from(self.dice.below(inputs.len() as u64)).unwrap();
                inputs.swap(place, other);
                inputs.push(inputs[other].clone());
            }
        }
        let restored = node.certified.values().filter(|block| block.header.height() > head.height);
        inputs.extend(restored.cloned().map(Input::Restored));
        inputs.push(Input::WorkAvailable(node.work));
        inputs.push(Input::Start);
        for input in inputs {
            self.step(at, input);
        }
        let index = self.nodes[at].index;
        for other in 0..self.nodes.len() {
            if other != at && self.nodes[other].engine.is_some() && self.can_talk(at, other) {
                self.step(at, Input::Peer { validator: self.nodes[other].index, connected: true });
                self.step(other, Input::Peer { validator: index, connected: true });
            }
        }
    }

    /// Ends a node; only what is synced stays.
    pub(super) fn crash(&mut self, at: usize) {
        self.nodes[at].engine = None;
        let index = self.nodes[at].index;
        for other in 0..self.nodes.len() {
            self.step(other, Input::Peer { validator: index, connected: false });
        }
    }

    pub(super) fn is_up(&self, at: usize) -> bool {
        self.nodes[at].engine.is_some()
    }

    /// Splits or joins the network: nodes of one group talk to each other.
    pub(super) fn set_groups(&mut self, groups: &[u64]) {
        for (node, group) in self.nodes.iter_mut().zip(groups) {
            node.group = *group;
        }
        for at in 0..self.nodes.len() {
            for other in 0..self.nodes.len() {
                let connected = self.is_up(other) && self.can_talk(at, other);
                let index = self.nodes[other].index;
                self.step(at, Input::Peer { validator: index, connected });
            }
        }
    }

    pub(super) fn set_skew(&mut self, at: usize, skew: i64) {
        self.nodes[at].wall_skew = skew;
    }

    pub(super) fn set_work(&mut self, work: bool) {
        for at in 0..self.nodes.len() {
            self.nodes[at].work = work;
            self.step(at, Input::WorkAvailable(work));
        }
    }

    fn can_talk(&self, at: usize, other: usize) -> bool {
        self.nodes[at].group == self.nodes[other].group && self.nodes[at].index != self.nodes[other].index
    }

    pub(super) fn now(&self, at: usize) -> Now {
        let node = &self.nodes[at];
        let wall = (WALL + self.time).saturating_add_signed(node.wall_skew);
        Now { monotonic_ms: self.time - node.born_at, wall: TimestampMs(wall) }
    }

    /// Runs until the time is reached.
    pub(super) fn run_until(&mut self, until: u64) {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= until) {
            let ((time, _), event) = entry.remove_entry();
            self.time = time;
            self.handle(event);
        }
        self.time = until;
    }

    pub(super) fn run_for(&mut self, duration: u64) {
        self.run_until(self.time + duration);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, message } => {
                if self.can_talk(from, to) {
                    let from = self.nodes[from].index;
                    self.step(to, Input::Message { from, message: (*message).clone() });
                }
            }
            Event::Answer { node, life, input } => {
                if self.nodes[node].life == life {
                    self.note_answer(node, &input);
                    self.step(node, input);
                }
            }
            Event::Tick { node, life } => {
                if self.nodes[node].life == life && self.nodes[node].tick_at.is_some_and(|at| at <= self.time) {
                    self.nodes[node].tick_at = None;
                    self.step(node, Input::Tick);
                }
            }
        }
    }

    /// A block is durable when its certification is answered.
    fn note_answer(&mut self, at: usize, input: &Input) {
        if let Input::Certified { block, holds: true } = input {
            let node = &mut self.nodes[at];
            if node.engine.is_some() {
                node.executed.insert(*block);
                node.certified.insert(*block, Arc::clone(&node.blocks[block]));
            }
        }
    }

    fn schedule(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.time + delay, self.sequence), event);
    }

    pub(super) fn step(&mut self, at: usize, input: Input) {
        let now = self.now(at);
        let node = &mut self.nodes[at];
        let Some(engine) = &mut node.engine else { return };
        let mut outputs = Vec::new();
        engine.step(now, input, &mut outputs);
        node.steps += 1;
        if !node.is_honest {
            engine.rig_guard(|| self.fixture.guard(node.index, []));
        }
        if let Some(deadline) = engine.next_deadline() {
            assert!(deadline > now.monotonic_ms, "a deadline in the past would spin");
            let due = deadline + node.born_at;
            if node.tick_at.is_none_or(|at| at != due) {
                node.tick_at = Some(due);
                let life = node.life;
                self.schedule(due - self.time, Event::Tick { node: at, life });
            }
        }
        // Append, one sync, then everything else.
        let records = outputs.iter().filter(|output| matches!(output, Output::Journal(_))).count();
        let is_dying = self.nodes[at].is_doomed && records > 0;
        let written = if is_dying { usize::try_from(self.dice.below(records as u64 + 1)).unwrap() } else { records };
        let journal = outputs.iter().filter_map(|output| match output {
            Output::Journal(record) => Some(record),
            _ => None,
        });
        for record in journal.take(written) {
            self.check_record(at, record);
            self.nodes[at].journal.push(record.clone());
        }
        if is_dying {
            return self.crash(at);
        }
        for output in outputs {
            self.carry_out(at, output);
        }
    }

    fn answer(&mut self, at: usize, input: Input) {
        let delay = if self.weather.ledger_max == 0 { 0 } else { self.dice.below(self.weather.ledger_max + 1) };
        let life = self.nodes[at].life;
        self.schedule(delay, Event::Answer { node: at, life, input });
    }

    fn carry_out(&mut self, at: usize, output: Output) {
        match output {
            Output::Journal(_) => {}
            Output::Broadcast(message) => {
                self.check_sent(at, &message);
                let message = Arc::new(message);
                for to in 0..self.nodes.len() {
                    self.send(at, to, &message);
                }
            }
            Output::Send { to, message } => {
                self.check_sent(at, &message);
                self.send_to_index(at, to, message);
            }
            Output::ServeBlock { to, block } => {
                let found = self.nodes[at].certified.get(&block).cloned();
                if let Some(block) = found {
                    self.send_to_index(at, to, ConsensusMessage::Block(block));
                }
            }
            Output::Propose { view, parent, timestamp, .. } => self.propose(at, view, parent, timestamp),
            Output::Verify { block, parent, .. } => {
                self.assert_executed(at, parent);
                let hash = block.header.hash();
                self.nodes[at].blocks.insert(hash, block);
                self.answer(at, Input::Verified { block: hash, verdict: Verdict::Valid });
            }
            Output::Certify { hash, block } => {
                self.assert_executed(at, block.header.parent_hash);
                let holds = block.header.state_root != WRONG_ROOT;
                self.nodes[at].blocks.insert(hash, block);
                self.answer(at, Input::Certified { block: hash, holds });
            }
            Output::Finalize { blocks, certificate } => self.commit(at, &blocks, certificate),
            Output::Behind { certificate } => self.block_sync(at, &certificate),
            Output::Blame { validator, offence } => {
                let is_honest = self.nodes.iter().any(|node| node.index == validator && node.is_honest);
                assert!(!is_honest, "an honest validator was blamed: {offence}");
            }
            Output::Evidence(evidence) => {
                evidence.verify(&super::fixture::GENESIS).unwrap();
                let accused = self.fixture.set.index_of(&evidence.offender()).unwrap();
                assert!(!self.nodes.iter().any(|node| node.index == accused && node.is_honest));
                self.evidence.insert(accused);
            }
            Output::VoteRefused { subject, refusal } => panic!("node {at} did not sign {subject:?}: {refusal}"),
            Output::RecordLost { .. } => assert!(!self.nodes[at].is_honest, "an honest validator lost its record"),
            Output::Diverged { block } => panic!("node {at} diverged at {block}"),
        }
    }

    fn assert_executed(&self, at: usize, parent: Hash) {
        let node = &self.nodes[at];
        // Block sync may have moved the ledger on before the engine knows.
        let is_committed = node.committed.iter().any(|(head, _)| head.hash == parent);
        assert!(is_committed || node.executed.contains(&parent), "the ledger has not executed the parent");
    }

    fn propose(&mut self, at: usize, view: View, parent: Hash, timestamp: TimestampMs) {
        self.assert_executed(at, parent);
        let committed = self.nodes[at].committed.iter().find(|(head, _)| head.hash == parent).map(|(head, _)| *head);
        let parent = committed.unwrap_or_else(|| super::fixture::place(&self.nodes[at].blocks[&parent]));
        self.salt += 1;
        let is_wrong = self.dice.percent(self.wrong_roots_percent);
        let root = if is_wrong { WRONG_ROOT } else { Hash([1; 32]) };
        let block = self.fixture.block_with_root(view.0, &parent, timestamp.0, self.salt, root);
        let hash = block.header.hash();
        self.proposed_at.insert(hash, self.time);
        self.nodes[at].blocks.insert(hash, Arc::clone(&block));
        self.answer(at, Input::Proposed { view, block: Some(block) });
    }

    fn send_to_index(&mut self, from: usize, to: ValidatorIndex, message: ConsensusMessage) {
        let message = Arc::new(message);
        for at in 0..self.nodes.len() {
            if self.nodes[at].index == to {
                self.send(from, at, &message);
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, message: &Arc<ConsensusMessage>) {
        if !self.can_talk(from, to) {
            return;
        }
        self.sent += 1;
        let is_filtered = self.filter.is_some_and(|is_lost| is_lost(self.time, from, to, message));
        if is_filtered || self.dice.percent(self.weather.loss_percent) {
            return;
        }
        let copies = if self.dice.percent(self.weather.duplicate_percent) { 2 } else { 1 };
        for _ in 0..copies {
            let spread = self.weather.delay_max - self.weather.delay_min + 1;
            let delay = self.weather.delay_min + self.dice.below(spread);
            self.schedule(delay, Event::Deliver { from, to, message: Arc::clone(message) });
        }
    }

    /// Agreement and ancestry: every commit extends the node's own chain and agrees with everybody else's.
    fn commit(&mut self, at: usize, blocks: &[Hash], certificate: Certificate) {
        certificate.verify(&self.fixture.set, &super::fixture::GENESIS).unwrap();
        assert_eq!(certificate.subject.proposal().unwrap().block, *blocks.last().unwrap());
        for hash in blocks {
            let node = &mut self.nodes[at];
            let place = super::fixture::place(&node.certified[hash]);
            assert_ne!(node.certified[hash].header.state_root, WRONG_ROOT, "a block with a wrong root is final");
            let head = node.committed.last().unwrap().0;
            if place.height <= head.height {
                assert_eq!(self.finalized[&place.height], *hash, "agreement at height {}", place.height);
                continue; // Block sync was faster.
            }
            assert_eq!(node.certified[hash].header.parent_hash, head.hash, "ancestry");
            assert_eq!(place.height, head.height.next(), "ancestry");
            let finalization = (hash == blocks.last().unwrap()).then(|| certificate.clone());
            node.committed.push((place, finalization));
            let agreed = *self.finalized.entry(place.height).or_insert(*hash);
            assert_eq!(agreed, *hash, "agreement at height {}", place.height);
            self.finalized_at.entry(*hash).or_insert(self.time);
        }
        let head = self.nodes[at].committed.last().unwrap().0;
        self.nodes[at].journal.retain(|record| record.view() > head.view);
    }

    /// Block sync as the node would do it: from any other that is up and further on, all at once.
    fn block_sync(&mut self, at: usize, target: &Certificate) {
        self.behind.insert(at);
        assert!(target.subject.view() > self.nodes[at].committed.last().unwrap().0.view);
        let height = self.nodes[at].committed.last().unwrap().0.height;
        let server = (0..self.nodes.len()).find(|other| {
            let (head, finalization) = self.nodes[*other].committed.last().unwrap();
            self.is_up(*other) && self.can_talk(at, *other) && head.height > height && finalization.is_some()
        });
        let Some(server) = server else { return };
        let served = &self.nodes[server];
        let new: Vec<_> = served.committed.iter().filter(|(head, _)| head.height > height).cloned().collect();
        let bodies: Vec<_> =
            new.iter().map(|(head, _)| (head.hash, Arc::clone(&served.certified[&head.hash]))).collect();
        let (head, finalization) = new.last().unwrap().clone();
        self.nodes[at].certified.extend(bodies.clone());
        self.nodes[at].blocks.extend(bodies);
        self.nodes[at].committed.extend(new);
        let certificate = finalization.unwrap();
        let (height, timestamp) = (head.height, head.timestamp);
        self.answer(at, Input::CommittedElsewhere { height, timestamp, certificate });
    }

    /// One notarization a view, no nullification of a finalized view, among all certificates anybody ever held.
    fn check_record(&mut self, at: usize, record: &JournalRecord) {
        match record {
            JournalRecord::Certificate(certificate) => {
                let (subject, view) = (certificate.subject, certificate.subject.view());
                let kind = subject.kind() as u8;
                let known = *self.certificates.entry((view, kind)).or_insert(subject);
                assert_eq!(known, subject, "two certificates of one kind in view {view}");
                let has = |kind: u8| self.certificates.contains_key(&(view, kind));
                assert!(!(has(1) && has(2)), "view {view} is nullified and finalized");
            }
            JournalRecord::Vote(vote) => {
                assert_eq!(vote.signer, self.nodes[at].index);
            }
            JournalRecord::Certified { .. } | JournalRecord::Floor { .. } | JournalRecord::Silence { .. } => {}
        }
    }

    /// Own votes leave only once they are in the journal, and never two that exclude each other.
    fn check_sent(&mut self, at: usize, message: &ConsensusMessage) {
        let (ConsensusMessage::Vote(vote) | ConsensusMessage::Proposal { vote, .. }) = message else { return };
        let node = &self.nodes[at];
        if vote.signer != node.index || !node.is_honest {
            return;
        }
        assert!(node.journal.contains(&JournalRecord::Vote(vote.clone())), "a vote was sent before it was synced");
        self.check_honest(vote);
    }

    fn check_honest(&mut self, vote: &Vote) {
        let cast = self.votes.entry((vote.signer, vote.subject.view())).or_default();
        assert!(cast.iter().all(|other| !excludes(other, &vote.subject)), "an honest validator voted twice: {cast:?}");
        if !cast.contains(&vote.subject) {
            cast.push(vote.subject);
        }
    }

    pub(super) fn engine(&self, at: usize) -> &Engine {
        self.nodes[at].engine.as_ref().unwrap()
    }

    pub(super) fn height(&self, at: usize) -> u32 {
        self.nodes[at].committed.last().unwrap().0.height.0
    }

    /// The lowest height of all honest nodes that are up.
    pub(super) fn height_min(&self) -> u32 {
        let up = (0..self.nodes.len()).filter(|at| self.is_up(*at) && self.nodes[*at].is_honest);
        up.map(|at| self.height(at)).min().unwrap()
    }

    pub(super) fn height_max(&self) -> u32 {
        (0..self.nodes.len()).map(|at| self.height(at)).max().unwrap()
    }
}
