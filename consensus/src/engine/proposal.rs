//! Proposing and verifying: R3, R5, R6.

use super::{Engine, Expiry, Proposing};
use crate::chain::Node;
use crate::config::Head;
use crate::fetch::{Want, Wants};
use crate::input::Verdict;
use crate::mutant::{Mutant, is_on};
use crate::output::{Offence, Output};
use crate::round::{Round, Slot, Stage};
use cairn_primitives::{Block, Hash, Proposal, Subject, TimestampMs, View, VoteKind};
use std::sync::Arc;

/// How far a block's timestamp may be ahead of our clock before we wait with our vote, in milliseconds.
const CLOCK_DRIFT_MS_MAX: u64 = 2000;

/// What is known about the parent that a proposal names.
enum Parent {
    /// The ledger can build on it.
    Ready(Head),
    /// Something must be fetched or executed first.
    NotYet,
    /// It can never be a parent of the proposal.
    Impossible,
}

impl Engine {
    /// R3: asks the ledger for a block once, if we lead and it is time.
    pub(super) fn try_propose(&mut self, out: &mut Vec<Output>) -> bool {
        if !self.is_time_to_propose() {
            return false;
        }
        let Some((parent_view, parent)) = self.own_parent().and_then(|(view, hash)| {
            let place = self.chain.place(&hash).filter(|_| self.chain.is_executed(&hash))?;
            Some((view, place))
        }) else {
            return false;
        };
        if self.closes(parent.height) {
            self.propose_again(parent_view, &parent, out);
            return true;
        }
        self.current.proposing = Proposing::Asked { parent, parent_view };
        out.push(Output::Propose {
            epoch: self.config.epoch,
            view: self.current.view,
            proposer: self.current.leader,
            parent: parent.hash,
            timestamp: TimestampMs(self.now.wall.0.max(parent.timestamp.0.saturating_add(1))),
            evidence: Vec::new(),
        });
        true
    }

    fn is_time_to_propose(&self) -> bool {
        self.may_propose() && self.current.clocks.propose_at(self.work_since) <= self.time()
    }

    /// Whether we lead the current view and have nothing proposed or given up in it.
    pub(super) fn may_propose(&self) -> bool {
        let is_free = |round: &Round| round.slot.is_none() && round.ballot.allows(VoteKind::Notarize);
        self.is_leader()
            && self.current.proposing == Proposing::Idle
            && self.current.expired.is_none()
            && self.round(self.current.view).is_none_or(is_free)
    }

    /// R3: the highest view below that may be a parent, if all views in between are nullified.
    fn own_parent(&self) -> Option<(View, Hash)> {
        let below = (self.finalized.view.0..self.current.view.0).rev().map(View);
        for view in below {
            if let Some(block) = self.parent_block(view) {
                return Some((view, block));
            }
            if !self.is_nullified(view) && !is_on(Mutant::SkipNullifications) {
                return None;
            }
        }
        None
    }

    /// R3: what we lack to propose; the highest first, since it may turn out to be the parent.
    pub(super) fn want_for_own_proposal(&self, wants: &mut Wants) {
        if !self.is_time_to_propose() {
            return;
        }
        let below = (self.finalized.view.0..self.current.view.0).rev().map(View);
        for view in below {
            if self.parent_block(view).is_some() || wants.is_full() {
                return;
            }
            let is_pending = self.round(view).is_some_and(|round| round.notarization.is_some());
            if !self.is_nullified(view) && !is_pending {
                wants.add(Want::Certificate(view, VoteKind::Nullify), self.schedule.leader(view));
            }
        }
    }

    /// R3: takes the block that the ledger built, and notarizes it.
    pub(super) fn handle_proposed(&mut self, view: View, block: Option<Arc<Block>>, out: &mut Vec<Output>) {
        let Proposing::Asked { parent, parent_view } = self.current.proposing else { return };
        if view != self.current.view {
            return;
        }
        self.current.proposing = Proposing::Done;
        if self.current.expired.is_some() {
            return;
        }
        let Some((hash, block)) = block.map(|block| (block.header.hash(), block)) else {
            return self.expire(Expiry::NoBlock, out); // R11
        };
        self.chain.insert(hash, Arc::clone(&block));
        let fits = self.chain.node(&hash).is_some_and(|node| self.is_context_right(node, &parent, view));
        let round = self.rounds.entry(view).or_default();
        if !fits || round.slot.is_some() || !round.ballot.allows(VoteKind::Notarize) {
            return self.expire(Expiry::NoBlock, out); // R11
        }
        let proposal = Proposal { epoch: self.config.epoch, view, parent_view, block: hash };
        round.slot = Some(Slot { proposal, equivocated: false, stage: Stage::Verified });
        self.cast(Subject::Notarize(proposal), Some(block), out); // R6
    }

