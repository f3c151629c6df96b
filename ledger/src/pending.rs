//! Blocks above the last finalized one, each with the outcome of its one execution.

use cairn_primitives::list_tree::ListAccumulator;
use cairn_primitives::{Block, ConsensusContext, Hash, Height, TimestampMs};
use cairn_runtime::Transaction;
use cairn_storage::Overlay;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many blocks may wait for finality; consensus proposes nothing further apart than its retained views.
pub const PENDING_BLOCKS_MAX: usize = 512;

/// What a block needs to know of its parent.
#[derive(Clone, Debug)]
pub(crate) struct Parent {
    pub(crate) hash: Hash,
    pub(crate) height: Height,
    pub(crate) timestamp: TimestampMs,
    /// The hashes of all headers up to and including the parent's.
    pub(crate) history: ListAccumulator,
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
}

/// The outcome of executing a block.
#[derive(Clone)]
pub(crate) struct Execution {
    pub(crate) overlay: Arc<Overlay>,
    /// The encoded `Vec<EventRecord>`.
    pub(crate) events: Vec<u8>,
    /// Whether the roots in the header are those of the execution.
    pub(crate) holds: bool,
}

impl Pending {
    pub(crate) fn as_parent(&self, hash: Hash) -> Option<Parent> {
        let execution = self.execution.as_ref().filter(|execution| execution.holds)?;
        Some(Parent {
            hash,
            height: self.block.header.height(),
            timestamp: self.context.timestamp,
            history: self.history.clone(),
            overlay: Some(execution.overlay.clone()),
        })
    }
}

/// The pending blocks by hash.
#[derive(Default)]
pub(crate) struct PendingBlocks {
    blocks: BTreeMap<Hash, Pending>,
}

impl PendingBlocks {
    pub(crate) fn get(&self, hash: &Hash) -> Option<&Pending> {
        self.blocks.get(hash)
    }

    pub(crate) fn get_mut(&mut self, hash: &Hash) -> Option<&mut Pending> {
        self.blocks.get_mut(hash)
    }

    /// Adds a block; where there is no room, the lowest one goes: it is the least likely to become final.
    pub(crate) fn insert(&mut self, hash: Hash, pending: Pending) {
        if self.blocks.len() >= PENDING_BLOCKS_MAX {
            let lowest =
                self.blocks.iter().min_by_key(|(_, pending)| pending.block.header.number).map(|(hash, _)| *hash);
            if let Some(lowest) = lowest {
                self.blocks.remove(&lowest);
            }
        }
        self.blocks.insert(hash, pending);
    }

    /// Takes the block that became the head out, and drops every block that does not descend from it.
    pub(crate) fn commit(&mut self, head: Hash) -> Vec<Hash> {
        let mut kept = BTreeSet::from([head]);
        let mut by_height: Vec<_> =
            self.blocks.iter().map(|(hash, pending)| (pending.block.header.number, *hash)).collect();
        by_height.sort_unstable();
        let mut dropped = Vec::new();
        for (_, hash) in by_height {
            let descends =
                self.blocks.get(&hash).is_some_and(|pending| kept.contains(&pending.block.header.parent_hash));
            if descends {
                kept.insert(hash);
            } else {
                self.blocks.remove(&hash);
                dropped.push(hash);
            }
        }
        dropped
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

/// Where an ancestor is found.
pub(crate) enum Ancestor {
    Pending(Hash),
    Committed,
}
