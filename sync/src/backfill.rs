//! How an archive that began with a snapshot gets the blocks below it, while it follows the tip.
//!
//! ```text
//!   genesis ◄──── wanted, asked for in falling order ──── │ lowest block here ───── everything ───── head
//!                                  ranges, verified ─────►│ hash = its parent hash ─► Store
//! ```
//! The chain is known by its hashes: the lowest block here names its parent, and so on down to genesis. A range of blocks is
//! verified by itself first, bodies, events and finalizations against its headers, and handed out once the block above it is
//! stored and names its highest block as its parent; a range of another chain is its sender's fault. So what is stored has no
//! gap, and a restart goes on below the lowest stored block.
//!
//! It gives way to everything else: nothing is asked for while the node catches up with the tip, and requests keep a
//! distance in time.

mod peers;
mod range;

use crate::message::{PeerRef, RequestId};
use cairn_primitives::message::{SYNC_BLOCKS_MAX, SYNC_RESPONSE_BYTES_MAX};
use cairn_primitives::{Hash, Height};
use peers::{Peer, choose, is_offered};
pub use range::{ArchiveError, ArchiveRules, ArchivedRange};
use std::collections::{BTreeMap, BTreeSet};

/// The most peers that are asked; more add nothing.
const PEERS_MAX: usize = 256;

/// The bounds and times of the filling of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackfillConfig {
    /// Blocks asked for at once.
    pub request_blocks: u32,
    /// Requests in flight in total; each may bring [`SYNC_RESPONSE_BYTES_MAX`].
    pub requests_max: usize,
    /// Requests in flight to one peer.
    pub requests_per_peer_max: usize,
    /// The least time between two requests, in milliseconds: the rate limit.
    pub request_interval_ms: u64,
    /// How far below the lowest block here blocks are fetched.
    pub window_blocks: u32,
    /// Bytes of blocks held or awaited; the next range needed may exceed it by one answer.
    pub bytes_max: usize,
    /// After this a request counts as stalled, in milliseconds.
    pub request_timeout_ms: u64,
    /// How long a peer is left out after its first failure, in milliseconds; doubled by each further one in a row.
    pub backoff_ms: u64,
    /// The longest time a peer is left out, in milliseconds.
    pub backoff_ms_max: u64,
}

impl Default for BackfillConfig {
    fn default() -> Self {
        Self {
            request_blocks: 128,
            requests_max: 3,
            requests_per_peer_max: 2,
            request_interval_ms: 200,
            window_blocks: 1_024,
            bytes_max: SYNC_RESPONSE_BYTES_MAX.saturating_mul(3),
            request_timeout_ms: 10_000,
            backoff_ms: 1_000,
            backoff_ms_max: 600_000,
        }
    }
}

/// An input of [`Backfill::step`].
#[derive(Clone, Debug)]
pub enum BackfillInput {
    /// A connected peer said which blocks it has.
    Peer {
        /// Who.
        peer: PeerRef,
        /// The lowest height from which on it has all blocks.
        lowest: Height,
        /// The highest.
        head: Height,
    },
    /// A peer is gone; its requests need no answer.
    PeerGone(PeerRef),
    /// The node follows the tip, or does not and needs its peers for that. At first it does not.
    AtTip(bool),
    /// The answer to [`BackfillOutput::Request`].
    Range {
        /// Who answered.
        peer: PeerRef,
        /// Which request.
        id: RequestId,
        /// What came.
        answer: ArchiveAnswer,
    },
    /// The range of the last [`BackfillOutput::Store`] is stored.
    Stored,
    /// Time went by; wanted every [`crate::TICK_INTERVAL_MS`].
    Tick,
}

/// What came of a request for archived blocks.
#[derive(Clone, Debug)]
pub enum ArchiveAnswer {
    /// Blocks that hold.
    Range(ArchivedRange),
    /// Blocks that do not.
    Invalid(ArchiveError),
    /// The peer said no.
    Refused,
    /// The request or its answer was lost or malformed; the network layer has judged the peer for it.
    Failed,
}

/// An output of [`Backfill::step`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackfillOutput {
    /// Ask a peer for archived blocks, and verify what comes with [`ArchivedRange::verify`].
    Request {
        /// Whom.
        peer: PeerRef,
        /// To be named in the answer.
        id: RequestId,
        /// The highest height.
        last: Height,
        /// How many at most.
        count: u32,
    },
    /// Store these blocks, which end right below the lowest one here. One at a time: [`BackfillInput::Stored`] is awaited.
    Store(ArchivedRange),
    /// A peer misbehaved.
    Report {
        /// Who.
        peer: PeerRef,
        /// What it did.
        offence: BackfillOffence,
    },
    /// All blocks from genesis on are here. Nothing follows.
    Complete,
}

/// What a peer did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackfillOffence {
    /// Blocks it sent do not hold.
    #[error("sent archived blocks that do not hold: {0}")]
    Invalid(ArchiveError),
    /// It did not answer in time.
    #[error("did not answer in time")]
    Stalled,
    /// It says it has blocks, but refuses them again and again.
    #[error("keeps refusing archived blocks it says it has")]
    Useless,
}

