//! Why a transaction may not be in a block, with the codes that clients know.
//!
//! An invalid transaction is refused and pays nothing. A *failed* one is in a block, pays, and ends with the event
//! `System.ExtrinsicFailed`.
#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use crate::state::StateReadError;
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// Why a transaction may not be in a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTransaction {
    /// The bytes are no transaction of these rules.
    #[error("the transaction does not decode: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// The sender cannot pay the fee and stay alive.
    #[error("the sender cannot pay: the fee with tip is {needed}, {available} can be spent")]
    Payment {
        /// Fee and tip, in base units.
        needed: u128,
        /// What the sender can spend, in base units.
        available: u128,
    },
    /// A transaction of the sender with a lower nonce is missing.
    #[error("nonce {actual} is in the future: the sender's next nonce is {expected}")]
    Future {
        /// The sender's next nonce.
        expected: u32,
        /// The nonce of the transaction.
        actual: u32,
    },
    /// The nonce was used.
    #[error("nonce {actual} is stale: the sender's next nonce is {expected}")]
    Stale {
        /// The sender's next nonce.
        expected: u32,
        /// The nonce of the transaction.
        actual: u32,
    },
    /// The signature does not verify for this chain, these versions, this era and this content.
    #[error("the signature is not valid for this chain, spec version, era and content")]
    BadProof,
    /// The signature is of a scheme that is not accepted.
    #[error("{scheme} signatures are not accepted: sign with an ed25519 or sr25519 key")]
    UnsupportedSignature {
        /// Name of the scheme.
        scheme: &'static str,
    },
    /// The era is over, or began too long ago for its block's hash to be known.
    #[error("the era of the transaction is over or began too long ago: sign it anew with a recent block")]
    AncientBirthBlock,
    /// The transaction fits no block, or not the one being built.
    #[error("the transaction exceeds the {resource} of a block")]
    ExhaustsResources {
        /// What runs out: bytes, weight or events.
        resource: &'static str,
    },
    /// The sender is an address that nobody can hold.
    #[error("the sender is the zero address")]
    BadSigner,
    /// Only the block itself contains extrinsics without a signature.
    #[error("an extrinsic without a signature cannot be submitted")]
    Unsigned,
}

impl InvalidTransaction {
    /// The error as clients decode it.
    #[must_use]
    pub const fn to_validity_error(&self) -> TransactionValidityError {
        TransactionValidityError::Invalid(match self {
            Self::Malformed { .. } => InvalidityCode::Call,
            Self::Payment { .. } => InvalidityCode::Payment,
            Self::Future { .. } => InvalidityCode::Future,
            Self::Stale { .. } => InvalidityCode::Stale,
            Self::BadProof | Self::UnsupportedSignature { .. } => InvalidityCode::BadProof,
            Self::AncientBirthBlock => InvalidityCode::AncientBirthBlock,
            Self::ExhaustsResources { .. } => InvalidityCode::ExhaustsResources,
            Self::BadSigner => InvalidityCode::BadSigner,
            Self::Unsigned => return TransactionValidityError::Unknown(UnknownCode::NoUnsignedValidator),
        })
    }
}

/// Why a transaction could not be found valid.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ValidateError {
    /// It is not.
    #[error(transparent)]
    Invalid(#[from] InvalidTransaction),
    /// This node cannot tell.
    #[error(transparent)]
    State(#[from] StateReadError),
}

impl ValidateError {
    /// The error as clients decode it.
    #[must_use]
    pub const fn to_validity_error(&self) -> TransactionValidityError {
        match self {
            Self::Invalid(invalid) => invalid.to_validity_error(),
            Self::State(_) => TransactionValidityError::Unknown(UnknownCode::CannotLookup),
        }
    }
}

/// An invalid transaction as clients decode it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum TransactionValidityError {
    /// It is invalid.
    #[codec(index = 0)]
    Invalid(InvalidityCode),
    /// Its validity cannot be told.
    #[codec(index = 1)]
    Unknown(UnknownCode),
}

/// The kinds of invalidity that clients know, used here or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum InvalidityCode {
    /// The call is not expected.
    #[codec(index = 0)]
    Call,
    /// The fee cannot be paid.
    #[codec(index = 1)]
    Payment,
    /// The nonce is too high.
    #[codec(index = 2)]
    Future,
    /// The nonce is too low.
    #[codec(index = 3)]
    Stale,
    /// The signature is wrong.
    #[codec(index = 4)]
    BadProof,
    /// The era's block is too old.
    #[codec(index = 5)]
    AncientBirthBlock,
    /// A block has no room for it.
    #[codec(index = 6)]
    ExhaustsResources,
    /// Not in use.
    #[codec(index = 7)]
    Custom(u8),
    /// Not in use.
    #[codec(index = 8)]
    BadMandatory,
    /// Not in use.
    #[codec(index = 9)]
    MandatoryValidation,
    /// The signer cannot sign.
    #[codec(index = 10)]
    BadSigner,
    /// Not in use.
    #[codec(index = 11)]
    IndeterminateImplicit,
    /// Not in use.
    #[codec(index = 12)]
    UnknownOrigin,
}

/// The kinds of unknown validity that clients know, used here or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum UnknownCode {
    /// The state cannot be read.
    #[codec(index = 0)]
    CannotLookup,
    /// Nothing accepts an extrinsic without a signature.
    #[codec(index = 1)]
    NoUnsignedValidator,
    /// Not in use.
    #[codec(index = 2)]
    Custom(u8),
}
