//! Block sync among peers that lie, stall and forge: only the final chain is handed out, in order, within bounds.

use crate::draw::Draw;
use crate::fixture::{GENESIS, epoch_chain, finalization, set_in};
use cairn_primitives::{Epoch, EpochSchedule, FinalizedBlock, Hash, Height, OpaqueExtrinsic};
use cairn_sync::{
    Answer, Input, Output, PeerRef, RequestId, Severity, Sync, SyncConfig, TICK_INTERVAL_MS, ValidatorSets,
};
use std::sync::Arc;

/// Length of the chain.
const LENGTH: u32 = 36;

/// Blocks of an epoch.
const SCHEDULE: EpochSchedule = EpochSchedule::new(10);

/// Peers; the first one is honest.
const PEERS: usize = 4;

const HONEST: PeerRef = PeerRef(0);

fn config() -> SyncConfig {
    SyncConfig {
        request_blocks: 5,
        requests_max: 3,
        requests_per_peer_max: 2,
        window_blocks: 20,
        importing_max: 8,
        request_timeout_ms: 500,
        status_interval_ms: 1_000,
        behind_grace_ms: 200,
        behind_blocks_max: 4,
        backoff_ms: 200,
        backoff_ms_max: 2_000,
        ..SyncConfig::default()
    }
}

struct World<'a> {
    chain: &'a [FinalizedBlock],
    sync: Sync,
    now_ms: u64,
    /// Requests without an answer.
    asked: Vec<(PeerRef, RequestId, Height, u32)>,
    /// The last block handed out, and the last one committed.
    handed: u32,
    head: u32,
    announced: u64,
}

pub(crate) fn run(bytes: &[u8]) {
    thread_local! {
        static CHAIN: Vec<FinalizedBlock> = epoch_chain(LENGTH, SCHEDULE);
    }
    CHAIN.with(|chain| {
        let sets = ValidatorSets::new(SCHEDULE, Epoch(0), set_in(Epoch(0)));
        let sync = Sync::new(config(), GENESIS, sets, Height(0), GENESIS);
        let mut world = World { chain, sync, now_ms: 0, asked: Vec::new(), handed: 0, head: 0, announced: 0 };
        let mut draw = Draw::new(bytes);
        while !draw.is_empty() {
            let input = world.input(&mut draw);
            world.step(input);
        }
    });
}

