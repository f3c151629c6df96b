//! Tests of Validators.

use super::{Call, Error, Event, KEYS, KeyRotation, NEXT, next_validators};
use crate::modules::{RuntimeCall, RuntimeEvent};
use crate::testing::{Chain, GENESIS, bare, key, module_error, validators};
use crate::weight::BLOCK_WEIGHT_MAX;
use crate::{
    BLOCK_REPORTS_MAX, BlockError, DispatchError, GenesisConfig, GenesisError, Phase, RuntimeError, Transaction,
    client, genesis_state, is_punishable, offence,
};
use cairn_primitives::validator::{TOTAL_POWER_MAX, VALIDATORS_MAX, ValidatorSetError};
use cairn_primitives::{
    Epoch, Evidence, EvidenceError, Hash, KeyPair, Power, Proposal, PublicKey, Subject, Validator, ValidatorIndex,
    View, Vote,
};

/// The account that sets validators.
const AUTHORITY: u8 = 3;

fn error(error: Error) -> Result<(), DispatchError> {
    module_error(RuntimeError::Validators(error))
}

fn public(n: u8) -> PublicKey {
    key(n).public()
}

/// Two finalize votes of key `n` for different blocks.
fn evidence_for(n: u8, epoch: u64, genesis: &Hash) -> Evidence {
    let vote = |block| {
        let proposal = Proposal { epoch: Epoch(epoch), view: View(7), parent_view: View(6), block: Hash([block; 32]) };
        Vote::sign(Subject::Finalize(proposal), ValidatorIndex(0), &key(n), genesis)
    };
    Evidence::new(public(n), &vote(1), &vote(2)).unwrap()
}

fn evidence(n: u8) -> Evidence {
    evidence_for(n, 0, &GENESIS)
}

fn report(evidence: &Evidence) -> Transaction {
    Transaction::decode(client::report_extrinsic(evidence)).unwrap()
}

/// Reports the evidence in a block of its own; returns the result and its events but for the last.
fn run_report(chain: &mut Chain, evidence: &Evidence) -> (Result<(), DispatchError>, Vec<RuntimeEvent>) {
    let outcome = chain.run(&[report(evidence)]);
    let own = outcome.events.into_iter().filter(|record| record.phase == Phase::ApplyExtrinsic(1));
    let mut events: Vec<_> = own.map(|record| record.event).collect();
    events.pop();
    (outcome.results[1], events)
}

/// Keys and powers of the next epoch.
fn next(chain: &Chain) -> Vec<(PublicKey, u64)> {
    next_validators(&chain.state).unwrap().validators().iter().map(|v| (v.key, v.power.0)).collect()
}

fn sorted(mut expected: Vec<(PublicKey, u64)>) -> Vec<(PublicKey, u64)> {
    expected.sort_unstable();
    expected
}

fn punished(n: u8, member: u8, epoch: u64) -> RuntimeEvent {
    let (member, key) = (public(member), public(n));
    Event::EquivocationPunished { member, key, epoch: Epoch(epoch), view: View(7) }.into()
}

fn set_event(n: u8, power: u64) -> RuntimeEvent {
    Event::ValidatorSet { member: public(n), key: public(n), power }.into()
}

fn rotation(old: u8, new: u8, epoch: u64) -> RuntimeCall {
    client::rotate_key(&key(old), &key(new), Epoch(epoch), &GENESIS)
}

fn set(chain: &mut Chain, n: u8, power: u64) -> Result<(), DispatchError> {
    chain.call(AUTHORITY, &client::set_validator(public(n), power)).0
}

#[test]
fn next_validators_at_genesis_are_those_of_the_spec_in_order_of_keys() {
    let chain = Chain::new();
    assert_eq!(next(&chain), sorted(validators().iter().map(|v| (v.key, v.power.0)).collect()));
    let members = NEXT.read(&chain.state).unwrap();
    assert!(members.is_sorted_by_key(|member| member.id));
    assert!(members.iter().all(|member| member.id == member.key && member.rotated.is_none()));
}

