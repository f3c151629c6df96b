//! The state store: one writer that stages blocks into the ledger's batch, and what it shares with readers.

use super::StateError;
use super::cache::PageCache;
use super::checkpoint::{CheckpointLimits, Checkpointer, Checkpoints};
use super::diff::{self, DiffWriter};
use super::keys;
use super::layer::LayerCell;
use super::load;
use super::open;
use super::overlay::{EffectiveChange, Overlay};
use super::page::INLINE_VALUE_MAX;
use super::shared::{Current, Dropped, Shared, Trees, Version};
use super::unsaved::{Archive, ArchiveMarker, put_checkpoint, read_checkpoint, read_undo};
use super::update::{Old, update};
use super::values::Values;
use super::view::{StateReadModel, StateView};
use crate::batch::WriteBatch;
use crate::blocks;
use crate::database::{Database, DatabaseView};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::state_proof::EMPTY_SUBTREE;
use cairn_primitives::{Hash, Height, StateChanges};
use cairn_storage_cpu::{Workers, fetch_ahead};
use parity_scale_codec::{Decode, Encode};
use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};

/// How many committed versions before the head stay provable at most.
pub const RECENT_VERSIONS_MAX: usize = 64;
/// So many diffs stay on an archive, which could do without: as far can blocks be taken back.
const ARCHIVE_DIFFS: u32 = 1_024;
/// Diffs are deleted so many heights at a time: a deletion of a range costs the same for one and for many.
const DIFFS_DELETED_MIN: u32 = 32;
/// So many changes of a diff are written by one thread at a time.
const DIFF_SHARE: usize = 1_024;
/// A change is fetched so many changes before it is written: keys and values lie in the order in which they were made.
const CHANGES_AHEAD: usize = 8;
/// Key in [`Table::Meta`] of the [`StateRecord`].
pub(super) const META_STATE: &[u8] = b"state";

/// Which past heights can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryMode {
    /// All heights since the first that this database holds.
    Archive,
    /// The head and this many heights before it.
    Window(u32),
}

/// Of the memory for pages, what is left for new ones while a checkpoint is written, in bytes.
const HEADROOM_BYTES: usize = 128 << 20;
/// More threads for a block's changes wait for memory.
const THREADS_MAX: usize = 4;

/// How the store keeps state.
#[derive(Clone, Copy, Debug)]
pub struct StateConfig {
    /// Which past heights can be read.
    pub history: HistoryMode,
    /// Memory for pages of the head, in bytes, those included that are not on disk yet; more state than that is read from the
    /// database.
    pub cache_bytes: usize,
    /// Memory for versions before the head, in bytes; they are dropped from the oldest on.
    pub recent_bytes: usize,
    /// How far pages and archive may be behind the committed head.
    pub unsaved: CheckpointLimits,
    /// Threads for a block's changes; results are the same for any number.
    pub threads: usize,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self {
            history: HistoryMode::Archive,
            cache_bytes: 48 << 20,
            recent_bytes: 16 << 20,
            unsaved: CheckpointLimits::default(),
            threads: 1,
        }
    }
}

impl StateConfig {
    /// What a machine with so much memory for pages does best: half of them may wait for a checkpoint, more where that leaves
    /// [`HEADROOM_BYTES`], up to three quarters; and a quarter as many bytes of diffs, so that a page that many blocks change is
    /// written once; blocks are hashed on all cores, up to [`THREADS_MAX`].
    #[must_use]
    pub fn for_memory(history: HistoryMode, cache_bytes: usize) -> Self {
        let usual = CheckpointLimits::default();
        let diff_bytes = usual.diff_bytes.max(cache_bytes / 4);
        let half = cache_bytes / 2;
        let bytes = cache_bytes.saturating_sub(HEADROOM_BYTES).clamp(half, cache_bytes.saturating_sub(cache_bytes / 4));
        let unsaved = CheckpointLimits { bytes, archive_bytes: half, diff_bytes, ..usual };
        let threads = Workers::cores(THREADS_MAX);
        Self { history, cache_bytes, unsaved, threads, ..Self::default() }
    }
}

/// The committed head of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateHead {
    /// The height.
    pub height: Height,
    /// The state root.
    pub root: Hash,
}

/// What the database says about the state it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct StateRecord {
    pub(super) height: Height,
    pub(super) root: Hash,
    /// The lowest height that can be read.
    pub(super) lowest: Height,
}

impl StateRecord {
    pub(super) fn read(view: &dyn DatabaseView) -> Result<Option<Self>, DatabaseError> {
        blocks::read(view, Table::Meta, META_STATE)
    }

