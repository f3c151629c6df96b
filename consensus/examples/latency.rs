//! Measures the protocol in virtual time: how long a block takes, and what it costs in bytes.
//!
//! ```text
//! cargo run --release -p cairn-consensus --example latency              # n = 4, 16, 50, 100
//! cargo run --release -p cairn-consensus --example latency -- 7 31      # other sizes
//! ```
//! So many engines of equal power; every message takes the same one-way delay d, nothing is lost, the ledger answers at
//! once, blocks are nearly empty and proposed as soon as their parent is certified. Real work (signatures, execution) takes
//! no virtual time: the table shows what the protocol itself costs. It fails if a block interval is above 2 d + 10% or a
//! proposal is final anywhere later than 3 d + 10%. Bytes are those of the encoded messages, counted for each receiver.

use cairn_consensus::{Engine, EpochConfig, Head, Input, Now, Output, Timing, Verdict, VoteGuard};
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{
    Block, ConsensusContext, Epoch, Hash, Header, Height, KeyPair, OpaqueExtrinsic, Power, TimestampMs, Validator,
    ValidatorIndex, ValidatorSet, View,
};
use parity_scale_codec::Encode;
use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

/// The one-way delay, in milliseconds.
const DELAY_MS: u64 = 100;

/// Blocks measured, after [`WARM_UP`] that are not.
const BLOCKS: usize = 20;

const WARM_UP: usize = 3;

/// How far above the ideal a measured time may lie, in percent.
const TOLERANCE_PERCENT: u64 = 10;

const GENESIS: Hash = Hash([7; 32]);

/// The wall clock at virtual time 0.
const WALL_MS: u64 = 1_000_000;

/// As the development chain has them, without a pause between blocks.
const TIMING: Timing = Timing {
    leader_timeout_ms: 1_000,
    certify_timeout_ms: 2_000,
    retry_ms: 1_000,
    skip_timeout_ms: 5_000,
    block_interval_ms: 0,
    idle_block_interval_ms: 1_000,
};

/// A block on its way to finality, in virtual milliseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    proposed_at: u64,
    first_final_at: u64,
    last_final_at: u64,
    /// Nodes where it is final.
    nodes: usize,
}

/// What was measured for one number of validators.
#[derive(Clone, Copy, Debug)]
struct Figures {
    validators: usize,
    interval_mean_ms: u64,
    interval_max_ms: u64,
    /// From proposal to the moment it is final on the first and on the last node.
    final_first_max_ms: u64,
    final_last_max_ms: u64,
    messages_per_view_and_node: u64,
    bytes_per_view_and_node: u64,
    /// Of the node that sent most, all views together.
    bytes_per_view_max: u64,
}

enum Event {
    Deliver { from: ValidatorIndex, to: usize, message: Arc<ConsensusMessage> },
    Answer { node: usize, input: Input },
    Tick { node: usize },
}

struct Network {
    set: Arc<ValidatorSet>,
    engines: Vec<Engine>,
    ticks: Vec<Option<u64>>,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    time: u64,
    places: BTreeMap<Hash, Head>,
    spans: BTreeMap<Height, Span>,
    messages: u64,
    bytes: Vec<u64>,
}

impl Network {
    fn new(validators: usize) -> Result<Self, Box<dyn Error>> {
        let mut keys = (0..u16::try_from(validators)?)
            .map(|seed| {
                let [low, high] = seed.to_le_bytes();
                let mut bytes = [1; 32];
                bytes[0] = low;
                bytes[1] = high;
                KeyPair::from_seed(&bytes)
            })
            .collect::<Vec<_>>();
        keys.sort_by_key(KeyPair::public);
        let listed = keys.iter().map(|key| Validator { key: key.public(), power: Power(1) });
        let set = Arc::new(ValidatorSet::new(listed.collect())?);
        let opening =
            Head { height: Height(0), hash: GENESIS, view: View(0), timestamp: TimestampMs(WALL_MS - DELAY_MS) };
        let engine = |key: KeyPair| {
            Engine::new(EpochConfig {
                genesis: GENESIS,
                epoch: Epoch::ZERO,
                validators: Arc::clone(&set),
                guard: Some(VoteGuard::new(key, GENESIS, [])),
                timing: TIMING,
                retention: 10,
                opening,
                closing: None,
                committed: opening,
                finalization: None,
            })
        };
        let engines = keys.into_iter().map(engine).collect::<Result<Vec<_>, _>>()?;
        let places = BTreeMap::from([(opening.hash, opening)]);
        Ok(Self {
            ticks: vec![None; validators],
            bytes: vec![0; validators],
            set,
            engines,
            events: BTreeMap::new(),
            sequence: 0,
            time: 0,
            places,
            spans: BTreeMap::new(),
            messages: 0,
        })
    }

