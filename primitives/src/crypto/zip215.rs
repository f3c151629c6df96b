//! The verification equation of ZIP-215, for one signature and for many.
//!
//! A signature (R, s) of the message M under the key A holds if s is canonical, R and A are points of the curve in any
//! encoding, and `[8][s]B = [8]R + [8][k]A` with `k = SHA-512(R ‖ A ‖ M)` over the bytes as they came. Many are checked
//! together by adding up their equations, each times a factor of 128 bits that nobody could choose: the sum holds for
//! wrong signatures with a probability of 2^-128. Because every equation is multiplied by the cofactor, the sum and the
//! single equation always agree.
//!
//! Half of the time of a check goes into finding the points from their encodings. The one of R is new each time; the one
//! of A is worth remembering, see [`KeyPoint`].
#![allow(clippy::arithmetic_side_effects, reason = "operations of the group and its scalar field do not overflow")]

use super::{PublicKey, SignedMessage};
use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use sha2::{Digest, Sha512};
use std::collections::BTreeMap;

/// The point of a public key, found once for all its signatures; 160 bytes.
#[derive(Clone, Copy, Debug)]
pub struct KeyPoint {
    minus: EdwardsPoint,
}

impl KeyPoint {
    /// The point of a key in any encoding that ZIP-215 accepts; `None` if there is none.
    #[must_use]
    pub fn new(key: &PublicKey) -> Option<Self> {
        CompressedEdwardsY(key.0).decompress().map(|point| Self { minus: -point })
    }
}

/// A signature taken apart, ready for either equation.
pub(super) struct Claim {
    key: PublicKey,
    minus_key: EdwardsPoint,
    minus_commitment: EdwardsPoint,
    response: Scalar,
    challenge: Scalar,
}

impl Claim {
    /// `None` if the signature cannot hold: s is not canonical or R is no point.
    pub(super) fn new(item: &SignedMessage<'_>, key: &KeyPoint) -> Option<Self> {
        let signature = item.signature.0;
        let (commitment, response) = signature.split_first_chunk::<32>()?;
        let response = Scalar::from_canonical_bytes(response.try_into().ok()?).into_option()?;
        let minus_commitment = -CompressedEdwardsY(*commitment).decompress()?;
        let hash = Sha512::new_with_prefix(commitment).chain_update(item.key.0).chain_update(item.message).finalize();
        let challenge = Scalar::from_bytes_mod_order_wide(&hash.into());
        Some(Self { key: item.key, minus_key: key.minus, minus_commitment, response, challenge })
    }

    /// The equation of this signature alone.
    pub(super) fn holds(&self) -> bool {
        let sum = EdwardsPoint::vartime_double_scalar_mul_basepoint(&self.challenge, &self.minus_key, &self.response);
        (sum + self.minus_commitment).mul_by_cofactor().is_identity()
    }
}

/// The sum of the equations of all claims.
pub(super) fn all_hold(claims: &[&Claim]) -> bool {
    let mut base = Scalar::ZERO;
    let mut keys: BTreeMap<PublicKey, (EdwardsPoint, Scalar)> = BTreeMap::new();
    let mut scalars = Vec::with_capacity(claims.len().saturating_mul(2).saturating_add(1));
    let mut points = Vec::with_capacity(scalars.capacity());
    for (claim, factor) in claims.iter().zip(Factors::new(claims)) {
        base += factor * claim.response;
        // One point for all signatures of a key.
        keys.entry(claim.key).or_insert((claim.minus_key, Scalar::ZERO)).1 += factor * claim.challenge;
        scalars.push(factor);
        points.push(claim.minus_commitment);
    }
    for (point, scalar) in keys.into_values() {
        scalars.push(scalar);
        points.push(point);
    }
    scalars.push(base);
    points.push(ED25519_BASEPOINT_POINT);
    EdwardsPoint::vartime_multiscalar_mul(&scalars, &points).mul_by_cofactor().is_identity()
}

/// The factors of a sum, drawn from a hash of all claims: whoever makes the signatures cannot choose them so that errors
/// cancel, and the pure core needs no source of randomness. A challenge stands for R, key and message, of which it is the hash.
struct Factors {
    seed: [u8; 64],
    drawn: u64,
    /// The hash that gives the next factors, four in all.
    hash: [u8; 64],
}

impl Factors {
    fn new(claims: &[&Claim]) -> Self {
        let mut transcript = Sha512::new_with_prefix(b"cairn batch verification");
        for claim in claims {
            transcript.update(claim.response.as_bytes());
            transcript.update(claim.challenge.as_bytes());
        }
        Self { seed: transcript.finalize().into(), drawn: 0, hash: [0; 64] }
    }
}

impl Iterator for Factors {
    type Item = Scalar;

    fn next(&mut self) -> Option<Scalar> {
        let place = usize::try_from(self.drawn % 4).ok()?;
        if place == 0 {
            self.hash = Sha512::new_with_prefix(self.seed).chain_update(self.drawn.to_le_bytes()).finalize().into();
        }
        self.drawn = self.drawn.checked_add(1)?;
        self.hash.as_chunks::<16>().0.get(place).map(|bytes| Scalar::from(u128::from_le_bytes(*bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::KeyPair;
    use super::*;

    fn claims(count: u8) -> Vec<Claim> {
        let claim = |number: u8| {
            let key = KeyPair::from_seed(&[number % 3; 32]);
            let message = [number];
            let signature = key.sign(&message);
            let item = SignedMessage { key: key.public(), message: &message, signature };
            Claim::new(&item, &KeyPoint::new(&item.key).unwrap()).unwrap()
        };
        (0..count).map(claim).collect()
    }

    #[test]
    fn factors_differ_within_a_batch_and_between_batches() {
        let claims = claims(3);
        let all: Vec<_> = claims.iter().collect();
        let factors: Vec<_> = Factors::new(&all).take(100).collect();
        for (place, factor) in factors.iter().enumerate() {
            assert!(!factors[..place].contains(factor) && *factor != Scalar::ZERO);
        }
        assert_ne!(Factors::new(&all[..2]).next(), Factors::new(&all).next());
    }

    #[test]
    fn errors_of_two_signatures_do_not_cancel() {
        let mut claims = claims(2);
        claims[0].response += Scalar::ONE;
        claims[1].response -= Scalar::ONE;
        assert!(!all_hold(&claims.iter().collect::<Vec<_>>()));
    }

    #[test]
    fn sum_holds_for_many_signatures_of_few_keys() {
        let claims = claims(40);
        assert!(claims.iter().all(Claim::holds));
        assert!(all_hold(&claims.iter().collect::<Vec<_>>()));
    }
}
