//! Value files: values of large batches come back in every way and after every crash, damage is named, space is returned.

use crate::{DirectoryStats, OpenError, RocksDatabase, RocksOptions};
use cairn_storage::{
    Database, DatabaseError, DatabaseView, Direction, Durability, KeyRange, MemoryDatabase, Table, WriteBatch,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

/// Enough in one batch for a file of its own.
const LARGE: usize = 300 << 10;

fn open(path: &Path) -> Result<RocksDatabase, OpenError> {
    RocksDatabase::open(path, RocksOptions { cache_bytes: 4 << 20 })
}

/// Bytes that no compression makes shorter.
fn value(seed: u32, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let words = (0..length.div_ceil(4)).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()
    });
    words.flat_map(|[a, b, c, d, ..]| [a, b, c, d]).take(length).collect()
}

fn put(records: &[(Table, u32, usize)]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    records.iter().for_each(|(table, key, length)| batch.put(*table, key.to_be_bytes(), value(*key, *length)));
    batch
}

fn files(path: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(path).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|own| own == "values")).collect();
    files.sort();
    files
}

fn names(path: &Path) -> Vec<String> {
    let names = files(path).into_iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
    names.collect()
}

/// What a crash of the process leaves at this moment.
fn crash(path: &Path) -> TempDir {
    loop {
        let before = listed(path);
        let copy = tempfile::tempdir().expect("a folder");
        let is_copied = before.keys().all(|name| fs::copy(path.join(name), copy.path().join(name)).is_ok());
        // The engine made or deleted no file meanwhile.
        if is_copied && listed(path) == before {
            return copy;
        }
    }
}

/// The names of files, and their lengths.
fn listed(path: &Path) -> BTreeMap<OsString, u64> {
    let entries = fs::read_dir(path).expect("a folder").flatten();
    entries.filter_map(|entry| Some((entry.file_name(), entry.metadata().ok()?.len()))).collect()
}

fn all(view: &dyn DatabaseView, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    view.scan(table, &KeyRange::all(), Direction::Forward, usize::MAX).expect("records")
}

#[test]
fn values_of_a_large_batch_come_back_in_every_way_and_the_log_has_none_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path()).unwrap();
    let records =
        [(Table::Bodies, 1, LARGE), (Table::Events, 1, LARGE), (Table::Events, 2, 100), (Table::Headers, 1, 100)];
    database.write(put(&records), Durability::Synced).unwrap();
    assert_eq!(names(directory.path()), ["bodies-00000001.values", "events-00000001.values"]);
    let check = |view: &dyn DatabaseView| {
        for (table, key, length) in records {
            let expected = value(key, length);
            let key = key.to_be_bytes();
            assert_eq!(view.get(table, &key).unwrap().unwrap(), expected);
            assert_eq!(view.multi_get(table, &[&key]).unwrap(), [Some(expected.clone())]);
            let range = KeyRange::from(key);
            assert_eq!(view.scan(table, &range, Direction::Forward, 1).unwrap(), [(key.to_vec(), expected)]);
        }
    };
    check(&database);
    check(&*database.snapshot());
    let stats = DirectoryStats::read(directory.path()).unwrap();
    assert!(stats.logs < 4 << 10, "{stats:?}");
    assert!(stats.tables > 2 * LARGE as u64, "{stats:?}");
    let stats = database.table_stats().unwrap();
    let bodies = stats.iter().find(|stats| stats.table == Table::Bodies).unwrap();
    assert_eq!((bodies.files, bodies.bytes), (1, LARGE as u64));
    check(&open(crash(directory.path()).path()).unwrap());
    database.flush().unwrap();
    check(&database);
    drop(database);
    check(&open(directory.path()).unwrap());
}

