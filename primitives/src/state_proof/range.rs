//! Ranges of the state: all leaves with key hashes from one bound up to another, provable against the state root.
//!
//! A range proof is what surrounds the leaves of a range in the tree, node by node from the root, left before right. A
//! subtree that lies wholly within the range needs nothing: its hash comes from the leaves, so that none can be left out,
//! added, changed or moved. A subtree wholly outside is one hash. What is left are the subtrees that a bound cuts, at most
//! one a level and bound; the proof says of each what it is:
//!
//! | node | what it carries | where |
//! |---|---|---|
//! | empty | nothing | cut or outside |
//! | inner | nothing; its two children follow | cut |
//! | held | nothing: the subtree is one leaf, which the range holds | cut |
//! | other | key hash and value hash of the one leaf, which the range does not hold | cut |
//! | hidden | the hash of the subtree, not empty | outside |
//!
//! For one tree and one range there is one chunk; everything else is refused. Verification is a pure function of root and
//! range. Ranges that follow one another without a gap are joined by [`RangeCover`].
#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

#[cfg(test)]
mod tests;

use super::{
    DEPTH_MAX, EMPTY_SUBTREE, KEY_BYTES_MAX, ProofError, VALUE_BYTES_MAX, common_bits, decode_bytes, inner_hash,
    leaf_hash, path_bit,
};
use crate::codec::{DecodeError, decode_bounded, decode_strict};
use crate::hash::{Hash, sha256};
use parity_scale_codec::{Decode, Encode, Error, Input};

/// The most leaves of one chunk: 1 MiB holds that many of 16 bytes, less than any account takes.
pub const CHUNK_LEAVES_MAX: usize = 1 << 16;
/// The largest encoded chunk, in bytes: about 1 MiB of leaves, and one more of the largest size, and the proof.
pub const CHUNK_BYTES_MAX: usize = 4 << 20;
/// The most nodes of a range proof: two cut paths at full depth, each node with one beside it.
pub const RANGE_NODES_MAX: usize = 1_026;
/// The most hashes of a range proof: one beside each node of the two paths, and two for a leaf at the end of each.
pub const RANGE_HASHES_MAX: usize = 516;

/// The key hashes from `from` on and below `to`; without `to` up to the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KeyRange {
    /// The first key hash of the range.
    pub from: Hash,
    /// The first key hash after the range.
    pub to: Option<Hash>,
}

/// Where a subtree lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Within,
    Outside,
    Cut,
}

impl KeyRange {
    /// All key hashes.
    pub const WHOLE: Self = Self { from: Hash::ZERO, to: None };

    /// Whether the range holds a key hash.
    #[must_use]
    pub fn contains(&self, key_hash: &Hash) -> bool {
        *key_hash >= self.from && self.to.is_none_or(|to| *key_hash < to)
    }

    /// Where the subtree lies whose key hashes start with `depth` bits of `first`; the other bits of `first` are zero.
    fn place(&self, first: &Hash, depth: u16) -> Place {
        let last = (depth..DEPTH_MAX).fold(*first, with_bit);
        if last < self.from || self.to.is_some_and(|to| *first >= to) {
            Place::Outside
        } else if *first >= self.from && self.to.is_none_or(|to| last < to) {
            Place::Within
        } else {
            Place::Cut
        }
    }
}

/// The hash with bit `depth` set.
fn with_bit(mut hash: Hash, depth: u16) -> Hash {
    if let Some(byte) = hash.0.get_mut(usize::from(depth / 8)) {
        *byte |= 0x80_u8.wrapping_shr(u32::from(depth % 8));
    }
    hash
}

/// What a node is; hashes lie in a list of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
enum Node {
    #[codec(index = 0)]
    Empty,
    #[codec(index = 1)]
    Inner,
    #[codec(index = 2)]
    Held,
    #[codec(index = 3)]
    Other,
    #[codec(index = 4)]
    Hidden,
}

/// One leaf of a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub struct StateLeaf {
    /// The storage key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

