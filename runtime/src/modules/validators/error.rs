#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The errors of Validators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Error {
    /// The caller is not the account that the chain spec names, or it names none.
    #[codec(index = 0)]
    NotAuthority,
    /// No validator of the next epoch has this key.
    #[codec(index = 1)]
    NotValidator,
    /// The key never belonged to a validator.
    #[codec(index = 2)]
    UnknownKey,
    /// The key was replaced before the epoch in question, and is never used again.
    #[codec(index = 3)]
    KeyRetired,
    /// The new key belongs or belonged to a validator.
    #[codec(index = 4)]
    KeyUsed,
    /// Anyone can sign in the name of this key.
    #[codec(index = 5)]
    WeakKey,
    /// The last validator cannot go.
    #[codec(index = 6)]
    LastValidator,
    /// The set has as many validators as it may have.
    #[codec(index = 7)]
    TooManyValidators,
    /// The power of all validators would exceed its limit.
    #[codec(index = 8)]
    TooMuchPower,
    /// The validator was punished for equivocation: it cannot come back, nor change its key.
    #[codec(index = 9)]
    Punished,
    /// The validator was punished already.
    #[codec(index = 10)]
    AlreadyPunished,
    /// The key change is meant for another epoch.
    #[codec(index = 11)]
    WrongEpoch,
    /// The validator changed its key in this epoch already.
    #[codec(index = 12)]
    RotatedAlready,
    /// A signature under the key change is wrong.
    #[codec(index = 13)]
    BadProof,
}
