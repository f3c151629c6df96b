//! The filling of an archive: ranges, the machine's rules, and a simulation with bad peers, restarts and times away from
//! the tip.

use super::*;
use crate::{
    ArchiveAnswer, ArchiveError, ArchiveRules, ArchivedRange, Backfill, BackfillConfig, BackfillInput, BackfillOffence,
    BackfillOutput, Severity, TICK_INTERVAL_MS, VerifyError, serve,
};
use cairn_primitives::ArchivedBlock;
use cairn_primitives::message::{SYNC_BLOCKS_MAX, SYNC_RESPONSE_BYTES_MAX, SyncRequest, SyncResponse};
use std::collections::{BTreeMap, BTreeSet};

impl ArchiveRules for Chain {
    fn genesis(&self) -> Hash {
        GENESIS
    }

    fn schedule(&self) -> EpochSchedule {
        self.schedule
    }

    fn validators(&self, epoch: Epoch) -> Option<Arc<ValidatorSet>> {
        Some(set_of(epoch))
    }

    fn events_root(&self, events: &[u8]) -> Option<Hash> {
        Some(events_root(events))
    }
}

/// What the chain answers; nothing where it refuses.
fn archive(chain: &Chain, last: u32, count: u32) -> Vec<ArchivedBlock> {
    match serve(chain, &SyncRequest::Archive { last: Height(last), count }).unwrap() {
        SyncResponse::Archive(blocks) => blocks,
        SyncResponse::Refused => Vec::new(),
        other => panic!("{other:?} for archived blocks"),
    }
}

fn verify(chain: &Chain, blocks: Vec<ArchivedBlock>, last: u32, count: u32) -> Result<ArchivedRange, ArchiveError> {
    ArchivedRange::verify(blocks, Height(last), count, chain)
}

fn advance(machine: &mut Backfill, now_ms: u64, input: BackfillInput) -> Vec<BackfillOutput> {
    let mut outputs = Vec::new();
    machine.step(now_ms, input, &mut outputs);
    outputs
}

fn asked(outputs: &[BackfillOutput]) -> Vec<(u64, RequestId, u32, u32)> {
    let request = |output: &BackfillOutput| match output {
        BackfillOutput::Request { peer, id, last, count } => Some((peer.0, *id, last.0, *count)),
        _ => None,
    };
    outputs.iter().filter_map(request).collect()
}

/// A machine on the chain with the blocks from `lowest` on, at the tip.
fn machine(chain: &Chain, lowest: u32, config: BackfillConfig) -> Backfill {
    let mut machine = Backfill::new(config, Height(lowest), chain.hash(Height(lowest - 1)), Height(lowest));
    assert_eq!(advance(&mut machine, 0, BackfillInput::AtTip(true)), []);
    machine
}

fn tell(machine: &mut Backfill, now_ms: u64, peer: u64, lowest: u32, head: u32) -> Vec<BackfillOutput> {
    let (peer, lowest, head) = (PeerRef(peer), Height(lowest), Height(head));
    advance(machine, now_ms, BackfillInput::Peer { peer, lowest, head })
}

fn small() -> BackfillConfig {
    BackfillConfig { request_blocks: 10, request_interval_ms: 0, ..BackfillConfig::default() }
}

#[test]
fn archived_blocks_are_served_from_the_highest_down_to_the_lowest_here() {
    let mut chain = Chain::new(9, 2);
    let heights = |blocks: Vec<ArchivedBlock>| blocks.iter().map(|one| one.block.header.number).collect::<Vec<_>>();
    assert_eq!(heights(archive(&chain, 9, 4)), [9, 8, 7, 6]);
    assert_eq!(heights(archive(&chain, 3, 256)), [3, 2, 1]);
    assert_eq!(heights(archive(&chain, 0, 4)), []);
    assert_eq!(heights(archive(&chain, 10, 4)), []);
    assert_eq!(heights(archive(&chain, 9, 0)), []);
    chain.lowest = Height(6);
    assert_eq!(heights(archive(&chain, 8, 256)), [8, 7, 6]);
    assert_eq!(heights(archive(&chain, 5, 1)), []);
    let large = Chain::with_extrinsics(9, 1, |_| vec![vec![1; 3 << 20]]);
    let answer = SyncResponse::Archive(archive(&large, 9, 256));
    assert!(parity_scale_codec::Encode::encoded_size(&answer) <= SYNC_RESPONSE_BYTES_MAX);
    assert_eq!(heights(archive(&large, 9, 256)), [9, 8], "an answer ends once it has the bytes wanted");
}