impl Decode for StateLeaf {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let key = decode_bytes(input, KEY_BYTES_MAX, "storage key too long")?;
        Ok(Self { key, value: decode_bytes(input, VALUE_BYTES_MAX, "storage value too large")? })
    }
}

/// What surrounds the leaves of a range in the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode)]
pub struct RangeProof {
    /// From the root down, left before right.
    nodes: Vec<Node>,
    /// In the order of the nodes that carry them: one for a hidden one, key hash and value hash for another leaf.
    hashes: Vec<Hash>,
}

impl Decode for RangeProof {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let nodes = decode_bounded(input, RANGE_NODES_MAX, "too many nodes")?;
        Ok(Self { nodes, hashes: decode_bounded(input, RANGE_HASHES_MAX, "too many hashes")? })
    }
}

/// What a subtree of the tree is, for [`RangeProof::make`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subtree<N> {
    /// No leaf.
    Empty,
    /// One leaf.
    Leaf {
        /// Its key hash.
        key_hash: Hash,
        /// The hash of its value.
        value_hash: Hash,
    },
    /// Two leaves or more.
    Inner(N, N),
}

/// A tree as the maker of a range proof walks it.
pub trait RangeTree {
    /// A subtree.
    type Node;
    /// Why a subtree cannot be read.
    type Error;

    /// The hash of a subtree at `depth`.
    ///
    /// # Errors
    /// It cannot be read.
    fn hash(&self, node: &Self::Node, depth: u16) -> Result<Hash, Self::Error>;

    /// What a subtree at `depth` is.
    ///
    /// # Errors
    /// It cannot be read.
    fn open(&self, node: &Self::Node, depth: u16) -> Result<Subtree<Self::Node>, Self::Error>;
}

/// All leaves of a range with their proof.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub struct StateChunk {
    /// In ascending order of key hashes.
    pub leaves: Vec<StateLeaf>,
    /// What surrounds them.
    pub proof: RangeProof,
}

impl Decode for StateChunk {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let leaves = decode_bounded(input, CHUNK_LEAVES_MAX, "too many leaves")?;
        Ok(Self { leaves, proof: RangeProof::decode(input)? })
    }
}

/// Why a chunk does not hold, or does not join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeProofError {
    /// Another root, or a leaf that no state has.
    #[error(transparent)]
    Path(#[from] ProofError),
    /// The range holds no key hash.
    #[error("the range ends at {to}, before it starts at {from}")]
    EmptyRange {
        /// Its start.
        from: Hash,
        /// Its end.
        to: Hash,
    },
    /// More leaves than a chunk may have.
    #[error("a chunk of {count} leaves, at most {CHUNK_LEAVES_MAX} are allowed")]
    TooManyLeaves {
        /// How many.
        count: usize,
    },
    /// A leaf lies before or after the range.
    #[error("leaf {index} lies outside of the range")]
    OutOfRange {
        /// Its place in the chunk.
        index: usize,
    },
    /// A leaf does not follow the one before.
    #[error("leaf {index} is not in the order of key hashes, or is there twice")]
    NotInOrder {
        /// Its place in the chunk.
        index: usize,
    },
    /// The proof ends before the tree does.
    #[error("the range proof ends early")]
    Incomplete,
    /// The proof has parts that the range does not need.
    #[error("the range proof holds nodes that the range does not need")]
    Superfluous,
    /// A node of the proof contradicts the leaves or the range.
    #[error("a node of the range proof does not fit the leaves of the range")]
    Misplaced,
    /// A range does not start where the one before ended.
    #[error("a range starts at {from}, expected is {expected}: chunks are missing, doubled or not in order")]
    Gap {
        /// Its start.
        from: Hash,
        /// Where it had to start.
        expected: Hash,
    },
    /// A range follows the last one.
    #[error("a range follows the last one of the state")]
    AfterLast,
}

impl RangeProof {
    /// Makes the proof of a range of the tree below `root`.
    ///
    /// # Errors
    /// The tree cannot be read.
    pub fn make<T: RangeTree>(tree: &T, root: &T::Node, range: &KeyRange) -> Result<Self, T::Error> {
        let mut proof = Self::default();
        proof.put(tree, root, range, Hash::ZERO, 0)?;
        Ok(proof)
    }

