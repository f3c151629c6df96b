//! Small table files are merged with their neighbours.
//!
//! RocksDB moves a file to the lowest level as it is where no other file has keys in its range, and never touches it again. A
//! table that grows at its end gets such a file, or one for eight, with each flush, however little is in it: a chain without
//! load would gather thousands in a year, which have to be opened and to be remembered. Indexes by hash are merged whole, and
//! have few files at all times.

use crate::database::{RocksDatabase, engine};
use crate::options::{file_bytes, merges_ranges};
use cairn_storage::{DatabaseError, Table};
use rocksdb::{BottommostLevelCompaction, CompactOptions, LiveFile};
use std::collections::BTreeMap;

/// Files below this part of the size that merging gives them are small.
const SMALL_PART: u64 = 16;
/// So many small files side by side are merged: what they hold together is written again at most so often.
const RUN_MIN: usize = 32;

/// Files of one level side by side, by their first and their last key.
struct Run {
    files: usize,
    start: Vec<u8>,
    end: Vec<u8>,
}

impl RocksDatabase {
    /// Merges small files that lie side by side, where there are many.
    pub(crate) fn merge_small_files(&self) -> Result<(), DatabaseError> {
        let live = self.rocks.live_files().map_err(|error| engine("read", &error))?;
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        // The lowest level is where they are.
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        for table in Table::ALL.into_iter().filter(|table| merges_ranges(*table)) {
            let own = live.iter().filter(|file| file.column_family_name == table.name());
            let small_bytes = usize::try_from(file_bytes(table) / SMALL_PART).unwrap_or(usize::MAX);
            for Run { start, end, .. } in runs(own, small_bytes).into_iter().filter(|run| run.files >= RUN_MIN) {
                self.rocks.compact_range_cf_opt(self.family(table)?, Some(start), Some(end), &options);
            }
        }
        Ok(())
    }
}

/// The runs of files of a table that are smaller than this. RocksDB merges those that were just flushed, in level 0, by itself.
fn runs<'a>(files: impl Iterator<Item = &'a LiveFile>, small_bytes: usize) -> Vec<Run> {
    let mut levels: BTreeMap<i32, Vec<&LiveFile>> = BTreeMap::new();
    for file in files.filter(|file| file.level > 0) {
        levels.entry(file.level).or_default().push(file);
    }
    let mut runs = Vec::new();
    for mut files in levels.into_values() {
        files.sort_unstable_by(|one, other| one.start_key.cmp(&other.start_key));
        for run in files.chunk_by(|one, next| one.size < small_bytes && next.size < small_bytes) {
            let start = run.first().and_then(|file| file.start_key.clone());
            let end = run.last().and_then(|file| file.end_key.clone());
            if let (Some(start), Some(end)) = (start, end) {
                runs.push(Run { files: run.len(), start, end });
            }
        }
    }
    runs
}