#[test]
fn small_and_derived_batches_make_no_files() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path()).unwrap();
    // Together they are large, and of no table.
    let tables = [Table::Bodies, Table::Events, Table::StateDiffs];
    database.write(put(&tables.map(|table| (table, 1_001, 250 << 10))), Durability::Synced).unwrap();
    database.write(put(&[(Table::Bodies, 2, LARGE)]), Durability::Derived).unwrap();
    database.write(put(&[(Table::StateHistory, 3, LARGE)]), Durability::Synced).unwrap();
    let mut short = WriteBatch::new();
    (0..1_000u32).for_each(|key| short.put(Table::StateDiffs, key.to_be_bytes(), value(key, 1_000)));
    database.write(short, Durability::Synced).unwrap();
    assert_eq!(names(directory.path()), Vec::<String>::new());
    assert_eq!(database.get(Table::Bodies, &2u32.to_be_bytes()).unwrap().unwrap(), value(2, LARGE));
    assert_eq!(all(&database, Table::StateDiffs).len(), 1_001);
}

#[test]
fn bytes_of_a_batch_that_a_crash_took_back_are_in_nobodys_way() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path()).unwrap();
    database.write(put(&[(Table::Bodies, 1, LARGE)]), Durability::Synced).unwrap();
    drop(database);
    // The crash came between the values and the log: at the end of a file, and in the first batch of another.
    let body = &files(directory.path())[0];
    let whole = [fs::read(body).unwrap(), value(9, LARGE + 5)].concat();
    fs::write(body, &whole).unwrap();
    fs::write(directory.path().join("events-00000001.values"), value(9, LARGE)).unwrap();
    fs::write(directory.path().join("letter.values"), "not ours").unwrap();
    let database = open(directory.path()).unwrap();
    database.write(put(&[(Table::Bodies, 2, LARGE), (Table::Events, 2, LARGE)]), Durability::Synced).unwrap();
    assert_eq!(fs::metadata(body).unwrap().len(), whole.len() as u64, "the second body takes the place of the bytes");
    drop(database);
    let database = open(directory.path()).unwrap();
    // Nobody writes over a file that is not known; it is deleted once a later one is.
    assert_eq!(names(directory.path()), ["bodies-00000001.values", "events-00000002.values", "letter.values"]);
    for (table, key) in [(Table::Bodies, 1u32), (Table::Bodies, 2), (Table::Events, 2)] {
        assert_eq!(database.get(table, &key.to_be_bytes()).unwrap().unwrap(), value(key, LARGE));
    }
}

#[test]
fn list_of_files_without_the_table_of_value_files_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).unwrap());
    let options = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&options, directory.path()).unwrap();
    let engine = rocksdb::DB::open_cf(&options, directory.path(), families).unwrap();
    engine.drop_cf("value_files").unwrap();
    drop(engine);
    let file = directory.path().join("bodies-00000007.values");
    fs::write(&file, "bodies").unwrap();
    let error = open(directory.path()).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("bodies-00000007.values"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"bodies");
}

#[test]
fn damaged_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path()).unwrap();
    let records: Vec<_> = (0..4).map(|key| (Table::Bodies, key, LARGE)).collect();
    database.write(put(&records), Durability::Synced).unwrap();
    let key = 1u32.to_be_bytes();
    assert!(database.files_of(Table::Bodies, &key).unwrap().contains(&"bodies-00000001.values".to_owned()));
    drop(database);
    let file = &files(directory.path())[0];
    let whole = fs::read(file).unwrap();
    let mut turned = whole.clone();
    turned[LARGE + LARGE / 2] ^= 0x10;
    fs::write(file, turned).unwrap();
    let database = open(directory.path()).unwrap();
    let refused = |error: DatabaseError| {
        let error = error.to_string();
        assert!(error.contains("bodies-00000001.values: the checksum of 307200 bytes at 307200"), "{error}");
        assert!(error.contains("key 0x00000001"), "{error}");
    };
    refused(database.get(Table::Bodies, &key).unwrap_err());
    refused(database.multi_get(Table::Bodies, &[&key]).unwrap_err());
    refused(database.scan(Table::Bodies, &KeyRange::all(), Direction::Forward, 2).unwrap_err());
    assert_eq!(database.get(Table::Bodies, &2u32.to_be_bytes()).unwrap().unwrap(), value(2, LARGE));
    drop(database);
    fs::write(file, &whole[..whole.len() - 1]).unwrap();
    let error = open(directory.path()).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("bodies-00000001.values should have 1228800 bytes, and has 1228799"), "{error}");
    fs::remove_file(file).unwrap();
    assert!(open(directory.path()).err().unwrap().to_string().contains("bodies-00000001.values"));
    fs::write(file, whole).unwrap();
    fs::rename(directory.path().join("CURRENT"), directory.path().join("CURRENT.old")).unwrap();
    assert!(matches!(open(directory.path()), Err(OpenError::Damaged { .. })));
    assert!(file.is_file(), "it is not taken for one that nobody knows");
}

