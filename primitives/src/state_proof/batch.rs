//! One proof for many keys, with every shared node once.
//!
//! A batch proof is the part of the tree that the paths of the asked keys pass, node by node from the root, left before
//! right. Where no asked key lies below, one hash stands for the subtree. The reader knows the keys, so the proof holds
//! none of them:
//!
//! | node | what it carries | where |
//! |---|---|---|
//! | empty | nothing | anywhere |
//! | inner | nothing; its two children follow | above asked keys |
//! | hidden | the hash of the subtree, not empty | above no asked key |
//! | value | which of the asked keys below, in the order of key hashes, and the value | above asked keys |
//! | other | key hash and value hash of a leaf that was not asked for | above asked keys |
//!
//! A key has no value where its path ends in an empty subtree or in the leaf of another key: that is the whole subtree, so
//! that no neighbours are needed. For one tree and one set of keys there is one proof; everything else is refused, what
//! is not needed included. Verification is a pure function of root and keys; it computes at most one hash a node.
#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

#[cfg(test)]
mod tests;

use super::{
    DEPTH_MAX, EMPTY_SUBTREE, ExistenceProof, ProofError, StateProof, VALUE_BYTES_MAX, common_bits, decode_bytes,
    inner_hash, leaf_hash, path_bit,
};
use crate::codec::{DecodeError, decode_bounded, decode_strict};
use crate::hash::{Hash, sha256};
use parity_scale_codec::{Compact, Decode, Encode, Error, Input};
use std::collections::{BTreeMap, BTreeSet};

/// The most keys of one batch proof: as many as one call lists.
pub const BATCH_KEYS_MAX: usize = 1_000;
/// The most nodes: 1,000 keys in a state of 10,000,000 take about 30,000.
pub const BATCH_NODES_MAX: usize = 1 << 17;
/// The largest encoded batch proof, in bytes: what one answer may weigh.
pub const BATCH_BYTES_MAX: usize = 16 << 20;

/// What a node is; what it carries lies in lists of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
enum Node {
    #[codec(index = 0)]
    Empty,
    #[codec(index = 1)]
    Inner,
    #[codec(index = 2)]
    Hidden,
    #[codec(index = 3)]
    Value,
    #[codec(index = 4)]
    Other,
}

/// The value of an asked key.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
struct AskedValue {
    /// The place of the key among the asked keys below the node, in the order of key hashes.
    #[codec(compact)]
    place: u32,
    value: Vec<u8>,
}

impl Decode for AskedValue {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let place = Compact::<u32>::decode(input)?.0;
        Ok(Self { place, value: decode_bytes(input, VALUE_BYTES_MAX, "storage value too large")? })
    }
}

/// What the state holds under several keys, provable against a state root.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub struct BatchProof {
    /// From the root down, left before right.
    nodes: Vec<Node>,
    /// In the order of the nodes that carry them: one for a hidden one, key hash and value hash for another leaf.
    hashes: Vec<Hash>,
    /// In the order of the nodes that carry them.
    values: Vec<AskedValue>,
}

impl Decode for BatchProof {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let nodes = decode_bounded(input, BATCH_NODES_MAX, "too many nodes")?;
        let hashes = decode_bounded(input, BATCH_NODES_MAX.saturating_mul(2), "too many hashes")?;
        let values = decode_bounded(input, BATCH_KEYS_MAX, "too many values")?;
        Ok(Self { nodes, hashes, values })
    }
}

/// Why a batch proof does not hold, or cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchProofError {
    /// A path is wrong: root, key, value or depth.
    #[error(transparent)]
    Path(#[from] ProofError),
    /// No key, or too many.
    #[error("a batch proof for {count} keys: 1 to {BATCH_KEYS_MAX} are allowed")]
    KeyCount {
        /// How many different keys were asked for.
        count: usize,
    },
    /// The proof would be larger than one may be.
    #[error("a batch proof of {nodes} nodes and {bytes} bytes is over the limit: ask for fewer keys")]
    TooLarge {
        /// Its nodes.
        nodes: usize,
        /// Its size when encoded.
        bytes: usize,
    },
    /// The proof ends before the tree does.
    #[error("the batch proof ends early")]
    Incomplete,
    /// The proof says nothing about a key.
    #[error("the batch proof hides the path of a key that was asked for")]
    NotCovered,
    /// The proof has parts that no key needs.
    #[error("the batch proof holds nodes that no key needs")]
    Superfluous,
    /// A leaf lies where its key hash does not lead.
    #[error("a leaf of the batch proof lies on another path than its key hash")]
    Misplaced,
}

