#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use cairn_primitives::AccountId32;
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The events of Balances; amounts are in base units.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Event {
    /// An account came to hold a balance.
    #[codec(index = 0)]
    Endowed {
        /// The account.
        account: AccountId32,
        /// Its first balance.
        free_balance: u128,
    },
    /// An account's rest below the existential deposit was burnt.
    #[codec(index = 1)]
    DustLost {
        /// The account.
        account: AccountId32,
        /// What was lost.
        amount: u128,
    },
    /// A transfer went through.
    #[codec(index = 2)]
    Transfer {
        /// Who sent.
        from: AccountId32,
        /// Who received.
        to: AccountId32,
        /// How much.
        amount: u128,
    },
    /// A proposer received the fees of a block.
    #[codec(index = 7)]
    Deposit {
        /// Who received.
        who: AccountId32,
        /// How much.
        amount: u128,
    },
    /// A fee was taken.
    #[codec(index = 8)]
    Withdraw {
        /// Who paid.
        who: AccountId32,
        /// How much.
        amount: u128,
    },
    /// An account destroyed part of its balance.
    #[codec(index = 11)]
    Burned {
        /// The account.
        who: AccountId32,
        /// How much.
        amount: u128,
    },
}
