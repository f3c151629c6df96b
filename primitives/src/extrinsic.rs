//! The V4 extrinsic envelope: who signed, under which conditions, and the call's bytes.
//!
//! Layout without the length prefix: `0x84 ‖ 0x00 account ‖ signature ‖ era ‖ compact nonce ‖ compact tip ‖ mode ‖ call`
//! for a signed one, `0x04 ‖ call` for a bare one. The call is whatever remains; the runtime decodes it.
#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use crate::account::AccountId32;
use crate::codec::encodes_to;
use crate::crypto::Signature;
use crate::hash::{Hash, blake2_256};
use parity_scale_codec::{Compact, Decode, Encode, Error, Input};
use scale_info::TypeInfo;

/// The format version of extrinsics.
pub const EXTRINSIC_VERSION: u8 = 4;

/// An extrinsic larger than this is refused before it is decoded, in bytes.
pub const EXTRINSIC_BYTES_MAX: usize = 256 << 10;

/// The first byte of a signed extrinsic.
const SIGNED: u8 = 0x80 | EXTRINSIC_VERSION;

/// A payload longer than this is hashed with BLAKE2b-256 before it is signed, in bytes.
const PAYLOAD_BYTES_UNHASHED_MAX: usize = 256;

/// A signature of one of the schemes that clients know.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum MultiSignature {
    /// ed25519, verified by ZIP-215.
    #[codec(index = 0)]
    Ed25519(Signature),
    /// sr25519 (schnorrkel).
    #[codec(index = 1)]
    Sr25519([u8; 64]),
    /// Listed because clients want it in the metadata; refused.
    #[codec(index = 2)]
    Ecdsa([u8; 65]),
}

/// How long a transaction may wait for its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// For ever.
    Immortal,
    /// For `period` blocks from the last block whose height is `phase` modulo `period`.
    Mortal {
        /// A power of two from 4 to 65,536.
        period: u64,
        /// Below `period`, a multiple of `max(period / 4096, 1)`.
        phase: u64,
    },
}

impl Era {
    /// A mortal era of at least `period` blocks that contains `current`.
    #[must_use]
    pub fn mortal(period: u64, current: u64) -> Self {
        let period = period.checked_next_power_of_two().unwrap_or(1 << 16).clamp(4, 1 << 16);
        let factor = (period >> 12).max(1);
        // The period is a power of two, so the remainder is its low bits; the phase drops those below the factor.
        let phase = current & period.saturating_sub(1) & !factor.saturating_sub(1);
        Self::Mortal { period, phase }
    }

    /// The first height of the era that contains `current`; 0 for an immortal one.
    #[must_use]
    pub fn birth(&self, current: u64) -> u64 {
        match *self {
            Self::Immortal => 0,
            Self::Mortal { period, phase } => {
                let since = current.saturating_sub(phase);
                current.max(phase).saturating_sub(since.checked_rem(period).unwrap_or(0))
            }
        }
    }

    /// The first height at which a transaction born with `current` is too old; `u64::MAX` for an immortal one.
    #[must_use]
    pub fn death(&self, current: u64) -> u64 {
        match *self {
            Self::Immortal => u64::MAX,
            Self::Mortal { period, .. } => self.birth(current).saturating_add(period),
        }
    }
}

impl Encode for Era {
    fn encode_to<T: parity_scale_codec::Output + ?Sized>(&self, dest: &mut T) {
        match *self {
            Self::Immortal => dest.push_byte(0),
            Self::Mortal { period, phase } => {
                let factor = (period >> 12).max(1);
                let low = u16::try_from(period.trailing_zeros()).unwrap_or(16).saturating_sub(1).clamp(1, 15);
                let high = u16::try_from(phase.checked_div(factor).unwrap_or(0)).unwrap_or(u16::MAX) << 4;
                dest.write(&(low | high).to_le_bytes());
            }
        }
    }
}

impl Decode for Era {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let first = input.read_byte()?;
        if first == 0 {
            return Ok(Self::Immortal);
        }
        let encoded = u64::from(u16::from_le_bytes([first, input.read_byte()?]));
        let period = 2u64.wrapping_shl(u32::from(first & 15));
        let phase = (encoded >> 4).saturating_mul((period >> 12).max(1));
        if period >= 4 && phase < period { Ok(Self::Mortal { period, phase }) } else { Err("invalid era".into()) }
    }
}

/// The conditions a signer puts on a transaction: what goes into the extrinsic between signature and call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionExtra {
    /// How long it may wait.
    pub era: Era,
    /// The signer's count of transactions before this one.
    pub nonce: u32,
    /// What the signer adds to the fee to be preferred, in base units.
    pub tip: u128,
}

impl Encode for TransactionExtra {
    fn encode_to<T: parity_scale_codec::Output + ?Sized>(&self, dest: &mut T) {
        self.era.encode_to(dest);
        Compact(self.nonce).encode_to(dest);
        Compact(self.tip).encode_to(dest);
        dest.push_byte(0); // CheckMetadataHash, mode 0: off
    }
}

