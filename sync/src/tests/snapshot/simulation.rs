//! A node that joins among honest and bad peers, killed and started again in the middle.

use super::fixture::{Cut, Lie, anchor};
use super::step;
use crate::message::Severity;
use crate::tests::Numbers;
use crate::{PartAnswer, PeerRef, SnapshotConfig, SnapshotInput, SnapshotOutput, SnapshotSync, TICK_INTERVAL_MS};
use cairn_primitives::message::MANIFEST_PART_BYTES;
use cairn_primitives::snapshot::{SnapshotOffer, VerifiedManifest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Honest,
    /// Has an older snapshot alone.
    Stale,
    /// Has none.
    Empty,
    /// Offers the newest one with a manifest that lies.
    Lying(Lie),
    /// Offers one far above all others and sends something else as its manifest.
    Boasting,
    /// Changes a byte in each chunk.
    Garbling,
    /// Sends the chunks of another state.
    OtherState,
    /// Sends other chunks than those asked for.
    Shuffling,
    /// Tells its offers, answers nothing else.
    Silent,
    /// Tells its offers, refuses everything else.
    Refusing,
    /// Is gone for good after a few answers.
    Vanishing,
    /// Comes and goes.
    Flapping,
}

const BAD: [Behaviour; 16] = [
    Behaviour::Stale,
    Behaviour::Empty,
    Behaviour::Lying(Lie::Unfinal),
    Behaviour::Lying(Lie::StateRoot),
    Behaviour::Lying(Lie::Genesis),
    Behaviour::Lying(Lie::Gap),
    Behaviour::Lying(Lie::Headers),
    Behaviour::Lying(Lie::ChunkHash),
    Behaviour::Boasting,
    Behaviour::Garbling,
    Behaviour::OtherState,
    Behaviour::Shuffling,
    Behaviour::Silent,
    Behaviour::Refusing,
    Behaviour::Vanishing,
    Behaviour::Flapping,
];

impl Behaviour {
    /// The worst that may be said of such a peer.
    const fn severity_max(self) -> Option<Severity> {
        match self {
            Self::Honest | Self::Stale | Self::Empty | Self::Flapping => None,
            Self::Vanishing | Self::Silent => Some(Severity::Slow),
            Self::Refusing => Some(Severity::Useless),
            Self::Lying(_) | Self::Boasting | Self::Garbling | Self::OtherState | Self::Shuffling => {
                Some(Severity::Malicious)
            }
        }
    }
}

