//! A network of whole [`Consensus`] machines over epochs, in virtual time, with a toy ledger that knows the validators of
//! each epoch by a script, and disks that keep what was synced.
//!
//! After each step the safety of the whole network is checked: agreement, ancestry, one notarization per view, no
//! nullification of a finalized view, no two votes of a key that exclude each other, no vote outside the set of its epoch,
//! nothing sent that is not in the synced record, and no block on a closing block that is not committed.

use super::epochs_ledger::{Disk, Script};
use super::fixture::{Dice, GENESIS, TIMING, WALL};
use super::network::Weather;
use crate::{Config, Consensus, EpochStart, Input, JournalRecord, Now, Output, Refusal, Timing, Verdict, VoteGuard};
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Certificate, Epoch, Hash, Height, PublicKey, Subject, TimestampMs, View, Vote};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A moment around the closing block at which a node can be made to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// Its ledger was asked to certify the closing block.
    CertifyAsked,
    /// The closing block is durable here, the engine does not know.
    Certified,
    /// Its finalize vote for the closing block was signed, and is not on disk.
    VoteSigned,
    /// That vote is on disk, and was not sent.
    VoteWritten,
    /// The closing block is final, the ledger has not committed it.
    Final,
    /// The ledger has committed it, the next epoch is not open.
    Committed,
    /// The next epoch is open, nothing of it is on disk.
    Opened,
    /// Its first vote in the next epoch is on disk, and was not sent.
    NextVoteWritten,
}

impl Point {
    pub(super) const ALL: [Self; 8] = [
        Self::CertifyAsked,
        Self::Certified,
        Self::VoteSigned,
        Self::VoteWritten,
        Self::Final,
        Self::Committed,
        Self::Opened,
        Self::NextVoteWritten,
    ];
}

/// What a ledger tells its node.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Input(Input<PublicKey>),
    Commit { blocks: Vec<Hash>, certificate: Certificate },
    Open(EpochStart, Certificate),
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    Deliver { from: usize, to: usize, message: Arc<ConsensusMessage> },
    Answer { node: usize, life: u64, answer: Box<Answer> },
    Tick { node: usize, life: u64 },
    Poll { node: usize, life: u64 },
}

/// A node with its disk.
pub(super) struct Node {
    /// Its keys, by their place in the script.
    pub(super) keys: Vec<usize>,
    pub(super) consensus: Option<Consensus>,
    pub(super) disk: Disk,
    pub(super) executed: BTreeSet<Hash>,
    pub(super) life: u64,
    born_at: u64,
    tick_at: Option<u64>,
    pub(super) group: u64,
    /// When it dies next.
    pub(super) dies_at: Option<Point>,
    /// It dies in the next step that writes, with only a part of that written.
    pub(super) is_doomed: bool,
    /// It asked for block sync, or was helped by it.
    pub(super) is_synced: bool,
    /// It has votes on record that lie above its database.
    pub(super) is_restored: bool,
    /// Its keys may fall silent: the test took its record away.
    pub(super) is_record_lost: bool,
}

/// Says of a message whether it is lost: time, sender, receiver, message.
pub(super) type Filter = Box<dyn Fn(u64, usize, usize, &ConsensusMessage) -> bool>;

/// A network over epochs.
pub(super) struct Network {
    pub(super) script: Script,
    pub(super) nodes: Vec<Node>,
    pub(super) dice: Dice,
    pub(super) weather: Weather,
    pub(super) timing: Timing,
    pub(super) time: u64,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    salt: u64,
    pub(super) filter: Option<Filter>,
    /// How often members of the current set look for committed blocks of others by themselves.
    pub(super) members_poll_ms: Option<u64>,
    pub(super) finalized: BTreeMap<Height, Hash>,
    pub(super) certificates: BTreeMap<(Epoch, View, u8), Subject>,
    pub(super) votes: BTreeMap<(PublicKey, Epoch, View), Vec<Subject>>,
    /// Whom nobody is wrong to blame: a key that the test signs with by hand.
    pub(super) villain: Option<PublicKey>,
    /// Who told of evidence against whom.
    pub(super) evidence: Vec<(usize, PublicKey)>,
    /// Messages with evidence that were handed to the network.
    pub(super) evidence_sent: usize,
    /// Evidence that came with the newest request for a block.
    pub(super) evidence_proposed: usize,
    /// Who sent a certificate of an epoch that was over for it.
    pub(super) handed_over: BTreeSet<usize>,
}

