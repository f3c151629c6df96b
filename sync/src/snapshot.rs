//! Snapshot sync: how a node without a chain gets the state after a final block, and need not execute what came before.
//! A pure machine, `step(now, SnapshotInput, &mut Vec<SnapshotOutput>)`, that ends before block sync begins.
//!
//! ```text
//!                 an offer           all parts, verified            all chunks
//!   Discovering ───────────► Manifest ───────────────────► Chunks ─────────────► Done: Complete
//!     │    ▲                    │ it does not hold            │ nobody has it any more
//!     │    └────────────────────┴─────────────────────────────┘
//!     └── all asked, none offers ──► Done: NoSnapshot, go on with blocks
//! ```
//!
//! Nothing is believed. The manifest has to follow from the chain's genesis: epoch by epoch to the block's own finalization,
//! and so to the state root. Each chunk is checked against that root by its range proof as it arrives, so it does not matter
//! who sends it, and chunks come from all peers that offer the same snapshot at once and in any order. For one range there
//! is one chunk, so whoever sends another one lied; where a chunk holds that the manifest calls damaged, the sender of the
//! manifest did. A snapshot that is old but true is not a lie: block sync makes up for it.
//!
//! Does not: store, restore, talk to peers or know time. The caller keeps manifest and chunks, so that a restart goes on
//! with them ([`SnapshotSync::resume`]), checks the events in the manifest, which this crate cannot decode, and restores.
//!
//! Bounds: peers, offers of each, the manifest's bytes, chunks asked for or being stored ([`SnapshotConfig`]).

mod message;
mod peers;

pub use message::{PartAnswer, SnapshotInput, SnapshotOffence, SnapshotOutput, SnapshotState};

use crate::message::{PeerRef, RequestId};
use crate::peers::PEERS_MAX;
use cairn_primitives::light::TrustAnchor;
use cairn_primitives::message::{MANIFEST_PART_BYTES, SNAPSHOT_OFFERS_MAX};
use cairn_primitives::snapshot::{MANIFEST_BYTES_MAX, SnapshotManifest, SnapshotOffer, VerifiedManifest};
use cairn_primitives::{Hash, Height};
use peers::{Peer, best_offer, choose};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most snapshots remembered as lies.
const REFUTED_MAX: usize = 256;

/// The bounds and times of snapshot sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotConfig {
    /// Chunks asked for or being stored; each has a megabyte, four at most.
    pub requests_max: usize,
    /// Requests in flight to one peer: two keep it busy while an answer travels.
    pub requests_per_peer_max: u32,
    /// The time between two requests to one peer in the long run, in milliseconds.
    pub request_interval_ms: u64,
    /// How many requests a peer may get at once that was not asked for a while.
    pub requests_burst: u64,
    /// After this a request counts as stalled, in milliseconds: two chunks at a megabit per second.
    pub request_timeout_ms: u64,
    /// How long peers may take to tell their offers after the first one did, in milliseconds.
    pub offers_wait_ms: u64,
    /// How often a peer is asked for its offers, in milliseconds.
    pub offers_interval_ms: u64,
    /// How long to look for offers among peers that have none before going on without, in milliseconds.
    pub patience_ms: u64,
    /// The same while peers still owe an answer, in milliseconds.
    pub patience_ms_max: u64,
    /// How long a snapshot that no peer gives chunks of is kept, in milliseconds.
    pub abandon_ms: u64,
    /// How long a peer is left out after its first failure, in milliseconds; doubled by each further one in a row.
    pub backoff_ms: u64,
    /// The longest time a peer is left out, in milliseconds.
    pub backoff_ms_max: u64,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            requests_max: 8,
            requests_per_peer_max: 2,
            request_interval_ms: 100,
            requests_burst: 8,
            request_timeout_ms: 14_000,
            offers_wait_ms: 2_000,
            offers_interval_ms: 5_000,
            patience_ms: 5_000,
            patience_ms_max: 60_000,
            abandon_ms: 15_000,
            backoff_ms: 250,
            backoff_ms_max: 5_000,
        }
    }
}

