//! A node among honest and bad peers, on a virtual clock, driven by a seed.

use super::*;
use crate::{Answer, Severity, State, serve};
use cairn_primitives::message::{SyncRequest, SyncResponse};
use parity_scale_codec::Encode;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Honest,
    /// Answers at most a third of what it could.
    Short,
    /// Claims a tip that does not exist.
    LyingTip,
    /// Claims a real finalization for a wrong height.
    WrongHeight,
    /// Cuts the closing finalization off.
    Truncating,
    /// Tells its tip, answers nothing else.
    Stalling,
    Empty,
    Refusing,
    OffRange,
    /// Changes one thing in each answer.
    Garbage,
    /// Comes and goes.
    Flapping,
    /// Claims a tip in an epoch far off, which nobody can check, and has nothing.
    Boasting,
    /// Claims a height above the chain with a true finalization of its last block in a later view.
    HighTip,
    /// Has the first third of the chain and says so.
    Stale,
    /// Sends a fork of its own from the middle on, which a quorum notarized and did not finalize.
    Fork(u8),
    /// Sends finalizations by the validators of the next epoch.
    WrongEpoch,
}

const BAD: [Behaviour; 14] = [
    Behaviour::LyingTip,
    Behaviour::WrongHeight,
    Behaviour::Truncating,
    Behaviour::Stalling,
    Behaviour::Empty,
    Behaviour::Refusing,
    Behaviour::OffRange,
    Behaviour::Garbage,
    Behaviour::Flapping,
    Behaviour::HighTip,
    Behaviour::Stale,
    Behaviour::Fork(1),
    Behaviour::Fork(2),
    Behaviour::WrongEpoch,
];

impl Behaviour {
    const fn is_innocent(self) -> bool {
        matches!(self, Self::Honest | Self::Short | Self::Flapping | Self::Stale)
    }
}

