//! Coming back after a restart.
//!
//! The journal restores flags and certificates in whatever order its records come; only [`Input::Start`] acts on them.
//!
//! [`Input::Start`]: crate::Input::Start

use super::admission::Source;
use super::{Engine, Expiry};
use crate::journal::JournalRecord;
use crate::output::Output;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Block, Subject, View, Vote, VoteKind};
use std::sync::Arc;

impl Engine {
    /// Takes a record of the journal; records at or below the committed block are over.
    pub(super) fn handle_replay(&mut self, record: JournalRecord, out: &mut Vec<Output>) {
        let is_over = record.epoch() != self.config.epoch || record.view() <= self.chain.head().view;
        if self.started_at.is_some() || is_over {
            return;
        }
        match record {
            // The guard holds them.
            JournalRecord::Vote(_) | JournalRecord::Floor { .. } | JournalRecord::Silence { .. } => {}
            JournalRecord::Certificate(certificate) => {
                if !self.is_certificate_known(&certificate.subject)
                    && certificate.verify(&self.config.validators, &self.config.genesis).is_ok()
                {
                    self.accept_certificate(certificate, Source::Replayed, out);
                }
            }
            JournalRecord::Certified { view, block, holds, .. } => {
                self.rounds.entry(view).or_default().verdict.get_or_insert((block, holds));
            }
        }
    }

    /// The votes in the guard's record bind us.
    fn replay_votes(&mut self) {
        let epoch = self.config.epoch;
        let votes = self.own.as_ref().map(|own| own.guard.votes(epoch, own.index)).unwrap_or_default();
        let committed = self.chain.head().view;
        for vote in votes.into_iter().filter(|vote| vote.subject.view() > committed) {
            self.replay_vote(vote);
        }
    }

    fn replay_vote(&mut self, vote: Vote) {
        let round = self.rounds.entry(vote.subject.view()).or_default();
        if let Subject::Finalize(proposal) = vote.subject {
            round.verdict.get_or_insert((proposal.block, true)); // R9: it was certified.
        }
        round.ballot.record(vote);
    }

    /// Takes a certified block that the ledger holds.
    pub(super) fn handle_restored(&mut self, block: Arc<Block>) {
        if self.started_at.is_none() {
            self.chain.insert(block.header.hash(), block);
        }
    }

    /// Acts on what was restored: enters the view reached before, asks for undecided certifications, feeds own votes.
    pub(super) fn handle_start(&mut self, out: &mut Vec<Output>) {
        if self.started_at.is_some() {
            return;
        }
        self.replay_votes();
        let above = self.finalized.view.next();
        let reached = self.rounds.range(above..).map(|(view, round)| {
            let is_passed = round.certified_block().is_some() || round.nullification.is_some();
            let has_voted = round.ballot.votes().next().is_some();
            if is_passed {
                view.next()
            } else if has_voted {
                *view
            } else {
                View::ZERO
            }
        });
        let view = reached.max().unwrap_or(View::ZERO).max(self.current.view).max(above);
        self.started_at = Some(self.time());
        self.arm(view);
        let undecided = self
            .rounds
            .range(above..)
            .filter(|(_, round)| round.notarized_block().is_some() && round.verdict.is_none_or(|(_, holds)| holds));
        self.pending = undecided.map(|(view, _)| *view).collect();
        self.own_votes = self.rounds.range(above..).flat_map(|(_, round)| round.ballot.votes().cloned()).collect();
        self.restore_votes(out);
    }

    /// Goes on with the votes of before: R9 for what was certified, R10 and R18 for what was cast.
    fn restore_votes(&mut self, out: &mut Vec<Output>) {
        let above = self.finalized.view.next();
        let certified: Vec<_> = self.rounds.range(above..).map(|(view, _)| *view).collect();
        for view in certified {
            self.try_finalize(view, out);
        }
        let has_finalized =
            self.rounds.range(above..).any(|(_, round)| round.ballot.vote(VoteKind::Finalize).is_some());
        if has_finalized {
            self.finalize_again_at = Some(self.time());
        }
        let Some(ballot) = self.round(self.current.view).map(|round| round.ballot.clone()) else { return };
        if ballot.vote(VoteKind::Nullify).is_some() {
            self.current.expired = Some(Expiry::BeforeRestart);
            self.current.nullify_again_at = self.time();
        }
        if let Some(vote) = ballot.vote(VoteKind::Notarize) {
            out.push(Output::Broadcast(ConsensusMessage::Vote(vote.clone())));
        }
    }
}
