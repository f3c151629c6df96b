//! RFC 6962 Merkle trees over lists, with SHA-256: extrinsics, events and history.
//!
//! A leaf is SHA-256(0x00 ‖ bytes), a node SHA-256(0x01 ‖ left ‖ right), the empty list SHA-256 of nothing (RFC 6962,
//! section 2.1), so any Certificate Transparency library verifies the proofs made here.

use crate::hash::{Hash, sha256, sha256_concat};
use parity_scale_codec::{Decode, Encode};

/// The hash of a leaf.
#[must_use]
pub fn leaf_hash(bytes: &[u8]) -> Hash {
    sha256_concat(&[&[0], bytes])
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256_concat(&[&[1], &left.0, &right.0])
}

/// The root of a list.
#[must_use]
pub fn root(items: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Hash {
    let mut list = ListAccumulator::default();
    for item in items {
        list.push(item.as_ref());
    }
    list.root()
}

/// The right-hand edge of a growing list: enough to append and to tell the root, in O(log n) space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ListAccumulator {
    count: u64,
    /// Roots of the perfect subtrees that the list falls into, largest first; one a set bit of `count`.
    peaks: Vec<Hash>,
}

impl ListAccumulator {
    /// How many items the list has.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Appends an item.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut hash = leaf_hash(bytes);
        for _ in 0..self.count.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.count = self.count.saturating_add(1);
    }

    /// The root of the list so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev().copied();
        let Some(last) = peaks.next() else { return sha256(&[]) };
        peaks.fold(last, |right, left| node_hash(&left, &right))
    }
}
