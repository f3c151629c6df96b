//! What blocks replaced, by key: the values of an archive.
//!
//! Table `state_history` has under a storage key and a height the value that the block of the height replaced, empty where
//! there was none. So a value at a height is that of the first record above it, and where there is none it is the one that
//! was there when the archive had followed the head: an archive begins at any height without a copy of the state.
//!
//! A record's key is the storage key, escaped so that a key never runs into the height that follows it, and the height.
//! In the escaped form a zero byte is followed by one, and the end is two zero bytes; the order of storage keys is kept.

use super::diff::KeyChange;
use crate::batch::WriteBatch;
use crate::database::{DatabaseView, Direction, KeyRange};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::Height;
use cairn_primitives::state_proof::KEY_BYTES_MAX;
use std::collections::BTreeMap;

/// How many keys one call lists at most.
pub const KEYS_PER_CALL_MAX: usize = 1_000;
/// How many records are read at once while keys are listed.
const CHUNK: usize = 64;

/// Adds what a block replaced: a record for each key. Returns about how many bytes.
pub(super) fn put(batch: &mut WriteBatch, height: Height, changes: &[KeyChange]) -> usize {
    let mut bytes = 0_usize;
    for KeyChange { key, old, .. } in changes {
        let (record, value) = (record_key(key, height), old.clone().unwrap_or_default());
        bytes = bytes.saturating_add(record.len()).saturating_add(value.len());
        batch.put(Table::StateHistory, record, value);
    }
    bytes
}

/// What the first block above a height that changed a key replaced, if one did.
pub(super) fn replaced(
    view: &dyn DatabaseView,
    key: &[u8],
    height: Height,
) -> Result<Option<Option<Vec<u8>>>, DatabaseError> {
    let range = KeyRange::between(record_key(key, height.next()), after_key(key));
    let found = view.scan(Table::StateHistory, &range, Direction::Forward, 1)?;
    Ok(found.into_iter().next().map(|(_, value)| (!value.is_empty()).then_some(value)))
}

/// Keys with a prefix that blocks above a height changed.
pub(super) struct Changed {
    /// Each key, and whether it had a value at the height.
    pub(super) keys: BTreeMap<Vec<u8>, bool>,
    /// Keys after this one were not looked at.
    pub(super) end: Option<Vec<u8>>,
}

/// Keys with a prefix, after `start`, up to `end`, that blocks above a height changed; at most `count` that had a value.
pub(super) fn changed(
    view: &dyn DatabaseView,
    height: Height,
    prefix: &[u8],
    start: Option<&[u8]>,
    end: Option<&[u8]>,
    count: usize,
) -> Result<Changed, DatabaseError> {
    let mut range = KeyRange::prefix(&escape(prefix));
    if let Some(start) = start {
        range.start = range.start.max(after_key(start));
    }
    if let Some(end) = end {
        range.end = Some(after_key(end));
    }
    let mut changed = Changed { keys: BTreeMap::new(), end: end.map(<[u8]>::to_vec) };
    let mut with_value = 0_usize;
    while !range.is_empty() {
        let records = view.scan(Table::StateHistory, &range, Direction::Forward, CHUNK)?;
        let Some((last, _)) = records.last() else { break };
        let (last_key, _) = parse_key(last)?;
        for (record, value) in &records {
            let (key, at) = parse_key(record)?;
            if at <= height || changed.keys.contains_key(&key) {
                continue;
            }
            changed.keys.insert(key.clone(), !value.is_empty());
            with_value = with_value.saturating_add(usize::from(!value.is_empty()));
            if with_value >= count {
                changed.end = Some(key);
                return Ok(changed);
            }
        }
        // Skip the rest of a key that is decided, and of another the records up to the height.
        range.start = if changed.keys.contains_key(&last_key) {
            after_key(&last_key)
        } else {
            record_key(&last_key, height.next())
        };
    }
    Ok(changed)
}

/// Deletes what the block of a height added for these keys.
pub(super) fn take_back(batch: &mut WriteBatch, height: Height, keys: &[Vec<u8>]) {
    for key in keys {
        batch.delete(Table::StateHistory, record_key(key, height));
    }
}

/// Deletes everything: the node is an archive no more.
pub(super) fn clear(batch: &mut WriteBatch) {
    // Longer than any escaped key with its height.
    batch.delete_range(Table::StateHistory, [], vec![u8::MAX; KEY_BYTES_MAX.saturating_mul(2).saturating_add(8)]);
}

fn escape(key: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(key.len().saturating_add(8));
    for byte in key {
        escaped.push(*byte);
        if *byte == 0 {
            escaped.push(1);
        }
    }
    escaped
}

fn record_key(key: &[u8], height: Height) -> Vec<u8> {
    let mut record = escape(key);
    record.extend_from_slice(&[0, 0]);
    record.extend_from_slice(&height.0.to_be_bytes());
    record
}

/// Greater than all records of `key`, and not greater than those of any key after it.
fn after_key(key: &[u8]) -> Vec<u8> {
    let mut end = escape(key);
    end.extend_from_slice(&[0, 1]);
    end
}

pub(super) fn parse_key(record: &[u8]) -> Result<(Vec<u8>, Height), DatabaseError> {
    let damaged = || DatabaseError::damaged(Table::StateHistory, "a key is not a storage key and a height");
    let (rest, height) = record.split_last_chunk::<4>().ok_or_else(damaged)?;
    let escaped = rest.strip_suffix(&[0, 0]).ok_or_else(damaged)?;
    let mut key = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(byte) = bytes.next() {
        key.push(*byte);
        if *byte == 0 && bytes.next() != Some(&1) {
            return Err(damaged());
        }
    }
    Ok((key, Height(u32::from_be_bytes(*height))))
}
