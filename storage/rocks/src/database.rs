//! The adapter.

use crate::error::OpenError;
use crate::format;
use crate::options::{self, RocksOptions};
use crate::record::{self, Packed};
use crate::value_files::{self, Large, Reader, ValueFiles};
use cairn_storage::batch::{Operation, RangeDeletion};
use cairn_storage::damage::shown_key;
use cairn_storage::{
    Database, DatabaseError, DatabaseView, Direction, Durability, KeyRange, Record, Table, WriteBatch,
};
use rocksdb::{
    Cache, ColumnFamily, DBPinnableSlice, DBWithThreadMode, Env, ErrorKind, FlushOptions, LiveFile, ReadOptions,
    SingleThreaded, SnapshotWithThreadMode, WriteOptions,
};
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// The set of tables never changes while the database is open, so no lock guards it.
pub(crate) type Rocks = DBWithThreadMode<SingleThreaded>;

/// What a batch has for an operation beside key and value, in bytes: what to do, the table and two lengths.
const OPERATION_BYTES_BESIDE: usize = 12;

/// A [`Database`] on RocksDB; dropping it closes the files.
pub struct RocksDatabase {
    pub(crate) rocks: Rocks,
    pub(crate) values: ValueFiles,
    cache: Cache,
    /// Why a write failed: what is on disk of it is not known, so that no other follows.
    failure: OnceLock<String>,
}

impl RocksDatabase {
    /// Opens the database in a directory, or makes a new one where there is none.
    ///
    /// # Errors
    /// The directory is in use, foreign, of a newer format, damaged or inaccessible, or the processor is too old.
    pub fn open(path: &Path, options: RocksOptions) -> Result<Self, OpenError> {
        if !has_checksum_instruction() {
            return Err(OpenError::Processor);
        }
        format::check_or_create(path)?;
        share_threads().map_err(|error| open_error(path, &error))?;
        let cache = Cache::new_hyper_clock_cache(options.cache_bytes, 0);
        value_files::check_known(path)?;
        let rocks = Rocks::open_cf_descriptors(&options::database(), path, options::column_families(&cache))
            .map_err(|error| open_error(path, &error))?;
        check_sizes(path, &rocks)?;
        let values = ValueFiles::open(path, &rocks)?;
        Ok(Self { rocks, values, cache, failure: OnceLock::new() })
    }

    /// Bytes that the block cache holds now.
    #[must_use]
    pub fn cache_bytes(&self) -> usize {
        self.cache.get_usage()
    }

    pub(crate) fn family(&self, table: Table) -> Result<&ColumnFamily, DatabaseError> {
        let reason = || DatabaseError::Missing { table, reason: "the table itself".to_owned() };
        self.rocks.cf_handle(table.name()).ok_or_else(reason)
    }

