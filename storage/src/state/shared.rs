//! What the writer and the readers have in common: the committed versions, and how their values are found.

use super::StateError;
use super::cache::PageCache;
use super::checkpoint::{CheckpointLimits, Checkpoints};
use super::diff::{self, Filter, first_bits};
use super::history;
use super::prove::Version as Reading;
use super::store::{HistoryMode, RECENT_VERSIONS_MAX, StateConfig};
use super::threads::Workers;
use super::tree::Slot;
use super::unsaved::Unsaved;
use crate::database::Database;
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::hash::sha256;
use cairn_primitives::{Hash, Height};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A committed version.
pub(super) struct Version {
    pub(super) id: u64,
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
    pub(super) config: StateConfig,
    pub(super) workers: Workers,
    /// Where both locks are held, this one is taken first.
    pub(super) unsaved: RwLock<Unsaved>,
    pub(super) current: RwLock<Current>,
    /// Of the blocks whose diffs were looked at or written; those that are missing are in the database.
    pub(super) filters: RwLock<BTreeMap<Height, Arc<Filter>>>,
    pub(super) next_id: AtomicU64,
}

impl Shared {
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
            !self.is_archive() || archive.exceeds(limits.bytes, limits.blocks.min(RECENT_VERSIONS_MAX))
        })
    }

    pub(super) const fn reading<'a>(&'a self, root: &'a Slot, height: Height) -> Reading<'a> {
        Reading { shared: self, root, height }
    }

    /// The value of a key at a height that is kept.
    pub(super) fn value_at(&self, height: Height, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let head = Arc::clone(&self.current().head);
        let head_height = head.height.unwrap_or_default();
        match self.replaced_after(height, head_height, key)? {
            Some(replaced) => Ok(replaced),
            None => self.reading(&head.root, head_height).get(key),
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
        let head = self.current().head.height.unwrap_or_default();
        let replaced = self.replaced_after(height, head, key)?.flatten().filter(is_it);
        replaced.ok_or_else(|| {
            let reason = format!("value {hash} of key {key:?} at height {height}");
            DatabaseError::Missing { table: Table::StateKeys, reason }.into()
        })
    }

    /// Moves the head; `kept` are the bytes that only the old head keeps in memory. Returns the versions that are too old.
    pub(super) fn replace_head(&self, head: Arc<Version>, lowest: Height, kept: usize) -> Vec<(Arc<Version>, usize)> {
        let mut current = self.current_mut();
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

    pub(super) fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}
