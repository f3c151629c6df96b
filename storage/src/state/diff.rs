//! What each block changed, with the values that it replaced: from it the derived tables follow the head, and in it past
//! heights are read.
//!
//! Table `state_diffs` has for each block, under its height (u32, big-endian),
//! - followed by nothing: a filter of the keys that it changed ([`Filter`]);
//! - followed by a storage key: a chunk of changes in the order of storage keys, the first of which is of that key.
//!
//! A change in a chunk: how many bytes its key has in common with the one before it, the lengths of the rest of its key, of
//! the old value and of the new one (each a SCALE compact; a value without length is none), then the rest of the key and the
//! values as [`packed`](super::packed) has them, the new one by its difference to the old one.

use super::packed::{pack, unpack};
use crate::batch::WriteBatch;
use crate::database::{DatabaseView, Direction, KeyRange};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::state_changes::first_bytes;
use cairn_primitives::{Hash, Height};
use parity_scale_codec::{Compact, Decode, Encode};

/// A chunk with so many bytes takes no more changes.
const CHUNK_BYTES: usize = 8 << 10;

/// What a block did to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyChange {
    pub(super) key: Vec<u8>,
    pub(super) old: Option<Vec<u8>>,
    pub(super) new: Option<Vec<u8>>,
}

/// Writes changes of a block, which come in the order of keys: all, or a part that others go on after.
pub(super) struct DiffWriter<'a> {
    batch: &'a mut WriteBatch,
    height: Height,
    chunk: Vec<u8>,
    first: Vec<u8>,
    last: Vec<u8>,
    bytes: usize,
}

impl<'a> DiffWriter<'a> {
    pub(super) fn new(batch: &'a mut WriteBatch, height: Height) -> Self {
        Self { batch, height, chunk: Vec::new(), first: Vec::new(), last: Vec::new(), bytes: 0 }
    }

    pub(super) fn push(&mut self, key: &[u8], old: Option<&[u8]>, new: Option<&[u8]>) {
        if self.chunk.is_empty() {
            self.first = record_key(self.height, key);
            self.last.clear();
        }
        let shared = shared_bytes(key, &self.last);
        let rest = key.get(shared..).unwrap_or_default();
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        for length in [shared, rest.len(), old.len(), new.len()] {
            // Keys and values are far shorter than 4 GiB.
            Compact(u32::try_from(length).unwrap_or(u32::MAX)).encode_to(&mut self.chunk);
        }
        self.chunk.extend_from_slice(rest);
        pack(&mut self.chunk, old, &[]);
        pack(&mut self.chunk, new, old);
        for part in [rest, old, new] {
            self.bytes = self.bytes.saturating_add(part.len());
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        if self.chunk.len() >= CHUNK_BYTES {
            self.close_chunk();
        }
    }

    fn close_chunk(&mut self) {
        if !self.chunk.is_empty() {
            let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES.saturating_add(512)));
            self.batch.put(Table::StateDiffs, std::mem::take(&mut self.first), chunk);
        }
    }

    /// Ends this part of the diff; returns about how many bytes it has in memory once it is read.
    pub(super) fn finish(mut self) -> usize {
        self.close_chunk();
        self.bytes
    }
}

/// How many first bytes two keys have in common, found word by word: they are long, and of one prefix for the most part.
pub(super) fn shared_bytes(one: &[u8], other: &[u8]) -> usize {
    let (words, _) = one.as_chunks::<8>();
    let (others, _) = other.as_chunks::<8>();
    let words = words.iter().zip(others).take_while(|(a, b)| a == b).count().saturating_mul(8);
    let [one, other] = [one, other].map(|key| key.get(words..).unwrap_or_default());
    words.saturating_add(one.iter().zip(other).take_while(|(a, b)| a == b).count())
}

/// Adds the filter of a block's keys, without which there is no diff; returns about how many bytes it adds to it.
pub(super) fn put_filter(batch: &mut WriteBatch, height: Height, filter: &Filter) -> usize {
    let filter = filter.to_bytes();
    let bytes = filter.len();
    batch.put(Table::StateDiffs, height.0.to_be_bytes(), filter);
    bytes
}

/// All changes of a block, in the order of keys.
pub(super) fn read(view: &dyn DatabaseView, height: Height) -> Result<Vec<KeyChange>, DatabaseError> {
    let records = view.scan(Table::StateDiffs, &of_height(height), Direction::Forward, usize::MAX)?;
    let missing = || DatabaseError::Missing { table: Table::StateDiffs, reason: format!("height {height}") };
    let (filter, chunks) = records.split_first().ok_or_else(missing)?;
    if filter.0.len() != size_of::<u32>() {
        return Err(missing());
    }
    let mut changes = Vec::new();
    for (key, chunk) in chunks {
        decode(height, key, chunk, &mut changes)?;
    }
    Ok(changes)
}

/// What a block did to a key, if it did anything.
pub(super) fn find(view: &dyn DatabaseView, height: Height, key: &[u8]) -> Result<Option<KeyChange>, DatabaseError> {
    Ok(read_range(view, height, key, Some(key))?.into_iter().find(|change| change.key == key))
}

