//! The loop around the filling of an archive: what peers have in, requests and blocks to be stored out.

use crate::drivers::ledger::{Command, LedgerHandle};
use crate::drivers::peer_refs::PeerRefs;
use crate::drivers::sync::offence_of;
use crate::drivers::tell_network;
use crate::metrics::Metrics;
use anyhow::Context as _;
use cairn_ledger::{LedgerError, Reader};
use cairn_network::{Handle as Network, PeerId, SyncError};
use cairn_primitives::message::{SyncRequest, SyncResponse};
use cairn_primitives::{ArchivedBlock, Epoch, EpochSchedule, Hash, Height, ValidatorSet};
use cairn_sync::{
    ArchiveAnswer, ArchiveRules, ArchivedRange, Backfill, BackfillInput, BackfillOutput, PeerRef, RequestId,
    TICK_INTERVAL_MS,
};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Events that may wait for the loop. Peers are asked again and again what they have, so that one lost does no harm.
const EVENTS_MAX: usize = 256;

/// How often the log tells how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What the loop is told of a peer.
enum Event {
    Has { peer: PeerId, lowest: Height, head: Height },
    Gone(PeerId),
}

/// The way to the filling of an archive; on a node that fills none it leads nowhere.
#[derive(Clone, Debug)]
pub struct BackfillHandle {
    events: mpsc::Sender<Event>,
    at_tip: watch::Sender<bool>,
}

/// When the states of an archive can be filled in.
#[derive(Clone, Debug)]
pub struct FillSigns {
    at_tip: watch::Receiver<bool>,
    all_blocks: watch::Receiver<bool>,
}

impl FillSigns {
    /// Waits until all blocks are here and the node follows the tip.
    ///
    /// # Errors
    /// The node stops.
    pub async fn ready(&mut self) -> Result<(), watch::error::RecvError> {
        self.all_blocks.wait_for(|is_so| *is_so).await?;
        self.at_tip.wait_for(|is_so| *is_so).await?;
        Ok(())
    }
}

/// The receiving end of a [`BackfillHandle`].
pub struct Mailbox {
    events: mpsc::Receiver<Event>,
    at_tip: watch::Receiver<bool>,
    all_blocks: watch::Sender<bool>,
}

impl BackfillHandle {
    /// A handle and the mailbox it leads to.
    #[must_use]
    pub fn new() -> (Self, Mailbox) {
        let (events, event_box) = mpsc::channel(EVENTS_MAX);
        let (at_tip, at_tip_box) = watch::channel(false);
        let (all_blocks, _) = watch::channel(false);
        (Self { events, at_tip }, Mailbox { events: event_box, at_tip: at_tip_box, all_blocks })
    }

    /// A peer said which blocks it has.
    pub fn peer_has(&self, peer: PeerId, lowest: Height, head: Height) {
        // Where the loop is busy or there is none, the next answer says the same.
        drop(self.events.try_send(Event::Has { peer, lowest, head }));
    }

    /// A peer is gone.
    pub fn disconnected(&self, peer: PeerId) {
        // Requests to a peer that is gone fail.
        drop(self.events.try_send(Event::Gone(peer)));
    }

    /// The node follows the tip, or does not.
    pub fn at_tip(&self, is_at_tip: bool) {
        self.at_tip.send_replace(is_at_tip);
    }
}

impl Mailbox {
    /// When the states can be filled in.
    #[must_use]
    pub fn signs(&self) -> FillSigns {
        FillSigns { at_tip: self.at_tip.clone(), all_blocks: self.all_blocks.subscribe() }
    }

    /// For a node without a loop: all blocks from genesis on are here.
    pub fn has_all_blocks(self) {
        self.all_blocks.send_replace(true);
    }
}

/// What the loop works with.
pub struct BackfillDriver {
    /// The machine.
    pub machine: Backfill,
    /// Where requests go.
    pub network: Network,
    /// Where blocks go.
    pub ledger: LedgerHandle,
    /// What blocks are checked against.
    pub reader: Reader,
    /// What is measured.
    pub metrics: Metrics,
}

/// Something that was begun and has ended.
enum Done {
    Answer(PeerRef, RequestId, ArchiveAnswer),
    Stored(Height),
}

struct Loop {
    driver: BackfillDriver,
    started: Instant,
    /// When the log told last, and the lowest block then.
    told: (Instant, Height),
    peers: PeerRefs,
    work: JoinSet<anyhow::Result<Done>>,
    is_complete: bool,
    all_blocks: watch::Sender<bool>,
}

/// The chain as archived blocks are checked against it.
struct Rules(Reader);

impl ArchiveRules for Rules {
    fn genesis(&self) -> Hash {
        self.0.genesis_hash()
    }

    fn schedule(&self) -> EpochSchedule {
        self.0.schedule()
    }

    fn validators(&self, epoch: Epoch) -> Option<Arc<ValidatorSet>> {
        self.0.validators_of(epoch).ok()
    }

    fn events_root(&self, events: &[u8]) -> Option<Hash> {
        cairn_ledger::events_root(events)
    }
}

