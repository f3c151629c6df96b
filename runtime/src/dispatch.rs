//! How the execution of a call ends, in the shapes that clients decode.
#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use crate::state::StateReadError;
use crate::weight::Weight;
use cairn_primitives::AccountId32;
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;
use std::fmt;

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An account, by its signature.
    Signed(AccountId32),
    /// The block itself.
    Block,
}

/// What a block makes room for first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum DispatchClass {
    /// A transaction.
    Normal,
    /// Not in use.
    Operational,
    /// What every block contains.
    Mandatory,
}

/// Whether an extrinsic pays a fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Pays {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// What the last event of an extrinsic says about its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct DispatchEventInfo {
    /// Weight of the extrinsic, its base included.
    pub weight: Weight,
    /// Its class.
    pub class: DispatchClass,
    /// Whether it paid.
    pub pays_fee: Pays,
}

/// The error of a module: its index and the encoded variant of its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct ModuleError {
    /// Index of the module.
    pub index: u8,
    /// Encoded error, padded with zeros.
    pub error: [u8; 4],
}

/// Why a call failed; the list and its order are what clients know, whether we use a variant or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum DispatchError {
    /// Something not listed.
    #[codec(index = 0)]
    Other,
    /// The address is not of kind `Id`.
    #[codec(index = 1)]
    CannotLookup,
    /// The caller may not make this call.
    #[codec(index = 2)]
    BadOrigin,
    /// An error of a module.
    #[codec(index = 3)]
    Module(ModuleError),
    /// Not in use.
    #[codec(index = 4)]
    ConsumerRemaining,
    /// Not in use.
    #[codec(index = 5)]
    NoProviders,
    /// Not in use.
    #[codec(index = 6)]
    TooManyConsumers,
    /// Not in use: balances report their own errors.
    #[codec(index = 7)]
    Token(TokenError),
    /// A number left its range.
    #[codec(index = 8)]
    Arithmetic(ArithmeticError),
    /// Not in use.
    #[codec(index = 9)]
    Transactional(TransactionalError),
    /// Not in use.
    #[codec(index = 10)]
    Exhausted,
    /// Not in use.
    #[codec(index = 11)]
    Corruption,
    /// Not in use.
    #[codec(index = 12)]
    Unavailable,
    /// Not in use.
    #[codec(index = 13)]
    RootNotAllowed,
    /// Not in use.
    #[codec(index = 14)]
    Trie(TrieError),
}

impl fmt::Display for DispatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Module(error) = self
            && let Some(known) = crate::modules::RuntimeError::from_module_error(error)
        {
            return write!(f, "{known:?}");
        }
        write!(f, "{self:?}")
    }
}

/// Errors of token operations as clients know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum TokenError {
    /// Not in use.
    FundsUnavailable,
    /// Not in use.
    OnlyProvider,
    /// Not in use.
    BelowMinimum,
    /// Not in use.
    CannotCreate,
    /// Not in use.
    UnknownAsset,
    /// Not in use.
    Frozen,
    /// Not in use.
    Unsupported,
    /// Not in use.
    CannotCreateHold,
    /// Not in use.
    NotExpendable,
    /// Not in use.
    Blocked,
}

/// Errors of arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum ArithmeticError {
    /// Below zero.
    Underflow,
    /// Above the largest number.
    Overflow,
    /// By zero.
    DivisionByZero,
}

/// Errors of storage layers as clients know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum TransactionalError {
    /// Not in use.
    LimitReached,
    /// Not in use.
    NoLayer,
}

/// Errors of a state trie as clients know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum TrieError {
    /// Not in use.
    InvalidStateRoot,
    /// Not in use.
    IncompleteDatabase,
}

/// Why a call did not go through: it failed, or this node could not read its state.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The call failed; its changes are undone and the transaction pays.
    Failed(DispatchError),
    /// The block cannot be executed here.
    State(StateReadError),
}

impl From<DispatchError> for Fault {
    fn from(error: DispatchError) -> Self {
        Self::Failed(error)
    }
}

impl From<StateReadError> for Fault {
    fn from(error: StateReadError) -> Self {
        Self::State(error)
    }
}

/// The outcome of one call.
pub(crate) type DispatchResult = Result<(), Fault>;

/// Adds two amounts.
pub(crate) fn add(left: u128, right: u128) -> Result<u128, DispatchError> {
    left.checked_add(right).ok_or(DispatchError::Arithmetic(ArithmeticError::Overflow))
}

/// Subtracts two amounts.
pub(crate) fn sub(left: u128, right: u128) -> Result<u128, DispatchError> {
    left.checked_sub(right).ok_or(DispatchError::Arithmetic(ArithmeticError::Underflow))
}
