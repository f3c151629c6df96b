//! Checkpoints: pages and history follow the committed blocks, off their way.
//!
//! ```text
//!  commit of a block ──► log: block, head, diff      (synced: all that a crash must leave)
//!        │ later, in chunks
//!        └──► history and past nodes, then pages, then what left the window, then the marker      (not logged)
//! ```
//! - A *checkpoint* brings the derived tables to a height and ends with a *marker* that says so. They are written without
//!   the log: a crash may take any number of the last chunks. Opening applies the diffs above the marker again.
//! - Chunks of pages may be cut anywhere between two regions of [`REGION_BITS`] bits: what is on disk in between is a mix of
//!   two heights in which no leaf is missing, and the diffs above the older marker bring every leaf to its last value. Where
//!   the tree is not that deep everywhere, all pages are one chunk.
//! - A diff is deleted once a marker above it is known to be on disk.
//! - Whoever has time drives [`Checkpointer::step`]: a thread of the node, or the writer itself when too much is unsaved.

use super::StateError;
use super::archive;
use super::cache::{Bucket, PageCache};
use super::history;
use super::overlay::Changes;
use super::store::{Shared, put_page};
use super::tree::{Child, NODE_BITS, Slot};
use crate::batch::WriteBatch;
use crate::blocks;
use crate::database::{DatabaseView, Durability};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::hash::sha256;
use cairn_primitives::{Hash, Height};
use parity_scale_codec::{Decode, Encode};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Key in [`Table::Meta`] of the [`Marker`].
const META_CHECKPOINT: &[u8] = b"checkpoint";
/// A region of the tree is all that shares so many first bits of the key hash.
const REGION_BITS: u16 = 8;
/// How many heights leave the window in one chunk.
const CHUNK_PRUNED: u32 = 8;
/// Diffs that a start may have to apply again: the derived tables are flushed beyond it.
const REPLAYED_BYTES_MAX: usize = 64 << 20;
/// The same in blocks.
const REPLAYED_BLOCKS_MAX: u32 = 4_096;
/// How long a checkpointer sleeps at most.
const NAP: Duration = Duration::from_secs(1);

/// What the derived tables hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Marker {
    /// They hold everything up to this height.
    pub(super) height: Height,
    /// Nothing is left in them that only heights below this one show.
    pub(super) pruned: Height,
    /// The trees from this height on can be found from the past nodes.
    pub(super) provable: Height,
}

impl Marker {
    pub(super) fn read(view: &dyn DatabaseView) -> Result<Self, DatabaseError> {
        let missing =
            || DatabaseError::Missing { table: Table::Meta, reason: "the marker of the checkpoint".to_owned() };
        blocks::read(view, Table::Meta, META_CHECKPOINT)?.ok_or_else(missing)
    }

    pub(super) fn put(self, batch: &mut WriteBatch) {
        batch.put(Table::Meta, META_CHECKPOINT, self.encode());
    }
}

/// What one block changed.
#[derive(Clone)]
pub(super) struct BlockChanges {
    pub(super) height: Height,
    pub(super) changes: Arc<Changes>,
    /// For each change, in order, whether it differs from what was there.
    pub(super) effective: Arc<[bool]>,
    /// On an archive node.
    pub(super) trees: Option<Trees>,
}

/// The tree before a block and after it.
#[derive(Clone)]
pub(super) struct Trees {
    pub(super) before: Slot,
    pub(super) after: Slot,
}

/// The tree that the last checkpoint saved, from which those before it are found.
#[derive(Clone)]
pub(super) struct Archived {
    pub(super) tree: Slot,
    pub(super) height: Height,
    /// The lowest height that can be found.
    pub(super) from: Height,
}

impl BlockChanges {
    pub(super) fn effective(&self) -> impl Iterator<Item = (&Vec<u8>, Option<&Vec<u8>>)> {
        let marked = self.changes.iter().zip(&*self.effective);
        marked.filter(|(_, effective)| **effective).map(|((key, value), _)| (key, value.as_ref()))
    }
}

type Pages = BTreeMap<Hash, Option<Arc<Bucket>>>;

