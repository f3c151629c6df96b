//! What past trees looked like: the writer's side.
//!
//! The archive keeps, for every fourth level of the tree, what each block replaced. A record of table `state_nodes` has
//! the place of a node (depth in steps of four bits, the bits that lead to it) and a height, and says what was there
//! *before* the block of that height:
//! - `0`, hash: a node over more leaves than a bucket holds;
//! - `1`, leaves: for each the length of its key (u16, big-endian), the key and the leaf hash, in the order of key hashes.
//!
//! A place has a record where something below it changed and the place four bits above held a node. So the tree of a
//! height is read from the first record above the height at each place, and where there is none from the tree to which the
//! archive had followed the head: an archive begins at any height without a copy of the tree. When a node shrinks to the
//! leaves of a bucket, all sixteen places below it get a record: later changes below it get none.
//!
//! What is a node here follows from the leaves alone. In the tree of the head it does not: a bucket that split is merged
//! again with fewer leaves than it split at, and where that happened a crash or a snapshot forgets. So records of one block
//! fit those of the next whoever wrote either.

use super::StateError;
use super::cache::PageCache;
use super::layer::{Kind, Tree};
use super::page::{MERGE_LEAVES_MAX, SPLIT_LEAVES_MAX};
use super::tree::{Location, child_index};
use crate::batch::WriteBatch;
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::hash::sha256;
use cairn_primitives::state_proof::LeafHash;
use cairn_primitives::{Hash, Height};

/// Bits of a key hash from one recorded level to the next.
pub(super) const STEP_BITS: u16 = 4;
/// Places below a place.
pub(super) const STEP_CHILDREN: u8 = 1 << STEP_BITS;

/// What lies at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Image {
    /// A node over more leaves than a bucket holds, by its hash.
    Node(Hash),
    /// All leaves below, in the order of key hashes.
    Leaves(Vec<PastLeaf>),
}

/// A leaf of a past tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PastLeaf {
    pub(super) key_hash: Hash,
    pub(super) hash: Hash,
    pub(super) key: Vec<u8>,
}

impl PastLeaf {
    pub(super) const fn as_hashes(&self) -> LeafHash {
        (self.key_hash, self.hash)
    }
}

impl Image {
    fn encode(&self) -> Vec<u8> {
        let mut record = Vec::new();
        match self {
            Self::Node(hash) => {
                record.push(0);
                record.extend_from_slice(&hash.0);
            }
            Self::Leaves(leaves) => {
                record.push(1);
                for leaf in leaves {
                    let length = u16::try_from(leaf.key.len()).unwrap_or(u16::MAX);
                    record.extend_from_slice(&length.to_be_bytes());
                    record.extend_from_slice(&leaf.key);
                    record.extend_from_slice(&leaf.hash.0);
                }
            }
        }
        record
    }

    /// Reads a record; every leaf lies below `at`, in order.
    pub(super) fn decode(record: &[u8], at: Location) -> Result<Self, DatabaseError> {
        let damaged = || DatabaseError::damaged(Table::StateNodes, format!("the record of a past node at {at:?}"));
        match record.split_first() {
            Some((0, hash)) => Ok(Self::Node(Hash(hash.try_into().map_err(|_| damaged())?))),
            Some((1, mut rest)) => {
                let mut leaves: Vec<PastLeaf> = Vec::new();
                while !rest.is_empty() {
                    let (leaf, after) = decode_leaf(rest).ok_or_else(damaged)?;
                    let is_next = leaves.last().is_none_or(|last| last.key_hash < leaf.key_hash);
                    if !is_next || !at.contains(&leaf.key_hash) {
                        return Err(damaged());
                    }
                    leaves.push(leaf);
                    rest = after;
                }
                Ok(Self::Leaves(leaves))
            }
            _ => Err(damaged()),
        }
    }
}

fn decode_leaf(bytes: &[u8]) -> Option<(PastLeaf, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let (hash, rest) = rest.split_first_chunk::<32>()?;
    Some((PastLeaf { key_hash: sha256(key), hash: Hash(*hash), key: key.to_vec() }, rest))
}

