#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The errors of Utility.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Error {
    /// The batch has too many calls.
    #[codec(index = 0)]
    TooManyCalls,
}
