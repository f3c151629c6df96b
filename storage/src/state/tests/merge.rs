//! An archive that begins late and gets what lies below from another one.

use super::crash::Recorder;
use super::snapshot::{chunks, load};
use super::*;
use crate::damage::Damages;
use crate::database::{DatabaseView, Direction, KeyRange};
use crate::state::audit::{StateAudit, facts};
use crate::state::{ArchiveMerge, StateError};
use crate::table::Table;
use std::collections::BTreeSet;

/// No version but the head stays in memory, and chunks are small.
const COLD: StateConfig = StateConfig {
    recent_bytes: 0,
    unsaved: CheckpointLimits {
        bytes: 16 << 10,
        archive_bytes: 16 << 10,
        diff_bytes: 64 << 10,
        blocks: 3,
        chunk_bytes: 1 << 10,
    },
    ..ARCHIVE
};
const KEYS: u64 = 220;

/// The same chain three times: from genesis, from a snapshot on, and up to the snapshot.
struct Chains {
    whole: Chain,
    late: Chain,
    below: Chain,
    random: Random,
}

impl Chains {
    /// A snapshot is taken after `start` blocks, and the others go on for some.
    fn new(seed: u64, start: u32) -> Self {
        let mut random = Random(seed);
        let (mut whole, mut below) = (Chain::new(COLD), Chain::new(COLD));
        for height in 0..=start {
            let changes = block(&mut random, height);
            whole.commit(changes.clone());
            below.commit(changes);
            if height % 4 == 2 {
                // Where buckets split and merge is another matter now.
                below.reopen();
            }
        }
        below.save();
        let late = late(&whole);
        let mut chains = Self { whole, late, below, random };
        chains.grow(5);
        chains
    }

    fn grow(&mut self, blocks: u32) {
        for _ in 0..blocks {
            let changes = block(&mut self.random, self.whole.next_height().0);
            self.whole.commit(changes.clone());
            self.late.commit(changes);
        }
    }

    fn merge(&self) -> ArchiveMerge {
        self.late.store.merge().unwrap()
    }

    /// Brings the late archive down to genesis.
    fn fill(&self) {
        let mut merge = self.merge();
        while merge.step(&self.below.database).unwrap() {}
        self.late.store.finish_merge().unwrap();
    }

    /// Compares the late archive with that from genesis, from a height on; below it nothing is told.
    fn compare(&self, lowest: u32) {
        let (late, whole) = (self.late.store.read_model(), self.whole.store.read_model());
        assert_eq!((late.lowest_height(), late.lowest_provable_height()), (Height(lowest), Height(lowest)));
        let head = late.head().unwrap().height;
        let keys: Vec<_> = (0..KEYS).step_by(5).chain([KEYS + 1]).map(key).collect();
        for height in (lowest..=head.0).map(Height) {
            for key in &keys {
                assert_eq!(late.get_at(height, key).unwrap(), whole.get_at(height, key).unwrap(), "{height}");
            }
            let listed = |reads: &crate::state::StateReadModel| reads.keys_at(height, b"key 1", None, 90).unwrap();
            assert_eq!(listed(&late), listed(&whole), "{height}");
            assert_eq!(late.prove(height, &keys).unwrap(), whole.prove(height, &keys).unwrap(), "{height}");
            let batch = late.prove_batch(height, &keys).unwrap();
            assert!(batch.check(&self.whole.roots[height.0 as usize], &keys).is_ok(), "{height}");
        }
        if let Some(below) = lowest.checked_sub(1) {
            let (height, lowest) = (Height(below), Height(lowest));
            assert_eq!(late.get_at(height, &keys[0]), Err(StateError::Pruned { height, lowest }));
            assert_eq!(late.prove(height, &keys), Err(StateError::ProofNotKept { height, lowest }));
        }
    }

