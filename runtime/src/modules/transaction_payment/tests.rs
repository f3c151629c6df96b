//! Tests of TransactionPayment.

use super::{Event, FeeParameters, FeeParametersError, InclusionFee};
use crate::modules::RuntimeEvent;
use crate::modules::balances::Event as BalancesEvent;
use crate::testing::{Chain, ENDOWMENT, fee, id, proposer, signed};
use crate::weight::Weight;
use crate::{InvalidTransaction, Phase, client, keys};

#[test]
fn fee_is_the_sum_of_base_length_and_weight_rounded_up() {
    let parameters = FeeParameters { base: 100, per_byte: 7, per_microsecond: 3, burnt_permille: 0 };
    let fee = InclusionFee::new(&parameters, 10, Weight::from_ref_time(1_000_001));
    assert_eq!((fee.base_fee, fee.len_fee, fee.adjusted_weight_fee, fee.total()), (100, 70, 4, 174));
}

#[test]
fn fee_and_tip_go_to_the_proposer_but_for_the_burnt_share() {
    let mut chain = Chain::new();
    let tip = 10_000_000;
    let transaction = signed(0, 0, tip, &client::remark(vec![]));
    let fee = fee(&transaction);
    let outcome = chain.run(&[transaction]);
    let burnt = fee.div_ceil(2);
    let paid = fee - burnt + tip;
    let events: Vec<_> = outcome.events.iter().map(|record| &record.event).collect();
    let withdrawn: RuntimeEvent = BalancesEvent::Withdraw { who: id(0), amount: fee + tip }.into();
    let settled: RuntimeEvent = Event::FeesSettled { proposer: proposer(), paid, burnt }.into();
    assert_eq!(events[1], &withdrawn);
    assert!(events.contains(&&Event::TransactionFeePaid { who: id(0), actual_fee: fee + tip, tip }.into()));
    assert_eq!(events.last(), Some(&&settled));
    assert_eq!(outcome.events.last().unwrap().phase, Phase::Finalization);
    assert_eq!((chain.free(9), chain.number(&keys::BALANCES_BURNT)), (paid, burnt));
    assert_eq!(chain.free(0), ENDOWMENT - fee - tip);
}

#[test]
fn fees_too_low_to_create_the_proposers_account_are_burnt() {
    let mut chain = Chain::new();
    let transaction = chain.tx(0, &client::remark(vec![]));
    let fee = fee(&transaction);
    chain.run(&[transaction]);
    assert_eq!((chain.free(9), chain.number(&keys::BALANCES_BURNT)), (0, fee));
}

#[test]
fn block_without_transactions_settles_nothing() {
    let chain = Chain::new();
    let outcome = chain.execute(&[]).unwrap();
    assert_eq!((outcome.events.len(), outcome.changes.len()), (1, 1));
}

#[test]
fn payment_that_would_kill_the_sender_is_invalid() {
    let mut chain = Chain::new();
    let mut info = chain.account(0);
    let transaction = chain.tx(0, &client::remark(vec![]));
    let needed = fee(&transaction);
    info.data.free = crate::EXISTENTIAL_DEPOSIT + needed;
    chain.set_account(0, &info);
    assert!(chain.execute(std::slice::from_ref(&transaction)).is_ok());
    info.data.free -= 1;
    chain.set_account(0, &info);
    let built = chain.build(std::slice::from_ref(&transaction), usize::MAX, crate::weight::BLOCK_WEIGHT_MAX);
    let payment = InvalidTransaction::Payment { needed, available: needed - 1 };
    assert_eq!(built.rejected, [(transaction.hash(), payment)]);
}

#[test]
fn tip_of_everything_is_invalid_and_does_not_overflow() {
    let chain = Chain::new();
    let transaction = signed(0, 0, u128::MAX, &client::remark(vec![]));
    let built = chain.build(&[transaction], usize::MAX, crate::weight::BLOCK_WEIGHT_MAX);
    assert!(matches!(built.rejected[0].1, InvalidTransaction::Payment { needed: u128::MAX, .. }));
}

#[test]
fn parameters_out_of_range_are_refused() {
    let share = FeeParameters { burnt_permille: 1_001, ..FeeParameters::default() };
    assert_eq!(share.check(), Err(FeeParametersError::BurntShare(1_001)));
    for field in ["base", "per_byte", "per_microsecond"] {
        let actual = u128::from(u64::MAX) + 1;
        let mut parameters = FeeParameters::default();
        match field {
            "base" => parameters.base = actual,
            "per_byte" => parameters.per_byte = actual,
            _ => parameters.per_microsecond = actual,
        }
        assert_eq!(parameters.check(), Err(FeeParametersError::Price { field, actual }));
    }
}
