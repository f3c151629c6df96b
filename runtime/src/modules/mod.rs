//! The modules and their places: index, order, one variant each in call, event and error.
#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

pub mod balances;
pub mod system;
pub mod timestamp;
pub mod transaction_payment;
pub mod utility;
pub mod validators;

use crate::dispatch::{DispatchError, DispatchResult, ModuleError, Origin};
use crate::overlay::Overlay;
use crate::rules::Rules;
use crate::weight::Weight;
use cairn_primitives::AccountId32;
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// A call of any module.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum RuntimeCall {
    /// System.
    #[codec(index = 0)]
    System(system::Call),
    /// Timestamp.
    #[codec(index = 1)]
    Timestamp(timestamp::Call),
    /// Balances.
    #[codec(index = 2)]
    Balances(balances::Call),
    /// Utility.
    #[codec(index = 4)]
    Utility(utility::Call),
    /// Validators.
    #[codec(index = 5)]
    Validators(validators::Call),
}

impl RuntimeCall {
    /// What the call costs to execute, whether it fails or not.
    #[must_use]
    pub fn weight(&self) -> Weight {
        match self {
            Self::System(call) => call.weight(),
            Self::Timestamp(call) => call.weight(),
            Self::Balances(call) => call.weight(),
            Self::Utility(call) => call.weight(),
            Self::Validators(call) => call.weight(),
        }
    }

    /// How many levels of batches the call has.
    #[must_use]
    pub(crate) fn batch_depth(&self) -> u32 {
        match self {
            Self::Utility(call) => call.depth(),
            Self::System(_) | Self::Timestamp(_) | Self::Balances(_) | Self::Validators(_) => 0,
        }
    }

    /// The first rules that have the call and all calls in it.
    pub(crate) fn since(&self) -> Rules {
        match self {
            Self::Utility(call) => call.since(),
            Self::System(_) | Self::Timestamp(_) | Self::Balances(_) | Self::Validators(_) => Rules::FIRST,
        }
    }

    /// The account that a transfer goes to.
    pub(crate) const fn recipient(&self) -> Option<AccountId32> {
        match self {
            Self::Balances(call) => call.recipient(),
            Self::System(_) | Self::Timestamp(_) | Self::Utility(_) | Self::Validators(_) => None,
        }
    }

    /// Executes the call; where it fails, the caller undoes what it did.
    pub(crate) fn dispatch(&self, overlay: &mut Overlay<'_>, origin: Origin) -> DispatchResult {
        match self {
            Self::System(call) => system::exec::dispatch(overlay, origin, call),
            Self::Timestamp(call) => timestamp::exec::dispatch(overlay, origin, call),
            Self::Balances(call) => balances::exec::dispatch(overlay, origin, call),
            Self::Utility(call) => utility::exec::dispatch(overlay, origin, call),
            Self::Validators(call) => validators::exec::dispatch(overlay, origin, call),
        }
    }
}

/// An event of any module.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum RuntimeEvent {
    /// System.
    #[codec(index = 0)]
    System(system::Event),
    /// Balances.
    #[codec(index = 2)]
    Balances(balances::Event),
    /// TransactionPayment.
    #[codec(index = 3)]
    TransactionPayment(transaction_payment::Event),
    /// Utility.
    #[codec(index = 4)]
    Utility(utility::Event),
    /// Validators.
    #[codec(index = 5)]
    Validators(validators::Event),
}

impl From<system::Event> for RuntimeEvent {
    fn from(event: system::Event) -> Self {
        Self::System(event)
    }
}

impl From<balances::Event> for RuntimeEvent {
    fn from(event: balances::Event) -> Self {
        Self::Balances(event)
    }
}

impl From<transaction_payment::Event> for RuntimeEvent {
    fn from(event: transaction_payment::Event) -> Self {
        Self::TransactionPayment(event)
    }
}

impl From<utility::Event> for RuntimeEvent {
    fn from(event: utility::Event) -> Self {
        Self::Utility(event)
    }
}

impl From<validators::Event> for RuntimeEvent {
    fn from(event: validators::Event) -> Self {
        Self::Validators(event)
    }
}

/// An error of any module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum RuntimeError {
    /// Balances.
    #[codec(index = 2)]
    Balances(balances::Error),
    /// Utility.
    #[codec(index = 4)]
    Utility(utility::Error),
    /// Validators.
    #[codec(index = 5)]
    Validators(validators::Error),
}

impl RuntimeError {
    /// The error behind its encoded form.
    #[must_use]
    pub fn from_module_error(error: &ModuleError) -> Option<Self> {
        let [first, ..] = error.error;
        Self::decode(&mut &[error.index, first][..]).ok()
    }
}

impl From<RuntimeError> for DispatchError {
    fn from(error: RuntimeError) -> Self {
        let (index, variant) = match error {
            RuntimeError::Balances(error) => (2, error.encode()),
            RuntimeError::Utility(error) => (4, error.encode()),
            RuntimeError::Validators(error) => (5, error.encode()),
        };
        let mut padded = [0; 4];
        for (place, byte) in padded.iter_mut().zip(variant) {
            *place = byte;
        }
        Self::Module(ModuleError { index, error: padded })
    }
}
