//! The keys of the state, in order: at the head from table `state_keys`, at a past height with what later blocks changed
//! undone.
//!
//! Table `state_keys` has under each storage key of the head nothing, or the value where it is longer than a page takes.

use super::diff;
use super::history::{self, KEYS_PER_CALL_MAX};
use super::page::INLINE_VALUE_MAX;
use super::store::StateRecord;
use super::unsaved::ArchiveMarker;
use crate::batch::WriteBatch;
use crate::database::{Database, DatabaseView, Direction, KeyRange};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::Height;
use std::collections::{BTreeMap, BTreeSet};

/// Puts the record of a key whose value is this now, or deletes it.
pub(super) fn put(batch: &mut WriteBatch, key: &[u8], value: Option<&[u8]>) {
    match value {
        Some(value) if value.len() > INLINE_VALUE_MAX => batch.put(Table::StateKeys, key, value),
        Some(_) => batch.put(Table::StateKeys, key, []),
        None => batch.delete(Table::StateKeys, key),
    }
}

/// Keys in order, and the last one if there may be more.
type Page = (BTreeSet<Vec<u8>>, Option<Vec<u8>>);

/// The keys with a prefix at one height.
pub(super) struct Keys<'a> {
    /// One version of the database.
    view: Box<dyn DatabaseView + 'a>,
    /// The head of it.
    head: Height,
    archived: Option<ArchiveMarker>,
    height: Height,
    prefix: &'a [u8],
}

impl<'a> Keys<'a> {
    pub(super) fn new(
        database: &'a dyn Database,
        archived: Option<ArchiveMarker>,
        height: Height,
        prefix: &'a [u8],
    ) -> Result<Self, DatabaseError> {
        let view = database.snapshot();
        let head = StateRecord::read(&*view)?.map_or(height, |record| record.height);
        Ok(Self { view, head, archived, height, prefix })
    }

    /// At most `count` keys after `start`, in order.
    pub(super) fn list(&self, start: Option<&[u8]>, count: usize) -> Result<Vec<Vec<u8>>, DatabaseError> {
        let count = count.min(KEYS_PER_CALL_MAX);
        let mut found = Vec::new();
        let mut from = start.map(<[u8]>::to_vec);
        while found.len() < count {
            let (mut page, mut end) = self.at_head(from.as_deref(), count)?;
            let then = self.before_changes(from.as_deref(), &mut end, count)?;
            if let Some(end) = &end {
                page.retain(|key| key <= end);
            }
            for (key, had_value) in then {
                if had_value {
                    page.insert(key);
                } else {
                    page.remove(&key);
                }
            }
            found.extend(page);
            if end.is_none() {
                break;
            }
            from = end;
        }
        found.truncate(count);
        Ok(found)
    }

    /// The next keys of the head.
    fn at_head(&self, start: Option<&[u8]>, count: usize) -> Result<Page, DatabaseError> {
        let mut range = KeyRange::prefix(self.prefix);
        if let Some(start) = start {
            range.start = range.start.max([start, &[0]].concat());
        }
        let records = self.view.scan(Table::StateKeys, &range, Direction::Forward, count)?;
        let end = records.last().filter(|_| records.len() >= count).map(|(key, _)| key.clone());
        Ok((records.into_iter().map(|(key, _)| key).collect(), end))
    }

    /// Keys after `start`, up to `end`, that blocks above the height changed, and whether each had a value at the height.
    /// Moves `end` where there would be too many.
    fn before_changes(
        &self,
        start: Option<&[u8]>,
        end: &mut Option<Vec<u8>>,
        count: usize,
    ) -> Result<BTreeMap<Vec<u8>, bool>, DatabaseError> {
        let mut keys = BTreeMap::new();
        let mut next = self.height.next();
        if let Some(archived) = self.archived.filter(|archived| archived.holds_changes_of(next)) {
            let found = history::changed(&*self.view, self.height, self.prefix, start, end.as_deref(), count)?;
            (keys, *end) = (found.keys, found.end);
            next = archived.height.next();
        }
        let first = start.map_or(self.prefix, |start| start.max(self.prefix));
        let last = end.clone().or_else(|| KeyRange::prefix(self.prefix).end);
        // The first block that changed a key tells what was there.
        for height in (next.0..=self.head.0).map(Height) {
            for change in diff::read_range(&*self.view, height, first, last.as_deref())? {
                let is_within = change.key.starts_with(self.prefix)
                    && start.is_none_or(|start| change.key.as_slice() > start)
                    && end.as_ref().is_none_or(|end| change.key <= *end);
                if is_within {
                    keys.entry(change.key).or_insert(change.old.is_some());
                }
            }
        }
        Ok(keys)
    }
}
