//! Fees: what they are, how they are taken and how they are shared out.

use super::{BURNT_PERMILLE_MAX, Event, FeeParameters};
use crate::dispatch::{DispatchResult, Fault, add, sub};
use crate::modules::balances::exec::{count_burnt, deposit, withdraw};
use crate::overlay::{AccountRef, Overlay};
use crate::weight::{PICOSECONDS_PER_MICROSECOND, Weight};
use cairn_primitives::AccountId32;
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The parts of a fee, in base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct InclusionFee {
    /// For being a transaction.
    pub base_fee: u128,
    /// For its length.
    pub len_fee: u128,
    /// For its weight.
    pub adjusted_weight_fee: u128,
}

impl InclusionFee {
    /// The fee of a transaction of `bytes` and `weight`; saturates, and then nobody can pay it.
    #[must_use]
    pub fn new(parameters: &FeeParameters, bytes: usize, weight: Weight) -> Self {
        let bytes = u128::try_from(bytes).unwrap_or(u128::MAX);
        let weight_fee = u128::from(weight.ref_time)
            .saturating_mul(parameters.per_microsecond)
            .div_ceil(u128::from(PICOSECONDS_PER_MICROSECOND));
        Self {
            base_fee: parameters.base,
            len_fee: bytes.saturating_mul(parameters.per_byte),
            adjusted_weight_fee: weight_fee,
        }
    }

    /// The fee without a tip.
    #[must_use]
    pub const fn total(&self) -> u128 {
        self.base_fee.saturating_add(self.len_fee).saturating_add(self.adjusted_weight_fee)
    }
}

/// What the transactions of a block paid and what is not shared out yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CollectedFees {
    to_proposer: u128,
    to_burn: u128,
}

/// Withdraws fee and tip and shares them between proposer and fire.
pub(crate) fn charge(
    overlay: &mut Overlay<'_>,
    collected: &mut CollectedFees,
    parameters: &FeeParameters,
    payer: AccountRef,
    fee: u128,
    tip: u128,
) -> DispatchResult {
    withdraw(overlay, payer, add(fee, tip)?)?;
    let burnt = burnt_share(fee, parameters.burnt_permille);
    let to_proposer = add(sub(fee, burnt)?, tip)?;
    *collected = CollectedFees {
        to_proposer: add(collected.to_proposer, to_proposer)?,
        to_burn: add(collected.to_burn, burnt)?,
    };
    Ok(())
}

/// The burnt part of a fee, rounded up.
fn burnt_share(fee: u128, permille: u16) -> u128 {
    let whole = u128::from(BURNT_PERMILLE_MAX);
    fee.saturating_mul(u128::from(permille)).div_ceil(whole).min(fee)
}

/// Gives the proposer its part and burns the rest, at the end of a block.
pub(crate) fn settle(overlay: &mut Overlay<'_>, proposer: &AccountId32, fees: CollectedFees) -> Result<(), Fault> {
    if fees.to_proposer == 0 && fees.to_burn == 0 {
        return Ok(());
    }
    let left = deposit(overlay, proposer, fees.to_proposer)?;
    let burnt = add(fees.to_burn, left)?;
    count_burnt(overlay, burnt)?;
    overlay.emit(Event::FeesSettled { proposer: *proposer, paid: sub(fees.to_proposer, left)?, burnt });
    Ok(())
}
