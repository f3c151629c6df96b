//! Each refusal with its numbers.

use super::*;
use crate::Refusal;

#[track_caller]
fn assert_refused(outputs: &[Output], id: u64, reason: Refusal) {
    assert_eq!(outputs, [Output::Refused { hash: hash(id), reason }]);
}

#[test]
fn insert_of_a_known_hash_is_duplicate() {
    let mut pool = pool(|_| {});
    assert_eq!(insert(&mut pool, transaction(1, 1, 0)), [admitted(1, true)]);
    assert_refused(&insert(&mut pool, transaction(1, 1, 0)), 1, Refusal::Duplicate);
    assert_eq!(pool.status().ready, 1);
}

#[test]
fn insert_of_an_included_hash_is_already_included() {
    let mut pool = pool(|_| {});
    step(&mut pool, Input::BlockCommitted { height: Height(11), included: vec![hash(1)], accounts: vec![] });
    let outputs = insert_with(&mut pool, transaction(1, 1, 0), 1, RICH);
    assert_refused(&outputs, 1, Refusal::AlreadyIncluded { height: Height(11) });
}

#[test]
fn included_hashes_beyond_the_bound_are_forgotten_oldest_first() {
    let mut pool = pool(|config| config.included_max = 2);
    let included = vec![hash(1), hash(2), hash(3)];
    step(&mut pool, Input::BlockCommitted { height: Height(11), included, accounts: vec![] });
    assert_eq!(pool.known(&hash(1)), None);
    assert_eq!(pool.known(&hash(2)), Some(crate::Known::Included(Height(11))));
    assert_refused(&insert_with(&mut pool, transaction(1, 1, 0), 1, RICH), 1, Refusal::Stale { nonce: 0, expected: 1 });
}

#[test]
fn insert_below_the_account_nonce_is_stale() {
    let mut pool = pool(|_| {});
    let outputs = insert_with(&mut pool, transaction(1, 1, 4), 5, RICH);
    assert_refused(&outputs, 1, Refusal::Stale { nonce: 4, expected: 5 });
}

#[test]
fn insert_beyond_the_last_nonce_allowed_is_too_far_future() {
    let mut pool = pool(|config| config.sender_transactions_max = 4);
    let outputs = insert_with(&mut pool, transaction(1, 1, 9), 5, RICH);
    assert_refused(&outputs, 1, Refusal::TooFarFuture { nonce: 9, expected: 5, max: 8 });
    assert_eq!(insert_with(&mut pool, transaction(2, 1, 8), 5, RICH), [admitted(2, false)]);
}

#[test]
fn insert_costing_more_than_spendable_is_unaffordable() {
    let mut pool = pool(|_| {});
    let outputs = insert_with(&mut pool, transaction(1, 1, 0), 0, 99);
    assert_refused(&outputs, 1, Refusal::Unaffordable { cost: 100, spendable: 99 });
}

#[test]
fn insert_costing_too_much_with_those_before_it_is_unaffordable() {
    let mut pool = pool(|_| {});
    assert_eq!(insert_with(&mut pool, transaction(1, 1, 0), 0, 250), [admitted(1, true)]);
    assert_eq!(insert_with(&mut pool, transaction(2, 1, 1), 0, 250), [admitted(2, true)]);
    let outputs = insert_with(&mut pool, transaction(3, 1, 2), 0, 250);
    assert_refused(&outputs, 3, Refusal::Unaffordable { cost: 300, spendable: 250 });
}

#[test]
fn replacement_that_makes_the_ready_part_too_dear_is_unaffordable() {
    let mut pool = pool(|_| {});
    insert_with(&mut pool, transaction(1, 1, 0), 0, 250);
    insert_with(&mut pool, transaction(2, 1, 1), 0, 250);
    let dear = PoolTransaction { cost_max: 151, ..tipped(3, 1, 0, 20) };
    let outputs = insert_with(&mut pool, dear, 0, 250);
    assert_refused(&outputs, 3, Refusal::Unaffordable { cost: 251, spendable: 250 });
    assert_eq!(pending(&pool), [1, 2]);
}

#[test]
fn insert_of_too_many_bytes_is_oversized() {
    let mut pool = pool(|config| config.transaction_bytes_max = 99);
    assert_refused(&insert(&mut pool, transaction(1, 1, 0)), 1, Refusal::Oversized { bytes: 100, max: 99 });
}

#[test]
fn insert_not_valid_at_the_next_height_is_expired() {
    let mut pool = pool(|_| {});
    let late = PoolTransaction { valid_until: Height(10), ..transaction(1, 1, 0) };
    let reason = Refusal::Expired { valid_until: Height(10), next: Height(11) };
    assert_refused(&insert(&mut pool, late), 1, reason);
    let in_time = PoolTransaction { valid_until: Height(11), ..transaction(2, 1, 0) };
    assert_eq!(insert(&mut pool, in_time), [admitted(2, true)]);
}

