//! Connections: dialling, identification, discovery, reputation.

use super::Driver;
use crate::book::Role;
use crate::bucket::Bucket;
use crate::config::split_peer_address;
use crate::event::{Direction, Event, Offence};
use crate::metrics::Dial;
use crate::timers::Timer;
use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId, identify, kad, ping};
use std::time::{Duration, Instant};

/// What chains of this software are called in identify, before their genesis.
const CHAIN_PREFIX: &str = "cairn/";

/// The longest agent name kept, in characters.
const AGENT_CHARS_MAX: usize = 64;

/// How soon to look for peers after a new one came up.
const DISCOVER_SOON: Duration = Duration::from_millis(250);

/// How often to look for peers once the first minute is over.
const DISCOVER_LATE: Duration = Duration::from_mins(5);

/// How soon to try again while someone else's dial to the peer is under way.
const DIAL_AGAIN: Duration = Duration::from_secs(1);

/// A connected peer.
pub(super) struct Peer {
    /// Its connections, newest last.
    pub(super) connections: Vec<ConnectionId>,
    pub(super) address: Multiaddr,
    pub(super) direction: Direction,
    pub(super) since: Instant,
    pub(super) agent: Option<String>,
    /// Whether identify has shown that it is of this chain, and the node was told.
    identified: bool,
    pub(super) round_trip: Option<Duration>,
    /// What it may still ask for blocks.
    pub(super) sync_bucket: Bucket,
    /// What it may still ask for state.
    pub(super) state_bucket: Bucket,
}

