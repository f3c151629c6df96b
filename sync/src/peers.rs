//! What the machine knows of its peers: claims, requests, failures.

use crate::config::SyncConfig;
use crate::message::{PeerRef, RequestId};
use cairn_primitives::{Epoch, Hash, Height};
use std::collections::BTreeMap;

/// The most peers that are asked; more add nothing. Connections are bounded lower by the network.
pub(crate) const PEERS_MAX: usize = 256;

/// After so many failures in a row a peer's claim is forgotten: what it says it has may not exist.
pub(crate) const FAILURES_MAX: u32 = 3;

/// A peer's tip. Its finalization was verified, or `unproved` says why not; that the finalized block has this height is the
/// peer's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) height: Height,
    /// The finalized block, where it counts.
    pub(crate) hash: Option<Hash>,
    /// The epoch of the tip, where its validators were not known here: until they are, the peer is only taken at its word
    /// for having the blocks that lead there.
    pub(crate) unproved: Option<Epoch>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    pub(crate) claim: Option<Claim>,
    /// The lowest height from which on it says it has all blocks.
    pub(crate) lowest: Height,
    /// Height and block of its last tip whose finalization held. Only a block can show whether that is the block's height, and
    /// it may come after the claim was forgotten.
    pub(crate) told: Option<(Height, Hash)>,
    /// Until when an answer about its tip is awaited.
    pub(crate) status_deadline_ms: Option<u64>,
    /// When it was asked last.
    pub(crate) status_asked_ms: Option<u64>,
    /// Whether it ever answered or failed to.
    pub(crate) is_settled: bool,
    pub(crate) in_flight: u32,
    /// Failures since the last useful answer or long time without any.
    pub(crate) failures: u32,
    /// Left out until then.
    pub(crate) resume_ms: u64,
}

impl Peer {
    /// Leaves the peer out for a time that doubles with each failure in a row; old failures are forgiven.
    pub(crate) fn fail(&mut self, now_ms: u64, config: &SyncConfig) {
        self.forgive(now_ms, config);
        self.resume_ms = now_ms.saturating_add(backoff_ms(self.failures, config.backoff_ms, config.backoff_ms_max));
        self.failures = self.failures.saturating_add(1);
        self.is_settled = true;
        if self.failures >= FAILURES_MAX {
            self.claim = None;
        }
    }

    /// Forgets failures since which the longest time out has passed.
    const fn forgive(&mut self, now_ms: u64, config: &SyncConfig) {
        if now_ms.saturating_sub(self.resume_ms) > config.backoff_ms_max {
            self.failures = 0;
        }
    }

    /// As [`Peer::fail`], for what no honest peer does: its claim goes and the time starts longer.
    pub(crate) fn punish(&mut self, now_ms: u64, config: &SyncConfig) {
        self.forgive(now_ms, config);
        self.failures = self.failures.saturating_add(FAILURES_MAX);
        // From now on, so that the failures just added are not forgiven at once.
        self.resume_ms = now_ms;
        self.fail(now_ms, config);
    }
}

/// How long a peer that failed is left out, in milliseconds: doubled by each of its failures in a row before this one.
pub(crate) fn backoff_ms(failures: u32, first_ms: u64, max_ms: u64) -> u64 {
    let factor = 1u64.checked_shl(failures).unwrap_or(u64::MAX);
    first_ms.saturating_mul(factor).min(max_ms)
}

/// A request for blocks in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) peer: PeerRef,
    pub(crate) from: Height,
    pub(crate) count: u32,
    pub(crate) deadline_ms: u64,
}

impl Request {
    /// The height of the last block asked for.
    pub(crate) const fn last(&self) -> Height {
        Height(self.from.0.saturating_add(self.count).saturating_sub(1))
    }
}

/// The peer to ask for blocks from `from` on: fewest requests, then fewest failures, then lowest number.
pub(crate) fn choose(
    peers: &BTreeMap<PeerRef, Peer>,
    from: Height,
    now_ms: u64,
    config: &SyncConfig,
) -> Option<(PeerRef, Height)> {
    peers
        .iter()
        .filter(|(_, peer)| peer.resume_ms <= now_ms && peer.in_flight < config.requests_per_peer_max)
        .filter_map(|(name, peer)| {
            let claim = peer.claim.filter(|claim| claim.height >= from && peer.lowest <= from)?;
            Some(((peer.in_flight, peer.failures, *name), claim.height))
        })
        .min()
        .map(|((_, _, name), height)| (name, height))
}

/// The first heights above `done` and up to `target` that are neither held nor asked for, as an inclusive range.
pub(crate) fn first_gap(
    done: Height,
    target: Height,
    held: impl Iterator<Item = (Height, Height)>,
    requests: &BTreeMap<RequestId, Request>,
) -> Option<(Height, Height)> {
    let mut covered: Vec<_> = held.chain(requests.values().map(|request| (request.from, request.last()))).collect();
    covered.sort_unstable();
    let mut from = done.next();
    for (first, last) in covered {
        if first > from {
            return (from <= target).then(|| (from, target.min(first.previous())));
        }
        from = from.max(last.next());
    }
    (from <= target).then_some((from, target))
}