/// The key of a place's record.
pub(super) fn record_key(at: Location, height: Height) -> Vec<u8> {
    let bits = at.prefix.0.get(..usize::from(at.depth.div_ceil(8))).unwrap_or(&at.prefix.0);
    let mut key = Vec::with_capacity(bits.len().saturating_add(5));
    key.push(u8::try_from(at.depth / STEP_BITS).unwrap_or(u8::MAX));
    key.extend_from_slice(bits);
    key.extend_from_slice(&height.0.to_be_bytes());
    key
}

/// Reads a record with its key, for checking.
pub(super) fn parse(key: &[u8], record: &[u8]) -> Result<Image, DatabaseError> {
    let damaged = || DatabaseError::damaged(Table::StateNodes, "a key is not a place and a height");
    let (place, _) = key.split_last_chunk::<4>().ok_or_else(damaged)?;
    let (steps, bits) = place.split_first().ok_or_else(damaged)?;
    let depth = u16::from(*steps).saturating_mul(STEP_BITS);
    let mut prefix = Hash::ZERO;
    prefix.0.get_mut(..bits.len()).ok_or_else(damaged)?.copy_from_slice(bits);
    if bits.len() != usize::from(depth.div_ceil(8)) {
        return Err(damaged());
    }
    Image::decode(record, Location { prefix, depth })
}

/// The place below that the next bits lead to.
pub(super) fn child(at: Location, index: u8) -> Location {
    (0..STEP_BITS)
        .rev()
        .fold(at, |at, bit| if index.wrapping_shr(u32::from(bit)) & 1 == 1 { at.right() } else { at.left() })
}

/// The places below a place, in order, each with those of the key hashes, which are in order, that belong to it.
pub(super) fn below(at: Location, key_hashes: &[Hash]) -> impl Iterator<Item = (Location, &[Hash])> {
    let mut rest = key_hashes;
    (0..STEP_CHILDREN).map(move |number| {
        let count = rest.partition_point(|key_hash| index(key_hash, at.depth) <= number);
        let (own, later) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        rest = later;
        (child(at, number), own)
    })
}

/// Which place below the one at `depth` a key hash belongs to.
fn index(key_hash: &Hash, depth: u16) -> u8 {
    let byte = key_hash.0.get(usize::from(depth / 8)).copied().unwrap_or(0);
    if depth.is_multiple_of(8) { byte.wrapping_shr(4) } else { byte & 0xf }
}

/// The tree of one version, as the archive sees it.
#[derive(Clone, Copy)]
pub(super) struct PastTree<'a> {
    pub(super) cache: &'a PageCache,
    pub(super) tree: &'a Tree<'a>,
}

impl PastTree<'_> {
    /// What lies at a place.
    pub(super) fn image(&self, at: Location) -> Result<Image, StateError> {
        self.image_below(&Subtree::root(self.tree.clone()), at)
    }

    fn image_below(&self, from: &Subtree<'_>, at: Location) -> Result<Image, StateError> {
        let Subtree { tree, at: tree_at } = from.descend(at);
        if is_past_node(&tree) {
            return Ok(Image::Node(*tree.hash()));
        }
        let mut leaves = Vec::new();
        self.collect(&tree, tree_at, &mut leaves)?;
        leaves.retain(|leaf| at.contains(&leaf.key_hash));
        Ok(Image::Leaves(leaves))
    }

    /// Adds the leaves of a subtree in order.
    fn collect(&self, tree: &Tree<'_>, at: Location, leaves: &mut Vec<PastLeaf>) -> Result<(), StateError> {
        match tree.kind() {
            Kind::Empty => {}
            Kind::Node => {
                for (index, child) in tree.children().iter().enumerate() {
                    self.collect(child, at.child(index), leaves)?;
                }
            }
            Kind::Bucket(_) => {
                let page = tree.page(self.cache, at)?;
                leaves.extend(page.leaves().map(|leaf| PastLeaf {
                    key_hash: leaf.key_hash,
                    hash: leaf.hash,
                    key: leaf.key.to_vec(),
                }));
            }
        }
        Ok(())
    }
}

