//! What the writer and the readers have in common: the committed versions, and how their values are found.

use super::StateError;
use super::cache::PageCache;
use super::checkpoint::{CheckpointLimits, Checkpoints};
use super::diff::{self, Filter, first_bits};
use super::history;
use super::layer::{Layer, LayerCell, Tree};
use super::overlay::Overlay;
use super::prove::Reading;
use super::store::{HistoryMode, RECENT_VERSIONS_MAX, StateConfig, StateRecord};
use super::tree::Slot;
use super::unsaved::Unsaved;
use crate::database::Database;
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::hash::sha256;
use cairn_primitives::{Hash, Height};
use cairn_storage_cpu::Workers;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A committed version. What its tree is read from stays for as long as somebody has it.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) id: u64,
    /// `None` before genesis.
    pub(super) height: Option<Height>,
    pub(super) root: Hash,
}

/// The tree of the head, and the way back to those of the versions before it.
pub(super) struct Trees {
    pub(super) head: Slot,
    /// The version of the head.
    id: u64,
    /// For each version before the head, oldest first, what leads back to it from the one after it.
    back: VecDeque<(u64, Arc<LayerCell>)>,
}

impl Trees {
    pub(super) const fn new(head: Slot, id: u64) -> Self {
        Self { head, id, back: VecDeque::new() }
    }

    /// The layers from a committed version to the head, if they are kept.
    fn back_to(&self, id: u64) -> Option<impl Iterator<Item = &Arc<LayerCell>>> {
        let start = if id == self.id { self.back.len() } else { self.back.iter().position(|(kept, _)| *kept == id)? };
        Some(self.back.iter().skip(start).map(|(_, cell)| cell))
    }

    /// The layers from an overlay to the head.
    fn below<'a>(&'a self, overlay: &'a Overlay) -> Option<Vec<&'a Arc<LayerCell>>> {
        let mut layers = Vec::new();
        let mut parent = overlay.parent_id;
        for cell in [&overlay.cell].into_iter().chain(&overlay.ancestors) {
            if let Some(back) = self.back_to(cell.id) {
                layers.extend(back);
                return Some(layers);
            }
            layers.push(cell);
            parent = cell.parent_id;
        }
        layers.extend(self.back_to(parent)?);
        Some(layers)
    }
}

/// The trees while they stand still, for one reader.
pub(super) struct Forest<'a> {
    shared: &'a Shared,
    trees: RwLockReadGuard<'a, Trees>,
}

/// The layers between a version and the head.
pub(super) struct Layers<'a> {
    head: &'a Slot,
    layers: Vec<RwLockReadGuard<'a, Layer>>,
}

impl Layers<'_> {
    /// The tree of the version.
    pub(super) fn tree(&self) -> Tree<'_> {
        Tree::new(self.layers.iter().map(|layer| &**layer), self.head)
    }
}

impl Forest<'_> {
    /// The tree of the head.
    pub(super) fn head(&self) -> &Slot {
        &self.trees.head
    }

    fn layers<'b>(&'b self, cells: impl IntoIterator<Item = &'b Arc<LayerCell>>) -> Layers<'b> {
        // Only who has all trees for himself changes a layer, and that half way at no time.
        let layers = cells.into_iter().map(|cell| cell.layer.read().unwrap_or_else(PoisonError::into_inner)).collect();
        Layers { head: &self.trees.head, layers }
    }

    /// Whether a version is the head or one before it whose tree is kept.
    pub(super) fn is_committed(&self, id: u64) -> bool {
        self.trees.back_to(id).is_some()
    }

    /// Those of a committed version.
    ///
    /// # Errors
    /// They are not kept any more.
    pub(super) fn version<'b>(&'b self, version: &Version) -> Result<Layers<'b>, StateError> {
        let back = self.trees.back_to(version.id).ok_or_else(|| StateError::ProofNotKept {
            height: version.height.unwrap_or_default(),
            lowest: self.shared.current().oldest().height.unwrap_or_default(),
        })?;
        Ok(self.layers(back))
    }

    /// Those of an overlay.
    ///
    /// # Errors
    /// They are not kept any more.
    pub(super) fn overlay<'b>(&'b self, overlay: &'b Overlay) -> Result<Layers<'b>, StateError> {
        Ok(self.layers(self.trees.below(overlay).ok_or(StateError::NotOnHead)?))
    }
}

