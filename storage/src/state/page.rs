//! Pages: the leaves of one bucket, in ascending order of key hash.
//!
//! In memory: depth of the bucket (u16), then for each leaf: key hash (32), leaf hash (32), length of the key (u16), length
//! of the value (u16), key, value. A value length of [`LARGE_VALUE`] stands for a value that lies in table `state_keys`; its
//! SHA-256 takes the value's place. Numbers are big-endian.
//!
//! The record on disk leaves out what follows from the rest: depth, then for each leaf: how many bytes its key has in common
//! with the one before it (u8), length of the rest of the key (u16), length of the value (u16), rest of the key, value.

use cairn_primitives::Hash;
use cairn_primitives::state_proof::{DEPTH_MAX, EMPTY_SUBTREE, LEAF_DOMAIN, inner_hash, path_bit};
use cairn_storage_sha256::{digest_all, digest_pairs};
use std::sync::Arc;

/// A bucket with more leaves is split in four: pages of about 1 KiB, of which a block copies one for each change.
pub const SPLIT_LEAVES_MAX: usize = 12;
/// Four neighbouring buckets with together this many leaves or fewer become one; well below a split, so that a key that
/// comes and goes does not split and merge each time.
pub const MERGE_LEAVES_MAX: usize = 4;
/// A longer value does not lie in the page, in bytes: an account does, and pages stay small.
pub const INLINE_VALUE_MAX: usize = 128;

/// The value length that marks a value outside of the page.
const LARGE_VALUE: u16 = u16::MAX;

/// A leaf's key hash and its hash.
pub(super) type LeafHash = (Hash, Hash);

/// A leaf's value as a page holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueRef<'a> {
    Inline(&'a [u8]),
    /// The hash of a value over [`INLINE_VALUE_MAX`], and the value while it is not in the database.
    Large(Hash, Option<&'a Arc<[u8]>>),
}

/// A leaf.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf<'a> {
    pub(super) key_hash: Hash,
    pub(super) hash: Hash,
    pub(super) key: &'a [u8],
    pub(super) value: ValueRef<'a>,
}

impl Leaf<'_> {
    /// Its size in a record.
    const fn bytes(&self) -> usize {
        let value = match self.value {
            ValueRef::Inline(value) => value.len(),
            ValueRef::Large(..) => 32,
        };
        self.key.len().saturating_add(value).saturating_add(68)
    }
}

/// The leaves of one bucket.
#[derive(Debug)]
pub(super) struct Page {
    record: Box<[u8]>,
    /// Values that no committed block has written yet, by key hash; empty in a page that came from disk.
    large: Vec<(Hash, Arc<[u8]>)>,
}

impl Page {
    /// Packs leaves, which are in order.
    pub(super) fn pack(depth: u16, leaves: &[Leaf<'_>]) -> Self {
        let bytes = leaves.iter().map(Leaf::bytes).fold(2_usize, usize::saturating_add);
        let mut record = Vec::with_capacity(bytes);
        record.extend_from_slice(&depth.to_be_bytes());
        let mut large = Vec::new();
        for leaf in leaves {
            let (value_length, value) = match &leaf.value {
                ValueRef::Inline(value) => (short(value.len()), *value),
                ValueRef::Large(hash, value) => {
                    large.extend(value.map(|value| (leaf.key_hash, Arc::clone(value))));
                    (LARGE_VALUE, hash.0.as_slice())
                }
            };
            record.extend_from_slice(&leaf.key_hash.0);
            record.extend_from_slice(&leaf.hash.0);
            record.extend_from_slice(&short(leaf.key.len()).to_be_bytes());
            record.extend_from_slice(&value_length.to_be_bytes());
            record.extend_from_slice(leaf.key);
            record.extend_from_slice(value);
        }
        Self { record: record.into(), large }
    }

    /// Reads a record from disk: complete leaves, at least one, in ascending order of key hash. All hashes are computed.
    pub(super) fn parse(record: &[u8]) -> Result<Self, &'static str> {
        let (depth, mut rest) = record.split_first_chunk::<2>().ok_or("a page has no depth")?;
        let depth = u16::from_be_bytes(*depth);
        if depth > DEPTH_MAX {
            return Err("a page lies deeper than a key hash has bits");
        }
        let mut stored: Vec<StoredLeaf<'_>> = Vec::with_capacity(SPLIT_LEAVES_MAX);
        while !rest.is_empty() {
            let last = stored.last().map_or(&[][..], |leaf| &leaf.key);
            let (leaf, after) = parse_leaf(rest, last).ok_or("a page ends within a leaf")?;
            stored.push(leaf);
            rest = after;
        }
        if stored.is_empty() {
            return Err("a page is empty");
        }
        let mut key_hashes = Vec::with_capacity(stored.len());
        digest_all(stored.iter().map(|leaf| leaf.key.as_slice()), |digest| key_hashes.push(Hash(digest)));
        if !key_hashes.is_sorted_by(|a, b| a < b) {
            return Err("the leaves of a page are not in order");
        }
        let mut digests = Vec::with_capacity(stored.len());
        digest_all(stored.iter().filter(|leaf| !leaf.is_large).map(|leaf| leaf.value), |digest| {
            digests.push(Hash(digest));
        });
        let mut digests = digests.into_iter();
        let own_hash = |leaf: &StoredLeaf<'_>| leaf.value.first_chunk().map_or(Hash::ZERO, |hash| Hash(*hash));
        let value_hash = |leaf: &StoredLeaf<'_>| {
            if leaf.is_large { own_hash(leaf) } else { digests.next().unwrap_or(Hash::ZERO) }
        };
        let value_hashes: Vec<_> = stored.iter().map(value_hash).collect();
        let mut hashes = Vec::with_capacity(stored.len());
        let pairs = key_hashes.iter().zip(&value_hashes).map(|(key, value)| (&key.0, &value.0));
        digest_pairs(LEAF_DOMAIN, pairs, |digest| hashes.push(Hash(digest)));
        let parts = stored.iter().zip(key_hashes).zip(hashes).zip(value_hashes);
        let leaves = parts.map(|(((leaf, key_hash), hash), value_hash)| {
            let value = if leaf.is_large { ValueRef::Large(value_hash, None) } else { ValueRef::Inline(leaf.value) };
            Leaf { key_hash, hash, key: &leaf.key, value }
        });
        Ok(Self::pack(depth, &leaves.collect::<Vec<_>>()))
    }

    /// The record to write.
    pub(super) fn to_record(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(self.record.len());
        record.extend_from_slice(&self.depth().to_be_bytes());
        let mut last: &[u8] = &[];
        for leaf in self.leaves() {
            let in_common = leaf.key.iter().zip(last).take(usize::from(u8::MAX)).take_while(|(a, b)| a == b).count();
            let rest = leaf.key.get(in_common..).unwrap_or_default();
            let (length, value) = match &leaf.value {
                ValueRef::Inline(value) => (short(value.len()), *value),
                ValueRef::Large(hash, _) => (LARGE_VALUE, hash.0.as_slice()),
            };
            record.push(u8::try_from(in_common).unwrap_or_default());
            record.extend_from_slice(&short(rest.len()).to_be_bytes());
            record.extend_from_slice(&length.to_be_bytes());
            record.extend_from_slice(rest);
            record.extend_from_slice(value);
            last = leaf.key;
        }
        record
    }

    /// The depth of the bucket.
    pub(super) fn depth(&self) -> u16 {
        self.record.first_chunk().map_or(u16::MAX, |bytes| u16::from_be_bytes(*bytes))
    }

    /// Bytes in memory.
    pub(super) fn size(&self) -> usize {
        let large = self.large.iter().map(|(_, value)| value.len().saturating_add(64));
        large.fold(self.record.len().saturating_add(96), usize::saturating_add)
    }

    /// The leaves in ascending order of key hash.
    pub(super) fn leaves(&self) -> Leaves<'_> {
        Leaves { rest: self.record.get(2..).unwrap_or_default(), large: &self.large }
    }

    /// The leaf of a key hash.
    pub(super) fn find(&self, key_hash: &Hash) -> Option<Leaf<'_>> {
        self.leaves().find(|leaf| leaf.key_hash == *key_hash)
    }

    /// Key hashes and leaf hashes, for [`subtree_hash`].
    pub(super) fn hashes(&self) -> Vec<LeafHash> {
        self.leaves().map(|leaf| (leaf.key_hash, leaf.hash)).collect()
    }
}

