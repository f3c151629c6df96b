//! The machine: claims in, requests and imports out.

mod claims;

use crate::buffer::Buffer;
use crate::config::SyncConfig;
use crate::message::{Answer, Input, Offence, Output, PeerRef, RequestId, State, Verdict};
use crate::peers::{Claim, FAILURES_MAX, PEERS_MAX, Peer, Request, choose, first_gap};
use crate::validators::ValidatorSets;
use crate::verify::{VerifyError, verify_range};
use cairn_primitives::message::{SYNC_BLOCKS_BYTES_MAX, SYNC_BLOCKS_MAX};
use cairn_primitives::{FinalizedBlock, Hash, Height};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Announced blocks so far below the head are still passed on, once: others may wait for them.
const ANNOUNCED_BEHIND_MAX: u32 = 64;

/// The most announced heights remembered.
const ANNOUNCED_MAX: usize = 1_024;

/// The least time between two questions for one peer's tip, in milliseconds, however often consensus is behind.
const STATUS_INTERVAL_MS_MIN: u64 = 1_000;

/// Why the machine stands still.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A final block could not be executed or stored.
    #[error("final block {height} could not be imported: {reason}")]
    Import {
        /// Its height.
        height: Height,
        /// Why.
        reason: String,
    },
    /// A final block does not continue the local chain: a quorum finalized two chains, or the local one is damaged.
    #[error("final block {height} follows on {theirs}, the local block below it is {ours}")]
    Conflict {
        /// Its height.
        height: Height,
        /// The local block below it.
        ours: Hash,
        /// The parent it names.
        theirs: Hash,
    },
}

/// Where the machine stands, for logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The state.
    pub state: State,
    /// The last committed block.
    pub head: Height,
    /// The highest tip claimed; the head if nobody is ahead.
    pub target: Height,
    /// Peers known.
    pub peers: usize,
    /// Requests for blocks in flight.
    pub requests: usize,
    /// Bytes of verified blocks that wait for those before them.
    pub buffered_bytes: usize,
}

/// The block-sync machine; see the crate's documentation.
#[derive(Clone, Debug)]
pub struct Sync {
    config: SyncConfig,
    genesis: Hash,
    validators: ValidatorSets,
    state: State,
    failure: Option<Failure>,
    head: Tip,
    /// The last block handed out; the head if nothing is being imported.
    handed: Tip,
    /// Last height and bytes of each range handed out and not yet imported.
    importing: VecDeque<(Height, usize)>,
    buffer: Buffer,
    peers: BTreeMap<PeerRef, Peer>,
    requests: BTreeMap<RequestId, Request>,
    requests_made: u64,
    /// Heights of which an announcement was accepted.
    announced: BTreeSet<Height>,
    behind_since_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tip {
    height: Height,
    hash: Hash,
}

impl Sync {
    /// A machine for the chain of `genesis` that goes on from the committed block `head`.
    #[must_use]
    pub fn new(config: SyncConfig, genesis: Hash, validators: ValidatorSets, head: Height, head_hash: Hash) -> Self {
        let head = Tip { height: head, hash: head_hash };
        Self {
            config,
            genesis,
            validators,
            state: State::Idle,
            failure: None,
            head,
            handed: head,
            importing: VecDeque::new(),
            buffer: Buffer::default(),
            peers: BTreeMap::new(),
            requests: BTreeMap::new(),
            requests_made: 0,
            announced: BTreeSet::new(),
            behind_since_ms: None,
        }
    }

