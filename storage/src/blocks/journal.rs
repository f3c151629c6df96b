//! The journal of the consensus engine: opaque records in the order they were written.
//!
//! The driver appends the records of one turn and syncs once before it sends anything.

use crate::batch::WriteBatch;
use crate::database::{DatabaseView, Direction, KeyRange};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::Epoch;

/// How many records one call of [`prune`] deletes at most, so that it stays short.
pub const PRUNE_RECORDS_MAX: usize = 1_024;

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

/// The last record's key, or `None` in an empty journal.
///
/// # Errors
/// The engine failed or the key is damaged.
pub fn last(view: &dyn DatabaseView) -> Result<Option<JournalKey>, DatabaseError> {
    let records = view.scan(Table::Journal, &KeyRange::all(), Direction::Backward, 1)?;
    records.first().map(|(key, _)| JournalKey::from_bytes(key)).transpose()
}

/// Deletes the oldest records below `end`, at most [`PRUNE_RECORDS_MAX`]; returns how many.
///
/// # Errors
/// The engine failed.
pub fn prune(view: &dyn DatabaseView, batch: &mut WriteBatch, end: JournalKey) -> Result<usize, DatabaseError> {
    let range = KeyRange { start: Vec::new(), end: Some(end.to_bytes()) };
    let records = view.scan(Table::Journal, &range, Direction::Forward, PRUNE_RECORDS_MAX)?;
    let count = records.len();
    for (key, _) in records {
        batch.delete(Table::Journal, key);
    }
    Ok(count)
}
