//! sr25519 signatures: Schnorr over Ristretto as `schnorrkel` has it, with the signing context of Substrate's accounts.
//!
//! Wallets make such accounts by default; validators have none. Ristretto has prime order and one encoding for each point,
//! so single and batch verification give the same answer. The scalars of a batch are derived from all of its content, and
//! nonces from the secret and the message: nothing here needs randomness.

use super::{BATCH_MAX, BATCH_MIN, GROUP_MAX, SignedMessage};
use schnorrkel::context::{SigningContext, attach_rng, signing_context};
use schnorrkel::derive::ChainCode;
use schnorrkel::{ExpansionMode, Keypair, MiniSecretKey, PublicKey, Signature, verify_batch_deterministic};
use std::fmt;

/// What wallets sign transactions in.
const CONTEXT: &[u8] = b"substrate";

/// Whether `signature` is valid for `message` under `key`.
#[must_use]
pub fn verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let parsed = PublicKey::from_bytes(key).and_then(|key| Ok((key, Signature::from_bytes(signature)?)));
    parsed.is_ok_and(|(key, signature)| key.verify(signing_context(CONTEXT).bytes(message), &signature).is_ok())
}

/// Verifies many signatures; `result[i]` says whether `items[i]` is valid, as [`verify`] does.
#[must_use]
pub fn verify_batch(items: &[SignedMessage<'_>]) -> Vec<bool> {
    let context = signing_context(CONTEXT);
    let mut valid = vec![false; items.len()];
    for (batch, valid) in items.chunks(BATCH_MAX).zip(valid.chunks_mut(BATCH_MAX)) {
        let mut claims: Vec<_> =
            batch.iter().zip(valid).filter_map(|(item, valid)| Claim::new(item).map(|claim| (claim, valid))).collect();
        if claims.len() > GROUP_MAX && hold(&context, &claims) {
            claims.iter_mut().for_each(|(_, valid)| **valid = true);
            continue;
        }
        for group in claims.chunks_mut(GROUP_MAX) {
            let all = group.len() >= BATCH_MIN && hold(&context, group);
            for (claim, valid) in group {
                **valid = all || claim.holds(&context);
            }
        }
    }
    valid
}

/// A signature whose parts are well formed.
struct Claim<'a> {
    key: PublicKey,
    message: &'a [u8],
    signature: Signature,
}

impl<'a> Claim<'a> {
    fn new(item: &SignedMessage<'a>) -> Option<Self> {
        let key = PublicKey::from_bytes(&item.key.0).ok()?;
        Some(Self { key, message: item.message, signature: Signature::from_bytes(&item.signature.0).ok()? })
    }

    fn holds(&self, context: &SigningContext) -> bool {
        self.key.verify(context.bytes(self.message), &self.signature).is_ok()
    }
}

/// Whether all claims hold, in one equation.
fn hold(context: &SigningContext, claims: &[(Claim<'_>, &mut bool)]) -> bool {
    let signatures: Vec<_> = claims.iter().map(|(claim, _)| claim.signature).collect();
    let keys: Vec<_> = claims.iter().map(|(claim, _)| claim.key).collect();
    let messages = claims.iter().map(|(claim, _)| context.bytes(claim.message));
    verify_batch_deterministic(messages, &signatures, &keys, false).is_ok()
}

/// A secret sr25519 key with its public key; zeroized when dropped, never printed.
#[derive(Clone)]
pub struct Sr25519Pair(Keypair);

impl fmt::Debug for Sr25519Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sr25519Pair(0x{})", hex::encode(self.public()))
    }
}

impl Sr25519Pair {
    /// The key pair of a seed, as wallets expand it.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(mini(seed).expand_to_keypair(ExpansionMode::Ed25519))
    }

    /// The seed that one step of hard derivation makes of a parent's.
    #[must_use]
    pub fn derive_hard(parent: &[u8; 32], chain_code: [u8; 32]) -> [u8; 32] {
        let expanded = mini(parent).expand(ExpansionMode::Ed25519);
        expanded.hard_derive_mini_secret_key(Some(ChainCode(chain_code)), b"").0.to_bytes()
    }

    /// The public key, which is the account as well.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.public.to_bytes()
    }

    /// Signs a message; the same message always gets the same signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        // The nonce comes from the secret and the message as well, so that it needs no randomness.
        let transcript = attach_rng(signing_context(CONTEXT).bytes(message), NoRandomness);
        self.0.sign(transcript).to_bytes()
    }
}

