//! Roots: equal to those of the `jmt` crate, whatever the history, and after opening again.

use super::*;
use crate::database::DatabaseView;
use crate::state::StateError;
use crate::table::Table;
use cairn_primitives::state_proof::{EMPTY_SUBTREE, KEY_BYTES_MAX, VALUE_BYTES_MAX};

#[test]
fn root_of_random_history_equals_jmt() {
    let mut random = Random(1);
    let mut chain = Chain::new(ARCHIVE);
    // jmt gets the same changes version after version, not the result.
    let jmt_store = MockTreeStore::default();
    let tree = Sha256Jmt::new(&jmt_store);
    for version in 0..150_u64 {
        // Phases of growth, of churn and of shrinking to nothing.
        let (count, deletions) = [(60, 1), (40, 5), (60, 9)][(version / 25 % 3) as usize];
        let changes = random_changes(&mut random, 400, count, deletions);
        let set = changes.iter().map(|(key, value)| (KeyHash(sha256(key).0), value.clone()));
        let (root, batch) = tree.put_value_set(set, version).unwrap();
        jmt_store.write_tree_update_batch(batch).unwrap();
        assert_eq!(chain.commit(changes), Hash(root.0), "version {version}");
    }
}

#[test]
fn root_of_large_blocks_on_any_number_of_threads_equals_jmt() {
    let mut random = Random(11);
    let mut chains = [1, 2, 3, 8].map(|threads| Chain::new(StateConfig { threads, ..ARCHIVE }));
    let jmt_store = MockTreeStore::default();
    let tree = Sha256Jmt::new(&jmt_store);
    for version in 0..24_u64 {
        let (count, deletions) = [(2_500, 1), (1_200, 5), (6_000, 10), (700, 0)][(version % 4) as usize];
        let changes = random_changes(&mut random, 3_000, count, deletions);
        let set = changes.iter().map(|(key, value)| (KeyHash(sha256(key).0), value.clone()));
        let (root, batch) = tree.put_value_set(set, version).unwrap();
        jmt_store.write_tree_update_batch(batch).unwrap();
        let overlays = chains.each_mut().map(|chain| {
            let overlay = chain.overlay(None, changes.clone()).unwrap();
            chain.commit_overlay(&overlay);
            if version % 5 == 4 {
                chain.reopen();
            }
            overlay
        });
        let places = |overlay: &Overlay| overlay.pages.places.iter().copied().collect::<BTreeMap<_, _>>();
        for overlay in &overlays {
            assert_eq!(overlay.root(), Hash(root.0), "version {version}");
            assert!(overlay.effective_changes().eq(overlays[0].effective_changes()), "version {version}");
            assert_eq!(overlay.filter, overlays[0].filter);
            assert_eq!(places(overlay), places(&overlays[0]), "version {version}");
        }
    }
}

#[test]
fn deleting_everything_in_one_block_on_two_threads_equals_jmt() {
    let mut chain = Chain::new(StateConfig { threads: 2, ..ARCHIVE });
    let keys = || (0..2_000).map(key);
    chain.commit(keys().map(|key| (key, Some(vec![1]))).collect());
    // All but three, which become one bucket at the root; then these too.
    chain.commit(keys().skip(3).map(|key| (key, None)).collect());
    assert_eq!(chain.roots.last().unwrap(), &jmt_root(chain.values()));
    assert_eq!(chain.commit(keys().map(|key| (key, None)).collect()), EMPTY_SUBTREE);
}

#[test]
fn root_of_each_content_equals_jmt() {
    let mut random = Random(2);
    let mut chain = Chain::new(ARCHIVE);
    for version in 0..60 {
        let changes = random_changes(&mut random, 100, 20, 4);
        let root = chain.commit(changes);
        assert_eq!(root, jmt_root(chain.values()), "version {version}");
    }
}

#[test]
fn root_of_empty_state_is_placeholder() {
    let mut chain = Chain::new(ARCHIVE);
    assert_eq!(chain.commit(Changes::new()), EMPTY_SUBTREE);
    assert_eq!(chain.commit([(key(1), None)].into()), EMPTY_SUBTREE);
    let one = chain.commit([(key(1), Some(vec![1]))].into());
    assert_eq!(one, jmt_root(chain.values()));
    assert_eq!(chain.commit([(key(1), None)].into()), EMPTY_SUBTREE);
    chain.reopen();
    assert_eq!(chain.store.head().unwrap().root, EMPTY_SUBTREE);
    assert_eq!(chain.commit([(key(1), Some(vec![1]))].into()), one);
}

