//! Validator sets and the arithmetic of their power.

use crate::codec::decode_bounded;
use crate::crypto::PublicKey;
use crate::hash::{Hash, sha256_concat};
use crate::number::Power;
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;
use std::fmt;

/// The most validators a set may have: bounds certificates at about 16 KiB.
pub const VALIDATORS_MAX: usize = 256;

/// The most power a set may have in total, so that sums never overflow.
pub const TOTAL_POWER_MAX: u64 = u64::MAX / 4;

/// A validator's place in its set, counted from 0 in the order of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, TypeInfo)]
pub struct ValidatorIndex(pub u16);

impl ValidatorIndex {
    /// The index as a position in a slice.
    #[must_use]
    pub const fn position(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ValidatorIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Validator {
    /// The consensus key.
    pub key: PublicKey,
    /// The voting power, above zero.
    pub power: Power,
}

/// A fixed set of validators, sorted by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorSet {
    validators: Vec<Validator>,
    total: Power,
}

/// Why a list of validators is not a set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValidatorSetError {
    /// No validators.
    #[error("a validator set needs at least one validator")]
    Empty,
    /// More than [`VALIDATORS_MAX`].
    #[error("{0} validators, at most {VALIDATORS_MAX} are allowed")]
    TooMany(usize),
    /// A key twice.
    #[error("validator {0} is listed twice")]
    Duplicate(PublicKey),
    /// A validator without power.
    #[error("validator {0} has no power; power must be at least 1")]
    NoPower(PublicKey),
    /// More than [`TOTAL_POWER_MAX`] together.
    #[error("the validators' power adds up to more than {TOTAL_POWER_MAX}")]
    TooMuchPower,
}

impl ValidatorSet {
    /// Sorts the validators by key and checks them.
    ///
    /// # Errors
    /// The list is empty, too long, names a key twice, has a member without power or too much power in total.
    pub fn new(mut validators: Vec<Validator>) -> Result<Self, ValidatorSetError> {
        if validators.is_empty() {
            return Err(ValidatorSetError::Empty);
        }
        if validators.len() > VALIDATORS_MAX {
            return Err(ValidatorSetError::TooMany(validators.len()));
        }
        validators.sort_by_key(|validator| validator.key);
        let mut total = 0u64;
        let mut previous = None;
        for validator in &validators {
            if previous == Some(validator.key) {
                return Err(ValidatorSetError::Duplicate(validator.key));
            }
            if validator.power == Power::ZERO {
                return Err(ValidatorSetError::NoPower(validator.key));
            }
            previous = Some(validator.key);
            total = total
                .checked_add(validator.power.0)
                .filter(|total| *total <= TOTAL_POWER_MAX)
                .ok_or(ValidatorSetError::TooMuchPower)?;
        }
        Ok(Self { validators, total: Power(total) })
    }

    /// The power of all together, W.
    #[must_use]
    pub const fn total_power(&self) -> Power {
        self.total
    }

    /// The power that makes a certificate: W - floor((W - 1) / 3).
    #[must_use]
    pub const fn quorum(&self) -> Power {
        Power(self.total.0.saturating_sub(self.total.0.saturating_sub(1) / 3))
    }

    /// The validators in the order of their keys.
    #[must_use]
    pub fn validators(&self) -> &[Validator] {
        &self.validators
    }

    /// How many there are.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a set is never empty")]
    pub fn len(&self) -> usize {
        self.validators.len()
    }

    /// The validator at `index`.
    #[must_use]
    pub fn get(&self, index: ValidatorIndex) -> Option<&Validator> {
        self.validators.get(index.position())
    }

    /// The place of `key`.
    #[must_use]
    pub fn index_of(&self, key: &PublicKey) -> Option<ValidatorIndex> {
        let position = self.validators.binary_search_by_key(key, |validator| validator.key).ok()?;
        u16::try_from(position).ok().map(ValidatorIndex)
    }

    /// All places, in order.
    pub fn indices(&self) -> impl Iterator<Item = ValidatorIndex> + use<> {
        (0..u16::try_from(self.validators.len()).unwrap_or(u16::MAX)).map(ValidatorIndex)
    }

    /// SHA-256 over a domain tag and the encoded list: what headers commit to.
    #[must_use]
    pub fn hash(&self) -> Hash {
        sha256_concat(&[b"cairn/validators/1", &self.validators.encode()])
    }
}

impl Encode for ValidatorSet {
    fn encode_to<T: parity_scale_codec::Output + ?Sized>(&self, dest: &mut T) {
        self.validators.encode_to(dest);
    }
}

impl Decode for ValidatorSet {
    fn decode<I: parity_scale_codec::Input>(input: &mut I) -> Result<Self, parity_scale_codec::Error> {
        let validators: Vec<Validator> = decode_bounded(input, VALIDATORS_MAX, "validator set: too many validators")?;
        // `new` would put them in order; bytes that are hashed have one order only.
        if !validators.is_sorted_by_key(|validator| validator.key) {
            return Err("validator set: not sorted by key".into());
        }
        Self::new(validators).map_err(|_| "validator set: not a set".into())
    }
}

#[cfg(test)]
mod tests;
