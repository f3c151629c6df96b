//! Pages: the leaves of one bucket, in ascending order of key hash.
//!
//! The record on disk: depth of the bucket (u16), then for each leaf: how many bytes its key has in common with the one before
//! it (u8), length of the rest of the key (u16), length of the value (u16), rest of the key, value. A value is packed as in a diff
//! ([`pack`]), as what it and the value before it differ in where they are of the same length: accounts have much in common. A value
//! length of [`LARGE_VALUE`] stands for a value that lies in table `state_keys`; its SHA-256 takes the value's place, whole. Numbers
//! are big-endian. In memory the hashes, which follow from the rest, stand beside it ([`Page`]).

use super::diff::{first_bits, shared_bytes};
use super::packed::{pack, unpack};
use cairn_primitives::Hash;
use cairn_primitives::hash::{sha256_of_each, sha256_of_pairs};
use cairn_primitives::state_changes::first_bytes;
use cairn_primitives::state_proof::{DEPTH_MAX, LEAF_DOMAIN, LeafHash};
use cairn_storage_cpu::fetch_ahead;
use std::iter::repeat_n;
use std::ops::Range;
use std::sync::Arc;

/// A bucket with more leaves is split in four: pages of up to about 3 KiB in memory.
pub const SPLIT_LEAVES_MAX: usize = 12;
/// Four neighbouring buckets with together this many leaves or fewer become one; well below a split, so that a key that
/// comes and goes does not split and merge each time.
pub const MERGE_LEAVES_MAX: usize = 4;
/// A longer value does not lie in the page, in bytes: an account does, and pages stay small.
pub const INLINE_VALUE_MAX: usize = 128;

/// About what a page takes besides its bytes and large values, for the bucket and what counts it.
const PAGE_BYTES: usize = 96;
/// The value length that marks a value outside of the page.
const LARGE_VALUE: u16 = u16::MAX;
/// Depth and number of leaves, and what fills them up.
const HEADER_BYTES: usize = 8;
const ENTRY_BYTES: usize = 16;
const HASH_BYTES: usize = size_of::<Hash>();
/// In the end of a value: what lies there is the hash of a large one.
const IS_LARGE: u32 = 1 << 31;
/// Header and entries of a full page, in bytes.
const FETCHED_BYTES: usize = HEADER_BYTES + SPLIT_LEAVES_MAX * ENTRY_BYTES;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaf<'a> {
    pub(super) key_hash: Hash,
    pub(super) hash: Hash,
    pub(super) key: &'a [u8],
    pub(super) value: ValueRef<'a>,
}

/// The leaves of one bucket; cheap to clone.
///
/// All of a page lies in one piece of memory, since each piece that a block touches is a wait of its own: what is asked of
/// all leaves first, then what is asked of one.
/// ```text
///   depth, count │ entries │ leaf hashes │ key hashes │ key, value, key, value, ...
/// ```
/// An entry is the first eight bytes of the key hash, where the key ends and where the value ends.
#[derive(Clone, Debug)]
pub(super) struct Page {
    bytes: Arc<[u8]>,
    /// Values that no committed block has written yet, by key hash; none in a page that came from disk.
    large: Option<Arc<LargeValues>>,
}

type LargeValues = Vec<(Hash, Arc<[u8]>)>;

/// A page by what it is made of.
#[derive(Clone, Copy, Default)]
struct Parts<'a> {
    depth: u16,
    entries: &'a [[u8; ENTRY_BYTES]],
    hashes: &'a [[u8; HASH_BYTES]],
    key_hashes: &'a [[u8; HASH_BYTES]],
    data: &'a [u8],
}

/// What stands for a leaf before all others.
#[derive(Clone, Copy, Default)]
struct Entry {
    /// The first bytes of the key hash.
    first: u64,
    /// Where the key ends and the value begins.
    key_end: u32,
    value_end: u32,
    is_large: bool,
}

