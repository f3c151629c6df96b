//! Buckets and which of their pages stay in memory.
//!
//! A page may be dropped only while the database holds it. Pages that changed since a checkpoint saved them, and pages of
//! buckets that a later committed version has no more, stay for as long as a version shows them. One budget is for all pages of
//! the head: those that are saved have the room that the others leave them.
//! The order of eviction is first in, first out with a second chance for pages that were read since.

use super::page::{Page, PageMut};
use super::tree::Location;
use crate::database::Database;
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::Hash;
use cairn_primitives::state_proof::subtree_hash;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The leaves below one node.
#[derive(Debug)]
pub(super) struct Bucket {
    residence: Mutex<Residence>,
}

#[cfg(target_os = "linux")]
const _: () = assert!(size_of::<Bucket>() <= 48, "with the counts of its owners a bucket has 64 bytes: one cache line");

#[derive(Debug)]
struct Residence {
    page: Option<Page>,
    /// Whether it was read since the queue was last there.
    is_touched: bool,
    /// Whether the database has the page as it is.
    saved: bool,
    /// Whether the database has, or will have, another page in its place.
    replaced: bool,
    /// How often the page was changed: what a checkpoint saved may be behind.
    changes: u32,
    /// Whether the bucket stands in the queue.
    is_queued: bool,
    /// What the page adds to the bytes of the queue; zero for a page that may not be dropped.
    counted: u32,
}

impl Residence {
    /// Counts the page; returns what it adds to the bytes of the queue.
    fn count(&mut self) -> usize {
        // A page holds far less than 4 GiB.
        self.counted = self.page.as_ref().map_or(0, |page| u32::try_from(page.size()).unwrap_or(u32::MAX));
        self.counted as usize
    }

    /// Counts the page no more; returns what it added to the bytes of the queue.
    const fn uncount(&mut self) -> usize {
        std::mem::replace(&mut self.counted, 0) as usize
    }
}

impl Bucket {
    /// A bucket that no database holds.
    pub(super) fn unsaved(page: Page) -> Self {
        Self::new(Some(page), false)
    }

    /// A bucket whose page is in the database.
    pub(super) const fn stored() -> Self {
        Self::new(None, true)
    }

    const fn new(page: Option<Page>, saved: bool) -> Self {
        let (is_touched, replaced, is_queued) = (false, false, false);
        let residence = Residence { page, is_touched, saved, replaced, changes: 0, is_queued, counted: 0 };
        Self { residence: Mutex::new(residence) }
    }

    /// The page and how often it was changed, if the database does not hold it as it is.
    pub(super) fn unsaved_page(&self) -> Option<(Page, u32)> {
        let residence = self.lock();
        residence.page.clone().filter(|_| !residence.saved).map(|page| (page, residence.changes))
    }

    /// Does something with the page, if it is in memory.
    pub(super) fn with_page(&self, work: impl FnOnce(&Page)) {
        if let Some(page) = &self.lock().page {
            work(page);
        }
    }

