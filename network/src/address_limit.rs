//! A limit of inbound connections per address of the internet, so that one machine cannot take the places of all others.
//!
//! It counts connections from the moment they are accepted, handshakes included: whoever opens many and says nothing holds
//! no more of them than its share. An IPv6 address counts by its first 64 bits, which is what one customer gets.

use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::{ConnectionClosed, ListenFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{PeerId, swarm};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::task::{Context, Poll};

/// The part of an IPv6 address that names a network.
const IPV6_NETWORK: u128 = !0 << 64;

/// An address has as many connections as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} has {limit} connections to this node already")]
pub(crate) struct AddressFull {
    address: IpAddr,
    limit: u32,
}

/// Counts inbound connections by address.
#[derive(Debug)]
pub(crate) struct Behaviour {
    limit: u32,
    connections: BTreeMap<ConnectionId, IpAddr>,
    counts: BTreeMap<IpAddr, u32>,
}

impl Behaviour {
    pub(crate) const fn new(limit: u32) -> Self {
        Self { limit, connections: BTreeMap::new(), counts: BTreeMap::new() }
    }

    fn take(&mut self, connection: ConnectionId, remote: &Multiaddr) -> Result<(), AddressFull> {
        let Some(address) = network_of(remote) else { return Ok(()) };
        let count = self.counts.entry(address).or_default();
        if *count >= self.limit {
            let limit = self.limit;
            if *count == 0 {
                self.counts.remove(&address);
            }
            return Err(AddressFull { address, limit });
        }
        *count = count.saturating_add(1);
        self.connections.insert(connection, address);
        Ok(())
    }

    fn give_back(&mut self, connection: ConnectionId) {
        let Some(address) = self.connections.remove(&connection) else { return };
        if let Some(count) = self.counts.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&address);
            }
        }
    }
}

/// The network that an address is of; `None` where it names no IP address.
#[allow(clippy::wildcard_enum_match_arm, reason = "multiaddresses have dozens of protocols; two are IP addresses")]
fn network_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(match ip.to_ipv4_mapped() {
            Some(ip) => ip.into(),
            None => Ipv6Addr::from_bits(ip.to_bits() & IPV6_NETWORK).into(),
        }),
        _ => None,
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.take(connection, remote).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "the events of a swarm are open-ended")]
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => self.give_back(connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

/// Why a connection was refused, as metrics name it.
pub(crate) fn refusal(error: &swarm::ListenError) -> Option<&'static str> {
    let swarm::ListenError::Denied { cause } = error else { return None };
    if cause.downcast_ref::<AddressFull>().is_some() {
        Some("address")
    } else if cause.downcast_ref::<libp2p::connection_limits::Exceeded>().is_some() {
        Some("limit")
    } else {
        Some("banned")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn connection(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    #[test]
    fn connections_beyond_the_share_of_an_address_are_refused_until_one_ends() {
        let mut limit = Behaviour::new(2);
        let one = address("/ip4/10.0.0.1/tcp/1000");
        limit.take(connection(1), &one).unwrap();
        limit.take(connection(2), &address("/ip4/10.0.0.1/udp/2000/quic-v1")).unwrap();
        assert!(limit.take(connection(3), &one).is_err());
        limit.take(connection(4), &address("/ip4/10.0.0.2/tcp/1000")).unwrap();
        limit.give_back(connection(3));
        assert!(limit.take(connection(5), &one).is_err(), "what was refused gives nothing back");
        limit.give_back(connection(1));
        limit.take(connection(6), &one).unwrap();
        for number in [2, 4, 6] {
            limit.give_back(connection(number));
        }
        assert!(limit.counts.is_empty() && limit.connections.is_empty());
    }

    #[test]
    fn ipv6_addresses_of_one_network_share_and_mapped_ones_are_ipv4() {
        let network = |text: &str| network_of(&address(text)).unwrap();
        assert_eq!(network("/ip6/2001:db8:1:2::1/tcp/1"), network("/ip6/2001:db8:1:2:ffff::9/tcp/2"));
        assert_ne!(network("/ip6/2001:db8:1:2::1/tcp/1"), network("/ip6/2001:db8:1:3::1/tcp/1"));
        assert_eq!(network("/ip6/::ffff:10.0.0.1/tcp/1"), network("/ip4/10.0.0.1/tcp/1"));
        assert_eq!(network_of(&address("/dns/example.org/tcp/1")), None);
    }

    #[test]
    fn limit_of_nobody_keeps_no_counts() {
        let mut limit = Behaviour::new(0);
        assert!(limit.take(connection(1), &address("/ip4/10.0.0.1/tcp/1")).is_err());
        assert!(limit.counts.is_empty());
    }
}
