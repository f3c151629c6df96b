//! Sync requests in both directions, each bounded per peer and in total.

use super::Driver;
use super::outbox::try_event;
use crate::behaviour::SYNC_TIMEOUT;
use crate::codec::Malformed;
use crate::error::SyncError;
use crate::event::{Event, Offence};
use crate::metrics::Queue;
use cairn_primitives::message::{SyncRequest, SyncResponse};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use libp2p::request_response::{
    self, InboundFailure, InboundRequestId, Message, OutboundFailure, OutboundRequestId, ResponseChannel,
};
use parity_scale_codec::Encode as _;
use std::collections::BTreeMap;
use std::io;
use std::time::Instant;
use tokio::sync::oneshot;

/// Requests of this node under way with one peer.
const REQUESTS_PER_PEER_MAX: usize = 4;

/// Requests of this node under way in total; bounds the memory of answers.
const REQUESTS_MAX: usize = 32;

/// Requests of peers that wait for the node's answer, in total.
const ANSWERS_MAX: usize = 32;

/// Requests of one peer that wait for the node's answer, or whose answer the peer has not taken yet.
const ANSWERS_PER_PEER_MAX: usize = 4;

/// Bytes of answers that peers have not taken yet, in total: what those who read slowly can make the node hold.
const UNREAD_BYTES_MAX: usize = 64 << 20;

type Reply = oneshot::Sender<Result<SyncResponse, SyncError>>;

/// An answer of the node and where it goes; `None` if the node gave none.
pub(super) type Answer = (InboundRequestId, ResponseChannel<SyncResponse>, Option<SyncResponse>);

/// A request of a peer, until its answer has been taken.
struct Serving {
    peer: PeerId,
    /// The length of the answer, once there is one.
    answer_bytes: Option<usize>,
}

/// What is under way.
#[derive(Default)]
pub(super) struct SyncService {
    requests: BTreeMap<OutboundRequestId, (PeerId, Reply)>,
    serving: BTreeMap<InboundRequestId, Serving>,
    pub(super) answers: FuturesUnordered<BoxFuture<'static, Answer>>,
}

impl SyncService {
    /// Whether one more request of the peer may wait for an answer.
    fn has_room_for(&self, peer: &PeerId) -> bool {
        let of_peer = self.serving.values().filter(|serving| serving.peer == *peer).count();
        self.answers.len() < ANSWERS_MAX && of_peer < ANSWERS_PER_PEER_MAX
    }

    /// Notes that an answer of so many bytes goes out, if it may.
    fn try_hold(&mut self, id: InboundRequestId, bytes: usize) -> bool {
        let held: usize = self.serving.values().filter_map(|serving| serving.answer_bytes).sum();
        let fits = held.saturating_add(bytes) <= UNREAD_BYTES_MAX;
        if let Some(serving) = self.serving.get_mut(&id) {
            serving.answer_bytes = Some(if fits { bytes } else { 0 });
        }
        fits
    }
}

impl Driver {
    pub(super) fn send_sync_request(&mut self, peer: PeerId, request: SyncRequest, reply: Reply) {
        let requests = &mut self.sync.requests;
        let with_peer = requests.values().filter(|(other, _)| *other == peer).count();
        let refused = if !self.peers.contains_key(&peer) {
            Some(SyncError::NotConnected(peer))
        } else if with_peer >= REQUESTS_PER_PEER_MAX {
            Some(SyncError::Busy { limit: REQUESTS_PER_PEER_MAX })
        } else if requests.len() >= REQUESTS_MAX {
            Some(SyncError::Busy { limit: REQUESTS_MAX })
        } else {
            None
        };
        if let Some(error) = refused {
            // The caller may have stopped waiting.
            drop(reply.send(Err(error)));
            return;
        }
        let id = self.swarm.behaviour_mut().sync.send_request(&peer, Ok(request));
        requests.insert(id, (peer, reply));
    }

