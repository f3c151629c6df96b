//! New values in the place of others: read back at the head, before it and after opening again.

use super::*;
use crate::state::StateView;

const KEYS: u64 = 5_000;

/// Every seventh value is too long for a page.
fn is_long(number: u64) -> bool {
    number.is_multiple_of(7)
}

/// New values, as long as those before, of every so manieth short one.
fn new_values(step: u64, byte: u8) -> Changes {
    let changed = (0..KEYS).filter(|number| !is_long(*number) && number.is_multiple_of(step));
    changed.map(|number| (key(number), Some(vec![byte; 80]))).collect()
}

fn assert_values(view: &StateView, values: &BTreeMap<Vec<u8>, Vec<u8>>, what: &str) {
    for number in 0..KEYS + 500 {
        assert_eq!(view.get(&key(number)).unwrap().as_ref(), values.get(&key(number)), "{what}: key {number}");
    }
}

#[test]
fn versions_keep_their_values_whatever_leaves_memory_between_blocks() {
    for threads in [1, 2] {
        let mut chain = Chain::new(StateConfig { threads, ..ARCHIVE });
        let value = |number| vec![1; if is_long(number) { 3_000 } else { 80 }];
        chain.commit((0..KEYS).map(|number| (key(number), Some(value(number)))).collect());
        for round in 0..3 {
            let (before, values) = (chain.store.view(), chain.values().clone());
            let one = chain.overlay(None, new_values(2, 10 * round + 2)).unwrap();
            let two = chain.overlay(Some(&one), new_values(3, 10 * round + 3)).unwrap();
            // Of the pages that the two stand on, most leave memory.
            chain.save();
            chain.commit_overlay(&one);
            assert_values(&chain.store.view(), chain.values(), "after one block");
            chain.commit_overlay(&two);
            // Leaves that come and go, among new values.
            let new = (KEYS..KEYS + 500).map(|number| (key(number), (round % 2 == 0).then(|| vec![5; 80])));
            chain.commit(new.chain(new_values(5, 10 * round + 4)).collect());
            assert_values(&chain.store.view(), chain.values(), "at the head");
            assert_values(&before, &values, "three blocks ago");
        }
        chain.save();
        chain.reopen();
        assert_values(&chain.store.view(), chain.values(), "opened again");
    }
}
