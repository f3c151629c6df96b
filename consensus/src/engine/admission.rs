//! What comes in from other validators: R4, R13, R15, R16, R17.

use super::{Engine, Relay};
use crate::journal::JournalRecord;
use crate::mutant::{Mutant, is_on};
use crate::output::{Offence, Output};
use crate::peers::BLOCK_COST;
use crate::round::{Slot, Stage};
use crate::tally::{Admitted, Trust};
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Block, Certificate, Evidence, Proposal, Subject, ValidatorIndex, View, Vote, VoteKind};
use std::sync::Arc;

/// Certificates are passed on after this part of the retry interval, and by then only to those who seem not to have them.
const RELAY_PART: u64 = 4;

/// The most certificates waiting to be passed on.
const RELAYS_MAX: usize = 64;

/// Where a certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// We put it together from votes.
    Formed,
    /// Somebody sent it, and it was verified.
    Received,
    /// It was in our journal, and was verified.
    Replayed,
}

impl Engine {
    pub(super) fn handle_message(&mut self, from: ValidatorIndex, message: ConsensusMessage, out: &mut Vec<Output>) {
        let now = self.time();
        let Some(peer) = self.peers.get_mut(from) else { return };
        peer.heard_at = Some(now);
        let cost = match &message {
            ConsensusMessage::FetchCertificate { .. } | ConsensusMessage::Probe { .. } => 1,
            ConsensusMessage::FetchBlock(_) => BLOCK_COST,
            ConsensusMessage::Proposal { .. }
            | ConsensusMessage::Vote(_)
            | ConsensusMessage::Certificate(_)
            | ConsensusMessage::Block(_)
            | ConsensusMessage::Evidence(_)
            | ConsensusMessage::Standing { .. } => 0,
        };
        if cost > 0 && !peer.may_ask(cost, now, self.config.timing.retry_ms) {
            return;
        }
        match message {
            ConsensusMessage::Proposal { proposal, block, vote } => {
                self.handle_proposal(from, proposal, block, vote, out);
            }
            ConsensusMessage::Vote(vote) => self.handle_vote(from, vote, out),
            ConsensusMessage::Certificate(certificate) => self.handle_certificate(from, certificate, out),
            ConsensusMessage::FetchCertificate { kind, epoch, view } => {
                self.serve_certificate(from, kind, epoch, view, out);
            }
            ConsensusMessage::FetchBlock(hash) => self.serve_block(from, hash, out),
            ConsensusMessage::Block(block) => self.handle_block(from, block, out),
            ConsensusMessage::Probe { epoch } => self.answer_probe(from, epoch, out),
            ConsensusMessage::Standing { epoch, view, entry } => self.handle_standing(from, epoch, view, entry, out),
            // Whoever runs the engines of all epochs takes it.
            ConsensusMessage::Evidence(_) => {}
        }
    }

    /// R4: the first proposal of a leader fills the slot of its view, a different one marks it equivocated.
    fn handle_proposal(
        &mut self,
        from: ValidatorIndex,
        proposal: Proposal,
        block: Arc<Block>,
        vote: Vote,
        out: &mut Vec<Output>,
    ) {
        let view = proposal.view;
        if proposal.epoch != self.config.epoch {
            return; // R15: it may be ahead.
        }
        let is_leaders = from == self.schedule.leader(view) && vote.signer == from;
        let is_consistent = vote.subject == Subject::Notarize(proposal) && proposal.parent_view < view;
        if !is_leaders || !is_consistent {
            return blame(from, Offence::BadProposal, out);
        }
        if view > self.finalized.view && view <= self.current.view.next() {
            if block.header.hash() != proposal.block {
                return blame(from, Offence::BadProposal, out);
            }
            if !self.take_body(from, &proposal, block, out) {
                return;
            }
            let round = self.rounds.entry(view).or_default();
            match &mut round.slot {
                None => {
                    let stage = Stage::Waiting { not_before: 0 };
                    round.slot = Some(Slot { proposal, equivocated: false, stage });
                }
                Some(slot) if is_on(Mutant::NotarizeTwice) && slot.proposal != proposal => {
                    *slot = Slot { proposal, equivocated: false, stage: Stage::Waiting { not_before: 0 } };
                }
                Some(slot) => slot.equivocated |= slot.proposal != proposal,
            }
        }
        self.handle_vote(from, vote, out);
    }

