//! Values at past heights, listing of keys, and pruning.

use super::*;
use crate::database::{DatabaseView, Direction, KeyRange};
use crate::state::StateError;
use crate::table::Table;

fn count(chain: &Chain, table: Table) -> usize {
    chain.database.scan(table, &KeyRange::all(), Direction::Forward, usize::MAX).unwrap().len()
}

/// Keys that try the escaping: prefixes of one another, zero bytes, bytes like a height.
fn awkward_key(number: u64) -> Vec<u8> {
    let parts: [&[u8]; 6] = [&[0], &[0, 0], &[1], &[0xff, 0xff, 0xff, 0xfe], &[0, 1], &[0xff]];
    let pick = |digit: u64| parts[(digit % 6) as usize];
    [pick(number), if number > 5 { pick(number / 6) } else { &[] }, if number > 35 { pick(number / 36) } else { &[] }]
        .concat()
}

fn awkward_changes(random: &mut Random) -> Changes {
    (0..12).map(|_| (awkward_key(random.below(216)), (random.below(3) > 0).then(|| random.value()))).collect()
}

fn check_height(chain: &Chain, height: Height) {
    let reads = chain.store.read_model();
    let model = &chain.model[height.0 as usize];
    for number in 0..216 {
        let key = awkward_key(number);
        assert_eq!(reads.get_at(height, &key).unwrap().as_ref(), model.get(&key), "{key:?} at {height}");
    }
    for prefix in [&[][..], &[0], &[0, 0], &[0xff], &[1, 0]] {
        let expected: Vec<_> = model.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
        assert_eq!(reads.keys_at(height, prefix, None, 1_000).unwrap(), expected);
        // The same in pages of three.
        let mut paged: Vec<Vec<u8>> = Vec::new();
        loop {
            let page = reads.keys_at(height, prefix, paged.last().map(Vec::as_slice), 3).unwrap();
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, expected);
    }
}

#[test]
fn archive_reads_equal_model_at_every_height() {
    let mut random = Random(11);
    let mut chain = Chain::new(ARCHIVE);
    for _ in 0..100 {
        chain.commit(awkward_changes(&mut random));
    }
    chain.reopen();
    assert_eq!(chain.store.read_model().lowest_height(), Height(0));
    for height in 0..100 {
        check_height(&chain, Height(height));
    }
}

#[test]
fn window_keeps_its_heights_and_deletes_the_rest() {
    let mut random = Random(12);
    let mut chain = Chain::new(StateConfig { history: HistoryMode::Window(10), ..ARCHIVE });
    for _ in 0..80 {
        chain.commit(awkward_changes(&mut random));
    }
    let reads = chain.store.read_model();
    assert_eq!(reads.lowest_height(), Height(69));
    for height in 69..80 {
        check_height(&chain, Height(height));
    }
    let pruned = StateError::Pruned { height: Height(68), lowest: Height(69) };
    assert_eq!(reads.get_at(Height(68), &awkward_key(0)), Err(pruned.clone()));
    assert_eq!(reads.keys_at(Height(68), &[], None, 1), Err(pruned));
    // Every key of the head once, and the diffs of the window, as soon as a run of older ones is worth a deletion.
    for _ in 0..40 {
        chain.commit(awkward_changes(&mut random));
        chain.save();
    }
    assert_eq!(count(&chain, Table::StateKeys), chain.values().len());
    let heights = |chain: &Chain| {
        let diffs = chain.database.scan(Table::StateDiffs, &KeyRange::all(), Direction::Forward, usize::MAX).unwrap();
        diffs.iter().filter(|(key, _)| key.len() == 4).count()
    };
    assert!((10..10 + 33).contains(&heights(&chain)), "{}", heights(&chain));
    assert_eq!((count(&chain, Table::StateHistory), count(&chain, Table::StateNodes)), (0, 0));
    chain.reopen();
    check_height(&chain, Height(109));
}

#[test]
fn archive_turned_into_window_and_back_keeps_what_it_says() {
    let mut random = Random(13);
    let mut chain = Chain::new(ARCHIVE);
    for _ in 0..40 {
        chain.commit(awkward_changes(&mut random));
    }
    chain.save();
    chain.config.history = HistoryMode::Window(5);
    chain.reopen();
    for block in 1..=10 {
        chain.commit(awkward_changes(&mut random));
        chain.save();
        // The first heights of the window are still told by the archive.
        let lowest = chain.store.read_model().lowest_height();
        assert_eq!(lowest, Height(39 + block - 5));
        check_height(&chain, lowest);
        check_height(&chain, Height(39 + block - 1));
        assert_eq!(count(&chain, Table::StateHistory) > 0, block < 5, "{block}");
    }
    // And back: what is there stays, and nothing more goes.
    let lowest = chain.store.read_model().lowest_height();
    chain.config.history = HistoryMode::Archive;
    chain.reopen();
    for _ in 0..50 {
        chain.commit(awkward_changes(&mut random));
        chain.save();
    }
    assert_eq!(chain.store.read_model().lowest_height(), lowest);
    for height in lowest.0..=chain.store.head().unwrap().height.0 {
        check_height(&chain, Height(height));
    }
}

