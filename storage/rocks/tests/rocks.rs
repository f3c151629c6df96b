//! The adapter: the port's suite, what survives closing, and every reason not to open.

use cairn_primitives::hash::sha256;
use cairn_storage::table::FORMAT_VERSION;
use cairn_storage::{Database, DatabaseView, Direction, Durability, KeyRange, Table, WriteBatch, conformance};
use cairn_storage_rocks::{DirectoryStats, OpenError, RocksDatabase, RocksOptions};
use std::fs;
use std::path::Path;

fn open(path: &Path) -> Result<RocksDatabase, OpenError> {
    RocksDatabase::open(path, RocksOptions { cache_bytes: 4 << 20 })
}

fn one_record(key: &[u8]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(Table::Meta, key, *b"value");
    batch
}

#[test]
fn rocks_database_passes_conformance() {
    let directory = tempfile::tempdir().unwrap();
    let mut number = 0;
    let mut next = || {
        number += 1;
        open(&directory.path().join(number.to_string())).unwrap()
    };
    conformance::check(&mut next).unwrap();
}

#[test]
fn records_survive_closing() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path()).unwrap();
    database.write(one_record(b"unsynced"), Durability::Unsynced).unwrap();
    database.write(one_record(b"synced"), Durability::Synced).unwrap();
    drop(database);
    let database = open(directory.path()).unwrap();
    for key in [&b"unsynced"[..], b"synced"] {
        assert_eq!(database.get(Table::Meta, key).unwrap(), Some(b"value".to_vec()));
    }
}

#[test]
fn events_come_back_in_every_way_and_two_fifths_of_their_bytes_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path()).unwrap();
    // Each account in three events of a transfer, as in blocks.
    let account = |number: u32| [sha256(&number.to_be_bytes()).0; 3].concat();
    let long: Vec<u8> = (0..20_000).flat_map(account).collect();
    let values = [Vec::new(), b"short".to_vec(), long];
    let keys = [0u32, 1, 2].map(u32::to_be_bytes);
    let check = |view: &dyn DatabaseView| {
        let got = keys.map(|key| view.get(Table::Events, &key).unwrap().unwrap());
        let many = view.multi_get(Table::Events, &keys.each_ref().map(|key| &key[..])).unwrap();
        let scanned = view.scan(Table::Events, &KeyRange::all(), Direction::Forward, 9).unwrap();
        assert_eq!(got, values);
        assert!(many.into_iter().map(Option::unwrap).eq(values.iter().cloned()));
        assert!(scanned.into_iter().map(|(_, value)| value).eq(values.iter().cloned()));
    };
    let mut batch = WriteBatch::new();
    keys.iter().zip(&values).for_each(|(key, value)| batch.put(Table::Events, *key, value.clone()));
    database.write(batch, Durability::Unsynced).unwrap();
    check(&database);
    check(&*database.snapshot());
    let DirectoryStats { tables, logs, .. } = DirectoryStats::read(directory.path()).unwrap();
    let bytes = tables + logs;
    assert!(
        bytes > u64::try_from(values[2].len()).unwrap() / 5 && bytes < u64::try_from(values[2].len()).unwrap() * 2 / 5,
        "{bytes} bytes"
    );
    database.flush().unwrap();
    drop(database);
    check(&open(directory.path()).unwrap());
}

#[test]
fn opening_twice_is_refused_with_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let _first = open(directory.path()).unwrap();
    let error = open(directory.path()).err().unwrap();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains(&directory.path().display().to_string()));
}

#[test]
fn foreign_directory_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("letter.txt"), "dear").unwrap();
    assert!(matches!(open(directory.path()), Err(OpenError::Foreign { .. })));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn newer_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).unwrap());
    fs::write(directory.path().join("FORMAT"), "cairn database format 999\n").unwrap();
    assert!(matches!(open(directory.path()), Err(OpenError::Newer { found: 999, .. })));
}

#[test]
fn older_format_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).unwrap());
    fs::write(directory.path().join("FORMAT"), "cairn database format 1\n").unwrap();
    assert!(matches!(open(directory.path()), Err(OpenError::Older { found: 1, known: FORMAT_VERSION, .. })));
    assert_eq!(fs::read_to_string(directory.path().join("FORMAT")).unwrap(), "cairn database format 1\n");
    fs::write(directory.path().join("FORMAT"), "cairn database format 0\n").unwrap();
    assert!(matches!(open(directory.path()), Err(OpenError::Damaged { .. })));
}

