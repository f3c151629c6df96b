//! Blocks and what comes with them once they are final.

use crate::certificate::Certificate;
use crate::hash::{Hash, blake2_256};
use crate::header::Header;
use crate::list_tree;
use parity_scale_codec::{Compact, Decode, Encode, EncodeLike, Error, Input, Output};
use std::fmt;
use std::sync::Arc;

/// A block larger than this is refused before it is decoded, in bytes.
pub const BLOCK_BYTES_MAX: usize = 4 << 20;

/// Shorter extrinsics are refused when they are decoded, in bytes: a version and the two indices of a call. An empty one is
/// one byte on the wire and five words in memory, so a message full of them would cost many times its size.
pub const EXTRINSIC_BYTES_MIN: usize = 3;

/// An extrinsic's bytes without their length prefix; cheap to clone, encoded with the prefix.
#[derive(Clone, PartialEq, Eq)]
pub struct OpaqueExtrinsic(Arc<[u8]>);

impl OpaqueExtrinsic {
    /// Wraps the bytes that follow the length prefix.
    #[must_use]
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes without the length prefix.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// BLAKE2b-256 of the encoding with the length prefix: what clients call the extrinsic's hash.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.using_encoded(blake2_256)
    }
}

impl fmt::Debug for OpaqueExtrinsic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpaqueExtrinsic({} bytes)", self.0.len())
    }
}

impl Encode for OpaqueExtrinsic {
    fn size_hint(&self) -> usize {
        self.0.len().saturating_add(5)
    }

    fn encode_to<T: Output + ?Sized>(&self, dest: &mut T) {
        Compact(u32::try_from(self.0.len()).unwrap_or(u32::MAX)).encode_to(dest);
        dest.write(&self.0);
    }
}

impl EncodeLike for OpaqueExtrinsic {}

impl Decode for OpaqueExtrinsic {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let bytes = Vec::<u8>::decode(input)?;
        if bytes.len() < EXTRINSIC_BYTES_MIN {
            return Err("extrinsic: shorter than any call".into());
        }
        Ok(Self(bytes.into()))
    }
}

/// A header and the extrinsics it commits to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// The extrinsics, in the order of execution.
    pub extrinsics: Vec<OpaqueExtrinsic>,
}

impl Block {
    /// The RFC 6962 root of the extrinsics, each leaf an encoded extrinsic with its length prefix.
    #[must_use]
    pub fn extrinsics_root(&self) -> Hash {
        list_tree::root(self.extrinsics.iter().map(Encode::encode))
    }
}

/// A block with the certificate that makes it final.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct FinalizedBlock {
    /// The block.
    pub block: Block,
    /// A finalization of this block, or `None` where a descendant's finalization covers it.
    pub finalization: Option<Certificate>,
}

#[cfg(test)]
mod tests;
