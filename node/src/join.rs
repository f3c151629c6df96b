//! How a node without a chain begins with a snapshot: before there is a ledger, with the network alone.
//!
//! ```text
//!   network ─ events ─► loop ─► SnapshotSync ─► requests ─► network
//!                        │           │
//!                        │           └─► <data>/sync/joining: manifest, chunks    what a restart finds
//!                        └─ all here ─► Restore ─► database ─► the node starts as if it had executed everything
//! ```
//! Nothing is in the database until all chunks are here, so that until then another snapshot, or none, can take the place
//! of this one. RPC is not served meanwhile; metrics and health are.

use crate::drivers::peer_refs::PeerRefs;
use crate::drivers::sync::{READINESS, offence_of};
use crate::drivers::tell_network;
use crate::exit::{ExitContext as _, ExitKind, Failure};
use crate::launch::Launch;
use crate::metrics::Metrics;
use crate::offered::joining_folder;
use crate::snapshot::{MANIFEST, chunk_file, read_chunk, read_manifest, write_whole};
use anyhow::{Context as _, bail};
use cairn_ledger::{Genesis, Restore, verify_snapshot, verify_snapshot_events};
use cairn_network::{Event, Handle as Network, PeerId, SyncError, Verdict};
use cairn_primitives::message::{StateRequest, StateResponse};
use cairn_primitives::snapshot::VerifiedManifest;
use cairn_primitives::{EpochSchedule, Hash};
use cairn_storage::Database;
use cairn_sync::{
    PartAnswer, PeerRef, RequestId, SnapshotConfig, SnapshotInput, SnapshotOutput, SnapshotProgress, SnapshotSync,
    TICK_INTERVAL_MS,
};
use parity_scale_codec::Encode as _;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// How often the log tells how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What came of joining.
#[derive(Debug)]
pub enum Joined {
    /// The database holds a snapshot, or there is none and blocks go on from genesis.
    Ready {
        /// Peers that are connected.
        connected: Vec<PeerId>,
    },
    /// The node was stopped before.
    Stopped,
}

/// What joining works with.
pub struct Join {
    /// An empty database, or one with part of the snapshot that is in the folder.
    pub database: Arc<dyn Database>,
    /// Where peers are asked.
    pub network: Network,
    /// What is measured.
    pub metrics: Metrics,
}

/// Something that was begun and has ended.
enum Done {
    Input(SnapshotInput),
    Restored(bool),
}

struct Loop {
    join: Join,
    /// What does not change.
    chain: Chain,
    sync: SnapshotSync,
    folder: PathBuf,
    started: Instant,
    told: Instant,
    peers: PeerRefs,
    requests: JoinSet<SnapshotInput>,
    /// What reads and writes files.
    disk: JoinSet<anyhow::Result<Done>>,
    /// Told to what restores when the node stops.
    is_over: Arc<AtomicBool>,
}

/// What a snapshot is checked against.
#[derive(Clone)]
struct Chain {
    genesis: Genesis,
    schedule: EpochSchedule,
    spec_hash: Hash,
}

