//! The journal of the consensus engine: opaque records in the order they were written.
//!
//! The driver appends the records of one turn and syncs once before it sends anything.

use crate::batch::WriteBatch;
use crate::database::{Database, DatabaseView, Direction, Durability, KeyRange};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::{Epoch, View};
use std::collections::VecDeque;

/// Records read in one go when a journal is opened.
const REPLAY_PAGE: usize = 1_024;

/// How many records one call of [`prune`] deletes at most, so that it stays short.
const PRUNE_RECORDS_MAX: usize = 1_024;

/// The journal of the running epoch, as its one writer keeps it: what is on disk, and what of it is of no use any more.
#[derive(Clone, Debug)]
pub struct Journal {
    epoch: Epoch,
    next: u64,
    /// Records up to this view of the epoch are of no use any more.
    committed: View,
    /// Sequence and view of the records on disk, oldest first.
    records: VecDeque<(u64, View)>,
    /// Whether records of earlier epochs may still be on disk.
    is_new_epoch: bool,
}

impl Journal {
    /// Opens the journal of an epoch: `replay` is given the records in order and tells the view of each.
    ///
    /// # Errors
    /// The database failed, a key is damaged, or `replay` refuses a record.
    pub fn open<E: From<DatabaseError>>(
        view: &dyn DatabaseView,
        epoch: Epoch,
        mut replay: impl FnMut(JournalKey, &[u8]) -> Result<View, E>,
    ) -> Result<Self, E> {
        let mut records = VecDeque::new();
        let mut start = JournalKey { epoch, sequence: 0 };
        loop {
            let page = read(view, start, REPLAY_PAGE)?;
            let is_full = page.len() == REPLAY_PAGE;
            for (key, record) in page {
                records.push_back((key.sequence, replay(key, &record)?));
                start = JournalKey { epoch: key.epoch, sequence: key.sequence.saturating_add(1) };
            }
            if !is_full {
                return Ok(Self { epoch, next: start.sequence, committed: View::ZERO, records, is_new_epoch: true });
            }
        }
    }

    /// How many records are on disk.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether none is on disk.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Everything up to a view is committed: its records are deleted with a later write.
    pub fn commit(&mut self, epoch: Epoch, view: View) {
        if epoch == self.epoch {
            self.committed = self.committed.max(view);
        }
    }

    /// Goes over to the records of a new epoch; those of the last one are deleted with the next write.
    pub fn turn_to(&mut self, epoch: Epoch) {
        if epoch > self.epoch {
            *self = Self { epoch, next: 0, committed: View::ZERO, records: VecDeque::new(), is_new_epoch: true };
        }
    }

    /// Appends records with their views and syncs once; deletes the oldest that are of no use any more along with it.
    ///
    /// # Errors
    /// The database failed: the process must end.
    pub fn append(
        &mut self,
        database: &dyn Database,
        records: impl IntoIterator<Item = (View, Vec<u8>)>,
    ) -> Result<(), DatabaseError> {
        let mut batch = WriteBatch::new();
        for (view, record) in records {
            append(&mut batch, JournalKey { epoch: self.epoch, sequence: self.next }, record);
            self.records.push_back((self.next, view));
            self.next = self.next.saturating_add(1);
        }
        if batch.is_empty() {
            return Ok(());
        }
        let mut end = std::mem::take(&mut self.is_new_epoch).then_some(0);
        while let Some((sequence, _)) = self.records.front().filter(|(_, view)| *view <= self.committed) {
            end = Some(sequence.saturating_add(1));
            self.records.pop_front();
        }
        if let Some(sequence) = end {
            prune(database, &mut batch, JournalKey { epoch: self.epoch, sequence })?;
        }
        database.write(batch, Durability::Synced)
    }
}

/// The place of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalKey {
    /// The epoch.
    pub epoch: Epoch,
    /// The number of the record in the epoch.
    pub sequence: u64,
}

impl JournalKey {
    fn to_bytes(self) -> Vec<u8> {
        let mut key = Vec::with_capacity(16);
        key.extend_from_slice(&self.epoch.0.to_be_bytes());
        key.extend_from_slice(&self.sequence.to_be_bytes());
        key
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, DatabaseError> {
        let number = |half: Option<&[u8]>| half.and_then(|half| half.try_into().ok()).map(u64::from_be_bytes);
        match (number(bytes.get(..8)), number(bytes.get(8..))) {
            (Some(epoch), Some(sequence)) => Ok(Self { epoch: Epoch(epoch), sequence }),
            _ => Err(DatabaseError::damaged(Table::Journal, "a key is not an epoch and a sequence number")),
        }
    }
}

/// Adds a record.
pub fn append(batch: &mut WriteBatch, key: JournalKey, record: Vec<u8>) {
    batch.put(Table::Journal, key.to_bytes(), record);
}

/// At most `limit` records in order, from `start` on; go on from the last key's successor.
///
/// # Errors
/// The engine failed or a key is damaged.
pub fn read(
    view: &dyn DatabaseView,
    start: JournalKey,
    limit: usize,
) -> Result<Vec<(JournalKey, Vec<u8>)>, DatabaseError> {
    let records = view.scan(Table::Journal, &KeyRange::from(start.to_bytes()), Direction::Forward, limit)?;
    records.into_iter().map(|(key, value)| Ok((JournalKey::from_bytes(&key)?, value))).collect()
}

/// Deletes the oldest records below `end`, at most [`PRUNE_RECORDS_MAX`]; returns how many.
///
/// # Errors
/// The engine failed.
fn prune(view: &dyn DatabaseView, batch: &mut WriteBatch, end: JournalKey) -> Result<usize, DatabaseError> {
    let range = KeyRange { start: Vec::new(), end: Some(end.to_bytes()) };
    let records = view.scan(Table::Journal, &range, Direction::Forward, PRUNE_RECORDS_MAX)?;
    let count = records.len();
    for (key, _) in records {
        batch.delete(Table::Journal, key);
    }
    Ok(count)
}
