//! The numbers under which the pure sync machines know peers.

use cairn_network::PeerId;
use cairn_sync::PeerRef;
use std::collections::BTreeMap;

/// Peers and their numbers; a peer that comes back gets another one.
#[derive(Debug, Default)]
pub struct PeerRefs {
    peers: BTreeMap<PeerRef, PeerId>,
    refs: BTreeMap<PeerId, PeerRef>,
    next: u64,
}

impl PeerRefs {
    /// Gives a connected peer a number.
    pub fn insert(&mut self, peer: PeerId) -> PeerRef {
        let reference = PeerRef(self.next);
        self.next = self.next.saturating_add(1);
        self.peers.insert(reference, peer);
        self.refs.insert(peer, reference);
        reference
    }

    /// Forgets a peer that is gone; its number.
    pub fn remove(&mut self, peer: &PeerId) -> Option<PeerRef> {
        let reference = self.refs.remove(peer)?;
        self.peers.remove(&reference);
        Some(reference)
    }

    /// The peer with a number.
    #[must_use]
    pub fn peer(&self, reference: PeerRef) -> Option<PeerId> {
        self.peers.get(&reference).copied()
    }

    /// The number of a peer.
    #[must_use]
    pub fn reference(&self, peer: &PeerId) -> Option<PeerRef> {
        self.refs.get(peer).copied()
    }

    /// All connected peers.
    pub fn connected(&self) -> impl Iterator<Item = PeerId> {
        self.refs.keys().copied()
    }
}