impl Join {
    /// Runs until the database holds a snapshot, there is none to be had, or `stop` resolves.
    ///
    /// # Errors
    /// Files or the database fail; a listener failed.
    pub async fn run(
        self,
        launch: &Launch,
        events: &mut mpsc::Receiver<Event>,
        stop: &mut (impl Future<Output = &'static str> + Unpin),
    ) -> anyhow::Result<Joined> {
        let spec = &launch.spec;
        let chain =
            Chain { genesis: launch.genesis.clone(), schedule: spec.epoch_schedule(), spec_hash: spec.spec_hash() };
        let folder = joining_folder(&launch.config.node.data_dir);
        let (config, anchor) = (SnapshotConfig::default(), chain.genesis.trust_anchor(chain.schedule));
        let sync = match found_in(&folder, &chain)? {
            Some((verified, held)) => SnapshotSync::resume(config, anchor, Arc::new(verified), held),
            None => SnapshotSync::new(config, anchor),
        };
        launch.readiness.not_ready(READINESS, "getting a snapshot of the state");
        tracing::info!(progress = ?sync.progress(), "looking for a snapshot to begin with");
        let mut this = Loop {
            join: self,
            chain,
            sync,
            folder,
            started: Instant::now(),
            told: Instant::now(),
            peers: PeerRefs::default(),
            requests: JoinSet::new(),
            disk: JoinSet::new(),
            is_over: Arc::default(),
        };
        let joined = this.run(events, stop).await;
        // Files that are being written are there as a whole or not at all; a restore stops at its next chunk.
        this.is_over.store(true, Ordering::Relaxed);
        this.finish_writes().await?;
        joined
    }
}

impl Loop {
    async fn run(
        &mut self,
        events: &mut mpsc::Receiver<Event>,
        stop: &mut (impl Future<Output = &'static str> + Unpin),
    ) -> anyhow::Result<Joined> {
        let mut ticks = tokio::time::interval(Duration::from_millis(TICK_INTERVAL_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let input = tokio::select! {
                reason = &mut *stop => {
                    tracing::info!(reason, "stopping");
                    return Ok(Joined::Stopped);
                }
                event = events.recv() => match event {
                    Some(event) => self.take(event)?,
                    None => bail!("the network has stopped"),
                },
                Some(done) = self.requests.join_next() => Some(done.context("a request panicked")?),
                Some(done) = self.disk.join_next() => match done.context("a part of joining panicked")?? {
                    Done::Input(input) => Some(input),
                    Done::Restored(true) => return Ok(self.ready()),
                    Done::Restored(false) => None,
                },
                _ = ticks.tick() => Some(SnapshotInput::Tick),
            };
            let Some(input) = input else { continue };
            if self.step(input).await? {
                return Ok(self.ready());
            }
        }
    }

    fn ready(&self) -> Joined {
        Joined::Ready { connected: self.peers.connected().collect() }
    }

    fn take(&mut self, event: Event) -> anyhow::Result<Option<SnapshotInput>> {
        match event {
            Event::PeerConnected(peer) => return Ok(Some(SnapshotInput::PeerConnected(self.peers.insert(peer)))),
            Event::PeerDisconnected(peer) => return Ok(self.peers.remove(&peer).map(SnapshotInput::PeerGone)),
            // Nothing can be said of them without a chain.
            Event::Transactions { id, .. } | Event::Block { id, .. } => {
                tell_network(self.join.network.verdict(id, Verdict::Ignore));
            }
            Event::Listening(address) => tracing::info!(%address, "listening"),
            Event::WrongGenesis { peer, theirs, ours } => tracing::warn!(
                %peer, theirs, ours,
                "a peer of another chain was turned away: check that both nodes use the same chain spec"
            ),
            Event::Banned { peer, reason, duration } => {
                tracing::warn!(%peer, reason = reason.label(), ?duration, "a peer was banned");
            }
            Event::ListenerFailed { addresses, reason } => {
                bail!("the node no longer listens on {addresses:?}: {reason}")
            }
            // There is nothing to serve, and no set of validators is known yet.
            Event::Consensus { .. }
            | Event::ValidatorConnected(_)
            | Event::ValidatorDisconnected(_)
            | Event::SyncRequest { .. }
            | Event::StateRequest { .. } => {}
        }
        Ok(None)
    }

    /// Whether there is no snapshot to be had.
    async fn step(&mut self, input: SnapshotInput) -> anyhow::Result<bool> {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut outputs = Vec::new();
        self.sync.step(now_ms, input, &mut outputs);
        self.tell();
        for output in outputs {
            match output {
                SnapshotOutput::RequestOffers(peer) => {
                    self.request(peer, StateRequest::Snapshots, move |response| {
                        let offers = match response {
                            Ok(StateResponse::Snapshots(offers)) => Some(offers),
                            Ok(_) | Err(_) => None,
                        };
                        SnapshotInput::Offers { peer, offers }
                    });
                }
                SnapshotOutput::RequestManifest { peer, id, snapshot, from } => {
                    let request = StateRequest::Manifest { id: snapshot, from };
                    self.request(peer, request, move |response| part(peer, id, response));
                }
                SnapshotOutput::RequestChunk { peer, id, snapshot, index } => {
                    let request = StateRequest::Chunk { id: snapshot, index };
                    self.request(peer, request, move |response| part(peer, id, response));
                }
                SnapshotOutput::Begin(verified) => self.begin(verified),
                SnapshotOutput::Store { index, bytes } => {
                    let path = chunk_file(&self.folder, index);
                    self.on_disk(move || {
                        write_whole(&path, &bytes).exit_with(ExitKind::Failure, cannot_write(&path))?;
                        Ok(Done::Input(SnapshotInput::Stored { index }))
                    });
                }
                SnapshotOutput::Abandon => {
                    tracing::warn!("the snapshot is given up: no peer has it any more, or it does not hold");
                    self.finish_writes().await?;
                    remove(&self.folder)?;
                }
                SnapshotOutput::Report { peer, offence } => {
                    let Some(peer) = self.peers.peer(peer) else { continue };
                    tracing::warn!(%peer, %offence, "snapshot sync: a peer misbehaves");
                    tell_network(self.join.network.report(peer, offence_of(offence.severity())));
                }
                SnapshotOutput::Complete(verified) => self.restore(verified),
                SnapshotOutput::NoSnapshot => {
                    tracing::info!("no peer offers a snapshot: beginning with the blocks from genesis");
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn tell(&mut self) {
        let progress = self.sync.progress();
        self.join.metrics.snapshot(&progress);
        if progress.chunks_total > 0 && self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            let SnapshotProgress { height, chunks, chunks_total, peers, .. } = progress;
            tracing::info!(%height, chunks, chunks_total, peers, "fetching the state");
        }
    }

    fn request(
        &mut self,
        peer: PeerRef,
        request: StateRequest,
        done: impl FnOnce(Result<StateResponse, SyncError>) -> SnapshotInput + Send + 'static,
    ) {
        let id = self.peers.peer(peer);
        let network = self.join.network.clone();
        self.requests.spawn(async move {
            done(match id {
                Some(id) => network.state_request(id, request).await,
                None => Err(SyncError::Stopped),
            })
        });
    }

    fn on_disk(&mut self, work: impl FnOnce() -> anyhow::Result<Done> + Send + 'static) {
        self.disk.spawn_blocking(work);
    }

    /// Waits for files that are being written; what comes of them matters no more.
    async fn finish_writes(&mut self) -> anyhow::Result<()> {
        while let Some(done) = self.disk.join_next().await {
            done.context("a part of joining panicked")??;
        }
        Ok(())
    }

    fn begin(&mut self, verified: Arc<VerifiedManifest>) {
        let folder = self.folder.clone();
        self.on_disk(move || {
            if let Err(error) = verify_snapshot_events(&verified) {
                return Ok(Done::Input(SnapshotInput::Refuted { reason: error.to_string() }));
            }
            remove(&folder)?;
            let manifest = verified.manifest();
            let path = folder.join(MANIFEST);
            std::fs::create_dir_all(&folder)
                .and_then(|()| write_whole(&path, &manifest.encode()))
                .exit_with(ExitKind::Failure, cannot_write(&path))?;
            let (chunks, bytes, leaves) = (manifest.chunks.len(), manifest.chunk_bytes(), manifest.leaves());
            tracing::info!(height = %manifest.height(), chunks, bytes, leaves, "fetching the state of a snapshot");
            Ok(Done::Input(SnapshotInput::Begun { held: Vec::new() }))
        });
    }

    fn restore(&mut self, verified: Arc<VerifiedManifest>) {
        let (database, folder) = (Arc::clone(&self.join.database), self.folder.clone());
        let (chain, is_over) = (self.chain.clone(), Arc::clone(&self.is_over));
        let (fetched, started) = (self.started.elapsed(), Instant::now());
        self.on_disk(move || {
            let height = verified.manifest().height();
            tracing::info!(%height, seconds = fetched.as_secs_f32(), "the state is here: restoring it");
            let verified = VerifiedManifest::clone(&verified);
            let restored = restore(database, &chain, verified, &folder, &is_over)?;
            if restored {
                tracing::info!(%height, seconds = started.elapsed().as_secs_f32(), "the state is restored");
            }
            Ok(Done::Restored(restored))
        });
    }
}

fn part(peer: PeerRef, id: RequestId, response: Result<StateResponse, SyncError>) -> SnapshotInput {
    let answer = match response {
        Ok(StateResponse::Manifest(bytes) | StateResponse::Chunk(bytes)) => PartAnswer::Bytes(bytes),
        Ok(StateResponse::Refused) => PartAnswer::Refused,
        Ok(StateResponse::Snapshots(_)) | Err(_) => PartAnswer::Failed,
    };
    SnapshotInput::Part { peer, id, answer }
}

/// What an earlier run left: a manifest that holds, and its chunks that hold. What does not is removed.
fn found_in(folder: &Path, chain: &Chain) -> anyhow::Result<Option<(VerifiedManifest, Vec<usize>)>> {
    if !folder.exists() {
        return Ok(None);
    }
    let manifest = read_manifest(folder).ok();
    let verified = manifest.and_then(|manifest| verify_snapshot(manifest, &chain.genesis, chain.schedule).ok());
    let Some(verified) = verified else {
        remove(folder)?;
        return Ok(None);
    };
    let mut held = Vec::new();
    for index in 0..verified.manifest().chunks.len() {
        let path = chunk_file(folder, index);
        if !path.exists() {
            continue;
        }
        let holds = read_chunk(folder, index).is_ok_and(|bytes| verified.open_chunk(index, &bytes).is_ok());
        if holds {
            held.push(index);
        } else {
            std::fs::remove_file(&path).exit_with(ExitKind::Failure, cannot_write(&path))?;
        }
    }
    Ok(Some((verified, held)))
}

/// Puts the snapshot in a folder into a database; goes on where an earlier run stopped. `false` if the node stops.
fn restore(
    database: Arc<dyn Database>,
    chain: &Chain,
    verified: VerifiedManifest,
    folder: &Path,
    is_over: &AtomicBool,
) -> anyhow::Result<bool> {
    let failed = |error: String| {
        let message = format!("the snapshot in {} cannot be restored: {error}; start again", folder.display());
        anyhow::Error::new(Failure::new(ExitKind::DatabaseDamaged, message))
    };
    let count = verified.manifest().chunks.len();
    let begun = Restore::open(database, chain.genesis.clone(), chain.spec_hash, verified);
    let mut restore = begun.map_err(|error| failed(error.to_string()))?;
    while restore.next_chunk() < count {
        if is_over.load(Ordering::Relaxed) {
            return Ok(false);
        }
        restore.add(&read_chunk(folder, restore.next_chunk())?).map_err(|error| failed(error.to_string()))?;
    }
    restore.finish().map_err(|error| failed(error.to_string()))?;
    Ok(true)
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    std::fs::remove_dir_all(folder).exit_with(ExitKind::Failure, format!("cannot remove {}", folder.display()))
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}
