//! RFC 6962 Merkle trees over lists, with SHA-256: extrinsics, events and history.
//!
//! A leaf is SHA-256(0x00 ‖ bytes), a node SHA-256(0x01 ‖ left ‖ right), the empty list SHA-256 of nothing (RFC 6962,
//! section 2.1), so any Certificate Transparency library verifies the proofs made here.

mod place;

pub use place::{LastLeaf, PlaceProof, prove_place};

use crate::codec::decode_bounded;
use crate::hash::{Hash, sha256, sha256_concat, sha256_of_each, sha256_of_pairs};
use parity_scale_codec::{Decode, Encode, Error, Input};

/// The most hashes a path can have: a list of 2^63 items or more does not exist.
pub const PATH_LENGTH_MAX: usize = 64;

/// What stands before the bytes of a leaf where they are hashed.
const LEAF_TAG: u8 = 0;
/// What stands before two hashes where they are joined to a node's.
const NODE_TAG: u8 = 1;
/// So many leaves wait to be hashed together: several times what a processor hashes side by side.
const LEAVES_TOGETHER: usize = 64;

/// The hash of a leaf.
#[must_use]
pub fn leaf_hash(bytes: &[u8]) -> Hash {
    sha256_concat(&[&[LEAF_TAG], bytes])
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256_concat(&[&[NODE_TAG], &left.0, &right.0])
}

/// The level above some nodes: pairs are joined, and a last node without a sibling rises as it is. That is the recursive
/// definition's split at the largest power of two, read from below.
fn level_above(level: &[Hash]) -> Vec<Hash> {
    let (pairs, single) = level.as_chunks::<2>();
    let mut above = Vec::with_capacity(level.len().div_ceil(2));
    sha256_of_pairs(&[NODE_TAG], pairs.iter().map(|[left, right]| (left, right)), |hash| above.push(hash));
    above.extend_from_slice(single);
    above
}

/// The root of a list.
#[must_use]
pub fn root(items: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Hash {
    let mut list = ListHasher::default();
    for item in items {
        list.push(|bytes| bytes.extend_from_slice(item.as_ref()));
    }
    list.root()
}

/// The root of a whole list: leaves and levels are hashed side by side where the processor can.
#[derive(Debug, Default)]
pub struct ListHasher {
    /// Leaves that wait, each behind its tag.
    waiting: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    leaves: Vec<Hash>,
}

impl ListHasher {
    /// With room for so many items.
    #[must_use]
    pub fn with_capacity(items: usize) -> Self {
        Self { leaves: Vec::with_capacity(items), ..Self::default() }
    }

    /// Appends the item that `write` puts behind the bytes it is given; returns the item.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        if self.ends.len() >= LEAVES_TOGETHER {
            self.hash_waiting();
        }
        self.waiting.push(LEAF_TAG);
        let start = self.waiting.len();
        write(&mut self.waiting);
        self.ends.push(self.waiting.len());
        self.waiting.get(start..).unwrap_or_default()
    }

    /// The root of all items.
    #[must_use]
    pub fn root(mut self) -> Hash {
        self.hash_waiting();
        let mut level = self.leaves;
        while level.len() > 1 {
            level = level_above(&level);
        }
        level.pop().unwrap_or_else(|| sha256(&[]))
    }

    fn hash_waiting(&mut self) {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let waiting = starts.zip(&self.ends).map(|(start, end)| self.waiting.get(start..*end).unwrap_or_default());
        sha256_of_each(waiting, |hash| self.leaves.push(hash));
        self.waiting.clear();
        self.ends.clear();
    }
}

/// Items whose common root a [`LeafSource`] may keep: 32 bytes for so many leaves to read. A power of two.
pub const GROUP_LEN: u64 = 1_024;

/// Where the leaves of a long list come from, such as the hashes of all headers.
pub trait LeafSource {
    /// What reading may fail with.
    type Error;

    /// The item at `index`.
    ///
    /// # Errors
    /// It cannot be read.
    fn item(&mut self, index: u64) -> Result<Hash, Self::Error>;

    /// The root of the items of a full group: from `group` × [`GROUP_LEN`] on, [`GROUP_LEN`] of them.
    ///
    /// # Errors
    /// They cannot be read.
    fn group(&mut self, group: u64) -> Result<Hash, Self::Error>;
}

/// The right-hand edge of a growing list: enough to append and to tell the root, in O(log n) space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode)]
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
        self.join(leaf_hash(bytes), self.count.trailing_ones());
        self.count = self.count.saturating_add(1);
    }

    /// Appends a full group of [`GROUP_LEN`] items, given by its root. So far the list has full groups alone.
    fn push_group(&mut self, root: Hash) {
        self.join(root, self.count.checked_div(GROUP_LEN).unwrap_or(0).trailing_ones());
        self.count = self.count.saturating_add(GROUP_LEN);
    }

    /// Adds a subtree to those of the same size that wait on its left.
    fn join(&mut self, subtree: Hash, waiting: u32) {
        let mut hash = subtree;
        for _ in 0..waiting {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
    }

    /// The root of the list so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev().copied();
        let Some(last) = peaks.next() else { return sha256(&[]) };
        peaks.fold(last, |right, left| node_hash(&left, &right))
    }
}