    fn put<T: RangeTree>(
        &mut self,
        tree: &T,
        node: &T::Node,
        range: &KeyRange,
        first: Hash,
        depth: u16,
    ) -> Result<(), T::Error> {
        match range.place(&first, depth) {
            Place::Within => {}
            Place::Outside => {
                let hash = tree.hash(node, depth)?;
                if hash == EMPTY_SUBTREE {
                    self.nodes.push(Node::Empty);
                } else {
                    self.nodes.push(Node::Hidden);
                    self.hashes.push(hash);
                }
            }
            // No bound cuts the subtree of a single key hash, so that the recursion ends.
            Place::Cut => match tree.open(node, depth)? {
                Subtree::Empty => self.nodes.push(Node::Empty),
                Subtree::Leaf { key_hash, .. } if range.contains(&key_hash) => self.nodes.push(Node::Held),
                Subtree::Leaf { key_hash, value_hash } => {
                    self.nodes.push(Node::Other);
                    self.hashes.extend([key_hash, value_hash]);
                }
                Subtree::Inner(left, right) => {
                    self.nodes.push(Node::Inner);
                    let below = depth.saturating_add(1);
                    self.put(tree, &left, range, first, below)?;
                    self.put(tree, &right, range, with_bit(first, depth), below)?;
                }
            },
        }
        Ok(())
    }
}

impl StateChunk {
    /// Decodes a chunk from outside.
    ///
    /// # Errors
    /// The bytes exceed [`CHUNK_BYTES_MAX`] or another limit of this module, or are not canonical.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode_strict("state chunk", bytes, CHUNK_BYTES_MAX)
    }

    /// Checks that these are all the leaves of the range in the state of the trusted `root`.
    ///
    /// # Errors
    /// A leaf is missing, added, changed or moved, or the proof is for another root or range, or malformed.
    pub fn verify(&self, root: &Hash, range: &KeyRange) -> Result<(), RangeProofError> {
        if let Some(to) = range.to.filter(|to| *to <= range.from) {
            return Err(RangeProofError::EmptyRange { from: range.from, to });
        }
        let leaves = self.hash_leaves(range)?;
        let mut reading = Reading { nodes: self.proof.nodes.iter(), hashes: self.proof.hashes.iter(), range };
        let computed = reading.subtree(&leaves, Hash::ZERO, 0)?;
        if reading.nodes.len() > 0 || reading.hashes.len() > 0 {
            return Err(RangeProofError::Superfluous);
        }
        if computed == *root { Ok(()) } else { Err(ProofError::WrongRoot { computed, trusted: *root }.into()) }
    }

    /// Key hashes and leaf hashes, in order and within the range.
    fn hash_leaves(&self, range: &KeyRange) -> Result<Vec<LeafHash>, RangeProofError> {
        if self.leaves.len() > CHUNK_LEAVES_MAX {
            return Err(RangeProofError::TooManyLeaves { count: self.leaves.len() });
        }
        let mut hashes: Vec<LeafHash> = Vec::with_capacity(self.leaves.len());
        for (index, leaf) in self.leaves.iter().enumerate() {
            if leaf.key.is_empty() || leaf.value.is_empty() {
                return Err(ProofError::EmptyLeaf.into());
            }
            let key_hash = sha256(&leaf.key);
            if !range.contains(&key_hash) {
                return Err(RangeProofError::OutOfRange { index });
            }
            if hashes.last().is_some_and(|(last, _)| *last >= key_hash) {
                return Err(RangeProofError::NotInOrder { index });
            }
            hashes.push((key_hash, leaf_hash(&key_hash, &sha256(&leaf.value))));
        }
        Ok(hashes)
    }
}

/// A leaf's key hash and its hash.
pub type LeafHash = (Hash, Hash);

