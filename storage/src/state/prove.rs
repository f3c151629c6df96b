//! Reads and proofs on the tree of one version.

use super::StateError;
use super::layer::{FETCHED_AT_ONCE, Kind, Tree, VALUE_BYTES_USUAL};
use super::page::{Asked, Page, ValueRef};
use super::shared::Shared;
use super::tree::{CHILDREN, Location, child_index};
use super::values::{Share, Values};
use cairn_primitives::hash::{sha256, sha256_of_each};
use cairn_primitives::state_proof::{ExistenceProof, StateProof, path_bit, split, subtree_hash};
use cairn_primitives::{Hash, Height};
use std::borrow::Cow;

/// Fewer reads than this are not worth a second thread.
const READS_PER_SHARE_MIN: usize = 64;
/// Threads share reads in so many pieces each: pages on disk take longer than those in memory.
const SHARES_PER_THREAD: usize = 4;

/// One version and what it is read through.
pub(super) struct Reading<'a> {
    pub(super) shared: &'a Shared,
    pub(super) tree: Tree<'a>,
    /// The height of the version: where values are looked up that no page holds.
    pub(super) height: Height,
}

/// Which neighbour of a key hash.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

impl Reading<'_> {
    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.look_up(&sha256(key), |value| value.map(<[u8]>::to_vec))
    }

    /// The values of several keys, in order.
    pub(super) fn get_many(&self, keys: &[&[u8]]) -> Result<Values, StateError> {
        let workers = &self.shared.workers;
        let share = keys.len().div_ceil(workers.count().saturating_mul(SHARES_PER_THREAD)).max(READS_PER_SHARE_MIN);
        let shares: Vec<_> = keys.chunks(share).collect();
        let read = |keys: &&[&[u8]]| {
            let mut hashes = Vec::with_capacity(keys.len());
            sha256_of_each(keys.iter().copied(), |hash| hashes.push(hash));
            let mut values = Share::with_capacity(keys.len(), keys.len().saturating_mul(VALUE_BYTES_USUAL));
            for hashes in hashes.chunks(FETCHED_AT_ONCE) {
                self.tree.fetch_ahead(0, hashes.iter(), Asked::Value);
                for key_hash in hashes {
                    self.look_up(key_hash, |value| values.push(value))?;
                }
            }
            Ok::<_, StateError>(values)
        };
        Ok(Values::new(workers.map(&shares, read).into_iter().collect::<Result<_, _>>()?))
    }

    /// Gives what is under a key hash to `take`.
    fn look_up<T>(&self, key_hash: &Hash, take: impl FnOnce(Option<&[u8]>) -> T) -> Result<T, StateError> {
        let (tree, at) = self.bottom(key_hash, &mut |_, _| ());
        if matches!(tree.kind(), Kind::Empty) {
            return Ok(take(None));
        }
        let page = tree.page(&self.shared.cache, at)?;
        let found = page.position(key_hash).and_then(|index| page.content(index));
        let Some((key, value)) = found else { return Ok(take(None)) };
        Ok(take(Some(&self.value(key, value)?)))
    }

    /// Where the nodes on the path to a key hash end; `on_node` sees each with the number of its child on the path.
    fn bottom(&self, key_hash: &Hash, on_node: &mut dyn FnMut(&Tree<'_>, usize)) -> (Tree<'_>, Location) {
        let (mut tree, mut at) = (self.tree.clone(), Location::ROOT);
        while tree.is_node() {
            let index = child_index(key_hash, at.depth);
            on_node(&tree, index);
            (tree, at) = (tree.child(index), at.child(index));
        }
        (tree, at)
    }

    /// A value that a page has under a key.
    pub(super) fn value<'l>(&self, key: &[u8], value: ValueRef<'l>) -> Result<Cow<'l, [u8]>, StateError> {
        match value {
            ValueRef::Inline(value) => Ok(value.into()),
            ValueRef::Large(_, Some(value)) => Ok((&**value).into()),
            ValueRef::Large(hash, None) => Ok(self.shared.long_value(key, &hash, self.height)?.into()),
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
            let found = self.neighbour(&self.tree, Location::ROOT, &key_hash, side)?;
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
        let (tree, at) = self.bottom(key_hash, &mut |node, index| {
            let (other, near) = node.siblings(index);
            siblings.push(other);
            siblings.extend(near);
        });
        if matches!(tree.kind(), Kind::Empty) {
            return Ok(None);
        }
        let page = tree.page(&self.shared.cache, at)?;
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
        Ok(Some(ExistenceProof {
            key: leaf.key.to_vec(),
            value: self.value(leaf.key, leaf.value)?.into_owned(),
            siblings,
        }))
    }

    /// The key hash of the last leaf before, or the first after, a key hash that has no leaf.
    fn neighbour(
        &self,
        tree: &Tree<'_>,
        at: Location,
        key_hash: &Hash,
        side: Side,
    ) -> Result<Option<Hash>, StateError> {
        match tree.kind() {
            Kind::Empty => Ok(None),
            Kind::Node => {
                let own = child_index(key_hash, at.depth);
                if let Some(found) = self.neighbour(&tree.child(own), at.child(own), key_hash, side)? {
                    return Ok(Some(found));
                }
                match side {
                    Side::Before => self.nearest_edge(tree, (0..own).rev(), at, side),
                    Side::After => self.nearest_edge(tree, own.saturating_add(1)..CHILDREN, at, side),
                }
            }
            Kind::Bucket(_) => Ok(nearest(&tree.page(&self.shared.cache, at)?, key_hash, side)),
        }
    }

    /// The edge of the first of a node's children that has leaves.
    fn nearest_edge(
        &self,
        tree: &Tree<'_>,
        indexes: impl Iterator<Item = usize>,
        at: Location,
        side: Side,
    ) -> Result<Option<Hash>, StateError> {
        for index in indexes {
            if let Some(found) = self.edge(&tree.child(index), at.child(index), side)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The last leaf below (the one before what follows), or the first.
    fn edge(&self, tree: &Tree<'_>, at: Location, side: Side) -> Result<Option<Hash>, StateError> {
        match tree.kind() {
            Kind::Empty => Ok(None),
            Kind::Node => match side {
                Side::Before => self.nearest_edge(tree, (0..CHILDREN).rev(), at, side),
                Side::After => self.nearest_edge(tree, 0..CHILDREN, at, side),
            },
            Kind::Bucket(_) => {
                let page = tree.page(&self.shared.cache, at)?;
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