    pub(super) fn put(self, batch: &mut WriteBatch) {
        batch.put(Table::Meta, META_STATE, self.encode());
    }
}

/// The writer's side of the state. Readers get a [`StateReadModel`] or a [`StateView`].
pub struct StateStore {
    pub(super) shared: Arc<Shared>,
    /// The height of the lowest diff that may be in the database.
    lowest_diff: Height,
}

impl Drop for StateStore {
    fn drop(&mut self) {
        self.shared.checkpoints.ring_over();
    }
}

/// A block that was staged into a batch; given back to [`StateStore::apply`] once the batch is durable.
#[must_use = "the store follows the database only after `apply`"]
pub struct StagedState {
    overlay: Arc<Overlay>,
    height: Height,
    lowest: Height,
    lowest_diff: Height,
    diff_bytes: usize,
}

impl StateStore {
    /// Opens the state: reads all pages once, applies the diffs above the last checkpoint, and checks that this gives the
    /// recorded root.
    ///
    /// # Errors
    /// The database failed, holds damaged pages or diffs, or they give another root than the recorded one.
    pub fn open(database: Arc<dyn Database>, config: StateConfig) -> Result<Self, StateError> {
        let store = Self::open_untouched(database, config)?;
        // What a tool did not bring to its end.
        store.finish_undo()?;
        Ok(store)
    }

    /// The same without a write, unless an archive begins.
    pub(super) fn open_untouched(database: Arc<dyn Database>, config: StateConfig) -> Result<Self, StateError> {
        if load::is_unfinished(&*database)? {
            return Err(StateError::Unfinished);
        }
        let record = StateRecord::read(&*database)?;
        let cache = PageCache::new(Arc::clone(&database), config.cache_bytes);
        let stored = open::build(&*database, &cache)?;
        let next = read_checkpoint(&*database)?;
        let lowest_diff = diff::lowest(&*database)?;
        let (height, recorded, lowest) = match record {
            Some(record) => (Some(record.height), record.root, record.lowest),
            None => (None, EMPTY_SUBTREE, Height::ZERO),
        };
        let lowest_diff = lowest_diff.unwrap_or_else(|| height.map_or(Height::ZERO, Height::next));
        let wrong = |computed| StateError::WrongRoot { height: height.unwrap_or_default(), computed, recorded };
        // Pages of the head itself show damage that diffs would mend in memory.
        let is_of_head = height.is_some_and(|height| next > height) && read_undo(&*database)?.is_none();
        if is_of_head && stored.hash != recorded {
            return Err(wrong(stored.hash));
        }
        let head = Arc::new(Version { id: 0, height: None, root: stored.hash });
        let shared = Shared {
            checkpoints: Checkpoints::new(next, lowest_diff, &stored),
            database,
            cache,
            workers: Workers::new("state", config.threads, 1),
            config,
            trees: RwLock::new(Trees::new(stored, head.id)),
            unsaved: RwLock::default(),
            current: RwLock::new(Current { head, recent: VecDeque::new(), lowest }),
            filters: RwLock::default(),
            next_id: AtomicU64::new(1),
        };
        let store = Self { shared: Arc::new(shared), lowest_diff };
        if let Some(record) = record {
            store.replay(&record, next)?;
        }
        let computed = store.shared.current().head.root;
        if computed != recorded {
            return Err(wrong(computed));
        }
        Ok(store)
    }

    /// The committed head, or `None` before the genesis state was committed.
    #[must_use]
    pub fn head(&self) -> Option<StateHead> {
        let head = Arc::clone(&self.shared.current().head);
        head.height.map(|height| StateHead { height, root: head.root })
    }

    /// The state after a block on top of `parent`, or of the committed head; nothing is written.
    ///
    /// # Errors
    /// A key or value is out of bounds, the parent is forgotten, or the database failed.
    pub fn overlay(&self, parent: Option<&Arc<Overlay>>, changes: StateChanges) -> Result<Arc<Overlay>, StateError> {
        let head = Arc::clone(&self.shared.current().head);
        let forest = self.shared.forest();
        let (parent_id, layers, height, ancestors) = match parent {
            Some(parent) => {
                let cells = [&parent.cell].into_iter().chain(&parent.ancestors);
                let ancestors = cells.take_while(|cell| !forest.is_committed(cell.id)).cloned().collect();
                (parent.id, forest.overlay(parent)?, parent.height.next(), ancestors)
            }
            None => (head.id, forest.version(&head)?, head.height.map_or(Height::ZERO, Height::next), Vec::new()),
        };
        let updated = update(&self.shared.workers, &self.shared.cache, &layers.tree(), &changes)?;
        let id = self.shared.new_id();
        Ok(Arc::new(Overlay {
            id,
            parent_id,
            height,
            root: updated.root,
            cell: Arc::new(LayerCell { id, parent_id, layer: RwLock::new(updated.layer) }),
            ancestors,
            changes,
            replaced: updated.replaced,
            filter: Arc::new(updated.filter),
            pages: updated.pages,
        }))
    }

