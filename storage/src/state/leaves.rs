//! All leaves of a version, in chunks with a range proof each.

use super::StateError;
use super::layer::{Kind, Tree};
use super::page::{Page, ValueRef};
use super::prove::Reading;
use super::tree::Location;
use cairn_primitives::Hash;
use cairn_primitives::hash::sha256;
use cairn_primitives::state_proof::{
    CHUNK_LEAVES_MAX, KeyRange, LeafHash, RangeProof, RangeTree, StateChunk, StateLeaf, Subtree, split, subtree_hash,
};

/// What a leaf takes in a chunk beside key and value, in bytes, at most.
const LEAF_OVERHEAD_BYTES: usize = 8;

/// Leaves on their way into a chunk.
struct Collecting {
    leaves: Vec<StateLeaf>,
    bytes: usize,
    bytes_max: usize,
    /// The key hash of the first leaf that found no room.
    next: Option<Hash>,
}

impl Collecting {
    fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max || self.leaves.len() >= CHUNK_LEAVES_MAX
    }
}

impl Reading<'_> {
    /// The leaves from a key hash on until their keys and values have `bytes_max` bytes, at least one if there is any, with
    /// the range that they fill and its proof.
    pub(super) fn chunk(&self, from: Hash, bytes_max: usize) -> Result<(KeyRange, StateChunk), StateError> {
        let mut collecting = Collecting { leaves: Vec::new(), bytes: 0, bytes_max, next: None };
        self.collect(&self.tree, Location::ROOT, &from, &mut collecting)?;
        let range = KeyRange { from, to: collecting.next };
        let proof = RangeProof::make(self, &Part::Whole(self.tree.clone(), Location::ROOT), &range)?;
        Ok((range, StateChunk { leaves: collecting.leaves, proof }))
    }

    /// Takes leaves below a place in order; stops at the first without room.
    fn collect(&self, tree: &Tree<'_>, at: Location, from: &Hash, into: &mut Collecting) -> Result<(), StateError> {
        match tree.kind() {
            Kind::Empty => Ok(()),
            Kind::Node => {
                for (index, child) in tree.children().iter().enumerate() {
                    let at = at.child(index);
                    if into.next.is_none() && (at.prefix >= *from || at.contains(from)) {
                        self.collect(child, at, from, into)?;
                    }
                }
                Ok(())
            }
            Kind::Bucket(_) => {
                let page = tree.page(&self.shared.cache, at)?;
                for leaf in page.leaves().filter(|leaf| leaf.key_hash >= *from) {
                    if into.is_full() {
                        into.next = Some(leaf.key_hash);
                        break;
                    }
                    let leaf =
                        StateLeaf { key: leaf.key.to_vec(), value: self.value(leaf.key, leaf.value)?.into_owned() };
                    let bytes = leaf.key.len().saturating_add(leaf.value.len()).saturating_add(LEAF_OVERHEAD_BYTES);
                    into.bytes = into.bytes.saturating_add(bytes);
                    into.leaves.push(leaf);
                }
                Ok(())
            }
        }
    }
}

/// A subtree as a range proof sees it: one bit a level.
pub(super) enum Part<'a> {
    /// At a level that has nodes.
    Whole(Tree<'a>, Location),
    /// The left or right half of a node at a place.
    Half(Tree<'a>, bool, Location),
    /// Some leaves of a page.
    Leaves(Page, Vec<LeafHash>),
}

impl<'a> RangeTree for Reading<'a> {
    type Node = Part<'a>;
    type Error = StateError;

    fn hash(&self, part: &Part<'a>, depth: u16) -> Result<Hash, StateError> {
        Ok(match part {
            Part::Whole(tree, _) => *tree.hash(),
            Part::Half(node, is_right, _) => {
                let [left, right] = node.pairs();
                if *is_right { *right } else { *left }
            }
            Part::Leaves(_, leaves) => subtree_hash(leaves, depth),
        })
    }

    fn open(&self, part: &Part<'a>, depth: u16) -> Result<Subtree<Part<'a>>, StateError> {
        match part {
            Part::Whole(tree, at) => match tree.kind() {
                Kind::Empty => Ok(Subtree::Empty),
                Kind::Node => {
                    Ok(Subtree::Inner(Part::Half(tree.clone(), false, *at), Part::Half(tree.clone(), true, *at)))
                }
                Kind::Bucket(_) => {
                    let page = tree.page(&self.shared.cache, *at)?;
                    let leaves = page.hashes();
                    Ok(open_leaves(&page, &leaves, depth))
                }
            },
            Part::Half(node, is_right, at) => {
                let index = if *is_right { 2 } else { 0 };
                let child = |index: usize| Part::Whole(node.child(index), at.child(index));
                let (first, second) = (child(index), child(index.saturating_add(1)));
                let below = depth.saturating_add(1);
                // A subtree with one leaf is that leaf.
                match (self.open(&first, below)?, self.open(&second, below)?) {
                    (Subtree::Empty, Subtree::Empty) => Ok(Subtree::Empty),
                    (leaf @ Subtree::Leaf { .. }, Subtree::Empty) | (Subtree::Empty, leaf @ Subtree::Leaf { .. }) => {
                        Ok(leaf)
                    }
                    _ => Ok(Subtree::Inner(first, second)),
                }
            }
            Part::Leaves(page, leaves) => Ok(open_leaves(page, leaves, depth)),
        }
    }
}

fn open_leaves<'a>(page: &Page, leaves: &[LeafHash], depth: u16) -> Subtree<Part<'a>> {
    match leaves {
        [] => Subtree::Empty,
        [(key_hash, _)] => {
            let value_hash = page.find(key_hash).map_or(Hash::ZERO, |leaf| match leaf.value {
                ValueRef::Inline(value) => sha256(value),
                ValueRef::Large(hash, _) => hash,
            });
            Subtree::Leaf { key_hash: *key_hash, value_hash }
        }
        _ => {
            let (left, right) = split(leaves, depth);
            let part = |leaves: &[LeafHash]| Part::Leaves(page.clone(), leaves.to_vec());
            Subtree::Inner(part(left), part(right))
        }
    }
}
