#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The errors of Balances; names and indices as wallets know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Error {
    /// Not in use: some clients look an error up by its place in the list, so the list has no gaps.
    #[codec(index = 0)]
    VestingBalance,
    /// Part of the sender's balance is frozen and may not leave the account.
    #[codec(index = 1)]
    LiquidityRestrictions,
    /// The sender's free balance is too low.
    #[codec(index = 2)]
    InsufficientBalance,
    /// The amount is too low to create an account: less than the existential deposit.
    #[codec(index = 3)]
    ExistentialDeposit,
    /// The sender would be left with less than the existential deposit, and asked to be kept alive.
    #[codec(index = 4)]
    Expendability,
}