/// A diff of each height in files of 16 MiB, from `first` up to, not with, `end`.
fn write_diffs(database: &RocksDatabase, first: u32, end: u32) {
    for height in first..end {
        database.write(put(&[(Table::StateDiffs, height, 4 << 20)]), Durability::Synced).expect("a diff");
    }
}

fn deletion(start: u32, end: u32) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.delete_range(Table::StateDiffs, start.to_be_bytes(), end.to_be_bytes());
    batch
}

/// The numbers of the files of diffs.
fn numbers(path: &Path) -> Vec<u32> {
    names(path)
        .iter()
        .filter_map(|name| name.strip_prefix("state_diffs-")?.strip_suffix(".values")?.parse().ok())
        .collect()
}

#[test]
fn files_of_deleted_records_are_deleted_once_that_is_on_disk_and_nobody_looks_at_them() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path()).unwrap();
    write_diffs(&database, 0, 18);
    let files = || numbers(directory.path());
    assert_eq!(files(), [1, 2, 3, 4, 5]);
    let before = database.snapshot();
    // The second file has heights 4 to 7.
    database.write(deletion(0, 7), Durability::Synced).unwrap();
    assert_eq!(all(&database, Table::StateDiffs).len(), 11);
    assert_eq!(all(&*before, Table::StateDiffs).len(), 18);
    assert_eq!(files(), [1, 2, 3, 4, 5]);
    drop(before);
    // Whoever looks at it as it is now holds nothing up.
    let now = database.snapshot();
    database.write(deletion(7, 8), Durability::Synced).unwrap();
    assert_eq!(files(), [2, 3, 4, 5]);
    assert_eq!(all(&*now, Table::StateDiffs).len(), 11);
    drop(now);
    // What a crash may take back keeps its files.
    database.write(deletion(8, 12), Durability::Unsynced).unwrap();
    assert_eq!(files(), [3, 4, 5], "the one before was synced");
    database.write(deletion(12, 16), Durability::Derived).unwrap();
    write_diffs(&database, 18, 19);
    database.flush().unwrap();
    assert_eq!(files(), [4, 5]);
    assert_eq!(all(&database, Table::StateDiffs).len(), 3);
    // The last one of a table stays.
    database.write(deletion(0, 40), Durability::Synced).unwrap();
    assert_eq!(all(&database, Table::StateDiffs), Vec::new());
    assert_eq!(files(), [5]);
    write_diffs(&database, 40, 44);
    database.write(deletion(40, 41), Durability::Synced).unwrap();
    assert_eq!(files(), [6]);
    drop(database);
    let database = open(directory.path()).unwrap();
    assert_eq!(all(&database, Table::StateDiffs).len(), 3);
}

#[test]
fn pruning_a_bit_with_each_batch_keeps_few_files_wherever_they_end() {
    let directory = tempfile::tempdir().unwrap();
    let mut database = open(directory.path()).unwrap();
    let mut lowest = 0;
    for height in 0..60_u32 {
        let mut batch = put(&[(Table::StateDiffs, height, 4 << 20)]);
        // A window of ten heights, pruned three heights at a time in the batch that appends.
        if height >= lowest + 12 {
            batch.delete_range(Table::StateDiffs, lowest.to_be_bytes(), (lowest + 3).to_be_bytes());
            lowest += 3;
        }
        database.write(batch, Durability::Synced).unwrap();
        if height == 31 {
            drop(database);
            database = open(directory.path()).unwrap();
        }
        let found = numbers(directory.path());
        assert!(found.len() <= 5, "height {height}: {found:?}");
        let expected: Vec<_> =
            (lowest..=height).map(|height| (height.to_be_bytes().to_vec(), value(height, 4 << 20))).collect();
        assert!(all(&database, Table::StateDiffs) == expected, "height {height}");
    }
}

