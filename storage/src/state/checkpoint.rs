//! Checkpoints: pages and the archive follow the committed blocks, off their way.
//!
//! ```text
//!  commit of a block ──► log: block, head, diff, keys      (synced: all that a crash must leave)
//!        │ later, in chunks, not logged
//!        ├──► archive: what blocks replaced, up to a height
//!        └──► pages of the head, region by region ──► marker ──► flush
//! ```
//! - A *checkpoint* of the pages walks the tree of the head and writes those that are not on disk. It ends with a *marker*: the
//!   pages hold everything below a height. Chunks are not logged: a crash may take any number of the last ones. Opening
//!   applies the diffs from the marker on again.
//! - A chunk holds whole regions of [`REGION_BITS`] bits, each as it is in the head when it is written: what is on disk in
//!   between is a mix of heights in which no leaf is missing, and the diffs bring every leaf to its last value. Where the
//!   tree is not that deep everywhere, all pages are one chunk.
//! - Diffs are deleted once what follows from them is on disk and they have left the window.
//! - Whoever has time drives [`Checkpointer::step`]: a thread of the node, or the writer itself when too much is unsaved.

use super::StateError;
use super::cache::Bucket;
use super::shared::Shared;
use super::tree::{Child, Location, NODE_BITS, Slot, child_index};
use super::unsaved::{Archive, ArchiveMarker, first_of_region, put_checkpoint};
use crate::batch::WriteBatch;
use crate::database::Durability;
use crate::table::Table;
use cairn_primitives::Height;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A region of the tree is all that shares so many first bits of the key hash.
const REGION_BITS: u16 = 8;
/// How long a checkpointer sleeps at most.
const NAP: Duration = Duration::from_secs(1);

/// How much may be unsaved before a checkpoint is due; the writer helps at twice that, or when pages fill the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointLimits {
    /// Bytes of pages that are not on disk.
    pub bytes: usize,
    /// Bytes of trees that wait for the archive.
    pub archive_bytes: usize,
    /// Bytes of diffs that opening would have to apply, as they are in memory.
    pub diff_bytes: usize,
    /// Blocks.
    pub blocks: usize,
    /// Bytes of one write.
    pub chunk_bytes: usize,
}

impl Default for CheckpointLimits {
    fn default() -> Self {
        Self { bytes: 16 << 20, archive_bytes: 16 << 20, diff_bytes: 256 << 20, blocks: 4_096, chunk_bytes: 1 << 20 }
    }
}

impl CheckpointLimits {
    /// What the writer does not go beyond: twice as much, and of pages no more than the cache holds, unless that is hardly more
    /// than what is due anyway.
    pub(super) fn utmost(self, cache_bytes: usize) -> Self {
        let full = cache_bytes.max(self.bytes.saturating_add(self.bytes / 3));
        Self {
            bytes: self.bytes.saturating_mul(2).min(full),
            archive_bytes: self.archive_bytes.saturating_mul(2),
            diff_bytes: self.diff_bytes.saturating_mul(2),
            blocks: self.blocks.saturating_mul(2),
            chunk_bytes: self.chunk_bytes,
        }
    }
}

/// A checkpoint of the pages under way.
struct Job {
    /// What its marker will say.
    next: Height,
    /// The first region that is not written.
    region: u16,
    /// Whether all regions were written apart.
    is_full: bool,
}

/// What is on disk.
pub(super) struct Progress {
    job: Option<Job>,
    /// What the last marker says.
    next: Height,
    /// Whether the pages on disk lie in whole regions.
    is_full: bool,
}

/// The checkpointing half of [`Shared`].
pub(super) struct Checkpoints {
    progress: Mutex<Progress>,
    /// The height below which no crash can make a diff needed again.
    flushed: AtomicU32,
    bell: Mutex<Bell>,
    rung: Condvar,
}

#[derive(Default)]
struct Bell {
    is_due: bool,
    is_over: bool,
}

impl Checkpoints {
    /// On a database whose pages hold everything below `next`, and of which nothing below `flushed` is needed.
    pub(super) fn new(next: Height, flushed: Height, stored: &Slot) -> Self {
        let progress = Progress { job: None, next, is_full: is_full(stored, 0) };
        let (progress, flushed) = (Mutex::new(progress), AtomicU32::new(flushed.0));
        Self { progress, flushed, bell: Mutex::default(), rung: Condvar::new() }
    }

