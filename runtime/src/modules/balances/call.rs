#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use crate::weight::{BURN, TRANSFER, Weight};
use cairn_primitives::{AccountId32, MultiAddress};
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The calls of Balances.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(non_camel_case_types, reason = "call names are lower case in metadata")]
pub enum Call {
    /// Transfers an amount; a sender left with less than the existential deposit loses the rest and its account.
    #[codec(index = 0)]
    transfer_allow_death {
        /// Who receives.
        dest: MultiAddress,
        /// How much, in base units.
        #[codec(compact)]
        value: u128,
    },
    /// Transfers an amount; refused where it would leave the sender with less than the existential deposit.
    #[codec(index = 3)]
    transfer_keep_alive {
        /// Who receives.
        dest: MultiAddress,
        /// How much, in base units.
        #[codec(compact)]
        value: u128,
    },
    /// Transfers everything that can be spent.
    #[codec(index = 4)]
    transfer_all {
        /// Who receives.
        dest: MultiAddress,
        /// Whether the existential deposit stays with the sender.
        keep_alive: bool,
    },
    /// Destroys an amount of the sender's.
    #[codec(index = 10)]
    burn {
        /// How much, in base units.
        #[codec(compact)]
        value: u128,
        /// Whether to refuse where the sender would be left with less than the existential deposit.
        keep_alive: bool,
    },
}

impl Call {
    pub(crate) const fn recipient(&self) -> Option<AccountId32> {
        match self {
            Self::transfer_allow_death { dest: MultiAddress::Id(id), .. }
            | Self::transfer_keep_alive { dest: MultiAddress::Id(id), .. }
            | Self::transfer_all { dest: MultiAddress::Id(id), .. } => Some(*id),
            Self::transfer_allow_death { .. }
            | Self::transfer_keep_alive { .. }
            | Self::transfer_all { .. }
            | Self::burn { .. } => None,
        }
    }

    pub(crate) const fn weight(&self) -> Weight {
        match self {
            Self::transfer_allow_death { .. } | Self::transfer_keep_alive { .. } | Self::transfer_all { .. } => {
                TRANSFER
            }
            Self::burn { .. } => BURN,
        }
    }
}