    /// R5: has the proposal of the current view verified once its ancestry is complete.
    pub(super) fn try_verify(&mut self, out: &mut Vec<Output>) -> bool {
        let Some(proposal) = self.slot_to_verify() else { return false };
        let parent = match self.ancestry(&proposal) {
            Parent::Ready(parent) => parent,
            Parent::NotYet => return false,
            Parent::Impossible => return self.refuse(out),
        };
        if self.closes(parent.height) && proposal.block == parent.hash {
            self.verify_again(proposal, out);
            return true;
        }
        let Some(node) = self.chain.node(&proposal.block) else { return self.refuse(out) };
        if !self.is_context_right(node, &parent, proposal.view) {
            return self.refuse(out);
        }
        let ahead = node.context.timestamp.0.saturating_sub(self.now.wall.0);
        let stage = match (ahead.checked_sub(CLOCK_DRIFT_MS_MAX), node.body.clone()) {
            (Some(early), _) if early > 0 => Stage::Waiting { not_before: self.time().saturating_add(early) },
            (_, Some(block)) => {
                out.push(Output::Verify { proposal, block, parent: parent.hash });
                Stage::Asked
            }
            // Executed already, on behalf of a certificate: nobody needs our vote.
            (_, None) => Stage::Adopted,
        };
        self.set_stage(stage);
        true
    }

    fn slot_to_verify(&self) -> Option<Proposal> {
        let slot = self.round(self.current.view)?.slot.as_ref()?;
        let is_due = matches!(slot.stage, Stage::Waiting { not_before } if not_before <= self.time());
        (is_due && !slot.equivocated).then_some(slot.proposal)
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(slot) = self.rounds.get_mut(&self.current.view).and_then(|round| round.slot.as_mut()) {
            slot.stage = stage;
        }
    }

    fn refuse(&mut self, out: &mut Vec<Output>) -> bool {
        self.set_stage(Stage::Refused);
        out.push(Output::Blame { validator: self.current.leader, offence: Offence::InvalidProposal });
        true
    }

    /// R5: parent below the view, not below the last finalized one, certified or finalized, all views between nullified.
    fn ancestry(&self, proposal: &Proposal) -> Parent {
        let parent_view = proposal.parent_view;
        if parent_view >= proposal.view || parent_view < self.finalized.view {
            return Parent::Impossible;
        }
        if self.round(parent_view).is_some_and(|round| round.verdict.is_some_and(|(_, holds)| !holds))
            && parent_view > self.finalized.view
        {
            return Parent::Impossible;
        }
        if self.first_gaps(proposal).next().is_some() {
            return Parent::NotYet;
        }
        let executed = self.parent_block(parent_view).filter(|hash| self.chain.is_executed(hash));
        executed.and_then(|hash| self.chain.place(&hash)).map_or(Parent::NotYet, Parent::Ready)
    }

    /// The views between a proposal and its parent that we hold no nullification of.
    fn first_gaps(&self, proposal: &Proposal) -> impl Iterator<Item = View> + '_ {
        let between = proposal.parent_view.0.saturating_add(1)..proposal.view.0;
        between.map(View).filter(|view| !self.is_nullified(*view) && !is_on(Mutant::SkipNullifications))
    }

    /// R5: what we lack to verify the proposal of the current view; the first gap first, from the leader first.
    pub(super) fn want_for_ancestry(&self, wants: &mut Wants) {
        let Some(proposal) = self.slot_to_verify().or_else(|| self.proposal_by_vote()) else { return };
        if self.current.expired.is_some() || proposal.parent_view < self.finalized.view {
            return;
        }
        let leader = self.current.leader;
        let parent = proposal.parent_view;
        let is_parent_known = parent == self.finalized.view
            || self.round(parent).is_some_and(|round| round.notarization.is_some() || round.verdict.is_some());
        if !is_parent_known {
            wants.add(Want::Certificate(parent, VoteKind::Notarize), leader);
        }
        for gap in self.first_gaps(&proposal) {
            if wants.is_full() {
                return;
            }
            wants.add(Want::Certificate(gap, VoteKind::Nullify), leader);
        }
    }

    /// R5: whether a block's header fits its place: the part of verification that needs no ledger.
    pub(super) fn is_context_right(&self, node: &Node, parent: &Head, view: View) -> bool {
        let context = &node.context;
        !self.closes(parent.height)
            && context.epoch == self.config.epoch
            && context.view == view
            && context.proposer == self.schedule.leader(view)
            && context.validators_hash == self.validators_hash
            && context.timestamp > parent.timestamp
            && node.parent == parent.hash
            && node.height == parent.height.next()
    }

    /// R5, R6: takes the ledger's verdict, and notarizes a valid proposal.
    pub(super) fn handle_verified(&mut self, block: Hash, verdict: Verdict, out: &mut Vec<Output>) {
        let Some(slot) = self.round(self.current.view).and_then(|round| round.slot.as_ref()) else { return };
        if slot.proposal.block != block || slot.stage != Stage::Asked {
            return;
        }
        let (proposal, equivocated) = (slot.proposal, slot.equivocated);
        match verdict {
            Verdict::NotYet { retry_ms } => {
                let not_before = self.time().saturating_add(retry_ms.max(1));
                self.set_stage(Stage::Waiting { not_before });
            }
            Verdict::Invalid(_) => {
                self.refuse(out);
            }
            Verdict::Valid => {
                self.set_stage(Stage::Verified);
                let is_allowed = self.round(proposal.view).is_some_and(|round| round.ballot.allows(VoteKind::Notarize));
                if is_allowed && !equivocated {
                    self.cast(Subject::Notarize(proposal), None, out); // R6
                }
                if is_on(Mutant::FinalizeUnnotarized) {
                    self.try_finalize(proposal.view, out);
                }
            }
        }
    }
}
