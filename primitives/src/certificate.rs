//! Certificates: a quorum's signatures under one subject.

use crate::codec::decode_bounded;
use crate::crypto::{Signature, SignedMessage, verify_batch};
use crate::hash::Hash;
use crate::number::Power;
use crate::validator::{VALIDATORS_MAX, ValidatorIndex, ValidatorSet};
use crate::vote::Subject;
use parity_scale_codec::{Decode, Encode, Error, Input};

/// The largest encoding of a certificate: subject, bitmap and a signature of every validator, in bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 128 + VALIDATORS_MAX / 8 + 64 * VALIDATORS_MAX;

/// The signatures of validators that together hold a quorum, all under the same subject.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub struct Certificate {
    /// What the signers voted for.
    pub subject: Subject,
    /// One bit a validator, in the order of the set, least significant bit first; ceil(n / 8) bytes.
    signers: Vec<u8>,
    /// One signature for each set bit, in the same order.
    signatures: Vec<Signature>,
}

/// Why a certificate does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The bitmap does not fit the validator set, or not the number of signatures.
    #[error("the signer bitmap does not fit a set of {validators} validators and {signatures} signatures")]
    Shape {
        /// Validators in the set.
        validators: usize,
        /// Signatures in the certificate.
        signatures: usize,
    },
    /// The signers hold less than a quorum.
    #[error("the signers hold power {power}, a quorum is {quorum}")]
    NoQuorum {
        /// Power of the signers.
        power: Power,
        /// Power needed.
        quorum: Power,
    },
    /// A signature is wrong.
    #[error("the signature of validator {0} is wrong")]
    BadSignature(ValidatorIndex),
}

impl Certificate {
    /// Puts a certificate together from votes; the order does not matter, a signer counts once and one who is not in
    /// the set not at all.
    #[must_use]
    pub fn from_signatures(
        subject: Subject,
        signatures: impl IntoIterator<Item = (ValidatorIndex, Signature)>,
        set: &ValidatorSet,
    ) -> Self {
        let sorted: std::collections::BTreeMap<_, _> = signatures.into_iter().collect();
        let mut signers = vec![0u8; set.len().div_ceil(8)];
        let mut ordered = Vec::with_capacity(sorted.len());
        for (index, signature) in sorted {
            if set.get(index).is_none() {
                continue;
            }
            if let Some(byte) = signers.get_mut(index.position() / 8) {
                *byte |= 1 << (index.position() % 8);
                ordered.push(signature);
            }
        }
        Self { subject, signers, signatures: ordered }
    }

    /// The validators that signed, with their signatures, in order.
    pub fn signatures(&self) -> impl Iterator<Item = (ValidatorIndex, Signature)> + '_ {
        let places = self.signers.iter().zip(0u16..).flat_map(|(byte, position)| {
            (0u16..8)
                .filter(move |bit| byte & (1 << bit) != 0)
                .map(move |bit| ValidatorIndex(position.saturating_mul(8).saturating_add(bit)))
        });
        places.zip(self.signatures.iter().copied())
    }

    /// Checks shape, quorum and every signature.
    ///
    /// # Errors
    /// The bitmap does not fit the set, the signers lack a quorum, or a signature is wrong.
    pub fn verify(&self, set: &ValidatorSet, genesis: &Hash) -> Result<(), CertificateError> {
        self.check_quorum(set)?;
        let payload = self.subject.signing_payload(genesis);
        let (places, items): (Vec<_>, Vec<_>) = self
            .signatures()
            .filter_map(|(index, signature)| {
                let key = set.get(index)?.key;
                Some((index, SignedMessage { key, message: &payload, signature }))
            })
            .unzip();
        match verify_batch(&items).into_iter().zip(places).find(|(valid, _)| !valid) {
            None => Ok(()),
            Some((_, index)) => Err(CertificateError::BadSignature(index)),
        }
    }

    /// Checks shape and quorum, but no signature.
    ///
    /// # Errors
    /// The bitmap does not fit the set or the signers lack a quorum.
    pub fn check_quorum(&self, set: &ValidatorSet) -> Result<(), CertificateError> {
        let shape = CertificateError::Shape { validators: set.len(), signatures: self.signatures.len() };
        let bits: usize = self.signers.iter().map(|byte| byte.count_ones() as usize).sum();
        if self.signers.len() != set.len().div_ceil(8) || bits != self.signatures.len() {
            return Err(shape);
        }
        let mut power = 0u64;
        for (index, _) in self.signatures() {
            let Some(validator) = set.get(index) else { return Err(shape) };
            power = power.saturating_add(validator.power.0);
        }
        let quorum = set.quorum();
        if power < quorum.0 {
            return Err(CertificateError::NoQuorum { power: Power(power), quorum });
        }
        Ok(())
    }
}

impl Decode for Certificate {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let subject = Subject::decode(input)?;
        let signers = decode_bounded(input, VALIDATORS_MAX / 8, "certificate: the signer bitmap is too long")?;
        let signatures = decode_bounded(input, VALIDATORS_MAX, "certificate: too many signatures")?;
        Ok(Self { subject, signers, signatures })
    }
}

#[cfg(test)]
mod tests;
