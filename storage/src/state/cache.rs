//! Buckets and which of their pages stay in memory.
//!
//! A page may be dropped only while the database holds it. Pages of blocks that no checkpoint has saved, and pages that a
//! later committed version replaced, stay for as long as a version shows them.
//! The order of eviction is first in, first out with a second chance for pages that were read since.

use super::page::{Page, subtree_hash};
use super::tree::Location;
use crate::database::Database;
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::Hash;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The leaves below one node.
#[derive(Debug)]
pub(super) struct Bucket {
    touched: AtomicBool,
    residence: Mutex<Residence>,
}

#[derive(Debug)]
struct Residence {
    page: Option<Arc<Page>>,
    /// Whether the database has the page.
    saved: bool,
    /// Whether the database has, or will have, another page in its place.
    replaced: bool,
}

impl Bucket {
    /// A bucket that no database holds.
    pub(super) fn unsaved(page: Arc<Page>) -> Self {
        Self::new(Residence { page: Some(page), saved: false, replaced: false })
    }

    /// A bucket whose page is in the database.
    pub(super) const fn stored() -> Self {
        Self::new(Residence { page: None, saved: true, replaced: false })
    }

    const fn new(residence: Residence) -> Self {
        Self { touched: AtomicBool::new(false), residence: Mutex::new(residence) }
    }

    /// The page if it is in memory.
    pub(super) fn resident(&self) -> Option<Arc<Page>> {
        self.lock().page.clone()
    }

    // A panic of another thread cannot leave the two fields half written.
    fn lock(&self) -> MutexGuard<'_, Residence> {
        self.residence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Queue {
    /// Buckets with pages that may be dropped, and the bytes each was admitted with, oldest first.
    entries: VecDeque<(Weak<Bucket>, usize)>,
    bytes: usize,
}

/// Reads pages and keeps those that may be dropped within a budget.
pub(super) struct PageCache {
    database: Arc<dyn Database>,
    bytes_max: usize,
    queue: Mutex<Queue>,
}

impl PageCache {
    pub(super) fn new(database: Arc<dyn Database>, bytes_max: usize) -> Self {
        Self { database, bytes_max, queue: Mutex::default() }
    }

    /// The page of a bucket, from memory or from disk; `hash` is the subtree's, which a record from disk must give.
    pub(super) fn page(&self, bucket: &Arc<Bucket>, at: Location, hash: &Hash) -> Result<Arc<Page>, DatabaseError> {
        // The lock is held while the record is read: `pin` waits for it, so that a record that is about to be
        // overwritten is never taken for the one that follows it.
        let mut residence = bucket.lock();
        bucket.touched.store(true, Ordering::Relaxed);
        if let Some(page) = &residence.page {
            return Ok(Arc::clone(page));
        }
        let page = Arc::new(self.read(at, hash)?);
        residence.page = Some(Arc::clone(&page));
        drop(residence);
        self.admit(bucket, page.size());
        Ok(page)
    }

    fn read(&self, at: Location, hash: &Hash) -> Result<Page, DatabaseError> {
        let key = Location::page_key(&at.prefix);
        let record = self.database.get(Table::StatePages, key)?;
        let record = record
            .ok_or_else(|| DatabaseError::Missing { table: Table::StatePages, reason: format!("page {at:?}") })?;
        let page = Page::parse(record).map_err(|reason| DatabaseError::damaged(Table::StatePages, reason))?;
        if page.depth() != at.depth || subtree_hash(&page.hashes(), at.depth) != *hash {
            return Err(DatabaseError::damaged(Table::StatePages, format!("page {at:?} has another hash")));
        }
        Ok(page)
    }

    /// Keeps the page of a bucket for as long as the bucket: the database will hold another one in its place.
    pub(super) fn pin(bucket: &Bucket, page: &Arc<Page>) {
        let mut residence = bucket.lock();
        residence.page = Some(Arc::clone(page));
        residence.replaced = true;
    }

    /// Lets the page of a bucket go when memory is short, unless it was replaced: the database holds it now.
    pub(super) fn saved(&self, bucket: &Arc<Bucket>) {
        let mut residence = bucket.lock();
        residence.saved = true;
        let size = residence.page.as_ref().filter(|_| !residence.replaced).map(|page| page.size());
        drop(residence);
        if let Some(size) = size {
            self.admit(bucket, size);
        }
    }

    fn admit(&self, bucket: &Arc<Bucket>, size: usize) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.entries.push_back((Arc::downgrade(bucket), size));
        queue.bytes = queue.bytes.saturating_add(size);
        // Each entry gets one second chance at most in a call, so that the loop ends.
        let mut chances = queue.entries.len();
        while queue.bytes > self.bytes_max {
            let Some((weak, size)) = queue.entries.pop_front() else { break };
            if let Some(bucket) = weak.upgrade() {
                if chances > 0 && bucket.touched.swap(false, Ordering::Relaxed) {
                    chances = chances.saturating_sub(1);
                    queue.entries.push_back((weak, size));
                    continue;
                }
                let mut residence = bucket.lock();
                if residence.saved && !residence.replaced {
                    residence.page = None;
                }
            }
            queue.bytes = queue.bytes.saturating_sub(size);
        }
    }

    /// Bytes of pages that could be dropped.
    pub(super) fn bytes(&self) -> usize {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }
}
