//! Proofs at every height of an archive, and what becomes of them when the node changes its mode.

use super::*;
use crate::database::{DatabaseView, Direction, KeyRange, Record};
use crate::error::DatabaseError;
use crate::state::StateError;
use crate::table::Table;
use cairn_primitives::state_proof::StateProof;
use parity_scale_codec::Encode;
use std::sync::atomic::{AtomicUsize, Ordering};

/// No version but the head stays in memory: what is proved below it comes from the archive.
const COLD: StateConfig = StateConfig { recent_bytes: 0, ..ARCHIVE };

/// Checks proofs of some keys, present and absent, at a height.
fn check_height(chain: &Chain, height: usize, keys: &[Vec<u8>]) {
    let reads = chain.store.read_model();
    let at = Height(u32::try_from(height).unwrap());
    for (key, proof) in keys.iter().zip(reads.prove(at, keys).unwrap()) {
        let value = chain.model[height].get(key).map(Vec::as_slice);
        assert_eq!(proof.verify(&chain.roots[height], key, value), Ok(()), "{key:?} at {height}");
    }
    let proof = reads.prove_batch(at, keys).unwrap();
    let expected: Vec<_> = keys.iter().map(|key| chain.model[height].get(key).map(Vec::as_slice)).collect();
    assert_eq!(proof.check(&chain.roots[height], keys).unwrap(), expected);
}

fn check_from(chain: &Chain, lowest: usize, keys: &[Vec<u8>]) {
    assert_eq!(chain.store.read_model().lowest_provable_height(), Height(u32::try_from(lowest).unwrap()));
    for height in lowest..chain.model.len() {
        check_height(chain, height, keys);
    }
}

fn count(chain: &Chain, table: Table) -> usize {
    chain.database.scan(table, &KeyRange::all(), Direction::Forward, usize::MAX).unwrap().len()
}

#[test]
fn archive_proves_every_height() {
    let mut random = Random(51);
    let mut chain = Chain::new(COLD);
    for _ in 0..60 {
        chain.commit(random_changes(&mut random, 300, 25, 3));
    }
    let keys: Vec<_> = (0..340).step_by(9).map(key).collect();
    check_from(&chain, 0, &keys);
    chain.save();
    check_from(&chain, 0, &keys);
    chain.reopen();
    check_from(&chain, 0, &keys);
}

#[test]
fn archive_proves_a_state_that_grows_shrinks_and_grows_again() {
    let mut random = Random(52);
    let mut chain = Chain::new(COLD);
    // From nothing to a thousand keys, to none, to a few, and back, with small changes in between.
    for (keys, deletions) in [(3, 0), (40, 0), (1_000, 0), (1_000, 10), (20, 5), (1_000, 10), (600, 2), (600, 10)] {
        let block = if deletions == 10 {
            chain.values().keys().map(|key| (key.clone(), None)).collect()
        } else {
            (0..keys).map(|number| (key(number), Some(random.value()))).collect()
        };
        chain.commit(block);
        for _ in 0..4 {
            chain.commit(random_changes(&mut random, 12, 3, 4));
        }
    }
    chain.save();
    let keys: Vec<_> = (0..12).chain([13, 50, 400, 999, 5_000]).map(key).collect();
    check_from(&chain, 0, &keys);
}

#[test]
fn archive_proves_leaves_that_share_long_prefixes() {
    let keys = keys_with_shared_prefix(14, 24);
    let mut random = Random(53);
    let mut chain = Chain::new(COLD);
    for _ in 0..40 {
        let pick = |random: &mut Random| keys[random.below(24) as usize].clone();
        chain.commit((0..5).map(|_| (pick(&mut random), (random.below(3) > 0).then(|| random.value()))).collect());
    }
    chain.save();
    check_from(&chain, 0, &keys);
}

#[test]
fn past_proofs_with_any_flipped_bit_are_refused() {
    let mut chain = Chain::new(COLD);
    for round in 0..6_u8 {
        chain.commit((0..30).map(|number| (key(number), Some(vec![round; 5]))).collect());
    }
    chain.save();
    for key in [key(3), key(1_000)] {
        let [proof] = &chain.store.read_model().prove(Height(2), std::slice::from_ref(&key)).unwrap()[..] else {
            unreachable!("one key, one proof")
        };
        let value = chain.model[2].get(&key).map(Vec::as_slice);
        let bytes = proof.encode();
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let forged = StateProof::from_bytes(&forged);
            assert!(!forged.is_ok_and(|forged| forged.verify(&chain.roots[2], &key, value).is_ok()), "bit {bit}");
        }
    }
}