struct Simulation {
    numbers: Numbers,
    newest: Cut,
    stale: Cut,
    other: Cut,
    sync: SnapshotSync,
    peers: BTreeMap<PeerRef, Behaviour>,
    /// Answers that vanishing peers still give.
    answers_left: u32,
    gone: BTreeSet<PeerRef>,
    /// What arrives when; the number keeps arrivals at one time apart.
    events: BTreeMap<(u64, u64), SnapshotInput>,
    events_made: u64,
    restarts_left: u32,
    /// What is on disk.
    begun: Option<Arc<VerifiedManifest>>,
    held: BTreeMap<usize, Vec<u8>>,
    reports: BTreeMap<PeerRef, Severity>,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Newest,
    Stale,
    NoSnapshot,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let count = usize::try_from(1 + numbers.below(40)).unwrap();
        let mut peers = vec![Behaviour::Honest];
        for _ in 0..numbers.below(7) {
            peers.push(BAD[usize::try_from(numbers.below(16)).unwrap()]);
        }
        let place = usize::try_from(numbers.below(u64::try_from(peers.len()).unwrap())).unwrap();
        peers.swap(0, place);
        let peers = peers.into_iter().zip(1..).map(|(peer, number)| (PeerRef(number), peer)).collect();
        let restarts_left = u32::try_from(numbers.below(4)).unwrap();
        Self::among(numbers, count, peers, restarts_left)
    }

    fn among(numbers: Numbers, count: usize, peers: BTreeMap<PeerRef, Behaviour>, restarts_left: u32) -> Self {
        Self {
            numbers,
            newest: Cut::new(6, 1, count),
            stale: Cut::new(4, 9, count),
            other: Cut::new(6, 2, count),
            sync: SnapshotSync::new(SnapshotConfig::default(), anchor()),
            peers,
            answers_left: 3,
            gone: BTreeSet::new(),
            events: BTreeMap::new(),
            events_made: 0,
            restarts_left,
            begun: None,
            held: BTreeMap::new(),
            reports: BTreeMap::new(),
        }
    }

    fn at(&mut self, time_ms: u64, input: SnapshotInput) {
        self.events_made += 1;
        self.events.insert((time_ms, self.events_made), input);
    }

    fn later(&mut self, now_ms: u64, input: SnapshotInput) {
        let delay_ms = 1 + self.numbers.below(80);
        self.at(now_ms + delay_ms, input);
    }

    fn connect_all(&mut self, now_ms: u64) {
        for peer in self.peers.keys().copied().collect::<Vec<_>>() {
            if !self.gone.contains(&peer) {
                self.later(now_ms, SnapshotInput::PeerConnected(peer));
            }
        }
        self.at(now_ms, SnapshotInput::Tick);
    }

    /// Runs until the machine is done; says how it ended and when.
    fn run(&mut self, limit_ms: u64) -> (End, u64) {
        self.connect_all(0);
        while let Some(((now_ms, _), input)) = self.events.pop_first() {
            assert!(now_ms < limit_ms, "stuck at {:?} with {:?}", self.sync.progress(), self.peers);
            if matches!(input, SnapshotInput::Tick) {
                self.at(now_ms + TICK_INTERVAL_MS, SnapshotInput::Tick);
                self.flap(now_ms);
                if self.restarts_left > 0 && self.numbers.below(10) == 0 {
                    self.restart(now_ms);
                    continue;
                }
            }
            for output in step(&mut self.sync, now_ms, input) {
                if let Some(end) = self.carry_out(now_ms, output) {
                    return (end, now_ms);
                }
            }
        }
        unreachable!("ticks never end");
    }

    /// The process is killed: what is on disk stays.
    fn restart(&mut self, now_ms: u64) {
        self.restarts_left -= 1;
        self.events.clear();
        let config = SnapshotConfig::default();
        self.sync = match &self.begun {
            Some(verified) => SnapshotSync::resume(config, anchor(), Arc::clone(verified), self.held.keys().copied()),
            None => SnapshotSync::new(config, anchor()),
        };
        self.connect_all(now_ms);
    }

    fn flap(&mut self, now_ms: u64) {
        for (peer, behaviour) in self.peers.clone() {
            if behaviour == Behaviour::Flapping && self.numbers.below(8) == 0 {
                self.at(now_ms, SnapshotInput::PeerGone(peer));
                self.later(now_ms, SnapshotInput::PeerConnected(peer));
            }
        }
    }

    fn carry_out(&mut self, now_ms: u64, output: SnapshotOutput) -> Option<End> {
        match output {
            SnapshotOutput::RequestOffers(peer) => {
                let offers = Some(self.offers(peer));
                self.later(now_ms, SnapshotInput::Offers { peer, offers });
            }
            SnapshotOutput::RequestManifest { peer, id, from, .. } => {
                let from = usize::try_from(from).unwrap();
                let manifest = self.cut_of(peer).manifest();
                let part = manifest[from..].chunks(MANIFEST_PART_BYTES).next().unwrap().to_vec();
                if let Some(answer) = self.answer(now_ms, peer, part) {
                    self.later(now_ms, SnapshotInput::Part { peer, id, answer });
                }
            }
            SnapshotOutput::RequestChunk { peer, id, index, .. } => {
                let chunk = self.chunk(peer, usize::try_from(index).unwrap());
                if let Some(answer) = self.answer(now_ms, peer, chunk) {
                    self.later(now_ms, SnapshotInput::Part { peer, id, answer });
                }
            }
            SnapshotOutput::Begin(verified) => {
                assert!(self.begun.is_none(), "one snapshot at a time");
                self.begun = Some(verified);
                self.later(now_ms, SnapshotInput::Begun { held: Vec::new() });
            }
            SnapshotOutput::Store { index, bytes } => {
                assert!(self.held.insert(index, bytes).is_none(), "chunk {index} was here already");
                self.later(now_ms, SnapshotInput::Stored { index });
            }
            SnapshotOutput::Abandon => {
                self.begun = None;
                self.held.clear();
            }
            SnapshotOutput::Report { peer, offence } => {
                let severity = self.reports.entry(peer).or_insert(Severity::Slow);
                *severity = offence.severity().max(*severity);
            }
            SnapshotOutput::Complete(verified) => {
                let id = verified.manifest().id();
                let (end, cut) = if id == self.newest.offer().id {
                    (End::Newest, &self.newest)
                } else {
                    assert_eq!(id, self.stale.offer().id, "only true snapshots are completed");
                    (End::Stale, &self.stale)
                };
                assert_eq!(self.held.values().collect::<Vec<_>>(), cut.chunks.iter().collect::<Vec<_>>());
                return Some(end);
            }
            SnapshotOutput::NoSnapshot => return Some(End::NoSnapshot),
        }
        None
    }

    fn cut_of(&self, peer: PeerRef) -> Cut {
        match self.peers[&peer] {
            Behaviour::Stale => self.stale.clone(),
            Behaviour::Lying(lie) => self.newest.clone().lying(lie),
            _ => self.newest.clone(),
        }
    }

    fn offers(&self, peer: PeerRef) -> Vec<SnapshotOffer> {
        let mut offer = self.cut_of(peer).offer();
        match self.peers[&peer] {
            Behaviour::Empty => return Vec::new(),
            Behaviour::Boasting => {
                offer.height.0 += 1_000;
                offer.id.0[0] ^= 1;
            }
            _ => {}
        }
        vec![offer]
    }

    fn chunk(&mut self, peer: PeerRef, index: usize) -> Vec<u8> {
        let cut = self.cut_of(peer);
        let mut chunk = cut.chunks[index].clone();
        match self.peers[&peer] {
            Behaviour::Garbling => {
                let place = self.numbers.below(u64::try_from(chunk.len()).unwrap());
                chunk[usize::try_from(place).unwrap()] ^= 1 << self.numbers.below(8);
            }
            Behaviour::OtherState => chunk = self.other.chunks[index].clone(),
            Behaviour::Shuffling => chunk = cut.chunks.get(index + 1).cloned().unwrap_or_default(),
            _ => {}
        }
        chunk
    }

    fn answer(&mut self, now_ms: u64, peer: PeerRef, bytes: Vec<u8>) -> Option<PartAnswer> {
        match self.peers[&peer] {
            Behaviour::Silent => None,
            Behaviour::Refusing => Some(PartAnswer::Refused),
            Behaviour::Vanishing => {
                self.answers_left = self.answers_left.saturating_sub(1);
                if self.answers_left > 0 {
                    return Some(PartAnswer::Bytes(bytes));
                }
                if self.gone.insert(peer) {
                    self.later(now_ms, SnapshotInput::PeerGone(peer));
                }
                None
            }
            _ => Some(PartAnswer::Bytes(bytes)),
        }
    }
}