impl BackfillDriver {
    /// Runs until every handle is gone.
    ///
    /// # Errors
    /// The blocks cannot be stored, or the ledger has stopped.
    pub async fn run(self, mut mailbox: Mailbox) -> anyhow::Result<()> {
        let lowest = self.machine.progress().lowest;
        tracing::info!(%lowest, "filling the archive: fetching the blocks below while blocks go on");
        let mut this = Loop {
            driver: self,
            started: Instant::now(),
            told: (Instant::now(), lowest),
            peers: PeerRefs::default(),
            work: JoinSet::new(),
            is_complete: false,
            all_blocks: mailbox.all_blocks.clone(),
        };
        let mut ticks = tokio::time::interval(Duration::from_millis(TICK_INTERVAL_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let input = tokio::select! {
                event = mailbox.events.recv() => match event {
                    Some(event) => this.take(event),
                    None => return Ok(()),
                },
                changed = mailbox.at_tip.changed() => match changed {
                    Ok(()) => Some(BackfillInput::AtTip(*mailbox.at_tip.borrow_and_update())),
                    Err(_) => return Ok(()),
                },
                Some(done) = this.work.join_next() => Some(this.done(done.context("a part of the filling panicked")??)),
                _ = ticks.tick(), if !this.is_complete => Some(BackfillInput::Tick),
            };
            if let Some(input) = input {
                this.step(input);
            }
        }
    }
}

impl Loop {
    fn take(&mut self, event: Event) -> Option<BackfillInput> {
        match event {
            Event::Has { peer, lowest, head } => {
                let peer = self.peers.reference(&peer).unwrap_or_else(|| self.peers.insert(peer));
                Some(BackfillInput::Peer { peer, lowest, head })
            }
            Event::Gone(peer) => self.peers.remove(&peer).map(BackfillInput::PeerGone),
        }
    }

    fn done(&self, done: Done) -> BackfillInput {
        match done {
            Done::Answer(peer, id, answer) => BackfillInput::Range { peer, id, answer },
            Done::Stored(lowest) => {
                self.driver.metrics.lowest_block(lowest.0);
                BackfillInput::Stored
            }
        }
    }

    fn step(&mut self, input: BackfillInput) {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut outputs = Vec::new();
        self.driver.machine.step(now_ms, input, &mut outputs);
        for output in outputs {
            match output {
                BackfillOutput::Request { peer, id, last, count } => self.request(peer, id, last, count),
                BackfillOutput::Store(range) => self.store(range.into_blocks()),
                BackfillOutput::Report { peer, offence } => {
                    let Some(peer) = self.peers.peer(peer) else { continue };
                    tracing::warn!(%peer, %offence, "filling the archive: a peer misbehaves");
                    tell_network(self.driver.network.report(peer, offence_of(offence.severity())));
                }
                BackfillOutput::Complete => {
                    self.is_complete = true;
                    self.all_blocks.send_replace(true);
                    tracing::info!(
                        seconds = self.started.elapsed().as_secs(),
                        "the archive has all blocks from genesis on"
                    );
                }
            }
        }
        self.tell();
    }

    fn tell(&mut self) {
        let (at, before) = self.told;
        if self.is_complete || at.elapsed() < TELL_EVERY {
            return;
        }
        let progress = self.driver.machine.progress();
        let blocks = before.0.saturating_sub(progress.lowest.0);
        let blocks_per_second = u64::from(blocks) / at.elapsed().as_secs().max(1);
        self.told = (Instant::now(), progress.lowest);
        if progress.is_offered {
            tracing::info!(lowest = %progress.lowest, blocks_per_second, "filling the archive");
        } else {
            tracing::info!(lowest = %progress.lowest, "filling the archive: no peer has the blocks below");
        }
    }

    fn request(&mut self, peer: PeerRef, id: RequestId, last: Height, count: u32) {
        let to = self.peers.peer(peer);
        let (network, rules) = (self.driver.network.clone(), Rules(self.driver.reader.clone()));
        self.work.spawn(async move {
            let response = match to {
                Some(to) => network.sync_request(to, SyncRequest::Archive { last, count }).await,
                None => Err(SyncError::Stopped),
            };
            let answer = match response {
                Ok(SyncResponse::Archive(blocks)) => {
                    let verify = move || ArchivedRange::verify(blocks, last, count, &rules);
                    let verified = tokio::task::spawn_blocking(verify).await;
                    verified.context("verification panicked")?.map_or_else(ArchiveAnswer::Invalid, ArchiveAnswer::Range)
                }
                Ok(SyncResponse::Refused) => ArchiveAnswer::Refused,
                Ok(SyncResponse::Status { .. } | SyncResponse::Blocks(_)) | Err(_) => ArchiveAnswer::Failed,
            };
            Ok(Done::Answer(peer, id, answer))
        });
    }

    fn store(&mut self, blocks: Vec<ArchivedBlock>) {
        let ledger = self.driver.ledger.clone();
        self.work.spawn(async move {
            let (reply, outcome) = oneshot::channel::<Result<Height, LedgerError>>();
            ledger.send(Command::Fill { blocks, reply }).await?;
            let lowest = outcome.await.context("the ledger has stopped")?;
            Ok(Done::Stored(lowest.context("the archive cannot be filled")?))
        });
    }
}
