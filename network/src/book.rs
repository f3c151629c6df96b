//! The address book: which peers are known, where they listen, and when to dial them again.

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use std::collections::BTreeMap;
use std::time::Duration;

/// Addresses kept for a peer; the oldest goes first.
const ADDRESSES_MAX: usize = 8;

/// Peers kept; beyond it an ordinary one that is not reached goes.
const PEERS_MAX: usize = 1024;

/// The wait before the first new dial; it doubles with each failure.
const RETRY_FIRST: Duration = Duration::from_millis(200);

/// The longest wait while a peer may be restarting.
const RETRY_SOON: Duration = Duration::from_secs(3);

/// The longest wait for a peer that has been away for long, which is then [`PATIENCE`] failures.
const RETRY_LATE: Duration = Duration::from_secs(30);

/// Failures in a row after which a peer is away for long: about five minutes.
const PATIENCE: u32 = 100;

/// Failures in a row after which an ordinary peer is forgotten.
const FORGET_AFTER: u32 = 10;

/// Addresses worth keeping across restarts: enough to find everybody else again.
const KEPT_MAX: usize = 256;

/// Of them addresses of one peer, the newest.
const KEPT_OF_PEER_MAX: usize = 3;

/// How much a peer matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Dialled while more peers are wanted, forgotten if not reached.
    Ordinary,
    /// Has proved to be a validator; dialled for ever.
    Validator,
    /// A boot node; dialled for ever.
    Boot,
    /// Dialled for ever, never banned.
    Reserved,
}

#[derive(Clone, Debug)]
struct Entry {
    role: Role,
    addresses: Vec<Multiaddr>,
    failures: u32,
    /// Whether a connection ever succeeded, so that the address is worth remembering.
    reached: bool,
}

/// The peers that are known.
#[derive(Debug)]
pub(crate) struct Book {
    local: PeerId,
    entries: BTreeMap<PeerId, Entry>,
}

impl Book {
    pub(crate) const fn new(local: PeerId) -> Self {
        Self { local, entries: BTreeMap::new() }
    }

    /// Adds addresses of a peer; returns whether the peer is known now.
    pub(crate) fn learn(&mut self, peer: PeerId, addresses: impl IntoIterator<Item = Multiaddr>, role: Role) -> bool {
        if peer == self.local || (!self.entries.contains_key(&peer) && !self.has_room(role)) {
            return false;
        }
        let fresh = Entry { role, addresses: Vec::new(), failures: 0, reached: false };
        let entry = self.entries.entry(peer).or_insert(fresh);
        entry.role = entry.role.max(role);
        for address in addresses.into_iter().filter_map(dialable) {
            entry.addresses.retain(|known| *known != address);
            entry.addresses.push(address);
        }
        let excess = entry.addresses.len().saturating_sub(ADDRESSES_MAX);
        entry.addresses.drain(..excess);
        true
    }

    fn has_room(&mut self, role: Role) -> bool {
        if self.entries.len() < PEERS_MAX || role > Role::Ordinary {
            return true;
        }
        let ordinary = self.entries.iter().filter(|(_, entry)| entry.role == Role::Ordinary && !entry.reached);
        let worst = ordinary.max_by_key(|(_, entry)| entry.failures).map(|(peer, _)| *peer);
        worst.is_some_and(|peer| self.entries.remove(&peer).is_some())
    }

    /// All peers.
    pub(crate) fn peers(&self) -> Vec<PeerId> {
        self.entries.keys().copied().collect()
    }

    pub(crate) fn role(&self, peer: &PeerId) -> Option<Role> {
        self.entries.get(peer).map(|entry| entry.role)
    }

