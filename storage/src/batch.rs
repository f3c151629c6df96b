//! A set of writes that happen together or not at all.

use crate::table::Table;

/// One write; later ones win over earlier ones with the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The table.
    pub table: Table,
    /// The key.
    pub key: Vec<u8>,
    /// The value to put, or `None` to delete.
    pub value: Option<Vec<u8>>,
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

/// Writes in the order they were asked for, after the deletions of ranges.
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    deletions: Vec<RangeDeletion>,
    operations: Vec<Operation>,
}

impl WriteBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a value in place of whatever was there.
    pub fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.operations.push(Operation { table, key: key.into(), value: Some(value.into()) });
    }

    /// Deletes a record; nothing happens where there is none.
    pub fn delete(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.operations.push(Operation { table, key: key.into(), value: None });
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
        self.deletions.extend(other.deletions);
        self.operations.extend(other.operations);
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

    /// The deletions of ranges, which come first, and the other operations sorted by table and key, one a key: adapters
    /// write sorted input at half the cost.
    #[must_use]
    pub fn into_sorted(self) -> (Vec<RangeDeletion>, Vec<Operation>) {
        let mut operations = self.operations;
        operations.sort_by(|a, b| (a.table, &a.key).cmp(&(b.table, &b.key)));
        // The sort is stable: of equal keys the last one stands last. `dedup_by` removes its first argument, the later
        // one, so the later value moves into the one that stays.
        operations.dedup_by(|later, earlier| {
            let same = later.table == earlier.table && later.key == earlier.key;
            if same {
                earlier.value = later.value.take();
            }
            same
        });
        (self.deletions, operations)
    }
}
