//! Proof that a validator signed two things that exclude each other (R17).

use cairn_primitives::{Hash, Subject, ValidatorIndex, ValidatorSet, Vote};
use parity_scale_codec::{Decode, Encode};

/// Two votes of one validator in one view that no honest validator casts both.
///
/// A vote against a certificate that the same signer signed is such a pair as well: the certificate holds its vote.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Evidence {
    first: Vote,
    second: Vote,
}

/// Why evidence proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// The votes are of different signers, epochs or views, or an honest validator may cast both.
    #[error("the two votes do not exclude each other")]
    NoConflict,
    /// The signer is not in the set.
    #[error("validator {0} is not in the set")]
    UnknownSigner(ValidatorIndex),
    /// A signature is wrong.
    #[error("a signature of validator {0} is wrong")]
    BadSignature(ValidatorIndex),
}

impl Evidence {
    /// Pairs two votes that exclude each other; signatures are not looked at.
    #[must_use]
    pub fn new(first: Vote, second: Vote) -> Option<Self> {
        (first.signer == second.signer && excludes(&first.subject, &second.subject)).then_some(Self { first, second })
    }

    /// The accused.
    #[must_use]
    pub const fn signer(&self) -> ValidatorIndex {
        self.first.signer
    }

    /// The two votes.
    #[must_use]
    pub const fn votes(&self) -> (&Vote, &Vote) {
        (&self.first, &self.second)
    }

    /// Checks conflict and signatures; needs nothing but the validator set of the epoch.
    ///
    /// # Errors
    /// The votes do not exclude each other, the signer is unknown, or a signature is wrong.
    pub fn verify(&self, set: &ValidatorSet, genesis: &Hash) -> Result<(), EvidenceError> {
        if self.first.signer != self.second.signer || !excludes(&self.first.subject, &self.second.subject) {
            return Err(EvidenceError::NoConflict);
        }
        let signer = self.signer();
        let key = set.get(signer).ok_or(EvidenceError::UnknownSigner(signer))?.key;
        if self.first.is_signed_by(&key, genesis) && self.second.is_signed_by(&key, genesis) {
            Ok(())
        } else {
            Err(EvidenceError::BadSignature(signer))
        }
    }
}

/// R17: whether an honest validator never signs both.
pub(crate) fn excludes(first: &Subject, second: &Subject) -> bool {
    if first.epoch() != second.epoch() || first.view() != second.view() {
        return false;
    }
    match (first, second) {
        (Subject::Notarize(one), Subject::Notarize(other)) | (Subject::Finalize(one), Subject::Finalize(other)) => {
            one != other
        }
        (Subject::Finalize(_), Subject::Nullify { .. }) | (Subject::Nullify { .. }, Subject::Finalize(_)) => true,
        (Subject::Nullify { .. }, Subject::Nullify { .. } | Subject::Notarize(_))
        | (Subject::Notarize(_), Subject::Nullify { .. } | Subject::Finalize(_))
        | (Subject::Finalize(_), Subject::Notarize(_)) => false,
    }
}