#[test]
fn archived_range_with_anything_changed_is_refused() {
    let chain = Chain::with_epochs(20, 3, 7, |height| vec![vec![u8::try_from(height).unwrap(); 9]]);
    let blocks = archive(&chain, 16, 8);
    let range = verify(&chain, blocks.clone(), 16, 8).unwrap();
    assert_eq!((range.last(), range.first()), (Height(16), Height(9)));
    assert_eq!((range.last_hash(), range.parent()), (chain.hash(Height(16)), chain.hash(Height(8))));
    assert_eq!(range.blocks(), blocks);
    type Change = fn(&mut Vec<ArchivedBlock>);
    let changes: [(Change, ArchiveError); 10] = [
        (|blocks| blocks.clear(), VerifyError::Empty.into()),
        (|blocks| drop(blocks.remove(0)), VerifyError::WrongHeight { actual: Height(15), expected: Height(16) }.into()),
        (|blocks| drop(blocks.remove(3)), VerifyError::WrongHeight { actual: Height(12), expected: Height(13) }.into()),
        (|blocks| blocks[2].block.header.state_root = Hash([1; 32]), VerifyError::BrokenLink(Height(14)).into()),
        (|blocks| blocks[2].block.extrinsics.clear(), VerifyError::WrongBody(Height(14)).into()),
        (|blocks| blocks[5].events[0] ^= 1, ArchiveError::WrongEvents(Height(11))),
        (|blocks| blocks[2].finalization = None, ArchiveError::UnprovedHandover(Height(14))),
        (|blocks| blocks[1].finalization = blocks[4].finalization.clone(), VerifyError::WrongSubject.into()),
        (
            |blocks| blocks[0].finalization = blocks[4].finalization.clone(),
            VerifyError::WrongEpoch { actual: Epoch(1), expected: Epoch(2) }.into(),
        ),
        (|blocks| blocks.push(blocks[7].clone()), VerifyError::TooMany { actual: 9, asked: 8 }.into()),
    ];
    for (change, expected) in changes {
        let mut changed = blocks.clone();
        change(&mut changed);
        // Both are of epoch 1 and finalize another block, or none.
        let found = verify(&chain, changed, 16, 8).unwrap_err();
        let is_other_subject = expected == VerifyError::WrongSubject.into()
            && matches!(found, ArchiveError::Blocks(VerifyError::WrongEpoch { .. }));
        assert!(found == expected || is_other_subject, "{found:?} instead of {expected:?}");
    }
    let mut forged = blocks;
    let subject = chain.finalize(15, chain.hash(Height(15)));
    forged[1].finalization = Some(Certificate::from_signatures(subject, [], &set_of(Epoch(2))));
    assert!(matches!(verify(&chain, forged, 16, 8), Err(ArchiveError::Blocks(VerifyError::BadCertificate(_)))));
}

