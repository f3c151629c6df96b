//! Tests of block execution.

use super::*;
use crate::testing::{Chain, ENDOWMENT, fee, id, signed};
use crate::weight::EXTRINSIC_BASE;
use crate::{EXISTENTIAL_DEPOSIT, client, keys};
use std::collections::BTreeMap;

fn rejected_reason(built: &BuiltBlock, transaction: &Transaction) -> InvalidTransaction {
    built.rejected.iter().find(|(hash, _)| *hash == transaction.hash()).unwrap().1.clone()
}

#[test]
fn block_with_a_used_nonce_is_invalid() {
    let mut chain = Chain::new();
    let transaction = chain.tx(0, &client::remark(vec![]));
    chain.run(std::slice::from_ref(&transaction));
    let error = chain.execute(&[transaction]).unwrap_err();
    assert!(error.is_invalid_block());
    assert_eq!(error.to_string(), "extrinsic 1: nonce 0 is stale: the sender's next nonce is 1");
}

#[test]
fn block_with_a_nonce_ahead_is_invalid() {
    let chain = Chain::new();
    let error = chain.execute(&[signed(0, 2, 0, &client::remark(vec![]))]).unwrap_err();
    assert_eq!(error.to_string(), "extrinsic 1: nonce 2 is in the future: the sender's next nonce is 0");
}

#[test]
fn block_with_a_transaction_that_cannot_pay_is_invalid() {
    let chain = Chain::new();
    let transaction = signed(5, 0, 0, &client::remark(vec![]));
    let needed = fee(&transaction);
    let error = chain.execute(&[transaction]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("extrinsic 1: the sender cannot pay: the fee with tip is {needed}, 0 can be spent")
    );
}

#[test]
fn block_heavier_than_the_limit_is_invalid() {
    let chain = Chain::new();
    let heavy = client::batch(vec![client::transfer_keep_alive(id(1), 1); 1_000]);
    let weight = signed(0, 0, 0, &heavy).weight().ref_time;
    let count = u32::try_from(BLOCK_WEIGHT_MAX.ref_time / weight + 1).unwrap();
    let transactions: Vec<_> = (0..count).map(|nonce| signed(0, nonce, 0, &heavy)).collect();
    let error = chain.execute(&transactions).unwrap_err();
    assert!(matches!(
        error,
        BlockError::Invalid { source: InvalidTransaction::ExhaustsResources { resource: "weight" }, .. }
    ));
    let built = chain.build(&transactions, usize::MAX, BLOCK_WEIGHT_MAX);
    assert_eq!(built.rejected.len(), 1);
}

#[test]
fn build_leaves_out_what_exceeds_bytes_or_weight_and_goes_on() {
    let chain = Chain::new();
    let large = chain.tx(0, &client::remark(vec![0; 5_000]));
    let small = chain.tx(1, &client::remark(vec![]));
    let candidates = [large.clone(), small.clone()];
    let built = chain.build(&candidates, 1_000, BLOCK_WEIGHT_MAX);
    assert_eq!(built.transactions.len(), 2);
    assert_eq!(rejected_reason(&built, &large), InvalidTransaction::ExhaustsResources { resource: "bytes" });
    let built = chain.build(&candidates, usize::MAX, Weight::from_ref_time(EXTRINSIC_BASE.ref_time));
    assert_eq!(rejected_reason(&built, &small), InvalidTransaction::ExhaustsResources { resource: "weight" });
    let bytes: usize = [&chain.inherent(), &large, &small].iter().map(|t| t.encoded_len()).sum();
    assert_eq!(chain.build(&candidates, bytes, BLOCK_WEIGHT_MAX).rejected.len(), 0);
    assert_eq!(chain.build(&candidates, bytes - 1, BLOCK_WEIGHT_MAX).rejected.len(), 1);
}

#[test]
fn build_rejects_bare_candidates() {
    let chain = Chain::new();
    let built = chain.build(&[chain.inherent()], usize::MAX, BLOCK_WEIGHT_MAX);
    assert_eq!(built.rejected, [(chain.inherent().hash(), InvalidTransaction::Unsigned)]);
}

