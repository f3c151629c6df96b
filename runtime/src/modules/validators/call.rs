#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use super::RotationProof;
use crate::weight::{REPORT_EQUIVOCATION, ROTATE_KEY, SET_VALIDATOR, Weight};
use cairn_primitives::{Epoch, Evidence, PublicKey};
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The calls of Validators.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(non_camel_case_types, reason = "call names are lower case in metadata")]
pub enum Call {
    /// Takes the power of a validator that signed two things which exclude each other, from the next epoch on. Only the
    /// block itself does this, right after `Timestamp.set`; evidence that proves nothing makes the block invalid.
    #[codec(index = 0)]
    report_equivocation {
        /// The proof.
        evidence: Box<Evidence>,
    },
    /// Adds a validator, changes its power, or removes it with a power of zero, from the next epoch on. Only for the
    /// account that the chain spec names.
    #[codec(index = 1)]
    set_validator {
        /// The key it votes with.
        key: PublicKey,
        /// Its power.
        #[codec(compact)]
        power: u64,
    },
    /// Replaces a validator's key from the next epoch on. Any account may carry it: the two keys sign.
    #[codec(index = 2)]
    rotate_key {
        /// The key it votes with now.
        old: PublicKey,
        /// The key it will vote with; never used before.
        new: PublicKey,
        /// The epoch in which this is valid.
        epoch: Epoch,
        /// The signatures of both keys.
        proof: Box<RotationProof>,
    },
}

impl Call {
    pub(crate) const fn weight(&self) -> Weight {
        match self {
            Self::report_equivocation { .. } => REPORT_EQUIVOCATION,
            Self::set_validator { .. } => SET_VALIDATOR,
            Self::rotate_key { .. } => ROTATE_KEY,
        }
    }
}