impl Decode for ListAccumulator {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let count = u64::decode(input)?;
        let peaks = decode_bounded(input, PATH_LENGTH_MAX, "list tree: the path is too long")?;
        if u32::try_from(peaks.len()) != Ok(count.count_ones()) {
            return Err("list accumulator: the peaks do not fit the count".into());
        }
        Ok(Self { count, peaks })
    }
}

/// A proof that a list of `count` items has a certain item at `index`: the audit path of RFC 6962, section 2.1.1.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub struct InclusionProof {
    /// The place of the item, from 0.
    pub index: u64,
    /// How many items the list has.
    pub count: u64,
    /// The hashes of the sibling subtrees, from the leaf up.
    pub path: Vec<Hash>,
}

impl InclusionProof {
    /// Whether the list with `root` has `item` at the proof's index.
    #[must_use]
    pub fn verify(&self, root: &Hash, item: &[u8]) -> bool {
        self.root_from(leaf_hash(item)).is_some_and(|found| found == *root)
    }

    /// The root that follows from the leaf and the path; `None` if the path's length does not fit index and count.
    ///
    /// Walks up with the index of the node and that of the last node of its level: a node that is a right child, or the
    /// last of its level, has its sibling on the left, and a last node without a sibling rises to the next level that has
    /// one.
    fn root_from(&self, leaf: Hash) -> Option<Hash> {
        let mut node = self.index;
        let mut last = self.count.checked_sub(1).filter(|last| node <= *last)?;
        let mut hash = leaf;
        for sibling in &self.path {
            if last == 0 {
                return None;
            }
            if node & 1 == 1 || node == last {
                hash = node_hash(sibling, &hash);
                let levels = node.trailing_zeros();
                node = node.checked_shr(levels).unwrap_or(0);
                last = last.checked_shr(levels).unwrap_or(0);
            } else {
                hash = node_hash(&hash, sibling);
            }
            node >>= 1;
            last >>= 1;
        }
        (last == 0).then_some(hash)
    }
}

impl Decode for InclusionProof {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        Ok(Self {
            index: u64::decode(input)?,
            count: u64::decode(input)?,
            path: decode_bounded(input, PATH_LENGTH_MAX, "list tree: the path is too long")?,
        })
    }
}

/// Proves the item at `index`; `None` if the list has no such item. Hashes the whole list.
#[must_use]
pub fn prove(items: impl IntoIterator<Item = impl AsRef<[u8]>>, index: u64) -> Option<InclusionProof> {
    let mut level: Vec<Hash> = items.into_iter().map(|item| leaf_hash(item.as_ref())).collect();
    let count = u64::try_from(level.len()).ok()?;
    let mut position = usize::try_from(index).ok().filter(|position| *position < level.len())?;
    let mut path = Vec::new();
    while level.len() > 1 {
        path.extend(level.get(position ^ 1).copied());
        level = level_above(&level);
        position >>= 1;
    }
    Some(InclusionProof { index, count, path })
}

/// Proves the item at `index` of the first `count` items of a source; `None` if there is no such item. Reads the roots of
/// full groups and fewer than two groups of single items.
///
/// # Errors
/// The source cannot be read.
pub fn prove_from<S: LeafSource>(source: &mut S, count: u64, index: u64) -> Result<Option<InclusionProof>, S::Error> {
    if index >= count {
        return Ok(None);
    }
    let mut path = Vec::new();
    let (mut start, mut end) = (0u64, count);
    // From the root down, by the split at the largest power of two below the number of items.
    while end.saturating_sub(start) > 1 {
        let half = end.saturating_sub(start).div_ceil(2).next_power_of_two();
        let middle = start.saturating_add(half);
        let sibling = if index < middle { (middle, end) } else { (start, middle) };
        path.push(root_of_range(source, sibling.0, sibling.1)?);
        (start, end) = if index < middle { (start, middle) } else { (middle, end) };
    }
    path.reverse();
    Ok(Some(InclusionProof { index, count, path }))
}

/// The root of the items from `start` to before `end`, a subtree of the whole list: one that is larger than a group begins
/// with a group.
fn root_of_range<S: LeafSource>(source: &mut S, start: u64, end: u64) -> Result<Hash, S::Error> {
    let mut list = ListAccumulator::default();
    let mut next = start;
    while next < end {
        if next.is_multiple_of(GROUP_LEN) && end.saturating_sub(next) >= GROUP_LEN {
            list.push_group(source.group(next.checked_div(GROUP_LEN).unwrap_or(0))?);
            next = next.saturating_add(GROUP_LEN);
        } else {
            list.push(&source.item(next)?.0);
            next = next.saturating_add(1);
        }
    }
    Ok(list.root())
}

#[cfg(test)]
mod tests;
