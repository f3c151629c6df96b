#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use crate::dispatch::{DispatchError, DispatchEventInfo};
use cairn_primitives::{AccountId32, Hash};
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The events of System.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Event {
    /// An extrinsic went through; its last event.
    #[codec(index = 0)]
    ExtrinsicSuccess {
        /// What it cost.
        dispatch_info: DispatchEventInfo,
    },
    /// An extrinsic failed; its last event.
    #[codec(index = 1)]
    ExtrinsicFailed {
        /// Why.
        dispatch_error: DispatchError,
        /// What it cost.
        dispatch_info: DispatchEventInfo,
    },
    /// An account came to hold a balance.
    #[codec(index = 3)]
    NewAccount {
        /// The account.
        account: AccountId32,
    },
    /// An account ceased to hold a balance.
    #[codec(index = 4)]
    KilledAccount {
        /// The account.
        account: AccountId32,
    },
    /// Bytes were put into a block.
    #[codec(index = 5)]
    Remarked {
        /// Who put them.
        sender: AccountId32,
        /// BLAKE2b-256 of the bytes.
        hash: Hash,
    },
}
