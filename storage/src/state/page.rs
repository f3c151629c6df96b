//! Pages: the leaves of one bucket, in ascending order of key hash.
//!
//! The record on disk: depth of the bucket (u16), then for each leaf: how many bytes its key has in common with the one before
//! it (u8), length of the rest of the key (u16), length of the value (u16), rest of the key, value. A value length of
//! [`LARGE_VALUE`] stands for a value that lies in table `state_keys`; its SHA-256 takes the value's place. Numbers are
//! big-endian. In memory the hashes, which follow from the rest, stand beside it.

use super::diff::shared_bytes;
use cairn_primitives::Hash;
use cairn_primitives::hash::{sha256_of_each, sha256_of_pairs};
use cairn_primitives::state_proof::{DEPTH_MAX, LEAF_DOMAIN, LeafHash};
use cairn_storage_cpu::fetch_ahead;
use std::sync::Arc;

/// A bucket with more leaves is split in four: pages of about 1 KiB, of which a block copies one for each change.
pub const SPLIT_LEAVES_MAX: usize = 12;
/// Four neighbouring buckets with together this many leaves or fewer become one; well below a split, so that a key that
/// comes and goes does not split and merge each time.
pub const MERGE_LEAVES_MAX: usize = 4;
/// A longer value does not lie in the page, in bytes: an account does, and pages stay small.
pub const INLINE_VALUE_MAX: usize = 128;

/// About what a page takes besides its leaves, in bytes.
const PAGE_BYTES: usize = 128;
/// The value length that marks a value outside of the page.
const LARGE_VALUE: u16 = u16::MAX;

/// A leaf's value as a page holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueRef<'a> {
    Inline(&'a [u8]),
    /// The hash of a value over [`INLINE_VALUE_MAX`], and the value while it is not in the database.
    Large(Hash, Option<&'a Arc<[u8]>>),
}

impl<'a> ValueRef<'a> {
    /// What stands for the value in a page.
    fn stored(&self) -> &[u8]
    where
        Self: 'a,
    {
        match self {
            Self::Inline(value) => value,
            Self::Large(hash, _) => &hash.0,
        }
    }
}

/// A leaf.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf<'a> {
    pub(super) key_hash: Hash,
    pub(super) hash: Hash,
    pub(super) key: &'a [u8],
    pub(super) value: ValueRef<'a>,
}

/// Where a leaf lies in its page.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) key_hash: Hash,
    pub(super) hash: Hash,
    /// Where the key ends and the value begins.
    key_end: u32,
    value_end: u32,
    /// Whether the value is the hash of one that is too large.
    is_large: bool,
}

/// The leaves of one bucket.
#[derive(Clone, Debug)]
pub(super) struct Page {
    depth: u16,
    heads: Box<[Head]>,
    /// Keys and values, leaf after leaf.
    data: Box<[u8]>,
    /// Values that no committed block has written yet, by key hash; empty in a page that came from disk.
    large: Vec<(Hash, Arc<[u8]>)>,
}

impl Page {
    /// Packs leaves, which are in order.
    pub(super) fn pack(depth: u16, leaves: &[Leaf<'_>]) -> Self {
        let bytes = |leaf: &Leaf<'_>| leaf.key.len().saturating_add(leaf.value.stored().len());
        let mut data = Vec::with_capacity(leaves.iter().map(bytes).fold(0, usize::saturating_add));
        let mut heads = Vec::with_capacity(leaves.len());
        let mut large = Vec::new();
        for leaf in leaves {
            if let ValueRef::Large(_, value) = leaf.value {
                large.extend(value.map(|value| (leaf.key_hash, Arc::clone(value))));
            }
            data.extend_from_slice(leaf.key);
            let key_end = place(data.len());
            data.extend_from_slice(leaf.value.stored());
            let is_large = matches!(leaf.value, ValueRef::Large(..));
            let Leaf { key_hash, hash, .. } = *leaf;
            heads.push(Head { key_hash, hash, key_end, value_end: place(data.len()), is_large });
        }
        Self { depth, heads: heads.into(), data: data.into(), large }
    }

    /// Swaps the hash and the value of a leaf, by its place, with others; the values are of the same length.
    pub(super) fn swap_value(&mut self, index: usize, hash: &mut Hash, value: &mut [u8]) {
        let Some(head) = self.heads.get_mut(index) else { return };
        std::mem::swap(&mut head.hash, hash);
        let own = self.data.get_mut(head.key_end as usize..head.value_end as usize);
        if let Some(own) = own.filter(|own| own.len() == value.len()) {
            own.swap_with_slice(value);
        }
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
        sha256_of_each(stored.iter().map(|leaf| leaf.key.as_slice()), |hash| key_hashes.push(hash));
        if !key_hashes.is_sorted_by(|a, b| a < b) {
            return Err("the leaves of a page are not in order");
        }
        let mut digests = Vec::with_capacity(stored.len());
        sha256_of_each(stored.iter().filter(|leaf| !leaf.is_large).map(|leaf| leaf.value), |hash| digests.push(hash));
        let mut digests = digests.into_iter();
        let own_hash = |leaf: &StoredLeaf<'_>| leaf.value.first_chunk().map_or(Hash::ZERO, |hash| Hash(*hash));
        let value_hash = |leaf: &StoredLeaf<'_>| {
            if leaf.is_large { own_hash(leaf) } else { digests.next().unwrap_or(Hash::ZERO) }
        };
        let value_hashes: Vec<_> = stored.iter().map(value_hash).collect();
        let mut hashes = Vec::with_capacity(stored.len());
        sha256_of_pairs(LEAF_DOMAIN, key_hashes.iter().zip(&value_hashes), |hash| hashes.push(hash));
        let parts = stored.iter().zip(key_hashes).zip(hashes).zip(value_hashes);
        let leaves = parts.map(|(((leaf, key_hash), hash), value_hash)| {
            let value = if leaf.is_large { ValueRef::Large(value_hash, None) } else { ValueRef::Inline(leaf.value) };
            Leaf { key_hash, hash, key: &leaf.key, value }
        });
        Ok(Self::pack(depth, &leaves.collect::<Vec<_>>()))
    }