    /// Changes the page, which has left memory unless it is the one that is given; in place where nobody else reads it.
    pub(super) fn change(&self, known: Option<Page>, swapped: &mut Swapped, change: impl FnOnce(&mut PageMut<'_>)) {
        let mut residence = self.lock();
        let page = match (residence.page.take(), known) {
            (Some(page), known) => {
                drop(known);
                Some(page)
            }
            (None, known) => known,
        };
        let Some(mut page) = page else { return };
        change(&mut page.change());
        if std::mem::replace(&mut residence.saved, false) {
            swapped.unsaved_bytes = swapped.unsaved_bytes.saturating_add(page.size());
        }
        let counted = residence.uncount();
        swapped.left = swapped.left.saturating_add(usize::from(counted > 0));
        swapped.left_bytes = swapped.left_bytes.saturating_add(counted);
        residence.changes = residence.changes.wrapping_add(1);
        residence.page = Some(page);
    }

    // A panic of another thread cannot leave the fields half written.
    fn lock(&self) -> MutexGuard<'_, Residence> {
        self.residence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What changes of pages in place mean for the budget.
#[derive(Debug, Default)]
pub(super) struct Swapped {
    /// Bytes of pages that the database does not hold as they are any more.
    unsaved_bytes: usize,
    /// Pages that left the queue.
    left: usize,
    /// Their bytes.
    left_bytes: usize,
}

impl Swapped {
    /// Adds what another thread did.
    pub(super) fn add(&mut self, other: &Self) {
        self.unsaved_bytes = self.unsaved_bytes.saturating_add(other.unsaved_bytes);
        self.left = self.left.saturating_add(other.left);
        self.left_bytes = self.left_bytes.saturating_add(other.left_bytes);
    }
}

#[derive(Debug, Default)]
struct Queue {
    /// Buckets with pages that may be dropped, oldest first, and some that have none any more.
    entries: VecDeque<Weak<Bucket>>,
    /// How many have one.
    counted: usize,
    /// The bytes of these.
    bytes: usize,
}

impl Queue {
    fn leave(&mut self, pages: usize, bytes: usize) {
        self.counted = self.counted.saturating_sub(pages);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Entries of buckets without a page that may be dropped are swept out once there are so many more than others.
const STALE_ENTRIES_MIN: usize = 1_024;

/// Reads pages and keeps those that may be dropped within a budget.
pub(super) struct PageCache {
    database: Arc<dyn Database>,
    bytes_max: usize,
    queue: Mutex<Queue>,
    /// Bytes of pages of the head that the database does not hold.
    unsaved: AtomicUsize,
}

impl PageCache {
    pub(super) fn new(database: Arc<dyn Database>, bytes_max: usize) -> Self {
        Self { database, bytes_max, queue: Mutex::default(), unsaved: AtomicUsize::new(0) }
    }

    /// The page of a bucket, from memory or from disk; `hash` is the subtree's, which a record from disk must give.
    pub(super) fn page(&self, bucket: &Arc<Bucket>, at: Location, hash: &Hash) -> Result<Page, DatabaseError> {
        // The lock is held while the record is read: `pin` waits for it, so that a record that is about to be
        // overwritten is never taken for the one that follows it.
        let mut residence = bucket.lock();
        residence.is_touched = true;
        if let Some(page) = &residence.page {
            return Ok(page.clone());
        }
        let page = self.read(at, hash)?;
        residence.page = Some(page.clone());
        self.admit(bucket, residence);
        Ok(page)
    }

    /// Keeps the page of a stored bucket that was just read, if there is room.
    pub(super) fn keep(&self, bucket: &Arc<Bucket>, page: Page) {
        if self.bytes().saturating_add(page.size()) <= self.room() {
            let mut residence = bucket.lock();
            residence.page = Some(page);
            self.admit(bucket, residence);
        }
    }

    fn read(&self, at: Location, hash: &Hash) -> Result<Page, DatabaseError> {
        let key = Location::page_key(&at.prefix);
        let record = self.database.get(Table::StatePages, key)?;
        let record = record
            .ok_or_else(|| DatabaseError::Missing { table: Table::StatePages, reason: format!("page {at:?}") })?;
        let page = Page::parse(&record).map_err(|reason| DatabaseError::damaged(Table::StatePages, reason))?;
        if page.depth() != at.depth || subtree_hash(&page.hashes(), at.depth) != *hash {
            return Err(DatabaseError::damaged(Table::StatePages, format!("page {at:?} has another hash")));
        }
        Ok(page)
    }

    /// Bytes of pages of the head that the database does not hold.
    pub(super) fn unsaved(&self) -> usize {
        self.unsaved.load(Ordering::Relaxed)
    }

    /// A version with so many bytes of new pages is the head now: they take their room from those that may be dropped.
    pub(super) fn add_unsaved(&self, bytes: usize) {
        self.unsaved.fetch_add(bytes, Ordering::Relaxed);
        let mut queue = self.queue();
        if queue.bytes > self.room() {
            self.evict(&mut queue);
        }
    }

    /// Keeps the page of a bucket for as long as the bucket: the database will hold another one in its place.
    pub(super) fn pin(&self, bucket: &Bucket, page: &Page) {
        let mut residence = bucket.lock();
        residence.page = Some(page.clone());
        if !residence.saved && !residence.replaced {
            self.unsaved.fetch_sub(page.size(), Ordering::Relaxed);
        }
        residence.replaced = true;
        let counted = residence.uncount();
        drop(residence);
        if counted > 0 {
            self.queue().leave(1, counted);
        }
    }

    /// Pages of the head were changed in place.
    pub(super) fn swapped(&self, swapped: &Swapped) {
        self.unsaved.fetch_add(swapped.unsaved_bytes, Ordering::Relaxed);
        self.queue().leave(swapped.left, swapped.left_bytes);
    }

    /// Lets the page of a bucket go when memory is short, unless it was replaced or changed again: the database holds it now.
    pub(super) fn saved(&self, bucket: &Arc<Bucket>, changes: u32) {
        let mut residence = bucket.lock();
        if residence.changes != changes {
            return;
        }
        let was_saved = std::mem::replace(&mut residence.saved, true);
        if residence.replaced || was_saved {
            return;
        }
        if let Some(page) = &residence.page {
            self.unsaved.fetch_sub(page.size(), Ordering::Relaxed);
            self.admit(bucket, residence);
        }
    }

    /// What is left of the budget for pages that may be dropped: never nothing, for they are in use.
    fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.unsaved()).max(self.bytes_max / 8)
    }

    /// Counts the page of a bucket among those that may be dropped, and drops what is too much.
    fn admit(&self, bucket: &Arc<Bucket>, mut residence: MutexGuard<'_, Residence>) {
        let before = residence.uncount();
        let size = residence.count();
        let was_queued = std::mem::replace(&mut residence.is_queued, true);
        let mut queue = self.queue();
        queue.leave(usize::from(before > 0), before);
        queue.counted = queue.counted.saturating_add(1);
        queue.bytes = queue.bytes.saturating_add(size);
        if !was_queued {
            queue.entries.push_back(Arc::downgrade(bucket));
        }
        // Who holds the queue takes no bucket that another thread may hold while it waits for the queue.
        drop(residence);
        self.evict(&mut queue);
        if queue.entries.len() > queue.counted.saturating_mul(2).saturating_add(STALE_ENTRIES_MIN) {
            // One that is in use just now may be counted.
            let is_counted = |bucket: Arc<Bucket>| {
                bucket.residence.try_lock().map_or(true, |mut residence| {
                    residence.is_queued = residence.counted > 0;
                    residence.is_queued
                })
            };
            queue.entries.retain(|entry| entry.upgrade().is_some_and(is_counted));
        }
    }

    fn evict(&self, queue: &mut Queue) {
        // Each entry is looked at twice at most in a call, so that the loop ends.
        let mut left = queue.entries.len().saturating_mul(2);
        let room = self.room();
        while queue.bytes > room && left > 0 {
            left = left.saturating_sub(1);
            let Some(entry) = queue.entries.pop_front() else { break };
            let Some(bucket) = entry.upgrade() else { continue };
            // A bucket that is in use just now has a second chance too.
            let Ok(mut residence) = bucket.residence.try_lock() else {
                queue.entries.push_back(entry);
                continue;
            };
            if std::mem::take(&mut residence.is_touched) && residence.counted > 0 {
                drop(residence);
                queue.entries.push_back(entry);
                continue;
            }
            let counted = residence.uncount();
            residence.is_queued = false;
            if counted > 0 && residence.saved && !residence.replaced {
                residence.page = None;
            }
            drop(residence);
            queue.leave(usize::from(counted > 0), counted);
        }
    }

    // A panic of another thread cannot leave the counts far from the truth.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of pages that could be dropped.
    pub(super) fn bytes(&self) -> usize {
        self.queue().bytes
    }
}
