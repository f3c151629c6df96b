use super::{BURNT, EXISTENTIAL_DEPOSIT, TOTAL_ISSUANCE};
use crate::keys;
use crate::modules::system::{ACCOUNT_FLAGS_NEW_LOGIC, AccountData, AccountInfo};
use cairn_primitives::AccountId32;
use parity_scale_codec::Encode;
use std::collections::BTreeMap;

/// Why balances cannot be those of genesis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BalancesGenesisError {
    /// An account is listed twice.
    #[error("account {0:?} is listed twice: give it one balance")]
    Twice(AccountId32),
    /// An amount is below the existential deposit.
    #[error("account {account:?} has {amount}, below the existential deposit of {EXISTENTIAL_DEPOSIT}")]
    BelowExistentialDeposit {
        /// The account.
        account: AccountId32,
        /// Its balance.
        amount: u128,
    },
    /// The sum of the balances is no u128.
    #[error("the sum of all balances exceeds the largest amount, 2^128 - 1")]
    Overflow,
}

/// Writes the accounts and the issuance of genesis.
pub(crate) fn build(
    balances: &[(AccountId32, u128)],
    state: &mut BTreeMap<Vec<u8>, Vec<u8>>,
) -> Result<(), BalancesGenesisError> {
    let mut issuance = 0u128;
    for &(account, amount) in balances {
        if amount < EXISTENTIAL_DEPOSIT {
            return Err(BalancesGenesisError::BelowExistentialDeposit { account, amount });
        }
        issuance = issuance.checked_add(amount).ok_or(BalancesGenesisError::Overflow)?;
        let data = AccountData { free: amount, flags: ACCOUNT_FLAGS_NEW_LOGIC, ..AccountData::default() };
        let info = AccountInfo { providers: 1, data, ..AccountInfo::default() };
        if state.insert(keys::system_account(&account).to_vec(), info.encode()).is_some() {
            return Err(BalancesGenesisError::Twice(account));
        }
    }
    state.insert(TOTAL_ISSUANCE.key().to_vec(), issuance.encode());
    state.insert(BURNT.key().to_vec(), 0u128.encode());
    Ok(())
}