    /// The value of a key in an overlay, or at the committed head.
    ///
    /// # Errors
    /// The overlay is forgotten, or the database failed.
    pub fn get(&self, overlay: Option<&Arc<Overlay>>, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        match overlay {
            Some(overlay) => self.shared.read_overlay(overlay, |reading| reading.get(key)),
            None => self.view().get(key),
        }
    }

    /// The values of several keys in an overlay, or at the committed head, in the order asked; on several threads if there are
    /// many.
    ///
    /// # Errors
    /// The overlay is forgotten, or the database failed.
    pub fn get_many(&self, overlay: Option<&Arc<Overlay>>, keys: &[&[u8]]) -> Result<Values, StateError> {
        match overlay {
            Some(overlay) => self.shared.read_overlay(overlay, |reading| reading.get_many(keys)),
            None => self.view().get_many(keys),
        }
    }

    /// Adds an overlay on the committed head to the batch that commits its block: its diff, its keys and the state record. One
    /// block a batch; call [`Self::apply`] after the batch is durable.
    ///
    /// # Errors
    /// The overlay does not stand on the head, or the height is not the next; the database failed.
    pub fn stage(
        &self,
        overlay: &Arc<Overlay>,
        height: Height,
        batch: &mut WriteBatch,
    ) -> Result<StagedState, StateError> {
        let (head, lowest) = {
            let current = self.shared.current();
            (Arc::clone(&current.head), current.lowest)
        };
        if overlay.parent_id != head.id {
            return Err(StateError::NotOnHead);
        }
        let (lowest, lowest_diff) = match head.height {
            Some(head) if head.next() != height => return Err(StateError::NotNext { height, head }),
            Some(_) => (self.lowest_after(height, lowest), self.lowest_diff),
            None => {
                if self.shared.is_archive() {
                    ArchiveMarker { from: height, height }.put(batch);
                }
                put_checkpoint(batch, height);
                (height, height)
            }
        };
        let diff_bytes = self.put_diff(overlay, height, batch)?;
        // From here on, readers of older versions find the replaced pages in memory, whatever a checkpoint overwrites.
        for (bucket, page) in &overlay.pages.gone {
            self.shared.cache.pin(bucket, page);
        }
        let lowest_diff = self.delete_diffs(height, lowest_diff, lowest, batch);
        StateRecord { height, root: overlay.root, lowest }.put(batch);
        Ok(StagedState { overlay: Arc::clone(overlay), height, lowest, lowest_diff, diff_bytes })
    }

    /// Adds what a block changed: the diff, and the table of keys. Returns the bytes of the diff.
    fn put_diff(&self, overlay: &Overlay, height: Height, batch: &mut WriteBatch) -> Result<usize, StateError> {
        let effects: Vec<_> = overlay.effects().collect();
        // Shares of one size, so that what lies on disk is the same for any number of threads.
        let shares: Vec<_> = effects.chunks(DIFF_SHARE).collect();
        let mut bytes = diff::put_filter(batch, height, &overlay.filter);
        for share in self.shared.workers.map(&shares, |effects| self.diff_of(effects, height)) {
            let (written, share) = share?;
            bytes = bytes.saturating_add(written);
            batch.append(share);
        }
        Ok(bytes)
    }

