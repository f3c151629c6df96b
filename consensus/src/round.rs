//! What is known about one view.

use crate::mutant::{Mutant, is_on};
use crate::tally::Tally;
use cairn_primitives::evidence::excludes;
use cairn_primitives::{Certificate, Hash, Proposal, Subject, ValidatorIndex, Vote, VoteKind};
use std::collections::BTreeSet;

/// Everything known about one view.
#[derive(Clone, Debug, Default)]
pub(crate) struct Round {
    /// The proposal of the view (R4).
    pub(crate) slot: Option<Slot>,
    /// Notarize votes.
    pub(crate) notarizes: Tally,
    /// Nullify votes.
    pub(crate) nullifies: Tally,
    /// Finalize votes.
    pub(crate) finalizes: Tally,
    /// A verified notarization.
    pub(crate) notarization: Option<Certificate>,
    /// A verified nullification.
    pub(crate) nullification: Option<Certificate>,
    /// A verified finalization.
    pub(crate) finalization: Option<Certificate>,
    /// The verdict of certification and the block it is about (R8).
    pub(crate) verdict: Option<(Hash, bool)>,
    /// Our own votes.
    pub(crate) ballot: Ballot,
    /// Those whom evidence was given against in this view: once each.
    pub(crate) accused: BTreeSet<ValidatorIndex>,
}

/// The proposal of a view.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// The proposal.
    pub(crate) proposal: Proposal,
    /// Whether there is a second, different one: then we neither notarize nor finalize in this view.
    pub(crate) equivocated: bool,
    /// How far verification is.
    pub(crate) stage: Stage,
}

/// How far the verification of a proposal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It must be checked, not before this monotonic time.
    Waiting {
        /// In milliseconds.
        not_before: u64,
    },
    /// The ledger was asked.
    Asked,
    /// It is valid, and the block is ours to vote for.
    Verified,
    /// It is invalid.
    Refused,
    /// It came with a certificate: nobody needs our vote.
    Adopted,
}

/// Our own votes in one view. The only place where the exclusions R6, R9 and R10 are decided.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ballot {
    notarize: Option<Vote>,
    nullify: Option<Vote>,
    finalize: Option<Vote>,
}

impl Ballot {
    /// Whether a vote would keep the rules. R6: one notarize, none after nullify. R9: one finalize, none after nullify.
    /// R10: one nullify, none after finalize.
    pub(crate) fn allows(&self, kind: VoteKind) -> bool {
        let is_free = |vote: &Option<Vote>, breaks: Mutant| vote.is_none() || is_on(breaks);
        match kind {
            VoteKind::Notarize => is_free(&self.notarize, Mutant::NotarizeTwice) && self.nullify.is_none(),
            VoteKind::Nullify => self.nullify.is_none() && is_free(&self.finalize, Mutant::NullifyAfterFinalize),
            VoteKind::Finalize => self.finalize.is_none() && is_free(&self.nullify, Mutant::FinalizeAfterNullify),
        }
    }

    /// Remembers a vote about to be sent or found in the journal; the first of a kind stays.
    pub(crate) fn record(&mut self, vote: Vote) {
        let place = match vote.subject.kind() {
            VoteKind::Notarize => &mut self.notarize,
            VoteKind::Nullify => &mut self.nullify,
            VoteKind::Finalize => &mut self.finalize,
        };
        place.get_or_insert(vote);
    }

    /// Our vote of a kind.
    pub(crate) const fn vote(&self, kind: VoteKind) -> Option<&Vote> {
        match kind {
            VoteKind::Notarize => self.notarize.as_ref(),
            VoteKind::Nullify => self.nullify.as_ref(),
            VoteKind::Finalize => self.finalize.as_ref(),
        }
    }

    /// All our votes.
    pub(crate) fn votes(&self) -> impl Iterator<Item = &Vote> {
        [&self.notarize, &self.nullify, &self.finalize].into_iter().flatten()
    }
}

impl Round {
    /// The votes of a kind.
    pub(crate) const fn tally(&self, kind: VoteKind) -> &Tally {
        match kind {
            VoteKind::Notarize => &self.notarizes,
            VoteKind::Nullify => &self.nullifies,
            VoteKind::Finalize => &self.finalizes,
        }
    }