/// A leaf as a record has it.
struct StoredLeaf<'a> {
    key: Vec<u8>,
    /// What stands for the value: itself, or its hash.
    value: &'a [u8],
    is_large: bool,
}

/// Reads a leaf after one with the key `last`; returns what follows it.
fn parse_leaf<'a>(rest: &'a [u8], last: &[u8]) -> Option<(StoredLeaf<'a>, &'a [u8])> {
    let (in_common, rest) = rest.split_first()?;
    let (own, rest) = rest.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (own, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*own)))?;
    let length = u16::from_be_bytes(*length);
    let is_large = length == LARGE_VALUE;
    let (value, rest) = rest.split_at_checked(if is_large { size_of::<Hash>() } else { length.into() })?;
    let key = [last.get(..usize::from(*in_common))?, own].concat();
    Some((StoredLeaf { key, value, is_large }, rest))
}

/// Lengths here are bounded by the limits of keys and inline values, both below 65,535.
fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// Reads leaf after leaf; stops where the record does.
pub(super) struct Leaves<'a> {
    rest: &'a [u8],
    large: &'a [(Hash, Arc<[u8]>)],
}

impl<'a> Iterator for Leaves<'a> {
    type Item = Leaf<'a>;

    fn next(&mut self) -> Option<Leaf<'a>> {
        let (key_hash, rest) = self.rest.split_first_chunk::<32>()?;
        let (hash, rest) = rest.split_first_chunk::<32>()?;
        let (key_length, rest) = rest.split_first_chunk::<2>()?;
        let (value_length, rest) = rest.split_first_chunk::<2>()?;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*key_length)))?;
        let key_hash = Hash(*key_hash);
        let (value, rest) = match u16::from_be_bytes(*value_length) {
            LARGE_VALUE => {
                let (value_hash, rest) = rest.split_first_chunk::<32>()?;
                let value = self.large.iter().find(|(owner, _)| *owner == key_hash).map(|(_, value)| value);
                (ValueRef::Large(Hash(*value_hash), value), rest)
            }
            length => {
                let (value, rest) = rest.split_at_checked(usize::from(length))?;
                (ValueRef::Inline(value), rest)
            }
        };
        self.rest = rest;
        Some(Leaf { key_hash, hash: Hash(*hash), key, value })
    }
}

/// The hash of the subtree below a node at `depth`, from key hashes (ascending) and leaf hashes.
pub(super) fn subtree_hash(leaves: &[LeafHash], depth: u16) -> Hash {
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

/// Leaves whose path turns left and right at `depth`.
pub(super) fn split(leaves: &[LeafHash], depth: u16) -> (&[LeafHash], &[LeafHash]) {
    let middle = leaves.partition_point(|(key_hash, _)| !path_bit(key_hash, depth));
    leaves.split_at_checked(middle).unwrap_or((leaves, &[]))
}