impl Driver {
    pub(super) fn dial(&mut self, peer: PeerId) {
        let Some(role) = self.book.role(&peer) else { return };
        let wanted = match role {
            Role::Reserved => true,
            Role::Boot | Role::Validator => !self.config.reserved_only,
            Role::Ordinary => !self.config.reserved_only && self.peers.len() < self.config.limits.peers_wanted,
        };
        if !wanted || self.peers.contains_key(&peer) || self.reputation.is_banned(&peer) {
            return;
        }
        // A new port each: with a reused one two nodes that dial each other at once may meet in one TCP connection, in
        // which both take the same role.
        let options = DialOpts::peer_id(peer)
            .addresses(self.book.addresses(&peer))
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .allocate_new_port()
            .build();
        match self.swarm.dial(options) {
            Ok(()) => self.metrics.dialled(Dial::Started),
            Err(DialError::DialPeerConditionFalse(_)) => {
                self.timers.set(Timer::Dial(peer), Instant::now() + DIAL_AGAIN);
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "a dial could not start");
                self.handle_dial_failed(peer);
            }
        }
    }

    pub(super) fn handle_dial_failed(&mut self, peer: PeerId) {
        self.metrics.dialled(Dial::Failed);
        if !self.peers.contains_key(&peer) {
            self.retry_dial(peer);
        }
    }

    pub(super) fn disconnect(&mut self, peer: PeerId) {
        if self.swarm.disconnect_peer_id(peer).is_err() {
            tracing::trace!(%peer, "the peer was gone already");
        }
    }

    fn retry_dial(&mut self, peer: PeerId) {
        if let Some(delay) = self.book.failed(&peer) {
            self.timers.set_if_unset(Timer::Dial(peer), Instant::now() + delay);
        }
    }

    pub(super) fn handle_connected(&mut self, id: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        if self.config.reserved_only && self.book.role(&id) != Some(Role::Reserved) {
            return self.disconnect(id);
        }
        self.timers.cancel(Timer::Dial(id));
        let now = Instant::now();
        let address = endpoint.get_remote_address().clone();
        let direction = if endpoint.is_dialer() { Direction::Outbound } else { Direction::Inbound };
        if direction == Direction::Outbound {
            self.book.learn(id, [address.clone()], Role::Ordinary);
        }
        let limits = &self.config.limits;
        let peer = self.peers.entry(id).or_insert_with(|| Peer {
            connections: Vec::new(),
            address,
            direction,
            since: now,
            agent: None,
            identified: false,
            round_trip: None,
            sync_bucket: Bucket::new(limits.sync_requests_per_second, limits.sync_requests_burst, now),
            state_bucket: Bucket::new(limits.state_requests_per_peer_second, limits.state_requests_per_peer_burst, now),
        });
        peer.connections.push(connection);
        self.count_peers();
        self.ensure_link(id);
    }

    pub(super) fn handle_disconnected(&mut self, id: PeerId, connection: ConnectionId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.connections.retain(|other| *other != connection);
        if !peer.connections.is_empty() {
            return;
        }
        let identified = peer.identified;
        self.peers.remove(&id);
        self.count_peers();
        self.forget_link(&id);
        if identified {
            self.outbox.push(Event::PeerDisconnected(id));
        }
        if !self.reputation.is_banned(&id) {
            self.retry_dial(id);
        }
    }

    fn count_peers(&self) {
        self.metrics.peers.set(i64::try_from(self.peers.len()).unwrap_or(i64::MAX));
    }

    pub(super) fn handle_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        if info.protocol_version.starts_with(CHAIN_PREFIX) && info.protocol_version != self.names.chain {
            return self.turn_away(peer_id, info.protocol_version);
        }
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        peer.agent = Some(info.agent_version.chars().filter(|one| !one.is_control()).take(AGENT_CHARS_MAX).collect());
        // Addresses on a peer's loopback are of use only to nodes on the same machine.
        let nearby = is_loopback(&peer.address);
        let addresses: Vec<_> = info.listen_addrs.into_iter().filter(|one| nearby || !is_loopback(one)).collect();
        let is_new = !std::mem::replace(&mut peer.identified, true);
        let role = self.book.role(&peer_id).unwrap_or(Role::Ordinary);
        self.book.learn(peer_id, addresses, role);
        self.book.succeeded(&peer_id);
        if info.protocols.contains(&self.names.kad) {
            for address in self.book.addresses(&peer_id) {
                self.swarm.behaviour_mut().kad.add_address(&peer_id, address);
            }
        }
        if is_new {
            self.outbox.push(Event::PeerConnected(peer_id));
            let soon = Instant::now() + DISCOVER_SOON;
            if self.timers.due(Timer::Discover).is_none_or(|due| due > soon) {
                self.timers.set(Timer::Discover, soon);
            }
        }
        if info.protocols.contains(&self.names.consensus) {
            self.ensure_link(peer_id);
        }
    }

    fn turn_away(&mut self, peer: PeerId, theirs: String) {
        let theirs = theirs.chars().take(AGENT_CHARS_MAX).collect();
        self.outbox.push(Event::WrongGenesis { peer, theirs, ours: self.names.chain.clone() });
        self.book.turned_away(&peer);
        self.swarm.behaviour_mut().kad.remove_peer(&peer);
        self.disconnect(peer);
    }

    pub(super) fn handle_ping(&mut self, event: &ping::Event) {
        match &event.result {
            Ok(round_trip) => {
                let score = self.reputation.score(&event.peer, Instant::now());
                if let Some(peer) = self.peers.get_mut(&event.peer) {
                    peer.round_trip = Some(*round_trip);
                    self.swarm.behaviour_mut().gossip.set_application_score(&event.peer, score);
                }
            }
            Err(ping::Failure::Unsupported) => {}
            Err(error) => {
                tracing::debug!(peer = %event.peer, %error, "a connection no longer answers");
                self.swarm.close_connection(event.connection);
            }
        }
    }

    /// Asks around for peers: often in the first minute and after each new peer, then seldom. First those near this node,
    /// later those near a random place as well, so that in a large network everybody is found in time.
    pub(super) fn discover(&mut self) {
        let kad = &mut self.swarm.behaviour_mut().kad;
        kad.get_closest_peers(self.local);
        if self.discoveries >= 2 {
            kad.get_closest_peers(PeerId::random());
        }
        let delay = match self.discoveries {
            early @ 0..6 => Duration::from_secs(1 << early),
            _ => DISCOVER_LATE,
        };
        self.discoveries = self.discoveries.saturating_add(1);
        self.timers.set(Timer::Discover, Instant::now() + delay);
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "only peers and records found, and records sent, matter")]
    pub(super) fn handle_kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::OutboundQueryProgressed { result, .. } => match result {
                kad::QueryResult::GetClosestPeers(Ok(found)) => self.handle_peers_found(found.peers),
                kad::QueryResult::GetClosestPeers(Err(kad::GetClosestPeersError::Timeout { peers, .. })) => {
                    self.handle_peers_found(peers);
                }
                kad::QueryResult::GetRecord(Ok(kad::GetRecordOk::FoundRecord(found))) => {
                    self.handle_record_found(found.peer, &found.record);
                }
                _ => {}
            },
            kad::Event::InboundRequest {
                request: kad::InboundRequest::PutRecord { source, record: Some(record), .. },
            } => self.handle_record_put(source, record),
            _ => {}
        }
    }

    fn handle_peers_found(&mut self, peers: Vec<kad::PeerInfo>) {
        let now = Instant::now();
        for found in peers {
            let known = self.book.learn(found.peer_id, found.addrs, Role::Ordinary);
            if known && !self.peers.contains_key(&found.peer_id) {
                self.timers.set_if_unset(Timer::Dial(found.peer_id), now);
            }
        }
    }

    pub(super) fn add_known(&mut self, addresses: &[Multiaddr]) {
        for (peer, address) in addresses.iter().filter_map(|address| split_peer_address(address).ok()) {
            if self.book.learn(peer, [address], Role::Ordinary) && !self.peers.contains_key(&peer) {
                self.timers.set(Timer::Dial(peer), Instant::now());
            }
        }
    }

    /// Counts an offence and bans the peer if it was one too many; reserved peers are only counted.
    pub(super) fn report(&mut self, peer: PeerId, offence: Offence) {
        self.metrics.offences.with_label_values(&[offence.label()]).inc();
        if self.book.role(&peer) == Some(Role::Reserved) {
            return;
        }
        let now = Instant::now();
        let banned = self.reputation.report(peer, offence, now);
        let score = self.reputation.score(&peer, now);
        self.swarm.behaviour_mut().gossip.set_application_score(&peer, score);
        if let Some(duration) = banned {
            self.metrics.bans.with_label_values(&[offence.label()]).inc();
            self.metrics.banned.inc();
            self.timers.set(Timer::Unban(peer), now + duration);
            self.timers.cancel(Timer::Dial(peer));
            self.swarm.behaviour_mut().blocked.block_peer(peer);
            self.outbox.push(Event::Banned { peer, reason: offence, duration });
        }
    }

    /// Takes over the bans of an earlier run.
    pub(super) fn restore_bans(&mut self, now: Instant) {
        for ban in std::mem::take(&mut self.config.banned) {
            if self.book.role(&ban.peer) == Some(Role::Reserved) {
                continue;
            }
            if let Some(until) = self.reputation.restore(&ban, now) {
                self.metrics.banned.inc();
                self.timers.set(Timer::Unban(ban.peer), until);
                self.timers.cancel(Timer::Dial(ban.peer));
                self.swarm.behaviour_mut().blocked.block_peer(ban.peer);
            }
        }
    }

    pub(super) fn unban(&mut self, peer: PeerId) {
        let now = Instant::now();
        self.metrics.banned.dec();
        self.reputation.unban(&peer, now);
        self.swarm.behaviour_mut().blocked.unblock_peer(peer);
        self.timers.set(Timer::Dial(peer), now);
    }

    #[allow(clippy::cast_possible_truncation, reason = "a float cast to an integer saturates")]
    pub(super) fn score(&self, peer: &PeerId, now: Instant) -> i32 {
        self.reputation.score(peer, now).round() as i32
    }
}

fn is_loopback(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    }
}
