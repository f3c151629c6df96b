//! That an item is at a place of a list whose length is not known, such as the extrinsics of a block.
//!
//! The audit path of RFC 6962 binds an item to its index only where the length of the list is trusted: the last of two
//! items and the last of three have paths of the same form. A left subtree is perfect, though, so the depth of any leaf in
//! it tells how many items it has. A [`PlaceProof`] therefore shows one leaf of each left subtree that the way from the
//! root passes on the right before it first turns left; below that turn, everything is perfect and the path says it all.

use super::{PATH_LENGTH_MAX, leaf_hash, node_hash};
use crate::codec::decode_bounded;
use crate::hash::Hash;
use parity_scale_codec::{Decode, Encode, Error, Input};

/// The largest item that a proof shows, in bytes: no extrinsic or event is larger than a block.
const ITEM_BYTES_MAX: usize = crate::block::BLOCK_BYTES_MAX;

/// A proof that a list has an item at a place.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub struct PlaceProof {
    /// The audit path of RFC 6962: the hashes of the sibling subtrees, from the leaf up.
    pub path: Vec<Hash>,
    /// For each right turn before the first left turn, from the root down, the last leaf of the subtree on the left.
    pub lefts: Vec<LastLeaf>,
}

/// The last leaf of a perfect subtree.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub struct LastLeaf {
    /// The item.
    pub item: Vec<u8>,
    /// The hashes of the subtrees to its left, from the leaf up: the subtree has two to the power of their number of items.
    pub path: Vec<Hash>,
}

impl LastLeaf {
    fn root(&self) -> Hash {
        self.path.iter().fold(leaf_hash(&self.item), |hash, left| node_hash(left, &hash))
    }

    fn count(&self) -> Option<u64> {
        1u64.checked_shl(u32::try_from(self.path.len()).ok()?)
    }
}

impl PlaceProof {
    /// Whether the list with `root` has `item` at the place `index`, counted from 0.
    #[must_use]
    pub fn verify(&self, root: &Hash, index: u64, item: &[u8]) -> bool {
        self.root_from(index, leaf_hash(item)).is_some_and(|found| found == *root)
    }

    /// The root that follows from the leaf at `index`; `None` if the proof's parts do not fit that place.
    fn root_from(&self, index: u64, leaf: Hash) -> Option<Hash> {
        let (below, spine) = self.path.split_at_checked(self.path.len().checked_sub(self.lefts.len())?)?;
        let mut before = 0u64;
        for left in &self.lefts {
            before = before.checked_add(left.count()?)?;
        }
        let mut place = index.checked_sub(before)?;
        // Off the right-hand edge leads a left turn, which the highest bit of the place stands for.
        let free_bits = u32::try_from(below.len()).ok()?.saturating_sub(1);
        if place.checked_shr(free_bits).is_some_and(|rest| rest != 0) {
            return None;
        }
        let mut hash = leaf;
        for sibling in below {
            hash = if place & 1 == 1 { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) };
            place >>= 1;
        }
        for (sibling, left) in spine.iter().zip(self.lefts.iter().rev()) {
            if left.root() != *sibling {
                return None;
            }
            hash = node_hash(sibling, &hash);
        }
        Some(hash)
    }
}

impl Decode for PlaceProof {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        Ok(Self {
            path: decode_bounded(input, PATH_LENGTH_MAX, "list tree: the path is too long")?,
            lefts: decode_bounded(input, PATH_LENGTH_MAX, "list tree: too many subtrees on the left")?,
        })
    }
}

impl Decode for LastLeaf {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        Ok(Self {
            item: decode_bounded(input, ITEM_BYTES_MAX, "list tree: the item is too large")?,
            path: decode_bounded(input, PATH_LENGTH_MAX, "list tree: the path is too long")?,
        })
    }
}

/// Proves the place of the item at `index`; `None` if the list has no such item. Hashes the whole list.
#[must_use]
pub fn prove_place<T: AsRef<[u8]>>(items: &[T], index: u64) -> Option<PlaceProof> {
    let path = super::prove(items, index)?.path;
    let mut lefts = Vec::new();
    let mut rest = items;
    let mut place = usize::try_from(index).ok()?;
    // Down the right-hand edge, by the split at the largest power of two below the number of items.
    while rest.len() > 1 {
        let (left, right) = rest.split_at_checked(rest.len().div_ceil(2).next_power_of_two())?;
        let Some(beyond) = place.checked_sub(left.len()) else { break };
        let last = left.len().checked_sub(1)?;
        let path = super::prove(left, u64::try_from(last).ok()?)?.path;
        lefts.push(LastLeaf { item: left.get(last)?.as_ref().to_vec(), path });
        (rest, place) = (right, beyond);
    }
    Some(PlaceProof { path, lefts })
}

#[cfg(test)]
mod tests;
