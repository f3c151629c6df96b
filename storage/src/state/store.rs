//! The state store: one writer that stages blocks into the ledger's batch, and what it shares with readers.

use super::StateError;
use super::cache::{Bucket, PageCache};
use super::checkpoint::{
    Archived, BlockChanges, CheckpointLimits, Checkpointer, Checkpoints, Marker, Progress, Trees, Unsaved,
};
use super::history;
use super::open;
use super::overlay::{Changes, Overlay};
use super::prove::Version as Reading;
use super::tree::{Location, Slot};
use super::update::update;
use super::view::{StateReadModel, StateView};
use crate::batch::WriteBatch;
use crate::blocks;
use crate::database::{Database, DatabaseView, Direction, KeyRange};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::{Hash, Height};
use parity_scale_codec::{Decode, Encode};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How many committed versions before the head stay provable at most.
pub const RECENT_VERSIONS_MAX: usize = 64;
/// How many heights leave the window in one block at most: pruning catches up with a window that was made smaller, and a
/// block never waits long for it.
const PRUNED_HEIGHTS_PER_BLOCK: u32 = 2;
/// How many diffs are deleted in one block at most.
const DIFFS_DELETED_PER_BLOCK: u32 = 16;
/// Key in [`Table::Meta`] of the [`StateRecord`].
const META_STATE: &[u8] = b"state";

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
    /// Memory for pages of the head, in bytes; more state than that is read from the database.
    pub cache_bytes: usize,
    /// Memory for versions before the head, in bytes; they are dropped from the oldest on.
    pub recent_bytes: usize,
    /// How far pages and history may be behind the committed head.
    pub unsaved: CheckpointLimits,
    /// Threads for a block's changes; results are the same for any number.
    pub threads: usize,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self {
            history: HistoryMode::Archive,
            cache_bytes: 32 << 20,
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
struct StateRecord {
    height: Height,
    root: Hash,
    /// The lowest height that can be read.
    lowest: Height,
}

/// A committed version.
pub(super) struct Version {
    id: u64,
    /// `None` before genesis.
    pub(super) height: Option<Height>,
    pub(super) root: Slot,
}

/// What readers see; replaced field by field in one short critical section.
pub(super) struct Current {
    pub(super) head: Arc<Version>,
    /// Versions before the head, oldest first, with the bytes that only they keep in memory.
    pub(super) recent: VecDeque<(Arc<Version>, usize)>,
    pub(super) lowest: Height,
}

/// What the writer and the readers have in common.
pub(super) struct Shared {
    pub(super) database: Arc<dyn Database>,
    pub(super) cache: PageCache,
    pub(super) checkpoints: Checkpoints,
    config: StateConfig,
    /// Where both locks are held, this one is taken first.
    unsaved: RwLock<Unsaved>,
    current: RwLock<Current>,
    next_id: AtomicU64,
}

impl Shared {
    // Nothing in a critical section can panic half way.
    pub(super) fn current(&self) -> RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What no checkpoint has saved yet.
    pub(super) fn unsaved(&self) -> RwLockReadGuard<'_, Unsaved> {
        self.unsaved.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn unsaved_mut(&self) -> RwLockWriteGuard<'_, Unsaved> {
        self.unsaved.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_archive(&self) -> bool {
        self.config.history == HistoryMode::Archive
    }

    pub(super) const fn limits(&self) -> CheckpointLimits {
        self.config.unsaved
    }

    pub(super) fn is_checkpoint_due(&self) -> bool {
        self.unsaved().exceeds(self.limits())
    }

    pub(super) fn reading<'a>(&'a self, root: &'a Slot, height: Height) -> Reading<'a> {
        Reading { database: &*self.database, cache: &self.cache, root, height }
    }

    /// Moves the head; `kept` are the bytes that only the old head keeps in memory. Returns the versions that are too old.
    fn replace_head(&self, head: Arc<Version>, lowest: Height, kept: usize) -> Vec<(Arc<Version>, usize)> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut current.head, head);
        current.lowest = lowest;
        if old.height.is_some() {
            current.recent.push_back((old, kept));
        }
        let mut bytes = current.recent.iter().fold(0_usize, |sum, (_, kept)| sum.saturating_add(*kept));
        let mut dropped = Vec::new();
        // A version below the lowest height goes too: the history has lost the long values that it shows.
        let is_old = |(version, _): &(Arc<Version>, usize)| version.height < Some(lowest);
        while current.recent.len() > RECENT_VERSIONS_MAX
            || bytes > self.config.recent_bytes
            || current.recent.front().is_some_and(is_old)
        {
            let Some(oldest) = current.recent.pop_front() else { break };
            bytes = bytes.saturating_sub(oldest.1);
            dropped.push(oldest);
        }
        dropped
    }

    fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