#[test]
fn report_takes_the_offender_out_of_the_next_set_without_a_fee() {
    let mut chain = Chain::new();
    assert!(is_punishable(&chain.state, &public(20), Epoch(0)).unwrap());
    let before = chain.sum_of_balances();
    let (result, events) = run_report(&mut chain, &evidence(20));
    assert_eq!((result, events), (Ok(()), vec![punished(20, 20, 0), set_event(20, 0)]));
    assert_eq!(next(&chain), sorted((21..24).map(|n| (public(n), 10)).collect()));
    assert_eq!(chain.sum_of_balances(), before);
    let found = offence(&chain.state, &public(20)).unwrap().unwrap();
    assert_eq!((found.key, found.epoch, found.view), (public(20), Epoch(0), View(7)));
    assert!(!is_punishable(&chain.state, &public(20), Epoch(0)).unwrap());
}

#[test]
fn report_of_a_punished_member_fails() {
    let mut chain = Chain::new();
    assert_eq!(run_report(&mut chain, &evidence(20)).0, Ok(()));
    let set = next(&chain);
    assert_eq!(run_report(&mut chain, &evidence(20)), (error(Error::AlreadyPunished), vec![]));
    assert_eq!(run_report(&mut chain, &evidence_for(20, 9, &GENESIS)).0, error(Error::AlreadyPunished));
    assert_eq!(next(&chain), set);
}

#[test]
fn report_of_a_key_that_never_voted_fails() {
    let mut chain = Chain::new();
    assert_eq!(run_report(&mut chain, &evidence(40)), (error(Error::UnknownKey), vec![]));
    assert!(!is_punishable(&chain.state, &public(40), Epoch(0)).unwrap());
    assert_eq!(offence(&chain.state, &public(40)).unwrap(), None);
}

#[test]
fn report_of_the_last_member_is_recorded_but_leaves_it_in_the_set() {
    let mut chain = Chain::new();
    for n in 20..23 {
        assert_eq!(run_report(&mut chain, &evidence(n)).0, Ok(()));
    }
    assert_eq!(run_report(&mut chain, &evidence(23)), (Ok(()), vec![punished(23, 23, 0)]));
    assert_eq!(next(&chain), [(public(23), 10)]);
    assert!(offence(&chain.state, &public(23)).unwrap().is_some());
    // It goes once there is another.
    assert_eq!(set(&mut chain, 23, 11), error(Error::Punished));
    assert_eq!(set(&mut chain, 30, 5), Ok(()));
    assert_eq!(set(&mut chain, 23, 0), Ok(()));
    assert_eq!(next(&chain), [(public(30), 5)]);
}

#[test]
fn report_signed_fails_with_bad_origin_even_in_a_batch() {
    let mut chain = Chain::new();
    let call = RuntimeCall::Validators(Call::report_equivocation { evidence: Box::new(evidence(20)) });
    assert_eq!(chain.call(0, &call).0, Err(DispatchError::BadOrigin));
    assert_eq!(chain.call(0, &client::batch_all(vec![call])).0, Err(DispatchError::BadOrigin));
    assert_eq!(next(&chain).len(), 4);
}

#[test]
fn report_with_evidence_that_proves_nothing_makes_the_block_invalid() {
    let chain = Chain::new();
    let foreign = chain.execute(&[report(&evidence_for(20, 0, &Hash([8; 32])))]).unwrap_err();
    assert!(foreign.is_invalid_block());
    let source = EvidenceError::BadSignature(public(20));
    assert!(matches!(foreign, BlockError::Evidence { index: 1, source: actual } if actual == source), "{foreign}");
}

#[test]
fn report_after_a_transaction_makes_the_block_invalid() {
    let chain = Chain::new();
    let transactions = [chain.tx(0, &client::remark(vec![])), report(&evidence(20))];
    let error = chain.execute(&transactions).unwrap_err();
    assert!(matches!(error, BlockError::Bare { index: 2 }), "{error}");
    let other = [bare(&client::set_validator(public(30), 1))];
    assert!(matches!(chain.execute(&other), Err(BlockError::Bare { index: 1 })));
}