/// What is committed and not in the derived tables.
#[derive(Default)]
pub(super) struct Unsaved {
    /// Blocks whose changes readers must not miss, oldest first.
    blocks: VecDeque<BlockChanges>,
    /// Pages of the head that no checkpoint has begun to write.
    pages: Pages,
    /// How many of the last blocks no checkpoint has begun to write.
    waiting: usize,
    /// Their bytes: changes, and pages.
    waiting_bytes: usize,
    /// On an archive node.
    pub(super) archived: Option<Archived>,
}

impl Unsaved {
    /// Whether more waits for a checkpoint than that, or is on its way into one.
    pub(super) fn exceeds(&self, limits: CheckpointLimits) -> bool {
        self.waiting_bytes > limits.bytes || self.blocks.len() > limits.blocks
    }

    /// Adds a block; `kept` are the bytes that only its trees keep in memory.
    pub(super) fn push(&mut self, block: BlockChanges, pages: &Pages, kept: usize) {
        let bytes = |(key, value): (&Vec<u8>, Option<&Vec<u8>>)| {
            key.len().saturating_add(value.map_or(0, Vec::len)).saturating_add(64)
        };
        let changes = block.effective().map(bytes).fold(0_usize, usize::saturating_add);
        let kept = if block.trees.is_some() { kept } else { 0 };
        self.waiting_bytes = self.waiting_bytes.saturating_add(changes).saturating_add(kept);
        self.put_pages(pages);
        self.waiting = self.waiting.saturating_add(1);
        self.blocks.push_back(block);
    }

    /// Notes pages that the next checkpoint must write.
    pub(super) fn put_pages(&mut self, pages: &Pages) {
        for (prefix, bucket) in pages {
            let size = |bucket: &Arc<Bucket>| bucket.resident().map_or(0, |page| page.size());
            self.waiting_bytes = self.waiting_bytes.saturating_add(bucket.as_ref().map_or(0, size));
            if let Some(Some(old)) = self.pages.insert(*prefix, bucket.clone()) {
                self.waiting_bytes = self.waiting_bytes.saturating_sub(size(&old));
            }
        }
    }

    /// The tree after a block.
    pub(super) fn tree(&self, height: Height) -> Option<Slot> {
        let block = self.blocks.iter().find(|block| block.height == height)?;
        block.trees.as_ref().map(|trees| trees.after.clone())
    }

    /// What the blocks up to a height made of a key; `None` if they did not touch it.
    pub(super) fn value(&self, height: Height, key: &[u8]) -> Option<Option<Vec<u8>>> {
        let blocks = self.blocks.iter().rev().skip_while(|block| block.height > height);
        blocks.filter_map(|block| block.changes.get(key)).next().cloned()
    }

    /// Keys with a prefix that the blocks up to a height touched, and whether each has a value.
    pub(super) fn keys(&self, height: Height, prefix: &[u8]) -> BTreeMap<Vec<u8>, bool> {
        let mut keys = BTreeMap::new();
        for block in self.blocks.iter().take_while(|block| block.height <= height) {
            let from = block.changes.range(prefix.to_vec()..);
            let touched = from.take_while(|(key, _)| key.starts_with(prefix));
            keys.extend(touched.map(|(key, value)| (key.clone(), value.is_some())));
        }
        keys
    }
}

/// How much may be unsaved before a checkpoint is due; the writer helps at twice that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointLimits {
    /// Bytes of changes and of pages, all of which are in memory.
    pub bytes: usize,
    /// Blocks.
    pub blocks: usize,
    /// Bytes of one write.
    pub chunk_bytes: usize,
}

impl Default for CheckpointLimits {
    fn default() -> Self {
        Self { bytes: 16 << 20, blocks: 1_024, chunk_bytes: 1 << 20 }
    }
}

/// A checkpoint under way.
struct Job {
    marker: Marker,
    is_full: bool,
    blocks: VecDeque<BlockChanges>,
    pages: VecDeque<(Hash, Option<Arc<Bucket>>)>,
    written: Vec<Arc<Bucket>>,
    bytes: usize,
    /// The tree after it, on an archive node.
    tree: Option<Slot>,
}

