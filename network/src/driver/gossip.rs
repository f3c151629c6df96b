//! Gossip in and out: counting, decoding off the swarm task, verdicts.

use super::Driver;
use super::outbox::try_event;
use crate::event::{Event, GossipId, Offence, Verdict};
use crate::gossip::{FINALIZED_BLOCK_BYTES_MAX, Topic};
use crate::handle::Command;
use crate::metrics::{Metrics, Queue, Traffic};
use cairn_primitives::codec::{DecodeError, decode_strict};
use cairn_primitives::message::{TRANSACTIONS_BYTES_MAX, TransactionGossip};
use libp2p::gossipsub::{self, MessageAcceptance, PublishError};
use tokio::sync::mpsc;

/// Gossip messages that wait to be decoded; at most one in eight can be a block, by their sizes about 150 MiB at worst.
const UNDECODED_MAX: usize = 64;

/// A gossip message as it came.
#[derive(Debug)]
pub(super) struct Undecoded {
    id: GossipId,
    topic: Topic,
    data: Vec<u8>,
}

impl Undecoded {
    #[allow(clippy::result_large_err, reason = "made once a message and taken apart at once")]
    fn decode(self) -> Result<Event, (GossipId, DecodeError)> {
        let peer = self.id.source;
        match self.topic {
            Topic::Transactions => match decode_strict("transactions gossip", &self.data, TRANSACTIONS_BYTES_MAX) {
                Ok(TransactionGossip(extrinsics)) => Ok(Event::Transactions { peer, id: self.id, extrinsics }),
                Err(error) => Err((self.id, error)),
            },
            Topic::Blocks => match decode_strict("block gossip", &self.data, FINALIZED_BLOCK_BYTES_MAX) {
                Ok(block) => Ok(Event::Block { peer, id: self.id, block: Box::new(block) }),
                Err(error) => Err((self.id, error)),
            },
        }
    }
}

/// Starts the task that decodes gossip. What the node has no room for is dropped, counted and not forwarded.
pub(super) fn spawn_decoder(
    commands: mpsc::Sender<Command>,
    events: mpsc::Sender<Event>,
    metrics: Metrics,
) -> mpsc::Sender<Undecoded> {
    let (sender, mut receiver) = mpsc::channel::<Undecoded>(UNDECODED_MAX);
    tokio::spawn(async move {
        while let Some(undecoded) = receiver.recv().await {
            let id = undecoded.id.clone();
            let command = match undecoded.decode() {
                Ok(event) => match try_event(&events, event) {
                    Ok(()) => continue,
                    Err(_) => {
                        metrics.dropped(Queue::Events, 1);
                        Command::Verdict { id, verdict: Verdict::Ignore }
                    }
                },
                Err((id, error)) => {
                    tracing::debug!(peer = %id.source, %error, "malformed gossip");
                    Command::MalformedGossip(id)
                }
            };
            if commands.send(command).await.is_err() {
                return;
            }
        }
    });
    sender
}

impl Driver {
    pub(super) fn publish(&mut self, topic: Topic, data: Vec<u8>) {
        let bytes = data.len();
        let hash = self.names.topics.get(topic).hash();
        match self.swarm.behaviour_mut().gossip.publish(hash, data) {
            Ok(_) => self.metrics.count_out(traffic(topic), bytes),
            // Nobody to send to yet, or nothing new: both are usual.
            Err(PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) => {}
            Err(error) => {
                tracing::debug!(?topic, %error, "gossip was not sent");
                self.metrics.dropped(Queue::Gossip, 1);
            }
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "other events of gossipsub concern nobody here")]
    pub(super) fn handle_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source: source, message_id, message } => {
                let id = GossipId { message: message_id, source };
                let Some(topic) = self.names.topics.find(&message.topic) else {
                    return self.handle_verdict(&id, Verdict::Ignore);
                };
                self.metrics.count_in(traffic(topic), message.data.len());
                let undecoded = Undecoded { id: id.clone(), topic, data: message.data };
                if self.decoder.try_send(undecoded).is_err() {
                    self.metrics.dropped(Queue::GossipDecoder, 1);
                    self.handle_verdict(&id, Verdict::Ignore);
                }
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => tracing::debug!(peer = %peer_id, "gossip to a peer is slow"),
            _ => {}
        }
    }

    /// Tells gossipsub; a rejected message costs whoever forwarded it.
    pub(super) fn handle_verdict(&mut self, id: &GossipId, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => MessageAcceptance::Reject,
        };
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(&id.message, &id.source, acceptance);
        if verdict == Verdict::Reject {
            self.report(id.source, Offence::Invalid);
        }
    }

    pub(super) fn handle_malformed_gossip(&mut self, id: &GossipId) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(&id.message, &id.source, MessageAcceptance::Reject);
        self.report(id.source, Offence::Malformed);
    }
}

const fn traffic(topic: Topic) -> Traffic {
    match topic {
        Topic::Transactions => Traffic::Transactions,
        Topic::Blocks => Traffic::Blocks,
    }
}
