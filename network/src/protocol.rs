//! The libp2p protocol of consensus streams: opens them on request, accepts them while this node is a validator.
//!
//! A node that is no validator does not offer the protocol at all, so that negotiation refuses it.

use cairn_primitives::authority::Lane;
use futures::future::{Ready, ready};
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, ReadyUpgrade, UpgradeInfo};
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{PeerId, Stream, StreamProtocol};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// Streams a connection may hand over before the swarm task takes them; more are dropped, which the peer sees as a
/// closed stream.
const HANDOVER_MAX: usize = 8;

/// A stream to open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub(crate) lane: Lane,
    pub(crate) link: u64,
}

/// What came of it, or what the peer opened.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// The peer opened a stream.
    Inbound(Stream),
    /// A stream was opened.
    Outbound(Open, Stream),
    /// The peer does not offer the protocol.
    Unsupported,
    /// The stream could not be opened.
    Failed(u64),
}

/// The behaviour.
#[derive(Debug)]
pub(crate) struct Behaviour {
    protocol: StreamProtocol,
    offered: Arc<AtomicBool>,
    pending: VecDeque<ToSwarm<(PeerId, StreamEvent), Open>>,
}

impl Behaviour {
    pub(crate) fn new(protocol: StreamProtocol) -> Self {
        Self { protocol, offered: Arc::default(), pending: VecDeque::new() }
    }

    /// Offers the protocol to peers, or no longer.
    pub(crate) fn set_offered(&self, offered: bool) {
        self.offered.store(offered, Ordering::Relaxed);
    }

    /// Opens both streams of a link on one connection to the peer.
    pub(crate) fn open(&mut self, peer_id: PeerId, connection: ConnectionId, link: u64) {
        for lane in Lane::BOTH {
            let handler = NotifyHandler::One(connection);
            self.pending.push_back(ToSwarm::NotifyHandler { peer_id, handler, event: Open { lane, link } });
        }
    }

    fn handler(&self) -> Handler {
        Handler {
            protocol: self.protocol.clone(),
            offered: Arc::clone(&self.offered),
            to_open: VecDeque::new(),
            events: VecDeque::new(),
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = (PeerId, StreamEvent);

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        self.pending.push_back(ToSwarm::GenerateEvent((peer, event)));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.pending.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// Accepts the protocol, if it is offered, with the bare stream.
#[derive(Debug)]
pub(crate) struct Offer(Option<StreamProtocol>);

impl UpgradeInfo for Offer {
    type Info = StreamProtocol;
    type InfoIter = std::option::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, _: Self::Info) -> Self::Future {
        ready(Ok(stream))
    }
}

/// The protocol on one connection.
#[derive(Debug)]
pub(crate) struct Handler {
    protocol: StreamProtocol,
    offered: Arc<AtomicBool>,
    to_open: VecDeque<Open>,
    events: VecDeque<StreamEvent>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = StreamEvent;
    type InboundProtocol = Offer;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Open;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        SubstreamProtocol::new(Offer(self.offered.load(Ordering::Relaxed).then(|| self.protocol.clone())), ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, Open, StreamEvent>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        match self.to_open.pop_front() {
            Some(open) => {
                let protocol = SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), open);
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
            }
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, open: Open) {
        self.to_open.push_back(open);
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "the events of a connection are open-ended")]
    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Offer, ReadyUpgrade<StreamProtocol>, (), Open>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: stream, .. })
                if self.events.len() < HANDOVER_MAX =>
            {
                self.events.push_back(StreamEvent::Inbound(stream));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, info }) => {
                self.events.push_back(StreamEvent::Outbound(info, stream));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                self.events.push_back(match error {
                    StreamUpgradeError::NegotiationFailed => StreamEvent::Unsupported,
                    _ => StreamEvent::Failed(info.link),
                });
            }
            _ => {}
        }
    }
}