    pub(crate) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.entries.get(peer).map(|entry| entry.addresses.clone()).unwrap_or_default()
    }

    /// Notes that a connection came up.
    pub(crate) fn succeeded(&mut self, peer: &PeerId) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.failures = 0;
            entry.reached = true;
        }
    }

    /// Notes that a dial failed or a connection broke; returns how long to wait, or `None` if the peer is forgotten.
    pub(crate) fn failed(&mut self, peer: &PeerId) -> Option<Duration> {
        let entry = self.entries.get_mut(peer)?;
        let delay = retry_delay(entry.failures, peer);
        entry.failures = entry.failures.saturating_add(1);
        if entry.role == Role::Ordinary && entry.failures > FORGET_AFTER {
            self.entries.remove(peer);
            return None;
        }
        Some(delay)
    }

    /// Notes that the peer is of no use for long: an ordinary one is forgotten, others are dialled seldom.
    pub(crate) fn turned_away(&mut self, peer: &PeerId) {
        if self.role(peer) == Some(Role::Ordinary) {
            self.entries.remove(peer);
        } else if let Some(entry) = self.entries.get_mut(peer) {
            entry.failures = entry.failures.max(PATIENCE);
        }
    }

    /// The peer no longer counts as a validator: another node runs with its key, or the key is none any more.
    pub(crate) fn demote(&mut self, peer: &PeerId) {
        if let Some(entry) = self.entries.get_mut(peer).filter(|entry| entry.role == Role::Validator) {
            entry.role = Role::Ordinary;
        }
    }

    /// Addresses of peers that were reached, each with its peer id; those for which `is_first` holds come first.
    pub(crate) fn reached(&self, is_first: impl Fn(&PeerId) -> bool) -> Vec<Multiaddr> {
        let mut reached: Vec<_> = self.entries.iter().filter(|(_, entry)| entry.reached).collect();
        reached.sort_by_key(|(peer, entry)| (!is_first(peer), std::cmp::Reverse(entry.role)));
        let newest = reached.into_iter().flat_map(|(peer, entry)| {
            let addresses = entry.addresses.iter().rev().take(KEPT_OF_PEER_MAX);
            addresses.map(|address| address.clone().with(Protocol::P2p(*peer)))
        });
        newest.take(KEPT_MAX).collect()
    }
}

/// The wait after so many failures in a row, doubling up to a limit, shortened by up to a quarter so that nodes that lost
/// each other at the same time do not dial at the same time for ever.
pub(crate) fn retry_delay(failures: u32, peer: &PeerId) -> Duration {
    let limit = if failures < PATIENCE { RETRY_SOON } else { RETRY_LATE };
    let delay = RETRY_FIRST.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(limit);
    let salt = peer.to_bytes().last().copied().unwrap_or(0).wrapping_add(u8::try_from(failures % 251).unwrap_or(0));
    delay.saturating_sub(delay.mul_f64(f64::from(salt) / 1024.0))
}