/// Leaves whose key hash turns left and right at `depth`; they are in the order of key hashes.
#[must_use]
pub fn split(leaves: &[LeafHash], depth: u16) -> (&[LeafHash], &[LeafHash]) {
    let middle = leaves.partition_point(|(key_hash, _)| !path_bit(key_hash, depth));
    leaves.split_at_checked(middle).unwrap_or((leaves, &[]))
}

/// The hash of the subtree below a node at `depth`, from all of its leaves in the order of key hashes.
#[must_use]
pub fn subtree_hash(leaves: &[LeafHash], depth: u16) -> Hash {
    match leaves {
        [] => EMPTY_SUBTREE,
        [(_, leaf)] => *leaf,
        // Two leaves differ in a bit, so this is never reached: it bounds the recursion.
        [(_, leaf), ..] if depth >= DEPTH_MAX => *leaf,
        _ => {
            let (left, right) = split(leaves, depth);
            let below = depth.saturating_add(1);
            inner_hash(&subtree_hash(left, below), &subtree_hash(right, below))
        }
    }
}

/// A proof on its way through verification.
struct Reading<'a> {
    nodes: std::slice::Iter<'a, Node>,
    hashes: std::slice::Iter<'a, Hash>,
    range: &'a KeyRange,
}

impl Reading<'_> {
    /// The hash of the next subtree; `leaves` are those of the range that lead into it.
    fn subtree(&mut self, leaves: &[LeafHash], first: Hash, depth: u16) -> Result<Hash, RangeProofError> {
        let place = self.range.place(&first, depth);
        if place == Place::Within {
            return Ok(subtree_hash(leaves, depth));
        }
        match (*self.nodes.next().ok_or(RangeProofError::Incomplete)?, place, leaves) {
            (Node::Empty, _, []) => Ok(EMPTY_SUBTREE),
            (Node::Hidden, Place::Outside, []) => {
                let hash = self.hash()?;
                if hash == EMPTY_SUBTREE { Err(RangeProofError::Superfluous) } else { Ok(hash) }
            }
            (Node::Held, Place::Cut, [(_, leaf)]) => Ok(*leaf),
            (Node::Other, Place::Cut, []) => {
                let (key_hash, value_hash) = (self.hash()?, self.hash()?);
                if common_bits(&key_hash, &first) < depth || self.range.contains(&key_hash) {
                    return Err(RangeProofError::Misplaced);
                }
                Ok(leaf_hash(&key_hash, &value_hash))
            }
            (Node::Inner, Place::Cut, _) => {
                let (to_left, to_right) = split(leaves, depth);
                let below = depth.saturating_add(1);
                let left = self.subtree(to_left, first, below)?;
                Ok(inner_hash(&left, &self.subtree(to_right, with_bit(first, depth), below)?))
            }
            _ => Err(RangeProofError::Misplaced),
        }
    }

    fn hash(&mut self) -> Result<Hash, RangeProofError> {
        self.hashes.next().copied().ok_or(RangeProofError::Incomplete)
    }
}

/// Joins ranges to the whole state: each one starts where the one before ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeCover {
    /// Where the next range has to start; `None` after the last one.
    next: Option<Hash>,
}

impl Default for RangeCover {
    fn default() -> Self {
        Self { next: Some(KeyRange::WHOLE.from) }
    }
}

impl RangeCover {
    /// Where the next range has to start; `None` once the whole state is covered.
    #[must_use]
    pub const fn next(&self) -> Option<Hash> {
        self.next
    }

    /// Adds the next range.
    ///
    /// # Errors
    /// It is empty, or does not start where the one before ended.
    pub fn join(&mut self, range: &KeyRange) -> Result<(), RangeProofError> {
        let expected = self.next.ok_or(RangeProofError::AfterLast)?;
        if range.from != expected {
            return Err(RangeProofError::Gap { from: range.from, expected });
        }
        if let Some(to) = range.to.filter(|to| *to <= range.from) {
            return Err(RangeProofError::EmptyRange { from: range.from, to });
        }
        self.next = range.to;
        Ok(())
    }
}
