#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use cairn_primitives::AccountId32;
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The events of TransactionPayment; amounts are in base units.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Event {
    /// A transaction paid.
    #[codec(index = 0)]
    TransactionFeePaid {
        /// Who paid.
        who: AccountId32,
        /// How much, the tip included.
        actual_fee: u128,
        /// The tip in it.
        tip: u128,
    },
    /// The fees of a block were shared out; at the end of a block that took any.
    #[codec(index = 1)]
    FeesSettled {
        /// Who proposed the block.
        proposer: AccountId32,
        /// What the proposer received.
        paid: u128,
        /// What was burnt.
        burnt: u128,
    },
}
