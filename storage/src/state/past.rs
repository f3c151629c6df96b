//! Proofs at any archived height: the tree of the height, put together from what later blocks replaced.
//!
//! A path asks for the sixteen places at every fourth level, one seek each, and then for the value of its leaf. What was
//! read is kept for the next key of the same call.

use super::StateError;
use super::archive::{Image, PastLeaf, PastTree, STEP_BITS, STEP_CHILDREN, child, record_key};
use super::history;
use super::prove::Reading;
use super::tree::Location;
use crate::database::{Direction, KeyRange};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::hash::sha256;
use cairn_primitives::state_proof::{
    DEPTH_MAX, ExistenceProof, LeafHash, StateProof, inner_hash, leaf_hash, path_bit, split, subtree_hash,
};
use cairn_primitives::{Hash, Height};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The tree of one past height.
pub(super) struct Past<'a> {
    /// The last version that the archive holds: what lies where no block from `height` to there changed anything.
    saved: &'a Reading<'a>,
    height: Height,
    known: BTreeMap<(u16, Hash), Images>,
}

/// What lies at the places below a place, in order.
type Images = Arc<[Image]>;

/// The end of a path: its leaves, their depth, and the siblings from the root down to there.
struct Bottom {
    leaves: Vec<PastLeaf>,
    depth: u16,
    siblings: Vec<Hash>,
    /// What the path passed by: the subtrees on its left and on its right, from the root down.
    passed: Vec<(Side, Location, Images)>,
}

/// Which neighbour of a key hash.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

impl<'a> Past<'a> {
    pub(super) const fn new(saved: &'a Reading<'a>, height: Height) -> Self {
        Self { saved, height, known: BTreeMap::new() }
    }

    /// What the height's state holds under a key, provable against its root.
    pub(super) fn prove(&mut self, key: &[u8]) -> Result<StateProof, StateError> {
        let key_hash = sha256(key);
        let bottom = self.follow(&key_hash)?;
        if bottom.leaves.iter().any(|leaf| leaf.key_hash == key_hash) {
            return Ok(StateProof::Present(self.existence(&key_hash, bottom)?));
        }
        let mut neighbours = [None, None];
        for (proof, side) in neighbours.iter_mut().zip([Side::Before, Side::After]) {
            if let Some(neighbour) = self.neighbour(&key_hash, &bottom, side)? {
                let bottom = self.follow(&neighbour)?;
                *proof = Some(self.existence(&neighbour, bottom)?);
            }
        }
        let [left, right] = neighbours;
        Ok(StateProof::Absent { left, right })
    }

    /// What lay at a place.
    fn image(&self, at: Location) -> Result<Image, StateError> {
        let Reading { shared, tree, height: saved } = self.saved;
        let range = KeyRange::between(record_key(at, self.height.next()), record_key(at, saved.next()));
        match shared.database.scan(Table::StateNodes, &range, Direction::Forward, 1)?.first() {
            Some((_, record)) => Ok(Image::decode(record, at)?),
            None => PastTree { cache: &shared.cache, tree }.image(at),
        }
    }

    fn below(&mut self, at: Location) -> Result<Images, StateError> {
        if let Some(images) = self.known.get(&(at.depth, at.prefix)) {
            return Ok(Arc::clone(images));
        }
        let images = (0..STEP_CHILDREN).map(|number| self.image(child(at, number))).collect::<Result<Images, _>>()?;
        self.known.insert((at.depth, at.prefix), Arc::clone(&images));
        Ok(images)
    }

    /// The path of a key hash down to where only leaves are left.
    fn follow(&mut self, key_hash: &Hash) -> Result<Bottom, StateError> {
        let mut bottom = Bottom { leaves: Vec::new(), depth: 0, siblings: Vec::new(), passed: Vec::new() };
        let mut at = Location::ROOT;
        if let Image::Leaves(leaves) = self.image(at)? {
            bottom.leaves = leaves;
            return Ok(bottom);
        }
        while at.depth < DEPTH_MAX {
            let images = self.below(at)?;
            let mut near: &[Image] = &images;
            for _ in 0..STEP_BITS {
                let (left, right) = near.split_at_checked(near.len() / 2).unwrap_or((near, &[]));
                let is_right = path_bit(key_hash, at.depth);
                let (side, far, far_at) =
                    if is_right { (Side::Before, left, at.left()) } else { (Side::After, right, at.right()) };
                near = if is_right { right } else { left };
                at = at.step(key_hash);
                bottom.siblings.push(range_hash(far, at.depth));
                bottom.passed.push((side, far_at, far.into()));
                if let Some(leaves) = all_leaves(near) {
                    (bottom.leaves, bottom.depth) = (leaves, at.depth);
                    return Ok(bottom);
                }
            }
        }
        Err(DatabaseError::damaged(Table::StateNodes, "a path has no end").into())
    }

