//! The loop around block sync: peers and announcements in, requests and imports out.

use crate::bus::Bus;
use crate::drivers::backfill::BackfillHandle;
use crate::drivers::import::{Imported, Importer};
use crate::drivers::ledger::LedgerHandle;
use crate::drivers::peer_refs::PeerRefs;
use crate::drivers::tell_network;
use crate::observability::Readiness;
use anyhow::bail;
use cairn_ledger::{ErrorClass, Reader, SignatureChecker};
use cairn_network::{GossipId, Handle as Network, Offence, PeerId, SyncError, Verdict};
use cairn_primitives::message::{SyncRequest, SyncResponse};
use cairn_primitives::{Certificate, Epoch, FinalizedBlock, Height, PublicKey, ValidatorSet};
use cairn_sync::{Answer, Input, Output, PeerRef, RequestId, Severity, State, Sync, TICK_INTERVAL_MS};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Events that may wait for the loop; announcements beyond that are ignored and fetched later.
const EVENTS_MAX: usize = 256;

/// Ranges that may wait for the ledger: no more than the blocks that the machine hands out ahead, each a range at worst.
const IMPORTS_MAX: usize = 1_024;

/// The readiness component of block sync.
pub const READINESS: &str = "sync";

/// What the loop is told.
enum Event {
    Connected(PeerId),
    Disconnected(PeerId),
    Announced { peer: PeerId, id: GossipId, block: Box<FinalizedBlock> },
    Behind,
    Validators { epoch: Epoch, set: Arc<ValidatorSet> },
}

/// What others may know of block sync.
#[derive(Debug, Default)]
struct Seen {
    syncing: bool,
    heads: BTreeMap<PeerId, Height>,
}

/// The way to block sync.
#[derive(Clone)]
pub struct SyncHandle {
    events: mpsc::Sender<Event>,
    seen: Arc<Mutex<Seen>>,
}

/// The receiving end of a [`SyncHandle`].
pub struct Mailbox {
    events: mpsc::Receiver<Event>,
    seen: Arc<Mutex<Seen>>,
}

impl SyncHandle {
    /// A handle and the mailbox it leads to.
    #[must_use]
    pub fn new() -> (Self, Mailbox) {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let seen = Arc::new(Mutex::new(Seen { syncing: true, heads: BTreeMap::new() }));
        (Self { events: sender, seen: seen.clone() }, Mailbox { events, seen })
    }

    /// A peer is connected.
    pub async fn connected(&self, peer: PeerId) {
        // The loop is gone only when the node stops; so below.
        drop(self.events.send(Event::Connected(peer)).await);
    }

    /// A peer is gone.
    pub async fn disconnected(&self, peer: PeerId) {
        drop(self.events.send(Event::Disconnected(peer)).await);
    }

    /// Gossip brought a finalized block.
    pub async fn announced(&self, peer: PeerId, id: GossipId, block: FinalizedBlock) {
        drop(self.events.send(Event::Announced { peer, id, block: Box::new(block) }).await);
    }

    /// Consensus saw that others are ahead; `certificate` shows how far.
    pub fn behind(&self, certificate: &Certificate) {
        tracing::info!(view = %certificate.subject.view(), "behind the network: fetching blocks");
        // Consensus repeats itself while the node is behind.
        drop(self.events.try_send(Event::Behind));
    }

    /// The validators of a new epoch.
    pub async fn validators(&self, epoch: Epoch, set: Arc<ValidatorSet>) {
        drop(self.events.send(Event::Validators { epoch, set }).await);
    }

    /// Whether the node is catching up.
    #[must_use]
    pub fn is_syncing(&self) -> bool {
        lock(&self.seen).syncing
    }

    /// The highest head any connected peer proved.
    #[must_use]
    pub fn highest(&self) -> Height {
        lock(&self.seen).heads.values().copied().max().unwrap_or_default()
    }

    /// The last head a connected peer reported.
    #[must_use]
    pub fn head_of(&self, peer: &PeerId) -> Option<Height> {
        lock(&self.seen).heads.get(peer).copied()
    }
}

