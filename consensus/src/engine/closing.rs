//! The end of an epoch: its closing block is proposed again, unchanged, until it is final; nothing is built on it.
//!
//! The leader of a view whose parent is the closing block sends its notarize vote for a proposal of the same block: no
//! body travels again, and everybody who has the parent can judge it. The finalization can so be of a later view than the
//! one in the block's header; of the same epoch it is always.

use super::{Engine, Proposing};
use crate::config::Head;
use crate::output::Output;
use crate::pace::Clocks;
use crate::round::{Round, Slot, Stage};
use cairn_primitives::{Hash, Height, Proposal, Subject, View, VoteKind};

impl Engine {
    /// Whether the epoch is over here: the closing block is handed to the ledger for commit.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closes(self.chain.head().height)
    }

    /// Whether the block of this height closes the epoch.
    pub(super) fn closes(&self, height: Height) -> bool {
        self.config.closing == Some(height)
    }

    /// R3 at the end of an epoch: notarizes the closing block once more, as the proposal of the current view.
    pub(super) fn propose_again(&mut self, parent_view: View, closing: &Head, out: &mut Vec<Output>) {
        let view = self.current.view;
        self.current.proposing = Proposing::Done;
        let proposal = Proposal { epoch: self.config.epoch, view, parent_view, block: closing.hash };
        self.rounds.entry(view).or_default().slot = Some(Slot { proposal, equivocated: false, stage: Stage::Verified });
        self.cast(Subject::Notarize(proposal), None, out); // R6
    }

    /// R4 at the end of an epoch: the leader's notarize vote for the closing block fills the slot of the current view.
    pub(super) fn take_repeated_proposal(&mut self) {
        let Some(proposal) = self.proposal_by_vote() else { return };
        if self.is_closing_block(&proposal.block) {
            let stage = Stage::Waiting { not_before: 0 };
            let slot = Slot { proposal, equivocated: false, stage };
            self.rounds.entry(proposal.view).or_default().slot = Some(slot);
        }
    }

    /// What the leader of the current view notarized without having sent a proposal here. If it is the closing block,
    /// whoever lacks that must fetch it with its ancestry to see so (R5).
    pub(super) fn proposal_by_vote(&self) -> Option<Proposal> {
        self.config.closing?;
        let round = self.round(self.current.view).filter(|round| round.slot.is_none())?;
        let proposal = round.notarizes.vote(self.current.leader)?.subject.proposal().copied()?;
        (proposal.parent_view < proposal.view).then_some(proposal)
    }

    /// The clocks of the current view, once a block below it is certified after it had begun: if that is the closing
    /// block, the view goes as if the block had been there at entry.
    pub(super) fn hasten_to_close(&mut self, certified: View) {
        let is_below = certified < self.current.view && self.current.proposing == Proposing::Idle;
        if is_below && self.best_parent(self.current.view).is_some_and(|parent| self.closes(parent.height)) {
            self.current.clocks.hasten(Clocks::at_closing(self.time(), &self.config.timing));
        }
    }

    /// R5 at the end of an epoch: what is proposed on the closing block can only be that block. Our vote for it, if the
    /// rules allow one.
    pub(super) fn verify_again(&mut self, proposal: Proposal, out: &mut Vec<Output>) {
        let is_allowed = self.round(proposal.view).is_none_or(|round: &Round| round.ballot.allows(VoteKind::Notarize));
        if let Some(slot) = self.rounds.entry(proposal.view).or_default().slot.as_mut() {
            slot.stage = Stage::Verified;
        }
        if is_allowed {
            self.cast(Subject::Notarize(proposal), None, out); // R6
        }
    }

    fn is_closing_block(&self, hash: &Hash) -> bool {
        self.chain.is_executed(hash) && self.chain.place(hash).is_some_and(|place| self.closes(place.height))
    }
}
