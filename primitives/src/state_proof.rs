//! Proofs of presence and absence in the state tree, their verification, and their ICS-23 form.
//!
//! The state is committed by a sparse Merkle tree over SHA-256 in the published format of the `jmt` crate:
//! - key hash = SHA-256(key); leaf = SHA-256("JMT::LeafNode" ‖ key hash ‖ SHA-256(value));
//! - inner node = SHA-256("JMT::IntrnalNode" ‖ left ‖ right), by the bits of the key hash, most significant first;
//! - a subtree without leaves is [`EMPTY_SUBTREE`], a subtree with one leaf is that leaf's hash.
//!
//! A proof of presence is the path of one leaf. A proof of absence is the paths of the two leaves next to where the key's
//! hash would be; one is missing where there is no leaf on that side, both in an empty tree. Verification is a pure
//! function of the root, the key and the claimed value, and looks at no more than [`DEPTH_MAX`] nodes a path.
#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

mod batch;
mod ics23;
mod range;
#[cfg(test)]
mod tests;

pub use batch::{BATCH_BYTES_MAX, BATCH_KEYS_MAX, BATCH_NODES_MAX, BatchProof, BatchProofError};
pub use range::{
    CHUNK_BYTES_MAX, CHUNK_LEAVES_MAX, KeyRange, LeafHash, RANGE_HASHES_MAX, RANGE_NODES_MAX, RangeCover, RangeProof,
    RangeProofError, RangeTree, StateChunk, StateLeaf, Subtree, split, subtree_hash,
};

use crate::codec::{DecodeError, decode_strict};
use crate::hash::{Hash, sha256, sha256_concat};
use parity_scale_codec::{Compact, Decode, Encode, Error, Input};

/// The most nodes between a leaf and the root: the bits of a key hash.
pub const DEPTH_MAX: u16 = 256;
/// The longest storage key, in bytes: two hashed prefixes and a few account-sized parts.
pub const KEY_BYTES_MAX: usize = 1_024;
/// The largest storage value, in bytes: everything a block writes has to fit into the block.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// The largest encoded proof, in bytes: two leaves at full depth.
pub const PROOF_BYTES_MAX: usize = 2 * (KEY_BYTES_MAX + VALUE_BYTES_MAX + 32 * 256 + 16);

/// The hash of a subtree without leaves.
pub const EMPTY_SUBTREE: Hash = Hash(*b"SPARSE_MERKLE_PLACEHOLDER_HASH__");
/// The domain tag of leaves.
pub const LEAF_DOMAIN: &[u8] = b"JMT::LeafNode";
/// The domain tag of inner nodes, as published.
pub const INNER_DOMAIN: &[u8] = b"JMT::IntrnalNode";

/// The hash of a leaf.
#[must_use]
pub fn leaf_hash(key_hash: &Hash, value_hash: &Hash) -> Hash {
    sha256_concat(&[LEAF_DOMAIN, &key_hash.0, &value_hash.0])
}

/// The hash of an inner node.
#[must_use]
pub fn inner_hash(left: &Hash, right: &Hash) -> Hash {
    sha256_concat(&[INNER_DOMAIN, &left.0, &right.0])
}

/// Bit `depth` of a hash, most significant first: whether the path to it turns right below `depth` nodes.
#[must_use]
#[inline]
pub fn path_bit(hash: &Hash, depth: u16) -> bool {
    let mask = 0x80_u8.wrapping_shr(u32::from(depth % 8));
    hash.0.get(usize::from(depth / 8)).is_some_and(|byte| byte & mask != 0)
}

/// A leaf and its path to the root.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub struct ExistenceProof {
    /// The storage key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// The hash beside each node of the path, from the leaf up; at most [`DEPTH_MAX`].
    pub siblings: Vec<Hash>,
}

impl Decode for ExistenceProof {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let key = decode_bytes(input, KEY_BYTES_MAX, "storage key too long")?;
        let value = decode_bytes(input, VALUE_BYTES_MAX, "storage value too large")?;
        let count = Compact::<u32>::decode(input)?.0;
        if count > u32::from(DEPTH_MAX) {
            return Err("path deeper than 256 nodes".into());
        }
        let siblings = (0..count).map(|_| Hash::decode(input)).collect::<Result<_, _>>()?;
        Ok(Self { key, value, siblings })
    }
}

