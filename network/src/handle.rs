//! The node's side of the network: cheap to clone, safe to call from anywhere.
//!
//! What is not `async` never waits: it takes effect, or says that a queue is full. What is `async` waits for room and
//! for the answer.

use crate::config::Validators;
use crate::error::{CommandError, SyncError};
use crate::event::{GossipId, NetworkStatus, Offence, Verdict};
use crate::gossip::{self, Topic};
use crate::links::Links;
use crate::metrics::{Metrics, Queue};
use cairn_primitives::message::{
    CONSENSUS_MESSAGE_BYTES_MAX, ConsensusMessage, StateRequest, StateResponse, SyncRequest, SyncResponse,
};
use cairn_primitives::{FinalizedBlock, OpaqueExtrinsic, PublicKey};
use libp2p::{Multiaddr, PeerId};
use parity_scale_codec::Encode;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Commands that wait for the swarm task.
pub(crate) const COMMANDS_MAX: usize = 1024;

/// What the node asks of the swarm task.
#[derive(Debug)]
pub(crate) enum Command {
    Publish {
        topic: Topic,
        data: Vec<u8>,
    },
    Verdict {
        id: GossipId,
        verdict: Verdict,
    },
    /// The decoder could not decode a gossip message.
    MalformedGossip(GossipId),
    Report {
        peer: PeerId,
        offence: Offence,
    },
    Sync {
        peer: PeerId,
        request: SyncRequest,
        reply: oneshot::Sender<Result<SyncResponse, SyncError>>,
    },
    State {
        peer: PeerId,
        request: StateRequest,
        reply: oneshot::Sender<Result<StateResponse, SyncError>>,
    },
    SetValidators(Validators),
    AddKnown(Vec<Multiaddr>),
    Status(oneshot::Sender<NetworkStatus>),
    /// The sender is dropped when everything is closed.
    Stop(oneshot::Sender<Infallible>),
}

/// Sends to the network and asks it.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    links: Arc<Links>,
    metrics: Metrics,
    local: PeerId,
}

impl Handle {
    pub(crate) const fn new(
        commands: mpsc::Sender<Command>,
        links: Arc<Links>,
        metrics: Metrics,
        local: PeerId,
    ) -> Self {
        Self { commands, links, metrics, local }
    }

    /// This node's peer id.
    #[must_use]
    pub const fn local_peer_id(&self) -> PeerId {
        self.local
    }

    /// Gossips transactions in as few messages as their sizes allow; never waits.
    ///
    /// # Errors
    /// A transaction is too large (none is sent), the queue is full (those before are sent) or the network has stopped.
    pub fn publish_transactions(&self, extrinsics: Vec<OpaqueExtrinsic>) -> Result<(), CommandError> {
        for data in gossip::encode_transactions(extrinsics)? {
            self.try_command(Command::Publish { topic: Topic::Transactions, data })?;
        }
        Ok(())
    }

    /// Gossips a finalized block; never waits.
    ///
    /// # Errors
    /// The block is too large, the queue is full or the network has stopped.
    pub fn publish_block(&self, block: &FinalizedBlock) -> Result<(), CommandError> {
        let data = gossip::encode_block(block)?;
        self.try_command(Command::Publish { topic: Topic::Blocks, data })
    }

    /// Queues a consensus message for one validator; never waits. A full queue drops its oldest message and counts it.
    ///
    /// # Errors
    /// The message is too large or the validator is not connected.
    pub fn send(&self, to: &PublicKey, message: &ConsensusMessage) -> Result<(), CommandError> {
        self.links.send(to, encode_consensus(message)?)
    }

    /// Encodes a consensus message once and queues it for all connected validators; never waits. Returns how many they
    /// are. A full queue drops its oldest message and counts it.
    ///
    /// # Errors
    /// The message is too large.
    pub fn broadcast(&self, message: &ConsensusMessage) -> Result<usize, CommandError> {
        Ok(self.links.broadcast(&encode_consensus(message)?))
    }