    /// A part of the diff of a block, with its bytes, and what it does to the table of keys.
    fn diff_of(&self, effects: &[EffectiveChange<'_>], height: Height) -> Result<(usize, WriteBatch), StateError> {
        let is_long = |value: &[u8]| value.len() > INLINE_VALUE_MAX;
        let mut batch = WriteBatch::new();
        let mut changed = Vec::new();
        let mut diff = DiffWriter::new(&mut batch, height);
        let mut next = effects.iter().skip(CHANGES_AHEAD);
        for &(key, new, old) in effects {
            if let Some((key, new, old)) = next.next() {
                fetch_ahead(*key);
                if let Some(value) = new {
                    fetch_ahead(*value);
                }
                if let Old::Inline(value) = old {
                    fetch_ahead(*value);
                }
            }
            let long;
            let old = match old {
                Old::Absent => None,
                Old::Inline(value) => Some(value),
                Old::Large(_, Some(value)) => Some(&**value),
                Old::Large(hash, None) => {
                    long = self.shared.long_value(key, hash, Height(height.0.saturating_sub(1)))?;
                    Some(long.as_slice())
                }
            };
            diff.push(key, old, new);
            // A short value in place of a short one leaves the record as it is.
            if new.is_none_or(is_long) || old.is_none_or(is_long) {
                changed.push((key, new));
            }
        }
        let bytes = diff.finish();
        changed.into_iter().for_each(|(key, value)| keys::put(&mut batch, key, value));
        Ok((bytes, batch))
    }

    /// Deletes diffs that nothing needs any more; returns the lowest height that still has one.
    fn delete_diffs(&self, height: Height, lowest_diff: Height, lowest: Height, batch: &mut WriteBatch) -> Height {
        let flushed = self.shared.checkpoints.flushed();
        // The diff of the lowest height itself tells only of heights below it.
        let in_use =
            if self.shared.is_archive() { Height(height.0.saturating_sub(ARCHIVE_DIFFS)) } else { lowest.next() };
        let end = flushed.min(in_use);
        if end.0 < lowest_diff.0.saturating_add(DIFFS_DELETED_MIN) {
            return lowest_diff;
        }
        diff::delete(batch, lowest_diff, end);
        end
    }

    fn lowest_after(&self, height: Height, lowest: Height) -> Height {
        match self.shared.config.history {
            HistoryMode::Archive => lowest,
            // The block before the head is always kept.
            HistoryMode::Window(blocks) => Height(height.0.saturating_sub(blocks.max(1))).max(lowest),
        }
    }

    /// Moves the head to a staged block, whose batch is durable.
    pub fn apply(&mut self, staged: StagedState) {
        let StagedState { overlay, height, lowest, lowest_diff, diff_bytes } = staged;
        let mut filters = self.shared.filters_mut();
        filters.insert(height, Arc::clone(&overlay.filter));
        let kept = filters.split_off(&lowest_diff);
        drop(std::mem::replace(&mut *filters, kept));
        drop(filters);
        let dropped = self.advance(&overlay, height, lowest, diff_bytes);
        // After the locks are free.
        self.shared.workers.discard((dropped, overlay));
        self.lowest_diff = lowest_diff;
        let limits = self.shared.limits();
        if self.shared.are_pages_due(limits) || self.shared.is_archive_due(limits) {
            self.shared.checkpoints.ring_due();
        }
    }

    /// Makes an overlay on the head the head, in memory.
    pub(super) fn advance(&self, overlay: &Overlay, height: Height, lowest: Height, diff_bytes: usize) -> Dropped {
        // An archive has to see what the block replaced.
        let before = self.shared.is_archive().then(|| Arc::clone(&self.shared.current().head));
        let mut trees = self.shared.trees_mut();
        // What is gone and the tree are of the same head for whoever has both locks.
        let mut unsaved = self.shared.unsaved_mut();
        unsaved.push(diff_bytes, &overlay.pages);
        let dropped = self.shared.advance(&mut trees, overlay, height, lowest);
        drop(trees);
        if let Some(before) = before {
            let head = Arc::clone(&self.shared.current().head);
            match &mut unsaved.archive {
                Some(archive) if before.height.is_some() => {
                    let kept = self.shared.current().recent.back().map_or(0, |(_, kept)| *kept);
                    archive.push(height, before, head, kept);
                }
                archive => *archive = Some(Archive::new(ArchiveMarker { from: height, height }, Some(head))),
            }
        }
        drop(unsaved);
        self.shared.cache.add_unsaved(overlay.pages.new_bytes);
        dropped
    }

    /// Brings a checkpoint to its end where more is unsaved than [`CheckpointLimits`] let the writer leave: not where a thread
    /// that runs a [`Checkpointer`] keeps up, and no single block changes a large part of what the cache holds. To be called
    /// after each block.
    ///
    /// # Errors
    /// The database failed.
    pub fn relieve(&self) -> Result<(), StateError> {
        let limits = self.shared.limits().utmost(self.shared.config.cache_bytes);
        if self.shared.are_pages_due(limits) || self.shared.is_archive_due(limits) {
            let checkpointer = self.checkpointer();
            while checkpointer.step_if_due()? {}
        }
        Ok(())
    }

    /// What writes pages and archive behind the committed blocks.
    #[must_use]
    pub fn checkpointer(&self) -> Checkpointer {
        Checkpointer::new(Arc::clone(&self.shared))
    }

    /// The committed head as it is now, unmoved by later blocks; hold it briefly.
    #[must_use]
    pub fn view(&self) -> StateView {
        self.read_model().view()
    }

    /// The readers' side, cheap to clone.
    #[must_use]
    pub fn read_model(&self) -> StateReadModel {
        StateReadModel::new(Arc::clone(&self.shared))
    }
}