#[test]
fn blocks_are_asked_for_downwards_of_several_peers_and_stored_without_a_gap() {
    let chain = Chain::new(40, 1);
    let mut machine = machine(&chain, 36, small());
    let mut requests = asked(&tell(&mut machine, 0, 1, 0, 40));
    requests.extend(asked(&tell(&mut machine, 0, 2, 12, 40)));
    let seen: Vec<_> = requests.iter().map(|(peer, _, last, count)| (*peer, *last, *count)).collect();
    assert_eq!(seen, [(1, 35, 10), (1, 25, 10), (2, 15, 4)], "the second one has nothing below its lowest block");
    // The lower ranges come first, and wait.
    for place in [2, 1] {
        let (peer, id, last, count) = requests[place];
        let answer = ArchiveAnswer::Range(verify(&chain, archive(&chain, last, count), last, count).unwrap());
        let outputs = advance(&mut machine, 1, BackfillInput::Range { peer: PeerRef(peer), id, answer });
        assert!(!outputs.iter().any(|output| matches!(output, BackfillOutput::Store(_))));
        requests.extend(asked(&outputs));
    }
    let (peer, id, last, count) = requests[0];
    let answer = ArchiveAnswer::Range(verify(&chain, archive(&chain, last, count), last, count).unwrap());
    let mut outputs = advance(&mut machine, 1, BackfillInput::Range { peer: PeerRef(peer), id, answer });
    let mut stored = Vec::new();
    while let Some(range) = outputs.iter().find_map(|output| match output {
        BackfillOutput::Store(range) => Some(range.clone()),
        _ => None,
    }) {
        stored.push((range.last().0, range.first().0));
        outputs = advance(&mut machine, 2, BackfillInput::Stored);
    }
    assert_eq!(stored, [(35, 26), (25, 16), (15, 12)]);
    assert_eq!(machine.progress().lowest, Height(12));
}

#[test]
fn blocks_that_could_be_served_to_nobody_for_want_of_finalizations_do_not_hold() {
    let chain = Chain::new(40, 1);
    for (stripped, expected) in [(0, true), (1, true), (2, false)] {
        // Up to the first finalization above there are as many blocks as an answer may have, but for one.
        let first = Height(35 + SYNC_BLOCKS_MAX - 1);
        let mut machine = Backfill::new(small(), Height(36), chain.hash(Height(35)), first);
        advance(&mut machine, 0, BackfillInput::AtTip(true));
        let (peer, id, last, count) = asked(&tell(&mut machine, 0, 1, 0, 40))[0];
        let mut blocks = archive(&chain, last, count);
        for block in blocks.iter_mut().take(stripped) {
            assert!(!chain.schedule.is_closing(block.block.header.height()));
            block.finalization = None;
        }
        let answer = ArchiveAnswer::Range(verify(&chain, blocks, last, count).unwrap());
        let outputs = advance(&mut machine, 1, BackfillInput::Range { peer: PeerRef(peer), id, answer });
        let is_stored = outputs.iter().any(|output| matches!(output, BackfillOutput::Store(_)));
        let offence = BackfillOffence::Invalid(ArchiveError::Unfinalized(Height(34)));
        let is_blamed = outputs.contains(&BackfillOutput::Report { peer: PeerRef(1), offence });
        assert_eq!((is_stored, is_blamed), (expected, !expected), "{stripped}: {outputs:?}");
    }
}

#[test]
fn nothing_is_asked_for_away_from_the_tip_nor_faster_than_the_rate() {
    let chain = Chain::new(100, 1);
    let config = BackfillConfig { request_interval_ms: 200, ..small() };
    let mut machine = machine(&chain, 90, config);
    assert_eq!(asked(&tell(&mut machine, 0, 1, 0, 100)).len(), 1, "one request, then the interval");
    assert_eq!(advance(&mut machine, 199, BackfillInput::Tick), []);
    assert_eq!(asked(&advance(&mut machine, 200, BackfillInput::Tick)).len(), 1);
    assert_eq!(advance(&mut machine, 300, BackfillInput::AtTip(false)), []);
    tell(&mut machine, 300, 2, 0, 100);
    assert_eq!(advance(&mut machine, 1_000, BackfillInput::Tick), []);
    assert_eq!(asked(&advance(&mut machine, 1_000, BackfillInput::AtTip(true))).len(), 1);
}

#[test]
fn machine_with_the_whole_chain_says_so_once_and_asks_for_nothing() {
    let chain = Chain::new(5, 1);
    for lowest in [0, 1] {
        let mut machine = Backfill::new(small(), Height(lowest), GENESIS, Height(lowest));
        assert_eq!(advance(&mut machine, 0, BackfillInput::AtTip(true)), [BackfillOutput::Complete]);
        assert_eq!(tell(&mut machine, 0, 1, 0, chain.length()), []);
    }
}