#[test]
fn heights_above_head_are_refused() {
    let mut chain = Chain::new(ARCHIVE);
    chain.commit(Changes::new());
    let reads = chain.store.read_model();
    let refused = StateError::AboveHead { height: Height(1), head: Height(0) };
    assert_eq!(reads.get_at(Height(1), b"a"), Err(refused.clone()));
    assert_eq!(reads.view_at(Height(1)).err(), Some(refused));
}

#[test]
fn views_of_recent_versions_do_not_move() {
    let mut random = Random(14);
    // No page of the head stays in memory: what a view shows must come from pinned pages or from the right records.
    let mut chain = Chain::new(StateConfig { cache_bytes: 0, history: HistoryMode::Window(70), ..ARCHIVE });
    let mut views = Vec::new();
    for _ in 0..70 {
        chain.commit(awkward_changes(&mut random));
        views.push(chain.store.view());
    }
    for (view, model) in views.iter().zip(&chain.model) {
        for number in 0..216 {
            let key = awkward_key(number);
            assert_eq!(view.get(&key).unwrap().as_ref(), model.get(&key));
        }
        assert_eq!(view.root(), chain.roots[view.height().0 as usize]);
    }
}

#[test]
fn pages_in_memory_stay_within_budget() {
    let mut chain = Chain::new(StateConfig { cache_bytes: 20_000, ..ARCHIVE });
    let mut random = Random(15);
    chain.commit(random_changes(&mut random, 2_000, 2_000, 0));
    for number in 0..2_000 {
        chain.store.get(None, &key(number)).unwrap();
        assert!(chain.store.read_model().page_cache_bytes() <= 20_000);
    }
    assert!(chain.store.read_model().page_cache_bytes() > 10_000);
}

#[test]
fn readers_see_the_head_while_the_next_block_is_on_disk_and_not_the_head() {
    let window = StateConfig { history: HistoryMode::Window(4), ..ARCHIVE };
    for config in [ARCHIVE, window] {
        readers_between_write_and_head(Chain::new(config));
    }
}

fn readers_between_write_and_head(mut chain: Chain) {
    let value = |byte| Some(vec![byte; 3_000]);
    chain.commit(Changes::from([(key(0), value(1)), (key(1), value(1)), (key(2), Some(vec![1]))]));
    // Pages that come from disk do not hold long values.
    chain.save();
    chain.reopen();
    let changes = Changes::from([(key(0), value(2)), (key(1), None), (key(2), Some(vec![2])), (key(3), value(2))]);
    let overlay = chain.overlay(None, changes).unwrap();
    let mut batch = WriteBatch::new();
    let staged = chain.store.stage(&overlay, chain.next_height(), &mut batch).unwrap();
    chain.database.write(batch, Durability::Synced).unwrap();
    // A reader comes between the write and what follows it.
    let (view, model) = (chain.store.view(), chain.store.read_model());
    for number in 0..4 {
        let expected = chain.values().get(&key(number)).cloned();
        assert_eq!(view.get(&key(number)).unwrap(), expected, "key {number}");
        assert_eq!(model.get_at(Height(0), &key(number)).unwrap(), expected, "key {number}");
        view.prove(&key(number)).unwrap().verify(&view.root(), &key(number), expected.as_deref()).unwrap();
    }
    assert_eq!(model.keys_at(Height(0), b"key", None, 10).unwrap(), [key(0), key(1), key(2)]);
    chain.store.apply(staged);
    assert_eq!(chain.store.view().get(&key(0)).unwrap(), value(2));
}

#[test]
fn what_lies_on_disk_of_a_large_block_is_the_same_for_any_number_of_threads() {
    let mut chains = [1, 2, 3].map(|threads| Chain::new(StateConfig { threads, ..ARCHIVE }));
    // Several shares of a diff; the second block replaces and deletes what the first one put, long values too.
    for block in 0..2 {
        let changes = random_changes(&mut Random(block), 4_000, 6_000, block * 3);
        for chain in &mut chains {
            chain.commit(changes.clone());
        }
    }
    let [one, two, three] = chains.each_ref().map(|chain| {
        [Table::StateDiffs, Table::StateKeys]
            .map(|table| chain.database.scan(table, &KeyRange::all(), Direction::Forward, usize::MAX).unwrap())
    });
    assert!(one[0].len() > 20, "{} records of diffs", one[0].len());
    assert_eq!(one, two);
    assert_eq!(one, three);
    let values = chains[2].model[0].clone();
    let reads = chains[2].store.read_model();
    for (key, value) in values {
        assert_eq!(reads.get_at(Height(0), &key).unwrap(), Some(value), "{key:?}");
    }
}
