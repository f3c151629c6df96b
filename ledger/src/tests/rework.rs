//! Rolling back and pruning: the database is what it was, or what a window leaves, after any interruption.

use super::audit::{assert_sound, settle};
use super::crash::Recorder;
use super::fixture::{Node, chain, genesis};
use crate::rework::{ReworkError, prune, roll_back};
use cairn_primitives::{EpochSchedule, Height};
use cairn_storage::{Database, DatabaseView, Direction, HistoryMode, KeyRange, MemoryDatabase, Record, Table};
use std::sync::Arc;

const LENGTH: u32 = 10;

fn schedule() -> EpochSchedule {
    EpochSchedule::new(LENGTH)
}

fn records(database: &MemoryDatabase, table: Table) -> Vec<Record> {
    database.scan(table, &KeyRange::all(), Direction::Forward, usize::MAX).unwrap()
}

/// Whether all tables are the same but those that say nothing about committed blocks. The cut of the state into pages depends
/// on its past; that the pages are the state of the head is what the audit says.
fn assert_same(actual: &MemoryDatabase, expected: &MemoryDatabase) {
    let (actual, expected) = (&actual.fork(), &expected.fork());
    settle(actual);
    settle(expected);
    for table in Table::ALL {
        if !matches!(table, Table::StatePages | Table::StateDiffs | Table::Journal | Table::PendingBlocks) {
            assert_eq!(records(actual, table), records(expected, table), "{table}");
        }
    }
    assert_sound(actual, schedule());
}

/// A chain of 27 blocks in epochs of 10, and its database at every height.
fn story() -> (Node, Vec<MemoryDatabase>) {
    let mut node = Node::with_epochs(LENGTH);
    let mut at = vec![node.database.fork()];
    for _ in 0..27 {
        chain(&mut node, 1);
        at.push(node.database.fork());
    }
    (node, at)
}

fn shared(database: &MemoryDatabase) -> Arc<dyn Database> {
    Arc::new(database.clone())
}

#[test]
fn rollback_leaves_the_database_as_it_was_at_the_height() {
    let (node, at) = story();
    let pending = { node.database.fork() };
    for to in [26, 20, 19, 10, 3, 0] {
        let database = pending.fork();
        let done = roll_back(&shared(&database), genesis(), schedule(), Height(to), &mut |_, _| {}).unwrap();
        assert_eq!((done.from, done.head), (Height(27), Height(to)));
        assert_same(&database, &at[usize::try_from(to).unwrap()]);
    }
}

#[test]
fn chain_after_a_rollback_grows_as_before() {
    let (node, at) = story();
    let database = node.database.fork();
    roll_back(&shared(&database), genesis(), schedule(), Height(8), &mut |_, _| {}).unwrap();
    let mut node = Node::on(database, HistoryMode::Archive, schedule());
    chain(&mut node, 19);
    assert_same(&node.database, &at[27]);
}

#[test]
fn rollback_deletes_what_is_not_final_and_reports_it() {
    let (mut node, at) = story();
    let block = node.propose(node.head(), 100, &[]);
    node.certify(&block);
    let done = roll_back(&shared(&node.database), genesis(), schedule(), Height(27), &mut |_, _| {}).unwrap();
    assert_eq!((done.pending_deleted, done.head), (1, Height(27)));
    assert_same(&node.database, &at[27]);
}

#[test]
fn rollback_interrupted_at_any_write_goes_on_and_ends_the_same() {
    let (node, at) = story();
    let recorder = Recorder::on(node.database.fork());
    let disk: Arc<dyn Database> = Arc::new(recorder.clone());
    roll_back(&disk, genesis(), schedule(), Height(17), &mut |_, _| {}).unwrap();
    let states = std::mem::take(&mut *recorder.states.lock().unwrap());
    assert!(states.len() >= 10);
    for (state, _) in states {
        for kept in 0..=state.unsynced_count() {
            let crashed = state.fork();
            crashed.lose_unsynced(kept);
            assert_sound(&crashed, schedule());
            roll_back(&shared(&crashed), genesis(), schedule(), Height(17), &mut |_, _| {}).unwrap();
            assert_same(&crashed, &at[17]);
        }
    }
}

#[test]
fn rollback_below_the_window_or_above_the_head_is_refused() {
    let mut node = Node::with_history(HistoryMode::Window(5));
    chain(&mut node, 20);
    let before = node.database.fork();
    let try_to = |to| roll_back(&shared(&node.database), genesis(), EpochSchedule::new(0), Height(to), &mut |_, _| {});
    assert!(matches!(try_to(14), Err(ReworkError::NotKept { lowest: Height(15), .. })));
    assert!(matches!(try_to(21), Err(ReworkError::AboveHead { head: Height(20), .. })));
    for table in Table::ALL {
        assert_eq!(records(&node.database, table), records(&before, table), "{table}");
    }
    assert_eq!(try_to(15).unwrap().head, Height(15));
    assert_sound(&node.database, EpochSchedule::new(0));
}

#[test]
fn prune_of_an_archive_leaves_what_the_heights_above_show() {
    let mut archive = Node::new();
    chain(&mut archive, 30);
    let before = archive.database.fork();
    let mut told = Vec::new();
    let done = prune(&shared(&archive.database), genesis(), 5, &mut |records| told.push(records)).unwrap();
    assert_eq!((done.head, done.lowest_before, done.lowest), (Height(30), Height(0), Height(25)));
    settle(&before);
    let heights = |database: &MemoryDatabase, table| {
        let height = |(key, _): &Record| u32::from_be_bytes(*key.last_chunk().unwrap());
        records(database, table).iter().map(height).min().unwrap()
    };
    for table in [Table::StateHistory, Table::StateNodes] {
        assert_eq!(heights(&before, table), 1, "{table}");
        assert_eq!(heights(&archive.database, table), 26, "{table}");
    }
    let looked_at = records(&before, Table::StateHistory).len() + records(&before, Table::StateNodes).len();
    assert_eq!(told.last(), Some(&u64::try_from(looked_at).unwrap()));
    let again = prune(&shared(&archive.database), genesis(), 9, &mut |_| {}).unwrap();
    assert_eq!(again.lowest, Height(25), "what is gone does not come back");
    assert_sound(&archive.database, EpochSchedule::new(0));
}

#[test]
fn prune_interrupted_at_any_write_goes_on_and_ends_the_same() {
    let mut node = Node::new();
    chain(&mut node, 150);
    let expected = node.database.fork();
    let recorder = Recorder::on(node.database.fork());
    let disk: Arc<dyn Database> = Arc::new(recorder.clone());
    prune(&disk, genesis(), 3, &mut |_| {}).unwrap();
    prune(&shared(&expected), genesis(), 3, &mut |_| {}).unwrap();
    let states = std::mem::take(&mut *recorder.states.lock().unwrap());
    assert!(states.len() >= 3);
    for (state, _) in states {
        prune(&shared(&state), genesis(), 3, &mut |_| {}).unwrap();
        for table in Table::ALL {
            assert_eq!(records(&state, table), records(&expected, table), "{table}");
        }
        assert_sound(&state, EpochSchedule::new(0));
    }
}

#[test]
fn rework_of_an_empty_database_is_refused() {
    let empty = shared(&MemoryDatabase::new());
    assert!(matches!(prune(&empty, genesis(), 3, &mut |_| {}), Err(ReworkError::Empty)));
    let rolled = roll_back(&empty, genesis(), schedule(), Height(1), &mut |_, _| {});
    assert!(matches!(rolled, Err(ReworkError::Empty)));
}
