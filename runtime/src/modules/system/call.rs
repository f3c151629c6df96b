#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use crate::weight::{EVENT, REMARK, REMARK_PER_BYTE, Weight};
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The calls of System.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(non_camel_case_types, reason = "call names are lower case in metadata")]
pub enum Call {
    /// Puts bytes into a block and does nothing else.
    #[codec(index = 0)]
    remark {
        /// Any bytes.
        remark: Vec<u8>,
    },
    /// Puts bytes into a block and emits their hash.
    #[codec(index = 7)]
    remark_with_event {
        /// Any bytes.
        remark: Vec<u8>,
    },
}

impl Call {
    pub(crate) fn weight(&self) -> Weight {
        let (remark, event) = match self {
            Self::remark { remark } => (remark, Weight::ZERO),
            Self::remark_with_event { remark } => (remark, EVENT),
        };
        let bytes = u64::try_from(remark.len()).unwrap_or(u64::MAX);
        REMARK.saturating_add(event).saturating_add(Weight::from_ref_time(REMARK_PER_BYTE).saturating_mul(bytes))
    }
}
