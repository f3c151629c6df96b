//! ed25519 keys, signatures and their verification by the rules of ZIP-215, one at a time or in batches; [`sr25519`] has the
//! other kind of accounts.
//!
//! Single and batch verification give the same answer for every input: both use the cofactored equation and accept
//! non-canonical encodings of points, as ZIP-215 lays down. Signing is RFC 8032. The equations are written here, over the
//! group of `curve25519-dalek`, because no library takes keys whose points are known already; tests hold them against
//! `ed25519-zebra`, Wycheproof and the ZIP-215 vectors.

use crate::hash::compare_32;
use ed25519_dalek::Signer;
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;
use std::cmp::Ordering;
use std::fmt;
use zeroize::Zeroizing;
use zip215::Claim;

pub mod sr25519;
mod zip215;

pub use zip215::KeyPoint;

/// An ed25519 public key in its compressed form; not every value is a point of the curve.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, TypeInfo)]
pub struct PublicKey(pub [u8; 32]);

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_32(&self.0, &other.0)
    }
}

/// An ed25519 signature: R followed by s.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, TypeInfo)]
pub struct Signature(pub [u8; 64]);

impl PublicKey {
    /// Whether anyone can sign in the key's name: it is no point of the curve, or one of small order.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        ed25519_dalek::VerifyingKey::from_bytes(&self.0).map_or(true, |key| key.is_weak())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

/// A secret key with its public key; zeroized when dropped, never printed.
#[derive(Clone)]
pub struct KeyPair(ed25519_dalek::SigningKey);

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public())
    }
}

impl KeyPair {
    /// The key pair of an RFC 8032 seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed, for a key store; zeroized when dropped.
    #[must_use]
    pub fn to_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a message as in RFC 8032; the same message always gets the same signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

/// How an account signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// ed25519 by the rules of ZIP-215.
    Ed25519,
    /// sr25519, see [`sr25519`].
    Sr25519,
}

/// What one signature claims.
#[derive(Clone, Copy, Debug)]
pub struct SignedMessage<'a> {
    /// The key that is said to have signed.
    pub key: PublicKey,
    /// The signed bytes.
    pub message: &'a [u8],
    /// The signature.
    pub signature: Signature,
}

impl SignedMessage<'_> {
    /// Whether the signature is valid by ZIP-215.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        verify(&self.key, self.message, &self.signature)
    }
}

/// Whether `signature` is valid for `message` under `key` by ZIP-215.
#[must_use]
pub fn verify(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    let item = SignedMessage { key: *key, message, signature: *signature };
    KeyPoint::new(key).and_then(|point| Claim::new(&item, &point)).is_some_and(|claim| claim.holds())
}

/// As many signatures are checked in one equation: more would gain little and make one bad signature dearer. Whoever has
/// several cores gives each a part of the list, of no more than that.
pub const BATCH_MAX: usize = 1_024;

/// How many of `count` signatures make a batch so that each of some threads has as many of one size, none over [`BATCH_MAX`].
#[must_use]
pub fn batch_size(count: usize, threads: usize) -> usize {
    let threads = threads.max(1);
    let rounds = count.div_ceil(threads.saturating_mul(BATCH_MAX)).max(1);
    count.div_ceil(threads.saturating_mul(rounds)).max(1)
}

/// Below this many signatures an equation of their own is not worth its set-up.
const BATCH_MIN: usize = 4;

/// The size of the groups that a failing batch is split into.
const GROUP_MAX: usize = 16;

/// Verifies many signatures; `result[i]` says whether `items[i]` is valid.
///
/// Checks up to [`BATCH_MAX`] in one equation; a batch that fails is split into groups with an equation each, and a group
/// that fails into single signatures. So the answer is the same as that of [`verify`] for each item, one offender makes
/// its batch about twice as dear, and a list full of offenders costs little more than twice what [`verify`] would.
#[must_use]
pub fn verify_batch(items: &[SignedMessage<'_>]) -> Vec<bool> {
    verify_batch_with(items, &mut |key| KeyPoint::new(key))
}

/// As [`verify_batch`], with the points of keys from a cache: saves a third of the work for keys that sign again.
#[must_use]
pub fn verify_batch_with(
    items: &[SignedMessage<'_>],
    point_of: &mut dyn FnMut(&PublicKey) -> Option<KeyPoint>,
) -> Vec<bool> {
    let mut valid = vec![false; items.len()];
    for (batch, valid) in items.chunks(BATCH_MAX).zip(valid.chunks_mut(BATCH_MAX)) {
        let mut claims = Vec::with_capacity(batch.len());
        for (item, valid) in batch.iter().zip(valid) {
            claims.extend(point_of(&item.key).and_then(|point| Claim::new(item, &point)).map(|claim| (claim, valid)));
        }
        check_claims(&mut claims);
    }
    valid
}

/// Says of each claim whether it holds: together if they all do, else in groups, else one by one.
fn check_claims(claims: &mut [(Claim, &mut bool)]) {
    let hold =
        |claims: &[(Claim, &mut bool)]| zip215::all_hold(&claims.iter().map(|(claim, _)| claim).collect::<Vec<_>>());
    if claims.len() > GROUP_MAX && hold(claims) {
        claims.iter_mut().for_each(|(_, valid)| **valid = true);
        return;
    }
    for group in claims.chunks_mut(GROUP_MAX) {
        let all = group.len() >= BATCH_MIN && hold(group);
        for (claim, valid) in group {
            **valid = all || claim.holds();
        }
    }
}

#[cfg(test)]
mod tests;
