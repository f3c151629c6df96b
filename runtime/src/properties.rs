//! Properties of whole blocks under random transactions.

use crate::modules::balances::EXISTENTIAL_DEPOSIT;
use crate::testing::{Chain, id, signed};
use crate::weight::BLOCK_WEIGHT_MAX;
use crate::{AccountInfo, FeeParameters, Phase, RuntimeCall, RuntimeEvent, client, execute_block, keys};
use cairn_primitives::AccountId32;
use parity_scale_codec::{Decode, Encode};
use proptest::prelude::*;

/// Accounts 0 to 3 are funded, the others may come to life; 9 proposes and sends too.
const ACCOUNTS: [u8; 7] = [0, 1, 2, 3, 4, 5, 9];

fn amount() -> impl Strategy<Value = u128> {
    prop_oneof![
        3 => 0..5 * EXISTENTIAL_DEPOSIT,
        3 => Just(EXISTENTIAL_DEPOSIT),
        3 => 1_000_000_000u128..1_000_000_000_000,
        1 => any::<u128>(),
    ]
}

fn receiver() -> impl Strategy<Value = AccountId32> {
    proptest::sample::select(&ACCOUNTS[..]).prop_map(id)
}

fn simple_call() -> impl Strategy<Value = RuntimeCall> {
    prop_oneof![
        4 => (receiver(), amount()).prop_map(|(to, value)| client::transfer_allow_death(to, value)),
        4 => (receiver(), amount()).prop_map(|(to, value)| client::transfer_keep_alive(to, value)),
        2 => (receiver(), any::<bool>()).prop_map(|(to, keep_alive)| client::transfer_all(to, keep_alive)),
        1 => (amount(), any::<bool>()).prop_map(|(value, keep_alive)| client::burn(value, keep_alive)),
        1 => Just(client::remark_with_event(vec![1; 40])),
    ]
}

fn any_call() -> impl Strategy<Value = RuntimeCall> {
    simple_call().prop_recursive(3, 12, 4, |inner| {
        (proptest::collection::vec(inner, 0..4), any::<bool>())
            .prop_map(|(calls, all)| if all { client::batch_all(calls) } else { client::batch(calls) })
    })
}

/// Sender, tip, what is added to the nonce, call.
type Planned = (u8, u128, u32, RuntimeCall);

fn planned() -> impl Strategy<Value = Planned> {
    let sender = proptest::sample::select(&ACCOUNTS[..]);
    let tip = prop_oneof![4 => 0..10_000_000u128, 1 => amount()];
    let nonce_offset = prop_oneof![9 => Just(0u32), 1 => 1..3u32];
    (sender, tip, nonce_offset, any_call())
}

fn check_invariants(chain: &Chain, issued: u128) {
    let issuance = chain.number(&keys::BALANCES_TOTAL_ISSUANCE);
    let burnt = chain.number(&keys::BALANCES_BURNT);
    assert_eq!(issuance, chain.sum_of_balances(), "TotalIssuance is the sum of all balances");
    assert_eq!(issuance + burnt, issued, "TotalIssuance plus Burnt is the issuance of genesis");
    for (key, value) in &chain.state {
        if keys::parse_system_account(key).is_some() {
            let info = AccountInfo::decode(&mut &value[..]).unwrap();
            assert!(info.data.free == 0 || info.data.free >= EXISTENTIAL_DEPOSIT);
            assert_eq!(info.is_alive(), info.data.free > 0);
            assert!(info.is_alive() || info.nonce > 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Total issuance equals the sum of balances, and with what was burnt the issuance of genesis, after every block.
    #[test]
    fn issuance_after_every_block_is_conserved(
        blocks in proptest::collection::vec(proptest::collection::vec(planned(), 0..8), 1..6),
        burnt_permille in 0u16..=1_000,
    ) {
        let mut chain = Chain::with_fees(FeeParameters { burnt_permille, ..FeeParameters::default() });
        let issued = chain.number(&keys::BALANCES_TOTAL_ISSUANCE);
        for block in blocks {
            let mut nonces = std::collections::BTreeMap::new();
            let mut candidates = Vec::new();
            for (sender, tip, offset, call) in block {
                let nonce = nonces.entry(sender).or_insert_with(|| chain.account(sender).nonce);
                candidates.push(signed(sender, *nonce + offset, tip, &call));
                *nonce += 1;
            }
            let built = chain.build(&candidates, usize::MAX, BLOCK_WEIGHT_MAX);
            prop_assert_eq!(built.transactions.len() + built.rejected.len(), candidates.len() + 1);
            // What one node builds, every other one executes to the same result.
            let executed = execute_block(&chain.state, &chain.context(), &built.transactions).unwrap();
            prop_assert_eq!(&executed.changes, &built.outcome.changes);
            prop_assert_eq!(executed.events.encode(), built.outcome.events.encode());
            prop_assert_eq!(&executed.results, &built.outcome.results);
            check_last_events(&executed);
            chain.commit(&executed);
            check_invariants(&chain, issued);
        }
    }
}

/// The last event of each extrinsic says how it ended, and no other one does.
fn check_last_events(outcome: &crate::BlockOutcome) {
    use crate::modules::system::Event;
    for (index, result) in (0u32..).zip(&outcome.results) {
        let events: Vec<_> =
            outcome.events.iter().filter(|r| r.phase == Phase::ApplyExtrinsic(index)).map(|r| &r.event).collect();
        let ends: Vec<_> = events
            .iter()
            .enumerate()
            .filter(|(_, event)| {
                matches!(event, RuntimeEvent::System(Event::ExtrinsicSuccess { .. } | Event::ExtrinsicFailed { .. }))
            })
            .collect();
        assert_eq!(ends.len(), 1);
        assert_eq!(ends[0].0, events.len() - 1);
        match (result, ends[0].1) {
            (Ok(()), RuntimeEvent::System(Event::ExtrinsicSuccess { .. })) => {}
            (Err(error), RuntimeEvent::System(Event::ExtrinsicFailed { dispatch_error, .. })) => {
                assert_eq!(error, dispatch_error);
            }
            other => panic!("result and last event differ: {other:?}"),
        }
    }
}