fn decode_bytes<I: Input>(input: &mut I, limit: usize, refusal: &'static str) -> Result<Vec<u8>, Error> {
    let length = Compact::<u32>::decode(input)?.0;
    let length = usize::try_from(length).ok().filter(|length| *length <= limit).ok_or(refusal)?;
    // What is left of the input is asked first, so that a short proof cannot ask for a large buffer.
    if input.remaining_len()?.is_some_and(|left| left < length) {
        return Err("the proof ends early".into());
    }
    let mut bytes = vec![0; length];
    input.read(&mut bytes)?;
    Ok(bytes)
}

/// What the state holds under one key, provable against a state root.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum StateProof {
    /// The key has a value.
    #[codec(index = 0)]
    Present(ExistenceProof),
    /// The key has none: these are the leaves with the next smaller and the next larger key hash.
    #[codec(index = 1)]
    Absent {
        /// The leaf before, unless the key would be the first.
        left: Option<ExistenceProof>,
        /// The leaf after, unless the key would be the last.
        right: Option<ExistenceProof>,
    },
}

/// Why a proof does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The proof shows another root than the trusted one.
    #[error("the proof leads to state root {computed}, the trusted one is {trusted}")]
    WrongRoot {
        /// The root of the path.
        computed: Hash,
        /// The root it was checked against.
        trusted: Hash,
    },
    /// The proof is about another key.
    #[error("the proof is for another key than the one asked for")]
    WrongKey,
    /// The proof shows another value.
    #[error("the proof shows another value than the one claimed")]
    WrongValue,
    /// A value was claimed, the proof shows that there is none.
    #[error("the proof shows that the key has no value, but one was claimed")]
    Absent,
    /// No value was claimed, the proof shows one.
    #[error("the proof shows a value, but the key was claimed to have none")]
    Present,
    /// A path is longer than a key hash has bits.
    #[error("a path of {depth} nodes, at most 256 are possible")]
    TooDeep {
        /// Nodes of the path.
        depth: usize,
    },
    /// A leaf has an empty key or value; the state has none of those.
    #[error("a leaf of the proof has an empty key or an empty value")]
    EmptyLeaf,
    /// The neighbours do not enclose the key.
    #[error("the neighbours do not lie on both sides of the key's hash")]
    NotEnclosing,
    /// There may be a leaf between the neighbours.
    #[error("the {side} neighbour is not next to the key's hash: another leaf lies between")]
    NotAdjacent {
        /// `left` or `right`.
        side: &'static str,
    },
    /// Without neighbours only the empty tree is proved.
    #[error("a proof without neighbours holds for the empty state only")]
    NotEmpty,
}

impl StateProof {
    /// Decodes a proof from outside.
    ///
    /// # Errors
    /// The bytes exceed [`PROOF_BYTES_MAX`] or another limit of this module, or are not canonical.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode_strict("state proof", bytes, PROOF_BYTES_MAX)
    }

    /// The value that the proof shows, before any verification.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Present(proof) => Some(&proof.value),
            Self::Absent { .. } => None,
        }
    }

    /// Checks that under the trusted `root` the key has the expected value, or none.
    ///
    /// # Errors
    /// The proof is for another root, key or value, or is malformed.
    pub fn verify(&self, root: &Hash, key: &[u8], expected: Option<&[u8]>) -> Result<(), ProofError> {
        match (self, expected) {
            (Self::Present(_), None) => Err(ProofError::Present),
            (Self::Absent { .. }, Some(_)) => Err(ProofError::Absent),
            (Self::Present(proof), Some(value)) => {
                if proof.key != key {
                    return Err(ProofError::WrongKey);
                }
                if proof.value != value {
                    return Err(ProofError::WrongValue);
                }
                Path::check(proof, root).map(|_| ())
            }
            (Self::Absent { left, right }, None) => check_absence(root, key, left.as_ref(), right.as_ref()),
        }
    }

    /// The proof as the protobuf message `ics23.CommitmentProof`; `key` is the key that was asked for.
    ///
    /// ICS-23 has no proof for an empty tree: its verifiers refuse a proof of absence without neighbours.
    #[must_use]
    pub fn to_ics23(&self, key: &[u8]) -> Vec<u8> {
        ics23::encode(self, key)
    }
}