    // A panic leaves a checkpoint unfinished, which is what a crash does.
    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self, change: impl FnOnce(&mut Bell)) {
        change(&mut self.bell.lock().unwrap_or_else(PoisonError::into_inner));
        self.rung.notify_all();
    }

    /// Tells a waiting checkpointer that there is work.
    pub(super) fn ring_due(&self) {
        self.ring(|bell| bell.is_due = true);
    }

    /// Tells it that the store is closed.
    pub(super) fn ring_over(&self) {
        self.ring(|bell| bell.is_over = true);
    }

    /// The height below which no crash can make a diff needed again.
    pub(super) fn flushed(&self) -> Height {
        Height(self.flushed.load(Ordering::Acquire))
    }
}

/// Whether no bucket lies above the regions.
fn is_full(slot: &Slot, depth: u16) -> bool {
    match &slot.child {
        Child::Node(node, _) => {
            let below = depth.saturating_add(NODE_BITS);
            below >= REGION_BITS || node.slots.iter().all(|slot| is_full(slot, below))
        }
        Child::Bucket(..) | Child::Empty => false,
    }
}

/// A region of a tree that has it whole.
fn region(root: &Slot, number: u8) -> (&Slot, Location) {
    let (mut slot, mut at) = (root, Location::ROOT);
    let path = first_of_region(number);
    while let (Child::Node(node, _), true) = (&slot.child, at.depth < REGION_BITS) {
        slot = node.step(&path, at.depth);
        at = at.child(child_index(&path, at.depth));
    }
    (slot, at)
}

/// Pages that go to disk in one write.
#[derive(Default)]
struct Chunk {
    batch: WriteBatch,
    bytes: usize,
    /// The buckets of these pages, and how often each page had been changed.
    buckets: Vec<(Arc<Bucket>, u32)>,
}

impl Chunk {
    /// Adds all pages below that are not on disk.
    fn put(&mut self, slot: &Slot, at: Location) {
        match &slot.child {
            Child::Empty => {}
            Child::Node(node, saved) => {
                if saved.get() {
                    return;
                }
                node.slots.iter().enumerate().for_each(|(index, slot)| self.put(slot, at.child(index)));
                // An error of the write that follows is the end of this store.
                saved.set(true);
            }
            Child::Bucket(_, bucket) => {
                if let Some((page, changes)) = bucket.unsaved_page() {
                    let (key, record) = (Location::page_key(&at.prefix), page.to_record());
                    self.bytes = self.bytes.saturating_add(key.len()).saturating_add(record.len());
                    self.batch.put(Table::StatePages, key, record);
                    self.buckets.push((Arc::clone(bucket), changes));
                }
            }
        }
    }
}

/// Writes checkpoints; cheap to clone, for a thread that does nothing else.
#[derive(Clone)]
pub struct Checkpointer {
    shared: Arc<Shared>,
}

impl Checkpointer {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Writes checkpoints as they become due, until the store is closed; then writes the last one and flushes.
    ///
    /// # Errors
    /// The database failed.
    pub fn run(&self) -> Result<(), StateError> {
        loop {
            while self.step_if_due()? {}
            let bell = self.shared.checkpoints.bell.lock().unwrap_or_else(PoisonError::into_inner);
            let quiet = |bell: &mut Bell| !bell.is_due && !bell.is_over;
            let waited = self.shared.checkpoints.rung.wait_timeout_while(bell, NAP, quiet);
            let (mut bell, _) = waited.unwrap_or_else(PoisonError::into_inner);
            bell.is_due = false;
            if bell.is_over {
                drop(bell);
                return self.finish();
            }
        }
    }

    /// Writes everything that is committed and flushes it, so that the next opening has nothing to apply again.
    ///
    /// # Errors
    /// The database failed.
    pub fn finish(&self) -> Result<(), StateError> {
        while self.step()? {}
        let progress = self.shared.checkpoints.progress();
        self.flush(&progress)
    }

    /// Writes one chunk of what is unsaved, due or not; false if everything committed is saved.
    ///
    /// # Errors
    /// The database failed.
    pub fn step(&self) -> Result<bool, StateError> {
        let mut progress = self.shared.checkpoints.progress();
        Ok(self.archive_chunk()? || self.pages_chunk(&mut progress, true)?)
    }

