//! Tests of Balances.

use super::{BalancesGenesisError, Call, EXISTENTIAL_DEPOSIT, Error, Event};
use crate::modules::system::Event as SystemEvent;
use crate::modules::{RuntimeCall, RuntimeEvent};
use crate::testing::{Chain, ENDOWMENT, fee, id, module_error};
use crate::{DispatchError, GenesisConfig, GenesisError, RuntimeError, client, genesis_state, keys};
use cairn_primitives::MultiAddress;

fn error(error: Error) -> Result<(), DispatchError> {
    module_error(RuntimeError::Balances(error))
}

fn transfer_event(from: u8, to: u8, amount: u128) -> RuntimeEvent {
    Event::Transfer { from: id(from), to: id(to), amount }.into()
}

#[test]
fn transfer_keep_alive_moves_the_amount_and_takes_the_fee() {
    let mut chain = Chain::new();
    let call = client::transfer_keep_alive(id(1), 5_000_000);
    let fee = fee(&chain.tx(0, &call));
    let (result, events) = chain.call(0, &call);
    assert_eq!((result, events), (Ok(()), vec![transfer_event(0, 1, 5_000_000)]));
    assert_eq!(chain.free(0), ENDOWMENT - 5_000_000 - fee);
    assert_eq!(chain.free(1), ENDOWMENT + 5_000_000);
}

#[test]
fn transfer_beyond_the_balance_fails_with_insufficient_balance_and_pays() {
    let mut chain = Chain::new();
    for call in [client::transfer_keep_alive(id(1), 10u128.pow(30)), client::transfer_allow_death(id(1), ENDOWMENT)] {
        let before = chain.free(0);
        let fee = fee(&chain.tx(0, &call));
        let (result, events) = chain.call(0, &call);
        assert_eq!((result, events.len()), (error(Error::InsufficientBalance), 0));
        assert_eq!(chain.free(0), before - fee);
    }
    assert_eq!(chain.free(1), ENDOWMENT);
    assert_eq!(chain.account(0).nonce, 2);
}

#[test]
fn transfer_of_less_than_the_deposit_to_nobody_fails_with_existential_deposit() {
    let mut chain = Chain::new();
    let (result, _) = chain.call(0, &client::transfer_keep_alive(id(7), EXISTENTIAL_DEPOSIT - 1));
    assert_eq!(result, error(Error::ExistentialDeposit));
    let (result, events) = chain.call(0, &client::transfer_keep_alive(id(7), EXISTENTIAL_DEPOSIT));
    assert_eq!(result, Ok(()));
    let expected: [RuntimeEvent; 3] = [
        SystemEvent::NewAccount { account: id(7) }.into(),
        Event::Endowed { account: id(7), free_balance: EXISTENTIAL_DEPOSIT }.into(),
        transfer_event(0, 7, EXISTENTIAL_DEPOSIT),
    ];
    assert_eq!(events, expected);
    assert!(chain.account(7).is_alive());
}

#[test]
fn transfer_keep_alive_of_nearly_all_fails_with_expendability() {
    let mut chain = Chain::new();
    let probe = client::transfer_keep_alive(id(1), ENDOWMENT - 400_000);
    let fee = fee(&chain.tx(0, &probe));
    let (result, _) = chain.call(0, &client::transfer_keep_alive(id(1), ENDOWMENT - fee - EXISTENTIAL_DEPOSIT + 1));
    assert_eq!(result, error(Error::Expendability));
}

#[test]
fn transfer_of_frozen_balance_fails_with_liquidity_restrictions() {
    let mut chain = Chain::new();
    let mut info = chain.account(0);
    info.data.frozen = ENDOWMENT - 50_000_000;
    chain.set_account(0, &info);
    let (result, _) = chain.call(0, &client::transfer_allow_death(id(1), 60_000_000));
    assert_eq!(result, error(Error::LiquidityRestrictions));
    let (result, _) = chain.call(0, &client::transfer_allow_death(id(1), 40_000_000));
    assert_eq!(result, Ok(()));
}

#[test]
fn transfer_allow_death_to_dust_burns_the_rest_and_keeps_the_nonce() {
    let mut chain = Chain::new();
    let call = client::transfer_allow_death(id(1), ENDOWMENT - 1_000_000);
    let dust = 1_000_000 - fee(&chain.tx(0, &call));
    let (result, events) = chain.call(0, &call);
    assert_eq!(result, Ok(()));
    assert!(events.contains(&SystemEvent::KilledAccount { account: id(0) }.into()));
    assert!(events.contains(&Event::DustLost { account: id(0), amount: dust }.into()));
    let account = chain.account(0);
    assert_eq!((account.nonce, account.data.free, account.providers), (1, 0, 0));
    assert!(chain.number(&keys::BALANCES_BURNT) >= dust);
}

#[test]
fn transfer_to_oneself_changes_nothing_but_still_needs_the_amount() {
    let mut chain = Chain::new();
    let call = client::transfer_keep_alive(id(0), 5_000_000);
    let fee = fee(&chain.tx(0, &call));
    assert_eq!(chain.call(0, &call).1, [transfer_event(0, 0, 5_000_000)]);
    assert_eq!(chain.free(0), ENDOWMENT - fee);
    let (result, _) = chain.call(0, &client::transfer_keep_alive(id(0), ENDOWMENT));
    assert_eq!(result, error(Error::InsufficientBalance));
}

