//! The order of choice and what a selection leaves out.

use super::*;
use crate::{Ancestors, Selection};

const ALL: Selection =
    Selection { height: Height(11), bytes_max: usize::MAX, weight_max: u64::MAX, count_max: usize::MAX };

#[test]
fn pending_is_by_tip_then_arrival_with_nonces_in_order() {
    let mut pool = pool(|_| {});
    for transaction in
        [tipped(1, 1, 0, 5), tipped(2, 1, 1, 90), tipped(3, 2, 0, 50), tipped(4, 3, 0, 50), tipped(5, 2, 1, 1)]
    {
        insert(&mut pool, transaction);
    }
    assert_eq!(pending(&pool), [3, 4, 1, 2, 5]);
}

#[test]
fn pending_leaves_out_what_waits_for_an_earlier_nonce() {
    let mut pool = pool(|_| {});
    assert_eq!(insert(&mut pool, transaction(1, 1, 1)), [admitted(1, false)]);
    assert!(pending(&pool).is_empty());
    assert_eq!(insert(&mut pool, transaction(2, 1, 0)), [Output::Promoted { hash: hash(1) }, admitted(2, true)]);
    assert_eq!(pending(&pool), [2, 1]);
}

#[test]
fn select_stops_at_each_limit() {
    let mut pool = pool(|_| {});
    (1..=5).for_each(|id| drop(insert(&mut pool, transaction(id, u8::try_from(id).unwrap(), 0))));
    let none = Ancestors::default();
    assert_eq!(pool.select(&Selection { count_max: 2, ..ALL }, &none), [1, 2]);
    assert_eq!(pool.select(&Selection { bytes_max: 399, ..ALL }, &none), [1, 2, 3]);
    assert_eq!(pool.select(&Selection { weight_max: 40, ..ALL }, &none), [1, 2, 3, 4]);
    assert_eq!(pool.select(&ALL, &none), [1, 2, 3, 4, 5]);
}

#[test]
fn select_passes_over_the_sender_of_what_does_not_fit() {
    let mut pool = pool(|_| {});
    insert(&mut pool, PoolTransaction { bytes_len: 1_000, ..tipped(1, 1, 0, 99) });
    insert(&mut pool, tipped(2, 1, 1, 98));
    insert(&mut pool, tipped(3, 2, 0, 1));
    let small = Selection { bytes_max: 500, ..ALL };
    assert_eq!(pool.select(&small, &Ancestors::default()), [3]);
}

#[test]
fn select_leaves_out_what_is_not_valid_at_the_height() {
    let mut pool = pool(|_| {});
    insert(&mut pool, PoolTransaction { valid_until: Height(11), ..transaction(1, 1, 0) });
    insert(&mut pool, transaction(2, 1, 1));
    insert(&mut pool, transaction(3, 2, 0));
    assert_eq!(pool.select(&ALL, &Ancestors::default()), [1, 2, 3]);
    assert_eq!(pool.select(&Selection { height: Height(12), ..ALL }, &Ancestors::default()), [3]);
}

#[test]
fn select_after_ancestors_goes_on_with_the_nonces_after_theirs() {
    let mut pool = pool(|_| {});
    (0..4).for_each(|nonce| drop(insert(&mut pool, transaction(nonce, 1, nonce))));
    insert(&mut pool, transaction(9, 2, 0));
    let mut ancestors = Ancestors::default();
    ancestors.add(account(1), 0);
    ancestors.add(account(1), 1);
    assert_eq!(pool.select(&ALL, &ancestors), [2, 3, 9]);
    assert_eq!(pool.select(&ALL, &Ancestors::default()), [0, 1, 2, 3, 9]);
}

#[test]
fn select_after_ancestors_the_pool_never_saw_closes_the_gap() {
    let mut pool = pool(|_| {});
    insert(&mut pool, transaction(2, 1, 2));
    insert(&mut pool, transaction(3, 1, 3));
    insert(&mut pool, transaction(5, 1, 5));
    let mut ancestors = Ancestors::default();
    (0..2).for_each(|nonce| ancestors.add(account(1), nonce));
    assert_eq!(ancestors.next_nonce(&account(1)), Some(2));
    assert_eq!(pool.select(&ALL, &ancestors), [2, 3]);
}

#[test]
fn select_after_all_of_a_senders_transactions_takes_none_of_it() {
    let mut pool = pool(|_| {});
    insert(&mut pool, transaction(0, 1, 0));
    let mut ancestors = Ancestors::default();
    ancestors.add(account(1), 6);
    ancestors.add(account(7), 0);
    assert!(pool.select(&ALL, &ancestors).is_empty());
}

#[test]
fn select_after_ancestors_stays_within_what_the_sender_can_spend() {
    let mut pool = pool(|_| {});
    insert_with(&mut pool, transaction(1, 1, 1), 0, 250);
    insert_with(&mut pool, transaction(2, 1, 2), 0, 250);
    insert_with(&mut pool, transaction(3, 1, 3), 0, 250);
    let mut ancestors = Ancestors::default();
    ancestors.add(account(1), 0);
    assert_eq!(pool.select(&ALL, &ancestors), [1, 2]);
}

#[test]
fn next_nonce_counts_contiguous_transactions() {
    let mut pool = pool(|_| {});
    assert_eq!(pool.next_nonce(&account(1), 3), 3);
    for nonce in [3, 4, 6] {
        insert_with(&mut pool, transaction(nonce, 1, nonce), 3, RICH);
    }
    assert_eq!(pool.next_nonce(&account(1), 3), 5);
    assert_eq!(pool.next_nonce(&account(1), 6), 7);
}

#[test]
fn local_transactions_are_propagated_until_they_leave() {
    let mut pool = pool(|config| config.propagate_again_ms = 100);
    let account = AccountState { nonce: 0, spendable: RICH };
    let mut outputs = Vec::new();
    pool.step(0, Input::Insert { transaction: transaction(1, 1, 0), account, origin: Origin::Local }, &mut outputs);
    assert_eq!(outputs, [Output::Admitted { hash: hash(1), ready: true, propagate: true }]);
    let tick = |pool: &mut TestPool, now_ms| {
        let mut outputs = Vec::new();
        pool.step(now_ms, Input::Tick, &mut outputs);
        outputs
    };
    assert_eq!(tick(&mut pool, 99), []);
    assert_eq!(tick(&mut pool, 100), [Output::Propagate { hash: hash(1) }]);
    assert_eq!(tick(&mut pool, 150), []);
    assert_eq!(tick(&mut pool, 200), [Output::Propagate { hash: hash(1) }]);
    step(&mut pool, Input::BlockCommitted { height: Height(11), included: vec![hash(1)], accounts: vec![] });
    assert_eq!(tick(&mut pool, 1_000), []);
}