    fn start(&mut self) {
        for node in 0..self.engines.len() {
            for validator in Arc::clone(&self.set).indices().filter(|index| index.position() != node) {
                self.step(node, Input::Peer { validator, connected: true });
            }
            self.step(node, Input::WorkAvailable(true));
        }
        for node in 0..self.engines.len() {
            self.step(node, Input::Start);
        }
    }

    /// Runs until so many blocks are final everywhere; `false` if time runs out.
    fn run_until_final(&mut self, height: Height) -> bool {
        let all = self.engines.len();
        while self.spans.get(&height).is_none_or(|span| span.nodes < all) {
            let Some(((time, _), event)) = self.events.pop_first().filter(|((time, _), _)| *time < 1_000 * DELAY_MS)
            else {
                return false;
            };
            self.time = time;
            match event {
                Event::Deliver { from, to, message } => {
                    self.step(to, Input::Message { from, message: (*message).clone() });
                }
                Event::Answer { node, input } => self.step(node, input),
                Event::Tick { node } => {
                    if self.ticks[node] == Some(time) {
                        self.ticks[node] = None;
                        self.step(node, Input::Tick);
                    }
                }
            }
        }
        true
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }

    fn step(&mut self, node: usize, input: Input) {
        let now = Now { monotonic_ms: self.time, wall: TimestampMs(WALL_MS + self.time) };
        let mut outputs = Vec::new();
        self.engines[node].step(now, input, &mut outputs);
        let deadline = self.engines[node].next_deadline();
        if let Some(at) = deadline.filter(|at| self.ticks[node] != Some(*at)) {
            self.ticks[node] = Some(at);
            self.schedule(at, Event::Tick { node });
        }
        for output in outputs {
            self.carry_out(node, output);
        }
    }

    fn carry_out(&mut self, node: usize, output: Output) {
        let answer = match output {
            Output::Broadcast(message) => return self.broadcast(node, message),
            Output::Send { to, message } => return self.send(node, to.position(), &Arc::new(message)),
            Output::Propose { view, proposer, parent, timestamp, .. } => {
                let block = self.build(view, proposer, parent, timestamp);
                Input::Proposed { view, block: block.map(Arc::new) }
            }
            Output::Verify { block, .. } => Input::Verified { block: block.header.hash(), verdict: Verdict::Valid },
            Output::Certify { hash, .. } => Input::Certified { block: hash, holds: true },
            Output::Finalize { blocks, .. } => return self.note_final(&blocks),
            // A network without faults needs no help from ledger or block sync, and a measurement no journal.
            Output::Journal(_)
            | Output::ServeBlock { .. }
            | Output::Behind { .. }
            | Output::Blame { .. }
            | Output::Evidence(_)
            | Output::VoteRefused { .. }
            | Output::RecordLost { .. }
            | Output::Diverged { .. } => return,
        };
        self.schedule(self.time, Event::Answer { node, input: answer });
    }

    fn broadcast(&mut self, from: usize, message: ConsensusMessage) {
        let message = Arc::new(message);
        for to in (0..self.engines.len()).filter(|to| *to != from) {
            self.send(from, to, &message);
        }
    }

    fn send(&mut self, from: usize, to: usize, message: &Arc<ConsensusMessage>) {
        self.messages += 1;
        self.bytes[from] += message.encoded_size() as u64;
        if let Some(from) = self.set.indices().nth(from) {
            self.schedule(self.time + DELAY_MS, Event::Deliver { from, to, message: Arc::clone(message) });
        }
    }

    fn build(&mut self, view: View, proposer: ValidatorIndex, parent: Hash, timestamp: TimestampMs) -> Option<Block> {
        let parent = *self.places.get(&parent)?;
        let context = ConsensusContext {
            protocol_version: 1,
            epoch: Epoch::ZERO,
            view,
            proposer,
            timestamp,
            events_root: Hash::ZERO,
            history_root: Hash::ZERO,
            validators_hash: self.set.hash(),
            next_validators_hash: self.set.hash(),
        };
        let header = Header::new(parent.hash, parent.height.next(), Hash::ZERO, Hash::ZERO, &context);
        let mut block = Block { header, extrinsics: vec![OpaqueExtrinsic::new(view.0.to_le_bytes().to_vec())].into() };
        block.header.extrinsics_root = block.extrinsics_root();
        let (hash, height) = (block.header.hash(), parent.height.next());
        self.places.insert(hash, Head { height, hash, view, timestamp });
        self.spans.insert(height, Span { proposed_at: self.time, ..Span::default() });
        Some(block)
    }

