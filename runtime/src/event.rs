//! What a block records about its execution.
#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use crate::modules::{RuntimeEvent, system};
use cairn_primitives::Hash;
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The part of a block that an event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Phase {
    /// The extrinsic at this place.
    #[codec(index = 0)]
    ApplyExtrinsic(u32),
    /// The end of the block.
    #[codec(index = 1)]
    Finalization,
    /// The start of the block.
    #[codec(index = 2)]
    Initialization,
}

/// An event with its place.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct EventRecord {
    /// Where it happened.
    pub phase: Phase,
    /// What happened.
    pub event: RuntimeEvent,
    /// Always empty.
    pub topics: Vec<Hash>,
}

impl EventRecord {
    /// The place of the extrinsic that it belongs to, if to one.
    #[must_use]
    pub const fn extrinsic(&self) -> Option<u32> {
        match self.phase {
            Phase::ApplyExtrinsic(index) => Some(index),
            Phase::Finalization | Phase::Initialization => None,
        }
    }

    /// Of the last event of an extrinsic: whether that succeeded.
    #[must_use]
    pub const fn outcome(&self) -> Option<bool> {
        match &self.event {
            RuntimeEvent::System(system::Event::ExtrinsicSuccess { .. }) => Some(true),
            RuntimeEvent::System(system::Event::ExtrinsicFailed { .. }) => Some(false),
            RuntimeEvent::System(_)
            | RuntimeEvent::Balances(_)
            | RuntimeEvent::TransactionPayment(_)
            | RuntimeEvent::Utility(_)
            | RuntimeEvent::Validators(_) => None,
        }
    }
}
