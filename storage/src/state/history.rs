//! Every value by key and height.
//!
//! A record's key is the storage key, escaped so that a key never runs into the height that follows it, and the
//! complement of the height: the latest record of a key comes first. In the escaped form a zero byte is followed by one,
//! and the end is two zero bytes; the order of storage keys is kept. An empty value is a deletion.

use crate::batch::WriteBatch;
use crate::blocks;
use crate::database::{DatabaseView, Direction, KeyRange};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::Height;
use parity_scale_codec::Encode;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// How many keys one call lists at most.
pub const KEYS_PER_CALL_MAX: usize = 1_000;
/// How many records are read at once while keys are listed or pruned.
const CHUNK: usize = 64;

/// Adds what a block changed: a record for each key. Returns about how many bytes.
pub(super) fn put<'a>(
    batch: &mut WriteBatch,
    height: Height,
    changes: impl Iterator<Item = (&'a Vec<u8>, Option<&'a Vec<u8>>)>,
) -> usize {
    let mut bytes = 0_usize;
    for (key, value) in changes {
        let (record, value) = (record_key(key, height), value.cloned().unwrap_or_default());
        bytes = bytes.saturating_add(record.len()).saturating_add(value.len());
        batch.put(Table::StateHistory, record, value);
    }
    bytes
}

/// Adds the list of keys that a block changed, by which pruning finds what they replaced.
pub(super) fn put_keys(batch: &mut WriteBatch, height: Height, keys: &[&Vec<u8>]) {
    batch.put(Table::StateKeys, height.0.to_be_bytes(), keys.encode());
}

/// The value of a key at a height.
pub(super) fn get(view: &dyn DatabaseView, key: &[u8], height: Height) -> Result<Option<Vec<u8>>, DatabaseError> {
    let range = KeyRange::between(record_key(key, height), after_key(key));
    let found = view.scan(Table::StateHistory, &range, Direction::Forward, 1)?;
    Ok(found.into_iter().next().map(|(_, value)| value).filter(|value| !value.is_empty()))
}

/// At most `count` keys with a prefix that have a value at a height, in order, after `start`.
fn keys(
    view: &dyn DatabaseView,
    height: Height,
    prefix: &[u8],
    start: Option<&[u8]>,
    count: usize,
) -> Result<Vec<Vec<u8>>, DatabaseError> {
    let count = count.min(KEYS_PER_CALL_MAX);
    let mut range = KeyRange::prefix(&escape(prefix));
    if let Some(start) = start {
        range.start = range.start.max(after_key(start));
    }
    let mut found = Vec::new();
    // The last key whose value at `height` is known.
    let mut decided = Vec::new();
    while found.len() < count && !range.is_empty() {
        let records = view.scan(Table::StateHistory, &range, Direction::Forward, CHUNK)?;
        let Some((last, _)) = records.last() else { break };
        let (last_key, _) = parse_key(last)?;
        for (record, value) in &records {
            let (key, at) = parse_key(record)?;
            if found.len() >= count || at > height || key == decided {
                continue;
            }
            if !value.is_empty() {
                found.push(key.clone());
            }
            decided = key;
        }
        // Skip the rest of a key that is decided, and of another the records above the height.
        range.start = if last_key == decided { after_key(&last_key) } else { record_key(&last_key, height) };
    }
    Ok(found)
}

/// The same with keys that later blocks touched, and whether each has a value now.
pub(super) fn keys_with(
    view: &dyn DatabaseView,
    height: Height,
    prefix: &[u8],
    start: Option<&[u8]>,
    count: usize,
    touched: &BTreeMap<Vec<u8>, bool>,
) -> Result<Vec<Vec<u8>>, DatabaseError> {
    let count = count.min(KEYS_PER_CALL_MAX);
    let mut found = Vec::new();
    let mut from = start.map(<[u8]>::to_vec);
    while found.len() < count {
        let listed = keys(view, height, prefix, from.as_deref(), count)?;
        let end = listed.last().filter(|_| listed.len() >= count).cloned();
        let after = from.as_ref().map_or(Bound::Unbounded, |from| Bound::Excluded(from.clone()));
        let until = end.clone().map_or(Bound::Unbounded, Bound::Included);
        let mut page: BTreeSet<_> = listed.into_iter().collect();
        for (key, has_value) in touched.range((after, until)) {
            if *has_value {
                page.insert(key.clone());
            } else {
                page.remove(key);
            }
        }
        found.extend(page);
        let Some(end) = end else { break };
        from = Some(end);
    }
    found.truncate(count);
    Ok(found)
}

/// Deletes what the block of `height` replaced, once no height below it is kept.
pub(super) fn prune(view: &dyn DatabaseView, batch: &mut WriteBatch, height: Height) -> Result<(), DatabaseError> {
    let keys: Option<Vec<Vec<u8>>> = blocks::read(view, Table::StateKeys, &height.0.to_be_bytes())?;
    let lost = || DatabaseError::Missing { table: Table::StateKeys, reason: format!("height {height}") };
    for key in keys.ok_or_else(lost)? {
        let mut range = KeyRange::between(record_key(&key, height), after_key(&key));
        loop {
            let records = view.scan(Table::StateHistory, &range, Direction::Forward, CHUNK)?;
            for (record, value) in &records {
                let (_, at) = parse_key(record)?;
                // A deletion with nothing below it says the same as no record.
                if at < height || value.is_empty() {
                    batch.delete(Table::StateHistory, record.clone());
                }
            }
            match records.last() {
                Some((last, _)) if records.len() == CHUNK => {
                    range.start.clone_from(last);
                    range.start.push(0);
                }
                _ => break,
            }
        }
    }
    batch.delete(Table::StateKeys, height.0.to_be_bytes());
    Ok(())
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
    record.extend_from_slice(&(!height.0).to_be_bytes());
    record
}

/// Greater than all records of `key`, and not greater than those of any key after it.
fn after_key(key: &[u8]) -> Vec<u8> {
    let mut end = escape(key);
    end.extend_from_slice(&[0, 1]);
    end
}

fn parse_key(record: &[u8]) -> Result<(Vec<u8>, Height), DatabaseError> {
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
    Ok((key, Height(!u32::from_be_bytes(*height))))
}
