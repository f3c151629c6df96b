//! Accounts and the addresses that name them.
#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use crate::crypto::PublicKey;
use crate::hash::compare_32;
use blake2b_simd::State;
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;
use std::cmp::Ordering;
use std::fmt;

/// An account: for ed25519 and sr25519 the public key itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, TypeInfo)]
pub struct AccountId32(pub [u8; 32]);

impl AsRef<[u8]> for AccountId32 {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl PartialOrd for AccountId32 {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for AccountId32 {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        compare_32(&self.0, &other.0)
    }
}

impl From<PublicKey> for AccountId32 {
    fn from(key: PublicKey) -> Self {
        Self(key.0)
    }
}

impl fmt::Debug for AccountId32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

/// The ways to name an account in a call; clients need all five to exist, the chain resolves `Id` alone.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum MultiAddress {
    /// The account itself.
    #[codec(index = 0)]
    Id(AccountId32),
    /// An index of an account; refused.
    #[codec(index = 1)]
    Index(#[codec(compact)] u32),
    /// Raw bytes; refused.
    #[codec(index = 2)]
    Raw(Vec<u8>),
    /// A 32-byte address; refused.
    #[codec(index = 3)]
    Address32([u8; 32]),
    /// A 20-byte address; refused.
    #[codec(index = 4)]
    Address20([u8; 20]),
}

/// The address type of generic chains; our default prefix.
pub const SS58_PREFIX_DEFAULT: u16 = 42;

/// The largest prefix that SS58 can express.
pub const SS58_PREFIX_MAX: u16 = 16_383;

/// Why an SS58 text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ss58Error {
    /// Not base 58.
    #[error("the address is not base-58 text")]
    NotBase58,
    /// Not an address of 32 bytes.
    #[error("the address does not hold an account of 32 bytes")]
    Length,
    /// The checksum does not fit: a typing error.
    #[error("the checksum of the address does not match: it was mistyped")]
    Checksum,
    /// An address of another chain.
    #[error("the address has prefix {actual}, this chain uses {expected}")]
    Prefix {
        /// Found.
        actual: u16,
        /// Wanted.
        expected: u16,
    },
}

impl AccountId32 {
    /// The SS58 text of the account for a chain's prefix (0 to 16,383).
    #[must_use]
    pub fn to_ss58(&self, prefix: u16) -> String {
        let mut bytes = ss58_prefix(prefix);
        bytes.extend_from_slice(&self.0);
        let checksum = ss58_checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        bs58::encode(bytes).into_string()
    }

    /// Parses an SS58 text of the chain with `prefix`.
    ///
    /// # Errors
    /// The text is not base 58, has the wrong length, checksum or prefix.
    pub fn from_ss58(text: &str, prefix: u16) -> Result<Self, Ss58Error> {
        // 36 bytes are at most 50 characters; a longer text is not worth decoding.
        if text.len() > 64 {
            return Err(Ss58Error::Length);
        }
        let bytes = bs58::decode(text).into_vec().map_err(|_| Ss58Error::NotBase58)?;
        let (body, checksum) = bytes.split_at_checked(bytes.len().saturating_sub(2)).ok_or(Ss58Error::NotBase58)?;
        let (head, account) = body.split_at_checked(body.len().saturating_sub(32)).ok_or(Ss58Error::Length)?;
        let (Ok(account), Some(actual)) = (<[u8; 32]>::try_from(account), parse_ss58_prefix(head)) else {
            return Err(Ss58Error::Length);
        };
        if ss58_checksum(body) != checksum {
            return Err(Ss58Error::Checksum);
        }
        if actual != prefix {
            return Err(Ss58Error::Prefix { actual, expected: prefix });
        }
        Ok(Self(account))
    }
}

/// One byte below 64, else two bytes with the 14 bits spread as the SS58 registry describes.
fn ss58_prefix(prefix: u16) -> Vec<u8> {
    let [high, low] = prefix.to_be_bytes();
    if prefix < 64 {
        vec![low]
    } else {
        let first = ((low & 0b1111_1100) >> 2) | 0b0100_0000;
        let second = (high & 0b0011_1111) | ((low & 0b0000_0011) << 6);
        vec![first, second]
    }
}

fn parse_ss58_prefix(head: &[u8]) -> Option<u16> {
    match *head {
        [low] if low < 64 => Some(u16::from(low)),
        [first, second] if (64..128).contains(&first) => {
            // A prefix below 64 has the one-byte form alone.
            let low = (first << 2) | (second >> 6);
            let high = second & 0b0011_1111;
            Some(u16::from_be_bytes([high, low])).filter(|prefix| *prefix >= 64)
        }
        _ => None,
    }
}

fn ss58_checksum(bytes: &[u8]) -> [u8; 2] {
    let hash = State::new().update(b"SS58PRE").update(bytes).finalize();
    let [first, second, ..] = *hash.as_array();
    [first, second]
}

#[cfg(test)]
mod tests;