impl Entry {
    fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let end = if self.is_large { self.value_end | IS_LARGE } else { self.value_end };
        let ends = u128::from(self.key_end).wrapping_shl(32) | u128::from(end);
        (u128::from(self.first).wrapping_shl(64) | ends).to_be_bytes()
    }

    fn parse(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *bytes;
        let (key_end, end) = (u32::from_be_bytes([i, j, k, l]), u32::from_be_bytes([m, n, o, p]));
        let (first, value_end) = (u64::from_be_bytes([a, b, c, d, e, f, g, h]), end & !IS_LARGE);
        Self { first, key_end, value_end, is_large: end & IS_LARGE != 0 }
    }

    /// Where the value lies in the data.
    const fn value(&self) -> Range<usize> {
        self.key_end as usize..self.value_end as usize
    }
}

impl<'a> Parts<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let [depth, more_depth, count, more_count, ..] = *header;
        let count = usize::from(u16::from_be_bytes([count, more_count]));
        let (entries, rest) = rest.split_at_checked(count.saturating_mul(ENTRY_BYTES))?;
        let (hashes, rest) = rest.split_at_checked(count.saturating_mul(HASH_BYTES))?;
        let (key_hashes, data) = rest.split_at_checked(count.saturating_mul(HASH_BYTES))?;
        Some(Self {
            depth: u16::from_be_bytes([depth, more_depth]),
            entries: entries.as_chunks().0,
            hashes: hashes.as_chunks().0,
            key_hashes: key_hashes.as_chunks().0,
            data,
        })
    }

    fn entry(&self, index: usize) -> Option<Entry> {
        self.entries.get(index).map(Entry::parse)
    }

    /// The numbers of the leaves whose key hashes begin like this one.
    fn candidates(&self, key_hash: &Hash) -> impl Iterator<Item = usize> + use<'a> {
        let first = first_bits(key_hash);
        self.entries.iter().enumerate().filter(move |(_, entry)| first_bytes(*entry) == first).map(|(index, _)| index)
    }

    fn position(&self, key_hash: &Hash) -> Option<usize> {
        self.candidates(key_hash).find(|index| self.key_hashes.get(*index) == Some(&key_hash.0))
    }

    fn hash(&self, index: usize) -> Option<Hash> {
        self.hashes.get(index).map(|hash| Hash(*hash))
    }

    /// Key and value of a leaf by its number, without a look at its hashes.
    fn content(&self, index: usize, large: Option<&'a LargeValues>) -> Option<(&'a [u8], ValueRef<'a>)> {
        let entry = self.entry(index)?;
        let start = index.checked_sub(1).and_then(|before| self.entry(before)).map_or(0, |before| before.value_end);
        let (key, stored) = (self.data.get(start as usize..entry.key_end as usize)?, self.data.get(entry.value())?);
        if !entry.is_large {
            return Some((key, ValueRef::Inline(stored)));
        }
        let key_hash = self.key_hashes.get(index)?;
        let own = large.and_then(|large| large.iter().find(|(owner, _)| owner.0 == *key_hash));
        let hash = stored.first_chunk().map(|hash| Hash(*hash))?;
        Some((key, ValueRef::Large(hash, own.map(|(_, value)| value))))
    }

    /// A leaf by its number.
    fn leaf(&self, index: usize, large: Option<&'a LargeValues>) -> Option<Leaf<'a>> {
        let (key, value) = self.content(index, large)?;
        Some(Leaf { key_hash: Hash(*self.key_hashes.get(index)?), hash: self.hash(index)?, key, value })
    }
}

/// Where the leaf hashes of a page with so many leaves begin.
const fn hashes_at(count: usize) -> usize {
    HEADER_BYTES.saturating_add(count.saturating_mul(ENTRY_BYTES))
}

/// Where the keys and values of a page with so many leaves begin.
const fn data_at(count: usize) -> usize {
    hashes_at(count).saturating_add(count.saturating_mul(2 * HASH_BYTES))
}

/// Where the hash and the value of a leaf lie in a page, which stay there as long as the leaves keep their keys and the lengths
/// of their values.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeafPlace {
    hash: u32,
    value: u32,
    length: u32,
}

