//! What a light client verifies: that a header is final, and that a value is or is not in its state.
//!
//! ```text
//! TrustAnchor (genesis hash, validators) ─ certificate ─► FinalHeader ─ parent links ─► FinalHeader of an older block
//!    │                                 │                       ├─ state proof ─► value, or its absence
//!    │                                 │                       └─ place proof ─► extrinsic, event
//!    │                                 └─ history proof ─► FinalHeader of any older block
//!    └─ closing header, its finalization, the next validators ─► TrustAnchor of the next epoch
//! ```
//! A walk from genesis needs one header, one finalization and one validator set for each epoch. Who trusts the hash of a
//! later block begins there, and reaches what is older by a history proof.
//!
//! A [`FinalHeader`] exists only where the proof was checked. Nothing here asks anyone: the caller brings headers,
//! certificates and proofs from wherever it likes, and need not trust the source.

use crate::certificate::{Certificate, CertificateError};
use crate::epoch::EpochSchedule;
use crate::hash::Hash;
use crate::header::{ContextError, Header};
use crate::list_tree::{InclusionProof, PlaceProof};
use crate::number::{Epoch, Height};
use crate::state_proof::{ProofError, StateProof};
use crate::validator::ValidatorSet;
use crate::vote::Subject;

/// What is trusted before anything is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustAnchor {
    genesis: Hash,
    schedule: EpochSchedule,
    epoch: Epoch,
    validators: ValidatorSet,
}

/// A header that a quorum of the trusted validators made final, directly or through a descendant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalHeader {
    header: Header,
    hash: Hash,
}