#[test]
fn peer_that_refuses_what_it_says_it_has_is_useless_and_one_of_another_chain_malicious() {
    let chain = Chain::new(40, 1);
    let mut machine = machine(&chain, 36, BackfillConfig { requests_max: 1, ..small() });
    let mut outputs = tell(&mut machine, 0, 1, 0, 40);
    let mut reports = Vec::new();
    for round in 1..=3_u64 {
        let (peer, id, ..) = asked(&outputs)[0];
        let answer = ArchiveAnswer::Refused;
        let told = advance(&mut machine, round * 10_000, BackfillInput::Range { peer: PeerRef(peer), id, answer });
        reports.extend(told.into_iter().filter(|output| matches!(output, BackfillOutput::Report { .. })));
        outputs = advance(&mut machine, round * 10_000 + 9_000, BackfillInput::Tick);
    }
    assert_eq!(reports, [BackfillOutput::Report { peer: PeerRef(1), offence: BackfillOffence::Useless }]);
    assert!(!machine.progress().is_offered);

    let other = Chain::with_extrinsics(40, 1, |_| vec![vec![9; 9]]);
    let (peer, id, last, count) = asked(&tell(&mut machine, 60_000, 2, 0, 40))[0];
    let answer = ArchiveAnswer::Range(verify(&other, archive(&other, last, count), last, count).unwrap());
    let outputs = advance(&mut machine, 60_001, BackfillInput::Range { peer: PeerRef(peer), id, answer });
    let offence = BackfillOffence::Invalid(ArchiveError::ForeignChain(Height(35)));
    assert_eq!(offence.severity(), Severity::Malicious);
    assert_eq!(outputs, [BackfillOutput::Report { peer: PeerRef(2), offence }], "nothing of it is stored");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Honest,
    /// Answers at most a third of what it could.
    Short,
    /// Has the last third of the chain, and says so.
    Pruned,
    /// The same, but says it has everything.
    Boasting,
    Stalling,
    Refusing,
    Empty,
    OffRange,
    /// Changes one thing in each answer.
    Garbage,
    /// Sends a chain of its own, whole in itself.
    Foreign,
    /// Comes and goes.
    Flapping,
}

const BAD: [Behaviour; 9] = [
    Behaviour::Pruned,
    Behaviour::Boasting,
    Behaviour::Stalling,
    Behaviour::Refusing,
    Behaviour::Empty,
    Behaviour::OffRange,
    Behaviour::Garbage,
    Behaviour::Foreign,
    Behaviour::Flapping,
];

/// A node that fills its archive, among honest and bad peers, on a virtual clock, driven by a seed.
struct Simulation {
    numbers: Numbers,
    chain: Chain,
    foreign: Chain,
    config: BackfillConfig,
    machine: Backfill,
    peers: BTreeMap<PeerRef, Behaviour>,
    events: BTreeMap<(u64, u64), BackfillInput>,
    events_made: u64,
    /// The lowest block stored.
    lowest: u32,
    is_at_tip: bool,
    restarts: u32,
    reports: BTreeMap<PeerRef, Severity>,
}

impl Simulation {
    fn new(seed: u64, peers: &[Behaviour]) -> Self {
        let mut numbers = Numbers(seed);
        let (every, epoch) = (1 + numbers.below(5), [0, 7, 64][usize::try_from(numbers.below(3)).unwrap()]);
        let chain = |salt: u8| {
            let every = u32::try_from(every).unwrap();
            Chain::with_epochs(300, every, epoch, move |height| vec![vec![salt, u8::try_from(height % 251).unwrap()]])
        };
        let config = BackfillConfig {
            request_blocks: 5 + u32::try_from(numbers.below(40)).unwrap(),
            request_interval_ms: numbers.below(100),
            window_blocks: 30 + u32::try_from(numbers.below(200)).unwrap(),
            ..BackfillConfig::default()
        };
        let (chain, foreign) = (chain(1), chain(2));
        let lowest = 300 - u32::try_from(numbers.below(40)).unwrap();
        let machine = Backfill::new(config, Height(lowest), chain.hash(Height(lowest - 1)), Height(lowest));
        let peers = (1..).map(PeerRef).zip(peers.iter().copied()).collect();
        Self {
            numbers,
            chain,
            foreign,
            config,
            machine,
            peers,
            events: BTreeMap::new(),
            events_made: 0,
            lowest,
            is_at_tip: false,
            restarts: 0,
            reports: BTreeMap::new(),
        }
    }

