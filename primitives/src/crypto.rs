//! ed25519 keys, signatures and their verification by the rules of ZIP-215, one at a time or in batches.
//!
//! Single and batch verification give the same answer for every input: both use the cofactored equation and accept
//! non-canonical encodings of points, as ZIP-215 lays down. Signing is RFC 8032.

use ed25519_dalek::Signer;
use parity_scale_codec::{Decode, Encode};
use rand_core::{Infallible, TryCryptoRng, TryRng};
use scale_info::TypeInfo;
use sha2::{Digest, Sha512};
use std::fmt;
use zeroize::Zeroizing;

/// An ed25519 public key in its compressed form; not every value is a point of the curve.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, TypeInfo)]
pub struct PublicKey(pub [u8; 32]);

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
    ed25519_zebra::VerificationKey::try_from(key.0)
        .and_then(|key| key.verify(&ed25519_zebra::Signature::from(signature.0), message))
        .is_ok()
}

/// As many signatures are checked in one equation: more would gain little and make one bad signature dearer. Whoever has
/// several cores splits a larger list at multiples of it.
pub const BATCH_MAX: usize = 256;

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
    let mut valid = vec![true; items.len()];
    for (batch, valid) in items.chunks(BATCH_MAX).zip(valid.chunks_mut(BATCH_MAX)) {
        if batch.len() > GROUP_MAX && batch_holds(batch) {
            continue;
        }
        for (group, valid) in batch.chunks(GROUP_MAX).zip(valid.chunks_mut(GROUP_MAX)) {
            if group.len() >= BATCH_MIN && batch_holds(group) {
                continue;
            }
            for (item, valid) in group.iter().zip(valid) {
                *valid = item.is_valid();
            }
        }
    }
    valid
}

fn batch_holds(items: &[SignedMessage<'_>]) -> bool {
    let mut batch = ed25519_zebra::batch::Verifier::new();
    let mut transcript = Sha512::new_with_prefix(b"cairn batch verification");
    for item in items {
        // The challenge hash inside the item binds the message; R, s and the key are bound here.
        let key = ed25519_zebra::VerificationKeyBytes::from(item.key.0);
        let signature = ed25519_zebra::Signature::from(item.signature.0);
        transcript.update(item.key.0);
        transcript.update(item.signature.0);
        transcript.update(u64::try_from(item.message.len()).unwrap_or(u64::MAX).to_le_bytes());
        transcript.update(item.message);
        batch.queue((key, signature, item.message));
    }
    batch.verify(TranscriptRng { seed: transcript.finalize().into(), counter: 0, buffer: [0; 64], used: 64 }).is_ok()
}

/// The random coefficients of a batch, drawn from a hash of the whole batch: whoever makes the signatures cannot choose
/// them so that errors cancel, and the pure core needs no source of randomness.
struct TranscriptRng {
    seed: [u8; 64],
    counter: u64,
    buffer: [u8; 64],
    used: usize,
}

impl TryRng for TranscriptRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for byte in out {
            if self.used == self.buffer.len() {
                let block = Sha512::new_with_prefix(self.seed).chain_update(self.counter.to_le_bytes());
                self.buffer = block.finalize().into();
                self.counter = self.counter.wrapping_add(1);
                self.used = 0;
            }
            if let Some(next) = self.buffer.get(self.used) {
                *byte = *next;
            }
            self.used = self.used.saturating_add(1);
        }
        Ok(())
    }
}

impl TryCryptoRng for TranscriptRng {}

#[cfg(test)]
mod tests;