/// Why something was not proved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LightError {
    /// The genesis header has another hash.
    #[error("the genesis header hashes to {actual}, trusted is {trusted}")]
    Genesis {
        /// Of the header.
        actual: Hash,
        /// Of the anchor.
        trusted: Hash,
    },
    /// The header is not the one that is trusted.
    #[error("the header hashes to {actual}, the trusted checkpoint is {trusted}")]
    Checkpoint {
        /// Of the header.
        actual: Hash,
        /// Known beforehand.
        trusted: Hash,
    },
    /// The header names another validator set than the trusted one.
    #[error("the header commits to the validators {actual}, the trusted set is {trusted}")]
    Validators {
        /// Of the header.
        actual: Hash,
        /// Of the anchor.
        trusted: Hash,
    },
    /// The header or the certificate is of another epoch than the trusted validators.
    #[error("the {what} is of epoch {actual}, the trusted validators are those of epoch {trusted}")]
    Epoch {
        /// What was looked at.
        what: &'static str,
        /// Found.
        actual: Epoch,
        /// Of the anchor.
        trusted: Epoch,
    },
    /// The header is not the last one of the trusted epoch, so the validators it names as the next may still change.
    #[error("the header of height {height} does not close epoch {epoch}")]
    NotClosing {
        /// Of the header.
        height: Height,
        /// Of the anchor.
        epoch: Epoch,
    },
    /// The validators offered for the next epoch are not those the header names.
    #[error("the header names the next validators {named}, those offered hash to {offered}")]
    NextValidators {
        /// In the header.
        named: Hash,
        /// Of the set.
        offered: Hash,
    },
    /// The header carries no consensus context.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The certificate is not a finalization.
    #[error("the certificate finalizes nothing: it is of another kind of vote")]
    NotFinalization,
    /// The certificate is of another block.
    #[error("the certificate finalizes block {certified}, the header hashes to {header}")]
    OtherBlock {
        /// In the certificate.
        certified: Hash,
        /// Of the header.
        header: Hash,
    },
    /// The certificate does not hold.
    #[error("the finalization does not hold: {0}")]
    Certificate(#[from] CertificateError),
    /// The header is not the parent that the child names.
    #[error("the header hashes to {actual}, its child names the parent {expected}")]
    Parent {
        /// Of the header.
        actual: Hash,
        /// In the child.
        expected: Hash,
    },
    /// The proof does not hold.
    #[error("the state proof does not hold: {0}")]
    State(#[from] ProofError),
    /// The proof is not one of this item and place under the header's root.
    #[error("the proof does not show that {item} of block {height}")]
    List {
        /// What was to be shown.
        item: &'static str,
        /// Of the header.
        height: Height,
    },
}

impl TrustAnchor {
    /// Trust in a genesis hash and the validators of its first epoch, both known beforehand. Until
    /// [`Self::with_schedule`], the epoch has no end.
    #[must_use]
    pub const fn new(genesis: Hash, validators: ValidatorSet) -> Self {
        Self { genesis, schedule: EpochSchedule::new(0), epoch: Epoch::ZERO, validators }
    }

    /// The same, with the length of epochs, which has to be known beforehand too: it is in the chain spec, whose hash the
    /// genesis header carries. Headers do not say whether they close an epoch, and only of one that does are the next
    /// validators the ones that follow.
    #[must_use]
    pub const fn with_schedule(mut self, schedule: EpochSchedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// Trust in a genesis hash alone: the header must hash to it and names the validators.
    ///
    /// # Errors
    /// The header or the validators are not those of the chain.
    pub fn from_genesis(trusted: Hash, genesis: &Header, validators: ValidatorSet) -> Result<Self, LightError> {
        let actual = genesis.hash();
        if actual != trusted {
            return Err(LightError::Genesis { actual, trusted });
        }
        let anchor = Self::new(trusted, validators);
        anchor.check_context(genesis)?;
        Ok(anchor)
    }

    /// Trust in the hash of any final block, beside genesis and the length of epochs: the header must hash to it, and
    /// names the validators of its epoch.
    ///
    /// # Errors
    /// The header has another hash, or another epoch than its height; the validators are not those that it names.
    pub fn from_checkpoint(
        genesis: Hash,
        schedule: EpochSchedule,
        trusted: Hash,
        header: &Header,
        validators: ValidatorSet,
    ) -> Result<Self, LightError> {
        let actual = header.hash();
        if actual != trusted {
            return Err(LightError::Checkpoint { actual, trusted });
        }
        let anchor = Self { genesis, schedule, epoch: schedule.epoch_of(header.height()), validators };
        anchor.check_context(header)?;
        Ok(anchor)
    }

    /// The genesis hash.
    #[must_use]
    pub const fn genesis(&self) -> Hash {
        self.genesis
    }

    /// The epoch of the trusted validators.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Which heights belong to which epoch.
    #[must_use]
    pub const fn schedule(&self) -> EpochSchedule {
        self.schedule
    }

    /// The trusted validators.
    #[must_use]
    pub const fn validators(&self) -> &ValidatorSet {
        &self.validators
    }

    /// Verifies that the header is the trusted genesis: final without a certificate.
    ///
    /// # Errors
    /// It is another header.
    pub fn verify_genesis(&self, header: Header) -> Result<FinalHeader, LightError> {
        let hash = header.hash();
        if hash == self.genesis {
            return Ok(FinalHeader { header, hash });
        }
        Err(LightError::Genesis { actual: hash, trusted: self.genesis })
    }

    /// Verifies that a certificate of the trusted validators makes the header final.
    ///
    /// # Errors
    /// The header is of another epoch or validator set; the certificate is of another kind or block, lacks a quorum or has
    /// a wrong signature.
    pub fn verify_final(&self, header: Header, certificate: &Certificate) -> Result<FinalHeader, LightError> {
        self.check_context(&header)?;
        let Subject::Finalize(proposal) = certificate.subject else { return Err(LightError::NotFinalization) };
        let hash = header.hash();
        if proposal.block != hash {
            return Err(LightError::OtherBlock { certified: proposal.block, header: hash });
        }
        self.check_epoch("certificate", proposal.epoch)?;
        certificate.verify(&self.validators, &self.genesis)?;
        Ok(FinalHeader { header, hash })
    }

    /// Trust in the validators of the next epoch: a quorum of the present ones made the epoch's last block final, and its
    /// header names them.
    ///
    /// # Errors
    /// The header does not close this epoch, the finalization does not hold, or the set is another one.
    pub fn advance(&self, closing: Header, finalization: &Certificate, next: ValidatorSet) -> Result<Self, LightError> {
        let height = closing.height();
        let closing = self.verify_final(closing, finalization)?;
        if self.schedule.closing(self.epoch) != Some(height) {
            return Err(LightError::NotClosing { height, epoch: self.epoch });
        }
        let (named, offered) = (closing.header().context()?.next_validators_hash, next.hash());
        if named != offered {
            return Err(LightError::NextValidators { named, offered });
        }
        Ok(Self { epoch: self.epoch.next(), validators: next, ..*self })
    }

    fn check_context(&self, header: &Header) -> Result<(), LightError> {
        let context = header.context()?;
        self.check_epoch("header", context.epoch)?;
        let (actual, trusted) = (context.validators_hash, self.validators.hash());
        if actual == trusted { Ok(()) } else { Err(LightError::Validators { actual, trusted }) }
    }

    fn check_epoch(&self, what: &'static str, actual: Epoch) -> Result<(), LightError> {
        if actual == self.epoch { Ok(()) } else { Err(LightError::Epoch { what, actual, trusted: self.epoch }) }
    }
}

impl FinalHeader {
    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Its hash.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// Verifies that a header is the parent of this one, and so final too.
    ///
    /// # Errors
    /// It is another header.
    pub fn verify_parent(&self, parent: Header) -> Result<Self, LightError> {
        let (actual, expected) = (parent.hash(), self.header.parent_hash);
        if actual == expected {
            return Ok(Self { header: parent, hash: actual });
        }
        Err(LightError::Parent { actual, expected })
    }

    /// Verifies that a header is of an older block of the same chain, and so final too.
    ///
    /// # Errors
    /// The proof is not of that block in the history of this one.
    pub fn verify_ancestor(&self, ancestor: Header, proof: &InclusionProof) -> Result<Self, LightError> {
        let refused = LightError::List { item: "the header is in the history", height: self.header.height() };
        let hash = ancestor.hash();
        // The history of a block is all before it, so its length and the place of each header are known.
        let fits = proof.index == u64::from(ancestor.number) && proof.count == u64::from(self.header.number);
        let root = self.header.context()?.history_root;
        if fits && proof.verify(&root, &hash.0) { Ok(Self { header: ancestor, hash }) } else { Err(refused) }
    }

    /// Verifies that the block's extrinsic at `index` is this one, in its encoding with the length prefix.
    ///
    /// # Errors
    /// The proof does not show it.
    pub fn verify_extrinsic(&self, index: u32, extrinsic: &[u8], proof: &PlaceProof) -> Result<(), LightError> {
        let refused = LightError::List { item: "this is the extrinsic", height: self.header.height() };
        let holds = proof.verify(&self.header.extrinsics_root, index.into(), extrinsic);
        if holds { Ok(()) } else { Err(refused) }
    }

    /// Verifies that the block's event at `index` is this encoded record.
    ///
    /// # Errors
    /// The proof does not show it.
    pub fn verify_event(&self, index: u32, record: &[u8], proof: &PlaceProof) -> Result<(), LightError> {
        let refused = LightError::List { item: "this is the event", height: self.header.height() };
        let holds = proof.verify(&self.header.context()?.events_root, index.into(), record);
        if holds { Ok(()) } else { Err(refused) }
    }

    /// Verifies that `key` has `value` in the state after this block, or no value at all.
    ///
    /// # Errors
    /// The proof is of another key, value or root.
    pub fn verify_state(&self, key: &[u8], value: Option<&[u8]>, proof: &StateProof) -> Result<(), LightError> {
        Ok(proof.verify(&self.header.state_root, key, value)?)
    }
}

#[cfg(test)]
mod tests;