/// Proofs of several keys as one compressed batch of the protobuf message `ics23.CommitmentProof`, in which every inner
/// node is written once; each proof with the key that was asked for.
#[must_use]
pub fn to_ics23_batch(proofs: &[(&[u8], &StateProof)]) -> Vec<u8> {
    ics23::encode_batch(proofs)
}

/// A path that leads to the trusted root.
struct Path<'a> {
    key_hash: Hash,
    /// From the leaf up.
    siblings: &'a [Hash],
    /// Nodes above the leaf.
    depth: u16,
}

impl<'a> Path<'a> {
    fn check(proof: &'a ExistenceProof, root: &Hash) -> Result<Self, ProofError> {
        let depth = u16::try_from(proof.siblings.len()).ok().filter(|depth| *depth <= DEPTH_MAX);
        let depth = depth.ok_or(ProofError::TooDeep { depth: proof.siblings.len() })?;
        if proof.key.is_empty() || proof.value.is_empty() {
            return Err(ProofError::EmptyLeaf);
        }
        let path = Self { key_hash: sha256(&proof.key), siblings: &proof.siblings, depth };
        let leaf = leaf_hash(&path.key_hash, &sha256(&proof.value));
        let computed = path.steps().fold(leaf, |node, (at, sibling)| {
            if path_bit(&path.key_hash, at) { inner_hash(sibling, &node) } else { inner_hash(&node, sibling) }
        });
        if computed == *root { Ok(path) } else { Err(ProofError::WrongRoot { computed, trusted: *root }) }
    }

    /// The siblings with the depth of the node above them, from the leaf up.
    fn steps(&self) -> impl Iterator<Item = (u16, &'a Hash)> {
        (0..self.depth).rev().zip(self.siblings)
    }

    /// Whether below depth `top` the path has only empty subtrees on one side: to the right of it, or to the left.
    fn is_edge(&self, top: u16, side: Side) -> bool {
        let turns_away = |at| path_bit(&self.key_hash, at) == (side == Side::Left);
        self.steps().take_while(|(at, _)| *at >= top).all(|(at, sibling)| !turns_away(at) || *sibling == EMPTY_SUBTREE)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

fn check_absence(
    root: &Hash,
    key: &[u8],
    left: Option<&ExistenceProof>,
    right: Option<&ExistenceProof>,
) -> Result<(), ProofError> {
    let target = sha256(key);
    let left = left.map(|proof| Path::check(proof, root)).transpose()?;
    let right = right.map(|proof| Path::check(proof, root)).transpose()?;
    if left.as_ref().is_some_and(|path| path.key_hash >= target)
        || right.as_ref().is_some_and(|path| path.key_hash <= target)
    {
        return Err(ProofError::NotEnclosing);
    }
    // The neighbours part at `top`: below it nothing may lie right of the left one and left of the right one. A missing
    // neighbour means that the other is the first or last leaf of the whole tree.
    let top = match (&left, &right) {
        (Some(left), Some(right)) => common_bits(&left.key_hash, &right.key_hash).saturating_add(1),
        _ => 0,
    };
    let parts_at = top.min(DEPTH_MAX);
    match (&left, &right) {
        (None, None) if *root != EMPTY_SUBTREE => return Err(ProofError::NotEmpty),
        // A leaf above the point where the two part would be both leaves at once; the root rules it out, and so do we.
        (Some(left), Some(_)) if left.depth < parts_at => return Err(ProofError::NotAdjacent { side: "left" }),
        (Some(_), Some(right)) if right.depth < parts_at => return Err(ProofError::NotAdjacent { side: "right" }),
        _ => {}
    }
    if left.is_some_and(|path| !path.is_edge(top, Side::Right)) {
        return Err(ProofError::NotAdjacent { side: "left" });
    }
    if right.is_some_and(|path| !path.is_edge(top, Side::Left)) {
        return Err(ProofError::NotAdjacent { side: "right" });
    }
    Ok(())
}

/// How many leading bits two hashes share.
fn common_bits(a: &Hash, b: &Hash) -> u16 {
    (0..DEPTH_MAX).find(|depth| path_bit(a, *depth) != path_bit(b, *depth)).unwrap_or(DEPTH_MAX)
}