/// The writer's side of the state. Readers get a [`StateReadModel`] or a [`StateView`].
pub struct StateStore {
    shared: Arc<Shared>,
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
    is_first: bool,
}

impl StateStore {
    /// Opens the state: reads all pages once, applies the diffs above the last checkpoint, and checks that this gives the
    /// recorded root.
    ///
    /// # Errors
    /// The database failed, holds damaged pages or diffs, or they give another root than the recorded one.
    pub fn open(database: Arc<dyn Database>, config: StateConfig) -> Result<Self, StateError> {
        let record: Option<StateRecord> = blocks::read(&*database, Table::Meta, META_STATE)?;
        let cache = PageCache::new(Arc::clone(&database), config.cache_bytes);
        let root = open::build(&*database, &cache)?;
        let (height, recorded, lowest) = match record {
            Some(record) => (Some(record.height), record.root, record.lowest),
            None => (None, Slot::EMPTY.hash, Height::ZERO),
        };
        let marker = if record.is_some() { Marker::read(&*database)? } else { Marker::default() };
        let checkpoints = Checkpoints::new(Progress::new(marker, &root));
        let is_archive = record.is_some() && config.history == HistoryMode::Archive;
        let (root, unsaved) = open::replay(&*database, &cache, root, marker, height.unwrap_or_default(), is_archive)?;
        if root.hash != recorded {
            let height = height.unwrap_or_default();
            return Err(StateError::WrongRoot { height, computed: root.hash, recorded });
        }
        let head = Arc::new(Version { id: 0, height, root });
        let current = RwLock::new(Current { head, recent: VecDeque::new(), lowest });
        let lowest_diff = lowest_diff(&*database)?.unwrap_or_else(|| marker.height.next());
        let next_id = AtomicU64::new(1);
        let unsaved = RwLock::new(unsaved);
        let shared = Shared { database, cache, checkpoints, config, unsaved, current, next_id };
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
        let updated = update(&self.shared.cache, root, &changes, self.shared.config.threads)?;
        Ok(Arc::new(Overlay {
            id: self.shared.new_id(),
            parent_id,
            height,
            root: updated.root,
            changes: Arc::new(changes),
            effective: updated.effective.into(),
            pages: updated.pages,
            replaced: updated.replaced,
            kept_bytes: updated.kept_bytes,
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

    /// Adds an overlay on the committed head to the batch that commits its block: its diff and the state record; of the
    /// first block pages and history too. One block a batch; call [`Self::apply`] after the batch is durable.
    ///
    /// # Errors
    /// The overlay does not stand on the head, or the height is not the next.
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
        let lowest = match head.height {
            Some(head) if head.next() != height => return Err(StateError::NotNext { height, head }),
            Some(_) => self.lowest_after(height, lowest),
            None => height,
        };
        // From here on, readers of older versions find the replaced pages in memory, whatever a checkpoint overwrites.
        for (bucket, page) in &overlay.replaced {
            self.shared.cache.pin(bucket, page);
        }
        if head.height.is_some() {
            let changes: Vec<_> = overlay.effective_changes().collect();
            batch.put(Table::StateDiffs, height.0.to_be_bytes(), changes.encode());
            self.delete_diffs(batch);
        } else {
            for (prefix, bucket) in &overlay.pages {
                put_page(batch, prefix, bucket.as_ref());
            }
            history::put(batch, height, overlay.effective_changes());
            Marker { height, pruned: height, provable: height }.put(batch);
        }
        batch.put(Table::Meta, META_STATE, StateRecord { height, root: overlay.root.hash, lowest }.encode());
        let is_first = head.height.is_none();
        Ok(StagedState { overlay: Arc::clone(overlay), height, lowest, is_first })
    }

    fn delete_diffs(&self, batch: &mut WriteBatch) {
        let end = self.shared.checkpoints.flushed().0.saturating_add(1);
        for height in self.lowest_diff.0..end.min(self.lowest_diff.0.saturating_add(DIFFS_DELETED_PER_BLOCK)) {
            batch.delete(Table::StateDiffs, height.to_be_bytes());
        }
    }

    fn lowest_after(&self, height: Height, lowest: Height) -> Height {
        match self.shared.config.history {
            HistoryMode::Archive => lowest,
            // The block before the head is always kept: what the new block changes is not in the database yet.
            HistoryMode::Window(blocks) => {
                let target = height.0.saturating_sub(blocks.max(1));
                Height(target.clamp(lowest.0, lowest.0.saturating_add(PRUNED_HEIGHTS_PER_BLOCK)))
            }
        }
    }

    /// Moves the head to a staged block, whose batch is durable.
    pub fn apply(&mut self, staged: StagedState) {
        let StagedState { overlay, height, lowest, is_first } = staged;
        let head = Arc::new(Version { id: overlay.id, height: Some(height), root: overlay.root.clone() });
        let mut unsaved = self.shared.unsaved_mut();
        if !is_first {
            let (changes, effective) = (Arc::clone(&overlay.changes), Arc::clone(&overlay.effective));
            let before = self.shared.current().head.root.clone();
            let trees = self.shared.is_archive().then(|| Trees { before, after: overlay.root.clone() });
            unsaved.push(BlockChanges { height, changes, effective, trees }, &overlay.pages, overlay.kept_bytes);
        } else if self.shared.is_archive() {
            unsaved.archived = Some(Archived { tree: overlay.root.clone(), height, from: height });
        }
        let dropped = self.shared.replace_head(head, lowest, overlay.kept_bytes);
        let is_due = unsaved.exceeds(self.shared.limits());
        drop(unsaved);
        // Old versions are taken apart after the locks are free.
        drop(dropped);
        if is_first {
            overlay.pages.values().flatten().for_each(|bucket| self.shared.cache.saved(bucket));
            self.lowest_diff = height.next();
        } else {
            let end = self.shared.checkpoints.flushed().next().min(height);
            let deleted = self.lowest_diff.0.saturating_add(DIFFS_DELETED_PER_BLOCK);
            self.lowest_diff = Height(deleted.min(end.0).max(self.lowest_diff.0));
        }
        if is_due {
            self.shared.checkpoints.ring_due();
        }
    }

    /// Writes chunks of the checkpoint until no more than twice the limits is unsaved: nothing where a thread that runs a
    /// [`Checkpointer`] keeps up. To be called after each block.
    ///
    /// # Errors
    /// The database failed.
    pub fn relieve(&self) -> Result<(), StateError> {
        let soft = self.shared.limits();
        let (bytes, blocks) = (soft.bytes.saturating_mul(2), soft.blocks.saturating_mul(2));
        let limits = CheckpointLimits { bytes, blocks, ..soft };
        if self.shared.unsaved().exceeds(limits) {
            let checkpointer = self.checkpointer();
            while self.shared.is_checkpoint_due() && checkpointer.step()? {}
        }
        Ok(())
    }

    /// What writes pages and history behind the committed blocks.
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

/// Puts or deletes a page; returns about how many bytes that writes.
pub(super) fn put_page(batch: &mut WriteBatch, prefix: &Hash, bucket: Option<&Arc<Bucket>>) -> usize {
    let key = Location::page_key(prefix);
    // A bucket is resident until a checkpoint has saved it.
    match bucket.and_then(|bucket| bucket.resident()) {
        Some(page) => {
            batch.put(Table::StatePages, key, page.record());
            key.len().saturating_add(page.record().len())
        }
        None => {
            batch.delete(Table::StatePages, key);
            key.len()
        }
    }
}

fn lowest_diff(view: &dyn DatabaseView) -> Result<Option<Height>, DatabaseError> {
    let first = view.scan(Table::StateDiffs, &KeyRange::all(), Direction::Forward, 1)?;
    let height = |(key, _): &(Vec<u8>, Vec<u8>)| key.as_slice().try_into().ok().map(u32::from_be_bytes).map(Height);
    Ok(first.first().and_then(height))
}
