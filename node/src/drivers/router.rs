//! Takes the network's events apart: each goes to the one part of the node that it concerns.

use crate::drivers::consensus::ConsensusHandle;
use crate::drivers::mempool::MempoolHandle;
use crate::drivers::sync::SyncHandle;
use crate::drivers::tell_network;
use crate::metrics::Metrics;
use crate::offered::Offered;
use anyhow::bail;
use cairn_ledger::{ReadError, Reader};
use cairn_network::{Event, Handle as Network, PeerId, Verdict};
use cairn_primitives::message::{StateRequest, StateResponse, SyncRequest, SyncResponse};
use cairn_primitives::{Certificate, FinalizedBlock, Height};
use cairn_sync::BlockSource;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Sync requests served at a time; more are refused, and the peers ask elsewhere.
const SERVED_MAX: usize = 4;

/// Requests for state served at a time, a megabyte each: consensus comes first. The network bounds how many wait.
const STATE_SERVED_MAX: usize = 2;

/// What the router works with.
pub struct Router {
    /// The network, for verdicts.
    pub network: Network,
    /// Where transactions go.
    pub mempool: MempoolHandle,
    /// Where consensus messages go; `None` on a node without an engine.
    pub consensus: Option<ConsensusHandle>,
    /// Where blocks and peers go.
    pub sync: SyncHandle,
    /// What sync requests are served from.
    pub reader: Reader,
    /// What requests for state are served from.
    pub offered: Offered,
    /// What is measured.
    pub metrics: Metrics,
    /// Peers that are connected already.
    pub connected: Vec<PeerId>,
}

/// Places for requests that are being served.
struct Places {
    blocks: Arc<Semaphore>,
    state: Arc<Semaphore>,
}

impl Router {
    /// Runs until the network ends.
    ///
    /// # Errors
    /// A listener failed.
    pub async fn run(self, mut events: mpsc::Receiver<Event>) -> anyhow::Result<()> {
        let places =
            Places { blocks: Arc::new(Semaphore::new(SERVED_MAX)), state: Arc::new(Semaphore::new(STATE_SERVED_MAX)) };
        for peer in &self.connected {
            self.sync.connected(*peer).await;
        }
        while let Some(event) = events.recv().await {
            self.route(event, &places).await?;
        }
        Ok(())
    }

    async fn route(&self, event: Event, places: &Places) -> anyhow::Result<()> {
        match event {
            Event::Transactions { peer, id, extrinsics } => self.mempool.gossiped(peer, id, extrinsics),
            Event::Block { peer, id, block } => {
                // Consensus brings a validator its blocks; what gossip tells it is of use only when it is behind.
                if self.consensus.is_some()
                    && block.block.header.number <= self.reader.head().height.0.saturating_add(2)
                {
                    tell_network(self.network.verdict(id, Verdict::Ignore));
                } else {
                    self.sync.announced(peer, id, *block).await;
                }
            }
            Event::Consensus { from, message } => {
                if let Some(consensus) = &self.consensus {
                    consensus.message(&from, message).await;
                }
            }
            Event::ValidatorConnected(key) => {
                tracing::info!(validator = %key, "validator connected");
                if let Some(consensus) = &self.consensus {
                    consensus.peer(&key, true).await;
                }
            }
            Event::ValidatorDisconnected(key) => {
                tracing::warn!(validator = %key, "validator disconnected");
                if let Some(consensus) = &self.consensus {
                    consensus.peer(&key, false).await;
                }
            }
            Event::PeerConnected(peer) => self.sync.connected(peer).await,
            Event::PeerDisconnected(peer) => self.sync.disconnected(peer).await,
            Event::WrongGenesis { peer, theirs, ours } => tracing::warn!(
                %peer, theirs, ours,
                "a peer of another chain was turned away: check that both nodes use the same chain spec"
            ),
            Event::Banned { peer, reason, duration } => {
                tracing::warn!(%peer, reason = reason.label(), ?duration, "a peer was banned");
            }
            Event::SyncRequest { peer: _, request, reply } => self.serve(request, reply, &places.blocks),
            Event::StateRequest { peer: _, request, reply } => self.serve_state(request, reply, &places.state),
            Event::Listening(address) => tracing::info!(%address, "listening"),
            Event::ListenerFailed { addresses, reason } => {
                bail!("the node no longer listens on {addresses:?}: {reason}")
            }
        }
        Ok(())
    }

    /// Serves a sync request on the blocking pool, if there is a place.
    fn serve(&self, request: SyncRequest, reply: oneshot::Sender<SyncResponse>, places: &Arc<Semaphore>) {
        let Ok(place) = places.clone().try_acquire_owned() else {
            self.metrics.sync_refused();
            return;
        };
        let reader = self.reader.clone();
        tokio::task::spawn_blocking(move || {
            let response = cairn_sync::serve(&Served(reader), &request);
            match response {
                // The peer may have gone.
                Ok(response) => drop(reply.send(response)),
                Err(error) => tracing::error!(%error, "blocks asked for by a peer cannot be read"),
            }
            drop(place);
        });
    }

    /// Serves a request for state on the blocking pool, when there is a place.
    fn serve_state(&self, request: StateRequest, reply: oneshot::Sender<StateResponse>, places: &Arc<Semaphore>) {
        let (offered, metrics, places) = (self.offered.clone(), self.metrics.clone(), places.clone());
        tokio::spawn(async move {
            let Ok(place) = places.acquire_owned().await else { return };
            tokio::task::spawn_blocking(move || {
                let response = offered.answer(&request);
                if matches!(response, StateResponse::Manifest(_) | StateResponse::Chunk(_)) {
                    metrics.snapshot_part_served();
                }
                // The peer may have gone.
                drop(reply.send(response));
                drop(place);
            });
        });
    }
}

/// The read model as block sync serves it.
struct Served(Reader);

impl BlockSource for Served {
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