impl LeafPlace {
    const fn hash(self) -> Range<usize> {
        self.hash as usize..(self.hash as usize).saturating_add(HASH_BYTES)
    }

    const fn value(self) -> Range<usize> {
        self.value as usize..(self.value as usize).saturating_add(self.length())
    }

    /// Bytes of the value.
    pub(super) const fn length(self) -> usize {
        self.length as usize
    }
}

/// A page whose leaves change.
pub(super) struct PageMut<'a>(&'a mut [u8]);

impl PageMut<'_> {
    /// Swaps the hash and the value of a leaf with others; the values are of the same length.
    pub(super) fn swap(&mut self, place: LeafPlace, hash: &mut Hash, value: &mut [u8]) {
        if let Some(own) = self.0.get_mut(place.hash()) {
            own.swap_with_slice(&mut hash.0);
        }
        if let Some(own) = self.0.get_mut(place.value()).filter(|own| own.len() == value.len()) {
            own.swap_with_slice(value);
        }
    }
}

impl Page {
    /// Packs leaves, which are in order.
    pub(super) fn pack(depth: u16, leaves: &[Leaf<'_>]) -> Self {
        let content = |leaf: &Leaf<'_>| leaf.key.len().saturating_add(leaf.value.stored().len());
        let length = leaves.iter().map(content).fold(data_at(leaves.len()), usize::saturating_add);
        // In its place from the beginning: a vector would be copied.
        let mut bytes: Arc<[u8]> = repeat_n(0, length).collect();
        let mut large = LargeValues::new();
        let mut rest = Arc::get_mut(&mut bytes).unwrap_or_default();
        let mut put = |part: &[u8]| {
            if let Some(place) = rest.split_off_mut(..part.len()) {
                place.copy_from_slice(part);
            }
        };
        put(&depth.to_be_bytes());
        put(&short(leaves.len()).to_be_bytes());
        put(&[0; HEADER_BYTES - 2 * size_of::<u16>()]);
        let mut end = 0_usize;
        for leaf in leaves {
            let key_end = end.saturating_add(leaf.key.len());
            end = key_end.saturating_add(leaf.value.stored().len());
            let is_large = matches!(leaf.value, ValueRef::Large(..));
            let first = first_bits(&leaf.key_hash);
            put(&Entry { first, key_end: offset(key_end), value_end: offset(end), is_large }.to_bytes());
        }
        leaves.iter().for_each(|leaf| put(&leaf.hash.0));
        leaves.iter().for_each(|leaf| put(&leaf.key_hash.0));
        for leaf in leaves {
            if let ValueRef::Large(_, Some(value)) = leaf.value {
                large.push((leaf.key_hash, Arc::clone(value)));
            }
            put(leaf.key);
            put(leaf.value.stored());
        }
        Self { bytes, large: (!large.is_empty()).then(|| Arc::new(large)) }
    }

    fn parts(&self) -> Parts<'_> {
        Parts::of(&self.bytes).unwrap_or_default()
    }