/// Where snapshot sync stands, for logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotProgress {
    /// The state.
    pub state: SnapshotState,
    /// The height of the snapshot; zero until there is one.
    pub height: Height,
    /// Chunks that are here.
    pub chunks: usize,
    /// All chunks of the snapshot.
    pub chunks_total: usize,
    /// Peers known.
    pub peers: usize,
}

#[derive(Clone, Debug)]
enum Phase {
    Discovering,
    Manifest { offer: SnapshotOffer, from: PeerRef, bytes: Vec<u8>, is_asked: bool },
    Checking { source: PeerRef, verified: Arc<VerifiedManifest> },
    Chunks(Chunks),
    Done,
}

#[derive(Clone, Debug)]
struct Chunks {
    id: Hash,
    /// Who sent the manifest; unknown after a restart.
    source: Option<PeerRef>,
    verified: Arc<VerifiedManifest>,
    held: BTreeSet<usize>,
    storing: BTreeSet<usize>,
}

/// A request in flight: for a chunk, or with `None` for a part of the manifest.
#[derive(Clone, Copy, Debug)]
struct Request {
    peer: PeerRef,
    chunk: Option<usize>,
    deadline_ms: u64,
}

/// The machine; see the module's documentation.
#[derive(Clone, Debug)]
pub struct SnapshotSync {
    config: SnapshotConfig,
    anchor: TrustAnchor,
    phase: Phase,
    peers: BTreeMap<PeerRef, Peer>,
    requests: BTreeMap<RequestId, Request>,
    requests_made: u64,
    /// Snapshots that do not hold.
    refuted: BTreeSet<Hash>,
    /// Since when there are peers and nothing useful came from them.
    since_ms: Option<u64>,
    /// When the first offer came.
    offered_ms: Option<u64>,
}

impl SnapshotSync {
    /// A machine that looks for a snapshot of the chain whose genesis is trusted.
    #[must_use]
    pub const fn new(config: SnapshotConfig, anchor: TrustAnchor) -> Self {
        Self {
            config,
            anchor,
            phase: Phase::Discovering,
            peers: BTreeMap::new(),
            requests: BTreeMap::new(),
            requests_made: 0,
            refuted: BTreeSet::new(),
            since_ms: None,
            offered_ms: None,
        }
    }

    /// A machine that goes on with a manifest and the chunks that are here already.
    #[must_use]
    pub fn resume(
        config: SnapshotConfig,
        anchor: TrustAnchor,
        verified: Arc<VerifiedManifest>,
        held: impl IntoIterator<Item = usize>,
    ) -> Self {
        let mut machine = Self::new(config, anchor);
        machine.phase = Phase::Chunks(Chunks::new(None, verified, held));
        machine
    }

    /// Takes one input; what follows from it is appended to `outputs`.
    pub fn step(&mut self, now_ms: u64, input: SnapshotInput, outputs: &mut Vec<SnapshotOutput>) {
        match input {
            SnapshotInput::PeerConnected(peer) => {
                if self.peers.len() < PEERS_MAX && !self.peers.contains_key(&peer) {
                    self.peers.insert(peer, Peer::default());
                    self.request_offers(peer, now_ms, outputs);
                }
            }
            SnapshotInput::PeerGone(peer) => {
                self.peers.remove(&peer);
                self.requests.retain(|_, request| request.peer != peer);
            }
            SnapshotInput::Offers { peer, offers } => self.handle_offers(now_ms, peer, offers, outputs),
            SnapshotInput::Part { peer, id, answer } => self.handle_part(now_ms, peer, id, answer, outputs),
            SnapshotInput::Begun { held } => {
                if let Phase::Checking { source, verified } = &self.phase {
                    self.phase = Phase::Chunks(Chunks::new(Some(*source), Arc::clone(verified), held));
                }
            }
            SnapshotInput::Refuted { reason } => {
                if let Phase::Checking { source, verified } = &self.phase {
                    let (source, id) = (*source, verified.manifest().id());
                    self.refute_manifest(source, id, reason, outputs);
                }
            }
            SnapshotInput::Stored { index } => {
                if let Phase::Chunks(chunks) = &mut self.phase
                    && chunks.storing.remove(&index)
                {
                    chunks.held.insert(index);
                }
            }
            SnapshotInput::Tick => self.expire(now_ms, outputs),
        }
        self.since_ms = (!self.peers.is_empty()).then(|| self.since_ms.unwrap_or(now_ms));
        self.advance(now_ms, outputs);
    }