impl BackfillOffence {
    /// How bad it is.
    #[must_use]
    pub const fn severity(&self) -> crate::Severity {
        match self {
            Self::Stalled => crate::Severity::Slow,
            Self::Useless => crate::Severity::Useless,
            Self::Invalid(_) => crate::Severity::Malicious,
        }
    }
}

/// How far the archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackfillProgress {
    /// The lowest height from which on all blocks are here.
    pub lowest: Height,
    /// Requests in flight.
    pub requests: usize,
    /// Bytes of verified blocks that wait for those above them.
    pub buffered_bytes: usize,
    /// Whether some peer says it has the next block.
    pub is_offered: bool,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    peer: PeerRef,
    last: Height,
    count: u32,
    deadline_ms: u64,
}

impl Request {
    const fn first(&self) -> Height {
        Height(self.last.0.saturating_sub(self.count).saturating_add(1))
    }
}

/// The machine that fills an archive; see the head of the module.
#[derive(Clone, Debug)]
pub struct Backfill {
    config: BackfillConfig,
    /// The lowest block here.
    lowest: Height,
    /// Its parent's hash.
    parent: Hash,
    /// The lowest height from there on whose block has a finalization of its own.
    finalized: Height,
    /// What the range that is being stored makes of these three.
    storing: Option<(Height, Hash, Height)>,
    is_at_tip: bool,
    is_complete: bool,
    peers: BTreeMap<PeerRef, Peer>,
    requests: BTreeMap<RequestId, Request>,
    requests_made: u64,
    /// When the next request may be made.
    request_ms: u64,
    /// Verified ranges by their highest height, and who sent them.
    buffer: BTreeMap<Height, (PeerRef, ArchivedRange)>,
}

impl Backfill {
    /// A machine for a node whose lowest block, with everything above it here, is `lowest`, a child of `parent`; the first
    /// block from there on with a finalization of its own is at `finalized`.
    #[must_use]
    pub const fn new(config: BackfillConfig, lowest: Height, parent: Hash, finalized: Height) -> Self {
        Self {
            config,
            lowest,
            parent,
            finalized,
            storing: None,
            is_at_tip: false,
            is_complete: false,
            peers: BTreeMap::new(),
            requests: BTreeMap::new(),
            requests_made: 0,
            request_ms: 0,
            buffer: BTreeMap::new(),
        }
    }

    /// Takes one input; what follows from it is appended to `outputs`.
    pub fn step(&mut self, now_ms: u64, input: BackfillInput, outputs: &mut Vec<BackfillOutput>) {
        match input {
            BackfillInput::Peer { peer, lowest, head } => {
                if self.peers.len() < PEERS_MAX || self.peers.contains_key(&peer) {
                    self.peers.entry(peer).or_default().tell(lowest, head);
                }
            }
            BackfillInput::PeerGone(peer) => {
                self.peers.remove(&peer);
                self.requests.retain(|_, request| request.peer != peer);
            }
            BackfillInput::AtTip(is_at_tip) => self.is_at_tip = is_at_tip,
            BackfillInput::Range { peer, id, answer } => self.handle_answer(now_ms, peer, id, answer, outputs),
            BackfillInput::Stored => {
                if let Some(stored) = self.storing.take() {
                    (self.lowest, self.parent, self.finalized) = stored;
                }
            }
            BackfillInput::Tick => self.expire(now_ms, outputs),
        }
        if self.is_complete {
            return;
        }
        if self.storing.is_none() {
            self.hand_out(now_ms, outputs);
        }
        if self.lowest.0 <= 1 {
            self.is_complete = true;
            self.requests.clear();
            outputs.push(BackfillOutput::Complete);
        } else if self.is_at_tip {
            self.request_blocks(now_ms, outputs);
        }
    }

    /// How far the archive is.
    #[must_use]
    pub fn progress(&self) -> BackfillProgress {
        BackfillProgress {
            lowest: self.lowest,
            requests: self.requests.len(),
            buffered_bytes: self.buffered_bytes(),
            is_offered: is_offered(&self.peers, self.lowest.previous()),
        }
    }

    fn handle_answer(
        &mut self,
        now_ms: u64,
        name: PeerRef,
        id: RequestId,
        answer: ArchiveAnswer,
        outputs: &mut Vec<BackfillOutput>,
    ) {
        // An answer after its time-out, or to a question never asked, is not looked at.
        if self.requests.get(&id).is_none_or(|request| request.peer != name) {
            return;
        }
        let Some(request) = self.requests.remove(&id) else { return };
        let Some(peer) = self.peers.get_mut(&name) else { return };
        match answer {
            ArchiveAnswer::Range(range) if range.last() == request.last && range.first() >= request.first() => {
                peer.succeed();
                self.buffer.insert(range.last(), (name, range));
            }
            // Not what was asked for, and nobody's fault but the caller's.
            ArchiveAnswer::Range(_) => {}
            ArchiveAnswer::Invalid(ArchiveError::Blocks(crate::VerifyError::UnknownEpoch(_))) => {
                peer.fail(now_ms, &self.config);
            }
            ArchiveAnswer::Invalid(error) => self.blame(now_ms, name, error, outputs),
            ArchiveAnswer::Refused => {
                if peer.fail(now_ms, &self.config) {
                    outputs.push(BackfillOutput::Report { peer: name, offence: BackfillOffence::Useless });
                }
            }
            ArchiveAnswer::Failed => {
                peer.fail(now_ms, &self.config);
            }
        }
    }