impl Network {
    pub(super) fn new(script: Script, keys: &[&[usize]], seed: u64, weather: Weather) -> Self {
        let publics = |keys: &[usize]| keys.iter().map(|key| script.keys[*key].public()).collect::<Vec<_>>();
        let nodes = keys.iter().map(|keys| Node {
            keys: keys.to_vec(),
            consensus: None,
            disk: Disk::new(publics(keys)),
            executed: BTreeSet::new(),
            life: 0,
            born_at: 0,
            tick_at: None,
            group: 0,
            dies_at: None,
            is_doomed: false,
            is_synced: false,
            is_restored: false,
            is_record_lost: false,
        });
        let nodes = nodes.collect();
        Self {
            nodes,
            script,
            dice: Dice::new(seed),
            weather,
            timing: TIMING,
            time: 0,
            events: BTreeMap::new(),
            sequence: 0,
            salt: 0,
            filter: None,
            members_poll_ms: None,
            finalized: BTreeMap::new(),
            certificates: BTreeMap::new(),
            votes: BTreeMap::new(),
            villain: None,
            evidence: Vec::new(),
            evidence_sent: 0,
            evidence_proposed: 0,
            handed_over: BTreeSet::new(),
        }
    }

    pub(super) fn start_all(&mut self) {
        for node in 0..self.nodes.len() {
            if !self.is_up(node) {
                self.start(node);
            }
        }
    }

    /// Starts a node from what is on its disk.
    pub(super) fn start(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let (committed, finalization, epoch) = node.disk.head(&self.script);
        let guards = node.keys.iter().map(|key| {
            let key = self.script.keys[*key].clone();
            match node.disk.records.get(&key.public()) {
                Some(record) => VoteGuard::new(key, GENESIS, record.iter().cloned()),
                None => VoteGuard::without_record(key, GENESIS),
            }
        });
        let config = Config {
            genesis: GENESIS,
            epoch,
            committed,
            finalization,
            guards: guards.collect(),
            timing: self.timing,
            retention: 10,
        };
        node.consensus = Some(Consensus::new(config).unwrap());
        node.life += 1;
        (node.born_at, node.tick_at, node.is_doomed) = (self.time, None, false);
        node.executed.clear();
        let mut inputs: Vec<_> = node.disk.journal.iter().cloned().map(Input::Replay).collect();
        inputs.extend(node.disk.restored().map(Input::Restored));
        inputs.push(Input::WorkAvailable(true));
        inputs.push(Input::Start);
        for input in inputs {
            self.step(at, input);
        }
        let life = self.nodes[at].life;
        self.schedule(1, Event::Poll { node: at, life });
        for other in 0..self.nodes.len() {
            if self.is_up(other) && self.can_talk(at, other) {
                self.tell_peer(at, other, true);
                self.tell_peer(other, at, true);
            }
        }
    }

    /// Ends a node; only what is synced stays.
    pub(super) fn crash(&mut self, at: usize) {
        self.nodes[at].consensus = None;
        self.nodes[at].dies_at = None;
        for other in 0..self.nodes.len() {
            self.tell_peer(other, at, false);
        }
    }

    /// Takes the record of votes off the disk of a node that is down.
    pub(super) fn lose_record(&mut self, at: usize) {
        self.nodes[at].disk.records.clear();
        self.nodes[at].is_record_lost = true;
    }

