//! An archive that began with a snapshot has its states filled in.

use super::audit::{assert_sound, checkpoint};
use super::epochs::{grow, turning_chain};
use super::fixture::{Node, chain, config, finalized, genesis, try_open};
use super::snapshot::{archived, restore, take};
use super::upgrade::{schedule, upgraded};
use crate::rework::{ReworkError, roll_back};
use crate::{Ledger, LedgerError, ReadError, Replay};
use cairn_primitives::{EpochSchedule, Height};
use cairn_runtime::{RulesSchedule, keys};
use cairn_storage::{Database, DatabaseView, Durability, HistoryMode, MemoryDatabase, StateError, Table, WriteBatch};
use std::sync::Arc;

fn open(disk: &MemoryDatabase, epochs: EpochSchedule, rules: &RulesSchedule) -> Replay {
    Replay::open(Arc::new(disk.clone()), config(HistoryMode::Window(1), epochs, rules.clone())).unwrap()
}

/// A node that has all blocks of another, and the states from the other's head on.
fn joined(node: &Node, epochs: EpochSchedule) -> Node {
    let mut joined = Node::on(restore(&take(node, 400), epochs), HistoryMode::Archive, epochs);
    let top = node.height();
    assert_eq!(joined.ledger.fill(&archived(node, top - 1, 1)).unwrap(), Height::ZERO);
    joined
}

/// Executes everything that a ledger lacks the states of, in a database.
fn replay(ledger: &Ledger, disk: &MemoryDatabase, epochs: EpochSchedule, rules: &RulesSchedule) -> Replay {
    let mut replay = open(disk, epochs, rules);
    while replay.step(&ledger.reader(), ledger.merge().unwrap().to()).unwrap() {}
    replay
}

fn merge(ledger: &mut Ledger, replay: &Replay) {
    let mut merge = ledger.merge().unwrap();
    while merge.step(replay.view()).unwrap() {}
    ledger.finish_merge().unwrap();
}

/// Compares all answers about states with those of the original, from a height on.
fn compare(ledger: &Ledger, original: &Ledger, lowest: u32) {
    let (reader, original) = (ledger.reader(), original.reader());
    assert_eq!(reader.lowest_state(), Height(lowest));
    for height in (lowest..=reader.head().height.0).map(Height) {
        let hash = original.block_hash(height).unwrap().unwrap();
        let (ours, theirs) = (reader.state_at(&hash).unwrap(), original.state_at(&hash).unwrap());
        let mut all = theirs.keys(&[], None, 1_000).unwrap();
        assert_eq!(ours.keys(&[], None, 1_000).unwrap(), all);
        assert!(all.len() > 8);
        for key in all.iter().map(Vec::as_slice).chain([keys::CODE, &keys::SYSTEM_EVENTS, &keys::SYSTEM_NUMBER]) {
            assert_eq!(ours.get(key).unwrap(), theirs.get(key).unwrap(), "{height}");
        }
        all.push(b"absent".to_vec());
        assert_eq!(reader.prove(&all, &hash).unwrap(), original.prove(&all, &hash).unwrap(), "{height}");
    }
    if let Some(below) = lowest.checked_sub(1) {
        let hash = original.block_hash(Height(below)).unwrap().unwrap();
        assert!(matches!(reader.state_at(&hash), Err(ReadError::Pruned { .. })));
    }
}

#[test]
fn replayed_archive_answers_as_the_original_at_every_height() {
    let epochs = EpochSchedule::new(3);
    let rules = RulesSchedule::default();
    let (mut node, _) = turning_chain(3, 3);
    grow(&mut node, &[]);
    let mut joined = joined(&node, epochs);
    compare(&joined.ledger, &node.ledger, 10);
    let disk = MemoryDatabase::new();
    let mut replay = open(&disk, epochs, &rules);
    assert_eq!(replay.height(), Height::ZERO);
    let to = joined.ledger.merge().unwrap().to();
    assert_eq!(to, Height(10));
    assert!(replay.step(&joined.ledger.reader(), to).unwrap());
    assert_eq!(replay.height(), Height(3), "up to the end of an epoch");
    // It is killed, and goes on after what was synced; blocks go on meanwhile.
    drop(replay);
    disk.lose_unflushed(0);
    let next = grow(&mut node, &[]);
    joined.ledger.import(&[super::epochs::finalized(&next.block)]).unwrap();
    let mut replay = open(&disk, epochs, &rules);
    assert_eq!(replay.height(), Height(3));
    while replay.step(&joined.ledger.reader(), to).unwrap() {}
    assert_eq!(replay.height(), to);
    assert!(replay.is_of(&joined.ledger.reader()).unwrap());
    merge(&mut joined.ledger, &replay);
    compare(&joined.ledger, &node.ledger, 0);
    assert!(joined.ledger.merge().is_none());
    let next = grow(&mut node, &[]);
    joined.ledger.import(&[super::epochs::finalized(&next.block)]).unwrap();
    let joined = joined.restart();
    compare(&joined.ledger, &node.ledger, 0);
    let report = assert_sound(&checkpoint(joined).database, epochs);
    assert_eq!(report.states, u64::from(node.height()));
}

