//! Inner nodes that are hashed level by level: first all that need no other, then those that need these, and so on.
//!
//! Building a block's tree only *notes* what is to be hashed. The hashes of one level do not depend on each other, so that
//! many of them are computed at once.

use super::page::Page;
use cairn_primitives::Hash;
use cairn_primitives::hash::sha256_of_pairs;
use cairn_primitives::state_proof::{DEPTH_MAX, EMPTY_SUBTREE, INNER_DOMAIN, path_bit};

/// A subtree whose hash is known, or will be after [`Hashing::run`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    index: u32,
    /// How many hashes of the way up to it have to be computed one after the other.
    level: u16,
    pub(super) leaves: usize,
}

impl Promise {
    /// The subtree is a node, whose leaves are not counted.
    pub(super) const fn over_node(self) -> Self {
        Self { leaves: usize::MAX, ..self }
    }
}

struct Step {
    left: u32,
    right: u32,
    result: u32,
}

/// What tells the way to a leaf, bit by bit.
trait Path {
    fn bit(&self, depth: u16) -> bool;
}

impl Path for Hash {
    fn bit(&self, depth: u16) -> bool {
        path_bit(self, depth)
    }
}

/// The first bits of a key hash.
impl Path for u64 {
    fn bit(&self, depth: u16) -> bool {
        self.wrapping_shr(63_u32.saturating_sub(depth.into())) & 1 == 1
    }
}

/// Hashes, and how those not known yet are made of others.
pub(super) struct Hashing {
    hashes: Vec<Hash>,
    levels: Vec<Vec<Step>>,
}

impl Hashing {
    pub(super) fn new() -> Self {
        Self { hashes: vec![EMPTY_SUBTREE], levels: Vec::new() }
    }

    /// The subtree without leaves.
    pub(super) const EMPTY: Promise = Promise { index: 0, level: 0, leaves: 0 };

    /// A subtree with a known hash.
    pub(super) fn known(&mut self, hash: &Hash, leaves: usize) -> Promise {
        if leaves == 0 {
            return Self::EMPTY;
        }
        Promise { index: self.push(*hash), level: 0, leaves }
    }

    /// The subtree over two others: an inner node, unless there is at most one leaf in both.
    pub(super) fn join(&mut self, left: Promise, right: Promise) -> Promise {
        match (left.leaves, right.leaves) {
            (0, 0 | 1) => right,
            (1, 0) => left,
            (a, b) => {
                let result = self.push(EMPTY_SUBTREE);
                let below = left.level.max(right.level);
                let level = usize::from(below);
                while self.levels.len() <= level {
                    self.levels.push(Vec::new());
                }
                if let Some(steps) = self.levels.get_mut(level) {
                    steps.push(Step { left: left.index, right: right.index, result });
                }
                Promise { index: result, level: below.saturating_add(1), leaves: a.saturating_add(b) }
            }
        }
    }

    /// The subtree of a page, given what [`Page::short_hashes`] gives, with other leaf hashes if need be.
    pub(super) fn page(&mut self, page: &Page, leaves: &[(u64, Hash)]) -> Promise {
        // Nearly always the first bits tell one leaf from the other, and the whole key hashes stay where they are.
        if leaves.is_sorted_by(|(one, _), (other, _)| one < other) {
            return self.leaves(leaves, page.depth());
        }
        let whole: Vec<_> =
            page.hashes().into_iter().zip(leaves).map(|((key_hash, _), (_, hash))| (key_hash, *hash)).collect();
        self.leaves(&whole, page.depth())
    }

    /// The subtree of leaves, which are in order.
    fn leaves<P: Path>(&mut self, leaves: &[(P, Hash)], depth: u16) -> Promise {
        match leaves {
            [] => Self::EMPTY,
            [(_, hash)] => self.known(hash, 1),
            // Two leaves differ in a bit, so this is never reached: it bounds the recursion.
            [(_, hash), ..] if depth >= DEPTH_MAX => self.known(hash, leaves.len()),
            _ => {
                let middle = leaves.partition_point(|(path, _)| !path.bit(depth));
                let (left, right) = leaves.split_at_checked(middle).unwrap_or((leaves, &[]));
                let below = depth.saturating_add(1);
                let (left, right) = (self.leaves(left, below), self.leaves(right, below));
                self.join(left, right)
            }
        }
    }

    /// Forgets everything, and keeps the room for it.
    pub(super) fn clear(&mut self) {
        self.hashes.truncate(1);
    }

    /// Computes everything that was promised.
    pub(super) fn run(&mut self) {
        let mut results = Vec::new();
        for steps in &mut self.levels {
            let hashes = &self.hashes;
            let pairs = steps.iter().map(|step| (at(hashes, step.left), at(hashes, step.right)));
            sha256_of_pairs(INNER_DOMAIN, pairs, |hash| results.push(hash));
            for (step, result) in steps.drain(..).zip(results.drain(..)) {
                if let Some(place) = self.hashes.get_mut(step.result as usize) {
                    *place = result;
                }
            }
        }
    }

    /// The hash of a subtree, after [`Self::run`].
    pub(super) fn hash(&self, promise: Promise) -> Hash {
        *at(&self.hashes, promise.index)
    }

    fn push(&mut self, hash: Hash) -> u32 {
        let index = u32::try_from(self.hashes.len()).expect("a block has far fewer nodes than 2^32");
        self.hashes.push(hash);
        index
    }
}

fn at(hashes: &[Hash], index: u32) -> &Hash {
    hashes.get(index as usize).expect("an index is one of a pushed hash")
}
