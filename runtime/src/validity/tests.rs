//! Tests of what the mempool is told.

use super::*;
use crate::testing::{Chain, ENDOWMENT, GENESIS, fee, key, signed};
use crate::{TransactionExtra, client};

fn invalid(result: Result<Validity, ValidateError>) -> InvalidTransaction {
    match result {
        Err(ValidateError::Invalid(invalid)) => invalid,
        other => panic!("expected an invalid transaction, found {other:?}"),
    }
}

fn mortal(era: Era) -> Transaction {
    let extra = TransactionExtra { era, nonce: 0, tip: 0 };
    Transaction::decode(client::sign(&key(0), &client::remark(vec![]), extra, &GENESIS, &GENESIS)).unwrap()
}

#[test]
fn validate_of_a_good_transaction_tells_the_pool_what_it_needs() {
    let chain = Chain::new();
    let transaction = signed(0, 4, 1_000, &client::remark(vec![]));
    let expected = Validity {
        account_nonce: 0,
        spendable: ENDOWMENT - EXISTENTIAL_DEPOSIT,
        cost_max: fee(&transaction) + 1_000,
        priority: 1_000,
        valid_until: Height(u32::MAX),
        weight: transaction.weight(),
    };
    assert_eq!(validate(&chain.state, &transaction, Height(1), &RulesSchedule::default()).unwrap(), expected);
}

#[test]
fn validate_of_a_used_nonce_is_stale() {
    let mut chain = Chain::new();
    let transaction = chain.tx(0, &client::remark(vec![]));
    chain.run(std::slice::from_ref(&transaction));
    let stale = InvalidTransaction::Stale { expected: 1, actual: 0 };
    assert_eq!(invalid(validate(&chain.state, &transaction, Height(2), &RulesSchedule::default())), stale);
}

#[test]
fn validate_of_the_last_nonce_is_refused() {
    let chain = Chain::new();
    let transaction = signed(0, u32::MAX, 0, &client::remark(vec![]));
    let future = InvalidTransaction::Future { expected: 0, actual: u32::MAX };
    assert_eq!(invalid(validate(&chain.state, &transaction, Height(1), &RulesSchedule::default())), future);
}

#[test]
fn validate_of_an_empty_account_cannot_pay() {
    let chain = Chain::new();
    let transaction = signed(5, 0, 0, &client::remark(vec![]));
    let payment = InvalidTransaction::Payment { needed: fee(&transaction), available: 0 };
    assert_eq!(invalid(validate(&chain.state, &transaction, Height(1), &RulesSchedule::default())), payment);
}

#[test]
fn validate_of_a_bare_extrinsic_is_refused() {
    let chain = Chain::new();
    assert_eq!(
        invalid(validate(&chain.state, &chain.inherent(), Height(1), &RulesSchedule::default())),
        InvalidTransaction::Unsigned
    );
}

#[test]
fn validate_of_a_transaction_heavier_than_a_block_is_refused() {
    let chain = Chain::new();
    let call = client::batch(vec![client::batch(vec![client::burn(0, false); 1_000]); 65]);
    let transaction = signed(0, 0, 0, &call);
    let heavy = InvalidTransaction::ExhaustsResources { resource: "weight" };
    assert_eq!(invalid(validate(&chain.state, &transaction, Height(1), &RulesSchedule::default())), heavy);
}

#[test]
fn validate_of_a_mortal_transaction_ends_with_its_era() {
    let chain = Chain::new();
    let transaction = mortal(Era::mortal(64, 100));
    let validity = validate(&chain.state, &transaction, Height(101), &RulesSchedule::default()).unwrap();
    assert_eq!(validity.valid_until, Height(100 + 63));
}

#[test]
fn validate_of_an_era_longer_than_the_known_hashes_is_cut() {
    let chain = Chain::new();
    let transaction = mortal(Era::mortal(1 << 16, 100_000));
    let birth = u32::try_from(Era::mortal(1 << 16, 100_000).birth(100_000)).unwrap();
    let last = Height(birth + BLOCK_HASH_COUNT);
    assert_eq!(validate(&chain.state, &transaction, last, &RulesSchedule::default()).unwrap().valid_until, last);
    let error = invalid(validate(&chain.state, &transaction, last.next(), &RulesSchedule::default()));
    assert_eq!(error, InvalidTransaction::AncientBirthBlock);
}

#[test]
fn validate_of_an_era_that_has_not_begun_is_refused() {
    let chain = Chain::new();
    let transaction = mortal(Era::mortal(64, 10));
    assert_eq!(
        invalid(validate(&chain.state, &transaction, Height(10), &RulesSchedule::default())),
        InvalidTransaction::AncientBirthBlock
    );
}

#[test]
fn account_that_does_not_exist_is_all_zero() {
    let chain = Chain::new();
    assert_eq!(account(&chain.state, &AccountId32([8; 32])).unwrap(), AccountInfo::default());
}
