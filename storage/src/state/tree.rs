//! The nodes of the tree in memory: that of the head, which each block changes in place.

use super::cache::Bucket;
use super::hashing::Hashing;
use cairn_primitives::Hash;
use cairn_primitives::state_proof::{EMPTY_SUBTREE, path_bit};
use cairn_storage_cpu::fetch_ahead;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bits of a key hash from one node in memory to the next.
pub(super) const NODE_BITS: u16 = 2;
/// Children of a node.
pub(super) const CHILDREN: usize = 1 << NODE_BITS;

/// A subtree: its hash and what is below.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) hash: Hash,
    pub(super) child: Child,
}

#[derive(Debug)]
pub(super) enum Child {
    Empty,
    Bucket(u16, Arc<Bucket>),
    /// A node over more leaves than [`super::page::MERGE_LEAVES_MAX`].
    Node(Box<Node>, Saved),
}

/// Whether a checkpoint has all pages below a node.
#[derive(Debug, Default)]
pub(super) struct Saved(AtomicBool);

impl Saved {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn set(&self, is_saved: bool) {
        self.0.store(is_saved, Ordering::Release);
    }
}

/// Two levels of the tree: four children, and the hashes of their pairs; in four lines of the processor's caches.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Node {
    pub(super) slots: [Slot; CHILDREN],
    pub(super) pairs: [Hash; CHILDREN / 2],
}

const _: () = assert!(size_of::<Node>() <= 256, "a node is four lines");

impl Child {
    /// A node that no checkpoint has.
    pub(super) fn node(slots: [Slot; CHILDREN], pairs: [Hash; CHILDREN / 2]) -> Self {
        Self::Node(Box::new(Node { slots, pairs }), Saved::default())
    }

    /// Has the processor fetch what lies here, without what lies below it.
    pub(super) fn fetch_ahead(&self) {
        match self {
            Self::Empty => {}
            Self::Bucket(_, bucket) => fetch_ahead(&**bucket),
            Self::Node(node, _) => fetch_ahead(&**node),
        }
    }
}

impl Slot {
    pub(super) const EMPTY: Self = Self { hash: EMPTY_SUBTREE, child: Child::Empty };

    /// A node over children, hashed at once.
    pub(super) fn node(slots: [Self; CHILDREN]) -> Self {
        let mut hashing = Hashing::new();
        let [a, b, c, d] = slots.each_ref().map(|slot| hashing.known(&slot.hash, slot.leaves()));
        let pairs = [hashing.join(a, b), hashing.join(c, d)];
        let whole = hashing.join(pairs[0], pairs[1]);
        hashing.run();
        let pairs = pairs.map(|pair| hashing.hash(pair));
        Self { hash: hashing.hash(whole), child: Child::node(slots, pairs) }
    }

    /// How many leaves there are below; [`usize::MAX`] stands for more than a bucket holds.
    pub(super) fn leaves(&self) -> usize {
        match &self.child {
            Child::Empty => 0,
            Child::Bucket(leaves, _) => usize::from(*leaves),
            Child::Node(..) => usize::MAX,
        }
    }
}

impl Node {
    /// The child on the path to `key_hash`, at whose depth the node lies.
    pub(super) fn step(&self, key_hash: &Hash, depth: u16) -> &Slot {
        let [a, b, c, d] = &self.slots;
        match child_index(key_hash, depth) {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        }
    }
}

/// Which child of a node at `depth`, a multiple of [`NODE_BITS`], a key hash belongs to.
pub(super) fn child_index(key_hash: &Hash, depth: u16) -> usize {
    let byte = key_hash.0.get(usize::from(depth / 8)).copied().unwrap_or_default();
    usize::from(byte.wrapping_shr(u32::from(6_u16.saturating_sub(depth % 8))) & 3)
}

/// Where a subtree hangs: the first `depth` bits of `prefix`, the rest of which is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) prefix: Hash,
    pub(super) depth: u16,
}

impl Location {
    pub(super) const ROOT: Self = Self { prefix: Hash::ZERO, depth: 0 };

    /// The place of a child of a node here.
    pub(super) fn child(self, index: usize) -> Self {
        let mut prefix = self.prefix;
        if let Some(byte) = prefix.0.get_mut(usize::from(self.depth / 8)) {
            let bits = u8::try_from(index & 3).unwrap_or_default();
            *byte |= bits.wrapping_shl(u32::from(6_u16.saturating_sub(self.depth % 8)));
        }
        Self { prefix, depth: self.depth.saturating_add(NODE_BITS) }
    }

    /// The place one bit below, to the left.
    pub(super) const fn left(self) -> Self {
        Self { prefix: self.prefix, depth: self.depth.saturating_add(1) }
    }

    /// The place one bit below, to the right.
    pub(super) fn right(self) -> Self {
        let mut prefix = self.prefix;
        if let Some(byte) = prefix.0.get_mut(usize::from(self.depth / 8)) {
            *byte |= 0x80_u8.wrapping_shr(u32::from(self.depth % 8));
        }
        Self { prefix, depth: self.depth.saturating_add(1) }
    }

    /// The place one bit below that `key_hash` belongs to.
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