#[test]
fn reports_beyond_the_limit_make_the_block_invalid() {
    let chain = Chain::new();
    let reports = vec![report(&evidence(20)); BLOCK_REPORTS_MAX + 1];
    let error = chain.execute(&reports).unwrap_err();
    assert!(error.is_invalid_block());
    assert!(matches!(error, BlockError::Reports(9)), "{error}");
    let outcome = chain.execute(&reports[1..]).unwrap();
    assert_eq!(outcome.results.iter().filter(|result| result.is_ok()).count(), 2);
}

#[test]
fn build_takes_evidence_that_punishes_somebody_and_leaves_the_rest_out() {
    let mut chain = Chain::new();
    assert_eq!(run_report(&mut chain, &evidence(20)).0, Ok(()));
    let forged = evidence_for(21, 0, &Hash([8; 32]));
    let offered = [evidence(20), evidence(40), forged, evidence(22), evidence(22), evidence(23)];
    let transfer = chain.tx(0, &client::remark(vec![1]));
    let built = chain.build_with(&offered, std::slice::from_ref(&transfer), usize::MAX, BLOCK_WEIGHT_MAX);
    let hashes: Vec<_> = built.transactions.iter().map(Transaction::hash).collect();
    let expected = [&chain.inherent(), &report(&evidence(22)), &report(&evidence(23)), &transfer];
    assert_eq!(hashes, expected.map(Transaction::hash));
    assert!(built.outcome.results.iter().all(Result::is_ok));
    // What one node builds, every other one executes to the same result.
    let executed = crate::execute_block(&chain.state, &chain.context(), &built.transactions).unwrap();
    assert_eq!((&executed.changes, executed.weight), (&built.outcome.changes, built.outcome.weight));
    assert_eq!(executed.events, built.outcome.events);
}

#[test]
fn build_takes_no_more_evidence_than_a_block_may_have() {
    let mut chain = Chain::new();
    for n in 30..40 {
        assert_eq!(set(&mut chain, n, 1), Ok(()));
    }
    let offered: Vec<_> = (30..40).map(evidence).collect();
    let built = chain.build_with(&offered, &[], usize::MAX, BLOCK_WEIGHT_MAX);
    assert_eq!(built.transactions.len(), 1 + BLOCK_REPORTS_MAX);
    let tight = chain.inherent().encoded_len() + report(&offered[0]).encoded_len();
    assert_eq!(chain.build_with(&offered, &[], tight, BLOCK_WEIGHT_MAX).transactions.len(), 2);
}

#[test]
fn set_validator_adds_changes_and_removes() {
    let mut chain = Chain::new();
    let (result, events) = chain.call(AUTHORITY, &client::set_validator(public(30), 7));
    assert_eq!((result, events), (Ok(()), vec![set_event(30, 7)]));
    assert!(next(&chain).contains(&(public(30), 7)));
    assert_eq!(set(&mut chain, 30, 9), Ok(()));
    assert!(next(&chain).contains(&(public(30), 9)));
    let (result, events) = chain.call(AUTHORITY, &client::set_validator(public(30), 0));
    assert_eq!((result, events), (Ok(()), vec![set_event(30, 0)]));
    assert_eq!(next(&chain).len(), 4);
    assert_eq!(set(&mut chain, 30, 1), Ok(()), "one that was not punished may come back");
    assert_eq!(NEXT.read(&chain.state).unwrap().len(), 5);
}

#[test]
fn set_validator_by_another_account_or_without_authority_fails() {
    let mut chain = Chain::new();
    let call = client::set_validator(public(30), 7);
    assert_eq!(chain.call(0, &call).0, error(Error::NotAuthority));
    chain.state.remove(super::AUTHORITY.key().as_slice());
    assert_eq!(chain.call(AUTHORITY, &call).0, error(Error::NotAuthority));
    assert_eq!(next(&chain).len(), 4);
}

#[test]
fn set_validator_removing_a_stranger_or_the_last_one_fails() {
    let mut chain = Chain::new();
    assert_eq!(set(&mut chain, 30, 0), error(Error::NotValidator));
    for n in 20..23 {
        assert_eq!(set(&mut chain, n, 0), Ok(()));
    }
    assert_eq!(set(&mut chain, 23, 0), error(Error::LastValidator));
    assert_eq!(next(&chain), [(public(23), 10)]);
}