    /// Takes one input; what follows from it is appended to `outputs`.
    pub fn step(&mut self, now_ms: u64, input: Input, outputs: &mut Vec<Output>) {
        match input {
            Input::PeerConnected(peer) => {
                if self.peers.len() < PEERS_MAX && !self.peers.contains_key(&peer) {
                    self.peers.insert(peer, Peer::default());
                    self.request_status(peer, now_ms, outputs);
                }
            }
            Input::PeerGone(peer) => {
                self.peers.remove(&peer);
                self.requests.retain(|_, request| request.peer != peer);
            }
            Input::Status { peer, head, finalization, lowest } => {
                self.handle_status(now_ms, peer, (lowest, head), finalization.as_ref(), outputs);
            }
            Input::StatusFailed(peer) => {
                if let Some(peer) = self.peers.get_mut(&peer)
                    && peer.status_deadline_ms.take().is_some()
                {
                    peer.fail(now_ms, &self.config);
                }
            }
            Input::Blocks { peer, id, answer } => self.handle_blocks(now_ms, peer, id, answer, outputs),
            Input::Imported { height, hash } | Input::LocalHead { height, hash } => {
                self.handle_head(Tip { height, hash });
            }
            Input::ImportFailed { height, reason } => self.fail(Failure::Import { height, reason }),
            Input::Announced { message, peer, block } => {
                let verdict = self.handle_announced(now_ms, peer, block, outputs);
                outputs.push(Output::Judged { message, verdict });
            }
            Input::Behind => self.poll(now_ms, STATUS_INTERVAL_MS_MIN, outputs),
            Input::Validators { epoch, set } => {
                self.validators.insert(epoch, set);
                self.ask_unproved(now_ms, outputs);
            }
            Input::Tick => {
                self.expire(now_ms, outputs);
                self.poll(now_ms, self.config.status_interval_ms, outputs);
            }
        }
        self.hand_out(outputs);
        self.update_state(now_ms, outputs);
        self.request_blocks(now_ms, outputs);
    }

