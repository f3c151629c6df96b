//! Reads and proofs on one version of the tree.

use super::StateError;
use super::page::{Leaf, Page, ValueRef};
use super::shared::Shared;
use super::tree::{Child, Location, Slot, child_index};
use cairn_primitives::hash::sha256;
use cairn_primitives::state_proof::{ExistenceProof, StateProof, path_bit, split, subtree_hash};
use cairn_primitives::{Hash, Height};
use cairn_storage_sha256::digest_all;
use std::sync::Arc;

/// Fewer reads than this are not worth a second thread.
const READS_PER_SHARE_MIN: usize = 64;
/// Threads share reads in so many pieces each: pages on disk take longer than those in memory.
const SHARES_PER_THREAD: usize = 4;

/// One version and what it is read through.
pub(super) struct Version<'a> {
    pub(super) shared: &'a Shared,
    pub(super) root: &'a Slot,
    /// The height of the version: where values are looked up that no page holds.
    pub(super) height: Height,
}

/// Which neighbour of a key hash.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

impl Version<'_> {
    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.get_hashed(&sha256(key))
    }

    /// The values of several keys, in order.
    pub(super) fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        let workers = &self.shared.workers;
        let share = keys.len().div_ceil(workers.count().saturating_mul(SHARES_PER_THREAD)).max(READS_PER_SHARE_MIN);
        let shares: Vec<_> = keys.chunks(share).collect();
        let read = |keys: &&[&[u8]]| {
            let mut hashes = Vec::with_capacity(keys.len());
            digest_all(keys.iter().copied(), |digest| hashes.push(Hash(digest)));
            hashes.iter().map(|key_hash| self.get_hashed(key_hash)).collect::<Result<Vec<_>, _>>()
        };
        let read = workers.map(&shares, read).into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(read.into_iter().flatten().collect())
    }

    fn get_hashed(&self, key_hash: &Hash) -> Result<Option<Vec<u8>>, StateError> {
        let mut slot = self.root;
        let mut at = Location::ROOT;
        loop {
            match &slot.child {
                Child::Empty => return Ok(None),
                Child::Node(node) => {
                    slot = node.step(key_hash, at.depth);
                    at = at.child(child_index(key_hash, at.depth));
                }
                Child::Bucket(_, bucket) => {
                    let page = self.shared.cache.page(bucket, at, &slot.hash)?;
                    return page.find(key_hash).map(|leaf| self.value(&leaf)).transpose();
                }
            }
        }
    }

    pub(super) fn value(&self, leaf: &Leaf<'_>) -> Result<Vec<u8>, StateError> {
        match leaf.value {
            ValueRef::Inline(value) => Ok(value.to_vec()),
            ValueRef::Large(_, Some(value)) => Ok(value.to_vec()),
            ValueRef::Large(hash, None) => self.shared.long_value(leaf.key, &hash, self.height),
        }
    }

    /// What the version holds under a key, provable against its root.
    pub(super) fn prove(&self, key: &[u8]) -> Result<StateProof, StateError> {
        let key_hash = sha256(key);
        if let Some(proof) = self.prove_leaf(&key_hash)? {
            return Ok(StateProof::Present(proof));
        }
        let mut neighbours = [None, None];
        for (proof, side) in neighbours.iter_mut().zip([Side::Before, Side::After]) {
            let found = self.neighbour(self.root, Location::ROOT, &key_hash, side)?;
            *proof = match found {
                Some(neighbour) => self.prove_leaf(&neighbour)?,
                None => None,
            };
        }
        let [left, right] = neighbours;
        Ok(StateProof::Absent { left, right })
    }

    /// The path of a leaf, or `None` if there is no such leaf.
    fn prove_leaf(&self, key_hash: &Hash) -> Result<Option<ExistenceProof>, StateError> {
        let mut siblings = Vec::with_capacity(32);
        let mut slot = self.root;
        let mut at = Location::ROOT;
        let page = loop {
            match &slot.child {
                Child::Empty => return Ok(None),
                Child::Node(node) => {
                    let index = child_index(key_hash, at.depth);
                    let (other, near) = node.siblings(index);
                    siblings.push(other);
                    siblings.extend(near);
                    slot = node.step(key_hash, at.depth);
                    at = at.child(index);
                }
                Child::Bucket(_, bucket) => break self.shared.cache.page(bucket, at, &slot.hash)?,
            }
        };
        let Some(leaf) = page.find(key_hash) else { return Ok(None) };
        let hashes = page.hashes();
        let mut below: &[(Hash, Hash)] = &hashes;
        let mut depth = at.depth;
        while below.len() > 1 {
            let (left, right) = split(below, depth);
            let (next, sibling) = if path_bit(key_hash, depth) { (right, left) } else { (left, right) };
            depth = depth.saturating_add(1);
            siblings.push(subtree_hash(sibling, depth));
            below = next;
        }
        siblings.reverse();
        Ok(Some(ExistenceProof { key: leaf.key.to_vec(), value: self.value(&leaf)?, siblings }))
    }

    /// The key hash of the last leaf before, or the first after, a key hash that has no leaf.
    fn neighbour(&self, slot: &Slot, at: Location, key_hash: &Hash, side: Side) -> Result<Option<Hash>, StateError> {
        match &slot.child {
            Child::Empty => Ok(None),
            Child::Node(node) => {
                let own = child_index(key_hash, at.depth);
                if let Some(found) = self.neighbour(node.step(key_hash, at.depth), at.child(own), key_hash, side)? {
                    return Ok(Some(found));
                }
                let slots = node.slots.iter().enumerate();
                match side {
                    Side::Before => self.nearest_edge(slots.take(own).rev(), at, side),
                    Side::After => self.nearest_edge(slots.skip(own.saturating_add(1)), at, side),
                }
            }
            Child::Bucket(_, bucket) => {
                let page = self.shared.cache.page(bucket, at, &slot.hash)?;
                Ok(nearest(&page, key_hash, side))
            }
        }
    }

    /// The edge of the first of a node's children that has leaves.
    fn nearest_edge<'b>(
        &self,
        slots: impl Iterator<Item = (usize, &'b Slot)>,
        at: Location,
        side: Side,
    ) -> Result<Option<Hash>, StateError> {
        for (index, slot) in slots {
            if let Some(found) = self.edge(slot, at.child(index), side)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The last leaf below (the one before what follows), or the first.
    fn edge(&self, slot: &Slot, at: Location, side: Side) -> Result<Option<Hash>, StateError> {
        match &slot.child {
            Child::Empty => Ok(None),
            Child::Node(node) => {
                let slots = node.slots.iter().enumerate();
                match side {
                    Side::Before => self.nearest_edge(slots.rev(), at, side),
                    Side::After => self.nearest_edge(slots, at, side),
                }
            }
            Child::Bucket(_, bucket) => {
                let page: Arc<Page> = self.shared.cache.page(bucket, at, &slot.hash)?;
                let mut leaves = page.leaves().map(|leaf| leaf.key_hash);
                Ok(if side == Side::Before { leaves.last() } else { leaves.next() })
            }
        }
    }
}

fn nearest(page: &Page, key_hash: &Hash, side: Side) -> Option<Hash> {
    let mut leaves = page.leaves().map(|leaf| leaf.key_hash);
    match side {
        Side::Before => leaves.take_while(|leaf| leaf < key_hash).last(),
        Side::After => leaves.find(|leaf| leaf > key_hash),
    }
}
