#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use crate::dispatch::DispatchError;
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The events of Utility.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Event {
    /// A batch stopped.
    #[codec(index = 0)]
    BatchInterrupted {
        /// The place of the call that failed.
        index: u32,
        /// Why it failed.
        error: DispatchError,
    },
    /// All calls of a batch went through.
    #[codec(index = 1)]
    BatchCompleted,
    /// A batch that goes on after failures is through, and some of its calls failed.
    #[codec(index = 2)]
    BatchCompletedWithErrors,
    /// A call of a batch went through.
    #[codec(index = 3)]
    ItemCompleted,
    /// A call of a batch that goes on after failures failed.
    #[codec(index = 4)]
    ItemFailed {
        /// Why it failed.
        error: DispatchError,
    },
}