#[test]
fn set_validator_beyond_the_total_power_fails_and_leaves_nothing() {
    let mut chain = Chain::new();
    for power in [TOTAL_POWER_MAX - 39, u64::MAX] {
        assert_eq!(set(&mut chain, 30, power), error(Error::TooMuchPower));
    }
    assert_eq!(KEYS.read(&chain.state, &public(30)).unwrap(), None);
    assert_eq!(set(&mut chain, 30, TOTAL_POWER_MAX - 40), Ok(()));
    assert_eq!(set(&mut chain, 20, 11), error(Error::TooMuchPower));
}

#[test]
fn set_validator_beyond_the_number_fails() {
    let mut chain = Chain::new();
    for n in (0..20).chain(24..=255) {
        assert_eq!(set(&mut chain, n, 1), Ok(()));
    }
    assert_eq!(next(&chain).len(), VALIDATORS_MAX);
    let one_more = KeyPair::from_seed(&std::array::from_fn(|place| u8::from(place == 0))).public();
    let call = client::set_validator(one_more, 1);
    assert_eq!(chain.call(AUTHORITY, &call).0, error(Error::TooManyValidators));
    assert_eq!(set(&mut chain, 255, 0), Ok(()));
    assert_eq!(chain.call(AUTHORITY, &call).0, Ok(()));
}

#[test]
fn set_validator_with_a_weak_key_fails() {
    let mut chain = Chain::new();
    let weak = PublicKey(std::array::from_fn(|place| u8::from(place == 0)));
    assert_eq!(chain.call(AUTHORITY, &client::set_validator(weak, 1)).0, error(Error::WeakKey));
}

#[test]
fn set_validator_of_a_punished_member_fails_under_every_key_it_had() {
    let mut chain = Chain::new();
    assert_eq!(chain.call(0, &rotation(20, 50, 0)).0, Ok(()));
    assert_eq!(run_report(&mut chain, &evidence(20)).0, Ok(()));
    for n in [20, 50] {
        assert_eq!(set(&mut chain, n, 5), error(Error::Punished));
        assert_eq!(set(&mut chain, n, 0), error(Error::NotValidator));
    }
    assert_eq!(next(&chain).len(), 3);
}

#[test]
fn rotate_key_carried_by_any_account_replaces_the_key_and_keeps_the_member() {
    let mut chain = Chain::new();
    let (result, events) = chain.call(0, &rotation(20, 50, 0));
    let rotated = Event::KeyRotated { member: public(20), old: public(20), new: public(50) };
    assert_eq!((result, events), (Ok(()), vec![rotated.into()]));
    assert_eq!(next(&chain), sorted([50, 21, 22, 23].map(|n| (public(n), 10)).to_vec()));
    chain.epoch = 1;
    assert_eq!(chain.call(1, &rotation(50, 51, 1)).0, Ok(()));
    let member = NEXT.read(&chain.state).unwrap().into_iter().find(|member| member.key == public(51)).unwrap();
    assert_eq!((member.id, member.rotated), (public(20), Some(Epoch(1))));
    for (n, retired) in [(20, Some(Epoch(0))), (50, Some(Epoch(1))), (51, None)] {
        let record = KEYS.read(&chain.state, &public(n)).unwrap().unwrap();
        assert_eq!((record.member, record.retired), (public(20), retired));
    }
}