    fn version(&self) -> RocksSnapshot<'_> {
        RocksSnapshot { database: self, snapshot: self.rocks.snapshot() }
    }

    /// Reads what is there now; of a table with values in files of their own as a version, so that the files stay until then.
    fn read_latest<T>(&self, table: Table, read: impl FnOnce(ReadOptions) -> T) -> T {
        if record::has(table) {
            let version = self.version();
            return read(version.options());
        }
        read(ReadOptions::default())
    }

    /// Where the engine keeps what it says of value files.
    fn value_family(&self) -> Result<&ColumnFamily, DatabaseError> {
        let reason = format!("table {} is missing", value_files::FAMILY);
        self.rocks.cf_handle(value_files::FAMILY).ok_or(DatabaseError::Engine { operation: "write", reason })
    }

    /// What the engine counts of a table under this name; zero where it counts nothing.
    pub(crate) fn property(&self, table: Table, name: &str) -> Result<u64, DatabaseError> {
        let count = self.rocks.property_int_value_cf(self.family(table)?, name);
        Ok(count.map_err(|error| engine("read", &error))?.unwrap_or_default())
    }

    fn get(&self, table: Table, key: &[u8], options: &ReadOptions) -> Result<Option<Vec<u8>>, DatabaseError> {
        let stored = self.rocks.get_pinned_cf_opt(self.family(table)?, key, options);
        let mut values = Values::new(self, table);
        stored.map_err(|error| engine("read", &error))?.map(|stored| values.unpack(key, &stored)).transpose()
    }

    fn multi_get(
        &self,
        table: Table,
        keys: &[&[u8]],
        options: &ReadOptions,
    ) -> Result<Vec<Option<Vec<u8>>>, DatabaseError> {
        let family = self.family(table)?;
        let found = self.rocks.batched_multi_get_cf_opt(family, keys.iter().copied(), keys.is_sorted(), options);
        let mut values = Values::new(self, table);
        let copy = |(key, stored): (&&[u8], Result<Option<DBPinnableSlice<'_>>, rocksdb::Error>)| {
            stored.map_err(|error| engine("read", &error))?.map(|stored| values.unpack(key, &stored)).transpose()
        };
        keys.iter().zip(found).map(copy).collect()
    }

    fn scan(
        &self,
        table: Table,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
        mut options: ReadOptions,
    ) -> Result<Vec<Record>, DatabaseError> {
        if range.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        options.set_iterate_lower_bound(range.start.clone());
        if let Some(end) = &range.end {
            options.set_iterate_upper_bound(end.clone());
        }
        let mut cursor = self.rocks.raw_iterator_cf_opt(self.family(table)?, options);
        match direction {
            Direction::Forward => cursor.seek_to_first(),
            Direction::Backward => cursor.seek_to_last(),
        }
        let mut records = Vec::new();
        let mut values = Values::new(self, table);
        while let Some((key, stored)) = cursor.item() {
            records.push((key.to_vec(), values.unpack(key, stored)?));
            if records.len() >= limit {
                break;
            }
            match direction {
                Direction::Forward => cursor.next(),
                Direction::Backward => cursor.prev(),
            }
        }
        cursor.status().map_err(|error| engine("scan", &error))?;
        Ok(records)
    }

    fn write_batch(&self, batch: WriteBatch, durability: Durability) -> Result<(), DatabaseError> {
        let batch = batch.into_sorted();
        if durability == Durability::Derived {
            let mut tables: Vec<_> = batch.operations().map(|operation| operation.table).collect();
            tables.dedup();
            self.wait_for_disk(&tables)?;
        }
        let large = batch.operations().filter(|operation| record::has(operation.table));
        let large = large.filter_map(|Operation { table, key, value }| {
            Some(Packed::new(table, value?).map(|value| Large { table, key, value }))
        });
        let large = large.collect::<Result<Vec<_>, _>>()?;
        let change = self.values.change(&large, batch.deletions(), durability)?;
        let place = |number| change.as_ref().and_then(|change| change.pointer(number));
        let mut large = (0..).zip(&large).map(|(number, own)| own.value.record(place(number)));
        let bytes = batch.operations().map(|Operation { table, key, value }| {
            let value = value.filter(|_| !record::has(table)).map_or(0, <[u8]>::len);
            key.len().saturating_add(value).saturating_add(OPERATION_BYTES_BESIDE)
        });
        let mut writes = rocksdb::WriteBatch::with_capacity_bytes(bytes.fold(0, usize::saturating_add));
        for RangeDeletion { table, start, end } in batch.deletions() {
            writes.delete_range_cf(self.family(*table)?, start, end);
        }
        let mut last = None;
        for Operation { table, key, value } in batch.operations() {
            let family = match last {
                Some((of, family)) if of == table => family,
                Some(_) | None => self.family(table)?,
            };
            last = Some((table, family));
            match value {
                Some(_) if record::has(table) => writes.put_cf(family, key, large.next().unwrap_or_default()),
                Some(value) => writes.put_cf(family, key, value),
                None => writes.delete_cf(family, key),
            }
        }
        if let Some(change) = &change {
            change.put(self.value_family()?, &mut writes);
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        options.disable_wal(durability == Durability::Derived);
        self.rocks.write_opt(writes, &options).map_err(|error| engine("write", &error))?;
        if let Some(change) = change {
            change.written(&self.rocks);
        }
        Ok(())
    }
}

impl DatabaseView for RocksDatabase {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, DatabaseError> {
        self.read_latest(table, |options| self.get(table, key, &options))
    }

    fn multi_get(&self, table: Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, DatabaseError> {
        self.read_latest(table, |options| self.multi_get(table, keys, &options))
    }

    fn scan(
        &self,
        table: Table,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Record>, DatabaseError> {
        self.read_latest(table, |options| self.scan(table, range, direction, limit, options))
    }
}

impl Database for RocksDatabase {
    fn write(&self, batch: WriteBatch, durability: Durability) -> Result<(), DatabaseError> {
        if let Some(failure) = self.failure.get() {
            let reason = format!("an earlier write failed, start the node again: {failure}");
            return Err(DatabaseError::Engine { operation: "write", reason });
        }
        let written = self.write_batch(batch, durability);
        if let Err(error) = &written {
            self.failure.get_or_init(|| error.to_string());
        }
        written
    }

    fn flush(&self) -> Result<(), DatabaseError> {
        let families = Table::ALL.into_iter().map(|table| self.family(table)).chain([self.value_family()]);
        let families = families.collect::<Result<Vec<_>, _>>()?;
        let families: Vec<_> = families.iter().collect();
        self.rocks.flush_cfs_opt(&families, &FlushOptions::default()).map_err(|error| engine("flush", &error))?;
        self.merge_small_files()
    }

    fn snapshot(&self) -> Box<dyn DatabaseView + '_> {
        Box::new(self.version())
    }
}

/// One version of all tables. Value files that it shows are not deleted before it is dropped.
struct RocksSnapshot<'a> {
    database: &'a RocksDatabase,
    snapshot: SnapshotWithThreadMode<'a, Rocks>,
}

