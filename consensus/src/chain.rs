//! The blocks above the last committed one.
//!
//! A block is held with its body until it is executed; from then on the ledger has it durably and only its place in the
//! chain is kept. Bodies held are content-addressed: their hash and extrinsics root were checked, or the ledger made them.

use crate::config::Head;
use cairn_primitives::{Block, ConsensusContext, Hash, Height};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The most bodies held that wait for execution; the oldest go first and are fetched again if needed.
const BODIES_MAX: usize = 64;

/// The blocks above the committed head.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    head: Head,
    nodes: BTreeMap<Hash, Node>,
}

/// A block above the head.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The parent's hash.
    pub(crate) parent: Hash,
    /// The height.
    pub(crate) height: Height,
    /// The consensus context.
    pub(crate) context: ConsensusContext,
    /// The body, until it is executed.
    pub(crate) body: Option<Arc<Block>>,
    /// How far execution is.
    pub(crate) execution: Execution,
}

/// How far the execution of a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Execution {
    /// Not asked for.
    Idle,
    /// The ledger was asked.
    Asked,
    /// Done, the roots hold, stored durably.
    Done,
    /// Done, the roots do not hold.
    Failed,
}

/// The way from the head up to a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// All blocks above the head up to and with this one, lowest first.
    Complete(Vec<Hash>),
    /// A block on the way is not here.
    Missing {
        /// Its hash.
        block: Hash,
        /// How many blocks are missing at most, where known: those between the head and the lowest one known.
        gap: Option<u32>,
    },
    /// The block does not descend from the head.
    Foreign,
}

impl Chain {
    pub(crate) const fn new(head: Head) -> Self {
        Self { head, nodes: BTreeMap::new() }
    }

    /// The last committed block.
    pub(crate) const fn head(&self) -> Head {
        self.head
    }

    /// The block above the head with this hash.
    pub(crate) fn node(&self, hash: &Hash) -> Option<&Node> {
        self.nodes.get(hash)
    }

    /// Adds a block; `false` if it is not above the head, known already, or has no consensus context.
    pub(crate) fn insert(&mut self, hash: Hash, block: Arc<Block>) -> bool {
        if block.header.height() <= self.head.height || self.nodes.contains_key(&hash) {
            return false;
        }
        let Ok(context) = block.header.context() else { return false };
        self.make_room();
        let (parent, height) = (block.header.parent_hash, block.header.height());
        let node = Node { parent, height, context, body: Some(block), execution: Execution::Idle };
        self.nodes.insert(hash, node);
        true
    }

    /// Evicts bodies that nobody asked to execute, the oldest views first, until one more has room.
    fn make_room(&mut self) {
        while self.nodes.values().filter(|node| node.body.is_some()).count() >= BODIES_MAX {
            let idle = self.nodes.iter().filter(|(_, node)| node.execution == Execution::Idle);
            let Some(oldest) = idle.min_by_key(|(_, node)| node.context.view).map(|(hash, _)| *hash) else { return };
            self.nodes.remove(&oldest);
        }
    }

    /// Drops what waits for execution and is not worth keeping.
    pub(crate) fn drop_idle(&mut self, is_wanted: impl Fn(&Hash, &Node) -> bool) {
        self.nodes.retain(|hash, node| node.execution != Execution::Idle || is_wanted(hash, node));
    }

    /// Whether the ledger can build on the block.
    pub(crate) fn is_executed(&self, hash: &Hash) -> bool {
        *hash == self.head.hash || self.nodes.get(hash).is_some_and(|node| node.execution == Execution::Done)
    }

    /// The place of a block that is the head or above it.
    pub(crate) fn place(&self, hash: &Hash) -> Option<Head> {
        if *hash == self.head.hash {
            return Some(self.head);
        }
        let node = self.nodes.get(hash)?;
        Some(Head { height: node.height, hash: *hash, view: node.context.view, timestamp: node.context.timestamp })
    }

    /// Notes how far an execution is; once it is over nobody needs the body from here.
    pub(crate) fn set_execution(&mut self, hash: &Hash, execution: Execution) {
        if let Some(node) = self.nodes.get_mut(hash) {
            node.execution = execution;
            if matches!(execution, Execution::Done | Execution::Failed) {
                node.body = None;
            }
        }
    }

    /// The way from the head to a block.
    pub(crate) fn path(&self, to: Hash) -> Path {
        let mut blocks = Vec::new();
        let mut at = to;
        let mut lowest: Option<Height> = None;
        while at != self.head.hash {
            let Some(node) = self.nodes.get(&at) else {
                return match lowest.map(|height| height.0.saturating_sub(self.head.height.0).saturating_sub(1)) {
                    Some(0) => Path::Foreign,
                    gap => Path::Missing { block: at, gap },
                };
            };
            lowest = Some(node.height);
            blocks.push(at);
            at = node.parent;
        }
        blocks.reverse();
        Path::Complete(blocks)
    }

    /// Moves the head up and forgets what is not above it.
    pub(crate) fn commit(&mut self, head: Head) {
        self.head = head;
        self.nodes.retain(|_, node| node.height > head.height);
    }
}