    /// The proof of a leaf at the end of a path.
    fn existence(&self, key_hash: &Hash, bottom: Bottom) -> Result<ExistenceProof, StateError> {
        let Bottom { leaves, mut depth, mut siblings, .. } = bottom;
        let missing = |reason: String| DatabaseError::Missing { table: Table::StateHistory, reason };
        let leaf = leaves.iter().find(|leaf| leaf.key_hash == *key_hash);
        let leaf = leaf.ok_or_else(|| missing(format!("leaf {key_hash} at height {}", self.height)))?;
        let value = match history::replaced(&*self.saved.shared.database, &leaf.key, self.height)? {
            Some(replaced) => replaced,
            None => self.saved.get(&leaf.key)?,
        };
        let value = value.filter(|value| leaf_hash(key_hash, &sha256(value)) == leaf.hash);
        let value =
            value.ok_or_else(|| missing(format!("the value of key {:?} at height {}", leaf.key, self.height)))?;
        let hashes: Vec<_> = leaves.iter().map(PastLeaf::as_hashes).collect();
        let mut below: &[LeafHash] = &hashes;
        while below.len() > 1 {
            let (left, right) = split(below, depth);
            let (near, far) = if path_bit(key_hash, depth) { (right, left) } else { (left, right) };
            depth = depth.saturating_add(1);
            siblings.push(subtree_hash(far, depth));
            below = near;
        }
        siblings.reverse();
        Ok(ExistenceProof { key: leaf.key.clone(), value, siblings })
    }

    /// The key hash of the last leaf before, or the first after, a key hash whose path ends without its leaf.
    fn neighbour(&mut self, key_hash: &Hash, bottom: &Bottom, side: Side) -> Result<Option<Hash>, StateError> {
        let mut leaves = bottom.leaves.iter().map(|leaf| leaf.key_hash);
        let nearest = match side {
            Side::Before => leaves.take_while(|leaf| leaf < key_hash).last(),
            Side::After => leaves.find(|leaf| leaf > key_hash),
        };
        if nearest.is_some() {
            return Ok(nearest);
        }
        for (_, at, images) in bottom.passed.iter().rev().filter(|(passed, ..)| *passed == side) {
            if let Some(found) = self.edge(*at, images, side)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The last leaf of a subtree (the one before what follows), or the first; `images` are those of all its places on the
    /// next recorded level.
    fn edge(&mut self, at: Location, images: &[Image], side: Side) -> Result<Option<Hash>, StateError> {
        match images {
            [] => Ok(None),
            [Image::Leaves(leaves)] => {
                let leaf = if side == Side::Before { leaves.last() } else { leaves.first() };
                Ok(leaf.map(|leaf| leaf.key_hash))
            }
            [Image::Node(_)] if at.depth >= DEPTH_MAX => Ok(None),
            [Image::Node(_)] => {
                let images = self.below(at)?;
                self.edge(at, &images, side)
            }
            _ => {
                let (left, right) = images.split_at_checked(images.len() / 2).unwrap_or((images, &[]));
                let (left, right) = ((at.left(), left), (at.right(), right));
                for (at, images) in if side == Side::Before { [right, left] } else { [left, right] } {
                    if let Some(found) = self.edge(at, images, side)? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
        }
    }
}

/// The leaves of neighbouring places, if there is no node among them.
fn all_leaves(images: &[Image]) -> Option<Vec<PastLeaf>> {
    let mut all = Vec::new();
    for image in images {
        match image {
            Image::Node(_) => return None,
            Image::Leaves(leaves) => all.extend_from_slice(leaves),
        }
    }
    Some(all)
}

/// The hash of the subtree at `depth` whose places on the next recorded level hold this.
fn range_hash(images: &[Image], depth: u16) -> Hash {
    match (images, all_leaves(images)) {
        (_, Some(leaves)) => subtree_hash(&leaves.iter().map(PastLeaf::as_hashes).collect::<Vec<_>>(), depth),
        ([Image::Node(hash)], None) => *hash,
        (_, None) => {
            let (left, right) = images.split_at_checked(images.len() / 2).unwrap_or((images, &[]));
            let below = depth.saturating_add(1);
            inner_hash(&range_hash(left, below), &range_hash(right, below))
        }
    }
}