/// The changes of a block to keys from `start` to `end` (both included), and perhaps some on both sides, in order.
pub(super) fn read_range(
    view: &dyn DatabaseView,
    height: Height,
    start: &[u8],
    end: Option<&[u8]>,
) -> Result<Vec<KeyChange>, DatabaseError> {
    let mut changes = Vec::new();
    // The chunk before `start` may reach beyond it.
    let before = KeyRange::between(first_chunk(height), record_key(height, start));
    if let Some((key, chunk)) = view.scan(Table::StateDiffs, &before, Direction::Backward, 1)?.first() {
        decode(height, key, chunk, &mut changes)?;
    }
    let mut within = of_height(height);
    within.start = record_key(height, start).max(first_chunk(height));
    if let Some(end) = end {
        let mut after = record_key(height, end);
        after.push(0);
        within.end = Some(after);
    }
    for (key, chunk) in view.scan(Table::StateDiffs, &within, Direction::Forward, usize::MAX)? {
        decode(height, &key, &chunk, &mut changes)?;
    }
    Ok(changes)
}

/// The filter of the keys that a block changed.
pub(super) fn filter(view: &dyn DatabaseView, height: Height) -> Result<Filter, DatabaseError> {
    let missing = || DatabaseError::Missing { table: Table::StateDiffs, reason: format!("height {height}") };
    let record = view.get(Table::StateDiffs, &height.0.to_be_bytes())?.ok_or_else(missing)?;
    Filter::from_bytes(&record).ok_or_else(|| DatabaseError::damaged(Table::StateDiffs, format!("filter of {height}")))
}

/// The lowest height that has a diff.
pub(super) fn lowest(view: &dyn DatabaseView) -> Result<Option<Height>, DatabaseError> {
    let first = view.scan(Table::StateDiffs, &KeyRange::all(), Direction::Forward, 1)?;
    Ok(first.first().and_then(|(key, _)| key.first_chunk()).map(|height| Height(u32::from_be_bytes(*height))))
}

/// Deletes the diffs of heights from `start` on and below `end`.
pub(super) fn delete(batch: &mut WriteBatch, start: Height, end: Height) {
    batch.delete_range(Table::StateDiffs, start.0.to_be_bytes(), end.0.to_be_bytes());
}

fn record_key(height: Height, key: &[u8]) -> Vec<u8> {
    [&height.0.to_be_bytes(), key].concat()
}

/// The records of a block. No block has the last height that there is.
fn of_height(height: Height) -> KeyRange {
    KeyRange::between(height.0.to_be_bytes(), height.next().0.to_be_bytes())
}

/// Not greater than any chunk of a block: no storage key is empty.
fn first_chunk(height: Height) -> Vec<u8> {
    record_key(height, &[0])
}

fn decode(height: Height, key: &[u8], chunk: &[u8], changes: &mut Vec<KeyChange>) -> Result<(), DatabaseError> {
    let first = changes.len();
    let mut rest = chunk;
    let mut last: &[u8] = &[];
    let mut keys = Vec::new();
    while !rest.is_empty() {
        let change = decode_change(&mut rest, last);
        let change = change.filter(|change| first == changes.len() || change.key.as_slice() > keys.as_slice());
        let change = change.ok_or_else(|| damaged(height))?;
        keys.clone_from(&change.key);
        last = &keys;
        changes.push(change);
    }
    match changes.get(first) {
        Some(change) if key.get(size_of::<u32>()..) == Some(change.key.as_slice()) => Ok(()),
        _ => Err(damaged(height)),
    }
}

fn damaged(height: Height) -> DatabaseError {
    DatabaseError::damaged(Table::StateDiffs, format!("a chunk of the changes of height {height}"))
}

fn decode_change(rest: &mut &[u8], last: &[u8]) -> Option<KeyChange> {
    let mut length = || Some(Compact::<u32>::decode(rest).ok()?.0 as usize);
    let [shared, own, old, new] = [length()?, length()?, length()?, length()?];
    let (own, after) = rest.split_at_checked(own)?;
    *rest = after;
    let key = [last.get(..shared)?, own].concat();
    let old = unpack(rest, old, &[])?;
    let new = unpack(rest, new, &old)?;
    let value = |bytes: Vec<u8>| (!bytes.is_empty()).then_some(bytes);
    Some(KeyChange { key, old: value(old), new: value(new) })
}

/// Whether a block may have changed a key: a Bloom filter in words of 64 bits, four of which stand for a key. It is wrong for
/// some three in a hundred of the keys that the block did not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    words: Box<[u64]>,
}

impl Filter {
    const BITS_PER_KEY: usize = 12;

    /// The filter of keys, each by the first bits of its hash.
    pub(super) fn new(keys: impl ExactSizeIterator<Item = u64>) -> Self {
        let words = keys.len().saturating_mul(Self::BITS_PER_KEY).div_ceil(64);
        let mut filter = Self { words: vec![0; words].into() };
        for key in keys {
            let (place, bits) = filter.place(key);
            if let Some(word) = filter.words.get_mut(place) {
                *word |= bits;
            }
        }
        filter
    }

    /// Whether the block may have changed the key.
    pub(super) fn may_contain(&self, key: u64) -> bool {
        let (place, bits) = self.place(key);
        self.words.get(place).is_some_and(|word| word & bits == bits)
    }

    /// The word of a key, and its bits in there.
    fn place(&self, key: u64) -> (usize, u64) {
        let wide = u128::from(key).wrapping_mul(self.words.len() as u128);
        let place = usize::try_from(wide.wrapping_shr(64)).unwrap_or_default();
        // The high bits chose the word, so the low ones choose in it.
        let bit = |shift: u32| 1_u64.wrapping_shl(u32::try_from(key.wrapping_shr(shift) & 63).unwrap_or_default());
        (place, bit(0) | bit(6) | bit(12) | bit(18))
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        rest.is_empty().then(|| Self { words: words.iter().map(|word| u64::from_be_bytes(*word)).collect() })
    }
}

/// The bits of a key hash that filters and sorting go by.
pub(super) fn first_bits(hash: &Hash) -> u64 {
    first_bytes(&hash.0)
}