    /// Where the machine stands.
    #[must_use]
    pub fn progress(&self) -> SnapshotProgress {
        let (state, height, chunks, chunks_total) = match &self.phase {
            Phase::Discovering => (SnapshotState::Discovering, Height::ZERO, 0, 0),
            Phase::Manifest { offer, .. } => (SnapshotState::Manifest, offer.height, 0, 0),
            Phase::Checking { verified, .. } => {
                let manifest = verified.manifest();
                (SnapshotState::Manifest, manifest.height(), 0, manifest.chunks.len())
            }
            Phase::Chunks(chunks) => (
                SnapshotState::Chunks,
                chunks.verified.manifest().height(),
                chunks.held.len(),
                chunks.verified.manifest().chunks.len(),
            ),
            Phase::Done => (SnapshotState::Done, Height::ZERO, 0, 0),
        };
        SnapshotProgress { state, height, chunks, chunks_total, peers: self.peers.len() }
    }

    fn handle_offers(
        &mut self,
        now_ms: u64,
        name: PeerRef,
        offers: Option<Vec<SnapshotOffer>>,
        outputs: &mut Vec<SnapshotOutput>,
    ) {
        let Some(peer) = self.peers.get_mut(&name) else { return };
        if peer.offers_deadline_ms.take().is_none() || peer.is_refuted {
            return;
        }
        let Some(offers) = offers else {
            peer.fail(now_ms, &self.config);
            return;
        };
        peer.is_settled = true;
        let ids: BTreeSet<_> = offers.iter().map(|offer| offer.id).collect();
        if offers.len() > SNAPSHOT_OFFERS_MAX || ids.len() != offers.len() {
            let offence = SnapshotOffence::InvalidOffers { count: offers.len() };
            return self.refute_peer(name, offence, outputs);
        }
        if !offers.is_empty() {
            self.offered_ms = self.offered_ms.or(Some(now_ms));
        }
        peer.offers = offers;
    }

    fn handle_part(
        &mut self,
        now_ms: u64,
        name: PeerRef,
        id: RequestId,
        answer: PartAnswer,
        outputs: &mut Vec<SnapshotOutput>,
    ) {
        // An answer after its time-out, or to a question never asked, is not looked at.
        if self.requests.get(&id).is_none_or(|request| request.peer != name) {
            return;
        }
        let Some(request) = self.requests.remove(&id) else { return };
        let Some(peer) = self.peers.get_mut(&name) else { return };
        peer.in_flight = peer.in_flight.saturating_sub(1);
        match answer {
            PartAnswer::Bytes(bytes) => match request.chunk {
                Some(index) => self.handle_chunk(now_ms, name, index, bytes, outputs),
                None => self.handle_manifest(now_ms, name, &bytes, outputs),
            },
            PartAnswer::Refused => {
                if peer.fail(now_ms, &self.config) {
                    outputs.push(SnapshotOutput::Report { peer: name, offence: SnapshotOffence::Useless });
                }
                self.give_manifest_up(name);
            }
            PartAnswer::Failed => {
                peer.fail(now_ms, &self.config);
                self.give_manifest_up(name);
            }
        }
    }