#[test]
fn insert_into_a_pool_full_of_better_ones_is_refused_with_the_tip_needed() {
    let mut pool = pool(|config| config.transactions_max = 2);
    insert(&mut pool, tipped(1, 1, 0, 20));
    insert(&mut pool, tipped(2, 2, 0, 30));
    let reason = Refusal::PoolFull { tip: 20, tip_needed: 21 };
    assert_refused(&insert(&mut pool, tipped(3, 3, 0, 20)), 3, reason);
    let outputs = insert(&mut pool, tipped(4, 3, 0, 21));
    let evicted = Output::Dropped { hash: hash(1), reason: crate::DropReason::Evicted };
    assert_eq!(outputs, [evicted, admitted(4, true)]);
}

#[test]
fn insert_of_a_future_one_into_a_pool_full_of_ready_ones_is_refused() {
    let mut pool = pool(|config| config.transactions_max = 1);
    insert(&mut pool, tipped(1, 1, 0, 0));
    let reason = Refusal::PoolFullOfReady { nonce: 1, expected: 0 };
    assert_refused(&insert(&mut pool, tipped(2, 2, 1, 1_000)), 2, reason);
}

#[test]
fn large_newcomer_displaces_several_or_none() {
    let mut pool = pool(|config| config.bytes_max = 300);
    for (id, tip) in [(1, 10), (2, 20), (3, 40)] {
        insert(&mut pool, tipped(id, u8::try_from(id).unwrap(), 0, tip));
    }
    let large = PoolTransaction { bytes_len: 300, ..tipped(4, 4, 0, 30) };
    assert_refused(&insert(&mut pool, large), 4, Refusal::PoolFull { tip: 30, tip_needed: 41 });
    assert_eq!(pending(&pool), [3, 2, 1]);
    let medium = PoolTransaction { bytes_len: 200, ..tipped(5, 4, 0, 30) };
    let outputs = insert(&mut pool, medium);
    let evicted = |id| Output::Dropped { hash: hash(id), reason: crate::DropReason::Evicted };
    assert_eq!(outputs, [evicted(1), evicted(2), admitted(5, true)]);
    assert_eq!(pool.status().bytes, 300);
}

#[test]
fn newcomer_does_not_displace_what_it_follows_on() {
    let mut pool = pool(|config| config.transactions_max = 2);
    insert(&mut pool, tipped(1, 1, 0, 1));
    insert(&mut pool, tipped(2, 2, 0, 50));
    // Sender 1's first is the cheapest, but its second needs it: the other one must be beaten.
    assert_refused(&insert(&mut pool, tipped(3, 1, 1, 40)), 3, Refusal::PoolFull { tip: 40, tip_needed: 51 });
    assert_eq!(insert(&mut pool, tipped(4, 1, 1, 60)).last(), Some(&admitted(4, true)));
    assert_eq!(pending(&pool), [1, 4]);
}

#[test]
fn full_pool_gives_up_future_ones_before_ready_ones() {
    let mut pool = pool(|config| config.transactions_max = 2);
    insert(&mut pool, tipped(1, 1, 0, 5));
    insert(&mut pool, tipped(2, 2, 1, 1_000));
    let outputs = insert(&mut pool, tipped(3, 3, 0, 1));
    assert_eq!(outputs, [Output::Dropped { hash: hash(2), reason: crate::DropReason::Evicted }, admitted(3, true)]);
}

#[test]
fn sender_at_its_share_of_bytes_is_refused_or_gives_up_its_own_last() {
    let mut pool = pool(|config| config.sender_bytes_max = 250);
    insert(&mut pool, transaction(1, 1, 1));
    insert(&mut pool, transaction(2, 1, 2));
    let reason = Refusal::SenderFull { transactions: 2, bytes: 200, transactions_max: 1_024, bytes_max: 250 };
    assert_refused(&insert(&mut pool, transaction(3, 1, 3)), 3, reason);
    // The nonce that is needed first gets in at the cost of the last.
    let outputs = insert(&mut pool, transaction(4, 1, 0));
    let evicted = Output::Dropped { hash: hash(2), reason: crate::DropReason::Evicted };
    assert_eq!(outputs, [evicted, Output::Promoted { hash: hash(1) }, admitted(4, true)]);
}

#[test]
fn replacement_needs_ten_percent_more_rounded_up_and_at_least_one() {
    for (tip, needed) in [(0, 1), (1, 2), (10, 11), (11, 13), (1_000, 1_100)] {
        let mut pool = pool(|_| {});
        insert(&mut pool, tipped(1, 1, 0, tip));
        let reason = Refusal::ReplacementTooCheap { tip: needed - 1, needed };
        assert_refused(&insert(&mut pool, tipped(2, 1, 0, needed - 1)), 2, reason);
        let replaced = Output::Replaced { old: hash(1), new: hash(3) };
        assert_eq!(insert(&mut pool, tipped(3, 1, 0, needed)), [replaced, admitted(3, true)]);
        assert_eq!(pending(&pool), [3]);
    }
}

#[test]
fn replacement_of_the_largest_tip_is_refused_without_overflow() {
    let mut pool = pool(|_| {});
    insert(&mut pool, tipped(1, 1, 0, u128::MAX));
    let reason = Refusal::ReplacementTooCheap { tip: 5, needed: u128::MAX };
    assert_refused(&insert(&mut pool, tipped(2, 1, 0, 5)), 2, reason);
}
