//! The nodes of the tree in memory, immutable and shared between versions.

use super::cache::Bucket;
use cairn_primitives::Hash;
use cairn_primitives::state_proof::{EMPTY_SUBTREE, inner_hash, path_bit};
use std::sync::Arc;

/// A subtree: its hash and what is below.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) hash: Hash,
    pub(super) child: Child,
}

#[derive(Clone, Debug)]
pub(super) enum Child {
    Empty,
    Bucket(Arc<Bucket>),
    /// A node over more leaves than [`super::page::MERGE_LEAVES_MAX`].
    Branch(Arc<Branch>),
}

/// An inner node.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) left: Slot,
    pub(super) right: Slot,
}

/// The size of a branch in memory, in bytes, for budgets.
pub(super) const BRANCH_BYTES: usize = size_of::<Branch>().saturating_add(32);

impl Slot {
    pub(super) const EMPTY: Self = Self { hash: EMPTY_SUBTREE, child: Child::Empty };

    pub(super) fn branch(left: Self, right: Self) -> Self {
        Self { hash: inner_hash(&left.hash, &right.hash), child: Child::Branch(Arc::new(Branch { left, right })) }
    }

    /// How many leaves there are below if no branch is: an upper bound of zero for nothing, of the page for a bucket.
    pub(super) fn leaves_without_branch(&self) -> Option<usize> {
        match &self.child {
            Child::Empty => Some(0),
            Child::Bucket(bucket) => Some(usize::from(bucket.leaves)),
            Child::Branch(_) => None,
        }
    }
}

impl Branch {
    /// The child on the path to `key_hash`, and the other one.
    pub(super) fn step(&self, key_hash: &Hash, depth: u16) -> (&Slot, &Slot) {
        if path_bit(key_hash, depth) { (&self.right, &self.left) } else { (&self.left, &self.right) }
    }
}

/// Where a subtree hangs: the first `depth` bits of `prefix`, the rest of which is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) prefix: Hash,
    pub(super) depth: u16,
}

impl Location {
    pub(super) const ROOT: Self = Self { prefix: Hash::ZERO, depth: 0 };

    pub(super) const fn left(self) -> Self {
        Self { prefix: self.prefix, depth: self.depth.saturating_add(1) }
    }

    pub(super) fn right(self) -> Self {
        let mut prefix = self.prefix;
        if let Some(byte) = prefix.0.get_mut(usize::from(self.depth / 8)) {
            *byte |= 0x80_u8.wrapping_shr(u32::from(self.depth % 8));
        }
        Self { prefix, depth: self.depth.saturating_add(1) }
    }

    /// The place below that `key_hash` belongs to.
    pub(super) fn step(self, key_hash: &Hash) -> Self {
        if path_bit(key_hash, self.depth) { self.right() } else { self.left() }
    }

    /// Whether `key_hash` lies below.
    pub(super) fn contains(self, key_hash: &Hash) -> bool {
        (0..self.depth).all(|depth| path_bit(&self.prefix, depth) == path_bit(key_hash, depth))
    }

    /// The key of a page: the prefix without trailing zero bytes. Pages of one version never lie below one another, so
    /// the depth is not needed to tell them apart, and their order is that of the key hashes.
    pub(super) fn page_key(prefix: &Hash) -> &[u8] {
        let used = prefix.0.iter().rposition(|byte| *byte != 0).map_or(1, |last| last.saturating_add(1));
        prefix.0.get(..used).unwrap_or(&prefix.0)
    }
}