    /// What a check of the late archive finds.
    fn damages(&self) -> Damages {
        let database: Arc<dyn Database> = Arc::new(self.late.database.fork());
        let scratch: Arc<dyn Database> = Arc::new(MemoryDatabase::new());
        let facts = facts(&*database).unwrap().unwrap();
        let root_of = |height: Height| self.whole.roots.get(height.0 as usize).copied();
        let audit = StateAudit { database: &database, facts: &facts, root_of: &root_of };
        let mut damages = Damages::new(10);
        audit.check_head(&mut damages, &mut |_| ());
        let states = audit.check_past(&scratch, &mut damages, &mut |_| ());
        assert!(damages.count() > 0 || states >= u64::from(facts.height.0 - facts.lowest.0), "{states} states");
        damages
    }
}

/// From a few keys to many, and down again now and then.
fn block(random: &mut Random, height: u32) -> Changes {
    match height % 9 {
        0 => (0..KEYS).map(|number| (key(number), Some(random.value()))).collect(),
        5 => (0..KEYS).filter(|_| random.below(10) < 7).map(|number| (key(number), None)).collect(),
        _ => random_changes(random, KEYS, 12, 4),
    }
}

/// An archive that begins with a snapshot of another's head.
fn late(whole: &Chain) -> Chain {
    let database = MemoryDatabase::new();
    let head = whole.store.head().unwrap();
    load(&database, &chunks(&whole.store.view(), 700), head.height, head.root).unwrap();
    let store = StateStore::open(Arc::new(database.clone()), COLD).unwrap();
    Chain { database, config: COLD, store, model: whole.model.clone(), roots: whole.roots.clone() }
}

fn records(database: &MemoryDatabase, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    database.scan(table, &KeyRange::all(), Direction::Forward, usize::MAX).unwrap()
}

#[test]
fn merged_archive_tells_every_height_as_one_from_genesis() {
    for (seed, start) in [(1, 17), (2, 21), (3, 5), (4, 1)] {
        let mut chains = Chains::new(seed, start);
        chains.compare(start);
        let mut merge = chains.merge();
        assert_eq!(merge.to(), Height(start));
        while merge.step(&chains.below.database).unwrap() {
            // Blocks go on, and nothing is told of what is on its way.
            chains.grow(u32::from(start > 4));
            assert_eq!(chains.late.store.read_model().lowest_height(), Height(start));
        }
        chains.compare(start);
        chains.late.save();
        assert_eq!(chains.damages().count(), 0, "{:?}", chains.damages());
        chains.late.store.finish_merge().unwrap();
        chains.compare(0);
        chains.grow(6);
        chains.late.save();
        chains.whole.save();
        chains.compare(0);
        assert!(chains.late.store.merge().is_none());
        assert_eq!(chains.damages().count(), 0, "{:?}", chains.damages());
        for table in [Table::StateHistory, Table::StateNodes] {
            assert_eq!(records(&chains.late.database, table), records(&chains.whole.database, table));
        }
        chains.late.reopen();
        chains.compare(0);
    }
}

#[test]
fn check_finds_any_merged_record_that_is_damaged() {
    let mut chains = Chains::new(5, 11);
    chains.fill();
    chains.grow(2);
    chains.late.save();
    let disk = chains.late.database.clone();
    for table in [Table::StateHistory, Table::StateNodes] {
        for (number, (key, value)) in records(&disk, table).into_iter().enumerate().step_by(37) {
            let damaged = disk.fork();
            let mut batch = WriteBatch::new();
            match value.len() {
                0 => batch.put(table, key, [7]),
                length => {
                    let mut value = value;
                    value[number % length] ^= 1;
                    batch.put(table, key, value);
                }
            }
            damaged.write(batch, Durability::Synced).unwrap();
            chains.late.database = damaged;
            assert!(chains.damages().count() > 0, "record {number} of {table}");
        }
    }
}

