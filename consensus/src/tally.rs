//! Counting votes of one kind in one view (R16).
//!
//! Signatures are not checked when a vote comes in. Once the power behind one subject, checked or not, could make a
//! certificate, the unchecked ones are verified in one batch; those that fail are thrown out and their signers named.

use crate::mutant::{Mutant, is_on};
use cairn_primitives::crypto::{SignedMessage, verify_batch};
use cairn_primitives::{Certificate, Hash, Power, Subject, ValidatorIndex, ValidatorSet, Vote};
use std::collections::BTreeMap;

/// The votes of one kind in one view, one per signer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    votes: BTreeMap<ValidatorIndex, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    vote: Vote,
    trust: Trust,
}

/// Whether a vote's signature was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Not yet.
    Unchecked,
    /// It is right.
    Verified,
}

/// What became of a vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// It counts.
    New,
    /// The signer said this before.
    Repeated,
    /// The signer said something else before: this.
    Contradicts(Vote),
}

/// What counting found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count {
    /// The certificate, if the verified votes hold a quorum.
    pub(crate) certificate: Option<Certificate>,
    /// Signers of votes that do not verify; these are gone.
    pub(crate) offenders: Vec<ValidatorIndex>,
}

impl Tally {
    /// R15: takes a vote; each signer has one.
    pub(crate) fn admit(&mut self, vote: Vote, trust: Trust) -> Admitted {
        match self.votes.get(&vote.signer) {
            None => {
                self.votes.insert(vote.signer, Entry { vote, trust });
                Admitted::New
            }
            Some(entry) if entry.vote.subject == vote.subject => Admitted::Repeated,
            Some(entry) => Admitted::Contradicts(entry.vote.clone()),
        }
    }

    /// The vote of a signer.
    pub(crate) fn vote(&self, signer: ValidatorIndex) -> Option<&Vote> {
        self.votes.get(&signer).map(|entry| &entry.vote)
    }

    /// All votes, by signer.
    pub(crate) fn votes(&self) -> impl Iterator<Item = &Vote> {
        self.votes.values().map(|entry| &entry.vote)
    }

    /// Forgets the vote of a signer whose signature turned out wrong.
    pub(crate) fn remove(&mut self, signer: ValidatorIndex) {
        self.votes.remove(&signer);
    }

    /// The power of all signers.
    pub(crate) fn power(&self, set: &ValidatorSet) -> Power {
        self.power_where(set, |_| true)
    }

    /// R16: verifies what must be verified to know whether `subject` has a quorum.
    pub(crate) fn count(&mut self, subject: &Subject, set: &ValidatorSet, genesis: &Hash) -> Count {
        let quorum = if is_on(Mutant::CountTwice) { Power(set.quorum().0.div_ceil(2)) } else { set.quorum() };
        if self.power_where(set, |entry| entry.vote.subject == *subject) < quorum {
            return Count::default();
        }
        let offenders = self.verify_unchecked(subject, set, genesis);
        let verified = |entry: &Entry| entry.vote.subject == *subject && entry.trust == Trust::Verified;
        if self.power_where(set, verified) < quorum {
            return Count { certificate: None, offenders };
        }
        let signatures =
            self.votes.values().filter(|entry| verified(entry)).map(|entry| (entry.vote.signer, entry.vote.signature));
        Count { certificate: Some(Certificate::from_signatures(*subject, signatures, set)), offenders }
    }

    fn verify_unchecked(&mut self, subject: &Subject, set: &ValidatorSet, genesis: &Hash) -> Vec<ValidatorIndex> {
        let payload = subject.signing_payload(genesis);
        let unchecked = |entry: &Entry| entry.vote.subject == *subject && entry.trust == Trust::Unchecked;
        let items: Vec<_> = self
            .votes
            .values()
            .filter(|entry| unchecked(entry))
            .filter_map(|entry| {
                let key = set.get(entry.vote.signer)?.key;
                Some(SignedMessage { key, message: &payload, signature: entry.vote.signature })
            })
            .collect();
        let mut valid = verify_batch(&items).into_iter();
        let mut offenders = Vec::new();
        self.votes.retain(|signer, entry| {
            if !unchecked(entry) {
                return true;
            }
            let holds = valid.next().unwrap_or(false) || is_on(Mutant::TrustSignatures);
            if holds {
                entry.trust = Trust::Verified;
            } else {
                offenders.push(*signer);
            }
            holds
        });
        offenders
    }

    fn power_where(&self, set: &ValidatorSet, counts: impl Fn(&Entry) -> bool) -> Power {
        let powers = self
            .votes
            .iter()
            .filter(|(_, entry)| counts(entry))
            .filter_map(|(signer, _)| set.get(*signer).map(|validator| validator.power.0));
        Power(powers.fold(0, u64::saturating_add))
    }
}