    /// A manifest comes from one peer alone; where that one fails, it is fetched anew.
    fn give_manifest_up(&mut self, peer: PeerRef) {
        if matches!(&self.phase, Phase::Manifest { from, .. } if *from == peer) {
            self.phase = Phase::Discovering;
        }
    }

    fn handle_manifest(&mut self, now_ms: u64, name: PeerRef, part: &[u8], outputs: &mut Vec<SnapshotOutput>) {
        let Phase::Manifest { offer, bytes, is_asked, .. } = &mut self.phase else { return };
        let offer = *offer;
        let size = usize::try_from(offer.manifest_bytes).unwrap_or(usize::MAX);
        if part.len() != size.saturating_sub(bytes.len()).min(MANIFEST_PART_BYTES) {
            let reason = format!("a part has {} bytes", part.len());
            return self.refute_manifest(name, offer.id, reason, outputs);
        }
        *is_asked = false;
        bytes.extend_from_slice(part);
        self.since_ms = Some(now_ms);
        if let Some(peer) = self.peers.get_mut(&name) {
            peer.succeed();
        }
        if bytes.len() < size {
            return;
        }
        match check_manifest(bytes, &offer, self.anchor.clone()) {
            Ok(verified) => {
                let verified = Arc::new(verified);
                outputs.push(SnapshotOutput::Begin(Arc::clone(&verified)));
                self.phase = Phase::Checking { source: name, verified };
            }
            Err(reason) => self.refute_manifest(name, offer.id, reason, outputs),
        }
    }

    fn handle_chunk(
        &mut self,
        now_ms: u64,
        name: PeerRef,
        index: usize,
        bytes: Vec<u8>,
        outputs: &mut Vec<SnapshotOutput>,
    ) {
        let Phase::Chunks(chunks) = &mut self.phase else { return };
        match chunks.verified.open_chunk(index, &bytes) {
            Ok(_) => {
                if let Some(peer) = self.peers.get_mut(&name) {
                    peer.succeed();
                }
                self.since_ms = Some(now_ms);
                if !chunks.held.contains(&index) && chunks.storing.insert(index) {
                    outputs.push(SnapshotOutput::Store { index, bytes });
                }
            }
            Err(error) if chunks.verified.prove_chunk(index, &bytes).is_ok() => {
                let (id, source) = (chunks.id, chunks.source);
                let reason = format!("it names wrong contents of a chunk: {error}");
                outputs.push(SnapshotOutput::Abandon);
                match source {
                    Some(source) => self.refute_manifest(source, id, reason, outputs),
                    None => self.refute_snapshot(id),
                }
            }
            Err(error) => {
                let offence = SnapshotOffence::InvalidChunk { reason: error.to_string() };
                self.refute_peer(name, offence, outputs);
            }
        }
    }

    fn refute_peer(&mut self, name: PeerRef, offence: SnapshotOffence, outputs: &mut Vec<SnapshotOutput>) {
        if let Some(peer) = self.peers.get_mut(&name) {
            peer.refute();
        }
        outputs.push(SnapshotOutput::Report { peer: name, offence });
        self.requests.retain(|_, request| request.peer != name);
        self.give_manifest_up(name);
    }

    /// The peer's manifest does not hold. Others may offer the same snapshot with a manifest that does: only what depends on
    /// the chunks' list alone damns it for all.
    fn refute_manifest(&mut self, source: PeerRef, id: Hash, reason: String, outputs: &mut Vec<SnapshotOutput>) {
        if matches!(self.phase, Phase::Chunks(_)) {
            self.refute_snapshot(id);
        }
        self.phase = Phase::Discovering;
        self.refute_peer(source, SnapshotOffence::InvalidManifest { reason }, outputs);
    }

    fn refute_snapshot(&mut self, id: Hash) {
        if self.refuted.len() < REFUTED_MAX {
            self.refuted.insert(id);
        }
        self.forget_requests();
        self.phase = Phase::Discovering;
    }

    fn forget_requests(&mut self) {
        self.requests.clear();
        for peer in self.peers.values_mut() {
            peer.in_flight = 0;
        }
    }

