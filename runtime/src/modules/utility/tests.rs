//! Tests of Utility.

use super::{BATCH_CALLS_MAX, BATCH_DEPTH_MAX, Error, Event};
use crate::modules::balances::Error as BalancesError;
use crate::modules::{RuntimeCall, RuntimeEvent};
use crate::testing::{Chain, ENDOWMENT, fee, id, key, module_error, signed};
use crate::{Rules, RulesSchedule, RuntimeError, Transaction, TransactionError, client};
use parity_scale_codec::Encode;

fn too_much() -> RuntimeCall {
    client::transfer_keep_alive(id(1), u128::MAX / 2)
}

fn transfer(value: u128) -> RuntimeCall {
    client::transfer_keep_alive(id(1), value)
}

#[test]
fn batch_stops_at_the_first_failure_and_keeps_what_was_done() {
    let mut chain = Chain::new();
    let (result, events) = chain.call(0, &client::batch(vec![transfer(1), too_much(), transfer(2)]));
    assert_eq!(result, Ok(()));
    let error = RuntimeError::Balances(BalancesError::InsufficientBalance).into();
    assert_eq!(events.len(), 3);
    assert_eq!(events[1], RuntimeEvent::Utility(Event::ItemCompleted));
    assert_eq!(events[2], RuntimeEvent::Utility(Event::BatchInterrupted { index: 1, error }));
    assert_eq!(chain.free(1), ENDOWMENT + 1);
}

#[test]
fn batch_of_calls_that_succeed_completes() {
    let mut chain = Chain::new();
    let (result, events) = chain.call(0, &client::batch(vec![transfer(1), transfer(2)]));
    assert_eq!(result, Ok(()));
    assert_eq!(events.last(), Some(&RuntimeEvent::Utility(Event::BatchCompleted)));
    assert_eq!(chain.free(1), ENDOWMENT + 3);
}

#[test]
fn batch_all_with_a_failure_undoes_everything() {
    let mut chain = Chain::new();
    let call = client::batch_all(vec![transfer(1), transfer(2), too_much()]);
    let fee = fee(&chain.tx(0, &call));
    let (result, events) = chain.call(0, &call);
    assert_eq!(result, module_error(RuntimeError::Balances(BalancesError::InsufficientBalance)));
    assert_eq!(events, []);
    assert_eq!((chain.free(0), chain.free(1)), (ENDOWMENT - fee, ENDOWMENT));
}

#[test]
fn force_batch_goes_on_after_a_failure() {
    let mut chain = Chain::new();
    let error = RuntimeError::Balances(BalancesError::InsufficientBalance).into();
    let (result, events) = chain.call(0, &client::force_batch(vec![transfer(1), too_much(), transfer(2)]));
    assert_eq!((result, chain.free(1)), (Ok(()), ENDOWMENT + 3));
    let told: Vec<_> = events.into_iter().filter(|event| matches!(event, RuntimeEvent::Utility(_))).collect();
    let expected =
        [Event::ItemCompleted, Event::ItemFailed { error }, Event::ItemCompleted, Event::BatchCompletedWithErrors];
    assert_eq!(told, expected.map(RuntimeEvent::Utility));
    let (_, events) = chain.call(0, &client::force_batch(vec![transfer(1)]));
    assert_eq!(events.last(), Some(&RuntimeEvent::Utility(Event::BatchCompleted)));
}

#[test]
fn force_batch_is_no_call_of_older_rules() {
    let chain = Chain::new();
    let forced = client::force_batch(vec![transfer(1)]);
    for call in [forced.clone(), client::batch(vec![transfer(1), client::batch_all(vec![forced])])] {
        let transaction = chain.tx(0, &call);
        assert_eq!(transaction.since(), Rules::V4);
        let context = crate::BlockContext { rules: Rules::V3, ..chain.context() };
        let all = [chain.inherent(), transaction.clone()];
        let error = crate::execute_block(&chain.state, &context, &all).unwrap_err();
        assert!(matches!(error, crate::BlockError::Invalid { index: 1, .. }) && error.is_invalid_block(), "{error}");
        assert!(error.to_string().contains("from rules 4 on"), "{error}");
        let schedule = RulesSchedule::new(Rules::V3, Vec::new());
        assert!(crate::validate(&chain.state, &transaction, cairn_primitives::Height(1), &schedule).is_err());
        assert!(chain.execute(&[transaction]).is_ok());
    }
    assert_eq!(chain.tx(0, &client::batch(vec![transfer(1)])).since(), Rules::FIRST);
}

#[test]
fn batch_all_inside_a_batch_undoes_itself_alone() {
    let mut chain = Chain::new();
    let inner = client::batch_all(vec![transfer(10), too_much()]);
    let (result, _) = chain.call(0, &client::batch(vec![transfer(1), inner, transfer(100)]));
    assert_eq!((result, chain.free(1)), (Ok(()), ENDOWMENT + 1));
}

#[test]
fn batch_with_too_many_calls_fails_with_too_many_calls() {
    let mut chain = Chain::new();
    for make in [client::batch, client::batch_all] {
        let full = make(vec![client::remark(vec![]); BATCH_CALLS_MAX]);
        assert_eq!(chain.call(0, &full).0, Ok(()));
        let over = make(vec![client::remark(vec![]); BATCH_CALLS_MAX + 1]);
        assert_eq!(chain.call(0, &over).0, module_error(RuntimeError::Utility(Error::TooManyCalls)));
    }
}

#[test]
fn batch_nested_deeper_than_the_limit_does_not_decode() {
    let nested = |depth: u32| (0..depth).fold(client::remark(vec![]), |call, _| client::batch(vec![call]));
    assert_eq!(nested(BATCH_DEPTH_MAX).batch_depth(), BATCH_DEPTH_MAX);
    signed(0, 0, 0, &nested(BATCH_DEPTH_MAX));
    let extra = crate::TransactionExtra { era: crate::Era::Immortal, nonce: 0, tip: 0 };
    let hash = crate::testing::GENESIS;
    let bytes = client::sign(&key(0), &nested(BATCH_DEPTH_MAX + 1), extra, &hash, &hash);
    assert_eq!(Transaction::decode(bytes).unwrap_err(), TransactionError::Nesting(BATCH_DEPTH_MAX + 1));
    let bytes = client::sign(&key(0), &nested(5_000), extra, &hash, &hash);
    assert!(matches!(Transaction::decode(bytes), Err(TransactionError::Call(_))));
}

#[test]
fn batch_weighs_more_than_its_calls() {
    let calls = vec![transfer(1), transfer(2)];
    let sum: u64 = calls.iter().map(|call| call.weight().ref_time).sum();
    assert!(client::batch(calls).weight().ref_time > sum);
}

#[test]
fn errors_decode_from_their_module_form() {
    for error in [RuntimeError::Utility(Error::TooManyCalls), RuntimeError::Balances(BalancesError::Expendability)] {
        let crate::DispatchError::Module(module) = crate::DispatchError::from(error) else { panic!() };
        assert_eq!(RuntimeError::from_module_error(&module), Some(error));
        assert_eq!(module.encode()[..2], error.encode()[..2]);
    }
}