    /// Keeps the body of a proposal that is, or may become, the one of its view; `false` if it is not what its header says.
    fn take_body(
        &mut self,
        from: ValidatorIndex,
        proposal: &Proposal,
        block: Arc<Block>,
        out: &mut Vec<Output>,
    ) -> bool {
        let round = self.round(proposal.view);
        let is_of_use = round.is_none_or(|round| {
            round.slot.as_ref().is_none_or(|slot| slot.proposal == *proposal)
                || round.notarized_block() == Some(proposal.block)
                || is_on(Mutant::NotarizeTwice)
        });
        if !is_of_use || self.chain.node(&proposal.block).is_some() {
            return true;
        }
        if block.extrinsics_root() != block.header.extrinsics_root {
            blame(from, Offence::BadBlock, out);
            return false;
        }
        // A block that is not above the head, or has no context, is refused when it is verified.
        self.chain.insert(proposal.block, block);
        true
    }

    fn handle_vote(&mut self, from: ValidatorIndex, vote: Vote, out: &mut Vec<Output>) {
        if vote.signer != from {
            return blame(from, Offence::NotTheSigner, out); // R15
        }
        if vote.subject.epoch() != self.config.epoch {
            return; // R15: it may be ahead.
        }
        let view = vote.subject.view();
        if let Some(peer) = self.peers.get_mut(from) {
            peer.seen = peer.seen.max(view);
        }
        self.admit(vote, Trust::Unchecked, out);
    }

    pub(super) fn admit_own(&mut self, vote: Vote, out: &mut Vec<Output>) {
        self.admit(vote, Trust::Verified, out);
    }

    /// R15, R16: counts a vote.
    fn admit(&mut self, vote: Vote, trust: Trust, out: &mut Vec<Output>) {
        let (subject, signer) = (vote.subject, vote.signer);
        let (view, kind) = (subject.view(), subject.kind());
        if view == View::ZERO || view > self.current.view.next() {
            return; // R15
        }
        let is_finalized = view <= self.finalized.view;
        if view.0 < self.finalized.view.0.saturating_sub(self.config.retention) || self.is_dropped(view) {
            return self.assist(signer, view, out); // R15
        }
        let round = self.rounds.entry(view).or_default();
        if let Some(other) = round.conflict(&vote) {
            self.accuse(other, vote.clone(), out); // R17
        }
        let tally = self.rounds.entry(view).or_default().tally_mut(kind);
        match tally.admit(vote, trust) {
            Admitted::New if is_finalized && kind == VoteKind::Nullify => self.assist(signer, view, out),
            Admitted::New if is_finalized => {}
            Admitted::New => self.count(&subject, out),
            Admitted::Repeated => self.assist(signer, view, out),
            Admitted::Contradicts(_) => {} // R15: one vote of each kind
        }
    }

    /// Whether the votes of a view are no longer looked at: it was nullified long ago.
    fn is_dropped(&self, view: View) -> bool {
        view.0 < self.current.view.0.saturating_sub(self.config.retention) && self.is_nullified(view)
    }

    /// R16: makes a certificate if the votes for a subject hold a quorum.
    fn count(&mut self, subject: &Subject, out: &mut Vec<Output>) {
        let (view, kind) = (subject.view(), subject.kind());
        let round = self.rounds.entry(view).or_default();
        if round.certificate(kind).is_some() {
            return;
        }
        let count = round.tally_mut(kind).count(subject, &self.config.validators, &self.config.genesis);
        for offender in count.offenders {
            blame(offender, Offence::BadSignature, out);
        }
        if let Some(certificate) = count.certificate {
            self.accept_certificate(certificate, Source::Formed, out);
        }
    }