    /// The votes of a kind, to change.
    pub(crate) const fn tally_mut(&mut self, kind: VoteKind) -> &mut Tally {
        match kind {
            VoteKind::Notarize => &mut self.notarizes,
            VoteKind::Nullify => &mut self.nullifies,
            VoteKind::Finalize => &mut self.finalizes,
        }
    }

    /// The certificate of a kind.
    pub(crate) const fn certificate(&self, kind: VoteKind) -> Option<&Certificate> {
        match kind {
            VoteKind::Notarize => self.notarization.as_ref(),
            VoteKind::Nullify => self.nullification.as_ref(),
            VoteKind::Finalize => self.finalization.as_ref(),
        }
    }

    /// Stores a certificate of its kind; the first stays.
    pub(crate) fn put_certificate(&mut self, certificate: Certificate) {
        let place = match certificate.subject.kind() {
            VoteKind::Notarize => &mut self.notarization,
            VoteKind::Nullify => &mut self.nullification,
            VoteKind::Finalize => &mut self.finalization,
        };
        place.get_or_insert(certificate);
    }

    /// The block that is notarized or was certified here.
    pub(crate) fn notarized_block(&self) -> Option<Hash> {
        let proposal = self.notarization.as_ref().and_then(|certificate| certificate.subject.proposal());
        proposal.map(|proposal| proposal.block).or(self.verdict.map(|(block, _)| block))
    }

    /// The block, if certification held.
    pub(crate) const fn certified_block(&self) -> Option<Hash> {
        match self.verdict {
            Some((block, true)) => Some(block),
            Some((_, false)) | None => None,
        }
    }

    /// R4, R7: a certificate decides what the proposal of the view is.
    pub(crate) fn adopt(&mut self, proposal: Proposal) {
        match &mut self.slot {
            None => self.slot = Some(Slot { proposal, equivocated: false, stage: Stage::Adopted }),
            Some(slot) if slot.proposal == proposal => {}
            Some(slot) => *slot = Slot { proposal, equivocated: true, stage: Stage::Adopted },
        }
    }

    /// R17: a vote by the same signer that `vote` excludes, from the tallies or out of a certificate.
    pub(crate) fn conflict(&self, vote: &Vote) -> Option<Vote> {
        let tallies = [&self.notarizes, &self.nullifies, &self.finalizes];
        let counted = tallies.into_iter().filter_map(|tally| tally.vote(vote.signer));
        if let Some(other) = counted.into_iter().find(|other| excludes(&other.subject, &vote.subject)) {
            return Some(other.clone());
        }
        [&self.notarization, &self.nullification, &self.finalization]
            .into_iter()
            .flatten()
            .filter(|certificate| excludes(&certificate.subject, &vote.subject))
            .find_map(|certificate| vote_in(certificate, vote.signer))
    }

    /// R17: votes in the tallies that `certificate` excludes, each with the one its signer gave in the certificate.
    pub(crate) fn conflicts_with(&self, certificate: &Certificate) -> Vec<(Vote, Vote)> {
        let held = [&self.notarization, &self.nullification, &self.finalization]
            .into_iter()
            .flatten()
            .filter(|held| excludes(&held.subject, &certificate.subject))
            .flat_map(|held| {
                let subject = held.subject;
                held.signatures().map(move |(signer, signature)| Vote { subject, signer, signature })
            });
        [&self.notarizes, &self.nullifies, &self.finalizes]
            .into_iter()
            .flat_map(Tally::votes)
            .filter(|vote| excludes(&vote.subject, &certificate.subject))
            .cloned()
            .chain(held)
            .filter_map(|vote| vote_in(certificate, vote.signer).map(|other| (vote, other)))
            .collect()
    }

    /// Frees what a decided view far back no longer needs: only its certificates and our own votes stay.
    pub(crate) fn drop_tallies(&mut self) {
        self.notarizes = Tally::default();
        self.nullifies = Tally::default();
        self.finalizes = Tally::default();
    }
}

fn vote_in(certificate: &Certificate, signer: ValidatorIndex) -> Option<Vote> {
    let subject: Subject = certificate.subject;
    certificate.signatures().find(|(index, _)| *index == signer).map(|(signer, signature)| Vote {
        subject,
        signer,
        signature,
    })
}