#[test]
fn root_with_long_shared_prefixes_equals_jmt() {
    let mut chain = Chain::new(ARCHIVE);
    let keys = keys_with_shared_prefix(14, 24);
    for key in &keys {
        chain.commit([(key.clone(), Some(b"value".to_vec()))].into());
        assert_eq!(chain.roots.last().unwrap(), &jmt_root(chain.values()));
        chain.reopen();
    }
    for key in &keys {
        chain.commit([(key.clone(), None)].into());
        assert!(chain.values().is_empty() || *chain.roots.last().unwrap() == jmt_root(chain.values()));
        chain.reopen();
    }
    assert_eq!(chain.store.head().unwrap().root, EMPTY_SUBTREE);
    chain.save();
    assert!(
        chain
            .database
            .scan(Table::StatePages, &crate::KeyRange::all(), crate::Direction::Forward, 1)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn reopening_after_each_commit_gives_same_root_and_values() {
    let mut random = Random(3);
    let mut chain = Chain::new(ARCHIVE);
    for _ in 0..60 {
        let changes = random_changes(&mut random, 300, 40, 4);
        let root = chain.commit(changes);
        chain.reopen();
        assert_eq!(chain.store.head().unwrap().root, root);
        for (key, value) in chain.values() {
            assert_eq!(chain.store.get(None, key).unwrap().as_ref(), Some(value));
        }
    }
}

#[test]
fn overlays_of_competing_branches_equal_direct_commits() {
    let mut random = Random(4);
    for seed in 0..20 {
        let mut chain = Chain::new(ARCHIVE);
        chain.commit(random_changes(&mut Random(seed), 200, 150, 0));
        let changes: Vec<_> = (0..5).map(|_| random_changes(&mut random, 200, 30, 4)).collect();
        // head ─ a ─ b ─ c, with competitors of a and of b.
        let a = chain.overlay(None, changes[0].clone()).unwrap();
        let rival_a = chain.overlay(None, changes[3].clone()).unwrap();
        let b = chain.overlay(Some(&a), changes[1].clone()).unwrap();
        let rival_b = chain.overlay(Some(&a), changes[4].clone()).unwrap();
        let c = chain.overlay(Some(&b), changes[2].clone()).unwrap();
        for overlay in [&a, &b, &c] {
            chain.commit_overlay(overlay);
            assert_eq!(overlay.root(), jmt_root(chain.values()));
        }
        // They are over versions that are kept, so they can be read still.
        for (dead, changed) in [(&rival_a, &changes[3]), (&rival_b, &changes[4])] {
            for (key, value) in changed {
                assert_eq!(chain.store.get(Some(dead), key).unwrap(), *value);
            }
        }
        for dead in [&rival_a, &rival_b] {
            let refused = chain.store.stage(dead, chain.next_height(), &mut WriteBatch::new());
            assert_eq!(refused.err(), Some(StateError::NotOnHead));
        }
        for (key, value) in chain.values() {
            assert_eq!(chain.store.get(None, key).unwrap().as_ref(), Some(value));
        }
        chain.reopen();
        assert_eq!(chain.store.head().unwrap().root, c.root());
    }
}

#[test]
fn overlay_reads_equal_model_before_and_after_parent_commits() {
    let mut random = Random(5);
    let mut chain = Chain::new(StateConfig { threads: 2, ..ARCHIVE });
    chain.commit(random_changes(&mut random, 120, 100, 0));
    let mut parent = chain.overlay(None, random_changes(&mut random, 120, 30, 4)).unwrap();
    for _ in 0..40 {
        let child = chain.overlay(Some(&parent), random_changes(&mut random, 120, 30, 4)).unwrap();
        let mut model = chain.values().clone();
        for (key, value) in parent.changes().iter().chain(child.changes().iter()) {
            match value {
                Some(value) => model.insert(key.to_vec(), value.to_vec()),
                None => model.remove(key),
            };
        }
        let keys: Vec<_> = (0..120).map(key).collect();
        let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
        let check = |chain: &Chain| {
            let together = chain.store.get_many(Some(&child), &keys).unwrap();
            assert_eq!(together.iter().count(), keys.len());
            for (key, value) in keys.iter().zip(together.iter()) {
                assert_eq!(value, model.get(*key).map(Vec::as_slice));
                assert_eq!(chain.store.get(Some(&child), key).unwrap().as_deref(), value);
            }
            let head = chain.store.get_many(None, &keys).unwrap();
            let expected = keys.iter().map(|key| chain.values().get(*key).map(Vec::as_slice));
            assert!(expected.eq(head.iter()));
        };
        check(&chain);
        chain.commit_overlay(&parent);
        check(&chain);
        parent = child;
    }
}

#[test]
fn staging_at_wrong_height_is_refused() {
    let mut chain = Chain::new(ARCHIVE);
    chain.commit([(key(1), Some(vec![1]))].into());
    let overlay = chain.overlay(None, [(key(2), Some(vec![2]))].into()).unwrap();
    for height in [Height(0), Height(2)] {
        let refused = chain.store.stage(&overlay, height, &mut WriteBatch::new()).err();
        assert_eq!(refused, Some(StateError::NotNext { height, head: Height(0) }));
    }
}

#[test]
fn empty_and_oversized_keys_and_values_are_refused() {
    let chain = Chain::new(ARCHIVE);
    let refused = |key: Vec<u8>, value: Option<Vec<u8>>| chain.overlay(None, [(key, value)].into()).err();
    assert_eq!(refused(vec![], None), Some(StateError::KeyLength { length: 0 }));
    let length = KEY_BYTES_MAX + 1;
    assert_eq!(refused(vec![1; length], None), Some(StateError::KeyLength { length }));
    assert_eq!(refused(vec![1], Some(vec![])), Some(StateError::ValueLength { length: 0 }));
    let length = VALUE_BYTES_MAX + 1;
    assert_eq!(refused(vec![1], Some(vec![1; length])), Some(StateError::ValueLength { length }));
}

#[test]
fn first_fault_of_a_block_by_its_keys_is_named_whatever_the_threads() {
    for threads in [1, 2, 3, 8] {
        let chain = Chain::new(StateConfig { threads, ..ARCHIVE });
        let mut changes: Changes = (0..1_000).map(|number| (number_key(number), Some(vec![1]))).collect();
        for (number, length) in [(990, 1), (300, 2), (700, 3)] {
            changes.insert(number_key(number), Some(vec![1; VALUE_BYTES_MAX + length]));
        }
        let length = VALUE_BYTES_MAX + 2;
        assert_eq!(chain.overlay(None, changes).err(), Some(StateError::ValueLength { length }), "{threads} threads");
    }
}

/// Keys in the order of their numbers.
fn number_key(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

#[test]
fn crash_before_batch_is_durable_opens_to_last_commit() {
    let mut random = Random(6);
    let mut chain = Chain::new(ARCHIVE);
    for _ in 0..30 {
        chain.commit(random_changes(&mut random, 100, 20, 3));
        let overlay = chain.overlay(None, random_changes(&mut random, 100, 20, 3)).unwrap();
        let mut batch = WriteBatch::new();
        let staged = chain.store.stage(&overlay, chain.next_height(), &mut batch).unwrap();
        chain.database.write(batch, Durability::Unsynced).unwrap();
        chain.store.apply(staged);
        chain.database.lose_unsynced(0);
        chain.reopen();
        assert_eq!(chain.store.head().unwrap().root, *chain.roots.last().unwrap());
        for (key, value) in chain.values() {
            assert_eq!(chain.store.get(None, key).unwrap().as_ref(), Some(value));
        }
    }
}

#[test]
fn opening_refuses_damaged_pages() {
    let mut chain = Chain::new(ARCHIVE);
    chain.commit(random_changes(&mut Random(7), 100, 100, 0));
    let pages =
        chain.database.scan(Table::StatePages, &crate::KeyRange::all(), crate::Direction::Forward, 100).unwrap();
    for (page, record) in &pages {
        let mut missing = WriteBatch::new();
        missing.delete(Table::StatePages, page.clone());
        // A bit of the depth, of the first key hash, of the first leaf hash, of the last value; a cut record.
        let mut damages = vec![missing];
        for position in [1, 2, 2 + 32, record.len() - 1] {
            let mut damaged = record.clone();
            damaged[position] ^= 1;
            let mut batch = WriteBatch::new();
            batch.put(Table::StatePages, page.clone(), damaged);
            damages.push(batch);
        }
        let mut cut = WriteBatch::new();
        cut.put(Table::StatePages, page.clone(), &record[..record.len() - 1]);
        damages.push(cut);
        for damage in damages {
            let copy = chain.database.fork();
            copy.write(damage, Durability::Synced).unwrap();
            assert!(StateStore::open(Arc::new(copy), ARCHIVE).is_err());
        }
    }
}

#[test]
fn pages_that_no_checkpoint_has_written_are_counted() {
    let mut chain = Chain::new(StateConfig { unsaved: CheckpointLimits::default(), ..ARCHIVE });
    let unsaved = |chain: &Chain| chain.store.read_model().unsaved_bytes();
    assert_eq!(unsaved(&chain), 0);
    chain.commit((0..100).map(|number| (key(number), Some(vec![1; 80]))).collect());
    let after_one = unsaved(&chain);
    assert!(after_one > 100 * 80, "{after_one}");
    // The same pages again are not twice unsaved.
    chain.commit((0..100).map(|number| (key(number), Some(vec![2; 80]))).collect());
    assert_eq!(unsaved(&chain), after_one);
    chain.save();
    assert_eq!(unsaved(&chain), 0);
}