#[test]
fn replay_obeys_the_rules_of_each_height() {
    let epochs = EpochSchedule::new(0);
    let rules = schedule(4);
    let mut node = Node::under(&rules);
    upgraded(&mut node);
    let database = restore(&take(&node, 400), epochs);
    let mut ledger = try_open(Arc::new(database), HistoryMode::Archive, epochs, rules.clone()).unwrap();
    ledger.fill(&archived(&node, 3, 1)).unwrap();
    // Under the same rules all along another chain is executed.
    let mut wrong = open(&MemoryDatabase::new(), epochs, &RulesSchedule::default());
    let failed = wrong.step(&ledger.reader(), Height(4));
    assert!(matches!(failed, Err(LedgerError::FinalizedInvalid { .. })), "{failed:?}");
    let replay = replay(&ledger, &MemoryDatabase::new(), epochs, &rules);
    merge(&mut ledger, &replay);
    compare(&ledger, &node.ledger, 0);
}

#[test]
fn replay_of_blocks_that_are_missing_or_damaged_ends_with_an_error() {
    let epochs = EpochSchedule::new(0);
    let mut node = Node::new();
    chain(&mut node, 7);
    let joined = joined(&node, epochs);
    let place = 4_u32.to_be_bytes();
    let other = joined.database.get(Table::Bodies, &2_u32.to_be_bytes()).unwrap().unwrap();
    for damage in [None, Some(other)] {
        let mut batch = WriteBatch::new();
        match damage {
            None => batch.delete(Table::Bodies, place),
            Some(body) => batch.put(Table::Bodies, place, body),
        }
        joined.database.write(batch, Durability::Synced).unwrap();
        let mut replay = open(&MemoryDatabase::new(), epochs, &RulesSchedule::default());
        replay.step(&joined.ledger.reader(), Height(7)).unwrap_err();
        assert_eq!(replay.height(), Height::ZERO, "a batch is committed as a whole");
        let refused = joined.ledger.merge().unwrap().step(replay.view());
        let found = Some((Height::ZERO, Height::ZERO));
        assert_eq!(refused, Err(StateError::OtherArchive { found, wanted: Height(7) }));
    }
}

#[test]
fn replay_of_another_chain_is_told_apart() {
    let epochs = EpochSchedule::new(0);
    let mut node = Node::new();
    chain(&mut node, 4);
    let disk = MemoryDatabase::new();
    let replay = replay(&joined(&node, epochs).ledger, &disk, epochs, &RulesSchedule::default());
    assert!(replay.is_of(&node.ledger.reader()).unwrap());
    let mut other = Node::new();
    other.grow(&[]);
    assert!(!replay.is_of(&other.ledger.reader()).unwrap(), "it does not reach there");
    (0..4).for_each(|_| drop(other.grow(&[])));
    assert!(!replay.is_of(&other.ledger.reader()).unwrap(), "it has other blocks");
}

#[test]
fn filled_archive_is_rolled_back_to_its_snapshot_at_most() {
    let epochs = EpochSchedule::new(0);
    let mut node = Node::new();
    chain(&mut node, 8);
    for is_finished in [false, true] {
        let mut joined = joined(&node, epochs);
        let mut original = Node::on(node.database.fork(), HistoryMode::Archive, epochs);
        for block in (0..3).map(|_| original.grow(&[])).collect::<Vec<_>>() {
            joined.ledger.import(&[finalized(&block)]).unwrap();
        }
        let replay = replay(&joined.ledger, &MemoryDatabase::new(), epochs, &RulesSchedule::default());
        let mut merging = joined.ledger.merge().unwrap();
        while merging.step(replay.view()).unwrap() {}
        if is_finished {
            joined.ledger.finish_merge().unwrap();
        }
        let disk = joined.database.clone();
        drop((joined, merging));
        let database: Arc<dyn Database> = Arc::new(disk.clone());
        let refused = roll_back(&database, genesis(), epochs, Height(7), &mut |_, _| ());
        assert!(matches!(refused, Err(ReworkError::NotKept { lowest: Height(8), .. })), "{refused:?}");
        let done = roll_back(&database, genesis(), epochs, Height(8), &mut |_, _| ()).unwrap();
        assert_eq!(done.hash, node.head());
        let mut joined = Node::on(disk, HistoryMode::Archive, epochs);
        if !is_finished {
            compare(&joined.ledger, &node.ledger, 8);
            merge(&mut joined.ledger, &replay);
        }
        compare(&joined.ledger, &node.ledger, 0);
        assert_sound(&checkpoint(joined).database, epochs);
    }
}