#[test]
fn crash_while_a_reader_keeps_a_deleted_file_leaves_those_of_all_records() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path()).unwrap();
    write_diffs(&database, 0, 9);
    let before = database.snapshot();
    database.write(deletion(0, 8), Durability::Synced).unwrap();
    assert_eq!(numbers(directory.path()), [1, 2, 3]);
    let copy = crash(directory.path());
    drop(before);
    let opened = open(copy.path()).unwrap();
    assert_eq!(numbers(copy.path()), [3]);
    assert_eq!(all(&opened, Table::StateDiffs), [(8_u32.to_be_bytes().to_vec(), value(8, 4 << 20))]);
}

#[test]
fn after_a_write_that_failed_no_other_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path()).unwrap();
    database.write(put(&[(Table::Bodies, 1, LARGE)]), Durability::Synced).unwrap();
    // The next file cannot be made.
    fs::create_dir(directory.path().join("events-00000001.values")).unwrap();
    let batch = || put(&[(Table::Bodies, 2, LARGE), (Table::Events, 2, LARGE)]);
    let error = database.write(batch(), Durability::Synced).unwrap_err();
    assert!(error.to_string().contains("write values"), "{error}");
    fs::remove_dir(directory.path().join("events-00000001.values")).unwrap();
    for (batch, durability) in [
        (batch(), Durability::Synced),
        (put(&[(Table::Headers, 1, 10)]), Durability::Unsynced),
        (put(&[(Table::StatePages, 1, 10)]), Durability::Derived),
    ] {
        let error = database.write(batch, durability).unwrap_err();
        assert!(
            error.to_string().contains("start the node again") && error.to_string().contains("write values"),
            "{error}"
        );
    }
    assert_eq!(all(&database, Table::Bodies).len(), 1);
    drop(database);
    let database = open(directory.path()).unwrap();
    assert_eq!(all(&database, Table::Bodies).len(), 1);
    database.write(batch(), Durability::Synced).unwrap();
    assert_eq!(all(&database, Table::Bodies).len(), 2);
}

#[test]
fn files_made_by_a_write_that_failed_are_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let database = open(path).unwrap();
    fs::create_dir(path.join("events-00000001.values")).unwrap();
    let batch = put(&[(Table::Bodies, 1, LARGE), (Table::Events, 1, LARGE)]);
    assert!(database.write(batch, Durability::Synced).is_err());
    assert_eq!(names(path), ["events-00000001.values"]);
}

/// What a power cut leaves of value files.
#[derive(Default)]
struct Disk {
    /// Files whose names are on disk.
    named: BTreeSet<PathBuf>,
    /// How far each file was synced.
    synced: BTreeMap<PathBuf, u64>,
    /// What power cuts would have left just before files were synced.
    images: Vec<TempDir>,
}

impl Disk {
    /// What a power cut leaves at this moment: of value files what was synced, of all others everything.
    fn image(&self, folder: &Path) -> TempDir {
        let copy = crash(folder);
        for path in files(copy.path()) {
            let original = folder.join(path.file_name().unwrap());
            if !self.named.contains(&original) {
                fs::remove_file(&path).unwrap();
                continue;
            }
            let synced = self.synced.get(&original).copied().unwrap_or(0);
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(synced.min(file.metadata().unwrap().len())).unwrap();
        }
        copy
    }
}

/// By folder: the hook of a database is a plain function.
static DISKS: Mutex<BTreeMap<PathBuf, Disk>> = Mutex::new(BTreeMap::new());