    fn later(&mut self, now_ms: u64, input: BackfillInput) {
        let delay_ms = 1 + self.numbers.below(80);
        self.events_made += 1;
        self.events.insert((now_ms + delay_ms, self.events_made), input);
    }

    /// Runs until the node has the whole chain; says how long it took.
    fn run(&mut self, limit_ms: u64) -> u64 {
        self.later(0, BackfillInput::Tick);
        loop {
            let ((now_ms, _), input) = self.events.pop_first().expect("ticks never end");
            assert!(now_ms < limit_ms, "stuck at {:?} with {:?}", self.machine.progress(), self.peers);
            if matches!(input, BackfillInput::Tick) {
                self.later(now_ms + TICK_INTERVAL_MS, BackfillInput::Tick);
                self.happen(now_ms);
            }
            for output in advance(&mut self.machine, now_ms, input) {
                if output == BackfillOutput::Complete {
                    assert_eq!(self.lowest, 1);
                    return now_ms;
                }
                self.carry_out(now_ms, output);
            }
            let progress = self.machine.progress();
            assert!(progress.requests <= self.config.requests_max && progress.buffered_bytes <= self.config.bytes_max);
        }
    }

    /// What goes on besides: peers say what they have, come and go; the node leaves the tip, is killed.
    fn happen(&mut self, now_ms: u64) {
        for (peer, behaviour) in self.peers.clone() {
            let lowest = Height(if behaviour == Behaviour::Pruned { 200 } else { 0 });
            match self.numbers.below(8) {
                0 => self.later(now_ms, BackfillInput::Peer { peer, lowest, head: Height(300) }),
                1 if behaviour == Behaviour::Flapping => self.later(now_ms, BackfillInput::PeerGone(peer)),
                _ => {}
            }
        }
        match self.numbers.below(20) {
            0 => self.is_at_tip = false,
            1..6 => self.is_at_tip = true,
            6 if self.restarts < 3 => {
                self.restarts += 1;
                // What was under way is gone; a range that was being stored is there or not.
                self.events.retain(|_, input| matches!(input, BackfillInput::Tick));
                let parent = self.chain.hash(Height(self.lowest - 1));
                self.machine = Backfill::new(self.config, Height(self.lowest), parent, Height(self.lowest));
            }
            _ => return,
        }
        self.later(now_ms, BackfillInput::AtTip(self.is_at_tip));
    }

    fn carry_out(&mut self, now_ms: u64, output: BackfillOutput) {
        match output {
            BackfillOutput::Request { peer, id, last, count } => {
                if let Some(answer) = self.answer(peer, last, count) {
                    self.later(now_ms, BackfillInput::Range { peer, id, answer });
                }
            }
            BackfillOutput::Store(range) => {
                for archived in range.blocks() {
                    self.lowest -= 1;
                    let block = self.chain.block(self.lowest);
                    assert_eq!(archived.block, block.block, "blocks come in falling order, without a gap");
                    assert_eq!(archived.events, events_of(Height(self.lowest)));
                    assert!(archived.finalization.is_none() || archived.finalization == block.finalization);
                }
                self.later(now_ms, BackfillInput::Stored);
            }
            BackfillOutput::Report { peer, offence } => {
                let severity = self.reports.entry(peer).or_insert(Severity::Slow);
                *severity = offence.severity().max(*severity);
            }
            BackfillOutput::Complete => unreachable!("it ends the run"),
        }
    }