/// Whether a subtree has more leaves than a bucket takes.
pub(super) fn is_past_node(tree: &Tree<'_>) -> bool {
    if !tree.is_node() {
        return false;
    }
    // A node has more leaves than would be merged: most often that is enough to know.
    let least = |child: &Tree<'_>| if child.is_node() { MERGE_LEAVES_MAX.saturating_add(1) } else { child.leaves() };
    let least = tree.children().iter().map(least).fold(0, usize::saturating_add);
    let limit = SPLIT_LEAVES_MAX.saturating_add(1);
    least >= limit || count_up_to(tree, limit) >= limit
}

/// How many leaves lie below, but not more than `limit`.
fn count_up_to(tree: &Tree<'_>, limit: usize) -> usize {
    if !tree.is_node() {
        return tree.leaves().min(limit);
    }
    tree.children().iter().fold(0, |count: usize, child| {
        if count >= limit { limit } else { count.saturating_add(count_up_to(child, limit)).min(limit) }
    })
}

/// A subtree and where it lies.
pub(super) struct Subtree<'a> {
    pub(super) tree: Tree<'a>,
    at: Location,
}

impl<'a> Subtree<'a> {
    pub(super) const fn root(tree: Tree<'a>) -> Self {
        Self { tree, at: Location::ROOT }
    }

    /// The subtree at a place, or the bucket or emptiness above it that it is part of.
    pub(super) fn descend(&self, to: Location) -> Self {
        let (mut tree, mut at) = (self.tree.clone(), self.at);
        while tree.is_node() && at.depth < to.depth {
            let index = child_index(&to.prefix, at.depth);
            (tree, at) = (tree.child(index), at.child(index));
        }
        Self { tree, at }
    }
}

/// Adds what a block replaced: `changed` are the key hashes of its changes in order. Returns about how many bytes.
///
/// # Errors
/// A page cannot be read.
pub(super) fn put(
    batch: &mut WriteBatch,
    height: Height,
    before: PastTree<'_>,
    after: &Tree<'_>,
    changed: &[Hash],
) -> Result<usize, StateError> {
    let mut writing = Writing { batch, height, before, bytes: 0 };
    if !changed.is_empty() && before.tree.hash() != after.hash() {
        let (before, after) = (Subtree::root(before.tree.clone()), Subtree::root(after.clone()));
        writing.replaced(Location::ROOT, &before, &after, changed)?;
    }
    Ok(writing.bytes)
}

struct Writing<'a, 'b> {
    batch: &'b mut WriteBatch,
    height: Height,
    before: PastTree<'a>,
    bytes: usize,
}

impl Writing<'_, '_> {
    /// Records what was at a place, and at those below it that the block changed.
    fn replaced(
        &mut self,
        at: Location,
        before: &Subtree<'_>,
        after: &Subtree<'_>,
        changed: &[Hash],
    ) -> Result<(), StateError> {
        let (key, record) = (record_key(at, self.height), self.before.image_below(before, at)?.encode());
        self.bytes = self.bytes.saturating_add(key.len()).saturating_add(record.len());
        self.batch.put(Table::StateNodes, key, record);
        if !is_past_node(&before.tree) {
            return Ok(());
        }
        let is_gone = !is_past_node(&after.tree);
        for (at, here) in below(at, changed) {
            if !here.is_empty() || is_gone {
                self.replaced(at, &before.descend(at), &after.descend(at), here)?;
            }
        }
        Ok(())
    }
}

/// Deletes what [`put`] added for a block.
pub(super) fn take_back(
    batch: &mut WriteBatch,
    height: Height,
    before: PastTree<'_>,
    after: &Tree<'_>,
    changed: &[Hash],
) -> Result<(), StateError> {
    let mut added = WriteBatch::new();
    put(&mut added, height, before, after, changed)?;
    added.into_sorted().operations().for_each(|operation| batch.delete(operation.table, operation.key));
    Ok(())
}

/// Deletes everything: the node is an archive no more.
pub(super) fn clear(batch: &mut WriteBatch) {
    // The first byte of a key is a depth, in steps.
    batch.delete_range(Table::StateNodes, [], [u8::MAX]);
}
