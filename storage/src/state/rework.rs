//! What tools do to a stopped node's state: take the last blocks back, and make the window smaller at once.
//!
//! Each step is one batch that leaves a whole state, so that an interruption at any point is no more than a pause. While blocks are
//! taken back, a record says from where: pages on disk may be of any height up to there, and opening undoes with the diffs,
//! which stay until the pages are written, what the blocks made of them.

use super::StateError;
use super::archive;
use super::diff;
use super::history;
use super::keys;
use super::merge::Merged;
use super::overlay::Overlay;
use super::store::{StateRecord, StateStore};
use super::unsaved::{Archive, ArchiveMarker, put_undo};
use crate::batch::WriteBatch;
use crate::database::{Direction, Durability, KeyRange};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::hash::sha256;
use cairn_primitives::{Hash, Height};
use std::sync::Arc;

/// Records looked at in one step of pruning an archive.
const PRUNED_PER_STEP: usize = 4_096;

/// The state below the head, staged into a batch.
#[must_use = "the store follows the database only after `apply_undo`"]
pub struct StagedUndo {
    overlay: Arc<Overlay>,
    height: Height,
}

impl StateStore {
    /// Brings pages and archive to the head and puts them on disk.
    ///
    /// # Errors
    /// The database failed.
    pub fn settle(&self) -> Result<(), StateError> {
        self.checkpointer().finish()
    }

    /// Adds what takes the head's block back to a batch: keys, archive and the record of the state below it. `root` is the root of
    /// that state, which the result must have. Call [`Self::apply_undo`] after the batch is durable, and
    /// [`Self::finish_undo`] after the last one.
    ///
    /// # Errors
    /// The changes of the head's block are not kept, what they leave has another root, or the database failed or is damaged.
    pub fn stage_undo(&self, root: Hash, batch: &mut WriteBatch) -> Result<StagedUndo, StateError> {
        let database = &*self.shared.database;
        let (head, lowest) = {
            let current = self.shared.current();
            (Arc::clone(&current.head), current.lowest)
        };
        let top = head.height.unwrap_or_default();
        let height = Height(top.0.saturating_sub(1));
        let kept = diff::lowest(database)?.unwrap_or_else(|| top.next());
        if top <= lowest || top < kept {
            return Err(StateError::Pruned { height, lowest: lowest.max(Height(kept.0.saturating_sub(1))) });
        }
        let diff = diff::read(database, top)?;
        for change in &diff {
            keys::put(batch, &change.key, change.old.as_deref());
        }
        let changes = diff.iter().map(|change| (&change.key, change.old.as_ref())).collect();
        let overlay = self.overlay(None, changes)?;
        if overlay.root() != root {
            return Err(StateError::WrongRoot { height, computed: overlay.root(), recorded: root });
        }
        if let Some(marker) = self.archive_marker().filter(|marker| marker.height == top) {
            let keys: Vec<_> = diff.into_iter().map(|change| change.key).collect();
            history::take_back(batch, top, &keys);
            let mut changed: Vec<_> = keys.iter().map(|key| sha256(key)).collect();
            changed.sort_unstable();
            let forest = self.shared.forest();
            let (below, above) = (forest.overlay(&overlay)?, forest.version(&head)?);
            let below = archive::PastTree { cache: &self.shared.cache, tree: &below.tree() };
            archive::take_back(batch, top, below, &above.tree(), &changed)?;
            ArchiveMarker { height, ..marker }.put(batch);
        }
        // The pages may be of the block that goes, and of those above it that went before.
        put_undo(batch, super::unsaved::read_undo(database)?.unwrap_or(top));
        StateRecord { height, root, lowest }.put(batch);
        Ok(StagedUndo { overlay, height })
    }

