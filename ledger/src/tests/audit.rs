//! A check finds every damage on a list and names where it is.

use super::fixture::{Node, chain, genesis};
use crate::audit::{Audit, AuditReport};
use cairn_primitives::{Epoch, EpochSchedule, Height, ValidatorSet};
use cairn_storage::blocks::journal::{JournalKey, append};
use cairn_storage::{
    Database, DatabaseView, Direction, Durability, HistoryMode, KeyRange, MemoryDatabase, Record, StateConfig,
    StateStore, Table, WriteBatch,
};
use std::sync::Arc;

const EPOCH_LENGTH: u32 = 10;
const BLOCKS: u32 = 24;

/// The only record that the journals of these tests hold.
const RECORD: &[u8] = b"a record";

fn judge(epoch: Epoch, set: Option<&ValidatorSet>, record: &[u8]) -> Result<(), String> {
    assert!(set.is_some(), "epoch {epoch} has validators");
    if record == RECORD { Ok(()) } else { Err("not a record".into()) }
}

pub(super) fn audit_from(database: &MemoryDatabase, schedule: EpochSchedule, from: u32) -> AuditReport {
    let audit = Audit {
        database: Arc::new(database.clone()),
        scratch: Arc::new(MemoryDatabase::new()),
        genesis: genesis().clone(),
        schedule,
        from: Height(from),
        listed_max: 100,
    };
    audit.run(&judge, &|_, _, _| {})
}

pub(super) fn assert_sound(database: &MemoryDatabase, schedule: EpochSchedule) -> AuditReport {
    let report = audit_from(database, schedule, 0);
    assert_eq!(report.damages.listed(), []);
    report
}

/// Brings pages and history to the head.
pub(super) fn checkpoint(node: Node) -> Node {
    settle(&node.database);
    node.restart()
}

pub(super) fn settle(database: &MemoryDatabase) {
    StateStore::open(Arc::new(database.clone()), StateConfig::default()).unwrap().settle().unwrap();
}

/// A chain over two ends of epochs with a block that is not final and a journal.
fn whole() -> MemoryDatabase {
    let mut node = Node::with_epochs(EPOCH_LENGTH);
    chain(&mut node, BLOCKS - 4);
    let mut node = checkpoint(node);
    chain(&mut node, 4);
    let pending = node.propose(node.head(), 100, &[]);
    node.certify(&pending);
    let mut batch = WriteBatch::new();
    for sequence in 0..5 {
        append(&mut batch, JournalKey { epoch: Epoch(2), sequence }, RECORD.to_vec());
    }
    node.database.write(batch, Durability::Synced).unwrap();
    node.database
}

fn records(database: &MemoryDatabase, table: Table) -> Vec<Record> {
    database.scan(table, &KeyRange::all(), Direction::Forward, usize::MAX).unwrap()
}

fn change(database: &MemoryDatabase, change: impl FnOnce(&mut WriteBatch)) -> MemoryDatabase {
    let damaged = database.fork();
    let mut batch = WriteBatch::new();
    change(&mut batch);
    damaged.write(batch, Durability::Synced).unwrap();
    damaged
}

fn assert_found(damaged: &MemoryDatabase, table: Table, what: &str) {
    let report = audit_from(damaged, EpochSchedule::new(EPOCH_LENGTH), 0);
    let listed = report.damages.listed();
    assert!(listed.iter().any(|damage| damage.table == table), "{what} in {table}: {:?}", listed.first());
}

/// A record in the middle of a table; of the history, one above the lowest height.
fn middle(database: &MemoryDatabase, table: Table) -> Record {
    let records = records(database, table);
    assert!(!records.is_empty(), "{table}");
    records[records.len() / 2].clone()
}

#[test]
fn audit_of_a_whole_database_finds_nothing_and_counts_everything() {
    let report = assert_sound(&whole(), EpochSchedule::new(EPOCH_LENGTH));
    assert_eq!((report.head, report.blocks, report.finalizations), (Height(BLOCKS), 25, 24));
    assert_eq!((report.states, report.epochs, report.lowest_state), (24, 3, Height::ZERO));
    assert!(report.extrinsics >= 24 && report.leaves > 5);
    for from in [1, 9, 10, 11, 24, 30] {
        let report = audit_from(&whole(), EpochSchedule::new(EPOCH_LENGTH), from);
        assert_eq!(report.damages.listed(), []);
        assert_eq!(report.blocks, u64::from(25 - from.min(24)));
    }
}

#[test]
fn audit_of_a_window_finds_nothing() {
    let mut node = Node::with_history(HistoryMode::Window(5));
    chain(&mut node, 20);
    assert_sound(&node.database, EpochSchedule::new(0));
    settle(&node.database);
    let report = assert_sound(&node.database, EpochSchedule::new(0));
    // Diffs leave the window some dozens at a time.
    assert_eq!((report.states, report.lowest_state), (20, Height(0)));
}

#[test]
fn audit_finds_a_flipped_byte_anywhere_in_a_value_of_each_table() {
    let database = whole();
    for table in Table::ALL {
        let picked = if table == Table::Meta { records(&database, table) } else { vec![middle(&database, table)] };
        for (key, value) in picked {
            // Every byte of short values, a sample of long ones.
            for position in (0..value.len()).step_by(value.len().div_ceil(48).max(1)) {
                // A lowest readable height that is too high is what a smaller window leaves, and a checkpoint that is said to
                // be older only makes opening longer.
                if key == b"state" && position == 36 || key == b"checkpoint" && position == 0 {
                    continue;
                }
                let mut flipped = value.clone();
                flipped[position] ^= 0x10;
                let damaged = change(&database, |batch| batch.put(table, key.clone(), flipped));
                // An archive that says less than it holds shows in what it holds.
                let table = if key == b"archive" && position == 4 { Table::StateHistory } else { table };
                assert_found(&damaged, table, &format!("flipped byte {position} of {}", value.len()));
            }
        }
    }
}