    /// Gives a node that is down an old database; the records of votes stay as they are.
    pub(super) fn restore_database(&mut self, at: usize, old: &Disk) {
        let records = std::mem::take(&mut self.nodes[at].disk.records);
        self.nodes[at].disk = Disk { records, ..old.clone() };
        self.nodes[at].is_restored = true;
    }

    pub(super) fn is_up(&self, at: usize) -> bool {
        self.nodes[at].consensus.is_some()
    }

    pub(super) fn set_groups(&mut self, groups: &[u64]) {
        for (node, group) in self.nodes.iter_mut().zip(groups) {
            node.group = *group;
        }
        for at in 0..self.nodes.len() {
            for other in (0..self.nodes.len()).filter(|other| *other != at) {
                let connected = self.is_up(other) && self.can_talk(at, other);
                self.tell_peer(at, other, connected);
            }
        }
    }

    fn tell_peer(&mut self, at: usize, other: usize, connected: bool) {
        for key in self.nodes[other].keys.clone() {
            let validator = self.script.keys[key].public();
            self.step(at, Input::Peer { validator, connected });
        }
    }

    pub(super) fn can_talk(&self, at: usize, other: usize) -> bool {
        self.nodes[at].group == self.nodes[other].group && at != other
    }

    pub(super) fn now(&self, at: usize) -> Now {
        Now { monotonic_ms: self.time - self.nodes[at].born_at, wall: TimestampMs(WALL + self.time) }
    }

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

