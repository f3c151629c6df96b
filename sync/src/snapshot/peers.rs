//! What snapshot sync knows of its peers.

use super::SnapshotConfig;
use crate::message::PeerRef;
use crate::peers::backoff_ms;
use cairn_primitives::Hash;
use cairn_primitives::snapshot::SnapshotOffer;
use std::collections::BTreeMap;

/// After so many failures in a row what a peer offers is forgotten until it is asked again.
const FAILURES_MAX: u32 = 3;

#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    pub(super) offers: Vec<SnapshotOffer>,
    /// Until when its offers are awaited.
    pub(super) offers_deadline_ms: Option<u64>,
    /// When it was asked for them last.
    pub(super) asked_ms: u64,
    /// Whether it ever answered or failed to.
    pub(super) is_settled: bool,
    /// It sent something wrong, and is not asked any more.
    pub(super) is_refuted: bool,
    pub(super) in_flight: u32,
    /// Failures since the last useful answer.
    failures: u32,
    /// Left out until then.
    resume_ms: u64,
    /// Until when the requests made so far use up its share.
    used_ms: u64,
}

impl Peer {
    /// Whether it says it has the snapshot.
    pub(super) fn offers(&self, id: &Hash) -> bool {
        !self.is_refuted && self.offers.iter().any(|offer| offer.id == *id)
    }

    /// Whether one more request may go to it now.
    pub(super) const fn is_free(&self, now_ms: u64, config: &SnapshotConfig) -> bool {
        let burst_ms = config.request_interval_ms.saturating_mul(config.requests_burst);
        self.resume_ms <= now_ms
            && self.used_ms < now_ms.saturating_add(burst_ms)
            && self.in_flight < config.requests_per_peer_max
    }

    /// Notes a request. A peer that was not asked for a while may be asked a few times at once.
    pub(super) fn ask(&mut self, now_ms: u64, config: &SnapshotConfig) {
        self.in_flight = self.in_flight.saturating_add(1);
        self.used_ms = self.used_ms.max(now_ms).saturating_add(config.request_interval_ms);
    }

    pub(super) const fn succeed(&mut self) {
        self.failures = 0;
    }

    /// Leaves the peer out for a time that doubles with each failure in a row; says whether its offers were forgotten.
    pub(super) fn fail(&mut self, now_ms: u64, config: &SnapshotConfig) -> bool {
        self.resume_ms = now_ms.saturating_add(backoff_ms(self.failures, config.backoff_ms, config.backoff_ms_max));
        self.failures = self.failures.saturating_add(1);
        self.is_settled = true;
        let is_useless = self.failures >= FAILURES_MAX && !self.offers.is_empty();
        if is_useless {
            self.offers.clear();
        }
        is_useless
    }

    pub(super) fn refute(&mut self) {
        self.is_refuted = true;
        self.is_settled = true;
        self.offers.clear();
    }
}

/// The peer to ask for a part of a snapshot: fewest requests, then fewest failures, then lowest number.
pub(super) fn choose(
    peers: &BTreeMap<PeerRef, Peer>,
    id: &Hash,
    now_ms: u64,
    config: &SnapshotConfig,
) -> Option<PeerRef> {
    let able = peers.iter().filter(|(_, peer)| peer.offers(id) && peer.is_free(now_ms, config));
    able.map(|(name, peer)| (peer.in_flight, peer.failures, *name)).min().map(|(_, _, name)| name)
}

/// The snapshot to fetch: the highest that two peers offer, so that one can fail; else the highest. What is in `refuted`
/// is passed over.
pub(super) fn best_offer(peers: &BTreeMap<PeerRef, Peer>, refuted: impl Fn(&Hash) -> bool) -> Option<SnapshotOffer> {
    let mut found: BTreeMap<_, (u32, SnapshotOffer)> = BTreeMap::new();
    for offer in peers.values().filter(|peer| !peer.is_refuted).flat_map(|peer| &peer.offers) {
        if !refuted(&offer.id) {
            let entry = found.entry((offer.height, offer.id)).or_insert((0, *offer));
            entry.0 = entry.0.saturating_add(1);
        }
    }
    let shared = found.values().rev().find(|(count, _)| *count > 1);
    shared.or_else(|| found.values().next_back()).map(|(_, offer)| *offer)
}