    /// Moves the head down to a state that was staged by [`Self::stage_undo`], whose batch is durable.
    ///
    /// # Errors
    /// The database failed.
    pub fn apply_undo(&mut self, staged: StagedUndo) -> Result<(), StateError> {
        let StagedUndo { overlay, height } = staged;
        let cache = &self.shared.cache;
        overlay.pages.gone.iter().for_each(|(bucket, page)| cache.pin(bucket, page));
        self.shared.filters_mut().clear();
        let lowest = self.shared.current().lowest;
        let mut trees = self.shared.trees_mut();
        let mut unsaved = self.shared.unsaved_mut();
        unsaved.push(0, &overlay.pages);
        drop(self.shared.advance(&mut trees, &overlay, height, lowest));
        self.shared.forget_recent(&mut trees);
        if let Some(archive) = &mut unsaved.archive {
            let marker = ArchiveMarker { height: height.min(archive.marker.height), ..archive.marker };
            let version = archive.version.as_ref().map(|_| Arc::clone(&self.shared.current().head));
            *archive = Archive::new(marker, version);
        }
        drop(unsaved);
        drop(trees);
        cache.add_unsaved(overlay.pages.new_bytes);
        self.relieve()
    }

    /// Writes the pages of the state that is left, and forgets the blocks that were taken back.
    ///
    /// # Errors
    /// The database failed.
    pub fn finish_undo(&self) -> Result<(), StateError> {
        let database = &*self.shared.database;
        let Some(top) = super::unsaved::read_undo(database)? else { return Ok(()) };
        let head = self.head().map_or(Height::ZERO, |head| head.height);
        // What is in memory may not be all that differs from the pages on disk.
        self.shared.unsaved_mut().blocks = 1;
        self.settle()?;
        let mut batch = WriteBatch::new();
        super::unsaved::delete_undo(&mut batch);
        diff::delete(&mut batch, head.next(), top.next());
        Ok(database.write(batch, Durability::Synced)?)
    }

    /// Makes heights below `target` unreadable, and deletes what only they show; tells after each step how many records of the
    /// archive were looked at.
    ///
    /// # Errors
    /// The database failed or is damaged.
    pub fn prune(&mut self, target: Height, on_step: &mut dyn FnMut(u64)) -> Result<Height, StateError> {
        let Some(head) = self.head() else { return Ok(Height::ZERO) };
        self.settle()?;
        let lowest = target.min(head.height).max(self.shared.current().lowest);
        let mut batch = WriteBatch::new();
        StateRecord { height: head.height, root: head.root, lowest }.put(&mut batch);
        let marker = ArchiveMarker::read(&*self.shared.database)?;
        if let Some(marker) = marker {
            ArchiveMarker { from: marker.from.max(lowest), ..marker }.put(&mut batch);
        }
        // What is on its way below goes with the rest.
        Merged::delete(&mut batch);
        let end = self.shared.checkpoints.flushed().min(lowest.next());
        diff::delete(&mut batch, Height::ZERO, end);
        self.shared.database.write(batch, Durability::Synced)?;
        self.shared.forget_recent(&mut self.shared.trees_mut());
        self.shared.current_mut().lowest = lowest;
        let mut looked_at = 0_u64;
        for table in [Table::StateHistory, Table::StateNodes] {
            self.prune_table(table, lowest, &mut |count| {
                looked_at = looked_at.saturating_add(count);
                on_step(looked_at);
            })?;
        }
        Ok(lowest)
    }

    /// Deletes the records of an archive that no height from `lowest` on needs. Their keys end with the height.
    fn prune_table(&self, table: Table, lowest: Height, on_step: &mut dyn FnMut(u64)) -> Result<(), DatabaseError> {
        let database = &*self.shared.database;
        let mut range = KeyRange::all();
        loop {
            let records = database.scan(table, &range, Direction::Forward, PRUNED_PER_STEP)?;
            let Some((last, _)) = records.last() else { return Ok(()) };
            range.start.clone_from(last);
            range.start.push(0);
            let count = u64::try_from(records.len()).unwrap_or(u64::MAX);
            let mut batch = WriteBatch::new();
            for (key, _) in records {
                let height = key.last_chunk().map(|height| Height(u32::from_be_bytes(*height)));
                if height.is_some_and(|height| height <= lowest) {
                    batch.delete(table, key);
                }
            }
            database.write(batch, Durability::Synced)?;
            on_step(count);
        }
    }

    fn archive_marker(&self) -> Option<ArchiveMarker> {
        self.shared.unsaved().archive.as_ref().map(|archive| archive.marker)
    }
}