    fn note_final(&mut self, blocks: &[Hash]) {
        let places: Vec<_> = blocks.iter().filter_map(|hash| self.places.get(hash)).collect();
        for place in places {
            if let Some(span) = self.spans.get_mut(&place.height) {
                if span.nodes == 0 {
                    span.first_final_at = self.time;
                }
                span.nodes += 1;
                span.last_final_at = self.time;
            }
        }
    }
}

fn height(blocks: usize) -> Result<Height, Box<dyn Error>> {
    Ok(Height(u32::try_from(blocks)?))
}

fn measure(validators: usize) -> Result<Figures, Box<dyn Error>> {
    let mut network = Network::new(validators)?;
    network.start();
    let is_warm = network.run_until_final(height(WARM_UP)?);
    let (messages, bytes) = (network.messages, network.bytes.clone());
    let is_done = is_warm && network.run_until_final(height(WARM_UP + BLOCKS)?);
    if !is_done {
        return Err(format!("{validators} validators made too few blocks by {} ms", network.time).into());
    }
    let spans: Vec<_> = network.spans.values().skip(WARM_UP).take(BLOCKS).copied().collect();
    let intervals: Vec<_> = spans.windows(2).map(|pair| pair[1].proposed_at - pair[0].proposed_at).collect();
    let sent: Vec<_> = network.bytes.iter().zip(&bytes).map(|(after, before)| after - before).collect();
    let (blocks, nodes) = (BLOCKS as u64, validators as u64);
    let max = |times: &mut dyn Iterator<Item = u64>| times.max().unwrap_or(0);
    Ok(Figures {
        validators,
        interval_mean_ms: intervals.iter().sum::<u64>() / (intervals.len() as u64).max(1),
        interval_max_ms: max(&mut intervals.iter().copied()),
        final_first_max_ms: max(&mut spans.iter().map(|span| span.first_final_at - span.proposed_at)),
        final_last_max_ms: max(&mut spans.iter().map(|span| span.last_final_at - span.proposed_at)),
        messages_per_view_and_node: (network.messages - messages) / blocks / nodes,
        bytes_per_view_and_node: sent.iter().sum::<u64>() / blocks / nodes,
        bytes_per_view_max: max(&mut sent.iter().map(|sent| sent / blocks)),
    })
}

impl Figures {
    fn is_within_bounds(&self) -> bool {
        let bound = |delays: u64| delays * DELAY_MS * (100 + TOLERANCE_PERCENT) / 100;
        self.interval_max_ms <= bound(2) && self.final_last_max_ms <= bound(3)
    }

    fn row(&self) -> String {
        let delays = |ms: u64| format!("{}.{:02}", ms / DELAY_MS, ms % DELAY_MS * 100 / DELAY_MS);
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            self.validators,
            delays(self.interval_mean_ms),
            delays(self.interval_max_ms),
            delays(self.final_first_max_ms),
            delays(self.final_last_max_ms),
            self.messages_per_view_and_node,
            self.bytes_per_view_and_node,
            self.bytes_per_view_max,
        )
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let asked = std::env::args().skip(1).map(|size| size.parse()).collect::<Result<Vec<usize>, _>>()?;
    let sizes = if asked.is_empty() { vec![4, 16, 50, 100] } else { asked };
    println!("Times in one-way delays of {DELAY_MS} ms; {BLOCKS} blocks each; no faults.\n");
    println!(
        "| validators | interval, mean | interval, max | final on the first node, max | on the last node, max | messages per view and node | bytes per view and node | bytes per view, busiest node |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut code = ExitCode::SUCCESS;
    for size in sizes {
        let figures = measure(size)?;
        println!("{}", figures.row());
        if !figures.is_within_bounds() {
            eprintln!("{size} validators: above 2 d or 3 d by more than {TOLERANCE_PERCENT}%");
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_without_faults_keeps_the_bounds_on_time_and_bytes() {
        for validators in [4, 16] {
            let figures = measure(validators).unwrap();
            assert!(figures.is_within_bounds(), "{figures:?}");
            let others = validators as u64 - 1;
            // To each other node: a notarize vote (or the proposal), and a finalize vote.
            assert_eq!(figures.messages_per_view_and_node, 2 * others, "{figures:?}");
            assert!(figures.bytes_per_view_and_node <= 350 * others, "{figures:?}");
        }
    }
}
