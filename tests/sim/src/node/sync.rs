//! Block sync and its answering side.
//!
//! Mirrors `node/src/drivers/sync.rs` and the serving part of the router.

use super::{Clock, Command, Effect, Fact};
use crate::plan::Machine;
use cairn_ledger::{CommittedBlock, OpenedEpoch, ReadError, Reader};
use cairn_primitives::message::{SyncRequest, SyncResponse};
use cairn_primitives::{Certificate, FinalizedBlock, Hash, Height};
use cairn_sync::{
    Answer, BlockSource, Failure, Input, Output, PeerRef, RequestId, Severity, Sync, SyncConfig, ValidatorSets, Verdict,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What became of blocks that were handed to the ledger.
pub(crate) enum Outcome {
    Done { height: Height, hash: Hash },
    Failed { height: Height, reason: String },
}

/// A question under way.
#[derive(Clone, Copy)]
enum Asked {
    Status(PeerRef),
    Blocks(PeerRef, RequestId),
}

/// Block sync of a node.
pub(crate) struct SyncPart {
    machine: Sync,
    config: SyncConfig,
    peers: BTreeMap<PeerRef, Machine>,
    refs: BTreeMap<Machine, PeerRef>,
    next_ref: u64,
    asked: BTreeMap<u64, Asked>,
    next_token: u64,
    announced: BTreeMap<u64, u64>,
    next_announcement: u64,
}

impl SyncPart {
    pub(super) fn new(reader: &Reader) -> Self {
        let head = reader.head();
        let epoch = reader.current_epoch();
        let sets = ValidatorSets::new(reader.schedule(), epoch.epoch, epoch.validators);
        let config = SyncConfig::default();
        Self {
            machine: Sync::new(config, reader.genesis_hash(), sets, head.height, head.hash),
            config,
            peers: BTreeMap::new(),
            refs: BTreeMap::new(),
            next_ref: 0,
            asked: BTreeMap::new(),
            next_token: 0,
            announced: BTreeMap::new(),
            next_announcement: 0,
        }
    }

    pub(super) fn link(&mut self, clock: Clock, peer: Machine, is_up: bool, effects: &mut Vec<Effect>) {
        if is_up {
            let reference = PeerRef(self.next_ref);
            self.next_ref += 1;
            self.peers.insert(reference, peer);
            self.refs.insert(peer, reference);
            self.step(clock, Input::PeerConnected(reference), effects);
        } else if let Some(reference) = self.refs.remove(&peer) {
            self.peers.remove(&reference);
            self.asked.retain(|_, asked| match asked {
                Asked::Status(peer) | Asked::Blocks(peer, _) => *peer != reference,
            });
            self.step(clock, Input::PeerGone(reference), effects);
        }
    }

    pub(super) fn behind(&mut self, clock: Clock, effects: &mut Vec<Effect>) {
        self.step(clock, Input::Behind, effects);
    }

    pub(super) fn tick(&mut self, clock: Clock, effects: &mut Vec<Effect>) {
        self.step(clock, Input::Tick, effects);
    }

    pub(super) fn local_head(&mut self, clock: Clock, block: &CommittedBlock, effects: &mut Vec<Effect>) {
        self.step(clock, Input::LocalHead { height: block.height, hash: block.hash }, effects);
    }

    /// Requests of different lives have different tokens, as streams of different connections.
    pub(super) const fn begin_life(&mut self, life: u64) {
        self.next_token = life << 32;
    }

    /// The validators of a new epoch.
    pub(super) fn validators(&mut self, clock: Clock, opened: &OpenedEpoch, effects: &mut Vec<Effect>) {
        self.step(clock, Input::Validators { epoch: opened.epoch, set: opened.validators.clone() }, effects);
    }

    pub(super) fn imported(&mut self, clock: Clock, outcome: Outcome, effects: &mut Vec<Effect>) {
        let input = match outcome {
            Outcome::Done { height, hash } => Input::Imported { height, hash },
            Outcome::Failed { height, reason } => Input::ImportFailed { height, reason },
        };
        self.step(clock, input, effects);
    }

    pub(super) fn announced(
        &mut self,
        clock: Clock,
        from: Machine,
        id: u64,
        block: &Arc<FinalizedBlock>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(peer) = self.refs.get(&from).copied() else { return };
        let message = self.next_announcement;
        self.next_announcement += 1;
        self.announced.insert(message, id);
        self.step(clock, Input::Announced { message, peer, block: block.clone() }, effects);
    }

    pub(super) fn response(&mut self, clock: Clock, token: u64, response: SyncResponse, effects: &mut Vec<Effect>) {
        let Some(asked) = self.asked.remove(&token) else { return };
        let input = match (asked, response) {
            (Asked::Status(peer), SyncResponse::Status { head, finalization, lowest }) => {
                Input::Status { peer, head, finalization, lowest }
            }
            (Asked::Status(peer), _) => Input::StatusFailed(peer),
            (Asked::Blocks(peer, id), SyncResponse::Blocks(blocks)) => {
                Input::Blocks { peer, id, answer: Answer::Blocks(blocks) }
            }
            (Asked::Blocks(peer, id), SyncResponse::Refused) => Input::Blocks { peer, id, answer: Answer::Refused },
            (Asked::Blocks(peer, id), SyncResponse::Status { .. } | SyncResponse::Archive(_)) => {
                Input::Blocks { peer, id, answer: Answer::Failed }
            }
        };
        self.step(clock, input, effects);
    }

    /// Where the machine stands, in words.
    pub(crate) fn standing(&self) -> String {
        format!("{:?}", self.machine.progress())
    }

    /// The first bound that is exceeded, if any is.
    pub(crate) fn exceeded(&self) -> Option<String> {
        let progress = self.machine.progress();
        let is_within =
            progress.requests <= self.config.requests_max && progress.buffered_bytes <= self.config.bytes_max;
        (!is_within).then(|| format!("block sync: {progress:?}"))
    }

    fn ask(&mut self, peer: PeerRef, asked: Asked, request: SyncRequest, effects: &mut Vec<Effect>) {
        let Some(to) = self.peers.get(&peer).copied() else { return };
        let token = self.next_token;
        self.next_token += 1;
        self.asked.insert(token, asked);
        effects.push(Effect::SyncRequest { to, token, request });
    }

    fn step(&mut self, clock: Clock, input: Input, effects: &mut Vec<Effect>) {
        let mut outputs = Vec::new();
        self.machine.step(clock.monotonic_ms, input, &mut outputs);
        for output in outputs {
            match output {
                Output::RequestStatus(peer) => self.ask(peer, Asked::Status(peer), SyncRequest::Status, effects),
                Output::RequestBlocks { peer, id, from, count } => {
                    self.ask(peer, Asked::Blocks(peer, id), SyncRequest::Blocks { from, count }, effects);
                }
                Output::Import(blocks) => effects.push(Effect::Ledger(Command::Import(blocks))),
                Output::Report { peer, offence } => {
                    if offence.severity() == Severity::Malicious
                        && let Some(peer) = self.peers.get(&peer)
                    {
                        let offence = offence.to_string();
                        effects.push(Effect::Fact(Fact::Reported { peer: *peer, offence }));
                    }
                }
                Output::Judged { message, verdict } => {
                    if let Some(id) = self.announced.remove(&message)
                        && verdict == Verdict::Accept
                    {
                        effects.push(Effect::Forward(id));
                    }
                }
                Output::StateChanged { .. } => {}
            }
        }
        if let Some(failure @ Failure::Conflict { .. }) = self.machine.failure() {
            effects.push(Effect::Fact(Fact::SyncConflict(failure.to_string())));
        }
    }
}

/// The read model as block sync serves it.
struct Served<'a>(&'a Reader);

impl BlockSource for Served<'_> {
    type Error = ReadError;

    fn head(&self) -> Height {
        self.0.head().height
    }

    fn finalized_block(&self, height: Height) -> Result<Option<FinalizedBlock>, ReadError> {
        self.0.block_at(height)
    }

    fn finalization(&self, height: Height) -> Result<Option<Certificate>, ReadError> {
        self.0.finalization(height)
    }

    fn lowest(&self) -> Result<Height, ReadError> {
        self.0.lowest_block()
    }

    fn events(&self, height: Height) -> Result<Option<Vec<u8>>, ReadError> {
        self.0.events_at(height)
    }
}

/// Answers another node's question.
pub(super) fn serve(reader: &Reader, request: &SyncRequest) -> Result<SyncResponse, ReadError> {
    cairn_sync::serve(&Served(reader), request)
}