struct Simulation {
    numbers: Numbers,
    chain: Chain,
    config: SyncConfig,
    sync: Sync,
    peers: BTreeMap<PeerRef, Behaviour>,
    /// What arrives when; the number keeps arrivals at one time apart.
    events: BTreeMap<(u64, u64), Input>,
    events_made: u64,
    head: u32,
    reports: BTreeMap<PeerRef, Severity>,
    /// Requests that reach over the end of an epoch; there must be none.
    asked_across: Vec<(Height, u32)>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        Self::with_epochs(seed, 0)
    }

    /// A chain in which each epoch of `epoch_length` blocks has other validators.
    fn with_epochs(seed: u64, epoch_length: u32) -> Self {
        let mut numbers = Numbers(seed);
        let finalized_every = 1 + u32::try_from(numbers.below(5)).unwrap();
        let chain = Chain::with_epochs(300, finalized_every, epoch_length, |height| vec![height.encode()]);
        let config = SyncConfig {
            request_blocks: 5 + u32::try_from(numbers.below(40)).unwrap(),
            importing_max: 20 + u32::try_from(numbers.below(100)).unwrap(),
            ..SyncConfig::default()
        };
        let mut peers = vec![if numbers.below(2) == 0 { Behaviour::Honest } else { Behaviour::Short }];
        for _ in 0..numbers.below(7) {
            peers.push(BAD[usize::try_from(numbers.below(14)).unwrap()]);
        }
        let place = usize::try_from(numbers.below(u64::try_from(peers.len()).unwrap())).unwrap();
        peers.swap(0, place);
        let peers = peers.into_iter().zip(1..).map(|(peer, number)| (PeerRef(number), peer)).collect();
        let (sync, reports) = (chain.machine(config), BTreeMap::new());
        Self {
            numbers,
            chain,
            config,
            sync,
            peers,
            events: BTreeMap::new(),
            events_made: 0,
            head: 0,
            reports,
            asked_across: Vec::new(),
        }
    }

    fn at(&mut self, time_ms: u64, input: Input) {
        self.events_made += 1;
        self.events.insert((time_ms, self.events_made), input);
    }

    fn later(&mut self, now_ms: u64, input: Input) {
        let delay_ms = 1 + self.numbers.below(80);
        self.at(now_ms + delay_ms, input);
    }

    /// Runs until the node has the whole chain; says how long it took.
    fn run(&mut self, limit_ms: u64) -> u64 {
        for peer in self.peers.keys().copied().collect::<Vec<_>>() {
            self.later(0, Input::PeerConnected(peer));
        }
        self.at(0, Input::Tick);
        while let Some(((now_ms, _), input)) = self.events.pop_first() {
            assert!(now_ms < limit_ms, "stuck at {:?} with {:?}", self.sync.progress(), self.peers);
            if matches!(input, Input::Tick) {
                self.at(now_ms + crate::TICK_INTERVAL_MS, Input::Tick);
                self.flap(now_ms);
            }
            for output in step(&mut self.sync, now_ms, input) {
                self.carry_out(now_ms, output);
            }
            self.check_bounds();
            if self.head == self.chain.length() {
                return now_ms;
            }
        }
        unreachable!("ticks never end");
    }

    fn flap(&mut self, now_ms: u64) {
        for (peer, behaviour) in self.peers.clone() {
            if behaviour == Behaviour::Flapping && self.numbers.below(4) == 0 {
                self.at(now_ms, Input::PeerGone(peer));
                self.later(now_ms, Input::PeerConnected(peer));
            }
        }
    }

    fn check_bounds(&self) {
        let progress = self.sync.progress();
        assert!(progress.requests <= self.config.requests_max);
        assert!(progress.buffered_bytes <= self.config.bytes_max);
        assert_ne!(progress.state, State::Failed);
    }

    fn carry_out(&mut self, now_ms: u64, output: Output) {
        match output {
            Output::RequestStatus(peer) => {
                let input = self.status(peer);
                self.later(now_ms, input);
            }
            Output::RequestBlocks { peer, id, from, count } => {
                let schedule = self.chain.schedule;
                if schedule.epoch_of(from) != schedule.epoch_of(Height(from.0 + count - 1)) {
                    self.asked_across.push((from, count));
                }
                if let Some(answer) = self.answer(peer, from, count) {
                    self.later(now_ms, Input::Blocks { peer, id, answer });
                }
            }
            Output::Import(blocks) => {
                for block in blocks {
                    let height = block.block.header.height();
                    assert_eq!(height.0, self.head + 1, "imports come in order");
                    assert_eq!(block.block, self.chain.block(height.0).block);
                    self.head = height.0;
                    if self.chain.schedule.is_closing(height) {
                        let epoch = self.chain.schedule.epoch_of(height).next();
                        self.later(now_ms, Input::Validators { epoch, set: set_of(epoch) });
                    }
                    self.later(now_ms, Input::Imported { height, hash: self.chain.hash(height) });
                }
            }
            Output::Report { peer, offence } => {
                let severity = self.reports.entry(peer).or_insert(Severity::Slow);
                *severity = offence.severity().max(*severity);
            }
            Output::Judged { .. } | Output::StateChanged { .. } => {}
        }
    }

    fn status(&mut self, peer: PeerRef) -> Input {
        let response = serve(&self.chain, &SyncRequest::Status).unwrap();
        let SyncResponse::Status { mut head, mut finalization, lowest } = response else {
            unreachable!("the chain is not empty");
        };
        match self.peers[&peer] {
            Behaviour::LyingTip => head = Height(head.0 + 1_000),
            Behaviour::WrongHeight => head = Height(head.0 - 7),
            Behaviour::HighTip => {
                let Subject::Finalize(mut proposal) = self.chain.finalize(head.0, self.chain.hash(head)) else {
                    unreachable!("it is a finalization");
                };
                proposal.view = View(proposal.view.0 + 1_000);
                finalization = Some(self.chain.certify(Subject::Finalize(proposal)));
                head = Height(head.0 + 5);
            }
            Behaviour::Stale => {
                head = self.stale_head();
                finalization = self.chain.block(head.0).finalization.clone();
            }
            Behaviour::Boasting => {
                head = self.chain.schedule.opening(Epoch(100)).unwrap().next();
                finalization =
                    Some(Certificate::from_signatures(self.chain.finalize(head.0, Hash::ZERO), [], &self.chain.set));
            }
            _ => {}
        }
        Input::Status { peer, head, finalization, lowest }
    }

    fn answer(&mut self, peer: PeerRef, from: Height, count: u32) -> Option<Answer> {
        let behaviour = self.peers[&peer];
        let count = if behaviour == Behaviour::Short { count.div_ceil(3) } else { count };
        let from = if behaviour == Behaviour::OffRange { from.next() } else { from };
        let response = serve(&self.chain, &SyncRequest::Blocks { from, count }).unwrap();
        let SyncResponse::Blocks(mut blocks) = response else { return Some(Answer::Refused) };
        match behaviour {
            Behaviour::Stale => {
                let head = self.stale_head();
                blocks.retain(|block| block.block.header.height() <= head);
                if blocks.is_empty() {
                    return Some(Answer::Refused);
                }
            }
            Behaviour::Fork(number) => self.fork(number, &mut blocks),
            Behaviour::WrongEpoch => {
                let last = blocks.last_mut()?;
                let header = &last.block.header;
                let Subject::Finalize(mut proposal) = self.chain.finalize(header.number, header.hash()) else {
                    unreachable!("it is a finalization");
                };
                proposal.epoch = proposal.epoch.next();
                last.finalization = Some(self.chain.certify(Subject::Finalize(proposal)));
            }
            Behaviour::Stalling => return None,
            Behaviour::Refusing | Behaviour::Boasting => return Some(Answer::Refused),
            Behaviour::Empty => blocks.clear(),
            Behaviour::Truncating => blocks.last_mut()?.finalization = None,
            Behaviour::Garbage => self.corrupt(&mut blocks),
            _ => {}
        }
        Some(Answer::Blocks(blocks))
    }

    /// The last finalized block in the first third of the chain.
    fn stale_head(&self) -> Height {
        let finalized = |height: &u32| self.chain.block(*height).finalization.is_some();
        Height((1..=self.chain.length() / 3).rev().find(finalized).unwrap())
    }

    /// Puts other blocks in the place of those in the second half of the chain.
    fn fork(&self, number: u8, blocks: &mut [FinalizedBlock]) {
        let mut parent = None;
        for block in blocks.iter_mut() {
            let header = &mut block.block.header;
            if header.number <= self.chain.length() / 2 {
                continue;
            }
            header.state_root = Hash([number; 32]);
            header.parent_hash = parent.unwrap_or(header.parent_hash);
            parent = Some(header.hash());
        }
        if let (Some(hash), Some(last)) = (parent, blocks.last_mut())
            && let Subject::Finalize(proposal) = self.chain.finalize(last.block.header.number, hash)
        {
            last.finalization = Some(self.chain.certify(Subject::Notarize(proposal)));
        }
    }

    fn corrupt(&mut self, blocks: &mut [FinalizedBlock]) {
        let place = usize::try_from(self.numbers.below(u64::try_from(blocks.len()).unwrap())).unwrap();
        let choice = self.numbers.below(5);
        let block = &mut blocks[place].block;
        match choice {
            0 => block.extrinsics.clear(),
            1 => block.header.state_root = Hash([1; 32]),
            2 => block.header.parent_hash = Hash([2; 32]),
            3 => block.header.number ^= 1,
            _ => {
                let subject = self.chain.finalize(block.header.number, block.header.hash());
                let last = blocks.last_mut().unwrap();
                last.finalization = Some(Certificate::from_signatures(subject, [], &self.chain.set));
            }
        }
    }
}

