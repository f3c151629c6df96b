//! What a crash at any write leaves, opened again.

use super::{ARCHIVE, Chain, Changes, Random, key, random_changes};
use crate::batch::WriteBatch;
use crate::database::{Database, DatabaseView, Direction, Durability, KeyRange, Record};
use crate::error::DatabaseError;
use crate::memory::MemoryDatabase;
use crate::state::{CheckpointLimits, HistoryMode, StateConfig, StateStore};
use crate::table::Table;
use cairn_primitives::Height;
use std::sync::{Arc, Mutex};

/// A disk of which the state after every write is kept.
#[derive(Clone, Default)]
pub(super) struct Recorder {
    pub(super) disk: MemoryDatabase,
    pub(super) states: Arc<Mutex<Vec<MemoryDatabase>>>,
}

impl Recorder {
    fn record(&self) {
        self.states.lock().unwrap().push(self.disk.fork());
    }
}

impl DatabaseView for Recorder {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, DatabaseError> {
        self.disk.get(table, key)
    }

    fn multi_get(&self, table: Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, DatabaseError> {
        self.disk.multi_get(table, keys)
    }

    fn scan(
        &self,
        table: Table,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Record>, DatabaseError> {
        self.disk.scan(table, range, direction, limit)
    }
}

impl Database for Recorder {
    fn write(&self, batch: WriteBatch, durability: Durability) -> Result<(), DatabaseError> {
        self.disk.write(batch, durability)?;
        self.record();
        Ok(())
    }

    fn flush(&self) -> Result<(), DatabaseError> {
        self.disk.flush()?;
        self.record();
        Ok(())
    }

    fn snapshot(&self) -> Box<dyn DatabaseView + '_> {
        self.disk.snapshot()
    }
}

/// One block more.
fn grow(chain: &mut Chain, recorder: &Recorder, changes: Changes) {
    let overlay = chain.overlay(None, changes).unwrap();
    let mut batch = WriteBatch::new();
    let staged = chain.store.stage(&overlay, chain.next_height(), &mut batch).unwrap();
    recorder.write(batch, Durability::Synced).unwrap();
    chain.store.apply(staged);
    chain.note(&overlay);
    chain.store.relieve().unwrap();
}

/// A life of `blocks` blocks, all states of its disk, and the chain as it should be.
fn life(config: StateConfig, first: Changes, blocks: u64) -> (Chain, Vec<MemoryDatabase>) {
    let mut random = Random(blocks);
    let recorder = Recorder::default();
    let mut chain = Chain::new(config);
    chain.store = StateStore::open(Arc::new(recorder.clone()), config).unwrap();
    let keys = u64::try_from(first.len()).unwrap();
    let mut next = first;
    for block in 0..blocks {
        grow(&mut chain, &recorder, std::mem::take(&mut next));
        if block % 4 == 3 {
            chain.store.checkpointer().finish().unwrap();
        }
        next = random_changes(&mut random, keys, 40, 3);
    }
    let states = std::mem::take(&mut *recorder.states.lock().unwrap());
    (chain, states)
}

/// Opens what is left of a disk, compares all heights with the chain, goes on for some blocks and compares again.
fn check(disk: MemoryDatabase, chain: &Chain, config: StateConfig) -> Height {
    let store = StateStore::open(Arc::new(disk.clone()), config).unwrap();
    let head = store.head().unwrap();
    let length = usize::try_from(head.height.0).unwrap() + 1;
    assert_eq!(head.root, chain.roots[length - 1]);
    let (model, roots) = (chain.model[..length].to_vec(), chain.roots[..length].to_vec());
    let mut again = Chain { database: disk, config, store, model, roots };
    compare(&again);
    let mut random = Random(7);
    for _ in 0..8 {
        let changes = random_changes(&mut random, 30, 20, 3);
        let expected = super::jmt_root(&after(again.values(), &changes));
        assert_eq!(again.commit(changes), expected);
    }
    again.save();
    compare(&again);
    again.reopen();
    compare(&again);
    head.height
}

fn after(
    values: &std::collections::BTreeMap<Vec<u8>, Vec<u8>>,
    changes: &Changes,
) -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
    let mut values = values.clone();
    for (key, value) in changes {
        match value {
            Some(value) => values.insert(key.clone(), value.clone()),
            None => values.remove(key),
        };
    }
    values
}

fn compare(chain: &Chain) {
    let reader = chain.store.read_model();
    let lowest = usize::try_from(reader.lowest_height().0).unwrap();
    for (height, values) in chain.model.iter().enumerate().skip(lowest) {
        let height = Height(u32::try_from(height).unwrap());
        for number in 0..12 {
            assert_eq!(reader.get_at(height, &key(number)).unwrap().as_ref(), values.get(&key(number)), "{height}");
        }
        let listed = reader.keys_at(height, b"key 1", None, 20).unwrap();
        let expected: Vec<_> = values.keys().filter(|key| key.starts_with(b"key 1")).take(20).cloned().collect();
        assert_eq!(listed, expected, "{height}");
    }
    let provable = usize::try_from(reader.lowest_provable_height().0).unwrap();
    let keys: Vec<_> = (0..12).step_by(3).map(key).collect();
    for height in provable..chain.model.len() {
        let proofs = reader.prove(Height(u32::try_from(height).unwrap()), &keys).unwrap();
        for (key, proof) in keys.iter().zip(proofs) {
            let value = chain.model[height].get(key).map(Vec::as_slice);
            assert_eq!(proof.verify(&chain.roots[height], key, value), Ok(()), "{key:?} at {height}");
        }
    }
    if chain.config.history == HistoryMode::Archive {
        assert_eq!(provable, 0, "an archive keeps all heights provable");
    }
    for (key, value) in chain.values().iter().step_by(17) {
        assert_eq!(chain.store.get(None, key).unwrap().as_ref(), Some(value));
    }
}

