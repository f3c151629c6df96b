//! Every account has one handle, whoever comes to it first, and is read once.

use super::*;
use crate::modules::system::AccountData;
use parity_scale_codec::Encode;
use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Identifiers that differ in the first bytes, and others that do so in the last one alone.
fn id(number: u8) -> AccountId32 {
    let mut id = [number / 8; 32];
    id[31] = number;
    AccountId32(id)
}

fn info(number: u8) -> AccountInfo {
    AccountInfo { nonce: number.into(), data: AccountData { free: 7, ..AccountData::default() }, ..Default::default() }
}

/// Has the accounts with an even number, and notes what is read.
#[derive(Default)]
struct State(RefCell<Vec<Vec<u8>>>);

impl StateReader for State {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateReadError> {
        self.0.borrow_mut().push(key.to_vec());
        let number = *key.last().unwrap();
        Ok(number.is_multiple_of(2).then(|| info(number).encode()))
    }
}

proptest! {
    #[test]
    fn every_account_has_one_handle_and_is_read_once(
        before in vec(0..40_u8, 0..4),
        transactions in vec(vec(0..40_u8, 0..4), 0..30),
        strangers in vec(0..60_u8, 0..30),
        skips in any::<bool>(),
    ) {
        let (state, mut accounts) = (State::default(), Accounts::default());
        let mut handles = BTreeMap::new();
        let check = |accounts: &mut Accounts, handles: &mut BTreeMap<u8, AccountRef>, number: u8| {
            let found = accounts.load(&state, &id(number)).unwrap();
            assert_eq!(*handles.entry(number).or_insert(found), found, "account {number}");
            let cached = accounts.get(found).unwrap();
            assert_eq!(cached.id, id(number));
            assert_eq!(cached.key, keys::system_account(&id(number)));
            assert_eq!(cached.original, number.is_multiple_of(2).then(|| info(number)));
        };
        for number in before {
            check(&mut accounts, &mut handles, number);
        }
        accounts.prepare(&state, transactions.iter().map(|names| names.iter().copied().map(id))).unwrap();
        let read = state.0.borrow().len();
        for (place, names) in transactions.iter().enumerate().filter(|(place, _)| !skips || place % 3 > 0) {
            accounts.begin_transaction(place);
            for number in names {
                check(&mut accounts, &mut handles, *number);
            }
        }
        assert_eq!(state.0.borrow().len(), read, "what transactions name is read ahead");
        for number in strangers {
            check(&mut accounts, &mut handles, number);
        }
        accounts.begin_transaction(transactions.len());
        for names in transactions.iter().flatten() {
            check(&mut accounts, &mut handles, *names);
        }
        let keys = state.0.into_inner();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "an account is read twice");
        assert_eq!(accounts.all().len(), keys.len());
    }
}
