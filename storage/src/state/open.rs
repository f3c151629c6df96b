//! Building the tree of the head from its pages and the diffs above them.

use super::StateError;
use super::cache::{Bucket, PageCache};
use super::diff;
use super::overlay::Changes;
use super::page::Page;
use super::store::{HistoryMode, StateConfig, StateRecord};
use super::threads::Workers;
use super::tree::{CHILDREN, Child, Location, Slot};
use super::unsaved::{Archive, ArchiveMarker, Unsaved, read_undo};
use super::update::update;
use crate::batch::WriteBatch;
use crate::database::{Database, DatabaseView, Direction, Durability, KeyRange};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::state_proof::subtree_hash;
use cairn_primitives::{Hash, Height};
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

/// What was found in the database.
pub(super) struct Opening<'a> {
    pub(super) database: &'a dyn Database,
    pub(super) cache: &'a PageCache,
    pub(super) workers: &'a Workers,
    pub(super) config: &'a StateConfig,
    /// The tree of all pages: of any mix of heights from that of the last checkpoint to the head.
    pub(super) stored: &'a Slot,
    /// The pages hold everything below this height.
    pub(super) next: Height,
}

/// The head, and what is not in the derived tables yet.
pub(super) struct Opened {
    pub(super) root: Slot,
    pub(super) unsaved: Unsaved,
}

impl Opening<'_> {
    /// Applies the diffs that the pages and the archive may not hold.
    pub(super) fn replay(self, record: &StateRecord) -> Result<Opened, StateError> {
        let mut opened = Opened { root: self.stored.clone(), unsaved: Unsaved::default() };
        let marker = ArchiveMarker::read(self.database)?;
        if self.config.history == HistoryMode::Archive {
            return self.replay_archive(record, marker, opened);
        }
        opened.unsaved.archive = marker.map(|marker| Archive::new(marker, None));
        let mut changes = Changes::new();
        for height in (self.next.0..=record.height.0).map(Height) {
            let diff = diff::read(self.database, height)?;
            changes.extend(diff.into_iter().map(|change| (change.key, change.new)));
        }
        self.take_back(record.height.next(), self.top(record)?, &mut changes)?;
        self.apply(&mut opened, &changes)?;
        Ok(opened)
    }

    /// The highest block that the pages may be of: above the head while blocks are taken back.
    fn top(&self, record: &StateRecord) -> Result<Height, StateError> {
        Ok(read_undo(self.database)?.map_or(record.height, |top| top.max(record.height)))
    }

    /// Adds what brings the keys that blocks changed back to what they were below `first`.
    fn take_back(&self, first: Height, last: Height, changes: &mut Changes) -> Result<(), StateError> {
        for height in (first.0..=last.0).rev().map(Height) {
            let diff = diff::read(self.database, height)?;
            changes.extend(diff.into_iter().map(|change| (change.key, change.old)));
        }
        Ok(())
    }

    /// The same where the archive needs the tree after each block as it was.
    fn replay_archive(
        self,
        record: &StateRecord,
        marker: Option<ArchiveMarker>,
        mut opened: Opened,
    ) -> Result<Opened, StateError> {
        let marker = match marker.filter(|marker| marker.height >= record.lowest) {
            Some(marker) => ArchiveMarker { from: marker.from.max(record.lowest), ..marker },
            // The archive begins now, in place of any older one.
            None => {
                let mut batch = WriteBatch::new();
                ArchiveMarker::clear(&mut batch);
                self.database.write(batch, Durability::Derived)?;
                ArchiveMarker { from: record.lowest, height: record.lowest }
            }
        };
        // The tree that the archive is at: what later blocks may have made of the pages is taken back.
        let mut changes = Changes::new();
        for height in (self.next.0..=marker.height.0).map(Height) {
            let diff = diff::read(self.database, height)?;
            changes.extend(diff.into_iter().map(|change| (change.key, change.new)));
        }
        self.take_back(marker.height.next(), self.top(record)?, &mut changes)?;
        self.apply(&mut opened, &changes)?;
        let mut archive = Archive::new(marker, Some(opened.root.clone()));
        for height in (marker.height.next().0..=record.height.0).map(Height) {
            let diff = diff::read(self.database, height)?;
            let changes = diff.into_iter().map(|change| (change.key, change.new)).collect();
            let before = opened.root.clone();
            let kept = self.apply(&mut opened, &changes)?;
            archive.push(height, before, opened.root.clone(), kept);
            while archive.exceeds(self.config.unsaved.bytes, usize::MAX) {
                let mut batch = WriteBatch::new();
                let bytes = self.config.unsaved.chunk_bytes;
                let height = archive.chunk().put(self.database, self.cache, bytes, &mut batch)?;
                self.database.write(batch, Durability::Derived)?;
                archive.advance(height);
            }
        }
        opened.unsaved.archive = Some(archive);
        Ok(opened)
    }

    /// Applies changes; returns about how many bytes the tree before keeps in memory for itself alone.
    fn apply(&self, opened: &mut Opened, changes: &Changes) -> Result<usize, StateError> {
        let updated = update(self.workers, self.cache, &opened.root, changes)?;
        updated.pages.gone.iter().for_each(|(bucket, page)| self.cache.pin(bucket, page));
        let bytes = changes.iter().map(|(key, value)| key.len().saturating_add(value.as_ref().map_or(0, Vec::len)));
        opened.unsaved.push(bytes.fold(0, usize::saturating_add), &updated.pages);
        self.cache.add_unsaved(updated.pages.new_bytes);
        opened.root = updated.root;
        Ok(updated.pages.gone_bytes)
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