fn sweep(config: StateConfig, first: Changes, blocks: u64) -> usize {
    let (chain, states) = life(config, first, blocks);
    let mut opened = std::collections::BTreeSet::new();
    let mut crashes = 0;
    for state in &states {
        for kept in 0..=state.unflushed_count() {
            let crashed = state.fork();
            crashed.lose_unflushed(kept);
            opened.insert(check(crashed, &chain, config));
            crashes += 1;
        }
    }
    assert_eq!(opened.len(), usize::try_from(blocks).unwrap(), "every height was a crash site");
    crashes
}

fn first(keys: u64) -> Changes {
    let mut random = Random(1);
    (0..keys).map(|number| (key(number), Some(random.value()))).collect()
}

#[test]
fn crash_at_any_write_of_a_small_state_opens_to_the_last_commit() {
    let small = CheckpointLimits {
        bytes: 8 << 10,
        archive_bytes: 8 << 10,
        diff_bytes: 1 << 20,
        blocks: 2,
        chunk_bytes: 1 << 10,
    };
    for history in [HistoryMode::Archive, HistoryMode::Window(3)] {
        let crashes = sweep(StateConfig { history, unsaved: small, ..ARCHIVE }, first(60), 24);
        assert!(crashes > 100, "{crashes}");
    }
}

#[test]
fn crash_between_two_chunks_of_pages_opens_to_the_last_commit() {
    let unsaved =
        CheckpointLimits { bytes: 8 << 10, archive_bytes: 8 << 10, diff_bytes: 1 << 20, blocks: 2, chunk_bytes: 256 };
    let config = StateConfig { cache_bytes: 64 << 10, unsaved, ..ARCHIVE };
    let keys: Changes = (0..6_000).map(|number| (key(number), Some(vec![1, 2, 3]))).collect();
    let (chain, states) = life(config, keys, 6);
    let most = states.iter().map(MemoryDatabase::unflushed_count).max().unwrap();
    assert!(most > 12, "only {most} chunks");
    // Opening so many pages takes a while: each state after a write as a kill without and with all derived chunks leaves it.
    for state in &states {
        for kept in [0, state.unflushed_count() / 2, state.unflushed_count()] {
            let crashed = state.fork();
            crashed.lose_unflushed(kept);
            let store = StateStore::open(Arc::new(crashed), config).unwrap();
            let head = store.head().unwrap();
            assert_eq!(head.root, chain.roots[usize::try_from(head.height.0).unwrap()]);
        }
    }
}

#[test]
fn crash_of_an_archive_leaves_every_past_tree_provable() {
    // Pages get ahead of the archive by up to two blocks.
    let unsaved =
        CheckpointLimits { bytes: 1 << 20, archive_bytes: 1 << 20, diff_bytes: 1 << 20, blocks: 2, chunk_bytes: 1 };
    let config = StateConfig { recent_bytes: 0, unsaved, ..ARCHIVE };
    // What lies below one place of a recorded level goes from more leaves than a bucket takes to fewer, and then to so few
    // that buckets merge.
    let near = super::keys_with_shared_prefix(4, 14);
    let far = (0..40).map(key).filter(|key| !near.contains(key)).collect::<Vec<_>>();
    let keys: Vec<_> = near.iter().chain(&far).cloned().collect();
    let delete = |keys: &[Vec<u8>]| keys.iter().map(|key| (key.clone(), None)).collect::<Changes>();
    for (between, after) in (0..3).flat_map(|between| (0..3).map(move |after| (between, after))) {
        let recorder = Recorder::default();
        let mut chain = Chain::new(config);
        chain.store = StateStore::open(Arc::new(recorder.clone()), config).unwrap();
        let filler = |number: u8| Changes::from([(far[0].clone(), Some(vec![number]))]);
        let mut blocks: Vec<Changes> = vec![keys.iter().map(|key| (key.clone(), Some(vec![1; 9]))).collect()];
        blocks.push(delete(&near[..8]));
        blocks.extend((0..between).map(filler));
        blocks.push(delete(&near[8..11]));
        blocks.extend((10..10 + after).map(filler));
        blocks.iter().for_each(|changes| grow(&mut chain, &recorder, changes.clone()));
        for state in std::mem::take(&mut *recorder.states.lock().unwrap()) {
            let store = StateStore::open(Arc::new(state), config).unwrap();
            store.checkpointer().finish().unwrap();
            for height in 0..=store.head().unwrap().height.0 {
                let at = usize::try_from(height).unwrap();
                let proofs = store.read_model().prove(Height(height), &keys).unwrap();
                for (key, proof) in keys.iter().zip(proofs) {
                    let value = chain.model[at].get(key).map(Vec::as_slice);
                    assert_eq!(proof.verify(&chain.roots[at], key, value), Ok(()), "{key:?} at {height}");
                }
            }
        }
    }
}
