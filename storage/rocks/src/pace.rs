//! Bulk that is written behind the committed blocks waits for the disk, so that blocks need not.
//!
//! RocksDB holds all writers up, those of blocks too, when one table has several buffers that are not on disk, or many files
//! in level 0 that are not merged. A checkpoint would bring it there each time. So whoever writes what is in no log waits
//! well before that.

use crate::database::RocksDatabase;
use crate::options::{BUFFERS_WAITED_FOR, LEVEL_0_FILES_WAITED_FOR};
use cairn_storage::{DatabaseError, Table};
use std::thread::sleep;
use std::time::Duration;

/// The engine's name for how many buffers of a table are full and not on disk.
const FULL_BUFFERS: &str = "rocksdb.num-immutable-mem-table";
/// The engine's name for how many files of a table are in level 0.
const LEVEL_0_FILES: &str = "rocksdb.num-files-at-level0";
/// How long to wait before looking again: a buffer takes some 50 ms to the disk.
const NAP: Duration = Duration::from_millis(2);
/// So often for one write at most: then it goes on, slowly, and a disk that stands still is the engine's to tell.
const NAPS_MAX: usize = 250;

impl RocksDatabase {
    /// Waits until the disk has caught up, before bulk is written to these tables; false if it has not within half a second.
    pub(crate) fn wait_for_disk(&self, tables: &[Table]) -> Result<bool, DatabaseError> {
        for _ in 0..NAPS_MAX {
            if !self.is_behind(tables)? {
                return Ok(true);
            }
            sleep(NAP);
        }
        Ok(false)
    }

    fn is_behind(&self, tables: &[Table]) -> Result<bool, DatabaseError> {
        // The buffers of all tables become full with those of one: they reach the disk together.
        for table in Table::ALL {
            if self.property(table, FULL_BUFFERS)? >= BUFFERS_WAITED_FOR {
                return Ok(true);
            }
        }
        for table in tables {
            if self.property(*table, LEVEL_0_FILES)? >= LEVEL_0_FILES_WAITED_FOR {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::RocksOptions;
    use cairn_storage::{Database, Durability, WriteBatch};

    #[test]
    fn bulk_waits_until_files_of_its_own_tables_are_merged() {
        let directory = tempfile::tempdir().unwrap();
        let database = RocksDatabase::open(directory.path(), RocksOptions { cache_bytes: 4 << 20 }).unwrap();
        let merge = |is_off: &str| {
            let family = database.family(Table::StatePages).unwrap();
            database.rocks.set_options_cf(family, &[("disable_auto_compactions", is_off)]).unwrap();
        };
        merge("true");
        for number in 0..u32::try_from(LEVEL_0_FILES_WAITED_FOR).unwrap() {
            assert!(database.wait_for_disk(&[Table::StatePages]).unwrap(), "{number} files");
            let mut batch = WriteBatch::new();
            batch.put(Table::StatePages, number.to_be_bytes(), *b"page");
            database.write(batch, Durability::Derived).unwrap();
            database.flush().unwrap();
        }
        assert!(!database.wait_for_disk(&[Table::StatePages]).unwrap());
        assert!(database.wait_for_disk(&[Table::Meta]).unwrap());
        merge("false");
        assert!((0..100).any(|_| database.wait_for_disk(&[Table::StatePages]).unwrap()), "nothing is merged");
    }
}