fn mini(seed: &[u8; 32]) -> MiniSecretKey {
    MiniSecretKey::from_bytes(seed).expect("every 32 bytes are a mini secret")
}

/// Zeros where the library would mix randomness in.
struct NoRandomness;

impl rand_core::RngCore for NoRandomness {
    fn next_u32(&mut self) -> u32 {
        0
    }

    fn next_u64(&mut self) -> u64 {
        0
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        dest.fill(0);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        dest.fill(0);
        Ok(())
    }
}

impl rand_core::CryptoRng for NoRandomness {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PublicKey as Key, Signature as Bytes};

    fn array<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// A signature by the sr25519 development key of Alice, made by another implementation and widely published.
    #[test]
    fn signature_published_by_others_verifies() {
        let key = array("46ebddef8cd9bb167dc30878d7113b7e168e6f0646beffd77d69d39bad76b47a");
        let signature = array(
            "4e172314444b8f820bb54c22e95076f220ed25373e5c178234aa6c211d29271244b947e3ff3418ff6b45fd1df1140c8cbff69fc58ee6dc96df70936a2bb74b82",
        );
        assert!(verify(&key, b"this is a message", &signature));
        assert!(!verify(&key, b"this is another message", &signature));
    }

    #[test]
    fn keys_of_published_seeds_are_the_published_ones() {
        for (seed, public) in [
            (
                "fac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e",
                "46ebddef8cd9bb167dc30878d7113b7e168e6f0646beffd77d69d39bad76b47a",
            ),
            (
                "e5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a",
                "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d",
            ),
        ] {
            assert_eq!(hex::encode(Sr25519Pair::from_seed(&array(seed)).public()), public);
        }
    }

    #[test]
    fn derivation_of_alice_gives_the_published_seed() {
        let mut code = [0; 32];
        code[..6].copy_from_slice(b"\x14Alice");
        let root = array("fac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e");
        let seed = Sr25519Pair::derive_hard(&root, code);
        assert_eq!(hex::encode(seed), "e5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a");
    }

    #[test]
    fn signature_is_for_one_key_message_and_form() {
        let (pair, other) = (Sr25519Pair::from_seed(&[1; 32]), Sr25519Pair::from_seed(&[2; 32]));
        let signature = pair.sign(b"message");
        assert_eq!(signature, pair.sign(b"message"));
        assert_ne!(signature, pair.sign(b"massage"));
        assert!(verify(&pair.public(), b"message", &signature));
        assert!(!verify(&pair.public(), b"massage", &signature) && !verify(&other.public(), b"message", &signature));
        for position in [0, 31, 32, 63] {
            let mut changed = signature;
            changed[position] ^= if position == 63 { 0x80 } else { 1 };
            assert!(!verify(&pair.public(), b"message", &changed), "byte {position}");
        }
        assert!(!verify(&[0xff; 32], b"message", &signature), "no point");
        assert_eq!(format!("{pair:?}"), format!("Sr25519Pair(0x{})", hex::encode(pair.public())));
    }

    #[test]
    fn batch_says_of_each_what_single_verification_says() {
        let messages: Vec<_> = (0..40_u8).map(|number| vec![number; usize::from(number)]).collect();
        let items: Vec<_> = (0..40_u8)
            .zip(&messages)
            .map(|(number, message)| {
                let pair = Sr25519Pair::from_seed(&[number % 7; 32]);
                SignedMessage { key: Key(pair.public()), message, signature: Bytes(pair.sign(message)) }
            })
            .collect();
        assert_eq!(verify_batch(&items), vec![true; 40]);
        for offenders in [vec![0], vec![39], vec![3, 20, 21], (0..40).collect()] {
            let mut items = items.clone();
            for &offender in &offenders {
                items[offender].message = b"another";
            }
            let expected: Vec<_> = (0..40).map(|position| !offenders.contains(&position)).collect();
            assert_eq!(verify_batch(&items), expected);
            let single: Vec<_> =
                items.iter().map(|item| verify(&item.key.0, item.message, &item.signature.0)).collect();
            assert_eq!(single, expected);
        }
        assert_eq!(verify_batch(&items[..2]), [true, true]);
        assert!(verify_batch(&[]).is_empty());
    }
}
