//! An archive that is extended down to genesis, with the records that another archive has of the blocks below.
//!
//! ```text
//!   the other archive ── records up to the height where this one begins ──► this one ── all here ──► one synced batch:
//!                        in chunks, flushed now and then, not read by anyone                         it begins at genesis
//! ```
//! Records say what a block replaced, and are the same whoever executed it: those of the blocks below are all that an
//! archive lacks to tell of the heights below.
//!
//! The record [`Merged`] says up to which height records are on their way here and how many are on disk for good: a crash
//! takes those after, and copying goes on there. Who deletes records of the archive deletes that record with them, so that
//! copying begins anew. Nothing reads what was copied until the marker of the archive moves.

use super::StateError;
use super::shared::Shared;
use super::store::{StateRecord, StateStore};
use super::unsaved::ArchiveMarker;
use crate::batch::WriteBatch;
use crate::blocks;
use crate::database::{DatabaseView, Direction, Durability, KeyRange};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::Height;
use parity_scale_codec::{Decode, Encode};
use std::sync::Arc;

/// Key in [`Table::Meta`] of [`Merged`].
pub(super) const META_MERGE: &[u8] = b"merge";
/// What an archive consists of. The keys of both tables end with the height.
const TABLES: [Table; 2] = [Table::StateHistory, Table::StateNodes];
/// Records read at once: a value has up to a megabyte.
const SCANNED: usize = 64;
/// Writes between two flushes: what a crash may take.
const FLUSH_CHUNKS: usize = 64;

/// Which records of another archive are here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Merged {
    /// Those of the blocks up to this height are to come.
    pub(super) to: Height,
    /// How many of [`TABLES`] are here.
    tables: u8,
    /// Of the next one, all records up to this key.
    last: Option<Vec<u8>>,
}

impl Merged {
    pub(super) fn read(view: &dyn DatabaseView) -> Result<Option<Self>, DatabaseError> {
        blocks::read(view, Table::Meta, META_MERGE)
    }

    /// Says that no records are on their way.
    pub(super) fn delete(batch: &mut WriteBatch) {
        batch.delete(Table::Meta, META_MERGE);
    }

    fn put(&self, batch: &mut WriteBatch) {
        batch.put(Table::Meta, META_MERGE, self.encode());
    }

    /// The table whose records come next; none once all are here.
    fn table(&self) -> Option<Table> {
        TABLES.get(usize::from(self.tables)).copied()
    }

    /// Adds the next records of `source` to a batch, until about so many bytes were looked at.
    fn copy(
        &mut self,
        source: &dyn DatabaseView,
        bytes_max: usize,
        batch: &mut WriteBatch,
    ) -> Result<(), DatabaseError> {
        let mut bytes = 0_usize;
        while let Some(table) = self.table().filter(|_| bytes < bytes_max) {
            let start = self.last.as_ref().map_or_else(Vec::new, |last| [last, &[0][..]].concat());
            let records = source.scan(table, &KeyRange::from(start), Direction::Forward, SCANNED)?;
            self.last = records.last().map(|(key, _)| key.clone());
            if records.is_empty() {
                self.tables = self.tables.saturating_add(1);
            }
            for (key, value) in records {
                bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
                let height = key.last_chunk().map(|height| Height(u32::from_be_bytes(*height)));
                let height = height.ok_or_else(|| DatabaseError::damaged(table, "a key does not end with a height"))?;
                if height <= self.to {
                    batch.put(table, key, value);
                }
            }
        }
        Ok(())
    }
}

/// Copies what another archive has of the heights below this one; for a thread of its own.
pub struct ArchiveMerge {
    shared: Arc<Shared>,
    to: Height,
    merged: Option<Merged>,
    /// Writes since the last flush.
    unflushed: usize,
}

impl ArchiveMerge {
    /// The height where this archive begins: the other one has to begin at genesis and to reach up to there.
    #[must_use]
    pub const fn to(&self) -> Height {
        self.to
    }

