//! The state that a chain starts with.

use crate::modules::balances::{self, BalancesGenesisError};
use crate::modules::transaction_payment::{self, FeeParameters, FeeParametersError};
use crate::modules::validators;
use cairn_primitives::validator::ValidatorSetError;
use cairn_primitives::{AccountId32, Validator};
use std::collections::BTreeMap;

/// The part of a chain spec that becomes state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenesisConfig {
    /// Accounts and what they hold, in base units.
    pub balances: Vec<(AccountId32, u128)>,
    /// What transactions pay.
    pub fees: FeeParameters,
    /// The validators of the first epoch; at least one.
    pub validators: Vec<Validator>,
    /// The account that may set validators, if any.
    pub authority: Option<AccountId32>,
}

/// Why there is no such genesis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// The balances are wrong.
    #[error("balances: {0}")]
    Balances(#[from] BalancesGenesisError),
    /// The fee parameters are wrong.
    #[error("fees: {0}")]
    Fees(#[from] FeeParametersError),
    /// The validators are no set.
    #[error("validators: {0}")]
    Validators(#[from] ValidatorSetError),
}

/// The state of genesis: every key with its value.
///
/// # Errors
/// A module refuses its part of the configuration.
pub fn genesis_state(config: &GenesisConfig) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, GenesisError> {
    let mut state = BTreeMap::new();
    balances::build(&config.balances, &mut state)?;
    transaction_payment::build(&config.fees, &mut state)?;
    validators::build(&config.validators, config.authority, &mut state)?;
    Ok(state)
}