#[test]
fn transfer_to_an_address_that_is_no_id_fails_with_cannot_lookup() {
    let mut chain = Chain::new();
    for dest in [
        MultiAddress::Index(1),
        MultiAddress::Raw(vec![1]),
        MultiAddress::Address32([1; 32]),
        MultiAddress::Address20([1; 20]),
    ] {
        let call = RuntimeCall::Balances(Call::transfer_keep_alive { dest, value: 5_000_000 });
        assert_eq!(chain.call(0, &call).0, Err(DispatchError::CannotLookup));
    }
}

#[test]
fn transfer_overflowing_the_receiver_fails_with_overflow() {
    let mut chain = Chain::new();
    let mut info = chain.account(1);
    info.data.free = u128::MAX - 10;
    chain.set_account(1, &info);
    let (result, _) = chain.call(0, &client::transfer_keep_alive(id(1), 11));
    assert_eq!(result, Err(DispatchError::Arithmetic(crate::ArithmeticError::Overflow)));
}

#[test]
fn transfer_all_without_keep_alive_empties_the_account() {
    let mut chain = Chain::new();
    let call = client::transfer_all(id(1), false);
    let fee = fee(&chain.tx(0, &call));
    assert_eq!(chain.call(0, &call).0, Ok(()));
    assert_eq!((chain.free(0), chain.free(1)), (0, 2 * ENDOWMENT - fee));
}

#[test]
fn transfer_all_with_keep_alive_leaves_the_deposit() {
    let mut chain = Chain::new();
    assert_eq!(chain.call(0, &client::transfer_all(id(1), true)).0, Ok(()));
    assert_eq!(chain.free(0), EXISTENTIAL_DEPOSIT);
}

#[test]
fn burn_lowers_the_issuance_and_counts() {
    let mut chain = Chain::new();
    let before = chain.number(&keys::BALANCES_TOTAL_ISSUANCE);
    let (result, events) = chain.call(0, &client::burn(77_000_000, true));
    assert_eq!((result, events), (Ok(()), vec![Event::Burned { who: id(0), amount: 77_000_000 }.into()]));
    assert!(chain.number(&keys::BALANCES_BURNT) >= 77_000_000);
    assert_eq!(chain.number(&keys::BALANCES_TOTAL_ISSUANCE) + chain.number(&keys::BALANCES_BURNT), before);
}

#[test]
fn burn_beyond_the_balance_fails_with_insufficient_balance() {
    let mut chain = Chain::new();
    assert_eq!(chain.call(0, &client::burn(ENDOWMENT, false)).0, error(Error::InsufficientBalance));
}

#[test]
fn burn_of_nearly_all_with_keep_alive_fails_with_expendability() {
    let mut chain = Chain::new();
    assert_eq!(chain.call(0, &client::burn(ENDOWMENT - 900_000, true)).0, error(Error::Expendability));
}

#[test]
fn burn_of_frozen_balance_fails_with_liquidity_restrictions() {
    let mut chain = Chain::new();
    let mut info = chain.account(0);
    info.data.frozen = ENDOWMENT - 50_000_000;
    chain.set_account(0, &info);
    assert_eq!(chain.call(0, &client::burn(60_000_000, false)).0, error(Error::LiquidityRestrictions));
}

#[test]
fn account_killed_and_funded_again_refuses_its_old_transactions() {
    let mut chain = Chain::new();
    let replayed = chain.tx(0, &client::transfer_all(id(1), false));
    chain.run(std::slice::from_ref(&replayed));
    assert_eq!(chain.call(1, &client::transfer_keep_alive(id(0), 50_000_000)).0, Ok(()));
    assert!(chain.account(0).is_alive());
    let stale = crate::InvalidTransaction::Stale { expected: 1, actual: 0 };
    assert!(matches!(
        chain.execute(&[replayed]),
        Err(crate::BlockError::Invalid { source, .. }) if source == stale
    ));
}

#[test]
fn account_that_never_sent_leaves_no_record_when_it_dies() {
    use crate::dispatch::Origin;
    let chain = Chain::new();
    let context = chain.context();
    let mut overlay = crate::overlay::Overlay::new(&chain.state, &context);
    client::transfer_all(id(1), false).dispatch(&mut overlay, Origin::Signed(id(0))).unwrap();
    let (changes, _) = overlay.finish();
    assert_eq!(changes.get(&keys::system_account(&id(0))), Some(None));
}

#[test]
fn genesis_with_bad_balances_is_refused() {
    let build = |balances| genesis_state(&GenesisConfig { balances, ..GenesisConfig::default() });
    let twice = BalancesGenesisError::Twice(id(0));
    assert_eq!(build(vec![(id(0), ENDOWMENT), (id(0), ENDOWMENT)]), Err(GenesisError::Balances(twice)));
    let low = BalancesGenesisError::BelowExistentialDeposit { account: id(0), amount: 5 };
    assert_eq!(build(vec![(id(0), 5)]), Err(GenesisError::Balances(low)));
    let overflow = GenesisError::Balances(BalancesGenesisError::Overflow);
    assert_eq!(build(vec![(id(0), u128::MAX), (id(1), ENDOWMENT)]), Err(overflow));
}