    pub(super) fn handle_sync(&mut self, event: request_response::Event<Result<SyncRequest, Malformed>, SyncResponse>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                Message::Request { request_id, request: Ok(request), channel } => {
                    self.handle_sync_request(peer, request_id, request, channel);
                }
                Message::Request { request: Err(malformed), .. } => {
                    tracing::debug!(%peer, "{malformed}");
                    self.report(peer, Offence::Malformed);
                }
                Message::Response { request_id, response } => self.finish_request(request_id, Ok(response)),
            },
            request_response::Event::OutboundFailure { peer, request_id, error, .. } => {
                let error = self.blame_for_failure(peer, error);
                self.finish_request(request_id, Err(error));
            }
            request_response::Event::InboundFailure { peer, request_id, error, .. } => {
                self.handle_answer_failed(peer, request_id, &error);
            }
            request_response::Event::ResponseSent { request_id, .. } => drop(self.sync.serving.remove(&request_id)),
        }
    }

    /// An answer that was not given or not taken.
    fn handle_answer_failed(&mut self, peer: PeerId, id: InboundRequestId, error: &InboundFailure) {
        let serving = self.sync.serving.remove(&id);
        // It asked and does not read.
        if matches!(error, InboundFailure::Timeout) && serving.is_some_and(|serving| serving.answer_bytes.is_some()) {
            self.report(peer, Offence::Useless);
        }
    }

    fn finish_request(&mut self, id: OutboundRequestId, result: Result<SyncResponse, SyncError>) {
        if let Some((_, reply)) = self.sync.requests.remove(&id) {
            // The caller may have stopped waiting.
            drop(reply.send(result));
        }
    }

    fn blame_for_failure(&mut self, peer: PeerId, failure: OutboundFailure) -> SyncError {
        match failure {
            OutboundFailure::Timeout => {
                self.report(peer, Offence::Slow);
                SyncError::Timeout(peer)
            }
            OutboundFailure::UnsupportedProtocols => SyncError::Unsupported(peer),
            OutboundFailure::DialFailure => SyncError::NotConnected(peer),
            OutboundFailure::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.report(peer, Offence::Malformed);
                SyncError::Malformed { peer, reason: error.to_string() }
            }
            OutboundFailure::Io(error) => SyncError::Connection { peer, reason: error.to_string() },
            OutboundFailure::ConnectionClosed => {
                SyncError::Connection { peer, reason: "it closed before the answer came".to_owned() }
            }
        }
    }

    fn handle_sync_request(
        &mut self,
        peer: PeerId,
        id: InboundRequestId,
        request: SyncRequest,
        channel: ResponseChannel<SyncResponse>,
    ) {
        let within_rate = self.peers.get_mut(&peer).is_some_and(|peer| peer.bucket.try_take(Instant::now()));
        if !within_rate {
            self.report(peer, Offence::Flooding);
            return self.handle_answer((id, channel, None));
        }
        if !self.sync.has_room_for(&peer) {
            self.metrics.dropped(Queue::SyncAnswers, 1);
            return self.handle_answer((id, channel, None));
        }
        let (reply, answer) = oneshot::channel();
        if try_event(&self.outbox.sender, Event::SyncRequest { peer, request, reply }).is_err() {
            self.metrics.dropped(Queue::Events, 1);
            return self.handle_answer((id, channel, None));
        }
        self.sync.serving.insert(id, Serving { peer, answer_bytes: None });
        self.sync.answers.push(Box::pin(async move {
            let answer = tokio::time::timeout(SYNC_TIMEOUT, answer).await;
            (id, channel, answer.ok().and_then(Result::ok))
        }));
    }

    pub(super) fn handle_answer(&mut self, (id, channel, answer): Answer) {
        let mut answer = answer.unwrap_or(SyncResponse::Refused);
        if !self.sync.try_hold(id, answer.encoded_size()) {
            self.metrics.dropped(Queue::SyncAnswers, 1);
            answer = SyncResponse::Refused;
        }
        if self.swarm.behaviour_mut().sync.send_response(channel, answer).is_err() {
            // The peer no longer waits.
            self.sync.serving.remove(&id);
        }
    }
}
