//! Casting our own votes, and sending them again: R6, R9, R10, R18.

use super::Engine;
use crate::guard::Refusal;
use crate::journal::JournalRecord;
use crate::mutant::{Mutant, is_on};
use crate::output::Output;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Block, Certificate, Subject, View, VoteKind};
use std::sync::Arc;

/// The most finalize votes sent again at a time: a finalization of the highest of them covers all below.
const FINALIZES_RESENT_MAX: usize = 8;

impl Engine {
    /// Signs a vote, has it journalled, and sends it: with its block if it is the leader's own.
    ///
    /// The callers know that the vote keeps the rules; the guard, which trusts nobody, may still refuse.
    /// Nobody needs votes of an epoch that is over.
    pub(super) fn cast(&mut self, subject: Subject, block: Option<Arc<Block>>, out: &mut Vec<Output>) {
        if self.is_closed() {
            return;
        }
        let Some(own) = &mut self.own else { return };
        let ballot = &mut self.rounds.entry(subject.view()).or_default().ballot;
        assert!(ballot.allows(subject.kind()), "a vote that contradicts an earlier one must never be signed");
        let vote = match own.guard.sign(subject, own.index) {
            Ok(vote) => vote,
            // The silence was reported when it began, and is in every state report.
            Err(Refusal::Silent) => return,
            Err(refusal) => return out.push(Output::VoteRefused { subject, refusal }),
        };
        ballot.record(vote.clone());
        out.push(Output::Journal(JournalRecord::Vote(vote.clone())));
        if self.config.validators.len() > 1 {
            let message = match (block, subject) {
                (Some(block), Subject::Notarize(proposal)) => {
                    ConsensusMessage::Proposal { proposal, block, vote: vote.clone() }
                }
                _ => ConsensusMessage::Vote(vote.clone()),
            };
            out.push(Output::Broadcast(message));
        }
        self.own_votes.push_back(vote);
    }

    /// R9: votes to finalize, if the rules allow it.
    pub(super) fn try_finalize(&mut self, view: View, out: &mut Vec<Output>) {
        if view <= self.finalized.view || self.own.is_none() {
            return;
        }
        let Some(round) = self.round(view) else { return };
        let is_equivocated = round.slot.as_ref().is_some_and(|slot| slot.equivocated);
        let notarized = round.notarization.as_ref().and_then(|certificate| certificate.subject.proposal());
        let unnotarized = round.slot.as_ref().filter(|_| is_on(Mutant::FinalizeUnnotarized)).map(|slot| slot.proposal);
        let Some(proposal) = notarized.copied().or(unnotarized) else { return };
        let is_certified = round.certified_block() == Some(proposal.block)
            || is_on(Mutant::FinalizeUncertified)
            || is_on(Mutant::FinalizeUnnotarized);
        if is_certified && !is_equivocated && round.ballot.allows(VoteKind::Finalize) {
            self.cast(Subject::Finalize(proposal), None, out);
            self.finalize_again_at.get_or_insert(self.now.monotonic_ms.saturating_add(self.config.timing.retry_ms));
        }
    }

    /// R10, R18 and the passing on of certificates: whatever is due to be sent again.
    pub(super) fn resend(&mut self, out: &mut Vec<Output>) {
        let now = self.time();
        if self.current.expired.is_some() && self.current.nullify_again_at <= now {
            self.current.nullify_again_at = self.in_retry();
            self.resend_nullify(out);
        }
        if self.finalize_again_at.is_some_and(|again_at| again_at <= now) {
            self.resend_finalizes(out);
        }
        while self.relays.front().is_some_and(|relay| relay.at <= now) {
            if let Some(relay) = self.relays.pop_front() {
                self.relay(relay, out);
            }
        }
    }

    /// R10: our nullify once more, to everybody and to our own tally, and to those behind what lets them follow.
    fn resend_nullify(&mut self, out: &mut Vec<Output>) {
        let view = self.current.view;
        let Some(vote) = self.round(view).and_then(|round| round.ballot.vote(VoteKind::Nullify)).cloned() else {
            return;
        };
        if let Some(entry) = self.entry_certificate() {
            let behind = self.peers.connected().filter(|(_, peer)| peer.seen < view);
            out.extend(
                behind.map(|(to, _)| Output::Send { to, message: ConsensusMessage::Certificate(entry.clone()) }),
            );
        }
        out.push(Output::Broadcast(ConsensusMessage::Vote(vote.clone())));
        self.own_votes.push_back(vote);
    }

    /// R18: our finalize votes of views that are not finalized yet, once more.
    fn resend_finalizes(&mut self, out: &mut Vec<Output>) {
        let open = self.rounds.range(self.finalized.view.next()..).rev();
        let votes: Vec<_> = open
            .filter_map(|(_, round)| round.ballot.vote(VoteKind::Finalize))
            .take(FINALIZES_RESENT_MAX)
            .map(|vote| Output::Broadcast(ConsensusMessage::Vote(vote.clone())))
            .collect();
        self.finalize_again_at = (!votes.is_empty()).then(|| self.in_retry());
        out.extend(votes);
    }

    /// The best certificate that lets others enter the current view.
    pub(super) fn entry_certificate(&self) -> Option<&Certificate> {
        self.certificate_for(self.current.view.previous(), VoteKind::Notarize)
    }
}