    fn blame(&mut self, now_ms: u64, name: PeerRef, error: ArchiveError, outputs: &mut Vec<BackfillOutput>) {
        if let Some(peer) = self.peers.get_mut(&name) {
            peer.punish(now_ms, &self.config);
        }
        outputs.push(BackfillOutput::Report { peer: name, offence: BackfillOffence::Invalid(error) });
    }

    /// Hands out the range right below the lowest block, if it is here and of this chain.
    fn hand_out(&mut self, now_ms: u64, outputs: &mut Vec<BackfillOutput>) {
        let Some((name, range)) = self.buffer.remove(&self.lowest.previous()) else { return };
        if range.last_hash() != self.parent {
            return self.blame(now_ms, name, ArchiveError::ForeignChain(range.last()), outputs);
        }
        // Below the lowest block with a finalization, peers can be served as many blocks as one answer has.
        let unfinalized = range.finalized().map_or(range.first(), |(highest, _)| highest.next());
        if self.finalized.0.saturating_sub(unfinalized.0) >= SYNC_BLOCKS_MAX {
            return self.blame(now_ms, name, ArchiveError::Unfinalized(unfinalized), outputs);
        }
        let finalized = range.finalized().map_or(self.finalized, |(_, lowest)| lowest);
        self.storing = Some((range.first(), range.parent(), finalized));
        outputs.push(BackfillOutput::Store(range));
    }

    /// Asks for what is missing, highest first.
    fn request_blocks(&mut self, now_ms: u64, outputs: &mut Vec<BackfillOutput>) {
        let from = self.storing.map_or(self.lowest, |(first, ..)| first);
        let end = Height(from.0.saturating_sub(self.config.window_blocks).max(1));
        while self.requests.len() < self.config.requests_max && self.request_ms <= now_ms {
            let Some((last, first)) = self.last_gap(from, end) else { return };
            let is_next = last == from.previous();
            if !is_next && self.bytes_with_another_request() > self.config.bytes_max {
                return;
            }
            let in_flight = |name| self.requests.values().filter(|request| request.peer == name).count();
            let Some((name, lowest)) = choose(&self.peers, last, now_ms, in_flight, &self.config) else { return };
            let available = last.0.saturating_sub(first.max(lowest).0).saturating_add(1);
            let count = available.min(self.config.request_blocks).clamp(1, SYNC_BLOCKS_MAX);
            self.requests_made = self.requests_made.saturating_add(1);
            let id = RequestId(self.requests_made);
            let deadline_ms = now_ms.saturating_add(self.config.request_timeout_ms);
            self.requests.insert(id, Request { peer: name, last, count, deadline_ms });
            self.request_ms = now_ms.saturating_add(self.config.request_interval_ms);
            outputs.push(BackfillOutput::Request { peer: name, id, last, count });
        }
    }

    /// The highest heights below `from` and down to `end` that are neither held nor asked for, as highest and lowest.
    fn last_gap(&self, from: Height, end: Height) -> Option<(Height, Height)> {
        let held = self.buffer.values().map(|(_, range)| (range.last(), range.first()));
        let asked = self.requests.values().map(|request| (request.last, request.first()));
        let covered: BTreeSet<_> = held.chain(asked).collect();
        let mut below = from;
        for (last, first) in covered.into_iter().rev() {
            if last.next() < below {
                return (below > end).then(|| (below.previous(), last.next().max(end)));
            }
            below = below.min(first);
        }
        (below > end).then(|| (below.previous(), end))
    }

    fn buffered_bytes(&self) -> usize {
        self.buffer.values().fold(0_usize, |sum, (_, range)| sum.saturating_add(range.bytes()))
    }

    fn bytes_with_another_request(&self) -> usize {
        let awaited = self.requests.len().saturating_add(1).saturating_mul(SYNC_RESPONSE_BYTES_MAX);
        self.buffered_bytes().saturating_add(awaited)
    }

    /// Gives up on what was not answered in time.
    fn expire(&mut self, now_ms: u64, outputs: &mut Vec<BackfillOutput>) {
        let mut stalled = BTreeSet::new();
        self.requests.retain(|_, request| {
            let is_late = request.deadline_ms <= now_ms;
            if is_late {
                stalled.insert(request.peer);
            }
            !is_late
        });
        for name in stalled {
            if let Some(peer) = self.peers.get_mut(&name) {
                peer.fail(now_ms, &self.config);
                outputs.push(BackfillOutput::Report { peer: name, offence: BackfillOffence::Stalled });
            }
        }
    }
}
