#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use crate::weight::{TIMESTAMP_SET, Weight};
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The calls of Timestamp.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(non_camel_case_types, reason = "call names are lower case in metadata")]
pub enum Call {
    /// Sets the time of the block; only the block itself does this, once, as its first extrinsic.
    #[codec(index = 0)]
    set {
        /// Milliseconds since the Unix epoch.
        #[codec(compact)]
        now: u64,
    },
}

impl Call {
    pub(crate) const fn weight(&self) -> Weight {
        match self {
            Self::set { .. } => TIMESTAMP_SET,
        }
    }
}