#[test]
fn unreadable_format_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).unwrap());
    fs::write(directory.path().join("FORMAT"), "something").unwrap();
    assert!(matches!(open(directory.path()), Err(OpenError::Damaged { .. })));
}

#[test]
fn overwritten_manifest_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).unwrap());
    fs::write(directory.path().join("CURRENT"), "nothing\n").unwrap();
    let error = open(directory.path()).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[test]
fn file_in_place_of_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(open(&file), Err(OpenError::Inaccessible { .. })));
}

#[test]
fn table_file_cut_short_is_damage_whichever_it_is() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..3u8 {
        // More files than RocksDB looks at when it opens.
        let database = open(directory.path()).unwrap();
        let mut batch = WriteBatch::new();
        Table::ALL.into_iter().for_each(|table| batch.put(table, [number], [7; 500]));
        database.write(batch, Durability::Synced).unwrap();
        database.flush().unwrap();
    }
    let files = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let tables: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "sst")).collect();
    assert!(tables.len() > 40, "{} files", tables.len());
    for table in tables {
        let whole = fs::read(&table).unwrap();
        fs::write(&table, &whole[..whole.len() / 2]).unwrap();
        let error = open(directory.path()).err().unwrap();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(table.file_name().unwrap().to_str().unwrap()), "{error}");
        fs::write(&table, whole).unwrap();
    }
    assert!(open(directory.path()).is_ok());
}

#[test]
fn files_of_a_table_that_grows_slowly_stay_few() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path()).unwrap();
    let growing = [Table::Hashes, Table::Finalizations, Table::Headers, Table::Bodies];
    for height in 0..300u32 {
        let mut batch = WriteBatch::new();
        growing.into_iter().for_each(|table| batch.put(table, height.to_be_bytes(), [7; 500]));
        database.write(batch, Durability::Synced).unwrap();
        database.flush().unwrap();
    }
    for stats in database.table_stats().unwrap().into_iter().filter(|stats| growing.contains(&stats.table)) {
        assert!(stats.files < 60, "{stats:?}");
    }
    for height in 0..300u32 {
        assert_eq!(database.get(Table::Headers, &height.to_be_bytes()).unwrap(), Some(vec![7; 500]));
    }
}

#[test]
fn indexes_are_merged_by_age_only_and_have_few_files() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path()).unwrap();
    let key = |number: u32| sha256(&number.to_be_bytes()).0;
    for flush in 0..100u32 {
        let mut batch = WriteBatch::new();
        (flush * 10..flush * 10 + 10)
            .for_each(|number| batch.put(Table::Transactions, key(number), number.to_be_bytes()));
        // As a rollback does it.
        batch.delete(Table::Transactions, key(flush * 5));
        database.write(batch, Durability::Synced).unwrap();
        database.flush().unwrap();
    }
    let stats = database.table_stats().unwrap().into_iter().find(|stats| stats.table == Table::Transactions).unwrap();
    assert!((1..64).contains(&stats.files), "{stats:?}");
    for number in 0..1_000u32 {
        // The deletion of a number comes after it was put, but for the first one's, which comes with it.
        let is_deleted = number % 5 == 0 && number < 500;
        let expected = (!is_deleted).then(|| number.to_be_bytes().to_vec());
        assert_eq!(database.get(Table::Transactions, &key(number)).unwrap(), expected, "{number}");
    }
    // What the engine says it does: neither levels nor a merge of everything once a month.
    let options = fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path());
    let options =
        options.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("OPTIONS-")).max().unwrap();
    let text = fs::read_to_string(options).unwrap();
    let own = text.split("[CFOptions \"transactions\"]").nth(1).unwrap().split("[TableOptions").next().unwrap();
    for line in ["compaction_style=kCompactionStyleUniversal", "ttl=0", "periodic_compaction_seconds=0"] {
        assert!(own.lines().any(|found| found.trim() == line), "{line} is missing in {own}");
    }
}
