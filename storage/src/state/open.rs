//! Building the tree of the head from its pages and the diffs above them.

use super::StateError;
use super::cache::{Bucket, PageCache};
use super::diff;
use super::page::Page;
use super::store::{StateRecord, StateStore};
use super::tree::{CHILDREN, Child, Location, Slot};
use super::unsaved::{Archive, ArchiveMarker, read_undo};
use crate::batch::WriteBatch;
use crate::database::{DatabaseView, Direction, Durability, KeyRange};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::state_proof::subtree_hash;
use cairn_primitives::{Hash, Height, StateChanges};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many pages are read at once.
const CHUNK: usize = 1_024;

/// A page and what was found out about it.
pub(super) struct Summary {
    at: Location,
    hash: Hash,
    pub(super) leaves: u16,
    page: Page,
}

/// Streams over the pages, which lie in the order of their prefixes.
struct Pages<'a> {
    view: &'a dyn DatabaseView,
    cache: &'a PageCache,
    range: KeyRange,
    ahead: std::vec::IntoIter<(Vec<u8>, Vec<u8>)>,
    next: Option<Summary>,
}

/// The tree of all pages; every page's place and hash is recomputed, they stay in memory while there is
/// room.
pub(super) fn build(view: &dyn DatabaseView, cache: &PageCache) -> Result<Slot, StateError> {
    let mut pages = Pages { view, cache, range: KeyRange::all(), ahead: Vec::new().into_iter(), next: None };
    pages.advance()?;
    let root = pages.subtree(Location::ROOT)?;
    match pages.next {
        None => Ok(root),
        Some(page) => Err(damaged(&page).into()),
    }
}

impl StateStore {
    /// Applies the diffs that the pages, which hold everything below `next`, and the archive may not hold: the pages are of any
    /// mix of heights from there to the head.
    pub(super) fn replay(&self, record: &StateRecord, next: Height) -> Result<(), StateError> {
        let marker = ArchiveMarker::read(&*self.shared.database)?;
        if self.shared.is_archive() {
            return self.replay_archive(record, marker, next);
        }
        self.bring_to(record, next, record.height)?;
        self.shared.unsaved_mut().archive = marker.map(|marker| Archive::new(marker, None));
        Ok(())
    }

    /// The same where the archive needs the tree after each block as it was.
    fn replay_archive(
        &self,
        record: &StateRecord,
        marker: Option<ArchiveMarker>,
        next: Height,
    ) -> Result<(), StateError> {
        let marker = match marker.filter(|marker| marker.height >= record.lowest) {
            Some(marker) => ArchiveMarker { from: marker.from.max(record.lowest), ..marker },
            // The archive begins now, in place of any older one.
            None => {
                let mut batch = WriteBatch::new();
                ArchiveMarker::clear(&mut batch);
                self.shared.database.write(batch, Durability::Derived)?;
                ArchiveMarker { from: record.lowest, height: record.lowest }
            }
        };
        // The tree that the archive is at.
        self.bring_to(record, next, marker.height)?;
        let version = Arc::clone(&self.shared.current().head);
        self.shared.unsaved_mut().archive = Some(Archive::new(marker, Some(version)));
        let checkpointer = self.checkpointer();
        for height in (marker.height.next().0..=record.height.0).map(Height) {
            let diff = diff::read(&*self.shared.database, height)?;
            let changes = diff.into_iter().map(|change| (change.key, change.new)).collect();
            self.replay_changes(record, height, changes)?;
            let bytes = self.shared.limits().archive_bytes;
            let exceeds =
                || self.shared.unsaved().archive.as_ref().is_some_and(|archive| archive.exceeds(bytes, usize::MAX));
            while exceeds() {
                checkpointer.archive_chunk()?;
            }
        }
        Ok(())
    }

    /// Makes of the tree of all pages that of a height: what later blocks may have made of them is taken back.
    fn bring_to(&self, record: &StateRecord, next: Height, height: Height) -> Result<(), StateError> {
        let database = &*self.shared.database;
        let mut changes = BTreeMap::new();
        for height in (next.0..=height.0).map(Height) {
            let diff = diff::read(database, height)?;
            changes.extend(diff.into_iter().map(|change| (change.key, change.new)));
        }
        // The highest block that the pages may be of: above the head while blocks are taken back.
        let top = read_undo(database)?.map_or(record.height, |top| top.max(record.height));
        for height in (height.next().0..=top.0).rev().map(Height) {
            let diff = diff::read(database, height)?;
            changes.extend(diff.into_iter().map(|change| (change.key, change.old)));
        }
        self.replay_changes(record, height, changes.into_iter().collect())
    }

    fn replay_changes(&self, record: &StateRecord, height: Height, changes: StateChanges) -> Result<(), StateError> {
        let bytes = changes.bytes();
        let overlay = self.overlay(None, changes)?;
        overlay.pages.gone.iter().for_each(|(bucket, page)| self.shared.cache.pin(bucket, page));
        drop(self.advance(&overlay, height, record.lowest, bytes));
        Ok(())
    }
}

fn damaged(page: &Summary) -> DatabaseError {
    DatabaseError::damaged(Table::StatePages, format!("page {:?} lies below another page", page.at))
}

impl Pages<'_> {
    fn subtree(&mut self, at: Location) -> Result<Slot, StateError> {
        let Some(page) = self.next.take_if(|page| at.contains(&page.at.prefix)) else { return Ok(Slot::EMPTY) };
        if page.at == at {
            self.advance()?;
            let bucket = Arc::new(Bucket::stored());
            self.cache.keep(&bucket, page.page);
            return Ok(Slot { hash: page.hash, child: Child::Bucket(page.leaves, bucket) });
        }
        if page.at.depth <= at.depth {
            return Err(damaged(&page).into());
        }
        self.next = Some(page);
        let mut slots = [Slot::EMPTY; CHILDREN];
        for (index, slot) in slots.iter_mut().enumerate() {
            *slot = self.subtree(at.child(index))?;
        }
        Ok(Slot::node(slots))
    }

    fn advance(&mut self) -> Result<(), StateError> {
        if self.ahead.len() == 0 {
            let records = self.view.scan(Table::StatePages, &self.range, Direction::Forward, CHUNK)?;
            if let Some((last, _)) = records.last() {
                self.range.start.clone_from(last);
                self.range.start.push(0);
            }
            self.ahead = records.into_iter();
        }
        self.next = self.ahead.next().map(|(key, record)| summarize(&key, &record)).transpose()?;
        Ok(())
    }
}

pub(super) fn summarize(key: &[u8], record: &[u8]) -> Result<Summary, DatabaseError> {
    let page = Page::parse(record).map_err(|reason| DatabaseError::damaged(Table::StatePages, reason))?;
    let mut prefix = Hash::ZERO;
    let place = prefix.0.get_mut(..key.len());
    place.ok_or_else(|| DatabaseError::damaged(Table::StatePages, "a key is longer than a hash"))?.copy_from_slice(key);
    let at = Location { prefix, depth: page.depth() };
    let hashes = page.hashes();
    if hashes.iter().any(|(key_hash, _)| !at.contains(key_hash)) {
        return Err(DatabaseError::damaged(Table::StatePages, format!("page {at:?} holds a leaf of another page")));
    }
    let leaves = u16::try_from(hashes.len()).unwrap_or(u16::MAX);
    Ok(Summary { at, hash: subtree_hash(&hashes, at.depth), leaves, page })
}
