//! The database port: what the core asks of an engine.

use crate::batch::WriteBatch;
use crate::error::DatabaseError;
use crate::table::Table;

/// A key and its value.
pub type Record = (Vec<u8>, Vec<u8>);

/// What survives a crash of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The batch and all before it that are not derived are on disk before `write` returns.
    Synced,
    /// The batch is visible at once and on disk at the latest with the next synced one; a crash loses it or not, but
    /// never one batch without losing all later ones.
    Unsynced,
    /// The batch is visible at once and not logged: until the next [`Database::flush`] the end of the process may lose it
    /// with all later ones of its kind, whatever became of the others; but never leaves it and loses a batch before it. For
    /// what can be computed again from the rest.
    Derived,
}

/// The order of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Ascending keys.
    Forward,
    /// Descending keys.
    Backward,
}

/// Keys from `start` (included) to `end` (not included); no end means the end of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key.
    pub start: Vec<u8>,
    /// The key after the last.
    pub end: Option<Vec<u8>>,
}

impl KeyRange {
    /// The whole table.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// From a key to the end of the table.
    #[must_use]
    pub fn from(start: impl Into<Vec<u8>>) -> Self {
        Self { start: start.into(), end: None }
    }

    /// From a key (included) to another (not included).
    #[must_use]
    pub fn between(start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> Self {
        Self { start: start.into(), end: Some(end.into()) }
    }

    /// All keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        while end.pop_if(|byte| *byte == u8::MAX).is_some() {}
        let end = match end.last_mut() {
            Some(last) => {
                *last = last.saturating_add(1);
                Some(end)
            }
            None => None,
        };
        Self { start: prefix.to_vec(), end }
    }

    /// Whether no key can lie in the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }
}

/// Read access to one version of all tables.
pub trait DatabaseView: Send + Sync {
    /// The value under a key.
    ///
    /// # Errors
    /// The engine failed.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, DatabaseError>;

    /// The values under several keys, in the order asked; cheapest with sorted keys.
    ///
    /// # Errors
    /// The engine failed.
    fn multi_get(&self, table: Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, DatabaseError>;

    /// At most `limit` records of a range, from its first key up or from its last key down.
    ///
    /// # Errors
    /// The engine failed.
    fn scan(
        &self,
        table: Table,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Record>, DatabaseError>;
}

/// A database: as a view it shows the latest version.
pub trait Database: DatabaseView {
    /// Applies a batch atomically: readers and crashes see all of it or nothing.
    ///
    /// # Errors
    /// The engine failed; nothing was applied, and the database must not be written to again.
    fn write(&self, batch: WriteBatch, durability: Durability) -> Result<(), DatabaseError>;

    /// Puts on disk all that was written, in whatever way.
    ///
    /// # Errors
    /// The engine failed; the database must not be written to again.
    fn flush(&self) -> Result<(), DatabaseError>;

    /// The current version, unmoved by later writes. Hold it briefly: it keeps replaced records alive.
    fn snapshot(&self) -> Box<dyn DatabaseView + '_>;
}