impl RocksSnapshot<'_> {
    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.snapshot);
        options
    }
}

impl DatabaseView for RocksSnapshot<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, DatabaseError> {
        self.database.get(table, key, &self.options())
    }

    fn multi_get(&self, table: Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, DatabaseError> {
        self.database.multi_get(table, keys, &self.options())
    }

    fn scan(
        &self,
        table: Table,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Record>, DatabaseError> {
        self.database.scan(table, range, direction, limit, self.options())
    }
}

/// Takes values of one table out of the engine's records.
struct Values<'a> {
    table: Table,
    files: Option<Reader<'a>>,
}

impl<'a> Values<'a> {
    fn new(database: &'a RocksDatabase, table: Table) -> Self {
        Self { table, files: record::has(table).then(|| database.values.reader(table)) }
    }

    fn unpack(&mut self, key: &[u8], stored: &[u8]) -> Result<Vec<u8>, DatabaseError> {
        let Some(files) = &mut self.files else { return Ok(stored.to_vec()) };
        let value = record::unpack(stored, |pointer| files.read(pointer));
        value.map_err(|reason| DatabaseError::damaged(self.table, format!("{}: {reason}", shown_key(key))))
    }
}

/// Whether the processor has what `scripts/rocksdb.sh` compiles the library for.
fn has_checksum_instruction() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has = std::arch::is_x86_feature_detected!("sse4.2") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let has = std::arch::is_aarch64_feature_detected!("crc") && std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let has = true;
    has
}

/// Compares the sizes of all table files with what the list of files says: RocksDB opens the first few files only, and
/// would find the others cut short when they are read.
fn check_sizes(path: &Path, rocks: &Rocks) -> Result<(), OpenError> {
    let damaged = |error: &rocksdb::Error| open_error(path, error);
    let is_whole = |file: &LiveFile| {
        let found = fs::metadata(path.join(file.name.trim_start_matches('/')));
        found.is_ok_and(|found| usize::try_from(found.len()) == Ok(file.size))
    };
    let suspects: Vec<_> =
        rocks.live_files().map_err(|error| damaged(&error))?.into_iter().filter(|file| !is_whole(file)).collect();
    if suspects.is_empty() {
        return Ok(());
    }
    // One that was merged into others meanwhile is gone for good reason.
    let live = rocks.live_files().map_err(|error| damaged(&error))?;
    match live.iter().find(|file| suspects.iter().any(|suspect| suspect.name == file.name) && !is_whole(file)) {
        None => Ok(()),
        Some(file) => {
            let name = file.name.trim_start_matches('/');
            let reason = format!("{name} (table {}) should have {} bytes", file.column_family_name, file.size);
            Err(OpenError::Damaged { path: path.to_path_buf(), reason })
        }
    }
}

pub(crate) fn engine(operation: &'static str, error: &rocksdb::Error) -> DatabaseError {
    DatabaseError::Engine { operation, reason: error.to_string() }
}

/// The databases of a process share threads for flushes and merges: two of each, so that one does not wait for another's. Merges
/// into the lowest level, which take longest, have one of their own.
fn share_threads() -> Result<(), rocksdb::Error> {
    let mut environment = Env::new()?;
    environment.set_high_priority_background_threads(2);
    environment.set_low_priority_background_threads(2);
    environment.set_bottom_priority_background_threads(1);
    Ok(())
}

fn open_error(path: &Path, error: &rocksdb::Error) -> OpenError {
    let path = path.to_path_buf();
    let reason = error.to_string();
    let kind = error.kind();
    // RocksDB tells its lock file apart from other files in the text only.
    if kind == ErrorKind::IOError && (reason.contains("/LOCK") || reason.contains("lock hold by current process")) {
        return OpenError::Locked { path };
    }
    let is_missing_file = kind == ErrorKind::IOError && reason.contains("No such file");
    if kind == ErrorKind::Corruption || kind == ErrorKind::InvalidArgument || is_missing_file {
        return OpenError::Damaged { path, reason };
    }
    OpenError::Inaccessible { path, reason }
}
