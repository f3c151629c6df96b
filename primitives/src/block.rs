//! Blocks and what comes with them once they are final.

use crate::certificate::Certificate;
use crate::hash::{Hash, blake2_256_concat, blake2_256_of_each};
use crate::header::Header;
use crate::list_tree::ListHasher;
use parity_scale_codec::{Compact, CompactLen, Decode, Encode, EncodeLike, Error, Input, Output};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};
use std::{fmt, iter};

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
        self.prefix().using_encoded(|prefix| blake2_256_concat(&[prefix, &self.0]))
    }

    /// The same of many, side by side where the processor can.
    pub fn hashes<'a>(extrinsics: impl Iterator<Item = &'a Self>) -> Vec<Hash> {
        let encoded: Vec<_> = extrinsics.map(Encode::encode).collect();
        let mut hashes = Vec::with_capacity(encoded.len());
        blake2_256_of_each(&encoded, |_, hash| hashes.push(hash));
        hashes
    }

    /// The length of the encoding with the length prefix, in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        Compact::<u32>::compact_len(&self.prefix().0).saturating_add(self.0.len())
    }

    fn prefix(&self) -> Compact<u32> {
        Compact(u32::try_from(self.0.len()).unwrap_or(u32::MAX))
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
        self.prefix().encode_to(dest);
        dest.write(&self.0);
    }
}

impl EncodeLike for OpaqueExtrinsic {}

impl Decode for OpaqueExtrinsic {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let Compact(length) = Compact::<u32>::decode(input)?;
        let length = usize::try_from(length).map_err(|_| "extrinsic: longer than memory")?;
        if length < EXTRINSIC_BYTES_MIN {
            return Err("extrinsic: shorter than any call".into());
        }
        if length > BLOCK_BYTES_MAX {
            return Err("extrinsic: larger than any block".into());
        }
        if input.remaining_len()?.is_some_and(|rest| rest < length) {
            return Err("extrinsic: ends before its length".into());
        }
        let mut bytes: Arc<[u8]> = iter::repeat_n(0, length).collect();
        input.read(Arc::make_mut(&mut bytes))?;
        Ok(Self(bytes))
    }
}

/// A header and the extrinsics it commits to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// The extrinsics, in the order of execution.
    pub extrinsics: Body,
}

/// The extrinsics of a block; cheap to clone, and hashed once, whoever asks for the root first.
#[derive(Clone, Default)]
pub struct Body(Arc<HashedList>);

#[derive(Clone, Default)]
struct HashedList {
    extrinsics: Vec<OpaqueExtrinsic>,
    root: OnceLock<Hash>,
}

impl Body {
    /// The RFC 6962 root of the extrinsics, each leaf an encoded extrinsic with its length prefix.
    #[must_use]
    pub fn root(&self) -> Hash {
        *self.0.root.get_or_init(|| {
            let mut list = ListHasher::with_capacity(self.len());
            for extrinsic in self.iter() {
                list.push(|bytes| extrinsic.encode_to(bytes));
            }
            list.root()
        })
    }
}

impl From<Vec<OpaqueExtrinsic>> for Body {
    fn from(extrinsics: Vec<OpaqueExtrinsic>) -> Self {
        Self(Arc::new(HashedList { extrinsics, root: OnceLock::new() }))
    }
}

impl Deref for Body {
    type Target = Vec<OpaqueExtrinsic>;

    fn deref(&self) -> &Self::Target {
        &self.0.extrinsics
    }
}

impl DerefMut for Body {
    /// Whoever changes the list makes a list of its own, whose root is not known.
    fn deref_mut(&mut self) -> &mut Self::Target {
        let list = Arc::make_mut(&mut self.0);
        list.root = OnceLock::new();
        &mut list.extrinsics
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.extrinsics == other.0.extrinsics
    }
}

impl Eq for Body {}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.extrinsics, f)
    }
}

impl Encode for Body {
    fn size_hint(&self) -> usize {
        self.0.extrinsics.size_hint()
    }

    fn encode_to<T: Output + ?Sized>(&self, dest: &mut T) {
        self.0.extrinsics.encode_to(dest);
    }
}

impl EncodeLike for Body {}

impl Decode for Body {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        Vec::decode(input).map(Self::from)
    }
}

impl Block {
    /// The root of the extrinsics: [`Body::root`].
    #[must_use]
    pub fn extrinsics_root(&self) -> Hash {
        self.extrinsics.root()
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

/// A block with all that an archive has of it, so that nobody needs to execute it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ArchivedBlock {
    /// The block.
    pub block: Block,
    /// A finalization of this block, or `None` where a descendant's finalization covers it.
    pub finalization: Option<Certificate>,
    /// The encoded list of its events, to which the header commits.
    pub events: Vec<u8>,
}

#[cfg(test)]
mod tests;