fn with_disk<T>(folder: &Path, work: impl FnOnce(&mut Disk) -> T) -> T {
    work(DISKS.lock().unwrap_or_else(PoisonError::into_inner).entry(folder.to_path_buf()).or_default())
}

/// Takes the place of the call that puts a file or a folder on disk.
fn note_sync(file: &File, path: &Path) -> io::Result<()> {
    if path.is_dir() {
        with_disk(path, |disk| disk.named = files(path).into_iter().collect());
        return Ok(());
    }
    let length = file.metadata()?.len();
    with_disk(path.parent().unwrap(), |disk| {
        disk.images.push(disk.image(path.parent().unwrap()));
        disk.synced.insert(path.to_path_buf(), length);
    });
    Ok(())
}

#[test]
fn values_are_on_disk_before_the_engine_says_where_they_lie() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let open_watched = || {
        let mut database = open(path).unwrap();
        database.values.file_bytes = |_| 1 << 20;
        database.values.sync = note_sync;
        database
    };
    let mut database = open_watched();
    let tables = [Table::Bodies, Table::Events, Table::StateDiffs];
    let content = |database: &RocksDatabase| tables.map(|table| all(database, table));
    for step in 0..12_u32 {
        let before = content(&database);
        let mut batch = put(&tables.map(|table| (table, step, LARGE)));
        if step % 3 == 0 {
            batch.delete_range(Table::StateDiffs, [0; 4], step.saturating_sub(4).to_be_bytes());
        }
        database.write(batch, Durability::Synced).unwrap();
        let after = content(&database);
        assert!(after.iter().zip(&before).all(|(after, before)| after != before), "step {step}");
        let (earlier, now) = with_disk(path, |disk| (std::mem::take(&mut disk.images), disk.image(path)));
        assert_eq!(earlier.len(), tables.len(), "files synced in step {step}");
        for image in earlier {
            assert!(content(&open(image.path()).unwrap()) == before, "step {step}: half of a batch");
        }
        assert!(content(&open(now.path()).unwrap()) == after, "step {step}: a batch that was synced is lost");
        if step % 5 == 4 {
            drop(database);
            database = open_watched();
        }
    }
    assert!(names(path).len() > tables.len(), "no file was followed by another");
}

#[test]
fn random_batches_are_those_of_the_model_after_every_crash() {
    let directory = tempfile::tempdir().unwrap();
    let open = |path: &Path| {
        let mut database = open(path).unwrap();
        database.values.file_bytes = |_| 1 << 20;
        database
    };
    let mut database = open(directory.path());
    let model = MemoryDatabase::new();
    let tables = [Table::Bodies, Table::Events, Table::StateDiffs];
    let mut state = 7u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for step in 0..50u32 {
        let mut batch = WriteBatch::new();
        for _ in 0..random(6) {
            let table = tables[usize::try_from(random(3)).unwrap()];
            let key = u32::try_from(random(40)).unwrap().to_be_bytes();
            match random(8) {
                0 => batch.delete(table, key),
                1 => batch.delete_range(table, [0; 4], key),
                2 => batch.delete_range(table, key, u32::try_from(random(40)).unwrap().to_be_bytes()),
                3 => batch.put(table, key, value(step, usize::try_from(random(5_000)).unwrap())),
                _ => batch.put(table, key, value(step, usize::try_from(random(600_000)).unwrap())),
            }
        }
        model.write(batch.clone(), Durability::Synced).unwrap();
        database.write(batch, Durability::Synced).unwrap();
        if random(6) == 0 {
            database.flush().unwrap();
        }
        if random(6) == 0 {
            drop(database);
            database = open(directory.path());
        }
        let copy = crash(directory.path());
        let crashed = open(copy.path());
        for table in tables {
            let expected = all(&model, table);
            assert!(all(&database, table) == expected && all(&crashed, table) == expected, "step {step}, {table}");
        }
    }
    let made: u32 = database.values.state().made.values().sum();
    assert!(made > 8, "{made} files were made, {} are left", files(directory.path()).len());
}