    /// R15: verifies a certificate that is new to us; one that is known costs nothing.
    pub(super) fn handle_certificate(&mut self, from: ValidatorIndex, certificate: Certificate, out: &mut Vec<Output>) {
        let subject = certificate.subject;
        if subject.epoch() != self.config.epoch || self.is_certificate_known(&subject) {
            return;
        }
        if subject.view() == View::ZERO || certificate.verify(&self.config.validators, &self.config.genesis).is_err() {
            return blame(from, Offence::BadCertificate, out);
        }
        self.accept_certificate(certificate, Source::Received, out);
    }

    /// Whether a certificate of this kind and view, or one that covers it, is held.
    pub(super) fn is_certificate_known(&self, subject: &Subject) -> bool {
        let view = subject.view();
        view <= self.finalized.view && view != View::ZERO
            || self.round(view).is_some_and(|round| round.certificate(subject.kind()).is_some())
    }

    /// R7, R13, R14: takes a verified certificate that is new.
    pub(super) fn accept_certificate(&mut self, certificate: Certificate, source: Source, out: &mut Vec<Output>) {
        let subject = certificate.subject;
        let (view, kind) = (subject.view(), subject.kind());
        if source != Source::Replayed {
            out.push(Output::Journal(JournalRecord::Certificate(certificate.clone())));
        }
        if source != Source::Formed {
            self.inspect_own_votes(&certificate, out);
        }
        let round = self.rounds.entry(view).or_default();
        let conflicts = round.conflicts_with(&certificate);
        round.put_certificate(certificate.clone());
        for (first, second) in conflicts {
            self.accuse(first, second, out); // R17
        }
        match subject {
            Subject::Notarize(proposal) => self.on_notarization(proposal, out),
            Subject::Nullify { .. } => self.enter(view.next(), out), // R13
            Subject::Finalize(proposal) => self.on_finalization(proposal, certificate, out),
        }
        if source == Source::Formed && self.relays.len() < RELAYS_MAX {
            let part = self.config.timing.retry_ms.checked_div(RELAY_PART).unwrap_or(0).max(1);
            self.relays.push_back(Relay { at: self.time().saturating_add(part), view, kind });
        }
    }

    /// A block that we asked for; any other is ignored.
    fn handle_block(&mut self, from: ValidatorIndex, block: Arc<Block>, out: &mut Vec<Output>) {
        let hash = block.header.hash();
        if !self.wants().has_block(&hash) {
            return;
        }
        if block.extrinsics_root() != block.header.extrinsics_root {
            return blame(from, Offence::BadBlock, out);
        }
        self.chain.insert(hash, block);
    }

    /// R17: gives evidence of two votes that exclude each other, once for each signer and view, after checking both.
    fn accuse(&mut self, first: Vote, second: Vote, out: &mut Vec<Output>) {
        let signer = first.signer;
        let view = first.subject.view();
        let Some(key) = self.config.validators.get(signer).map(|validator| validator.key) else { return };
        let own = self.own_index();
        let Some(round) = self.rounds.get_mut(&view) else { return };
        if round.accused.contains(&signer) || own == Some(signer) {
            return;
        }
        for vote in [&first, &second] {
            if !vote.is_signed_by(&key, &self.config.genesis) {
                let tally = round.tally_mut(vote.subject.kind());
                if tally.vote(signer) == Some(vote) {
                    tally.remove(signer);
                }
                return blame(signer, Offence::BadSignature, out);
            }
        }
        if let Some(evidence) = Evidence::new(key, &first, &second) {
            round.accused.insert(signer);
            out.push(Output::Evidence(evidence));
            blame(signer, Offence::Conflict, out);
        }
    }
}

pub(super) fn blame(validator: ValidatorIndex, offence: Offence, out: &mut Vec<Output>) {
    out.push(Output::Blame { validator, offence });
}