#[test]
fn rotate_key_refuses_each_broken_rule() {
    let mut chain = Chain::new();
    let mut refused = |call: &RuntimeCall| chain.call(0, call).0;
    assert_eq!(refused(&rotation(20, 50, 1)), error(Error::WrongEpoch));
    assert_eq!(refused(&rotation(40, 50, 0)), error(Error::NotValidator));
    assert_eq!(refused(&rotation(20, 20, 0)), error(Error::KeyUsed));
    assert_eq!(refused(&rotation(20, 21, 0)), error(Error::KeyUsed));
    let other_chain = client::rotate_key(&key(20), &key(50), Epoch(0), &Hash([8; 32]));
    assert_eq!(refused(&other_chain), error(Error::BadProof));
    let rotate = |old: PublicKey, new: PublicKey, proof| {
        RuntimeCall::Validators(Call::rotate_key { old, new, epoch: Epoch(0), proof: Box::new(proof) })
    };
    let statement = KeyRotation { old: public(20), new: public(50), epoch: Epoch(0) };
    let mut proof = statement.prove(&key(20), &key(21), &GENESIS);
    assert_eq!(refused(&rotate(public(20), public(50), proof)), error(Error::BadProof), "the new key did not sign");
    proof = statement.prove(&key(21), &key(50), &GENESIS);
    assert_eq!(refused(&rotate(public(20), public(50), proof)), error(Error::BadProof), "the old key did not sign");
    let weak = PublicKey(std::array::from_fn(|place| u8::from(place == 0)));
    assert_eq!(refused(&rotate(public(20), weak, proof)), error(Error::WeakKey));
    assert_eq!(refused(&rotation(20, 50, 0)), Ok(()));
    assert_eq!(refused(&rotation(20, 50, 0)), error(Error::NotValidator), "a replay finds no such key");
    assert_eq!(refused(&rotation(50, 51, 0)), error(Error::RotatedAlready));
    assert_eq!(refused(&rotation(21, 20, 0)), error(Error::KeyUsed), "a retired key is not used again");
}

#[test]
fn rotate_key_back_to_a_retired_key_or_setting_it_fails() {
    let mut chain = Chain::new();
    assert_eq!(chain.call(0, &rotation(20, 50, 0)).0, Ok(()));
    assert_eq!(set(&mut chain, 20, 5), error(Error::KeyRetired));
    chain.epoch = 1;
    assert_eq!(chain.call(0, &rotation(50, 20, 1)).0, error(Error::KeyUsed));
}

#[test]
fn rotate_key_of_a_punished_member_fails() {
    let mut chain = Chain::new();
    for n in 20..24 {
        assert_eq!(run_report(&mut chain, &evidence(n)).0, Ok(()));
    }
    assert_eq!(chain.call(0, &rotation(23, 50, 0)).0, error(Error::Punished));
}

#[test]
fn report_of_a_rotated_key_punishes_its_member_for_epochs_in_which_it_voted() {
    let mut chain = Chain::new();
    assert_eq!(chain.call(0, &rotation(20, 50, 0)).0, Ok(()));
    chain.epoch = 1;
    // Whoever found the retired key cannot harm the member with it.
    assert_eq!(run_report(&mut chain, &evidence_for(20, 1, &GENESIS)).0, error(Error::KeyRetired));
    assert!(!is_punishable(&chain.state, &public(20), Epoch(1)).unwrap());
    let removed = Event::ValidatorSet { member: public(20), key: public(50), power: 0 };
    let (result, events) = run_report(&mut chain, &evidence_for(20, 0, &GENESIS));
    assert_eq!((result, events), (Ok(()), vec![punished(20, 20, 0), removed.into()]));
    assert_eq!(run_report(&mut chain, &evidence_for(50, 1, &GENESIS)).0, error(Error::AlreadyPunished));
    assert_eq!(next(&chain), sorted((21..24).map(|n| (public(n), 10)).collect()));
}

#[test]
fn genesis_with_validators_that_are_no_set_is_refused() {
    let build = |validators| genesis_state(&GenesisConfig { validators, ..GenesisConfig::default() });
    assert_eq!(build(vec![]), Err(GenesisError::Validators(ValidatorSetError::Empty)));
    let twice = vec![validators()[0], validators()[0]];
    assert_eq!(build(twice), Err(GenesisError::Validators(ValidatorSetError::Duplicate(public(20)))));
    let weak = vec![Validator { key: public(20), power: Power(0) }];
    assert_eq!(build(weak), Err(GenesisError::Validators(ValidatorSetError::NoPower(public(20)))));
}

#[test]
fn next_validators_of_a_state_without_a_set_is_an_error() {
    let state = std::collections::BTreeMap::new();
    assert!(next_validators(&state).unwrap_err().to_string().contains("no validators"));
}
