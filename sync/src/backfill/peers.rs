//! What the filling of an archive knows of its peers.

use super::BackfillConfig;
use crate::message::PeerRef;
use crate::peers::backoff_ms;
use cairn_primitives::Height;
use std::collections::BTreeMap;

/// After so many refusals in a row what a peer says it has is forgotten until it says so again.
const FAILURES_MAX: u32 = 3;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peer {
    /// The lowest and the highest block that it says it has.
    has: Option<(Height, Height)>,
    /// Failures since the last useful answer.
    failures: u32,
    /// Left out until then.
    resume_ms: u64,
}

impl Peer {
    pub(super) const fn tell(&mut self, lowest: Height, head: Height) {
        self.has = Some((lowest, head));
    }

    pub(super) const fn succeed(&mut self) {
        self.failures = 0;
    }

    /// Leaves the peer out for a time that doubles with each failure in a row; says whether what it has was forgotten.
    pub(super) fn fail(&mut self, now_ms: u64, config: &BackfillConfig) -> bool {
        self.resume_ms = now_ms.saturating_add(backoff_ms(self.failures, config.backoff_ms, config.backoff_ms_max));
        self.failures = self.failures.saturating_add(1);
        let is_useless = self.failures >= FAILURES_MAX && self.has.is_some();
        if is_useless {
            self.has = None;
        }
        is_useless
    }

    /// Leaves it out for the longest time: no honest peer does what it did.
    pub(super) const fn punish(&mut self, now_ms: u64, config: &BackfillConfig) {
        self.resume_ms = now_ms.saturating_add(config.backoff_ms_max);
        self.has = None;
    }

    /// The lowest block that it has of those from `last` down.
    fn lowest_from(&self, last: Height) -> Option<Height> {
        let (lowest, head) = self.has?;
        (lowest <= last && last <= head).then_some(lowest)
    }
}

/// Whether some peer says it has the block.
pub(super) fn is_offered(peers: &BTreeMap<PeerRef, Peer>, height: Height) -> bool {
    peers.values().any(|peer| peer.lowest_from(height).is_some())
}

/// The peer to ask for blocks from `last` down, with the lowest it has: fewest requests, then fewest failures, then lowest
/// number.
pub(super) fn choose(
    peers: &BTreeMap<PeerRef, Peer>,
    last: Height,
    now_ms: u64,
    in_flight: impl Fn(PeerRef) -> usize,
    config: &BackfillConfig,
) -> Option<(PeerRef, Height)> {
    let able = peers.iter().filter(|(_, peer)| peer.resume_ms <= now_ms).filter_map(|(name, peer)| {
        let in_flight = in_flight(*name);
        let lowest = peer.lowest_from(last).filter(|_| in_flight < config.requests_per_peer_max)?;
        Some(((in_flight, peer.failures, *name), lowest))
    });
    able.min().map(|((_, _, name), lowest)| (name, lowest))
}