    fn answer(&mut self, peer: PeerRef, last: Height, count: u32) -> Option<ArchiveAnswer> {
        let behaviour = self.peers[&peer];
        let has_it = last >= Height(200) || !matches!(behaviour, Behaviour::Pruned | Behaviour::Boasting);
        let mut blocks = match behaviour {
            Behaviour::Stalling => return None,
            Behaviour::Refusing => return Some(ArchiveAnswer::Refused),
            _ if !has_it => return Some(ArchiveAnswer::Refused),
            Behaviour::Empty => Vec::new(),
            Behaviour::Short => archive(&self.chain, last.0, count.div_ceil(3)),
            Behaviour::OffRange => archive(&self.chain, last.0 - 1, count),
            Behaviour::Foreign => archive(&self.foreign, last.0, count),
            _ => archive(&self.chain, last.0, count),
        };
        if behaviour == Behaviour::Garbage {
            self.corrupt(&mut blocks);
        }
        Some(match ArchivedRange::verify(blocks, last, count, &self.chain) {
            Ok(range) => ArchiveAnswer::Range(range),
            Err(error) => ArchiveAnswer::Invalid(error),
        })
    }

    fn corrupt(&mut self, blocks: &mut [ArchivedBlock]) {
        let place = usize::try_from(self.numbers.below(u64::try_from(blocks.len()).unwrap())).unwrap();
        let archived = &mut blocks[place];
        match self.numbers.below(6) {
            0 => archived.block.extrinsics.clear(),
            1 => archived.block.header.state_root = Hash([1; 32]),
            2 => archived.block.header.parent_hash = Hash([2; 32]),
            3 => archived.block.header.number ^= 1,
            4 => archived.events.push(1),
            _ => {
                let header = &archived.block.header;
                let subject = self.chain.finalize(header.number, header.hash());
                archived.finalization = Some(Certificate::from_signatures(subject, [], &self.chain.set));
            }
        }
    }
}

#[test]
fn archive_among_bad_peers_is_filled_down_to_genesis_by_one_honest_peer() {
    for seed in 0..80 {
        let mut numbers = Numbers(1_000 + seed);
        let mut peers = vec![if seed % 2 == 0 { Behaviour::Honest } else { Behaviour::Short }];
        for _ in 0..numbers.below(6) {
            peers.push(BAD[usize::try_from(numbers.below(9)).unwrap()]);
        }
        let mut simulation = Simulation::new(seed, &peers);
        let took_ms = simulation.run(600_000);
        let innocent: BTreeSet<_> = simulation
            .peers
            .iter()
            .filter(|(_, peer)| {
                matches!(peer, Behaviour::Honest | Behaviour::Short | Behaviour::Pruned | Behaviour::Flapping)
            })
            .map(|(peer, _)| *peer)
            .collect();
        for peer in simulation.reports.keys() {
            assert!(!innocent.contains(peer), "seed {seed}: {peer:?} did no wrong; took {took_ms} ms");
        }
    }
}

#[test]
fn each_kind_of_bad_peer_of_an_archive_is_found_out_or_harmless() {
    for (behaviour, seed) in BAD.into_iter().zip(100..) {
        let mut simulation = Simulation::new(seed, &[behaviour, Behaviour::Honest]);
        simulation.run(600_000);
        let found = simulation.reports.get(&PeerRef(1)).copied();
        let expected: &[_] = match behaviour {
            Behaviour::Honest | Behaviour::Short | Behaviour::Pruned | Behaviour::Flapping => &[None],
            Behaviour::Stalling => &[None, Some(Severity::Slow)],
            Behaviour::Refusing | Behaviour::Boasting => &[None, Some(Severity::Useless)],
            Behaviour::Empty | Behaviour::OffRange | Behaviour::Garbage | Behaviour::Foreign => {
                &[Some(Severity::Malicious)]
            }
        };
        assert!(expected.contains(&found), "{behaviour:?} was judged {found:?}");
    }
}

#[test]
fn filling_with_the_same_seed_takes_the_same_time() {
    let run = |seed| Simulation::new(seed, &[Behaviour::Honest, Behaviour::Garbage]).run(600_000);
    assert_eq!((run(3), run(4)), (run(3), run(4)));
}