    /// Copies some records, as many bytes as a checkpoint writes at once, going on where an earlier run stopped; false once
    /// all are here for good. `source` is the database of another state of the same chain, settled and at rest.
    ///
    /// # Errors
    /// The other archive does not hold what is wanted; a database failed.
    pub fn step(&mut self, source: &dyn DatabaseView) -> Result<bool, StateError> {
        let mut merged = match self.merged.take() {
            Some(merged) => merged,
            None => self.begin(source)?,
        };
        if merged.table().is_some() {
            let mut batch = WriteBatch::new();
            merged.copy(source, self.shared.limits().chunk_bytes, &mut batch)?;
            self.shared.database.write(batch, Durability::Derived)?;
            self.unflushed = self.unflushed.saturating_add(1);
            if self.unflushed >= FLUSH_CHUNKS || merged.table().is_none() {
                self.unflushed = 0;
                self.shared.database.flush()?;
                let mut batch = WriteBatch::new();
                merged.put(&mut batch);
                self.shared.database.write(batch, Durability::Synced)?;
            }
        }
        let is_more = merged.table().is_some();
        self.merged = Some(merged);
        Ok(is_more)
    }

    /// What is here of an earlier run, or nothing.
    fn begin(&self, source: &dyn DatabaseView) -> Result<Merged, StateError> {
        let found = ArchiveMarker::read(source)?;
        if found.is_none_or(|found| found.from > Height::ZERO || found.height < self.to) {
            let found = found.map(|found| (found.from, found.height));
            return Err(StateError::OtherArchive { found, wanted: self.to });
        }
        let database = &self.shared.database;
        if let Some(merged) = Merged::read(&**database)?.filter(|merged| merged.to == self.to) {
            return Ok(merged);
        }
        // With no marker on disk, the next start would take the records for those of an archive that is gone.
        let mut batch = WriteBatch::new();
        let _progress = self.shared.checkpoints.progress();
        database.flush()?;
        if let Some(archive) = &self.shared.unsaved().archive {
            archive.marker.put(&mut batch);
        }
        let merged = Merged { to: self.to, ..Merged::default() };
        merged.put(&mut batch);
        database.write(batch, Durability::Synced)?;
        Ok(merged)
    }
}

impl StateStore {
    /// What extends this archive down to genesis; none where there is nothing to extend.
    #[must_use]
    pub fn merge(&self) -> Option<ArchiveMerge> {
        let unsaved = self.shared.unsaved();
        let marker = unsaved.archive.as_ref().filter(|_| self.shared.is_archive()).map(|archive| archive.marker)?;
        let shared = Arc::clone(&self.shared);
        (marker.from > Height::ZERO).then_some(ArchiveMerge { shared, to: marker.from, merged: None, unflushed: 0 })
    }

    /// Makes what [`ArchiveMerge`] copied part of this archive: every height from genesis on can be read and proved then. To
    /// be called between blocks.
    ///
    /// # Errors
    /// Not all is here: nothing was done. The database failed.
    pub fn finish_merge(&self) -> Result<(), StateError> {
        let Shared { database, checkpoints, .. } = &*self.shared;
        // Nobody moves the marker meanwhile.
        let _progress = checkpoints.progress();
        let archive = self.shared.unsaved().archive.as_ref().map(|archive| archive.marker);
        let merged = Merged::read(&**database)?.filter(|merged| merged.table().is_none());
        let (Some(head), Some(marker), Some(merged)) = (self.head(), archive, merged) else {
            return Err(StateError::NotMerged);
        };
        if merged.to != marker.from || !self.shared.is_archive() {
            return Err(StateError::NotMerged);
        }
        // The marker tells of records that are in no log.
        database.flush()?;
        let mut batch = WriteBatch::new();
        ArchiveMarker { from: Height::ZERO, ..marker }.put(&mut batch);
        StateRecord { height: head.height, root: head.root, lowest: Height::ZERO }.put(&mut batch);
        Merged::delete(&mut batch);
        database.write(batch, Durability::Synced)?;
        if let Some(archive) = &mut self.shared.unsaved_mut().archive {
            archive.marker.from = Height::ZERO;
        }
        self.shared.current_mut().lowest = Height::ZERO;
        Ok(())
    }
}
