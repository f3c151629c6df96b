#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use cairn_primitives::{Epoch, PublicKey, View};
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The events of Validators; all changes count from the next epoch on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Event {
    /// A validator was added, removed, or has another power.
    #[codec(index = 0)]
    ValidatorSet {
        /// Its first key.
        member: PublicKey,
        /// The key it votes with.
        key: PublicKey,
        /// Its power; zero where it was removed.
        power: u64,
    },
    /// A validator has another key.
    #[codec(index = 1)]
    KeyRotated {
        /// Its first key.
        member: PublicKey,
        /// The key it had.
        old: PublicKey,
        /// The key it has.
        new: PublicKey,
    },
    /// A validator was found to have signed two things that exclude each other.
    #[codec(index = 2)]
    EquivocationPunished {
        /// Its first key.
        member: PublicKey,
        /// The key it signed with.
        key: PublicKey,
        /// The epoch of the two votes.
        epoch: Epoch,
        /// The view of the two votes.
        view: View,
    },
}
