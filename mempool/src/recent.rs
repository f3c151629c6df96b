//! The hashes of transactions that were included lately.

use cairn_primitives::{Hash, Height};
use std::collections::{BTreeMap, VecDeque};

/// Remembers the last so many included hashes, oldest forgotten first.
#[derive(Clone, Debug)]
pub(crate) struct RecentlyIncluded {
    heights: BTreeMap<Hash, Height>,
    order: VecDeque<Hash>,
    capacity: usize,
}

impl RecentlyIncluded {
    pub(crate) const fn new(capacity: usize) -> Self {
        Self { heights: BTreeMap::new(), order: VecDeque::new(), capacity }
    }

    pub(crate) fn add(&mut self, hash: Hash, height: Height) {
        if self.heights.insert(hash, height).is_some() {
            return;
        }
        self.order.push_back(hash);
        while self.order.len() > self.capacity {
            if let Some(oldest) = self.order.pop_front() {
                self.heights.remove(&oldest);
            }
        }
    }

    pub(crate) fn height(&self, hash: &Hash) -> Option<Height> {
        self.heights.get(hash).copied()
    }
}