impl BatchProof {
    /// Makes one proof out of proofs of single keys against the same root.
    ///
    /// # Errors
    /// There are no keys or too many, a proof is for another key or too deep, or the result is too large. Proofs against
    /// different roots give a proof that does not hold.
    pub fn merge<'a>(proofs: impl IntoIterator<Item = (&'a [u8], &'a StateProof)>) -> Result<Self, BatchProofError> {
        let mut asked = BTreeSet::new();
        let mut leaves = BTreeMap::new();
        for (key, proof) in proofs {
            asked.insert(sha256(key));
            match proof {
                StateProof::Present(proof) if proof.key != key => return Err(ProofError::WrongKey.into()),
                StateProof::Present(proof) => drop(leaves.insert(sha256(key), KnownLeaf::new(proof)?)),
                StateProof::Absent { left, right } => {
                    for neighbour in [left, right].into_iter().flatten() {
                        leaves.insert(sha256(&neighbour.key), KnownLeaf::new(neighbour)?);
                    }
                }
            }
        }
        if asked.is_empty() || asked.len() > BATCH_KEYS_MAX {
            return Err(BatchProofError::KeyCount { count: asked.len() });
        }
        let asked: Vec<_> = asked.into_iter().collect();
        let leaves: Vec<_> = leaves.into_iter().collect();
        let mut proof = Self { nodes: Vec::new(), hashes: Vec::new(), values: Vec::new() };
        proof.put_subtree(&asked, &leaves, 0);
        let (nodes, bytes) = (proof.nodes.len(), proof.encoded_size());
        if nodes > BATCH_NODES_MAX || bytes > BATCH_BYTES_MAX {
            return Err(BatchProofError::TooLarge { nodes, bytes });
        }
        Ok(proof)
    }

    /// Decodes a proof from outside.
    ///
    /// # Errors
    /// The bytes exceed [`BATCH_BYTES_MAX`] or another limit of this module, or are not canonical.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode_strict("batch proof", bytes, BATCH_BYTES_MAX)
    }

    /// What the state of the trusted `root` holds under each key, in the order asked; `None` where there is no value.
    ///
    /// # Errors
    /// The proof is for another root or other keys, or is malformed.
    pub fn check<K: AsRef<[u8]>>(&self, root: &Hash, keys: &[K]) -> Result<Vec<Option<&[u8]>>, BatchProofError> {
        let hashes: Vec<_> = keys.iter().map(|key| sha256(key.as_ref())).collect();
        let mut asked = hashes.clone();
        asked.sort_unstable();
        asked.dedup();
        if asked.is_empty() || asked.len() > BATCH_KEYS_MAX {
            return Err(BatchProofError::KeyCount { count: asked.len() });
        }
        let mut reading = Reading {
            nodes: self.nodes.iter(),
            hashes: self.hashes.iter(),
            values: self.values.iter(),
            found: BTreeMap::new(),
        };
        let computed = reading.subtree(&asked, 0)?;
        if reading.nodes.len() > 0 || reading.hashes.len() > 0 || reading.values.len() > 0 {
            return Err(BatchProofError::Superfluous);
        }
        if computed != *root {
            return Err(ProofError::WrongRoot { computed, trusted: *root }.into());
        }
        Ok(hashes.iter().map(|hash| reading.found.get(hash).copied()).collect())
    }

    /// Nodes of the part of the tree that the proof shows.
    #[must_use]
    pub const fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Adds the subtree above the asked keys (at least one) and the known leaves below it.
    fn put_subtree(&mut self, asked: &[Hash], leaves: &[(Hash, KnownLeaf<'_>)], depth: u16) {
        if leaves.is_empty() {
            return self.nodes.push(Node::Empty);
        }
        // No leaf lies deeper than the bits of its key hash, so that the recursion ends here at the latest.
        if let Some((key_hash, leaf)) = leaves.iter().find(|(_, leaf)| leaf.depth <= depth) {
            return self.put_leaf(asked, key_hash, leaf);
        }
        self.nodes.push(Node::Inner);
        let below = depth.saturating_add(1);
        let (asked_left, asked_right) = split(asked, depth, |key_hash| key_hash);
        let (left, right) = split(leaves, depth, |(key_hash, _)| key_hash);
        for (asked, near, far) in [(asked_left, left, right), (asked_right, right, left)] {
            if !asked.is_empty() {
                self.put_subtree(asked, near, below);
                continue;
            }
            let hash = match (near.first(), far.first()) {
                (Some((key_hash, leaf)), _) => leaf.ancestor(key_hash, below),
                (None, Some((_, leaf))) => leaf.sibling(depth),
                (None, None) => EMPTY_SUBTREE,
            };
            self.put_hidden(hash);
        }
    }

    fn put_leaf(&mut self, asked: &[Hash], key_hash: &Hash, leaf: &KnownLeaf<'_>) {
        match asked.iter().zip(0_u32..).find(|(asked, _)| *asked == key_hash) {
            Some((_, place)) => {
                self.nodes.push(Node::Value);
                self.values.push(AskedValue { place, value: leaf.value.to_vec() });
            }
            None => {
                self.nodes.push(Node::Other);
                self.hashes.extend([*key_hash, sha256(leaf.value)]);
            }
        }
    }

    fn put_hidden(&mut self, hash: Hash) {
        if hash == EMPTY_SUBTREE {
            self.nodes.push(Node::Empty);
        } else {
            self.nodes.push(Node::Hidden);
            self.hashes.push(hash);
        }
    }
}

/// Items whose key hash turns left and right at `depth`; they are in the order of key hashes.
fn split<T>(items: &[T], depth: u16, key_hash: impl Fn(&T) -> &Hash) -> (&[T], &[T]) {
    let middle = items.partition_point(|item| !path_bit(key_hash(item), depth));
    items.split_at_checked(middle).unwrap_or((items, &[]))
}

/// A leaf of a single proof.
struct KnownLeaf<'a> {
    value: &'a [u8],
    /// From the leaf up.
    siblings: &'a [Hash],
    depth: u16,
}