    /// Writes one chunk of a checkpoint that is under way or due; false if there is none.
    ///
    /// # Errors
    /// The database failed.
    pub(super) fn step_if_due(&self) -> Result<bool, StateError> {
        let mut progress = self.shared.checkpoints.progress();
        let limits = self.shared.limits();
        let is_archive_due = self.shared.is_archive_due(limits);
        if is_archive_due && self.archive_chunk()? {
            return Ok(true);
        }
        let is_due = self.shared.are_pages_due(limits);
        self.pages_chunk(&mut progress, is_due)
    }

    /// Brings the archive nearer to the head, or deletes one that is of no use any more.
    pub(super) fn archive_chunk(&self) -> Result<bool, StateError> {
        let mut batch = WriteBatch::new();
        if self.shared.is_archive() {
            let chunk = self.shared.unsaved().archive.as_ref().map(Archive::chunk);
            let Some(chunk) = chunk.filter(|chunk| !chunk.is_empty()) else { return Ok(false) };
            let bytes = self.shared.limits().chunk_bytes;
            let height = chunk.put(&self.shared, bytes, &mut batch)?;
            self.shared.database.write(batch, Durability::Derived)?;
            if let Some(archive) = &mut self.shared.unsaved_mut().archive {
                archive.advance(height);
            }
            return Ok(true);
        }
        // All heights that the archive tells have left the window.
        let lowest = self.shared.current().lowest;
        let is_over = self.shared.unsaved().archive.as_ref().is_some_and(|archive| archive.marker.height <= lowest);
        if is_over {
            ArchiveMarker::clear(&mut batch);
            self.shared.database.write(batch, Durability::Derived)?;
            self.shared.unsaved_mut().archive = None;
        }
        Ok(is_over)
    }

    /// Writes one chunk of the pages: of the checkpoint under way, or of a new one if there is anything to save.
    fn pages_chunk(&self, progress: &mut Progress, may_begin: bool) -> Result<bool, StateError> {
        if progress.job.is_none() && may_begin {
            progress.job = self.begin();
        }
        let Some(job) = &mut progress.job else { return Ok(false) };
        if job.region < 1 << REGION_BITS {
            let chunk = self.collect(job, progress.is_full);
            self.shared.database.write(chunk.batch, Durability::Derived)?;
            chunk.buckets.iter().for_each(|(bucket, changes)| self.shared.cache.saved(bucket, *changes));
            return Ok(true);
        }
        let mut batch = WriteBatch::new();
        put_checkpoint(&mut batch, job.next);
        self.shared.database.write(batch, Durability::Derived)?;
        (progress.next, progress.is_full) = (job.next, job.is_full);
        progress.job = None;
        self.flush(progress)?;
        Ok(true)
    }

    fn begin(&self) -> Option<Job> {
        let mut unsaved = self.shared.unsaved_mut();
        let head = Arc::clone(&self.shared.current().head);
        if std::mem::take(&mut unsaved.blocks) == 0 {
            return None;
        }
        unsaved.diff_bytes = 0;
        Some(Job { next: head.height?.next(), region: 0, is_full: true })
    }

    /// The next regions, or all if one cannot be told from the other.
    fn collect(&self, job: &mut Job, was_full: bool) -> Chunk {
        let mut chunk = Chunk::default();
        while let Ok(number) = u8::try_from(job.region) {
            if chunk.bytes >= self.shared.limits().chunk_bytes {
                break;
            }
            // What is gone and the tree are of the same head.
            let forest = self.shared.forest();
            let mut unsaved = self.shared.unsaved_mut();
            let root = forest.head();
            let is_cut = was_full && is_full(root, 0);
            let gone = unsaved.take_gone(is_cut.then_some(number));
            drop(unsaved);
            for place in gone {
                chunk.batch.delete(Table::StatePages, Location::page_key(&place));
            }
            if is_cut {
                let (slot, at) = region(root, number);
                chunk.put(slot, at);
                job.region = job.region.saturating_add(1);
            } else {
                // Of what the chunk holds twice, the last counts.
                chunk.put(root, Location::ROOT);
                job.region = 1 << REGION_BITS;
                job.is_full = is_full(root, 0);
            }
        }
        chunk
    }

    fn flush(&self, progress: &Progress) -> Result<(), StateError> {
        let archived = self.shared.unsaved().archive.as_ref().map(|archive| archive.marker.height.next());
        let archived = archived.filter(|_| self.shared.is_archive());
        let flushed = archived.map_or(progress.next, |archived| progress.next.min(archived));
        self.shared.database.flush()?;
        self.shared.checkpoints.flushed.store(flushed.0, Ordering::Release);
        Ok(())
    }
}