    /// Runs until something is so; at most for so long.
    pub(super) fn run_while(&mut self, within: u64, is_so: impl Fn(&Self) -> bool) {
        let until = self.time + within;
        while is_so(self) {
            assert!(self.time < until, "still so after {within} ms: {}", self.describe());
            self.run_for(1);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, message } if self.can_talk(from, to) => {
                self.receive(to, self.sender_key(from, &message), (*message).clone());
            }
            Event::Answer { node, life, answer } if self.nodes[node].life == life && self.is_up(node) => {
                self.handle_answer(node, *answer);
            }
            Event::Tick { node, life } => {
                if self.nodes[node].life == life && self.nodes[node].tick_at.is_some_and(|at| at <= self.time) {
                    self.nodes[node].tick_at = None;
                    self.step(node, Input::Tick);
                }
            }
            Event::Poll { node, life } if self.nodes[node].life == life && self.is_up(node) => self.poll(node, life),
            Event::Deliver { .. } | Event::Answer { .. } | Event::Poll { .. } => {}
        }
    }

    pub(super) fn receive(&mut self, at: usize, from: PublicKey, message: ConsensusMessage) {
        self.step(at, Input::Message { from, message });
    }

    /// The key a node is known by: the one that is in the set of the message's epoch, or of its own.
    fn sender_key(&self, from: usize, message: &ConsensusMessage) -> PublicKey {
        let keys = || self.nodes[from].keys.iter().map(|key| self.script.keys[*key].public());
        let own = self.nodes[from].consensus.as_ref().map(|consensus| consensus.epoch().epoch);
        let member = [message.epoch(), own].into_iter().flatten().find_map(|epoch| {
            let set = self.script.set(epoch);
            keys().find(|key| set.index_of(key).is_some())
        });
        member.unwrap_or_else(|| keys().next().unwrap())
    }

    fn handle_answer(&mut self, at: usize, answer: Answer) {
        match answer {
            Answer::Input(input) => {
                if let Input::Certified { block, holds: true } = &input {
                    let is_closing = self.is_closing(at, block);
                    if is_closing && self.dies(at, Point::CertifyAsked) {
                        return;
                    }
                    self.nodes[at].executed.insert(*block);
                    self.nodes[at].disk.keep(block);
                    if is_closing && self.dies(at, Point::Certified) {
                        return;
                    }
                }
                self.step(at, input);
            }
            Answer::Commit { blocks, certificate } => self.commit(at, &blocks, &certificate),
            Answer::Open(start, finalization) => {
                if self.dies(at, Point::Committed) {
                    return;
                }
                self.nodes[at].disk.journal.retain(|record| record.epoch() >= start.epoch);
                let (now, mut outputs) = (self.now(at), Vec::new());
                let Some(consensus) = &mut self.nodes[at].consensus else { return };
                consensus.open_epoch(now, start, finalization, &mut outputs).unwrap();
                if !self.dies(at, Point::Opened) {
                    self.settle(at, outputs);
                }
            }
        }
    }

    pub(super) fn is_closing(&self, at: usize, block: &Hash) -> bool {
        self.nodes[at].disk.blocks.get(block).is_some_and(|block| self.script.is_closing(block.header.height()))
    }

    fn dies(&mut self, at: usize, point: Point) -> bool {
        let is_time = self.nodes[at].dies_at == Some(point);
        if is_time {
            self.crash(at);
        }
        is_time
    }

    pub(super) fn schedule(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.time + delay, self.sequence), event);
    }

    fn answer(&mut self, at: usize, answer: Answer) {
        let delay = if self.weather.ledger_max == 0 { 0 } else { self.dice.below(self.weather.ledger_max + 1) };
        let life = self.nodes[at].life;
        self.schedule(delay, Event::Answer { node: at, life, answer: Box::new(answer) });
    }

    pub(super) fn step(&mut self, at: usize, input: Input<PublicKey>) {
        let now = self.now(at);
        let Some(consensus) = &mut self.nodes[at].consensus else { return };
        let mut outputs = Vec::new();
        consensus.step(now, input, &mut outputs);
        self.settle(at, outputs);
    }

    /// A turn: append, one sync, then everything else.
    fn settle(&mut self, at: usize, outputs: Vec<Output<PublicKey>>) {
        let now = self.now(at);
        let node = &mut self.nodes[at];
        let Some(consensus) = &node.consensus else { return };
        let key = consensus.guard().map(VoteGuard::public);
        if let Some(deadline) = consensus.next_deadline() {
            assert!(deadline > now.monotonic_ms, "a deadline in the past would spin");
            let due = deadline + node.born_at;
            if node.tick_at.is_none_or(|at| at != due) {
                node.tick_at = Some(due);
                let life = node.life;
                self.schedule(due - self.time, Event::Tick { node: at, life });
            }
        }
        let records = outputs.iter().filter_map(|output| match output {
            Output::Journal(record) => Some(record.clone()),
            _ => None,
        });
        let records: Vec<_> = records.collect();
        let votes_at_the_end = records.iter().any(|record| self.is_finalize_of_closing(at, record));
        let votes_in_the_next =
            records.iter().any(|record| matches!(record, JournalRecord::Vote(vote) if vote.subject.epoch() > Epoch(0)));
        let is_dying = self.nodes[at].is_doomed && !records.is_empty();
        let written = if is_dying { self.dice.below(records.len() as u64 + 1) } else { records.len() as u64 };
        if votes_at_the_end && self.dies(at, Point::VoteSigned) {
            return;
        }
        for record in records.iter().take(usize::try_from(written).unwrap()) {
            self.check_record(record);
            self.nodes[at].disk.write(record, key);
        }
        let is_dead = votes_at_the_end && self.dies(at, Point::VoteWritten)
            || votes_in_the_next && self.dies(at, Point::NextVoteWritten);
        if is_dying && !is_dead {
            return self.crash(at);
        }
        for output in outputs {
            self.carry_out(at, output);
        }
    }

    fn is_finalize_of_closing(&self, at: usize, record: &JournalRecord) -> bool {
        match record {
            JournalRecord::Vote(Vote { subject: Subject::Finalize(proposal), .. }) => {
                self.is_closing(at, &proposal.block)
            }
            _ => false,
        }
    }

    fn carry_out(&mut self, at: usize, output: Output<PublicKey>) {
        // A node that dies says nothing more.
        let Some(consensus) = &self.nodes[at].consensus else { return };
        let epoch = consensus.epoch().epoch;
        match output {
            Output::Journal(_) => {}
            Output::Broadcast(message) => {
                self.check_sent(at, &message);
                let message = Arc::new(message);
                for to in (0..self.nodes.len()).filter(|to| *to != at) {
                    self.send(at, to, &message);
                }
            }
            Output::Send { to, message } => {
                self.check_sent(at, &message);
                if matches!(&message, ConsensusMessage::Certificate(certificate) if certificate.subject.epoch() < epoch)
                {
                    self.handed_over.insert(at);
                }
                self.send_to(at, &to, message);
            }
            Output::ServeBlock { to, block } => {
                let found = self.nodes[at].disk.kept(&block);
                found.into_iter().for_each(|block| self.send_to(at, &to, ConsensusMessage::Block(block)));
            }
            Output::Propose { epoch, view, proposer, parent, timestamp, evidence } => {
                self.evidence_proposed = evidence.len();
                let parent = self.parent(at, &parent, epoch);
                self.salt += 1;
                let block = self.script.block(epoch, view, proposer, &parent, timestamp, self.salt);
                self.nodes[at].disk.blocks.insert(block.header.hash(), Arc::clone(&block));
                self.answer(at, Answer::Input(Input::Proposed { view, block: Some(block) }));
            }
            Output::Verify { block, parent, proposal } => {
                self.parent(at, &parent, proposal.epoch);
                let hash = block.header.hash();
                self.nodes[at].disk.blocks.insert(hash, block);
                self.answer(at, Answer::Input(Input::Verified { block: hash, verdict: Verdict::Valid }));
            }
            Output::Certify { hash, block } => {
                self.parent(at, &block.header.parent_hash, block.header.context().unwrap().epoch);
                self.nodes[at].disk.blocks.insert(hash, block);
                self.answer(at, Answer::Input(Input::Certified { block: hash, holds: true }));
            }
            Output::Finalize { blocks, certificate } => {
                if !(self.is_closing(at, blocks.last().unwrap()) && self.dies(at, Point::Final)) {
                    self.answer_in_order(at, Answer::Commit { blocks, certificate });
                }
            }
            Output::Behind { .. } => self.sync(at),
            Output::Blame { validator, offence } => {
                assert_eq!(Some(validator), self.villain, "blamed by node {at}: {offence}");
            }
            Output::Evidence(evidence) => {
                evidence.verify(&GENESIS).unwrap();
                self.evidence.push((at, evidence.offender()));
            }
            Output::VoteRefused { subject, refusal } => {
                let node = &self.nodes[at];
                let is_allowed = match refusal {
                    Refusal::BelowFloor { .. } => node.is_restored,
                    Refusal::Silent | Refusal::Contradiction { .. } => false,
                };
                assert!(is_allowed, "node {at} did not sign {subject:?}: {refusal}");
            }
            Output::RecordLost { subject } => panic!("node {at} does not know its own {subject:?}"),
            Output::Diverged { block } => panic!("node {at} diverged at {block}"),
        }
    }

    fn send_to(&mut self, from: usize, to: &PublicKey, message: ConsensusMessage) {
        let message = Arc::new(message);
        for at in 0..self.nodes.len() {
            if self.nodes[at].keys.iter().any(|key| self.script.keys[*key].public() == *to) {
                self.send(from, at, &message);
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, message: &Arc<ConsensusMessage>) {
        if !self.can_talk(from, to) {
            return;
        }
        self.evidence_sent += usize::from(matches!(**message, ConsensusMessage::Evidence(_)));
        let is_filtered = self.filter.as_ref().is_some_and(|is_lost| is_lost(self.time, from, to, message));
        if is_filtered || self.dice.percent(self.weather.loss_percent) {
            return;
        }
        let copies = if self.dice.percent(self.weather.duplicate_percent) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = self.weather.delay_min + self.dice.below(self.weather.delay_max - self.weather.delay_min + 1);
            self.schedule(delay, Event::Deliver { from, to, message: Arc::clone(message) });
        }
    }
}