    /// Asks a connected peer for blocks and waits for the answer, at most the request timeout of 15 s.
    ///
    /// # Errors
    /// The peer is not connected, too many requests are under way, or no proper answer came; see [`SyncError`].
    pub async fn sync_request(&self, peer: PeerId, request: SyncRequest) -> Result<SyncResponse, SyncError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Sync { peer, request, reply };
        self.commands.send(command).await.map_err(|_| SyncError::Stopped)?;
        answer.await.unwrap_or(Err(SyncError::Stopped))
    }

    /// Asks a connected peer for a part of a snapshot and waits for the answer, at most the request timeout of 15 s.
    ///
    /// # Errors
    /// The peer is not connected, too many requests are under way, or no proper answer came; see [`SyncError`].
    pub async fn state_request(&self, peer: PeerId, request: StateRequest) -> Result<StateResponse, SyncError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::State { peer, request, reply };
        self.commands.send(command).await.map_err(|_| SyncError::Stopped)?;
        answer.await.unwrap_or(Err(SyncError::Stopped))
    }

    /// Gives the verdict on a gossip message; never waits. A verdict that is not taken means [`Verdict::Ignore`].
    ///
    /// # Errors
    /// The queue is full or the network has stopped.
    pub fn verdict(&self, id: GossipId, verdict: Verdict) -> Result<(), CommandError> {
        self.try_command(Command::Verdict { id, verdict })
    }

    /// Reports what a peer did wrong; never waits.
    ///
    /// # Errors
    /// The queue is full or the network has stopped.
    pub fn report(&self, peer: PeerId, offence: Offence) -> Result<(), CommandError> {
        self.try_command(Command::Report { peer, offence })
    }

    /// Tells the validators of a new epoch; waits for room. Streams to those that stay are kept.
    ///
    /// # Errors
    /// The network has stopped.
    pub async fn set_validators(&self, validators: Validators) -> Result<(), CommandError> {
        self.command(Command::SetValidators(validators)).await
    }

    /// Adds addresses of peers, each ending in `/p2p/<peer id>`; others are passed over. Waits for room.
    ///
    /// # Errors
    /// The network has stopped.
    pub async fn add_known(&self, addresses: Vec<Multiaddr>) -> Result<(), CommandError> {
        self.command(Command::AddKnown(addresses)).await
    }

    /// What the network looks like now; waits for room and the answer.
    ///
    /// # Errors
    /// The network has stopped.
    pub async fn status(&self) -> Result<NetworkStatus, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Status(reply)).await?;
        answer.await.map_err(|_| CommandError::Stopped)
    }

    /// Closes listeners, streams and connections and waits until that is done; the events end with it.
    pub async fn stop(&self) {
        let (reply, done) = oneshot::channel();
        if self.command(Command::Stop(reply)).await.is_ok() {
            // The only answer is that the sender is gone.
            drop(done.await);
        }
    }

    async fn command(&self, command: Command) -> Result<(), CommandError> {
        self.commands.send(command).await.map_err(|_| CommandError::Stopped)
    }

    fn try_command(&self, command: Command) -> Result<(), CommandError> {
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.metrics.dropped(Queue::Commands, 1);
                CommandError::Full { limit: COMMANDS_MAX }
            }
            mpsc::error::TrySendError::Closed(_) => CommandError::Stopped,
        })
    }
}

fn encode_consensus(message: &ConsensusMessage) -> Result<Arc<[u8]>, CommandError> {
    let bytes = message.encode();
    if bytes.len() > CONSENSUS_MESSAGE_BYTES_MAX {
        let (actual, limit) = (bytes.len(), CONSENSUS_MESSAGE_BYTES_MAX);
        return Err(CommandError::TooLarge { what: "consensus message", actual, limit });
    }
    Ok(bytes.into())
}
