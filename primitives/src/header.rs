//! Headers in the shape that Substrate clients decode and hash, with the consensus context in one digest item.
#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use crate::codec::decode_bounded;
use crate::hash::{Hash, blake2_256};
use crate::number::{Epoch, Height, TimestampMs, View};
use crate::validator::ValidatorIndex;
use parity_scale_codec::{Compact, Decode, Encode, Error, Input};
use scale_info::TypeInfo;

/// The engine id in pre-runtime digests and justifications.
pub const ENGINE_ID: [u8; 4] = *b"CARN";

/// The most digest items of a header: ours have one, genesis two. An item may be one byte on the wire and is four words
/// in memory, so a header of nothing but items would cost many times its size.
pub const DIGEST_ITEMS_MAX: usize = 16;

/// The version of consensus messages and headers.
pub const PROTOCOL_VERSION: u32 = 1;

/// A block header; its hash is BLAKE2b-256 of its SCALE encoding.
#[derive(Clone, Debug, PartialEq, Eq, Encode, TypeInfo)]
pub struct Header {
    /// Hash of the parent's header; zero for genesis.
    pub parent_hash: Hash,
    /// The height.
    #[codec(compact)]
    pub number: u32,
    /// SHA-256 root of the state after this block.
    pub state_root: Hash,
    /// RFC 6962 root of the encoded extrinsics.
    pub extrinsics_root: Hash,
    /// Digest items: one pre-runtime item with the [`ConsensusContext`], and what the runtime adds.
    pub digest: Vec<DigestItem>,
}

/// An item of a header's digest; tags as Substrate clients know them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum DigestItem {
    /// Free bytes.
    #[codec(index = 0)]
    Other(Vec<u8>),
    /// A message of the runtime to an engine.
    #[codec(index = 4)]
    Consensus([u8; 4], Vec<u8>),
    /// A seal of an engine.
    #[codec(index = 5)]
    Seal([u8; 4], Vec<u8>),
    /// A message of an engine to the runtime.
    #[codec(index = 6)]
    PreRuntime([u8; 4], Vec<u8>),
    /// The rules of the chain changed in this block.
    #[codec(index = 8)]
    RuntimeEnvironmentUpdated,
}

/// What a header says about consensus and about what can be proved against it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct ConsensusContext {
    /// [`PROTOCOL_VERSION`] of the proposer.
    pub protocol_version: u32,
    /// The epoch of the block.
    pub epoch: Epoch,
    /// The view in which the block was first proposed; 0 for genesis.
    pub view: View,
    /// The proposer's place in the epoch's validator set.
    pub proposer: ValidatorIndex,
    /// Strictly above the parent's.
    pub timestamp: TimestampMs,
    /// RFC 6962 root of the encoded event records of this block.
    pub events_root: Hash,
    /// RFC 6962 root of the hashes of all headers before this one, in order.
    pub history_root: Hash,
    /// Hash of the validator set of this epoch.
    pub validators_hash: Hash,
    /// Hash of the validator set of the next epoch, as it stands after this block.
    pub next_validators_hash: Hash,
}

/// Why a header has no usable consensus context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// The first digest item is not a pre-runtime item of our engine.
    #[error("the header carries no consensus context: its first digest item must be PreRuntime(CARN)")]
    Missing,
    /// The item does not decode to a context.
    #[error("the consensus context of the header is malformed")]
    Malformed,
}

/// A context is fixed-size but for nothing; this bounds its encoding.
const CONTEXT_BYTES_MAX: usize = 256;

impl Decode for Header {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        Ok(Self {
            parent_hash: Hash::decode(input)?,
            number: Compact::<u32>::decode(input)?.0,
            state_root: Hash::decode(input)?,
            extrinsics_root: Hash::decode(input)?,
            digest: decode_bounded(input, DIGEST_ITEMS_MAX, "header: too many digest items")?,
        })
    }
}

impl Header {
    /// A header with `context` as its first digest item.
    #[must_use]
    pub fn new(
        parent_hash: Hash,
        height: Height,
        state_root: Hash,
        extrinsics_root: Hash,
        context: &ConsensusContext,
    ) -> Self {
        let digest = vec![DigestItem::PreRuntime(ENGINE_ID, context.encode())];
        Self { parent_hash, number: height.0, state_root, extrinsics_root, digest }
    }

    /// BLAKE2b-256 of the encoded header: the block's hash.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.using_encoded(blake2_256)
    }

    /// The height.
    #[must_use]
    pub const fn height(&self) -> Height {
        Height(self.number)
    }

    /// The consensus context.
    ///
    /// # Errors
    /// The first digest item is not a context of our engine, or does not decode strictly.
    pub fn context(&self) -> Result<ConsensusContext, ContextError> {
        let Some(DigestItem::PreRuntime(ENGINE_ID, bytes)) = self.digest.first() else {
            return Err(ContextError::Missing);
        };
        crate::codec::decode_strict("consensus context", bytes, CONTEXT_BYTES_MAX).map_err(|_| ContextError::Malformed)
    }
}

#[cfg(test)]
mod tests;