#[test]
fn node_among_bad_peers_gets_the_whole_chain_from_one_honest_peer() {
    for seed in 0..60 {
        let mut simulation = Simulation::new(seed);
        let took_ms = simulation.run(60_000);
        let innocent: BTreeSet<_> =
            simulation.peers.iter().filter(|(_, behaviour)| behaviour.is_innocent()).map(|(peer, _)| *peer).collect();
        for peer in simulation.reports.keys() {
            assert!(!innocent.contains(peer), "seed {seed}: {peer:?} did no wrong; took {took_ms} ms");
        }
    }
}

#[test]
fn node_among_bad_peers_follows_validators_that_change_with_every_epoch() {
    for (seed, epoch_length) in (200..).zip([1, 2, 3, 7, 20, 64, 100, 299, 300]) {
        let mut simulation = Simulation::with_epochs(seed, epoch_length);
        let took_ms = simulation.run(600_000);
        for peer in simulation.reports.keys() {
            let behaviour = simulation.peers[peer];
            assert!(!behaviour.is_innocent(), "epochs of {epoch_length}: {peer:?} did no wrong; took {took_ms} ms");
        }
        assert!(simulation.asked_across.is_empty(), "{:?}", simulation.asked_across);
    }
}

#[test]
fn liar_about_a_tip_in_an_epoch_to_come_keeps_nobody_from_the_chain() {
    for epoch_length in [3, 50] {
        let mut simulation = Simulation::with_epochs(7, epoch_length);
        simulation.peers = BTreeMap::from([(PeerRef(1), Behaviour::Boasting), (PeerRef(2), Behaviour::Honest)]);
        simulation.run(600_000);
        assert!(!simulation.reports.contains_key(&PeerRef(2)));
    }
}