#[test]
fn node_among_bad_peers_gets_the_state_and_blames_nobody_who_did_no_wrong() {
    for seed in 0..120 {
        let mut simulation = Simulation::new(seed);
        let (end, took_ms) = simulation.run(600_000);
        assert_ne!(end, End::NoSnapshot, "seed {seed}: a peer has one; took {took_ms} ms");
        for (peer, severity) in &simulation.reports {
            let behaviour = simulation.peers[peer];
            assert!(
                behaviour.severity_max().is_some_and(|most| *severity <= most),
                "seed {seed}: {behaviour:?} was judged {severity:?}; took {took_ms} ms"
            );
        }
    }
}

#[test]
fn each_kind_of_bad_peer_beside_two_honest_ones_changes_nothing() {
    for (behaviour, seed) in BAD.into_iter().zip(1_000..) {
        let peers = [(1, behaviour), (2, Behaviour::Honest), (3, Behaviour::Honest)];
        let peers = peers.into_iter().map(|(number, peer)| (PeerRef(number), peer)).collect();
        let mut simulation = Simulation::among(Numbers(seed), 30, peers, 1);
        assert_eq!(simulation.run(120_000).0, End::Newest, "{behaviour:?}");
    }
}

#[test]
fn bad_peers_alone_end_in_blocks_or_in_an_old_but_true_snapshot() {
    for (behaviour, seed) in BAD.into_iter().zip(2_000..) {
        let peers = BTreeMap::from([(PeerRef(1), behaviour), (PeerRef(2), Behaviour::Empty)]);
        let mut simulation = Simulation::among(Numbers(seed), 10, peers, 0);
        let end = simulation.run(3_600_000).0;
        let expected = match behaviour {
            Behaviour::Stale => End::Stale,
            Behaviour::Flapping => End::Newest,
            _ => End::NoSnapshot,
        };
        assert_eq!(end, expected, "{behaviour:?}");
    }
}

#[test]
fn chunks_on_disk_are_not_fetched_again_after_a_restart() {
    let peers = BTreeMap::from([(PeerRef(1), Behaviour::Honest), (PeerRef(2), Behaviour::Honest)]);
    for seed in 3_000..3_020 {
        // Storing a chunk that is on disk fails in `carry_out`.
        let mut simulation = Simulation::among(Numbers(seed), 40, peers.clone(), 5);
        assert_eq!(simulation.run(120_000).0, End::Newest);
        assert_eq!(simulation.reports, BTreeMap::new());
    }
}

#[test]
fn simulation_with_the_same_seed_takes_the_same_time() {
    let run = |seed| Simulation::new(seed).run(600_000);
    assert_eq!((run(3), run(4)), (run(3), run(4)));
}