/// What readers see; replaced field by field in one short critical section.
pub(super) struct Current {
    pub(super) head: Arc<Version>,
    /// Versions before the head, oldest first, with the bytes that only they keep in memory.
    pub(super) recent: VecDeque<(Arc<Version>, usize)>,
    pub(super) lowest: Height,
}

impl Current {
    /// The oldest version with its tree.
    pub(super) fn oldest(&self) -> &Arc<Version> {
        self.recent.front().map_or(&self.head, |(version, _)| version)
    }
}

/// What the writer and the readers have in common.
pub(super) struct Shared {
    pub(super) database: Arc<dyn Database>,
    pub(super) cache: PageCache,
    pub(super) checkpoints: Checkpoints,
    pub(super) config: StateConfig,
    pub(super) workers: Workers,
    /// Who takes several of these locks takes them in this order. Nobody takes one twice.
    pub(super) trees: RwLock<Trees>,
    pub(super) unsaved: RwLock<Unsaved>,
    pub(super) current: RwLock<Current>,
    /// Of the blocks whose diffs were looked at or written; those that are missing are in the database.
    pub(super) filters: RwLock<BTreeMap<Height, Arc<Filter>>>,
    pub(super) next_id: AtomicU64,
}

impl Shared {
    /// The trees, which stand still meanwhile: for a short time, as the writer waits.
    pub(super) fn forest(&self) -> Forest<'_> {
        Forest { shared: self, trees: self.trees.read().unwrap_or_else(PoisonError::into_inner) }
    }

    pub(super) fn trees_mut(&self) -> RwLockWriteGuard<'_, Trees> {
        self.trees.write().unwrap_or_else(PoisonError::into_inner)
    }

    // Nothing in a critical section can panic half way.
    pub(super) fn current(&self) -> RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn current_mut(&self) -> RwLockWriteGuard<'_, Current> {
        self.current.write().unwrap_or_else(PoisonError::into_inner)
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

    /// Whether more pages than that wait for a checkpoint.
    pub(super) fn are_pages_due(&self, limits: CheckpointLimits) -> bool {
        let unsaved = self.unsaved();
        unsaved.blocks > limits.blocks
            || unsaved.diff_bytes > limits.diff_bytes
            || (unsaved.blocks > 0 && self.cache.unsaved() > limits.bytes)
    }

    /// Whether more trees than that wait for the archive.
    pub(super) fn is_archive_due(&self, limits: CheckpointLimits) -> bool {
        let unsaved = self.unsaved();
        unsaved.archive.as_ref().is_some_and(|archive| {
            !self.is_archive() || archive.exceeds(limits.archive_bytes, limits.blocks.min(RECENT_VERSIONS_MAX))
        })
    }

    /// Reads the tree of a committed version.
    ///
    /// # Errors
    /// The tree is not kept any more, or what reads fails.
    pub(super) fn read<R>(
        &self,
        version: &Version,
        read: impl FnOnce(&Reading<'_>) -> Result<R, StateError>,
    ) -> Result<R, StateError> {
        let forest = self.forest();
        let layers = forest.version(version)?;
        read(&Reading { shared: self, tree: layers.tree(), height: version.height.unwrap_or_default() })
    }

    /// Reads the tree of an overlay.
    ///
    /// # Errors
    /// The same.
    pub(super) fn read_overlay<R>(
        &self,
        overlay: &Overlay,
        read: impl FnOnce(&Reading<'_>) -> Result<R, StateError>,
    ) -> Result<R, StateError> {
        let forest = self.forest();
        let layers = forest.overlay(overlay)?;
        read(&Reading { shared: self, tree: layers.tree(), height: overlay.height })
    }

    /// The value of a key at a height that is kept.
    pub(super) fn value_at(&self, height: Height, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let head = Arc::clone(&self.current().head);
        let head_height = head.height.unwrap_or_default();
        match self.replaced_after(height, head_height, key)? {
            Some(replaced) => Ok(replaced),
            None => self.read(&head, |reading| reading.get(key)),
        }
    }

    /// What the first block above a height, up to `head`, that changed a key replaced, if one did.
    fn replaced_after(&self, height: Height, head: Height, key: &[u8]) -> Result<Option<Option<Vec<u8>>>, StateError> {
        let mut next = height.next();
        let archived = self.unsaved().archive.as_ref().map(|archive| archive.marker);
        if let Some(archived) = archived.filter(|archived| archived.holds_changes_of(next)) {
            let replaced = history::replaced(&*self.database, key, height)?;
            if replaced.is_some() {
                return Ok(replaced);
            }
            next = archived.height.next();
        }
        let bits = first_bits(&sha256(key));
        for height in (next.0..=head.0).map(Height) {
            if !self.filter(height)?.may_contain(bits) {
                continue;
            }
            if let Some(change) = diff::find(&*self.database, height, key)? {
                return Ok(Some(change.old));
            }
        }
        Ok(None)
    }

    fn filter(&self, height: Height) -> Result<Arc<Filter>, StateError> {
        let known = self.filters.read().unwrap_or_else(PoisonError::into_inner).get(&height).cloned();
        if let Some(filter) = known {
            return Ok(filter);
        }
        let filter = Arc::new(diff::filter(&*self.database, height)?);
        self.filters_mut().insert(height, Arc::clone(&filter));
        Ok(filter)
    }

    // A map is whole after a panic elsewhere.
    pub(super) fn filters_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<Height, Arc<Filter>>> {
        self.filters.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value with a hash that a version shows at a height, where the page does not hold it.
    pub(super) fn long_value(&self, key: &[u8], hash: &Hash, height: Height) -> Result<Vec<u8>, StateError> {
        let is_it = |value: &Vec<u8>| sha256(value) == *hash;
        if let Some(value) = self.database.get(Table::StateKeys, key)?.filter(is_it) {
            return Ok(value);
        }
        // Not the head: a block that is on disk may not be the head yet, and has replaced the value.
        let head = StateRecord::read(&*self.database)?.map_or(height, |record| record.height);
        let replaced = self.replaced_after(height, head, key)?.flatten().filter(is_it);
        replaced.ok_or_else(|| {
            let reason = format!("value {hash} of key {key:?} at height {height}");
            DatabaseError::Missing { table: Table::StateKeys, reason }.into()
        })
    }

    /// Makes an overlay on the head the head itself. Returns what is not needed any more.
    pub(super) fn advance(&self, trees: &mut Trees, overlay: &Overlay, height: Height, lowest: Height) -> Dropped {
        let kept = {
            let mut layer = overlay.cell.layer.write().unwrap_or_else(PoisonError::into_inner);
            layer.swap(&mut trees.head, &self.cache, &self.workers);
            layer.size().saturating_add(overlay.pages.gone_bytes)
        };
        trees.id = overlay.id;
        let head = Arc::new(Version { id: overlay.id, height: Some(height), root: overlay.root });
        let mut current = self.current_mut();
        let old = std::mem::replace(&mut current.head, head);
        current.lowest = lowest;
        if old.height.is_some() {
            trees.back.push_back((old.id, Arc::clone(&overlay.cell)));
            current.recent.push_back((old, kept));
        }
        let mut bytes = current.recent.iter().fold(0_usize, |sum, (_, kept)| sum.saturating_add(*kept));
        let mut dropped = Dropped::default();
        // A version below the lowest height goes too: the history has lost the long values that it shows.
        while let Some((oldest, kept)) = current.recent.front() {
            let is_due = current.recent.len() > RECENT_VERSIONS_MAX
                || bytes > self.config.recent_bytes
                || oldest.height < Some(lowest);
            if !is_due || Arc::strong_count(oldest) > 1 {
                break;
            }
            bytes = bytes.saturating_sub(*kept);
            current.recent.pop_front();
            dropped.layers.extend(trees.back.pop_front());
        }
        dropped
    }

    /// Forgets all versions but the head.
    pub(super) fn forget_recent(&self, trees: &mut Trees) {
        trees.back.clear();
        self.current_mut().recent.clear();
    }

    pub(super) fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

/// What is not needed any more, to be taken apart when there is time.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    layers: Vec<(u64, Arc<LayerCell>)>,
}
