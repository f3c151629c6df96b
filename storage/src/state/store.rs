//! The state store: one writer that stages blocks into the ledger's batch, and what it shares with readers.

use super::StateError;
use super::cache::PageCache;
use super::checkpoint::{CheckpointLimits, Checkpointer, Checkpoints};
use super::diff::{self, DiffWriter};
use super::keys;
use super::load;
use super::open::{self, Opened, Opening};
use super::overlay::{Changes, Overlay};
use super::page::INLINE_VALUE_MAX;
use super::shared::{Current, Shared, Version};
use super::threads::Workers;
use super::tree::Slot;
use super::unsaved::{Archive, ArchiveMarker, Unsaved, put_checkpoint, read_checkpoint};
use super::update::{Replaced, update};
use super::view::{StateReadModel, StateView};
use crate::batch::WriteBatch;
use crate::blocks;
use crate::database::{Database, DatabaseView};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::{Hash, Height};
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
        let workers = Workers::new(config.threads);
        let opening =
            Opening { database: &*database, cache: &cache, workers: &workers, config: &config, stored: &stored, next };
        let Opened { root, unsaved } = match &record {
            Some(record) => opening.replay(record)?,
            None => Opened { root: stored.clone(), unsaved: Unsaved::default() },
        };
        let (height, recorded, lowest) = match record {
            Some(record) => (Some(record.height), record.root, record.lowest),
            None => (None, Slot::EMPTY.hash, Height::ZERO),
        };
        if root.hash != recorded {
            let height = height.unwrap_or_default();
            return Err(StateError::WrongRoot { height, computed: root.hash, recorded });
        }
        let head = Arc::new(Version { id: 0, height, root });
        let current = RwLock::new(Current { head, recent: VecDeque::new(), lowest });
        let lowest_diff = diff::lowest(&*database)?.unwrap_or_else(|| height.map_or(Height::ZERO, Height::next));
        let shared = Shared {
            checkpoints: Checkpoints::new(next, lowest_diff, &stored),
            database,
            cache,
            config,
            workers,
            unsaved: RwLock::new(unsaved),
            current,
            filters: RwLock::default(),
            next_id: AtomicU64::new(1),
        };
        Ok(Self { shared: Arc::new(shared), lowest_diff })
    }

    /// The committed head, or `None` before the genesis state was committed.
    #[must_use]
    pub fn head(&self) -> Option<StateHead> {
        let head = Arc::clone(&self.shared.current().head);
        head.height.map(|height| StateHead { height, root: head.root.hash })
    }

    /// The state after a block on top of `parent`, or of the committed head; nothing is written.
    ///
    /// # Errors
    /// A key or value is out of bounds, or the database failed.
    pub fn overlay(&self, parent: Option<&Arc<Overlay>>, changes: Changes) -> Result<Arc<Overlay>, StateError> {
        let head = Arc::clone(&self.shared.current().head);
        let (parent_id, root, height) = match parent {
            Some(parent) => (parent.id, &parent.root, parent.height.next()),
            None => (head.id, &head.root, head.height.map_or(Height::ZERO, Height::next)),
        };
        let updated = update(&self.shared.workers, &self.shared.cache, root, &changes)?;
        Ok(Arc::new(Overlay {
            id: self.shared.new_id(),
            parent_id,
            height,
            root: updated.root,
            changes,
            replaced: updated.replaced,
            filter: Arc::new(updated.filter),
            pages: updated.pages,
        }))
    }

    /// The value of a key in an overlay, or at the committed head.
    ///
    /// # Errors
    /// The database failed.
    pub fn get(&self, overlay: Option<&Arc<Overlay>>, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        match overlay {
            Some(overlay) => self.shared.reading(&overlay.root, overlay.height).get(key),
            None => self.view().get(key),
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
        StateRecord { height, root: overlay.root.hash, lowest }.put(batch);
        Ok(StagedState { overlay: Arc::clone(overlay), height, lowest, lowest_diff, diff_bytes })
    }

    /// Adds what a block changed: the diff, and the table of keys. Returns the bytes of the diff.
    fn put_diff(&self, overlay: &Overlay, height: Height, batch: &mut WriteBatch) -> Result<usize, StateError> {
        let is_long = |value: &[u8]| value.len() > INLINE_VALUE_MAX;
        let mut changed = Vec::new();
        let mut diff = DiffWriter::new(batch, height);
        for (key, new, replaced) in overlay.effects() {
            let new = new.map(Vec::as_slice);
            let long;
            let old = match replaced {
                Replaced::Equal | Replaced::Absent => None,
                Replaced::Inline(value) => Some(&**value),
                Replaced::Large(_, Some(value)) => Some(&**value),
                Replaced::Large(hash, None) => {
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
        let bytes = diff.finish(&overlay.filter);
        changed.into_iter().for_each(|(key, value)| keys::put(batch, key, value));
        Ok(bytes)
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
        let head = Arc::new(Version { id: overlay.id, height: Some(height), root: overlay.root.clone() });
        let pages = &overlay.pages;
        let mut filters = self.shared.filters_mut();
        filters.insert(height, Arc::clone(&overlay.filter));
        let kept = filters.split_off(&lowest_diff);
        drop(std::mem::replace(&mut *filters, kept));
        drop(filters);
        let mut unsaved = self.shared.unsaved_mut();
        unsaved.push(diff_bytes, pages);
        if self.shared.is_archive() {
            let before = Arc::clone(&self.shared.current().head);
            match (&mut unsaved.archive, before.height) {
                (Some(archive), Some(_)) => {
                    archive.push(height, before.root.clone(), overlay.root.clone(), pages.gone_bytes);
                }
                _ => {
                    let marker = ArchiveMarker { from: height, height };
                    unsaved.archive = Some(Archive::new(marker, Some(overlay.root.clone())));
                }
            }
        }
        let dropped = self.shared.replace_head(head, lowest, pages.gone_bytes);
        drop(unsaved);
        self.shared.cache.add_unsaved(pages.new_bytes);
        // After the locks are free.
        self.shared.workers.discard((dropped, overlay));
        self.lowest_diff = lowest_diff;
        let limits = self.shared.limits();
        if self.shared.are_pages_due(limits) || self.shared.is_archive_due(limits) {
            self.shared.checkpoints.ring_due();
        }
    }

    /// Writes chunks of the checkpoint until no more than twice the limits is unsaved: nothing where a thread that runs a
    /// [`Checkpointer`] keeps up. To be called after each block.
    ///
    /// # Errors
    /// The database failed.
    pub fn relieve(&self) -> Result<(), StateError> {
        let limits = self.shared.limits().doubled();
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