    /// The page to change leaves in, in place unless somebody else has it.
    pub(super) fn change(&mut self) -> PageMut<'_> {
        PageMut(Arc::make_mut(&mut self.bytes))
    }

    /// Reads a record from disk: complete leaves, at least one and no more than a bucket has, in ascending order of key hash. All
    /// hashes are computed.
    pub(super) fn parse(record: &[u8]) -> Result<Self, &'static str> {
        let (depth, mut rest) = record.split_first_chunk::<2>().ok_or("a page has no depth")?;
        let depth = u16::from_be_bytes(*depth);
        if depth > DEPTH_MAX {
            return Err("a page lies deeper than a key hash has bits");
        }
        let mut stored: Vec<StoredLeaf> = Vec::with_capacity(SPLIT_LEAVES_MAX);
        while !rest.is_empty() {
            let (leaf, after) = parse_leaf(rest, stored.last()).ok_or("a page ends within a leaf")?;
            if stored.len() >= SPLIT_LEAVES_MAX {
                return Err("a page has more leaves than a bucket");
            }
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
        sha256_of_each(stored.iter().filter(|leaf| !leaf.is_large).map(|leaf| leaf.value.as_slice()), |hash| {
            digests.push(hash)
        });
        let mut digests = digests.into_iter();
        let own_hash = |leaf: &StoredLeaf| leaf.value.first_chunk().map_or(Hash::ZERO, |hash| Hash(*hash));
        let value_hash = |leaf: &StoredLeaf| {
            if leaf.is_large { own_hash(leaf) } else { digests.next().unwrap_or(Hash::ZERO) }
        };
        let value_hashes: Vec<_> = stored.iter().map(value_hash).collect();
        let mut hashes = Vec::with_capacity(stored.len());
        sha256_of_pairs(LEAF_DOMAIN, key_hashes.iter().zip(&value_hashes), |hash| hashes.push(hash));
        let parts = stored.iter().zip(key_hashes).zip(hashes).zip(value_hashes);
        let leaves = parts.map(|(((leaf, key_hash), hash), value_hash)| {
            let value = if leaf.is_large { ValueRef::Large(value_hash, None) } else { ValueRef::Inline(&leaf.value) };
            Leaf { key_hash, hash, key: &leaf.key, value }
        });
        Ok(Self::pack(depth, &leaves.collect::<Vec<_>>()))
    }

    /// The record to write.
    pub(super) fn to_record(&self) -> Vec<u8> {
        let parts = self.parts();
        let mut record = Vec::with_capacity(parts.data.len());
        record.extend_from_slice(&parts.depth.to_be_bytes());
        let (mut last, mut other): (&[u8], &[u8]) = Default::default();
        for leaf in self.leaves() {
            let in_common = shared_bytes(leaf.key, last).min(u8::MAX.into());
            let rest = leaf.key.get(in_common..).unwrap_or_default();
            let value = match leaf.value {
                ValueRef::Inline(value) => Some(value),
                ValueRef::Large(..) => None,
            };
            let length = value.map_or(LARGE_VALUE, |value| short(value.len()));
            record.push(u8::try_from(in_common).unwrap_or_default());
            record.extend_from_slice(&short(rest.len()).to_be_bytes());
            record.extend_from_slice(&length.to_be_bytes());
            record.extend_from_slice(rest);
            match value {
                Some(value) => pack(&mut record, value, other),
                None => record.extend_from_slice(leaf.value.stored()),
            }
            (last, other) = (leaf.key, value.unwrap_or_default());
        }
        record
    }

    /// The depth of the bucket.
    pub(super) fn depth(&self) -> u16 {
        self.parts().depth
    }

    /// Has the processor fetch what tells where the leaves lie.
    pub(super) fn fetch_entries(&self) {
        fetch_ahead(self.bytes.get(..FETCHED_BYTES).unwrap_or(&self.bytes));
    }

    /// Has the processor fetch what tells whether somebody else has the page.
    pub(super) fn fetch_owners(&self) {
        fetch_ahead(self.bytes.get(..HEADER_BYTES).unwrap_or(&self.bytes));
    }

    /// Has the processor fetch the hash and the value of a leaf.
    pub(super) fn fetch_place(&self, place: LeafPlace) {
        [place.hash(), place.value()].into_iter().filter_map(|range| self.bytes.get(range)).for_each(fetch_ahead);
    }

    /// Has the processor fetch what is asked about a key hash; the entries should be at hand.
    pub(super) fn fetch_leaf(&self, key_hash: &Hash, asked: Asked) {
        let parts = self.parts();
        if let Some(index) = parts.candidates(key_hash).next() {
            if let Some(value) = parts.entry(index).and_then(|entry| parts.data.get(entry.value())) {
                fetch_ahead(value);
            }
            if let Some(key_hash) = parts.key_hashes.get(index) {
                fetch_ahead(key_hash);
            }
        }
        if matches!(asked, Asked::Root) {
            fetch_ahead(parts.hashes);
        }
    }

    /// Bytes in memory.
    pub(super) fn size(&self) -> usize {
        let large = self.large.iter().flat_map(|large| large.iter()).map(|(_, value)| value.len().saturating_add(64));
        large.fold(self.bytes.len().saturating_add(PAGE_BYTES), usize::saturating_add)
    }

    /// The leaves in ascending order of key hash.
    pub(super) fn leaves(&self) -> impl Iterator<Item = Leaf<'_>> {
        let (parts, large) = (self.parts(), self.large.as_deref());
        (0..parts.entries.len()).filter_map(move |index| parts.leaf(index, large))
    }

    /// The leaf of a key hash.
    pub(super) fn find(&self, key_hash: &Hash) -> Option<Leaf<'_>> {
        let parts = self.parts();
        parts.leaf(parts.position(key_hash)?, self.large.as_deref())
    }

    /// The number of the leaf of a key hash.
    pub(super) fn position(&self, key_hash: &Hash) -> Option<usize> {
        self.parts().position(key_hash)
    }

    /// Key and value of a leaf by its number.
    pub(super) fn content(&self, index: usize) -> Option<(&[u8], ValueRef<'_>)> {
        self.parts().content(index, self.large.as_deref())
    }

    /// The hash of a leaf by its number.
    pub(super) fn leaf_hash(&self, index: usize) -> Option<Hash> {
        self.parts().hash(index)
    }

    /// Where a leaf lies, by its number.
    pub(super) fn place(&self, index: usize) -> Option<LeafPlace> {
        let parts = self.parts();
        let (entry, count) = (parts.entry(index)?, parts.entries.len());
        let hash = offset(hashes_at(count).saturating_add(index.saturating_mul(HASH_BYTES)));
        let value = offset(data_at(count)).saturating_add(entry.key_end);
        Some(LeafPlace { hash, value, length: entry.value_end.saturating_sub(entry.key_end) })
    }

    /// The first bytes of the key hashes, and leaf hashes.
    pub(super) fn short_hashes(&self) -> impl Iterator<Item = (u64, Hash)> {
        let parts = self.parts();
        parts.entries.iter().zip(parts.hashes).map(|(entry, hash)| (first_bytes(entry), Hash(*hash)))
    }

    /// Key hashes and leaf hashes, for [`subtree_hash`].
    ///
    /// [`subtree_hash`]: cairn_primitives::state_proof::subtree_hash
    pub(super) fn hashes(&self) -> Vec<LeafHash> {
        let parts = self.parts();
        parts.key_hashes.iter().zip(parts.hashes).map(|(key_hash, hash)| (Hash(*key_hash), Hash(*hash))).collect()
    }
}