#[test]
fn crash_at_any_write_of_a_merge_loses_nothing() {
    let mut chains = Chains::new(6, 12);
    let recorder = Recorder { disk: chains.late.database.clone(), ..Recorder::default() };
    chains.late.store = StateStore::open(Arc::new(recorder.clone()), COLD).unwrap();
    let mut merge = chains.merge();
    while merge.step(&chains.below.database).unwrap() {}
    chains.late.store.finish_merge().unwrap();
    let states = std::mem::take(&mut *recorder.states.lock().unwrap());
    let (mut crashes, mut merged) = (0, 0);
    for state in &states {
        let count = state.unflushed_count();
        for kept in BTreeSet::from([0, 1, count / 2, count]) {
            let crashed = state.fork();
            crashed.lose_unflushed(kept);
            chains.late.database = crashed;
            chains.late.reopen();
            let lowest = chains.late.store.read_model().lowest_height();
            chains.compare(lowest.0);
            if lowest > Height::ZERO {
                chains.fill();
                chains.compare(0);
            }
            if crashes % 5 == 0 {
                chains.late.save();
                assert_eq!(chains.damages().count(), 0, "{:?}", chains.damages());
            }
            merged += usize::from(lowest == Height::ZERO);
            crashes += 1;
        }
    }
    assert!(crashes > 20 && merged > 0 && merged < crashes, "{merged} of {crashes} crashes after the end");
}

#[test]
fn merge_of_too_little_or_before_its_end_is_refused() {
    let chains = Chains::new(7, 12);
    assert!(chains.whole.store.merge().is_none(), "nothing lies below an archive from genesis");
    assert_eq!(chains.late.store.finish_merge(), Err(StateError::NotMerged));
    let wanted = Height(12);
    let mut short = Chain::new(COLD);
    assert_eq!(chains.merge().step(&short.database), Err(StateError::OtherArchive { found: None, wanted }));
    short.commit(Changes::new());
    let refused = StateError::OtherArchive { found: Some((Height(0), Height(0))), wanted };
    assert_eq!(chains.merge().step(&short.database), Err(refused));
    assert!(chains.merge().step(&chains.below.database).unwrap());
    assert_eq!(chains.late.store.finish_merge(), Err(StateError::NotMerged));
    chains.compare(12);
}

#[test]
fn merge_begins_anew_where_records_were_pruned_meanwhile() {
    let mut chains = Chains::new(8, 12);
    let mut merge = chains.merge();
    while merge.step(&chains.below.database).unwrap() {}
    let lowest = chains.late.store.prune(Height(14), &mut |_| ()).unwrap();
    chains.late.reopen();
    chains.compare(lowest.0);
    assert_eq!(chains.late.store.finish_merge(), Err(StateError::NotMerged));
    let wanted = Height(14);
    let refused = StateError::OtherArchive { found: Some((Height(0), Height(12))), wanted };
    assert_eq!(chains.merge().step(&chains.below.database), Err(refused));
    // One that reaches further serves as well.
    chains.whole.save();
    let mut merge = chains.merge();
    while merge.step(&chains.whole.database).unwrap() {}
    chains.late.store.finish_merge().unwrap();
    chains.compare(0);
    assert_eq!(chains.damages().count(), 0, "{:?}", chains.damages());
}

#[test]
fn archive_that_becomes_a_window_drops_what_was_on_its_way() {
    let mut chains = Chains::new(9, 12);
    let mut merge = chains.merge();
    for _ in 0..3 {
        assert!(merge.step(&chains.below.database).unwrap());
    }
    drop(merge);
    chains.late.config.history = HistoryMode::Window(4);
    chains.late.reopen();
    assert!(chains.late.store.merge().is_none());
    assert_eq!(chains.damages().count(), 0, "{:?}", chains.damages());
    chains.grow(12);
    chains.late.save();
    for table in [Table::StateHistory, Table::StateNodes] {
        assert_eq!(records(&chains.late.database, table), Vec::new());
    }
    assert_eq!(chains.damages().count(), 0, "{:?}", chains.damages());
    // As an archive again it begins with the window, and is filled from there.
    chains.late.config.history = HistoryMode::Archive;
    chains.late.reopen();
    chains.grow(3);
    assert_eq!(chains.merge().to(), Height(25));
    chains.whole.save();
    chains.below.database = chains.whole.database.clone();
    chains.fill();
    chains.compare(0);
}