impl<'a> KnownLeaf<'a> {
    fn new(proof: &'a ExistenceProof) -> Result<Self, ProofError> {
        let depth = u16::try_from(proof.siblings.len()).ok().filter(|depth| *depth <= DEPTH_MAX);
        let depth = depth.ok_or(ProofError::TooDeep { depth: proof.siblings.len() })?;
        Ok(Self { value: &proof.value, siblings: &proof.siblings, depth })
    }

    /// The hash beside the path below the node at `depth`.
    fn sibling(&self, depth: u16) -> Hash {
        let up = self.depth.saturating_sub(depth).saturating_sub(1);
        self.siblings.get(usize::from(up)).copied().unwrap_or(EMPTY_SUBTREE)
    }

    /// The hash of the node of the path at `depth`.
    fn ancestor(&self, key_hash: &Hash, depth: u16) -> Hash {
        let leaf = leaf_hash(key_hash, &sha256(self.value));
        (depth..self.depth).rev().zip(self.siblings).fold(leaf, |node, (at, sibling)| {
            if path_bit(key_hash, at) { inner_hash(sibling, &node) } else { inner_hash(&node, sibling) }
        })
    }
}

/// A proof on its way through verification.
struct Reading<'a> {
    nodes: std::slice::Iter<'a, Node>,
    hashes: std::slice::Iter<'a, Hash>,
    values: std::slice::Iter<'a, AskedValue>,
    /// By key hash.
    found: BTreeMap<Hash, &'a [u8]>,
}

impl Reading<'_> {
    /// The hash of the next subtree, which all the asked keys, in order, lead into.
    fn subtree(&mut self, asked: &[Hash], depth: u16) -> Result<Hash, BatchProofError> {
        match (self.nodes.next().ok_or(BatchProofError::Incomplete)?, asked) {
            (Node::Empty, _) => Ok(EMPTY_SUBTREE),
            (Node::Hidden, []) => {
                let hash = self.hash()?;
                if hash == EMPTY_SUBTREE { Err(BatchProofError::Superfluous) } else { Ok(hash) }
            }
            (Node::Hidden, _) => Err(BatchProofError::NotCovered),
            (_, []) => Err(BatchProofError::Superfluous),
            (Node::Inner, _) => {
                if depth >= DEPTH_MAX {
                    return Err(ProofError::TooDeep { depth: usize::from(depth).saturating_add(1) }.into());
                }
                let (to_left, to_right) = split(asked, depth, |key_hash| key_hash);
                let below = depth.saturating_add(1);
                let left = self.subtree(to_left, below)?;
                Ok(inner_hash(&left, &self.subtree(to_right, below)?))
            }
            (Node::Value, _) => self.value(asked),
            (Node::Other, [first, ..]) => {
                let (key_hash, value_hash) = (self.hash()?, self.hash()?);
                if common_bits(&key_hash, first) < depth {
                    return Err(BatchProofError::Misplaced);
                }
                if asked.binary_search(&key_hash).is_ok() {
                    return Err(BatchProofError::NotCovered);
                }
                Ok(leaf_hash(&key_hash, &value_hash))
            }
        }
    }

    fn value(&mut self, asked: &[Hash]) -> Result<Hash, BatchProofError> {
        let AskedValue { place, value } = self.values.next().ok_or(BatchProofError::Incomplete)?;
        let key_hash = usize::try_from(*place).ok().and_then(|place| asked.get(place));
        let key_hash = *key_hash.ok_or(BatchProofError::Misplaced)?;
        if value.is_empty() {
            return Err(ProofError::EmptyLeaf.into());
        }
        self.found.insert(key_hash, value);
        Ok(leaf_hash(&key_hash, &sha256(value)))
    }

    fn hash(&mut self) -> Result<Hash, BatchProofError> {
        self.hashes.next().copied().ok_or(BatchProofError::Incomplete)
    }
}