/// What will be asked of a page about a leaf.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    /// Its value.
    Value,
    /// The root with another value in its place: all leaf hashes of the page, too.
    Root,
}

/// A leaf as a record has it.
struct StoredLeaf {
    key: Vec<u8>,
    /// What stands for the value: itself, or its hash.
    value: Vec<u8>,
    is_large: bool,
}

/// Reads a leaf after another one; returns what follows it.
fn parse_leaf<'a>(rest: &'a [u8], before: Option<&StoredLeaf>) -> Option<(StoredLeaf, &'a [u8])> {
    let (in_common, rest) = rest.split_first()?;
    let (own, rest) = rest.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (own, mut rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*own)))?;
    let last = before.map_or(&[][..], |before| &before.key);
    let key = [last.get(..usize::from(*in_common))?, own].concat();
    let length = u16::from_be_bytes(*length);
    let is_large = length == LARGE_VALUE;
    let value = if is_large {
        rest.split_off(..size_of::<Hash>())?.to_vec()
    } else {
        let other = before.filter(|before| !before.is_large).map_or(&[][..], |before| &before.value);
        unpack(&mut rest, length.into(), other)?
    };
    Some((StoredLeaf { key, value, is_large }, rest))
}

/// Lengths here are bounded by the limits of keys and inline values, both below 65,535.
fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// A page holds far less than 4 GiB.
fn offset(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
