//! Blocks above the last finalized one: in memory with the outcome of their one execution, and those on disk.

use crate::epoch::NamedSet;
use cairn_primitives::block::BLOCK_BYTES_MAX;
use cairn_primitives::list_tree::ListAccumulator;
use cairn_primitives::{Block, ConsensusContext, Hash, Header, Height, TimestampMs};
use cairn_runtime::Transaction;
use cairn_storage::Overlay;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many blocks may wait for finality in memory: several views of all retained ones. Only a single branch that grows
/// without ever becoming final may be longer, and its growth is bounded by the deadlines of consensus.
pub const PENDING_BLOCKS_MAX: usize = 512;

/// How many bytes of extrinsics those blocks may have, under the same condition: 32 full blocks.
pub const PENDING_BYTES_MAX: usize = 32 * BLOCK_BYTES_MAX;

/// What a block needs to know of its parent.
#[derive(Clone, Debug)]
pub(crate) struct Parent {
    pub(crate) hash: Hash,
    pub(crate) height: Height,
    pub(crate) timestamp: TimestampMs,
    /// The hashes of all headers up to and including the parent's.
    pub(crate) history: ListAccumulator,
    /// The validators of the next epoch in the parent's state.
    pub(crate) next: NamedSet,
    /// The parent's state; `None` for the committed head.
    pub(crate) overlay: Option<Arc<Overlay>>,
}

/// A checked block.
#[derive(Clone)]
pub(crate) struct Pending {
    pub(crate) block: Arc<Block>,
    pub(crate) context: ConsensusContext,
    pub(crate) transactions: Vec<Transaction>,
    /// The hashes of all headers up to and including this one.
    pub(crate) history: ListAccumulator,
    pub(crate) execution: Option<Execution>,
    /// Whether it is on disk, from where it can be brought back.
    pub(crate) is_certified: bool,
}

/// The outcome of executing a block.
#[derive(Clone)]
pub(crate) struct Execution {
    pub(crate) overlay: Arc<Overlay>,
    /// The encoded `Vec<EventRecord>`.
    pub(crate) events: Vec<u8>,
    /// The validators of the next epoch in the state after the block.
    pub(crate) next: NamedSet,
    /// Whether the roots and the next validators in the header are those of the execution.
    pub(crate) holds: bool,
}

impl Pending {
    fn bytes(&self) -> usize {
        self.block.extrinsics.iter().fold(0, |sum, extrinsic| sum.saturating_add(extrinsic.bytes().len()))
    }

    pub(crate) fn as_parent(&self, hash: Hash) -> Option<Parent> {
        let execution = self.execution.as_ref().filter(|execution| execution.holds)?;
        Some(Parent {
            hash,
            height: self.block.header.height(),
            timestamp: self.context.timestamp,
            history: self.history.clone(),
            next: execution.next.clone(),
            overlay: Some(execution.overlay.clone()),
        })
    }
}

/// The pending blocks by hash.
#[derive(Default)]
pub(crate) struct PendingBlocks {
    blocks: BTreeMap<Hash, Pending>,
    /// Bytes of their extrinsics.
    bytes: usize,
}

impl PendingBlocks {
    pub(crate) fn get(&self, hash: &Hash) -> Option<&Pending> {
        self.blocks.get(hash)
    }

    pub(crate) fn get_mut(&mut self, hash: &Hash) -> Option<&mut Pending> {
        self.blocks.get_mut(hash)
    }

    /// Adds a block; where there is no room, one goes that nothing builds on.
    pub(crate) fn insert(&mut self, hash: Hash, pending: Pending) {
        let bytes = pending.bytes();
        while (self.blocks.len() >= PENDING_BLOCKS_MAX || self.bytes.saturating_add(bytes) > PENDING_BYTES_MAX)
            && let Some(tip) = self.least_wanted(pending.block.header.parent_hash)
        {
            self.remove(&tip);
        }
        self.remove(&hash);
        self.bytes = self.bytes.saturating_add(bytes);
        self.blocks.insert(hash, pending);
    }

    /// Takes a block out.
    pub(crate) fn take(&mut self, hash: &Hash) -> Option<Pending> {
        let pending = self.blocks.remove(hash)?;
        self.bytes = self.bytes.saturating_sub(pending.bytes());
        Some(pending)
    }

    fn remove(&mut self, hash: &Hash) {
        drop(self.take(hash));
    }

    /// The tip of a branch other than that of `parent`: certified ones last, since they were voted for; older views
    /// first. Blocks below others stay, or what is built on them could be neither judged nor committed.
    fn least_wanted(&self, parent: Hash) -> Option<Hash> {
        let mut inner: BTreeSet<_> = self.blocks.values().map(|pending| pending.block.header.parent_hash).collect();
        inner.insert(parent);
        let tips = self.blocks.iter().filter(|(hash, _)| !inner.contains(hash));
        tips.min_by_key(|(_, pending)| (pending.is_certified, pending.context.view)).map(|(hash, _)| *hash)
    }

    /// Takes the block that became the head out, and drops every block that does not descend from it.
    pub(crate) fn commit(&mut self, head: Hash) {
        let mut kept = BTreeSet::from([head]);
        let mut by_height: Vec<_> =
            self.blocks.iter().map(|(hash, pending)| (pending.block.header.number, *hash)).collect();
        by_height.sort_unstable();
        for (_, hash) in by_height {
            let descends =
                self.blocks.get(&hash).is_some_and(|pending| kept.contains(&pending.block.header.parent_hash));
            if descends {
                kept.insert(hash);
            } else {
                self.remove(&hash);
            }
        }
    }

    /// The ancestor at `height` of the pending block `hash`, or the first block below the pending ones.
    pub(crate) fn ancestor(&self, mut hash: Hash, height: Height) -> Ancestor {
        while let Some(pending) = self.blocks.get(&hash) {
            if pending.block.header.height() == height {
                return Ancestor::Pending(hash);
            }
            hash = pending.block.header.parent_hash;
        }
        Ancestor::Committed
    }
}

/// Where a certified block on disk stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    height: Height,
    parent: Hash,
}

/// The certified blocks on disk that may become final, in memory or not.
#[derive(Default)]
pub(crate) struct StoredBlocks {
    places: BTreeMap<Hash, Place>,
}

impl StoredBlocks {
    pub(crate) fn insert(&mut self, hash: Hash, header: &Header) {
        self.places.insert(hash, Place { height: header.height(), parent: header.parent_hash });
    }

    pub(crate) fn parent(&self, hash: &Hash) -> Option<Hash> {
        self.places.get(hash).map(|place| place.parent)
    }

    /// Takes out what cannot become final once `head` is committed, to be deleted: all up to its height and all above
    /// that descend from a competitor.
    pub(crate) fn commit(&mut self, head: Hash, height: Height) -> Vec<Hash> {
        let mut by_height: Vec<_> = self.places.iter().map(|(hash, place)| (place.height, *hash)).collect();
        by_height.sort_unstable();
        let mut dropped = BTreeSet::new();
        for (at, hash) in by_height {
            let is_competitor = self
                .parent(&hash)
                .is_some_and(|parent| parent != head && (at == height.next() || dropped.contains(&parent)));
            if at <= height || is_competitor {
                dropped.insert(hash);
            }
        }
        self.places.retain(|hash, _| !dropped.contains(hash));
        dropped.into_iter().collect()
    }
}

/// Where an ancestor is found.
pub(crate) enum Ancestor {
    Pending(Hash),
    Committed,
}