    /// Where the machine stands.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            state: self.state,
            head: self.head.height,
            target: self.target().unwrap_or(self.head.height).max(self.head.height),
            peers: self.peers.len(),
            requests: self.requests.len(),
            buffered_bytes: self.buffer.bytes(),
        }
    }

    /// Why the machine stands still, in [`State::Failed`].
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    fn handle_blocks(&mut self, now_ms: u64, name: PeerRef, id: RequestId, answer: Answer, outputs: &mut Vec<Output>) {
        // An answer after its time-out, or to a question never asked, is not looked at.
        if self.requests.get(&id).is_none_or(|request| request.peer != name) {
            return;
        }
        let Some(request) = self.requests.remove(&id) else { return };
        let Some(peer) = self.peers.get_mut(&name) else { return };
        peer.in_flight = peer.in_flight.saturating_sub(1);
        let blocks = match answer {
            Answer::Blocks(blocks) => blocks,
            Answer::Refused => {
                // Nobody can check such a tip: having nothing is all that shows.
                let is_unproved = peer.claim.is_some_and(|claim| claim.unproved.is_some());
                peer.fail(now_ms, &self.config);
                if peer.failures == FAILURES_MAX || is_unproved && peer.failures > FAILURES_MAX {
                    outputs.push(Output::Report { peer: name, offence: Offence::Useless });
                }
                return;
            }
            Answer::Failed => return peer.fail(now_ms, &self.config),
        };
        match verify_range(blocks, request.from, request.count, &self.genesis, &self.validators) {
            Ok(range) => {
                peer.failures = 0;
                self.check_claims(now_ms, &range, outputs);
                if self.failure.is_none() {
                    self.buffer.insert(range);
                }
            }
            // It was known when the question was asked: by now the blocks are long past.
            Err(VerifyError::UnknownEpoch(_)) => {}
            Err(error) => {
                peer.punish(now_ms, &self.config);
                outputs.push(Output::Report { peer: name, offence: Offence::InvalidBlocks(error) });
            }
        }
    }

    fn handle_announced(
        &mut self,
        now_ms: u64,
        name: PeerRef,
        block: Arc<FinalizedBlock>,
        outputs: &mut Vec<Output>,
    ) -> Verdict {
        let height = block.block.header.height();
        let is_old = height.0.saturating_add(ANNOUNCED_BEHIND_MAX) <= self.head.height.0 || height == Height::ZERO;
        if is_old || self.announced.contains(&height) {
            return Verdict::Ignore;
        }
        let blocks = vec![Arc::unwrap_or_clone(block)];
        let range = match verify_range(blocks, height, 1, &self.genesis, &self.validators) {
            Ok(range) => range,
            Err(VerifyError::UnknownEpoch(epoch)) => {
                self.note_unproved(name, height, epoch);
                return Verdict::Ignore;
            }
            Err(error) => {
                if let Some(peer) = self.peers.get_mut(&name) {
                    peer.punish(now_ms, &self.config);
                }
                outputs.push(Output::Report { peer: name, offence: Offence::InvalidAnnouncement(error) });
                return Verdict::Reject;
            }
        };
        self.announced.insert(height);
        if self.announced.len() > ANNOUNCED_MAX {
            self.announced.pop_first();
        }
        let hash = range.last_hash();
        if let Some(peer) = self.peers.get_mut(&name)
            && peer.claim.is_none_or(|claim| claim.height < height)
            && peer.failures < FAILURES_MAX
        {
            peer.claim = Some(Claim { height, hash: Some(hash), unproved: None });
            peer.is_settled = true;
        }
        self.check_claims(now_ms, &range, outputs);
        if height == self.head.height && hash != self.head.hash {
            self.fail(Failure::Conflict { height: height.next(), ours: self.head.hash, theirs: hash });
        }
        // The next block is always taken; those further on only while there is room for the ranges still missing.
        let is_near = height.0.saturating_sub(self.handed.height.0) <= self.config.window_blocks;
        let has_room = self.buffer.bytes().saturating_add(range.bytes()) <= self.config.bytes_max / 2;
        if height > self.handed.height
            && self.failure.is_none()
            && is_near
            && (has_room || height == self.handed.height.next())
        {
            self.buffer.insert(range);
        }
        Verdict::Accept
    }

    fn handle_head(&mut self, head: Tip) {
        if head.height < self.head.height {
            return;
        }
        self.head = head;
        while self.importing.front().is_some_and(|(last, _)| *last <= head.height) {
            self.importing.pop_front();
        }
        if head.height >= self.handed.height {
            self.handed = head;
        }
        if let Some(Failure::Import { height, .. } | Failure::Conflict { height, .. }) = &self.failure
            && head.height >= *height
        {
            self.failure = None;
        }
        let oldest = Height(head.height.0.saturating_sub(ANNOUNCED_BEHIND_MAX));
        self.announced = self.announced.split_off(&oldest);
    }

    fn fail(&mut self, failure: Failure) {
        self.failure = Some(failure);
        self.handed = self.head;
        self.importing.clear();
        self.buffer.clear();
    }

    /// Hands out what continues the chain, while not too much is being imported.
    fn hand_out(&mut self, outputs: &mut Vec<Output>) {
        while self.failure.is_none()
            && self.handed.height.0.saturating_sub(self.head.height.0) < self.config.importing_max
        {
            let Some(range) = self.buffer.take(self.handed.height.next()) else { return };
            let parent = range.blocks().first().map(|first| first.block.header.parent_hash);
            if parent != Some(self.handed.hash) {
                let theirs = parent.unwrap_or(Hash::ZERO);
                return self.fail(Failure::Conflict { height: range.first(), ours: self.handed.hash, theirs });
            }
            self.handed = Tip { height: range.last(), hash: range.last_hash() };
            self.importing.push_back((range.last(), range.bytes()));
            outputs.push(Output::Import(range.into_blocks()));
        }
    }

    /// The highest tip claimed by a peer.
    fn target(&self) -> Option<Height> {
        self.peers.values().filter_map(|peer| Some(peer.claim?.height)).max()
    }

    fn update_state(&mut self, now_ms: u64, outputs: &mut Vec<Output>) {
        let target = self.target();
        let missing = target.map_or(0, |target| target.0.saturating_sub(self.handed.height.0));
        self.behind_since_ms = (missing > 0).then(|| self.behind_since_ms.unwrap_or(now_ms));
        let waited_ms = self.behind_since_ms.map_or(0, |since| now_ms.saturating_sub(since));
        let is_behind = missing > self.config.behind_blocks_max
            || missing > 0 && (self.state != State::CaughtUp || waited_ms >= self.config.behind_grace_ms);
        let is_importing = self.state == State::Blocks && self.head != self.handed;
        let was_at_work = matches!(self.state, State::Blocks | State::CaughtUp);
        let to = match target {
            _ if self.failure.is_some() => State::Failed,
            _ if self.peers.is_empty() => State::Idle,
            Some(_) if is_behind || is_importing => State::Blocks,
            Some(_) if was_at_work || self.peers.values().all(|peer| peer.is_settled) => State::CaughtUp,
            _ => State::Discovering,
        };
        if to != self.state {
            outputs.push(Output::StateChanged { from: self.state, to });
            self.state = to;
        }
    }

    /// Asks for what is missing, lowest first.
    fn request_blocks(&mut self, now_ms: u64, outputs: &mut Vec<Output>) {
        let Some(target) = self.target().filter(|_| self.state == State::Blocks) else { return };
        let target = target.min(Height(self.handed.height.0.saturating_add(self.config.window_blocks)));
        let target = target.min(self.validators.reach());
        while self.requests.len() < self.config.requests_max {
            let gap = first_gap(self.handed.height, target, self.buffer.heights(), &self.requests);
            let Some((from, last)) = gap else { return };
            let Some(end) = self.validators.end_of(from) else { return };
            let is_next = from == self.handed.height.next();
            if !is_next && self.bytes_with_another_request() > self.config.bytes_max {
                return;
            }
            let Some((name, claimed)) = choose(&self.peers, from, now_ms, &self.config) else { return };
            let available = last.min(claimed).min(end).0.saturating_sub(from.0).saturating_add(1);
            let count = available.min(self.config.request_blocks).clamp(1, SYNC_BLOCKS_MAX);
            let deadline_ms = now_ms.saturating_add(self.config.request_timeout_ms);
            self.requests_made = self.requests_made.saturating_add(1);
            let id = RequestId(self.requests_made);
            self.requests.insert(id, Request { peer: name, from, count, deadline_ms });
            if let Some(peer) = self.peers.get_mut(&name) {
                peer.in_flight = peer.in_flight.saturating_add(1);
            }
            outputs.push(Output::RequestBlocks { peer: name, id, from, count });
        }
    }

    fn bytes_with_another_request(&self) -> usize {
        let importing = self.importing.iter().fold(0usize, |sum, (_, bytes)| sum.saturating_add(*bytes));
        let awaited = self.requests.len().saturating_add(1).saturating_mul(SYNC_BLOCKS_BYTES_MAX);
        self.buffer.bytes().saturating_add(importing).saturating_add(awaited)
    }

    fn request_status(&mut self, name: PeerRef, now_ms: u64, outputs: &mut Vec<Output>) {
        if let Some(peer) = self.peers.get_mut(&name) {
            peer.status_asked_ms = Some(now_ms);
            peer.status_deadline_ms = Some(now_ms.saturating_add(self.config.request_timeout_ms));
            outputs.push(Output::RequestStatus(name));
        }
    }

    /// Asks all peers for their tips that were not asked for `interval_ms`.
    fn poll(&mut self, now_ms: u64, interval_ms: u64, outputs: &mut Vec<Output>) {
        let due = self.peers.iter().filter(|(_, peer)| {
            let asked_lately = peer.status_asked_ms.is_some_and(|asked| now_ms.saturating_sub(asked) < interval_ms);
            peer.status_deadline_ms.is_none() && peer.resume_ms <= now_ms && !asked_lately
        });
        for name in due.map(|(name, _)| *name).collect::<Vec<_>>() {
            self.request_status(name, now_ms, outputs);
        }
    }

    /// Gives up on what was not answered in time.
    fn expire(&mut self, now_ms: u64, outputs: &mut Vec<Output>) {
        let mut stalled = BTreeSet::new();
        let peers = &mut self.peers;
        self.requests.retain(|_, request| {
            let is_late = request.deadline_ms <= now_ms;
            if is_late && let Some(peer) = peers.get_mut(&request.peer) {
                peer.in_flight = peer.in_flight.saturating_sub(1);
                stalled.insert(request.peer);
            }
            !is_late
        });
        for (name, peer) in peers.iter_mut() {
            if peer.status_deadline_ms.is_some_and(|deadline| deadline <= now_ms) {
                peer.status_deadline_ms = None;
                stalled.insert(*name);
            }
        }
        for name in stalled {
            if let Some(peer) = peers.get_mut(&name) {
                peer.fail(now_ms, &self.config);
                outputs.push(Output::Report { peer: name, offence: Offence::Stalled });
            }
        }
    }
}