/// What is on disk.
pub(super) struct Progress {
    job: Option<Job>,
    marker: Marker,
    /// Whether the pages of the last checkpoint lie in whole regions.
    is_full: bool,
    /// Written since the last flush, in bytes of changes and pages.
    unflushed_bytes: usize,
    /// The last marker that no crash can take back.
    flushed: Height,
    /// Whether a window node has no past nodes left from a time as an archive.
    is_archive_empty: bool,
}

impl Progress {
    pub(super) fn new(marker: Marker, root: &Slot) -> Self {
        Self {
            job: None,
            marker,
            is_full: is_full(root, 0),
            unflushed_bytes: 0,
            flushed: marker.height,
            is_archive_empty: false,
        }
    }
}

/// Whether no bucket lies above the regions.
fn is_full(slot: &Slot, depth: u16) -> bool {
    match &slot.child {
        Child::Node(node) => {
            let below = depth.saturating_add(NODE_BITS);
            below >= REGION_BITS || node.slots.iter().all(|slot| is_full(slot, below))
        }
        Child::Bucket(..) | Child::Empty => false,
    }
}

/// The checkpointing half of [`Shared`].
pub(super) struct Checkpoints {
    pub(super) progress: Mutex<Progress>,
    bell: Mutex<Bell>,
    rung: Condvar,
}

#[derive(Default)]
struct Bell {
    is_due: bool,
    is_over: bool,
}

impl Checkpoints {
    pub(super) fn new(progress: Progress) -> Self {
        Self { progress: Mutex::new(progress), bell: Mutex::default(), rung: Condvar::new() }
    }

    // A panic leaves a checkpoint unfinished, which is what a crash does.
    fn progress(&self) -> MutexGuard<'_, Progress> {
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

    /// The last marker that no crash can take back.
    pub(super) fn flushed(&self) -> Height {
        self.progress().flushed
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
            while self.shared.is_checkpoint_due() && self.step()? {}
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
        let mut progress = self.shared.checkpoints.progress();
        self.flush(&mut progress)
    }

    /// Writes one chunk of the checkpoint under way, or begins one; false if everything committed is saved.
    ///
    /// # Errors
    /// The database failed.
    pub fn step(&self) -> Result<bool, StateError> {
        let mut progress = self.shared.checkpoints.progress();
        if progress.job.is_none() {
            progress.job = self.begin(progress.marker);
        }
        let (marker, was_full) = (progress.marker, progress.is_full);
        let Some(job) = &mut progress.job else { return Ok(false) };
        let chunk = self.shared.limits().chunk_bytes;
        let mut batch = WriteBatch::new();
        if !job.blocks.is_empty() {
            job.put_history(chunk, &self.shared.cache, &mut batch)?;
        } else if !job.pages.is_empty() {
            job.put_pages(chunk, was_full, &mut batch);
        } else if marker.pruned < job.marker.pruned {
            let next = marker.pruned.0.saturating_add(CHUNK_PRUNED).min(job.marker.pruned.0);
            for height in marker.pruned.next().0..=next {
                history::prune(&*self.shared.database, &mut batch, Height(height))?;
            }
            // Said with the marker of the old checkpoint: a crash prunes neither twice nor never.
            progress.marker.pruned = Height(next);
            progress.marker.put(&mut batch);
        } else if !progress.is_archive_empty && !self.shared.is_archive() && marker.provable == marker.height {
            // Only once a marker says that they are of no use: they may be lost one by one.
            progress.is_archive_empty = !archive::clear(&*self.shared.database, &mut batch)?;
        } else {
            return self.end(&mut progress).map(|()| true);
        }
        self.shared.database.write(batch, Durability::Derived)?;
        Ok(true)
    }