impl World<'_> {
    fn block(&self, height: u32) -> Option<&FinalizedBlock> {
        let place = usize::try_from(height).ok()?.checked_sub(1)?;
        self.chain.get(place)
    }

    fn hash(&self, height: u32) -> Hash {
        self.block(height).map_or(GENESIS, |block| block.block.header.hash())
    }

    fn step(&mut self, input: Input) {
        let is_announced = matches!(input, Input::Announced { .. });
        let mut outputs = Vec::new();
        self.sync.step(self.now_ms, input, &mut outputs);
        assert!(outputs.len() <= 64, "{} outputs of one step", outputs.len());
        let judged = outputs.iter().filter(|output| matches!(output, Output::Judged { .. })).count();
        assert_eq!(judged, usize::from(is_announced), "an announcement has one verdict");
        for output in outputs {
            self.look_at(output);
        }
        let progress = self.sync.progress();
        assert!(progress.requests <= config().requests_max && progress.peers <= PEERS);
        assert!(progress.target >= progress.head && progress.target.0 <= LENGTH.max(self.head));
        assert!(progress.buffered_bytes <= config().bytes_max);
    }

    fn look_at(&mut self, output: Output) {
        match output {
            Output::Import(blocks) => {
                let first = blocks.first().map_or(0, |block| block.block.header.number);
                assert!(first > 0 && first <= self.handed.max(self.head) + 1, "a gap before {first}");
                for (block, height) in blocks.iter().zip(first..) {
                    assert_eq!(self.block(height).map(|known| &known.block), Some(&block.block), "not the final chain");
                }
                let last = blocks.last().unwrap();
                let finalization = last.finalization.as_ref().expect("a range ends in its proof");
                finalization.verify(&set_in(finalization.subject.epoch()), &GENESIS).expect("the proof holds");
                self.handed = last.block.header.number;
            }
            Output::RequestBlocks { peer, id, from, count } => {
                assert!(count > 0 && count <= config().request_blocks && from.0 > 0);
                self.asked.push((peer, id, from, count));
            }
            Output::Report { peer, offence } => {
                let is_fair = peer != HONEST || offence.severity() != Severity::Malicious;
                assert!(is_fair, "the honest peer is accused: {offence}");
            }
            Output::RequestStatus(_) | Output::Judged { .. } | Output::StateChanged { .. } => {}
        }
    }

    fn input(&mut self, draw: &mut Draw<'_>) -> Input {
        let peer = PeerRef(u64::try_from(draw.below(PEERS)).unwrap_or(0));
        match draw.below(12) {
            0 => Input::PeerConnected(peer),
            1 => {
                self.asked.retain(|(asked, ..)| *asked != peer);
                Input::PeerGone(peer)
            }
            2 => self.status(peer, draw),
            3 => Input::StatusFailed(peer),
            4..=6 => self.answer(draw).unwrap_or(Input::Tick),
            7 => self.imported(draw),
            8 => {
                self.head = self.head.max(u32::try_from(draw.below(37)).unwrap_or(0));
                Input::LocalHead { height: Height(self.head), hash: self.hash(self.head) }
            }
            9 => self.announce(peer, draw),
            10 => match draw.below(3) {
                // The block that opens an epoch is committed: its validators are known.
                0 => {
                    let epoch = SCHEDULE.epoch_of(Height(self.head).next());
                    Input::Validators { epoch, set: set_in(epoch) }
                }
                1 if self.handed > self.head => {
                    Input::ImportFailed { height: Height(self.head + 1), reason: "damaged".into() }
                }
                _ => Input::Behind,
            },
            _ => {
                self.now_ms = self.now_ms.saturating_add(TICK_INTERVAL_MS.saturating_mul(u64::from(draw.byte())));
                Input::Tick
            }
        }
    }

    /// A tip: the honest peer's is true.
    fn status(&self, peer: PeerRef, draw: &mut Draw<'_>) -> Input {
        let height = u32::try_from(draw.below(37)).unwrap_or(0);
        let finalized =
            (1..=height).rev().find(|height| self.block(*height).is_some_and(|one| one.finalization.is_some()));
        let true_head = finalized.unwrap_or(0);
        let finalization = self.block(true_head).and_then(|block| block.finalization.clone());
        if peer == HONEST {
            return Input::Status { peer, head: Height(true_head), finalization, lowest: Height::ZERO };
        }
        let head = Height(if draw.happens() { true_head } else { u32::from(draw.byte()) });
        let finalization = if draw.happens() { finalization } else { self.forged(true_head) };
        Input::Status { peer, head, finalization, lowest: Height(u32::from(draw.byte())) }
    }

    /// A finalization by two of four.
    fn forged(&self, height: u32) -> Option<cairn_primitives::Certificate> {
        let block = &self.block(height)?.block;
        Some(finalization(block, 2..4))
    }

    fn answer(&mut self, draw: &mut Draw<'_>) -> Option<Input> {
        let place = draw.below(self.asked.len());
        if place >= self.asked.len() {
            return None;
        }
        let (peer, id, from, count) = self.asked.remove(place);
        let kind = if peer == HONEST { 0 } else { draw.below(8) };
        let last = (from.0.saturating_add(count)).min(LENGTH + 1);
        let mut blocks: Vec<_> = (from.0..last).filter_map(|height| self.block(height).cloned()).collect();
        // Up to the last that carries a finalization, or on to the first that does.
        match blocks.iter().rposition(|block| block.finalization.is_some()) {
            Some(last) => blocks.truncate(last + 1),
            None => {
                let more = (last..=LENGTH).map_while(|height| self.block(height).cloned());
                for block in more {
                    let is_closed = block.finalization.is_some();
                    blocks.push(block);
                    if is_closed {
                        break;
                    }
                }
            }
        }
        let place = draw.below(blocks.len());
        match kind {
            0 | 1 => {}
            2 => return Some(Input::Blocks { peer, id, answer: Answer::Refused }),
            3 => return Some(Input::Blocks { peer, id, answer: Answer::Failed }),
            4 => blocks.truncate(place),
            5 => {
                blocks.get_mut(place)?.block.extrinsics.push(OpaqueExtrinsic::new(vec![1]));
            }
            6 => {
                let forged = self.forged(from.0);
                blocks.last_mut()?.finalization = forged;
            }
            _ => {
                let header = &mut blocks.get_mut(place)?.block.header;
                header.number = header.number.wrapping_add(u32::from(draw.byte()));
                header.parent_hash = Hash([draw.byte(); 32]);
            }
        }
        Some(Input::Blocks { peer, id, answer: Answer::Blocks(blocks) })
    }

    fn imported(&mut self, draw: &mut Draw<'_>) -> Input {
        let ahead = self.handed.saturating_sub(self.head);
        let step = u32::try_from(draw.below(4)).unwrap_or(0).saturating_add(1).min(ahead);
        self.head = self.head.saturating_add(step);
        Input::Imported { height: Height(self.head), hash: self.hash(self.head) }
    }

    fn announce(&mut self, peer: PeerRef, draw: &mut Draw<'_>) -> Input {
        self.announced = self.announced.saturating_add(1);
        let height = u32::try_from(draw.below(36)).unwrap_or(0).saturating_add(1);
        // Honest peers pass on what proves itself.
        let is_proved = |height: &u32| self.block(*height).is_some_and(|block| block.finalization.is_some());
        let height = if peer == HONEST { (height..=LENGTH).find(is_proved).unwrap_or(LENGTH) } else { height };
        let mut block = self.block(height).or_else(|| self.block(1)).unwrap().clone();
        if peer != HONEST {
            match draw.below(4) {
                0 => block.block.extrinsics.clear(),
                1 => block.finalization = self.forged(height),
                2 => block.block.header.number = u32::from(draw.byte()),
                _ => {}
            }
        }
        Input::Announced { message: self.announced, peer, block: Arc::new(block) }
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let join: Vec<u8> = (0..4).flat_map(|peer| [peer, 0, peer, 2, 36, 0, 1]).collect();
    let fetch: Vec<u8> = (0..30).flat_map(|turn| [0, 4, 0, 0, 1, turn % 2, 5, 1, 2, 3, 0, 7, 3]).collect();
    let gossip: Vec<u8> = (0..36).flat_map(|height| [0, 9, height, 0, 7, 0]).collect();
    let wait: Vec<u8> = (0..20).flat_map(|_| [0, 11, 9, 0, 10, 2]).collect();
    vec![[join.clone(), fetch.clone()].concat(), [join.clone(), gossip, fetch].concat(), [join, wait].concat()]
}
