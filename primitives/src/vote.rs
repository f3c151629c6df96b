//! Proposals and votes, and the bytes that are signed.
#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use crate::crypto::{KeyPair, PublicKey, Signature, verify};
use crate::hash::Hash;
use crate::number::{Epoch, View};
use crate::validator::ValidatorIndex;
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The domain tag of votes.
const VOTE_DOMAIN: &[u8] = b"cairn/vote/1";

/// A block put forward in a view, on the block of an earlier view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, TypeInfo)]
pub struct Proposal {
    /// The epoch.
    pub epoch: Epoch,
    /// The view in which it is put forward.
    pub view: View,
    /// The view of the parent; 0 for the block that opened the epoch.
    pub parent_view: View,
    /// The block's hash.
    pub block: Hash,
}

/// The kinds of votes and certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, TypeInfo)]
pub enum VoteKind {
    /// The block may be built upon.
    #[codec(index = 0)]
    Notarize,
    /// The view is given up.
    #[codec(index = 1)]
    Nullify,
    /// The block is final.
    #[codec(index = 2)]
    Finalize,
}

/// What a vote or a certificate is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, TypeInfo)]
pub enum Subject {
    /// The proposal may be built upon.
    #[codec(index = 0)]
    Notarize(Proposal),
    /// The view is given up.
    #[codec(index = 1)]
    Nullify {
        /// The epoch.
        epoch: Epoch,
        /// The view.
        view: View,
    },
    /// The proposal is final.
    #[codec(index = 2)]
    Finalize(Proposal),
}

impl Subject {
    /// The kind of vote.
    #[must_use]
    pub const fn kind(&self) -> VoteKind {
        match self {
            Self::Notarize(_) => VoteKind::Notarize,
            Self::Nullify { .. } => VoteKind::Nullify,
            Self::Finalize(_) => VoteKind::Finalize,
        }
    }

    /// The epoch.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        match self {
            Self::Notarize(proposal) | Self::Finalize(proposal) => proposal.epoch,
            Self::Nullify { epoch, .. } => *epoch,
        }
    }

    /// The view.
    #[must_use]
    pub const fn view(&self) -> View {
        match self {
            Self::Notarize(proposal) | Self::Finalize(proposal) => proposal.view,
            Self::Nullify { view, .. } => *view,
        }
    }

    /// The proposal, where there is one.
    #[must_use]
    pub const fn proposal(&self) -> Option<&Proposal> {
        match self {
            Self::Notarize(proposal) | Self::Finalize(proposal) => Some(proposal),
            Self::Nullify { .. } => None,
        }
    }

    /// The bytes that are signed: domain tag, genesis hash, then the encoded subject (kind first).
    #[must_use]
    pub fn signing_payload(&self, genesis: &Hash) -> Vec<u8> {
        let mut payload = Vec::with_capacity(128);
        payload.extend_from_slice(VOTE_DOMAIN);
        payload.extend_from_slice(&genesis.0);
        self.encode_to(&mut payload);
        payload
    }
}

/// One validator's signed vote.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Vote {
    /// What is voted for.
    pub subject: Subject,
    /// Who votes.
    pub signer: ValidatorIndex,
    /// The signature over [`Subject::signing_payload`].
    pub signature: Signature,
}

impl Vote {
    /// Signs a vote.
    #[must_use]
    pub fn sign(subject: Subject, signer: ValidatorIndex, key: &KeyPair, genesis: &Hash) -> Self {
        Self { subject, signer, signature: key.sign(&subject.signing_payload(genesis)) }
    }

    /// Whether the signature is `key`'s.
    #[must_use]
    pub fn is_signed_by(&self, key: &PublicKey, genesis: &Hash) -> bool {
        verify(key, &self.subject.signing_payload(genesis), &self.signature)
    }
}

#[cfg(test)]
mod tests;
