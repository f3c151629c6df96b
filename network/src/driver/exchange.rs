//! Requests for blocks and for state in both directions, each bounded per peer and in total.

use super::Driver;
use super::outbox::try_event;
use super::peers::Peer;
use crate::behaviour::{Behaviour, EXCHANGE_TIMEOUT};
use crate::bucket::Bucket;
use crate::codec::{BlockSync, Exchange, ExchangeCodec, Malformed, StateSync};
use crate::error::SyncError;
use crate::event::{Event, Offence};
use crate::metrics::Queue;
use cairn_primitives::message::{StateRequest, StateResponse, SyncRequest, SyncResponse};
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

/// Where the driver keeps a protocol of requests.
pub(super) trait Served: Exchange {
    /// What is counted when a request of a peer finds no room.
    const QUEUE: Queue;
    fn behaviour(behaviour: &mut Behaviour) -> &mut request_response::Behaviour<ExchangeCodec<Self>>;
    fn service(driver: &mut Driver) -> &mut Service<Self>;
    /// What the peer may still ask.
    fn bucket(peer: &mut Peer) -> &mut Bucket;
    fn event(peer: PeerId, request: Self::Request, reply: oneshot::Sender<Self::Response>) -> Event;
}

impl Served for BlockSync {
    const QUEUE: Queue = Queue::SyncAnswers;

    fn behaviour(behaviour: &mut Behaviour) -> &mut request_response::Behaviour<ExchangeCodec<Self>> {
        &mut behaviour.sync
    }

    fn service(driver: &mut Driver) -> &mut Service<Self> {
        &mut driver.sync
    }

    fn bucket(peer: &mut Peer) -> &mut Bucket {
        &mut peer.sync_bucket
    }

    fn event(peer: PeerId, request: SyncRequest, reply: oneshot::Sender<SyncResponse>) -> Event {
        Event::SyncRequest { peer, request, reply }
    }
}

impl Served for StateSync {
    const QUEUE: Queue = Queue::StateAnswers;

    fn behaviour(behaviour: &mut Behaviour) -> &mut request_response::Behaviour<ExchangeCodec<Self>> {
        &mut behaviour.state
    }

    fn service(driver: &mut Driver) -> &mut Service<Self> {
        &mut driver.state
    }

    fn bucket(peer: &mut Peer) -> &mut Bucket {
        &mut peer.state_bucket
    }

    fn event(peer: PeerId, request: StateRequest, reply: oneshot::Sender<StateResponse>) -> Event {
        Event::StateRequest { peer, request, reply }
    }
}

/// Where the answer to a request of this node goes.
pub(super) type Reply<E> = oneshot::Sender<Result<<E as Exchange>::Response, SyncError>>;

/// An answer of the node and where it goes; `None` if the node gave none.
pub(super) type Answer<R> = (InboundRequestId, ResponseChannel<R>, Option<R>);

/// A request of a peer, until its answer has been taken.
struct Serving {
    peer: PeerId,
    /// The length of the answer, once there is one.
    answer_bytes: Option<usize>,
}

/// What is under way.
pub(super) struct Service<E: Exchange> {
    requests: BTreeMap<OutboundRequestId, (PeerId, Reply<E>)>,
    serving: BTreeMap<InboundRequestId, Serving>,
    pub(super) answers: FuturesUnordered<BoxFuture<'static, Answer<E::Response>>>,
    /// What all peers together may still ask; `None` where only their number bounds it.
    total: Option<Bucket>,
}

