//! The 32-byte hash and the hash functions of the chain.
//!
//! BLAKE2b-256 names what clients name themselves (headers, extrinsics, signing payloads); SHA-256 commits to what is
//! proved (state, extrinsics, events, history); xxHash builds storage prefixes, which need no collision resistance.

use crate::state_changes::first_bytes;
use blake2b_simd::Params;
use blake2b_simd::many::{HashManyJob, hash_many};
use cairn_primitives_sha256::{digest_all, digest_pairs};
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;
use sha2::{Digest, Sha256};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A 32-byte hash; which function made it is said where it is used.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Encode, Decode, TypeInfo)]
pub struct Hash(pub [u8; 32]);

impl PartialOrd for Hash {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Hash {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        compare_32(&self.0, &other.0)
    }
}

/// The order of the bytes. Most pairs differ in the first word, which is compared without a call: lookups in sorted
/// collections are made of this.
#[inline]
pub(crate) fn compare_32(one: &[u8; 32], other: &[u8; 32]) -> Ordering {
    first_bytes(one).cmp(&first_bytes(other)).then_with(|| one.cmp(other))
}

impl Hash {
    /// The hash of 32 zero bytes in place: the parent of the genesis block.
    pub const ZERO: Self = Self([0; 32]);

    /// The bytes of the hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A text that is not 32 bytes of hexadecimal.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a hash: expected 64 hexadecimal digits, with or without 0x")]
pub struct ParseHashError {
    /// The first 80 characters of the refused text.
    text: String,
}

impl FromStr for Hash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes)
            .map_err(|_| ParseHashError { text: text.chars().take(80).collect() })?;
        Ok(Self(bytes))
    }
}

/// So many messages are handed to [`hash_many`] at once: several times what a processor hashes side by side.
const HASHED_TOGETHER: usize = 32;

/// BLAKE2b with an output of `N` bytes.
fn blake2<const N: usize>() -> Params {
    let mut parameters = Params::new();
    parameters.hash_length(N);
    parameters
}

/// The bytes of an output of [`blake2`] with the same `N`.
fn output<const N: usize>(hash: &blake2b_simd::Hash) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(hash.as_bytes());
    bytes
}

/// BLAKE2b with a 32-byte output.
#[must_use]
pub fn blake2_256(bytes: &[u8]) -> Hash {
    Hash(output(&blake2::<32>().hash(bytes)))
}

/// BLAKE2b with a 32-byte output, of the parts one after the other.
#[must_use]
pub fn blake2_256_concat(parts: &[&[u8]]) -> Hash {
    let mut hasher = blake2::<32>().to_state();
    for part in parts {
        hasher.update(part);
    }
    Hash(output(&hasher.finalize()))
}

/// BLAKE2b with a 16-byte output.
#[must_use]
pub fn blake2_128(bytes: &[u8]) -> [u8; 16] {
    output(&blake2::<16>().hash(bytes))
}

/// The same of each of many messages, in three fifths of the time where the processor can hash several side by side.
pub fn blake2_128_of_each<M: AsRef<[u8]>>(messages: &[M], take: impl FnMut(&M, [u8; 16])) {
    blake2_of_each(messages, take);
}

/// [`blake2_256`] of each of many messages, side by side.
pub fn blake2_256_of_each<M: AsRef<[u8]>>(messages: &[M], mut take: impl FnMut(&M, Hash)) {
    blake2_of_each(messages, |message, hash| take(message, Hash(hash)));
}

fn blake2_of_each<const N: usize, M: AsRef<[u8]>>(messages: &[M], mut take: impl FnMut(&M, [u8; N])) {
    let parameters = blake2::<N>();
    let mut jobs = Vec::with_capacity(HASHED_TOGETHER);
    for messages in messages.chunks(HASHED_TOGETHER) {
        jobs.clear();
        jobs.extend(messages.iter().map(|message| HashManyJob::new(&parameters, message.as_ref())));
        hash_many(&mut jobs);
        for (message, job) in messages.iter().zip(&jobs) {
            take(message, output(&job.to_hash()));
        }
    }
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}

/// SHA-256 of the parts one after the other.
#[must_use]
pub fn sha256_concat(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Hash(hasher.finalize().into())
}

/// [`sha256`] of each of many messages, in order; side by side where the processor can.
pub fn sha256_of_each<'a>(messages: impl IntoIterator<Item = &'a [u8]>, mut take: impl FnMut(Hash)) {
    digest_all(messages, |digest| take(Hash(digest)));
}

/// SHA-256 of `tag ‖ left ‖ right` for each of many pairs, in order; side by side where the processor can.
///
/// # Panics
/// The tag is longer than [`TAG_BYTES_MAX`](cairn_primitives_sha256::TAG_BYTES_MAX).
pub fn sha256_of_pairs<'a>(
    tag: &[u8],
    pairs: impl IntoIterator<Item = (&'a Hash, &'a Hash)>,
    mut take: impl FnMut(Hash),
) {
    digest_pairs(tag, pairs.into_iter().map(|(left, right)| (&left.0, &right.0)), |digest| take(Hash(digest)));
}

/// Two 64-bit xxHashes, seeds 0 and 1, little-endian: the prefix of a module and of a storage item.
#[must_use]
pub fn twox_128(bytes: &[u8]) -> [u8; 16] {
    let mut out = [0; 16];
    let (low, high) = out.split_at_mut(8);
    low.copy_from_slice(&twox_hash::XxHash64::oneshot(0, bytes).to_le_bytes());
    high.copy_from_slice(&twox_hash::XxHash64::oneshot(1, bytes).to_le_bytes());
    out
}

#[cfg(test)]
mod tests;