    fn begin(&self, last: Marker) -> Option<Job> {
        // The version of the head is taken first: it may be older than the pages, which does not matter for the regions
        // of those it shows, and never newer.
        let mut unsaved = self.shared.unsaved_mut();
        let head = Arc::clone(&self.shared.current().head);
        let lowest = self.shared.current().lowest;
        let waiting = std::mem::take(&mut unsaved.waiting);
        if waiting == 0 {
            return None;
        }
        let bytes = std::mem::take(&mut unsaved.waiting_bytes);
        let skipped = unsaved.blocks.len().saturating_sub(waiting);
        let blocks: VecDeque<_> = unsaved.blocks.iter().skip(skipped).cloned().collect();
        let height = blocks.back()?.height;
        let pages = std::mem::take(&mut unsaved.pages).into_iter().collect();
        let is_full = is_full(&head.root, 0);
        // Past nodes are written for the blocks that have their trees.
        let unknown = blocks.iter().rev().find(|block| block.trees.is_none());
        let provable = unknown.map_or(last.provable, |block| block.height);
        let tree = blocks.back()?.trees.as_ref().map(|trees| trees.after.clone());
        let marker = Marker { height, pruned: lowest.max(last.pruned).min(height), provable };
        Some(Job { marker, is_full, blocks, pages, written: Vec::new(), bytes, tree })
    }

    fn end(&self, progress: &mut Progress) -> Result<(), StateError> {
        let Some(job) = &progress.job else { return Ok(()) };
        let mut batch = WriteBatch::new();
        job.marker.put(&mut batch);
        self.shared.database.write(batch, Durability::Derived)?;
        let Some(job) = progress.job.take() else { return Ok(()) };
        (progress.marker, progress.is_full) = (job.marker, job.is_full);
        progress.unflushed_bytes = progress.unflushed_bytes.saturating_add(job.bytes);
        for bucket in &job.written {
            self.shared.cache.saved(bucket);
        }
        let mut unsaved = self.shared.unsaved_mut();
        while unsaved.blocks.front().is_some_and(|block| block.height <= job.marker.height) {
            unsaved.blocks.pop_front();
        }
        let Marker { height, provable: from, .. } = job.marker;
        unsaved.archived = job.tree.map(|tree| Archived { tree, height, from });
        drop(unsaved);
        let blocks = progress.marker.height.0.saturating_sub(progress.flushed.0);
        if progress.unflushed_bytes > REPLAYED_BYTES_MAX || blocks > REPLAYED_BLOCKS_MAX {
            self.flush(progress)?;
        }
        Ok(())
    }

    fn flush(&self, progress: &mut Progress) -> Result<(), StateError> {
        if progress.flushed < progress.marker.height {
            self.shared.database.flush()?;
            progress.flushed = progress.marker.height;
            progress.unflushed_bytes = 0;
        }
        Ok(())
    }
}

impl Job {
    fn put_history(&mut self, chunk: usize, cache: &PageCache, batch: &mut WriteBatch) -> Result<(), StateError> {
        let mut bytes = 0_usize;
        while bytes < chunk
            && let Some(block) = self.blocks.pop_front()
        {
            bytes = bytes.saturating_add(history::put(batch, block.height, block.effective()));
            let keys: Vec<_> = block.effective().map(|(key, _)| key).collect();
            history::put_keys(batch, block.height, &keys);
            if let Some(Trees { before, after }) = &block.trees {
                let mut changed: Vec<_> = keys.into_iter().map(|key| sha256(key)).collect();
                changed.sort_unstable();
                let before = archive::Tree { cache, root: before };
                bytes = bytes.saturating_add(archive::put(batch, block.height, before, after, &changed)?);
            }
        }
        Ok(())
    }

    fn put_pages(&mut self, chunk: usize, was_full: bool, batch: &mut WriteBatch) {
        let is_cut = was_full && self.is_full;
        let (mut bytes, mut last) = (0_usize, None);
        while let Some((prefix, _)) = self.pages.front() {
            let region = prefix.0.first().copied();
            if is_cut && bytes >= chunk && last != region {
                return;
            }
            last = region;
            let Some((prefix, bucket)) = self.pages.pop_front() else { return };
            bytes = bytes.saturating_add(put_page(batch, &prefix, bucket.as_ref()));
            self.written.extend(bucket);
        }
    }
}
