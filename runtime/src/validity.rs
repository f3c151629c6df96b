//! What the mempool asks about a transaction before it keeps it.

use crate::BLOCK_HASH_COUNT;
use crate::invalid::{InvalidTransaction, ValidateError};
use crate::keys;
use crate::modules::balances::EXISTENTIAL_DEPOSIT;
use crate::modules::system::AccountInfo;
use crate::modules::timestamp;
use crate::modules::transaction_payment::{FeeParameters, InclusionFee, PARAMETERS};
use crate::rules::{Rules, RulesSchedule};
use crate::state::{StateReadError, StateReader};
use crate::transaction::Transaction;
use crate::weight::{BLOCK_WEIGHT_MAX, Weight};
use cairn_primitives::extrinsic::{Era, SignedPart};
use cairn_primitives::{AccountId32, Height};

/// What a pool needs to know of a transaction and its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The sender's next nonce in the state; the transaction's is not below it.
    pub account_nonce: u32,
    /// What the sender can spend on fees without dying, in base units.
    pub spendable: u128,
    /// What the transaction takes from `spendable` for certain: fee and tip, in base units. What its call moves is not
    /// in it: a transfer beyond the balance fails in its block and pays.
    pub cost_max: u128,
    /// The tip, in base units.
    pub priority: u128,
    /// The last height at which it may be in a block.
    pub valid_until: Height,
    /// Its weight.
    pub weight: Weight,
}

/// What the checks of a signed transaction found.
pub(crate) struct Admission {
    /// The fee without the tip.
    pub(crate) fee: u128,
    /// The sender's nonce after it.
    pub(crate) next_nonce: u32,
}

/// What judging a transaction for the pool takes besides the transaction: read once for many.
#[derive(Clone, Copy, Debug)]
pub struct Admittance {
    parameters: FeeParameters,
    next_height: Height,
    rules: Rules,
    /// The last height under these rules: they are part of what a transaction signs.
    rules_until: Height,
}

impl Admittance {
    /// What counts in `state` for a block at `next_height`.
    ///
    /// # Errors
    /// The state cannot be read, or this binary does not have the rules of that block.
    pub fn read(
        state: &dyn StateReader,
        next_height: Height,
        schedule: &RulesSchedule,
    ) -> Result<Self, StateReadError> {
        let rules = schedule.at(next_height).map_err(StateReadError::new)?;
        Ok(Self {
            parameters: PARAMETERS.read(state)?,
            next_height,
            rules,
            rules_until: schedule.last_like(next_height),
        })
    }

    /// As [`validate`], in the same state.
    ///
    /// # Errors
    /// As [`validate`].
    pub fn validate(&self, state: &dyn StateReader, transaction: &Transaction) -> Result<Validity, ValidateError> {
        let signed = transaction.signed().ok_or(InvalidTransaction::Unsigned)?;
        let valid_until = last_height(&signed.extra.era, self.next_height)?;
        let block_weight = timestamp::Call::set { now: 0 }.weight().saturating_add(transaction.weight());
        if !block_weight.fits(BLOCK_WEIGHT_MAX) {
            return Err(InvalidTransaction::ExhaustsResources { resource: "weight" }.into());
        }
        let info = account(state, &signed.signer)?;
        let Admission { fee, .. } = check_signed(transaction, signed, &info, (&self.parameters, self.rules))?;
        Ok(Validity {
            account_nonce: info.nonce,
            spendable: info.spendable(EXISTENTIAL_DEPOSIT),
            cost_max: fee.saturating_add(signed.extra.tip),
            priority: signed.extra.tip,
            valid_until: valid_until.min(self.rules_until),
            weight: transaction.weight(),
        })
    }
}

/// Judges a transaction for a block at `next_height`; its signature is not looked at, and a nonce ahead of the sender's
/// is no fault.
///
/// # Errors
/// The transaction is stale, unaffordable, too old, too heavy or unsigned; or the state cannot be read.
pub fn validate(
    state: &dyn StateReader,
    transaction: &Transaction,
    next_height: Height,
    schedule: &RulesSchedule,
) -> Result<Validity, ValidateError> {
    Admittance::read(state, next_height, schedule)?.validate(state, transaction)
}

/// The account in `state`; all zero where there is none.
///
/// # Errors
/// The state cannot be read.
pub fn account(state: &dyn StateReader, id: &AccountId32) -> Result<AccountInfo, StateReadError> {
    Ok(AccountInfo::parse(state.get(&keys::system_account(id))?.as_deref())?.unwrap_or_default())
}

/// The checks that hold in a pool as well as in a block: sender, stale nonce, payment.
pub(crate) fn check_signed(
    transaction: &Transaction,
    signed: &SignedPart,
    info: &AccountInfo,
    (parameters, rules): (&FeeParameters, Rules),
) -> Result<Admission, InvalidTransaction> {
    if transaction.since() > rules {
        let (since, now) = (transaction.since().spec_version(), rules.spec_version());
        return Err(InvalidTransaction::Malformed {
            reason: format!("a call of it exists from rules {since} on, not in {now}"),
        });
    }
    if signed.signer.0 == [0; 32] {
        return Err(InvalidTransaction::BadSigner);
    }
    let (expected, actual) = (info.nonce, signed.extra.nonce);
    if actual < expected {
        return Err(InvalidTransaction::Stale { expected, actual });
    }
    // The last nonce is never used: there would be none after it.
    let next_nonce = actual.checked_add(1).ok_or(InvalidTransaction::Future { expected, actual })?;
    let fee = InclusionFee::new(parameters, transaction.encoded_len(), transaction.weight()).total();
    let needed = fee.saturating_add(signed.extra.tip);
    let available = info.spendable(EXISTENTIAL_DEPOSIT);
    if needed > available {
        return Err(InvalidTransaction::Payment { needed, available });
    }
    Ok(Admission { fee, next_nonce })
}

/// The last height of the era that contains `next_height`.
fn last_height(era: &Era, next_height: Height) -> Result<Height, InvalidTransaction> {
    let next = u64::from(next_height.0);
    if *era == Era::Immortal {
        return Ok(Height(u32::MAX));
    }
    let birth = era.birth(next);
    if birth >= next || next.saturating_sub(birth) > u64::from(BLOCK_HASH_COUNT) {
        return Err(InvalidTransaction::AncientBirthBlock);
    }
    let last = era.death(next).saturating_sub(1).min(birth.saturating_add(u64::from(BLOCK_HASH_COUNT)));
    Ok(Height(u32::try_from(last).unwrap_or(u32::MAX)))
}

#[cfg(test)]
mod tests;