#[test]
fn audit_finds_a_flipped_byte_in_a_key_of_each_table() {
    let database = whole();
    for table in Table::ALL {
        let (key, value) = middle(&database, table);
        for position in 0..key.len() {
            let mut flipped = key.clone();
            flipped[position] ^= 1;
            let damaged = change(&database, |batch| {
                batch.delete(table, key.clone());
                batch.put(table, flipped, value.clone());
            });
            assert_found(&damaged, table, &format!("flipped key byte {position} of {}", key.len()));
        }
    }
}

#[test]
fn audit_finds_a_missing_record_of_each_table_and_names_its_place() {
    let database = whole();
    let expected = [
        (Table::Meta, None, "head"),
        (Table::Headers, Some(12), "height 12"),
        (Table::Bodies, Some(12), "height 12"),
        (Table::Hashes, Some(12), "height 12"),
        (Table::Events, Some(12), "height 12"),
        // Elsewhere a descendant's covers the block.
        (Table::Finalizations, Some(BLOCKS), "height 24"),
        (Table::Finalizations, Some(2 * EPOCH_LENGTH), "height 20"),
        (Table::StateDiffs, Some(12), "height 12"),
        (Table::StateDiffs, Some(22), "height 22"),
    ];
    for (table, height, place) in expected {
        let key = height.map_or_else(|| b"head".to_vec(), |height: u32| height.to_be_bytes().to_vec());
        let damaged = change(&database, |batch| batch.delete(table, key));
        let report = audit_from(&damaged, EpochSchedule::new(EPOCH_LENGTH), 0);
        let listed = report.damages.listed();
        assert!(
            listed.iter().any(|damage| damage.table == table && damage.place.contains(place)),
            "{place}: {listed:?}"
        );
    }
    for table in [
        Table::Heights,
        Table::Transactions,
        Table::ValidatorSets,
        Table::Journal,
        Table::StatePages,
        Table::StateKeys,
        Table::StateNodes,
        Table::StateHistory,
    ] {
        let (key, _) = middle(&database, table);
        assert_found(&change(&database, |batch| batch.delete(table, key)), table, "missing record");
    }
}

#[test]
fn audit_finds_records_that_no_block_accounts_for() {
    let database = whole();
    let next = (BLOCKS + 1).to_be_bytes();
    for table in [Table::Headers, Table::Bodies, Table::Hashes, Table::Events, Table::Finalizations, Table::StateDiffs]
    {
        let (_, value) = middle(&database, table);
        assert_found(&change(&database, |batch| batch.put(table, next, value)), table, "record above the head");
    }
    for table in [Table::Heights, Table::Transactions] {
        let (_, value) = middle(&database, table);
        assert_found(&change(&database, |batch| batch.put(table, [7; 32], value)), table, "hash of nothing");
    }
    let (mut key, value) = middle(&database, Table::StateHistory);
    key[0] = b'!';
    assert_found(&change(&database, |batch| batch.put(Table::StateHistory, key, value)), Table::StateHistory, "more");
}

#[test]
fn audit_reports_several_damages_at_once_and_bounds_the_list() {
    let database = whole();
    let damaged = change(&database, |batch| {
        for height in 3..20_u32 {
            batch.delete(Table::Events, height.to_be_bytes());
        }
        batch.delete(Table::Bodies, 21_u32.to_be_bytes());
    });
    let report = audit_from(&damaged, EpochSchedule::new(EPOCH_LENGTH), 0);
    assert_eq!(report.damages.count(), 18 + unaccounted(&database, 21));
    let audit = Audit {
        database: Arc::new(damaged),
        scratch: Arc::new(MemoryDatabase::new()),
        genesis: genesis().clone(),
        schedule: EpochSchedule::new(EPOCH_LENGTH),
        from: Height::ZERO,
        listed_max: 4,
    };
    let bounded = audit.run(&judge, &|_, _, _| {}).damages;
    let listed = |table| bounded.listed().iter().filter(|damage| damage.table == table).count();
    assert_eq!((listed(Table::Events), listed(Table::Bodies)), (4, 1));
    assert_eq!(bounded.count(), report.damages.count());
}

/// How many extrinsics a block has, whose index entries lead nowhere without it.
fn unaccounted(database: &MemoryDatabase, height: u32) -> u64 {
    let body = cairn_storage::blocks::body(database, Height(height)).unwrap().unwrap();
    u64::try_from(body.len()).unwrap()
}

#[test]
fn audit_of_wrong_past_value_names_the_height_at_which_it_begins() {
    let database = whole();
    let history = records(&database, Table::StateHistory);
    let height = |key: &[u8]| u32::from_be_bytes(key[key.len() - 4..].try_into().unwrap());
    let (key, value) = history.iter().find(|(key, value)| height(key) == 7 && !value.is_empty()).unwrap();
    let mut wrong = value.clone();
    *wrong.last_mut().unwrap() ^= 1;
    let damaged = change(&database, |batch| batch.put(Table::StateHistory, key.clone(), wrong));
    let report = audit_from(&damaged, EpochSchedule::new(EPOCH_LENGTH), 0);
    assert_eq!(report.damages.listed()[0].place, "height 7");
    let is_there = |place: &str| place == "height 7" || place == "height 6";
    assert!(report.damages.listed().iter().all(|damage| is_there(&damage.place)), "{:?}", report.damages.listed());
}
