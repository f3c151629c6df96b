#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use crate::modules::RuntimeCall;
use crate::rules::Rules;
use crate::weight::{BATCH, BATCH_PER_CALL, Weight};
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// How many levels of batches there may be: a batch of calls has one. Bounds the recursion of execution.
pub const BATCH_DEPTH_MAX: u32 = 8;

/// How many calls one batch may have; what wallets assume for chains of this kind, and enough for a pay-roll.
pub const BATCH_CALLS_MAX: usize = 1_000;

/// The calls of Utility.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(non_camel_case_types, reason = "call names are lower case in metadata")]
pub enum Call {
    /// Makes calls one after the other until one fails; what was done before it stays.
    #[codec(index = 0)]
    batch {
        /// The calls.
        calls: Vec<RuntimeCall>,
    },
    /// Makes all calls, or none where one fails.
    #[codec(index = 2)]
    batch_all {
        /// The calls.
        calls: Vec<RuntimeCall>,
    },
    /// Makes all calls; one that fails undoes itself alone, and the others go on.
    #[codec(index = 4)]
    force_batch {
        /// The calls.
        calls: Vec<RuntimeCall>,
    },
}

impl Call {
    pub(crate) fn calls(&self) -> &[RuntimeCall] {
        match self {
            Self::batch { calls } | Self::batch_all { calls } | Self::force_batch { calls } => calls,
        }
    }

    pub(crate) fn weight(&self) -> Weight {
        self.calls().iter().fold(BATCH, |sum, call| sum.saturating_add(BATCH_PER_CALL).saturating_add(call.weight()))
    }

    /// The first rules that have the call and those in it.
    pub(crate) fn since(&self) -> Rules {
        let own = match self {
            Self::batch { .. } | Self::batch_all { .. } => Rules::FIRST,
            Self::force_batch { .. } => Rules::V4,
        };
        self.calls().iter().map(RuntimeCall::since).fold(own, Rules::max)
    }

    pub(crate) fn depth(&self) -> u32 {
        self.calls().iter().map(RuntimeCall::batch_depth).max().unwrap_or(0).saturating_add(1)
    }
}