impl Decode for TransactionExtra {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let era = Era::decode(input)?;
        let nonce = Compact::<u32>::decode(input)?.0;
        let tip = Compact::<u128>::decode(input)?.0;
        match input.read_byte()? {
            0 => Ok(Self { era, nonce, tip }),
            _ => Err("CheckMetadataHash: only mode 0 is supported".into()),
        }
    }
}

/// What a signature covers beyond the extrinsic's own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
pub struct TransactionImplicit {
    /// Version of the rules.
    pub spec_version: u32,
    /// Version of call indices and extensions.
    pub transaction_version: u32,
    /// The chain.
    pub genesis: Hash,
    /// The block at the era's birth; genesis for an immortal transaction.
    pub era_block: Hash,
    /// Always `None`: mode 0.
    pub metadata_hash: Option<Hash>,
}

impl TransactionImplicit {
    /// The implicit part of a transaction without a metadata hash.
    #[must_use]
    pub const fn new(spec_version: u32, transaction_version: u32, genesis: Hash, era_block: Hash) -> Self {
        Self { spec_version, transaction_version, genesis, era_block, metadata_hash: None }
    }
}

/// The signature part of an extrinsic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPart {
    /// Who pays and acts.
    pub signer: AccountId32,
    /// Over [`signing_payload`].
    pub signature: MultiSignature,
    /// The signer's conditions.
    pub extra: TransactionExtra,
}

/// An extrinsic taken apart, its call still encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// `None` for a bare extrinsic.
    pub signed: Option<SignedPart>,
    /// The encoded call.
    pub call: &'a [u8],
}

/// Why bytes are not an extrinsic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// More than [`EXTRINSIC_BYTES_MAX`].
    #[error("the extrinsic has {0} bytes, at most {EXTRINSIC_BYTES_MAX} are allowed")]
    TooLarge(usize),
    /// Not version 4.
    #[error("extrinsic version byte 0x{0:02x} is not supported: use format version 4 (0x84 signed, 0x04 bare)")]
    Version(u8),
    /// Address kind not `Id`.
    #[error("the signer's address must be of kind Id (0x00)")]
    Address,
    /// Bytes missing or malformed.
    #[error("malformed extrinsic: {0}")]
    Malformed(String),
    /// Decodes, but is not the one encoding of its content.
    #[error("the extrinsic is not canonically encoded")]
    NotCanonical,
}

impl<'a> Envelope<'a> {
    /// Takes apart an extrinsic without its length prefix.
    ///
    /// # Errors
    /// The bytes are too many, of another version, malformed or not canonical.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > EXTRINSIC_BYTES_MAX {
            return Err(EnvelopeError::TooLarge(bytes.len()));
        }
        let malformed = |error: Error| EnvelopeError::Malformed(error.to_string());
        match bytes.split_first() {
            Some((&EXTRINSIC_VERSION, call)) => Ok(Self { signed: None, call }),
            Some((&SIGNED, rest)) => {
                let Some((0, mut input)) = rest.split_first().map(|(kind, rest)| (*kind, rest)) else {
                    return Err(EnvelopeError::Address);
                };
                let start = input;
                let signer = AccountId32::decode(&mut input).map_err(malformed)?;
                let signature = MultiSignature::decode(&mut input).map_err(malformed)?;
                let extra = TransactionExtra::decode(&mut input).map_err(malformed)?;
                let taken = start.get(..start.len().saturating_sub(input.len())).unwrap_or(start);
                if !encodes_to(&(&signer, &signature, &extra), taken) {
                    return Err(EnvelopeError::NotCanonical);
                }
                Ok(Self { signed: Some(SignedPart { signer, signature, extra }), call: input })
            }
            Some((&other, _)) => Err(EnvelopeError::Version(other)),
            None => Err(EnvelopeError::Malformed("no bytes".into())),
        }
    }

    /// The bytes of the extrinsic, without the length prefix.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.call.len().saturating_add(160));
        match &self.signed {
            None => bytes.push(EXTRINSIC_VERSION),
            Some(signed) => {
                bytes.extend_from_slice(&[SIGNED, 0]);
                signed.signer.encode_to(&mut bytes);
                signed.signature.encode_to(&mut bytes);
                signed.extra.encode_to(&mut bytes);
            }
        }
        bytes.extend_from_slice(self.call);
        bytes
    }
}

/// The bytes a transaction's signature is over: call ‖ extra ‖ implicit, hashed when longer than 256 bytes.
#[must_use]
pub fn signing_payload(call: &[u8], extra: &TransactionExtra, implicit: &TransactionImplicit) -> Vec<u8> {
    let mut payload = Vec::with_capacity(call.len().saturating_add(128));
    payload.extend_from_slice(call);
    extra.encode_to(&mut payload);
    implicit.encode_to(&mut payload);
    if payload.len() > PAYLOAD_BYTES_UNHASHED_MAX { blake2_256(&payload).0.to_vec() } else { payload }
}

#[cfg(test)]
mod tests;