#[test]
fn window_drops_past_nodes_and_an_archive_begins_where_it_is_made() {
    let mut random = Random(54);
    let mut chain = Chain::new(COLD);
    let keys: Vec<_> = (0..330).step_by(17).map(key).collect();
    let mut live = |chain: &mut Chain| {
        for _ in 0..12 {
            chain.commit(random_changes(&mut random, 300, 20, 3));
        }
        chain.save();
    };
    live(&mut chain);
    assert!(count(&chain, Table::StateNodes) > 0);
    chain.config.history = HistoryMode::Window(5);
    chain.reopen();
    live(&mut chain);
    live(&mut chain);
    assert_eq!(count(&chain, Table::StateNodes), 0);
    let refused = StateError::ProofNotKept { height: Height(30), lowest: Height(35) };
    assert_eq!(chain.store.read_model().prove(Height(30), &keys), Err(refused));
    // The diffs of the window are where the archive begins.
    chain.config.history = HistoryMode::Archive;
    chain.reopen();
    live(&mut chain);
    check_from(&chain, 30, &keys);
    let refused = StateError::ProofNotKept { height: Height(29), lowest: Height(30) };
    assert_eq!(chain.store.read_model().prove(Height(29), &keys), Err(refused));
    chain.reopen();
    check_from(&chain, 30, &keys);
}

/// A database that counts what is sought.
#[derive(Clone, Default)]
struct Counting {
    disk: MemoryDatabase,
    seeks: Arc<AtomicUsize>,
}

impl DatabaseView for Counting {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, DatabaseError> {
        self.seeks.fetch_add(1, Ordering::Relaxed);
        self.disk.get(table, key)
    }

    fn multi_get(&self, table: Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, DatabaseError> {
        self.seeks.fetch_add(keys.len(), Ordering::Relaxed);
        self.disk.multi_get(table, keys)
    }

    fn scan(
        &self,
        table: Table,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Record>, DatabaseError> {
        self.seeks.fetch_add(1, Ordering::Relaxed);
        self.disk.scan(table, range, direction, limit)
    }
}

impl Database for Counting {
    fn write(&self, batch: WriteBatch, durability: Durability) -> Result<(), DatabaseError> {
        self.disk.write(batch, durability)
    }

    fn flush(&self) -> Result<(), DatabaseError> {
        self.disk.flush()
    }

    fn snapshot(&self) -> Box<dyn crate::database::DatabaseView + '_> {
        self.disk.snapshot()
    }
}

#[test]
fn past_proof_costs_some_tens_of_seeks_and_the_archive_some_hundreds_of_bytes_a_change() {
    let mut random = Random(55);
    let database = Counting::default();
    let mut chain = Chain::new(COLD);
    chain.database = database.disk.clone();
    chain.store = StateStore::open(Arc::new(database.clone()), COLD).unwrap();
    chain.commit((0..20_000).map(|number| (key(number), Some(vec![1; 48]))).collect());
    let mut changed = 0;
    for _ in 0..20 {
        let block: Changes = (0..200).map(|_| (key(random.below(20_000)), Some(random.value()))).collect();
        changed += block.len();
        chain.commit(block);
    }
    chain.save();
    let before = database.seeks.load(Ordering::Relaxed);
    let asked = 50;
    for _ in 0..asked {
        let key = key(random.below(20_000));
        let proof = chain.store.read_model().prove(Height(10), std::slice::from_ref(&key)).unwrap();
        assert_eq!(proof[0].verify(&chain.roots[10], &key, chain.model[10].get(&key).map(Vec::as_slice)), Ok(()));
    }
    let seeks = (database.seeks.load(Ordering::Relaxed) - before) / asked;
    assert!((16..=100).contains(&seeks), "{seeks} seeks a proof");
    let records = chain.database.scan(Table::StateNodes, &KeyRange::all(), Direction::Forward, usize::MAX).unwrap();
    let bytes: usize = records.iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(bytes / changed < 500, "{} bytes a change", bytes / changed);
}
