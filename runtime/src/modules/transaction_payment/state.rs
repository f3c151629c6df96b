use super::FeeParametersError;
use crate::keys;
use crate::overlay::StorageValue;
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The whole, in thousandths.
pub const BURNT_PERMILLE_MAX: u16 = 1_000;

/// What transactions pay, in base units; part of the chain spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct FeeParameters {
    /// For any transaction.
    pub base: u128,
    /// For each byte of its encoding, the length prefix included.
    pub per_byte: u128,
    /// For each microsecond of its weight.
    pub per_microsecond: u128,
    /// The share of fees that is burnt, in thousandths; tips are not touched.
    pub burnt_permille: u16,
}

impl Default for FeeParameters {
    fn default() -> Self {
        Self { base: 100_000, per_byte: 1_000, per_microsecond: 1_000, burnt_permille: 500 }
    }
}

impl FeeParameters {
    /// Checks the ranges, within which no fee overflows.
    ///
    /// # Errors
    /// The burnt share is above the whole, or a price is above 2^64 - 1.
    pub fn check(&self) -> Result<(), FeeParametersError> {
        if self.burnt_permille > BURNT_PERMILLE_MAX {
            return Err(FeeParametersError::BurntShare(self.burnt_permille));
        }
        let prices = [("base", self.base), ("per_byte", self.per_byte), ("per_microsecond", self.per_microsecond)];
        match prices.into_iter().find(|(_, price)| *price > u128::from(u64::MAX)) {
            Some((field, actual)) => Err(FeeParametersError::Price { field, actual }),
            None => Ok(()),
        }
    }
}

/// The fee parameters. Written by genesis; never pruned.
pub(crate) const PARAMETERS: StorageValue<FeeParameters> =
    StorageValue::new("TransactionPayment.Parameters", keys::FEE_PARAMETERS);