/// What the network is told of an offence.
pub fn offence_of(severity: Severity) -> Offence {
    match severity {
        Severity::Slow => Offence::Slow,
        Severity::Useless => Offence::Useless,
        Severity::Malicious => Offence::Invalid,
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    // Each change is a single assignment: a panic elsewhere leaves the value whole.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the machine is told of an import.
fn outcome_of(Imported { height, hash, outcome }: Imported) -> Input {
    match outcome {
        Ok(()) => Input::Imported { height, hash },
        Err(error) => {
            if error.class() == ErrorClass::Fatal {
                tracing::error!(%height, %error, "a finalized block cannot be imported");
            }
            Input::ImportFailed { height, reason: error.to_string() }
        }
    }
}

/// What came of a request.
enum Done {
    Status(PeerRef, Result<SyncResponse, SyncError>),
    Blocks(PeerRef, RequestId, Result<SyncResponse, SyncError>),
}

/// What the loop works with.
pub struct SyncDriver {
    /// The machine.
    pub sync: Sync,
    /// Where requests go.
    pub network: Network,
    /// Where blocks go.
    pub ledger: LedgerHandle,
    /// What decodes and verifies them before.
    pub signatures: SignatureChecker,
    /// What is committed already.
    pub reader: Reader,
    /// Where committed blocks are told.
    pub bus: Bus,
    /// Where it is told that the node has caught up.
    pub readiness: Readiness,
    /// What is told which blocks peers have, and whether the node follows the tip.
    pub backfill: BackfillHandle,
    /// The node's own keys.
    pub own_keys: Vec<PublicKey>,
}

/// Whether a chain with these validators has nobody to follow but the node with these keys.
pub fn is_alone(validators: &ValidatorSet, own_keys: &[PublicKey]) -> bool {
    validators.len() == 1 && own_keys.iter().any(|key| validators.index_of(key).is_some())
}

/// The loop's own records.
struct Loop {
    driver: SyncDriver,
    seen: Arc<Mutex<Seen>>,
    started: Instant,
    peers: PeerRefs,
    /// Announcements that wait for their verdict.
    announced: BTreeMap<u64, GossipId>,
    next_announcement: u64,
    work: JoinSet<Done>,
    /// Import commands go to the ledger in the order they were given.
    imports: mpsc::Sender<Vec<FinalizedBlock>>,
}

impl SyncDriver {
    /// Runs until every handle is gone.
    ///
    /// # Errors
    /// A final block does not hold here, or the ledger has stopped.
    pub fn run(self, mailbox: Mailbox) -> impl Future<Output = anyhow::Result<()>> {
        // Whoever asks before the first step must not take the node for one that has caught up.
        self.tell(State::Idle, &mailbox.seen);
        self.run_steps(mailbox)
    }

    /// Tells the rest of the node where block sync stands.
    fn tell(&self, state: State, seen: &Mutex<Seen>) {
        let is_alone = is_alone(&self.reader.current_epoch().validators, &self.own_keys);
        let waits_for = match state {
            State::CaughtUp => None,
            // Nobody else makes blocks; a peer that has some nevertheless leads to `Blocks`.
            State::Idle | State::Discovering if is_alone => None,
            State::Idle => Some("no peers"),
            State::Discovering => Some("asking peers for their heads"),
            State::Blocks => Some("catching up with the network"),
            State::Failed => Some("a finalized block cannot be imported"),
        };
        lock(seen).syncing = waits_for.is_some();
        self.backfill.at_tip(waits_for.is_none());
        match waits_for {
            None => self.readiness.ready(READINESS),
            Some(reason) => self.readiness.not_ready(READINESS, reason),
        }
    }

    async fn run_steps(self, mut mailbox: Mailbox) -> anyhow::Result<()> {
        let mut blocks = self.bus.blocks();
        let mut heads = self.bus.heads();
        let (imports, import_box) = mpsc::channel::<Vec<FinalizedBlock>>(IMPORTS_MAX);
        let (imported, mut imported_box) = mpsc::channel(EVENTS_MAX);
        let importer =
            Importer { ledger: self.ledger.clone(), signatures: self.signatures.clone(), reader: self.reader.clone() };
        let importing = importer.start(import_box, imported);
        let mut this = Loop {
            driver: self,
            seen: mailbox.seen,
            started: Instant::now(),
            peers: PeerRefs::default(),
            announced: BTreeMap::new(),
            next_announcement: 0,
            work: JoinSet::new(),
            imports,
        };
        let mut ticks = tokio::time::interval(Duration::from_millis(TICK_INTERVAL_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let inputs = tokio::select! {
                event = mailbox.events.recv() => match event {
                    Some(event) => this.take(event),
                    None => break,
                },
                Some(done) = this.work.join_next() => done.map(|done| this.done(done)).unwrap_or_default(),
                Some(done) = imported_box.recv() => Some(outcome_of(done)),
                block = blocks.recv() => match block {
                    Ok(block) => Some(Input::LocalHead { height: block.height, hash: block.hash }),
                    Err(RecvError::Lagged(_)) => {
                        let head = *heads.borrow_and_update();
                        Some(Input::LocalHead { height: head.height, hash: head.hash })
                    }
                    Err(RecvError::Closed) => break,
                },
                _ = ticks.tick() => Some(Input::Tick),
            };
            if let Some(input) = inputs {
                this.step(input)?;
            }
        }
        drop(importing);
        Ok(())
    }
}

impl Loop {
    fn take(&mut self, event: Event) -> Option<Input> {
        match event {
            Event::Connected(peer) => Some(Input::PeerConnected(self.peers.insert(peer))),
            Event::Disconnected(peer) => {
                let reference = self.peers.remove(&peer)?;
                lock(&self.seen).heads.remove(&peer);
                self.driver.backfill.disconnected(peer);
                Some(Input::PeerGone(reference))
            }
            Event::Announced { peer, id, block } => {
                let Some(reference) = self.peers.reference(&peer) else {
                    tell_network(self.driver.network.verdict(id, Verdict::Ignore));
                    return None;
                };
                let message = self.next_announcement;
                self.next_announcement = message.saturating_add(1);
                self.announced.insert(message, id);
                Some(Input::Announced { message, peer: reference, block: Arc::new(*block) })
            }
            Event::Behind => Some(Input::Behind),
            Event::Validators { epoch, set } => {
                // The node may be the only validator from now on, or not any more.
                self.driver.tell(self.driver.sync.progress().state, &self.seen);
                Some(Input::Validators { epoch, set })
            }
        }
    }

    fn done(&mut self, done: Done) -> Option<Input> {
        Some(match done {
            Done::Status(peer, Ok(SyncResponse::Status { head, finalization, lowest })) => {
                if let Some(id) = self.peers.peer(peer) {
                    lock(&self.seen).heads.insert(id, head);
                    self.driver.backfill.peer_has(id, lowest, head);
                }
                Input::Status { peer, head, finalization, lowest }
            }
            Done::Status(peer, _) => Input::StatusFailed(peer),
            Done::Blocks(peer, id, response) => {
                let answer = match response {
                    Ok(SyncResponse::Blocks(blocks)) => Answer::Blocks(blocks),
                    Ok(SyncResponse::Refused) => Answer::Refused,
                    Ok(SyncResponse::Status { .. } | SyncResponse::Archive(_)) | Err(_) => Answer::Failed,
                };
                Input::Blocks { peer, id, answer }
            }
        })
    }

    fn step(&mut self, input: Input) -> anyhow::Result<()> {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut outputs = Vec::new();
        self.driver.sync.step(now_ms, input, &mut outputs);
        for output in outputs {
            match output {
                Output::RequestStatus(peer) => self.request(peer, SyncRequest::Status, Done::Status),
                Output::RequestBlocks { peer, id, from, count } => {
                    self.request(peer, SyncRequest::Blocks { from, count }, move |peer, answer| {
                        Done::Blocks(peer, id, answer)
                    });
                }
                Output::Import(blocks) => {
                    if self.imports.try_send(blocks).is_err() {
                        bail!("the ledger does not take blocks any more");
                    }
                }
                Output::Report { peer, offence } => self.report(peer, &offence),
                Output::Judged { message, verdict } => self.judge(message, verdict),
                Output::StateChanged { from, to } => self.changed(from, to),
            }
        }
        Ok(())
    }

    fn request(
        &mut self,
        peer: PeerRef,
        request: SyncRequest,
        done: impl FnOnce(PeerRef, Result<SyncResponse, SyncError>) -> Done + Send + 'static,
    ) {
        let id = self.peers.peer(peer);
        let network = self.driver.network.clone();
        self.work.spawn(async move {
            let answer = match id {
                Some(id) => network.sync_request(id, request).await,
                None => Err(SyncError::Stopped),
            };
            done(peer, answer)
        });
    }

    fn report(&self, peer: PeerRef, offence: &cairn_sync::Offence) {
        let Some(peer) = self.peers.peer(peer) else { return };
        tracing::warn!(%peer, %offence, "block sync: a peer misbehaves");
        tell_network(self.driver.network.report(peer, offence_of(offence.severity())));
    }

    fn judge(&mut self, message: u64, verdict: cairn_sync::Verdict) {
        let Some(id) = self.announced.remove(&message) else { return };
        let verdict = match verdict {
            cairn_sync::Verdict::Accept => Verdict::Accept,
            cairn_sync::Verdict::Ignore => Verdict::Ignore,
            cairn_sync::Verdict::Reject => Verdict::Reject,
        };
        tell_network(self.driver.network.verdict(id, verdict));
    }

    fn changed(&self, from: State, to: State) {
        let progress = self.driver.sync.progress();
        tracing::info!(%from, %to, ?progress, "block sync");
        self.driver.tell(to, &self.seen);
    }
}