#[test]
fn each_kind_of_bad_peer_is_found_out_or_harmless() {
    for (behaviour, seed) in BAD.into_iter().zip(100..) {
        let mut simulation = Simulation::new(seed);
        simulation.peers = BTreeMap::from([(PeerRef(1), behaviour), (PeerRef(2), Behaviour::Honest)]);
        simulation.run(60_000);
        let found = simulation.reports.get(&PeerRef(1)).copied();
        let expected: &[_] = match behaviour {
            Behaviour::Honest | Behaviour::Short | Behaviour::Flapping | Behaviour::Stale | Behaviour::Boasting => {
                &[None]
            }
            Behaviour::Stalling => &[None, Some(Severity::Slow)],
            Behaviour::Refusing => &[None, Some(Severity::Useless)],
            Behaviour::Empty => &[Some(Severity::Useless)],
            Behaviour::LyingTip | Behaviour::Truncating | Behaviour::OffRange | Behaviour::Garbage => {
                &[Some(Severity::Malicious)]
            }
            Behaviour::WrongHeight | Behaviour::HighTip | Behaviour::Fork(_) | Behaviour::WrongEpoch => {
                &[Some(Severity::Malicious)]
            }
        };
        assert!(expected.contains(&found), "{behaviour:?} was judged {found:?}");
    }
}

#[test]
fn peers_on_two_forks_that_are_not_final_keep_nobody_from_the_chain() {
    for seed in 300..310 {
        let mut simulation = Simulation::new(seed);
        let peers = [Behaviour::Fork(1), Behaviour::Fork(2), Behaviour::Fork(1), Behaviour::Honest];
        simulation.peers = (1..).map(PeerRef).zip(peers).collect();
        simulation.run(60_000);
        assert!(!simulation.reports.contains_key(&PeerRef(4)), "seed {seed}");
        let blamed = simulation.reports.values().filter(|severity| **severity == Severity::Malicious).count();
        assert!(blamed > 0, "seed {seed}: nobody was asked beyond the fork");
    }
}

#[test]
fn simulation_with_the_same_seed_takes_the_same_time() {
    let run = |seed| Simulation::new(seed).run(60_000);
    assert_eq!((run(3), run(4)), (run(3), run(4)));
}