/// The address without peer id, if it is one that can be dialled over TCP or QUIC.
#[allow(clippy::wildcard_enum_match_arm, reason = "multiaddresses have dozens of protocols; these can be dialled")]
fn dialable(mut address: Multiaddr) -> Option<Multiaddr> {
    if let Some(Protocol::P2p(_)) = address.iter().last() {
        address.pop();
    }
    let mut parts = address.iter();
    let host = match parts.next()? {
        Protocol::Ip4(ip) => !ip.is_unspecified() && !ip.is_multicast(),
        Protocol::Ip6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
        Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) => true,
        _ => false,
    };
    let transport = match parts.next()? {
        Protocol::Tcp(port) => port != 0 && parts.next().is_none(),
        Protocol::Udp(port) => port != 0 && parts.next() == Some(Protocol::QuicV1) && parts.next().is_none(),
        _ => false,
    };
    (host && transport).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn delay_grows_to_its_limits_and_never_ends() {
        let peer = PeerId::random();
        assert!(retry_delay(0, &peer) <= Duration::from_millis(200));
        assert!(retry_delay(0, &peer) >= Duration::from_millis(150));
        assert!((1..PATIENCE).all(|failures| retry_delay(failures, &peer) <= RETRY_SOON));
        assert!(retry_delay(PATIENCE, &peer) > RETRY_SOON);
        assert!(retry_delay(u32::MAX, &peer) <= RETRY_LATE);
    }

    #[test]
    fn ordinary_peer_not_reached_is_forgotten_and_boot_node_is_not() {
        let mut book = Book::new(PeerId::random());
        let (boot, other) = (PeerId::random(), PeerId::random());
        book.learn(boot, [address(1)], Role::Boot);
        book.learn(other, [address(2)], Role::Ordinary);
        for _ in 0..FORGET_AFTER {
            assert!(book.failed(&other).is_some());
        }
        assert!(book.failed(&other).is_none());
        assert!((0..1000).all(|_| book.failed(&boot).is_some()));
    }

    #[test]
    fn addresses_are_bounded_and_the_newest_stay() {
        let mut book = Book::new(PeerId::random());
        let peer = PeerId::random();
        book.learn(peer, (1..=20).map(address), Role::Ordinary);
        assert_eq!(book.addresses(&peer), (13..=20).map(address).collect::<Vec<_>>());
    }

    #[test]
    fn peers_are_bounded_and_important_ones_stay() {
        let mut book = Book::new(PeerId::random());
        let boot = PeerId::random();
        book.learn(boot, [address(1)], Role::Boot);
        for _ in 0..PEERS_MAX + 10 {
            book.learn(PeerId::random(), [address(1)], Role::Ordinary);
        }
        assert_eq!(book.entries.len(), PEERS_MAX);
        assert_eq!(book.role(&boot), Some(Role::Boot));
    }

    #[test]
    fn addresses_that_cannot_be_dialled_are_passed_over() {
        for text in
            ["/ip4/0.0.0.0/tcp/1", "/ip4/10.0.0.1/tcp/0", "/ip4/10.0.0.1/udp/5", "/unix/x", "/ip4/1.2.3.4/tcp/1/ws"]
        {
            assert_eq!(dialable(text.parse().unwrap()), None, "{text}");
        }
        assert!(dialable("/ip4/10.0.0.1/udp/5/quic-v1".parse().unwrap()).is_some());
    }

    #[test]
    fn known_addresses_are_those_of_peers_once_reached() {
        let mut book = Book::new(PeerId::random());
        let (reached, other) = (PeerId::random(), PeerId::random());
        book.learn(reached, [address(1)], Role::Ordinary);
        book.learn(other, [address(2)], Role::Ordinary);
        book.succeeded(&reached);
        assert_eq!(book.reached(|_| false), [address(1).with(Protocol::P2p(reached))]);
    }

    #[test]
    fn known_addresses_are_bounded_with_connected_peers_and_newest_addresses_first() {
        let mut book = Book::new(PeerId::random());
        for _ in 0..PEERS_MAX {
            let peer = PeerId::random();
            book.learn(peer, (1..=8).map(address), Role::Ordinary);
            book.succeeded(&peer);
        }
        let connected = *book.peers().last().unwrap();
        let kept = book.reached(|peer| *peer == connected);
        assert_eq!(kept.len(), KEPT_MAX);
        assert_eq!(kept[0], address(8).with(Protocol::P2p(connected)));
        assert_eq!(kept.iter().filter(|one| one.ends_with(&Protocol::P2p(connected).into())).count(), KEPT_OF_PEER_MAX);
    }

    #[test]
    fn validator_demoted_can_be_forgotten_and_a_boot_node_cannot_be_demoted() {
        let mut book = Book::new(PeerId::random());
        let (validator, boot) = (PeerId::random(), PeerId::random());
        book.learn(validator, [address(1)], Role::Validator);
        book.learn(boot, [address(2)], Role::Boot);
        book.demote(&validator);
        book.demote(&boot);
        assert_eq!((book.role(&validator), book.role(&boot)), (Some(Role::Ordinary), Some(Role::Boot)));
    }
}
