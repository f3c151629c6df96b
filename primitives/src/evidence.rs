//! Proof that a validator signed two things that exclude each other (consensus rule R17).
//!
//! It names the accused by key, so whoever knows the genesis hash can check it; no validator set is needed.

use crate::crypto::{PublicKey, Signature, verify};
use crate::hash::Hash;
use crate::number::{Epoch, View};
use crate::vote::{Subject, Vote};
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// Two votes of one key in one view that no honest validator casts both.
///
/// A vote against a certificate that the same signer signed is such a pair as well: the certificate holds its vote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, TypeInfo)]
pub struct Evidence {
    offender: PublicKey,
    first: SignedSubject,
    second: SignedSubject,
}

/// What was signed, and the signature over [`Subject::signing_payload`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, TypeInfo)]
pub struct SignedSubject {
    /// What was voted for.
    pub subject: Subject,
    /// The signature.
    pub signature: Signature,
}

/// Why evidence proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// The votes are of different epochs or views, or an honest validator may cast both.
    #[error("the two votes do not exclude each other")]
    NoConflict,
    /// A signature is wrong.
    #[error("a vote is not signed by {0}")]
    BadSignature(PublicKey),
}

impl Evidence {
    /// Pairs two votes of `offender` that exclude each other; signatures are not looked at.
    #[must_use]
    pub fn new(offender: PublicKey, first: &Vote, second: &Vote) -> Option<Self> {
        let signed = |vote: &Vote| SignedSubject { subject: vote.subject, signature: vote.signature };
        let is_conflict = first.signer == second.signer && excludes(&first.subject, &second.subject);
        is_conflict.then(|| Self { offender, first: signed(first), second: signed(second) })
    }

    /// The key of the accused.
    #[must_use]
    pub const fn offender(&self) -> PublicKey {
        self.offender
    }

    /// The two votes.
    #[must_use]
    pub const fn votes(&self) -> (&SignedSubject, &SignedSubject) {
        (&self.first, &self.second)
    }

    /// The epoch in which the votes were cast.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.first.subject.epoch()
    }

    /// The view in which the votes were cast.
    #[must_use]
    pub const fn view(&self) -> View {
        self.first.subject.view()
    }

    /// Checks conflict and signatures.
    ///
    /// # Errors
    /// The votes do not exclude each other, or a signature is not the offender's.
    pub fn verify(&self, genesis: &Hash) -> Result<(), EvidenceError> {
        if !excludes(&self.first.subject, &self.second.subject) {
            return Err(EvidenceError::NoConflict);
        }
        let is_signed =
            |vote: &SignedSubject| verify(&self.offender, &vote.subject.signing_payload(genesis), &vote.signature);
        if is_signed(&self.first) && is_signed(&self.second) {
            Ok(())
        } else {
            Err(EvidenceError::BadSignature(self.offender))
        }
    }
}

/// R17: whether an honest validator never signs both.
#[must_use]
pub fn excludes(first: &Subject, second: &Subject) -> bool {
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