#[test]
fn build_at_the_parents_time_is_refused() {
    let mut chain = Chain::new();
    chain.run(&[]);
    chain.height = 0;
    let limits = BlockLimits { bytes_max: 1_000, weight_max: BLOCK_WEIGHT_MAX };
    let error = build_block(&chain.state, &chain.context(), &[], &[], limits).unwrap_err();
    assert!(matches!(error, BlockError::TimestampOrder { .. }));
}

#[test]
fn events_beyond_the_limit_keep_a_transaction_out_whole() {
    let chain = Chain::new();
    let context = chain.context();
    let mut execution = Execution::new(&chain.state, &context).unwrap();
    for _ in 0..BLOCK_EVENTS_MAX - 3 {
        execution.overlay.emit(crate::modules::utility::Event::BatchCompleted);
    }
    let transaction = chain.tx(0, &client::transfer_keep_alive(id(1), 5_000_000));
    let result = execution.apply(&transaction, transaction.signed().unwrap(), BLOCK_WEIGHT_MAX);
    assert!(matches!(
        result,
        Err(ValidateError::Invalid(InvalidTransaction::ExhaustsResources { resource: "events" }))
    ));
    let outcome = execution.finish().unwrap();
    assert_eq!(outcome.events.len(), BLOCK_EVENTS_MAX - 3);
    assert_eq!((outcome.changes.len(), outcome.results.len(), outcome.weight), (0, 0, Weight::ZERO));
}

#[test]
fn sender_zero_is_refused_as_bad_signer() {
    let chain = Chain::new();
    let mut bytes = chain.tx(0, &client::remark(vec![])).bytes().bytes().to_vec();
    bytes[2..34].fill(0);
    let transaction = Transaction::decode(cairn_primitives::OpaqueExtrinsic::new(bytes)).unwrap();
    let error = chain.execute(&[transaction]).unwrap_err();
    assert!(matches!(error, BlockError::Invalid { source: InvalidTransaction::BadSigner, .. }));
}

#[test]
fn changes_leave_out_what_ends_as_it_began() {
    let mut chain = Chain::new();
    chain.run(&[]);
    let outcome = chain.execute(&[chain.tx(0, &client::remark(vec![]))]).unwrap();
    let touched: Vec<_> = outcome.changes.keys().map(<[u8]>::to_vec).collect();
    let mut expected = vec![
        keys::timestamp_now(),
        keys::system_account(&id(0)).to_vec(),
        keys::total_issuance(),
        keys::BALANCES_BURNT.to_vec(),
    ];
    expected.sort();
    assert_eq!(touched, expected);
}

#[test]
fn proposer_that_sends_receives_its_fees_at_the_end() {
    let mut chain = Chain::new();
    assert_eq!(chain.call(0, &client::transfer_keep_alive(id(9), ENDOWMENT / 2)).0, Ok(()));
    let before = chain.free(9);
    let transaction = chain.tx(9, &client::remark(vec![]));
    let fee = fee(&transaction);
    chain.run(&[transaction]);
    assert_eq!(chain.free(9), before - fee.div_ceil(2));
}

#[test]
fn proposer_killed_in_its_own_block_comes_back_only_with_a_deposit() {
    let mut chain = Chain::new();
    assert_eq!(chain.call(0, &client::transfer_keep_alive(id(9), 100 * EXISTENTIAL_DEPOSIT)).0, Ok(()));
    assert_eq!(chain.call(9, &client::transfer_all(id(0), false)).0, Ok(()));
    let account = chain.account(9);
    assert_eq!((account.data.free, account.nonce, account.is_alive()), (0, 1, false));
}

#[test]
fn state_that_cannot_be_read_is_no_fault_of_the_block() {
    struct Broken;
    impl StateReader for Broken {
        fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>, StateReadError> {
            Err(StateReadError::new("disk gone"))
        }
    }
    let chain = Chain::new();
    let error = execute_block(&Broken, &chain.context(), &[chain.inherent()]).unwrap_err();
    assert!(!error.is_invalid_block());
    assert_eq!(error.to_string(), "the state cannot be read: disk gone");
    let mut malformed: BTreeMap<_, _> = chain.state.clone();
    malformed.insert(keys::system_account(&id(0)).to_vec(), vec![1, 2]);
    let transactions = [chain.inherent(), chain.tx(0, &client::remark(vec![]))];
    let error = execute_block(&malformed, &chain.context(), &transactions).unwrap_err();
    assert!(!error.is_invalid_block());
}
