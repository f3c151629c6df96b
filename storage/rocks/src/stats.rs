//! What lies on disk: tables in files, and all other files of the directory.

use crate::database::{RocksDatabase, engine};
use crate::record;
use crate::value_files::{EXTENSION, ValueFiles};
use cairn_storage::{DatabaseError, Table};
use rocksdb::WaitForCompactOptions;
use std::fs;
use std::io;
use std::path::Path;

/// One table on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableStats {
    /// Which one.
    pub table: Table,
    /// Records: the engine's estimate, which counts replaced and deleted ones that no compaction has met.
    pub records_estimate: u64,
    /// Table files and value files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The files of a directory, in bytes, by what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectoryStats {
    /// Table files, of all tables together and those that wait for their deletion.
    pub tables: u64,
    /// Write-ahead logs.
    pub logs: u64,
    /// Everything else: the list of files, options, the engine's own diary.
    pub other: u64,
}

impl DirectoryStats {
    /// Reads the sizes of all files of a directory.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut stats = Self::default();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // A file that the engine deletes meanwhile counts for nothing.
            let Ok(found) = entry.metadata() else { continue };
            let name = entry.file_name();
            let kind = match Path::new(&name).extension().and_then(|extension| extension.to_str()) {
                Some("sst" | "blob" | EXTENSION) => &mut stats.tables,
                Some("log") => &mut stats.logs,
                _ => &mut stats.other,
            };
            *kind += found.len();
        }
        Ok(stats)
    }

    /// All bytes.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.tables + self.logs + self.other
    }
}

impl RocksDatabase {
    /// What each table has on disk. Records in the write-ahead log alone are in no file yet.
    ///
    /// # Errors
    /// The engine failed.
    pub fn table_stats(&self) -> Result<Vec<TableStats>, DatabaseError> {
        let live = self.rocks.live_files().map_err(|error| engine("read", &error))?;
        Table::ALL
            .into_iter()
            .map(|table| {
                let records_estimate = self.property(table, "rocksdb.estimate-num-keys")?;
                let (files, bytes) = self.values.size(table);
                let mut stats = TableStats { table, records_estimate, files, bytes };
                for file in live.iter().filter(|file| file.column_family_name == table.name()) {
                    stats.files += 1;
                    stats.bytes += u64::try_from(file.size).unwrap_or(u64::MAX);
                }
                Ok(stats)
            })
            .collect()
    }

    /// Waits until the engine has merged what it has to: from then on files stay as they are until the next write.
    ///
    /// # Errors
    /// The engine failed.
    pub fn wait_for_merges(&self) -> Result<(), DatabaseError> {
        self.rocks.wait_for_compact(&WaitForCompactOptions::default()).map_err(|error| engine("merge", &error))
    }

    /// The files in which a record with this key lies or would lie. Merging moves it to others.
    ///
    /// # Errors
    /// The engine failed.
    pub fn files_of(&self, table: Table, key: &[u8]) -> Result<Vec<String>, DatabaseError> {
        let live = self.rocks.live_files().map_err(|error| engine("read", &error))?;
        let holds = |start: &Option<Vec<u8>>, end: &Option<Vec<u8>>| {
            start.as_deref().is_none_or(|start| start <= key) && end.as_deref().is_none_or(|end| key <= end)
        };
        let own = live.into_iter().filter(|file| file.column_family_name == table.name());
        let own = own.filter(|file| holds(&file.start_key, &file.end_key)).map(|file| file.name);
        Ok(own.chain(self.value_file(table, key)).collect())
    }

    /// The value file in which the value of a record lies, if it lies in one.
    fn value_file(&self, table: Table, key: &[u8]) -> Option<String> {
        if !record::has(table) {
            return None;
        }
        let stored = self.rocks.get_pinned_cf(self.family(table).ok()?, key).ok()??;
        Some(ValueFiles::name(table, record::pointer(&stored).ok()??))
    }

    /// Rewrites the files of a table without what was deleted, which gives the space back.
    ///
    /// # Errors
    /// The engine failed.
    pub fn compact(&self, table: Table) -> Result<(), DatabaseError> {
        let family = self.family(table)?;
        self.rocks.flush_cf(family).map_err(|error| engine("write", &error))?;
        self.rocks.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
        Ok(())
    }
}
