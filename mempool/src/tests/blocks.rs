//! What a committed block does to the pool.

use super::*;
use crate::{DropReason, Status};

fn commit(pool: &mut TestPool, height: u32, included: &[u64], accounts: &[(u8, u64, u128)]) -> Vec<Output> {
    let included = included.iter().map(|id| hash(*id)).collect();
    let state = |(number, nonce, spendable): &(u8, u64, u128)| {
        (account(*number), AccountState { nonce: *nonce, spendable: *spendable })
    };
    let accounts = accounts.iter().map(state).collect();
    step(pool, Input::BlockCommitted { height: Height(height), included, accounts })
}

fn dropped(id: u64, reason: DropReason) -> Output {
    Output::Dropped { hash: hash(id), reason }
}

#[test]
fn block_takes_its_transactions_out() {
    let mut pool = pool(|_| {});
    (0..3).for_each(|nonce| drop(insert(&mut pool, transaction(nonce, 1, nonce))));
    let outputs = commit(&mut pool, 11, &[0, 1], &[(1, 2, RICH)]);
    let included = |id| Output::Included { hash: hash(id), height: Height(11) };
    assert_eq!(outputs, [included(0), included(1)]);
    assert_eq!(pending(&pool), [2]);
    assert_eq!(pool.status(), Status { ready: 1, future: 0, bytes: 100, senders: 1 });
    assert_eq!(pool.get(&hash(0)), None);
    assert_eq!(pool.get(&hash(2)).map(|transaction| transaction.nonce), Some(2));
}

#[test]
fn block_without_account_states_still_moves_the_nonce() {
    let mut pool = pool(|_| {});
    (0..3).for_each(|nonce| drop(insert(&mut pool, transaction(nonce, 1, nonce))));
    commit(&mut pool, 11, &[0, 1], &[]);
    assert_eq!(pending(&pool), [2]);
}

#[test]
fn block_that_used_the_nonce_otherwise_drops_as_stale() {
    let mut pool = pool(|_| {});
    insert(&mut pool, transaction(1, 1, 0));
    insert(&mut pool, transaction(2, 1, 1));
    let outputs = commit(&mut pool, 11, &[77], &[(1, 1, RICH)]);
    assert_eq!(outputs, [dropped(1, DropReason::Stale { nonce: 0, expected: 1 })]);
    assert_eq!(pending(&pool), [2]);
}

#[test]
fn block_that_closes_a_gap_promotes() {
    let mut pool = pool(|_| {});
    insert(&mut pool, transaction(1, 1, 1));
    let outputs = commit(&mut pool, 11, &[], &[(1, 1, RICH)]);
    assert_eq!(outputs, [Output::Promoted { hash: hash(1) }]);
    assert_eq!(pending(&pool), [1]);
}

#[test]
fn block_that_makes_the_sender_poorer_demotes_and_richer_promotes() {
    let mut pool = pool(|_| {});
    (0..3).for_each(|nonce| drop(insert(&mut pool, transaction(nonce, 1, nonce))));
    let outputs = commit(&mut pool, 11, &[], &[(1, 0, 199)]);
    assert_eq!(outputs, [Output::Demoted { hash: hash(1) }, Output::Demoted { hash: hash(2) }]);
    assert_eq!((pool.status().ready, pool.status().future), (1, 2));
    let outputs = commit(&mut pool, 12, &[], &[(1, 0, 200)]);
    assert_eq!(outputs, [Output::Promoted { hash: hash(1) }]);
    assert_eq!(pending(&pool), [0, 1]);
}

#[test]
fn block_that_makes_the_next_transaction_unaffordable_drops_it() {
    let mut pool = pool(|_| {});
    insert(&mut pool, transaction(1, 1, 0));
    insert(&mut pool, transaction(2, 1, 1));
    let outputs = commit(&mut pool, 11, &[], &[(1, 0, 99)]);
    let reason = DropReason::Unaffordable { cost: 100, spendable: 99 };
    assert_eq!(outputs, [dropped(1, reason), Output::Demoted { hash: hash(2) }]);
    assert!(pending(&pool).is_empty());
}

#[test]
fn block_past_the_last_valid_height_drops_as_expired() {
    let mut pool = pool(|_| {});
    insert(&mut pool, PoolTransaction { valid_until: Height(12), ..transaction(1, 1, 0) });
    insert(&mut pool, transaction(2, 1, 1));
    assert_eq!(commit(&mut pool, 11, &[], &[]), []);
    let outputs = commit(&mut pool, 12, &[], &[]);
    let reason = DropReason::Expired { valid_until: Height(12) };
    assert_eq!(outputs, [dropped(1, reason), Output::Demoted { hash: hash(2) }]);
}

#[test]
fn transaction_that_cannot_be_executed_leaves_and_the_rest_waits() {
    let mut pool = pool(|_| {});
    (0..3).for_each(|nonce| drop(insert(&mut pool, transaction(nonce, 1, nonce))));
    let outputs = step(&mut pool, Input::Invalid { hash: hash(1), reason: "no such call".to_owned() });
    assert_eq!(
        outputs,
        [dropped(1, DropReason::Invalid("no such call".to_owned())), Output::Demoted { hash: hash(2) }]
    );
    assert_eq!(pending(&pool), [0]);
    assert_eq!(step(&mut pool, Input::Invalid { hash: hash(1), reason: String::new() }), []);
}

#[test]
fn insert_read_after_a_block_that_is_not_announced_yet_keeps_its_transactions() {
    let mut pool = pool(|_| {});
    insert(&mut pool, transaction(0, 1, 0));
    // The state already has nonce 1; the pool learns of the block only afterwards.
    assert_eq!(insert_with(&mut pool, transaction(1, 1, 1), 1, RICH), [admitted(1, true)]);
    let outputs = commit(&mut pool, 11, &[0], &[(1, 1, RICH)]);
    assert_eq!(outputs, [Output::Included { hash: hash(0), height: Height(11) }]);
    assert_eq!(pending(&pool), [1]);
}

#[test]
fn insert_brings_the_pool_up_to_date_on_what_can_be_spent() {
    let mut pool = pool(|_| {});
    insert_with(&mut pool, transaction(0, 1, 0), 0, 100);
    assert_eq!(insert_with(&mut pool, transaction(1, 1, 1), 0, 200), [admitted(1, true)]);
}

#[test]
fn sender_without_transactions_is_forgotten() {
    let mut pool = pool(|_| {});
    insert(&mut pool, transaction(0, 1, 0));
    assert!(pool.is_sender(&account(1)));
    commit(&mut pool, 11, &[0], &[(1, 1, RICH)]);
    assert!(!pool.is_sender(&account(1)));
    assert_eq!(pool.status(), Status::default());
}
