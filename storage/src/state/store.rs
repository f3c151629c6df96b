//! The state store: one writer that stages blocks into the ledger's batch, and what it shares with readers.

use super::StateError;
use super::cache::PageCache;
use super::history;
use super::open;
use super::overlay::{Changes, Overlay};
use super::prove::Version as Reading;
use super::tree::{Location, Slot};
use super::update::update;
use super::view::{StateReadModel, StateView};
use crate::batch::WriteBatch;
use crate::blocks;
use crate::database::Database;
use crate::table::Table;
use cairn_primitives::{Hash, Height};
use parity_scale_codec::{Decode, Encode};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// How many committed versions before the head stay provable at most.
pub const RECENT_VERSIONS_MAX: usize = 64;
/// How many heights leave the window in one block at most: pruning catches up with a window that was made smaller, and a
/// block never waits long for it.
const PRUNED_HEIGHTS_PER_BLOCK: u32 = 2;
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
}

impl Default for StateConfig {
    fn default() -> Self {
        Self { history: HistoryMode::Archive, cache_bytes: 32 << 20, recent_bytes: 16 << 20 }
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
    config: StateConfig,
    current: RwLock<Current>,
    next_id: AtomicU64,
}

impl Shared {
    // Nothing in a critical section can panic half way.
    pub(super) fn current(&self) -> RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
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
        while current.recent.len() > RECENT_VERSIONS_MAX || bytes > self.config.recent_bytes {
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
}

/// A block that was staged into a batch; given back to [`StateStore::apply`] once the batch is durable.
#[must_use = "the store follows the database only after `apply`"]
pub struct StagedState {
    overlay: Arc<Overlay>,
    height: Height,
    lowest: Height,
}

impl StateStore {
    /// Opens the state: reads all pages once, and checks that they give the recorded root.
    ///
    /// # Errors
    /// The database failed, holds damaged pages, or its pages give another root than the recorded one.
    pub fn open(database: Arc<dyn Database>, config: StateConfig) -> Result<Self, StateError> {
        let record: Option<StateRecord> = blocks::read(&*database, Table::Meta, META_STATE)?;
        let root = open::build(&*database)?;
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
        let cache = PageCache::new(Arc::clone(&database), config.cache_bytes);
        let shared = Shared { database, cache, config, current, next_id: AtomicU64::new(1) };
        Ok(Self { shared: Arc::new(shared) })
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
        let updated = update(&self.shared.cache, root, &changes)?;
        Ok(Arc::new(Overlay {
            id: self.shared.new_id(),
            parent_id,
            height,
            root: updated.root,
            changes,
            effective: updated.effective,
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

    /// Adds an overlay on the committed head to the batch that commits its block: pages, history, diff, pruning and the
    /// state record. One block a batch; call [`Self::apply`] after the batch is durable.
    ///
    /// # Errors
    /// The overlay does not stand on the head, the height is not the next, or the database failed while pruning.
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
        // From here on, readers of older versions find the replaced pages in memory, whatever the batch overwrites.
        for (bucket, page) in &overlay.replaced {
            PageCache::pin(bucket, page);
        }
        put_pages(overlay, batch);
        history::put(batch, height, overlay.effective_changes());
        if let Some(head) = head.height {
            let keys: Vec<_> = overlay.effective_changes().map(|(key, _)| key).collect();
            history::put_diff(batch, height, &keys);
            self.prune(head, lowest, batch)?;
        }
        batch.put(Table::Meta, META_STATE, StateRecord { height, root: overlay.root.hash, lowest }.encode());
        Ok(StagedState { overlay: Arc::clone(overlay), height, lowest })
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

    /// Deletes what only heights below the new lowest one show.
    fn prune(&self, head: Height, lowest: Height, batch: &mut WriteBatch) -> Result<(), StateError> {
        let before = self.shared.current().lowest;
        for height in before.next().0..=lowest.0.min(head.0) {
            history::prune(&*self.shared.database, batch, Height(height))?;
        }
        Ok(())
    }

    /// Moves the head to a staged block, whose batch is durable.
    pub fn apply(&mut self, staged: StagedState) {
        let StagedState { overlay, height, lowest } = staged;
        let head = Arc::new(Version { id: overlay.id, height: Some(height), root: overlay.root.clone() });
        let dropped = self.shared.replace_head(head, lowest, overlay.kept_bytes);
        // Old versions are taken apart after the lock is free.
        drop(dropped);
        for bucket in overlay.pages.values().flatten() {
            self.shared.cache.unpin(bucket);
        }
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

fn put_pages(overlay: &Overlay, batch: &mut WriteBatch) {
    for (prefix, bucket) in &overlay.pages {
        let key = Location::page_key(prefix);
        // A bucket of an overlay is pinned until it is committed, so its page is in memory.
        match bucket.as_ref().and_then(|bucket| bucket.resident()) {
            Some(page) => batch.put(Table::StatePages, key, page.record()),
            None => batch.delete(Table::StatePages, key),
        }
    }
}
