//! The database in memory: for tests, simulation and the browser.
//!
//! A snapshot shares the tables; the first write to a table after it copies that table once. Unsynced and derived batches
//! can be lost on purpose, which is how a simulated disk crashes.

use crate::batch::{Operation, RangeDeletion, WriteBatch};
use crate::database::{Database, DatabaseView, Direction, Durability, KeyRange, Record};
use crate::error::DatabaseError;
use crate::table::Table;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

type Records = Arc<BTreeMap<Vec<u8>, Arc<[u8]>>>;
type Tables = BTreeMap<Table, Records>;
/// What a batch replaced, to be put back when the batch is lost.
type Undo = Vec<(Table, Vec<u8>, Option<Arc<[u8]>>)>;

#[derive(Debug, Default)]
struct Contents {
    tables: Tables,
    /// One entry a batch since the last synced one, oldest first.
    unsynced: Vec<Undo>,
    /// The same for derived ones since the last flush.
    derived: Vec<Undo>,
}

impl Contents {
    /// Takes batches back, the last one first.
    fn undo(&mut self, lost: Vec<Undo>) {
        for (table, key, value) in lost.into_iter().flat_map(Vec::into_iter).rev() {
            let records = Arc::make_mut(self.tables.entry(table).or_default());
            match value {
                Some(value) => records.insert(key, value),
                None => records.remove(&key),
            };
        }
    }
}

/// A [`Database`] in memory; clones share the contents.
#[derive(Clone, Debug, Default)]
pub struct MemoryDatabase {
    contents: Arc<RwLock<Contents>>,
}

impl MemoryDatabase {
    /// An empty database.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Another database with the same contents, independent from now on.
    #[must_use]
    pub fn fork(&self) -> Self {
        let contents = self.read();
        let copy = Contents {
            tables: contents.tables.clone(),
            unsynced: contents.unsynced.clone(),
            derived: contents.derived.clone(),
        };
        Self { contents: Arc::new(RwLock::new(copy)) }
    }

    /// How many batches a crash could lose now.
    #[must_use]
    pub fn unsynced_count(&self) -> usize {
        self.read().unsynced.len()
    }

    /// Crashes: of the batches since the last synced one, the first `kept` survive. Where one is lost, no derived one does.
    pub fn lose_unsynced(&self, kept: usize) {
        let mut contents = self.write_lock();
        let kept = kept.min(contents.unsynced.len());
        let lost = contents.unsynced.split_off(kept);
        if !lost.is_empty() {
            let derived = std::mem::take(&mut contents.derived);
            contents.undo(derived);
        }
        contents.undo(lost);
        contents.unsynced.clear();
    }

    /// How many derived batches the end of the process could lose now.
    #[must_use]
    pub fn unflushed_count(&self) -> usize {
        self.read().derived.len()
    }

    /// Ends the process: of the derived batches since the last flush, the first `kept` survive.
    pub fn lose_unflushed(&self, kept: usize) {
        let mut contents = self.write_lock();
        let kept = kept.min(contents.derived.len());
        let lost = contents.derived.split_off(kept);
        contents.undo(lost);
        contents.derived.clear();
    }

    // The lock guards plain data that is replaced record by record; a panic elsewhere leaves it readable.
    fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lock(&self) -> RwLockWriteGuard<'_, Contents> {
        self.contents.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn get(tables: &Tables, table: Table, key: &[u8]) -> Option<Vec<u8>> {
    tables.get(&table)?.get(key).map(|value| value.to_vec())
}

fn scan(tables: &Tables, table: Table, range: &KeyRange, direction: Direction, limit: usize) -> Vec<Record> {
    if range.is_empty() {
        return Vec::new();
    }
    let Some(records) = tables.get(&table) else { return Vec::new() };
    let end = range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let found = records.range::<[u8], _>((Bound::Included(range.start.as_slice()), end));
    let copy = |(key, value): (&Vec<u8>, &Arc<[u8]>)| (key.clone(), value.to_vec());
    match direction {
        Direction::Forward => found.take(limit).map(copy).collect(),
        Direction::Backward => found.rev().take(limit).map(copy).collect(),
    }
}

impl DatabaseView for MemoryDatabase {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, DatabaseError> {
        Ok(get(&self.read().tables, table, key))
    }

    fn multi_get(&self, table: Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, DatabaseError> {
        let contents = self.read();
        Ok(keys.iter().map(|key| get(&contents.tables, table, key)).collect())
    }

    fn scan(
        &self,
        table: Table,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Record>, DatabaseError> {
        Ok(scan(&self.read().tables, table, range, direction, limit))
    }
}

impl Database for MemoryDatabase {
    fn write(&self, batch: WriteBatch, durability: Durability) -> Result<(), DatabaseError> {
        let mut contents = self.write_lock();
        let mut undo = Undo::new();
        let batch = batch.into_sorted();
        for RangeDeletion { table, start, end } in batch.deletions() {
            let records = Arc::make_mut(contents.tables.entry(*table).or_default());
            let keys: Vec<_> = records.range::<Vec<u8>, _>(start..end).map(|(key, _)| key.clone()).collect();
            undo.extend(keys.into_iter().map(|key| {
                let replaced = records.remove(&key);
                (*table, key, replaced)
            }));
        }
        for Operation { table, key, value } in batch.operations() {
            let records = Arc::make_mut(contents.tables.entry(table).or_default());
            let replaced = match value {
                Some(value) => records.insert(key.to_vec(), value.into()),
                None => records.remove(key),
            };
            undo.push((table, key.to_vec(), replaced));
        }
        match durability {
            Durability::Synced => contents.unsynced.clear(),
            Durability::Unsynced => contents.unsynced.push(undo),
            Durability::Derived => contents.derived.push(undo),
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), DatabaseError> {
        let mut contents = self.write_lock();
        contents.derived.clear();
        contents.unsynced.clear();
        Ok(())
    }

    fn snapshot(&self) -> Box<dyn DatabaseView + '_> {
        Box::new(MemorySnapshot { tables: self.read().tables.clone() })
    }
}

/// One version of all tables.
struct MemorySnapshot {
    tables: Tables,
}

impl DatabaseView for MemorySnapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, DatabaseError> {
        Ok(get(&self.tables, table, key))
    }

    fn multi_get(&self, table: Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, DatabaseError> {
        Ok(keys.iter().map(|key| get(&self.tables, table, key)).collect())
    }

    fn scan(
        &self,
        table: Table,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Record>, DatabaseError> {
        Ok(scan(&self.tables, table, range, direction, limit))
    }
}