impl<E: Exchange> Service<E> {
    pub(super) fn new(total: Option<Bucket>) -> Self {
        Self { requests: BTreeMap::new(), serving: BTreeMap::new(), answers: FuturesUnordered::new(), total }
    }

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
    pub(super) fn send_request<E: Served>(&mut self, peer: PeerId, request: E::Request, reply: Reply<E>) {
        let is_connected = self.peers.contains_key(&peer);
        let requests = &E::service(self).requests;
        let with_peer = requests.values().filter(|(other, _)| *other == peer).count();
        let refused = if !is_connected {
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
        let id = E::behaviour(self.swarm.behaviour_mut()).send_request(&peer, Ok(request));
        E::service(self).requests.insert(id, (peer, reply));
    }

    pub(super) fn handle_exchange<E: Served>(
        &mut self,
        event: request_response::Event<Result<E::Request, Malformed>, E::Response>,
    ) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                Message::Request { request_id, request: Ok(request), channel } => {
                    self.handle_request::<E>(peer, request_id, request, channel);
                }
                Message::Request { request: Err(malformed), .. } => {
                    tracing::debug!(%peer, "{malformed}");
                    self.report(peer, Offence::Malformed);
                }
                Message::Response { request_id, response } => self.finish_request::<E>(request_id, Ok(response)),
            },
            request_response::Event::OutboundFailure { peer, request_id, error, .. } => {
                let error = self.blame_for_failure(peer, error);
                self.finish_request::<E>(request_id, Err(error));
            }
            request_response::Event::InboundFailure { peer, request_id, error, .. } => {
                self.handle_answer_failed::<E>(peer, request_id, &error);
            }
            request_response::Event::ResponseSent { request_id, .. } => {
                E::service(self).serving.remove(&request_id);
            }
        }
    }

    /// An answer that was not given or not taken.
    fn handle_answer_failed<E: Served>(&mut self, peer: PeerId, id: InboundRequestId, error: &InboundFailure) {
        let serving = E::service(self).serving.remove(&id);
        // It asked and does not read.
        if matches!(error, InboundFailure::Timeout) && serving.is_some_and(|serving| serving.answer_bytes.is_some()) {
            self.report(peer, Offence::Useless);
        }
    }

    fn finish_request<E: Served>(&mut self, id: OutboundRequestId, result: Result<E::Response, SyncError>) {
        if let Some((_, reply)) = E::service(self).requests.remove(&id) {
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

    fn handle_request<E: Served>(
        &mut self,
        peer: PeerId,
        id: InboundRequestId,
        request: E::Request,
        channel: ResponseChannel<E::Response>,
    ) {
        let now = Instant::now();
        let within_rate = self.peers.get_mut(&peer).is_some_and(|peer| E::bucket(peer).try_take(now));
        if !within_rate {
            self.report(peer, Offence::Flooding);
            return self.handle_answer::<E>((id, channel, None));
        }
        let service = E::service(self);
        if !service.has_room_for(&peer) || !service.total.as_mut().is_none_or(|total| total.try_take(now)) {
            self.metrics.dropped(E::QUEUE, 1);
            return self.handle_answer::<E>((id, channel, None));
        }
        let (reply, answer) = oneshot::channel();
        if try_event(&self.outbox.sender, E::event(peer, request, reply)).is_err() {
            self.metrics.dropped(Queue::Events, 1);
            return self.handle_answer::<E>((id, channel, None));
        }
        let service = E::service(self);
        service.serving.insert(id, Serving { peer, answer_bytes: None });
        service.answers.push(Box::pin(async move {
            let answer = tokio::time::timeout(EXCHANGE_TIMEOUT, answer).await;
            (id, channel, answer.ok().and_then(Result::ok))
        }));
    }

    pub(super) fn handle_answer<E: Served>(&mut self, (id, channel, answer): Answer<E::Response>) {
        let mut answer = answer.unwrap_or(E::REFUSED);
        if !E::service(self).try_hold(id, answer.encoded_size()) {
            self.metrics.dropped(E::QUEUE, 1);
            answer = E::REFUSED;
        }
        if E::behaviour(self.swarm.behaviour_mut()).send_response(channel, answer).is_err() {
            // The peer no longer waits.
            E::service(self).serving.remove(&id);
        }
    }
}
