//! A set of writes that happen together or not at all.

use crate::table::Table;
use cairn_primitives::state_changes::first_bytes;

/// Values up to this length lie beside the keys, in bytes: a large block has ten thousand of them.
const SHORT_VALUE_MAX: usize = 256;

/// One write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation<'a> {
    /// The table.
    pub table: Table,
    /// The key.
    pub key: &'a [u8],
    /// The value to put, or `None` to delete.
    pub value: Option<&'a [u8]>,
}

/// A run of keys of a table that is deleted: from `start` (included) to `end` (not included).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeDeletion {
    /// The table.
    pub table: Table,
    /// The first key.
    pub start: Vec<u8>,
    /// The key after the last.
    pub end: Vec<u8>,
}

/// An operation by where its bytes lie.
#[derive(Clone, Debug)]
struct Placed {
    table: Table,
    /// The first bytes of the key, as a number that sorts like them.
    first: u64,
    start: usize,
    key_end: usize,
    value: PlacedValue,
}

#[derive(Clone, Debug)]
enum PlacedValue {
    Deleted,
    /// It lies behind the key, up to a place.
    Short(usize),
    Long(Vec<u8>),
}

/// Writes in the order they were asked for, after the deletions of ranges; later ones win over earlier ones with the same key.
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    deletions: Vec<RangeDeletion>,
    operations: Vec<Placed>,
    /// Keys and short values.
    bytes: Vec<u8>,
}

impl WriteBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a value in place of whatever was there.
    pub fn put(&mut self, table: Table, key: impl AsRef<[u8]>, value: impl AsRef<[u8]> + Into<Vec<u8>>) {
        let placed = self.place(table, key.as_ref());
        let value = if value.as_ref().len() <= SHORT_VALUE_MAX {
            self.bytes.extend_from_slice(value.as_ref());
            PlacedValue::Short(self.bytes.len())
        } else {
            PlacedValue::Long(value.into())
        };
        self.operations.push(Placed { value, ..placed });
    }

    /// Deletes a record; nothing happens where there is none.
    pub fn delete(&mut self, table: Table, key: impl AsRef<[u8]>) {
        let placed = self.place(table, key.as_ref());
        self.operations.push(placed);
    }

    /// Deletes all records from `start` (included) to `end` (not included) that were there before the batch, at the cost of
    /// one; what else the batch puts there stays.
    pub fn delete_range(&mut self, table: Table, start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) {
        let deletion = RangeDeletion { table, start: start.into(), end: end.into() };
        if deletion.start < deletion.end {
            self.deletions.push(deletion);
        }
    }

    /// Adds all that another batch has, after what is there; its deletions of ranges come first like those that are here.
    pub fn append(&mut self, other: Self) {
        let base = self.bytes.len();
        self.deletions.extend(other.deletions);
        self.bytes.extend(other.bytes);
        self.operations.extend(other.operations.into_iter().map(|placed| placed.moved(base)));
    }

    /// How many operations were added.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len().saturating_add(self.deletions.len())
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same with operations in the order of table and key, one a key: adapters write sorted input at half the cost.
    #[must_use]
    pub fn into_sorted(self) -> SortedBatch {
        let Self { deletions, mut operations, bytes } = self;
        let key = |placed: &Placed| (placed.table, placed.first);
        // The sort is stable: of equal keys the last one stands last.
        operations.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.key(&bytes).cmp(b.key(&bytes))));
        // `dedup_by` removes its first argument, the later one, so that one takes the place of the one that stays.
        operations.dedup_by(|later, earlier| {
            let same = key(later) == key(earlier) && later.key(&bytes) == earlier.key(&bytes);
            if same {
                std::mem::swap(earlier, later);
            }
            same
        });
        SortedBatch(Self { deletions, operations, bytes })
    }

    /// Where a key lies from now on, without a value.
    fn place(&mut self, table: Table, key: &[u8]) -> Placed {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        Placed { table, first: first_bytes(key), start, key_end: self.bytes.len(), value: PlacedValue::Deleted }
    }
}

/// A batch whose operations are in the order of table and key, one a key.
#[derive(Clone, Debug)]
pub struct SortedBatch(WriteBatch);

impl SortedBatch {
    /// What is deleted first.
    #[must_use]
    pub fn deletions(&self) -> &[RangeDeletion] {
        &self.0.deletions
    }

    /// What follows.
    pub fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        let WriteBatch { operations, bytes, .. } = &self.0;
        operations.iter().map(|placed| Operation {
            table: placed.table,
            key: placed.key(bytes),
            value: placed.value(bytes),
        })
    }
}

impl Placed {
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.start..self.key_end).unwrap_or_default()
    }

    fn value<'a>(&'a self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        match &self.value {
            PlacedValue::Deleted => None,
            PlacedValue::Short(end) => bytes.get(self.key_end..*end),
            PlacedValue::Long(value) => Some(value),
        }
    }

    /// The same in bytes that begin later.
    fn moved(mut self, base: usize) -> Self {
        let moved = |at: &mut usize| *at = at.saturating_add(base);
        moved(&mut self.start);
        moved(&mut self.key_end);
        if let PlacedValue::Short(end) = &mut self.value {
            moved(end);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(batch: WriteBatch) -> Vec<(Table, Vec<u8>, Option<Vec<u8>>)> {
        let sorted = batch.into_sorted();
        sorted.operations().map(|own| (own.table, own.key.to_vec(), own.value.map(<[u8]>::to_vec))).collect()
    }

    #[test]
    fn operations_come_by_table_and_key_and_the_last_one_of_a_key_wins() {
        let long = vec![7; SHORT_VALUE_MAX + 1];
        let mut batch = WriteBatch::new();
        batch.put(Table::Bodies, b"12345678b", b"short");
        batch.put(Table::Meta, b"b", long.clone());
        batch.put(Table::Bodies, b"12345678a", long.clone());
        batch.put(Table::Meta, b"", b"");
        batch.put(Table::Meta, b"b\0", b"longer key");
        batch.delete(Table::Bodies, b"12345678b");
        let mut other = WriteBatch::new();
        other.put(Table::Meta, b"b", b"other");
        other.delete(Table::Headers, b"gone");
        other.put(Table::Headers, b"gone", long.clone());
        batch.append(other);
        assert_eq!(batch.len(), 9);
        let value = |bytes: &[u8]| Some(bytes.to_vec());
        assert_eq!(
            listed(batch),
            [
                (Table::Meta, Vec::new(), value(b"")),
                (Table::Meta, b"b".to_vec(), value(b"other")),
                (Table::Meta, b"b\0".to_vec(), value(b"longer key")),
                (Table::Headers, b"gone".to_vec(), Some(long.clone())),
                (Table::Bodies, b"12345678a".to_vec(), Some(long)),
                (Table::Bodies, b"12345678b".to_vec(), None),
            ]
        );
    }

    #[test]
    fn ranges_without_keys_are_left_out() {
        let mut batch = WriteBatch::new();
        batch.delete_range(Table::Meta, *b"b", *b"b");
        batch.delete_range(Table::Meta, *b"b", *b"a");
        assert!(batch.is_empty());
        batch.delete_range(Table::Meta, *b"a", *b"b");
        assert_eq!(batch.into_sorted().deletions().len(), 1);
    }
}