    /// The record to write.
    pub(super) fn to_record(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(self.data.len());
        record.extend_from_slice(&self.depth.to_be_bytes());
        let mut last: &[u8] = &[];
        for leaf in self.leaves() {
            let in_common = shared_bytes(leaf.key, last).min(u8::MAX.into());
            let rest = leaf.key.get(in_common..).unwrap_or_default();
            let value = leaf.value.stored();
            let length = if matches!(leaf.value, ValueRef::Large(..)) { LARGE_VALUE } else { short(value.len()) };
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
    pub(super) const fn depth(&self) -> u16 {
        self.depth
    }

    /// Has the processor fetch hashes and places of the leaves.
    pub(super) fn fetch_heads(&self) {
        fetch_ahead(&*self.heads);
    }

    /// Has the processor fetch the value of a leaf; the heads should be at hand.
    pub(super) fn fetch_value(&self, key_hash: &Hash) {
        let head = self.heads.iter().find(|head| head.key_hash == *key_hash);
        if let Some(value) = head.and_then(|head| self.data.get(head.key_end as usize..head.value_end as usize)) {
            fetch_ahead(value);
        }
    }

    /// Has the processor fetch one of them.
    pub(super) fn fetch_leaf(&self, index: usize) {
        if let Some(head) = self.heads.get(index) {
            fetch_ahead(head);
        }
        // About where it lies: to ask the leaf itself would be to wait for it.
        let start = self.data.len().saturating_mul(index).checked_div(self.heads.len()).unwrap_or_default();
        if let Some(data) = self.data.get(start..).map(|data| data.get(..128).unwrap_or(data)) {
            fetch_ahead(data);
        }
    }

    /// Bytes in memory.
    pub(super) fn size(&self) -> usize {
        let large = self.large.iter().map(|(_, value)| value.len().saturating_add(64));
        let own = size_of_val(&*self.heads).saturating_add(self.data.len()).saturating_add(PAGE_BYTES);
        large.fold(own, usize::saturating_add)
    }

    /// Hashes and places of the leaves, in ascending order of key hash.
    pub(super) const fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// The leaves in ascending order of key hash.
    pub(super) fn leaves(&self) -> impl Iterator<Item = Leaf<'_>> {
        (0..self.heads.len()).filter_map(|index| self.leaf(index))
    }

    /// The leaf of a key hash.
    pub(super) fn find(&self, key_hash: &Hash) -> Option<Leaf<'_>> {
        self.leaf(self.heads.iter().position(|head| head.key_hash == *key_hash)?)
    }

    /// A leaf by its place.
    pub(super) fn leaf(&self, index: usize) -> Option<Leaf<'_>> {
        let head = self.heads.get(index)?;
        let start = index.checked_sub(1).and_then(|before| self.heads.get(before)).map_or(0, |head| head.value_end);
        let key = self.data.get(start as usize..head.key_end as usize)?;
        let stored = self.data.get(head.key_end as usize..head.value_end as usize)?;
        let value = if head.is_large {
            let own = self.large.iter().find(|(owner, _)| *owner == head.key_hash).map(|(_, value)| value);
            ValueRef::Large(stored.first_chunk().map(|hash| Hash(*hash))?, own)
        } else {
            ValueRef::Inline(stored)
        };
        Some(Leaf { key_hash: head.key_hash, hash: head.hash, key, value })
    }

    /// Key hashes and leaf hashes, for [`subtree_hash`].
    pub(super) fn hashes(&self) -> Vec<LeafHash> {
        self.heads.iter().map(|head| (head.key_hash, head.hash)).collect()
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

/// A page holds far less than 4 GiB.
fn place(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