    fn request_offers(&mut self, name: PeerRef, now_ms: u64, outputs: &mut Vec<SnapshotOutput>) {
        if let Some(peer) = self.peers.get_mut(&name) {
            peer.asked_ms = now_ms;
            peer.offers_deadline_ms = Some(now_ms.saturating_add(self.config.request_timeout_ms));
            outputs.push(SnapshotOutput::RequestOffers(name));
        }
    }

    /// Gives up on what was not answered in time, and asks again what is offered.
    fn expire(&mut self, now_ms: u64, outputs: &mut Vec<SnapshotOutput>) {
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
        let mut due = Vec::new();
        for (name, peer) in peers.iter_mut() {
            if peer.offers_deadline_ms.is_some_and(|deadline| deadline <= now_ms) {
                peer.offers_deadline_ms = None;
                stalled.insert(*name);
            }
            let is_old = now_ms.saturating_sub(peer.asked_ms) >= self.config.offers_interval_ms;
            if is_old && peer.offers_deadline_ms.is_none() && !peer.is_refuted {
                due.push(*name);
            }
        }
        for name in &stalled {
            if let Some(peer) = peers.get_mut(name) {
                peer.fail(now_ms, &self.config);
                outputs.push(SnapshotOutput::Report { peer: *name, offence: SnapshotOffence::Stalled });
            }
        }
        for name in stalled {
            self.give_manifest_up(name);
        }
        for name in due {
            self.request_offers(name, now_ms, outputs);
        }
    }

    fn advance(&mut self, now_ms: u64, outputs: &mut Vec<SnapshotOutput>) {
        if let Phase::Manifest { from, .. } = &self.phase
            && !self.peers.contains_key(from)
        {
            self.phase = Phase::Discovering;
        }
        if matches!(self.phase, Phase::Discovering) {
            self.discover(now_ms, outputs);
        }
        match &self.phase {
            Phase::Manifest { .. } => self.request_manifest(now_ms, outputs),
            Phase::Chunks(chunks) if chunks.is_complete() => {
                outputs.push(SnapshotOutput::Complete(Arc::clone(&chunks.verified)));
                self.phase = Phase::Done;
            }
            Phase::Chunks(_) => {
                self.request_chunks(now_ms, outputs);
                self.abandon_if_useless(now_ms, outputs);
            }
            Phase::Discovering | Phase::Checking { .. } | Phase::Done => {}
        }
    }

    fn discover(&mut self, now_ms: u64, outputs: &mut Vec<SnapshotOutput>) {
        let all_settled = self.peers.values().all(|peer| peer.is_settled);
        let Some(offer) = best_offer(&self.peers, |id| self.refuted.contains(id)) else {
            let waited_ms = waited_ms(now_ms, self.since_ms);
            if waited_ms >= self.config.patience_ms_max || all_settled && waited_ms >= self.config.patience_ms {
                outputs.push(SnapshotOutput::NoSnapshot);
                self.phase = Phase::Done;
            }
            return;
        };
        if !all_settled && waited_ms(now_ms, self.offered_ms) < self.config.offers_wait_ms {
            return;
        }
        let Some(from) = choose(&self.peers, &offer.id, now_ms, &self.config) else { return };
        // The peers that offer one snapshot may have manifests of different sizes.
        let own = self.peers.get(&from).and_then(|peer| peer.offers.iter().find(|own| own.id == offer.id)).copied();
        let Some(offer) = own else { return };
        let size = usize::try_from(offer.manifest_bytes).unwrap_or(usize::MAX);
        if size == 0 || size > MANIFEST_BYTES_MAX {
            let reason = format!("it is said to have {size} bytes");
            return self.refute_peer(from, SnapshotOffence::InvalidManifest { reason }, outputs);
        }
        self.phase = Phase::Manifest { offer, from, bytes: Vec::new(), is_asked: false };
    }

