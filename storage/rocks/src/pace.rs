//! Bulk that is written behind the committed blocks waits for the disk, so that blocks need not.
//!
//! RocksDB holds all writers up, those of blocks too, when one table has several buffers that are not on disk, or many files
//! in level 0 that are not merged. A checkpoint would bring it there each time. So whoever writes what is in no log waits
//! well before that.

use crate::database::{RocksDatabase, engine};
use crate::options::{BUFFERS_WAITED_FOR, LEVEL_0_FILES_WAITED_FOR};
use cairn_storage::{DatabaseError, Table};
use std::thread::sleep;
use std::time::Duration;

/// How long to wait before looking again: a buffer takes some 50 ms to the disk.
const NAP: Duration = Duration::from_millis(2);
/// So often at most: a disk that stands still is the engine's to tell, which it does with the next write.
const NAPS_MAX: usize = 5_000;

impl RocksDatabase {
    /// Waits until the disk has caught up with what was written to these tables.
    pub(crate) fn wait_for_disk(&self, tables: &[Table]) -> Result<(), DatabaseError> {
        for table in tables {
            let is_behind = || {
                Ok::<_, DatabaseError>(
                    self.count(*table, "rocksdb.num-immutable-mem-table")? >= BUFFERS_WAITED_FOR
                        || self.count(*table, "rocksdb.num-files-at-level0")? >= LEVEL_0_FILES_WAITED_FOR,
                )
            };
            let mut naps = 0;
            while naps < NAPS_MAX && is_behind()? {
                sleep(NAP);
                naps += 1;
            }
        }
        Ok(())
    }

    fn count(&self, table: Table, property: &str) -> Result<u64, DatabaseError> {
        let count = self.rocks.property_int_value_cf(self.family(table)?, property);
        Ok(count.map_err(|error| engine("read", &error))?.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::RocksOptions;
    use cairn_storage::{Database, Durability, WriteBatch};

    #[test]
    fn bulk_never_brings_the_engine_to_hold_writers_up() {
        let directory = tempfile::tempdir().unwrap();
        let database = RocksDatabase::open(directory.path(), RocksOptions { cache_bytes: 4 << 20 }).unwrap();
        // Several times what the buffers of a table hold, much faster than a disk takes it.
        for chunk in 0..96_u32 {
            let mut batch = WriteBatch::new();
            for page in 0..256_u32 {
                batch.put(Table::StatePages, [chunk.to_be_bytes(), page.to_be_bytes()].concat(), vec![7; 4 << 10]);
            }
            database.write(batch, Durability::Derived).unwrap();
            let buffers = database.count(Table::StatePages, "rocksdb.num-immutable-mem-table").unwrap();
            assert!(buffers <= BUFFERS_WAITED_FOR, "{buffers} buffers are full after chunk {chunk}");
            for held_up in ["rocksdb.is-write-stopped", "rocksdb.actual-delayed-write-rate"] {
                assert_eq!(database.count(Table::StatePages, held_up).unwrap(), 0, "{held_up} after chunk {chunk}");
            }
        }
        let files = database.count(Table::StatePages, "rocksdb.num-files-at-level0").unwrap();
        assert!(files > 0, "nothing was flushed: the test writes too little");
    }
}