    fn request_manifest(&mut self, now_ms: u64, outputs: &mut Vec<SnapshotOutput>) {
        let Phase::Manifest { offer, from, bytes, is_asked } = &mut self.phase else { return };
        let Some(peer) = self.peers.get_mut(from).filter(|peer| peer.is_free(now_ms, &self.config)) else { return };
        if *is_asked {
            return;
        }
        *is_asked = true;
        let first = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let (name, snapshot) = (*from, offer.id);
        peer.ask(now_ms, &self.config);
        let id = self.note_request(name, None, now_ms);
        outputs.push(SnapshotOutput::RequestManifest { peer: name, id, snapshot, from: first });
    }

    fn note_request(&mut self, peer: PeerRef, chunk: Option<usize>, now_ms: u64) -> RequestId {
        self.requests_made = self.requests_made.saturating_add(1);
        let id = RequestId(self.requests_made);
        let deadline_ms = now_ms.saturating_add(self.config.request_timeout_ms);
        self.requests.insert(id, Request { peer, chunk, deadline_ms });
        id
    }

    /// Asks for the lowest chunks that are missing.
    fn request_chunks(&mut self, now_ms: u64, outputs: &mut Vec<SnapshotOutput>) {
        loop {
            let Phase::Chunks(chunks) = &self.phase else { return };
            if self.requests.len().saturating_add(chunks.storing.len()) >= self.config.requests_max {
                return;
            }
            let asked: BTreeSet<_> = self.requests.values().filter_map(|request| request.chunk).collect();
            let Some(index) = chunks.missing().find(|index| !asked.contains(index)) else { return };
            let snapshot = chunks.id;
            let Some(name) = choose(&self.peers, &snapshot, now_ms, &self.config) else { return };
            if let Some(peer) = self.peers.get_mut(&name) {
                peer.ask(now_ms, &self.config);
            }
            let id = self.note_request(name, Some(index), now_ms);
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            outputs.push(SnapshotOutput::RequestChunk { peer: name, id, snapshot, index });
        }
    }

    /// Forgets a snapshot that has brought nothing for a while.
    fn abandon_if_useless(&mut self, now_ms: u64, outputs: &mut Vec<SnapshotOutput>) {
        let Phase::Chunks(chunks) = &self.phase else { return };
        let is_awaited = !self.requests.is_empty() || !chunks.storing.is_empty();
        if is_awaited || waited_ms(now_ms, self.since_ms) < self.config.abandon_ms {
            return;
        }
        outputs.push(SnapshotOutput::Abandon);
        self.phase = Phase::Discovering;
        self.since_ms = Some(now_ms);
    }
}

impl Chunks {
    fn new(source: Option<PeerRef>, verified: Arc<VerifiedManifest>, held: impl IntoIterator<Item = usize>) -> Self {
        let held = held.into_iter().filter(|index| *index < verified.manifest().chunks.len()).collect();
        Self { id: verified.manifest().id(), source, verified, held, storing: BTreeSet::new() }
    }

    fn missing(&self) -> impl Iterator<Item = usize> {
        let count = self.verified.manifest().chunks.len();
        (0..count).filter(|index| !self.held.contains(index) && !self.storing.contains(index))
    }

    fn is_complete(&self) -> bool {
        self.held.len() == self.verified.manifest().chunks.len()
    }
}

fn waited_ms(now_ms: u64, since_ms: Option<u64>) -> u64 {
    since_ms.map_or(0, |since| now_ms.saturating_sub(since))
}

fn check_manifest(bytes: &[u8], offer: &SnapshotOffer, anchor: TrustAnchor) -> Result<VerifiedManifest, String> {
    let manifest = SnapshotManifest::from_bytes(bytes).map_err(|error| error.to_string())?;
    if manifest.height() != offer.height || manifest.id() != offer.id {
        return Err("it is of another snapshot than the one offered".to_owned());
    }
    manifest.verify(anchor).map_err(|error| error.to_string())
}
