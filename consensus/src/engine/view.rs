//! Entering views, and giving them up: R1, R2, R10, R11, R12.

use super::{Current, Engine, Expiry, Proposing};
use crate::config::Head;
use crate::mutant::{Mutant, is_on};
use crate::output::Output;
use crate::pace::Clocks;
use crate::round::Stage;
use cairn_primitives::{Subject, ValidatorIndex, View, VoteKind};

/// Proposals of this many views below the current one are kept although nobody notarized them: their notarization may
/// still come.
const PROPOSALS_KEPT: u64 = 8;

/// A leader counts as silent no sooner than after this many idle block intervals: on an idle chain nobody speaks more
/// often.
const SILENT_INTERVALS: u64 = 3;

impl Engine {
    /// R1: enters a view above the current one; the caller holds what permits it.
    pub(super) fn enter(&mut self, view: View, out: &mut Vec<Output>) {
        if view <= self.current.view {
            return;
        }
        let left = view.previous();
        if self.is_nullified(left) && self.parent_block(left).is_none() {
            self.backoff.on_nullified();
        }
        self.arm(view);
        if self.started_at.is_none() {
            return;
        }
        self.tidy();
        let is_proposed = self.round(view).is_some_and(|round| round.slot.is_some());
        if !is_proposed && self.is_leader_silent() {
            self.expire(Expiry::LeaderSilent, out); // R2
        }
    }

    /// Sets the clocks of a view that begins now.
    pub(super) fn arm(&mut self, view: View) {
        let parent = self.best_parent(view);
        let clocks = match parent {
            Some(parent) if self.closes(parent.height) => Clocks::at_closing(self.time(), &self.config.timing),
            _ => Clocks::new(self.time(), self.now.wall, parent.map(|parent| parent.timestamp), &self.config.timing),
        };
        self.current = Current {
            view,
            leader: self.schedule.leader(view),
            clocks,
            expired: None,
            nullify_again_at: 0,
            proposing: Proposing::Idle,
        };
    }

    /// The block of the highest view below that may be a parent, whatever lies between.
    pub(super) fn best_parent(&self, view: View) -> Option<Head> {
        let mut below = (self.finalized.view.0..view.0).rev().map(View);
        let block = below.find_map(|below| self.parent_block(below))?;
        self.chain.place(&block)
    }

    /// Frees what the views below the current one no longer need.
    fn tidy(&mut self) {
        let view = self.current.view;
        let decided = View(view.0.saturating_sub(self.config.retention));
        if let Some(round) = self.rounds.range_mut(..decided).next_back().map(|(_, round)| round)
            && round.nullification.is_some()
        {
            round.drop_tallies();
        }
        let (rounds, finalized) = (&self.rounds, self.finalized.view);
        let lowest = View(view.0.saturating_sub(PROPOSALS_KEPT));
        self.chain.drop_idle(|hash, node| {
            let at = node.context.view;
            at >= lowest
                || at <= finalized
                || rounds.get(&at).is_some_and(|round| round.notarized_block() == Some(*hash))
        });
    }

    /// R2: whether a quorum was heard from lately and the leader was not.
    fn is_leader_silent(&self) -> bool {
        let timing = &self.config.timing;
        let window = timing.skip_timeout_ms.max(timing.idle_block_interval_ms.saturating_mul(SILENT_INTERVALS));
        let Some(since) = self.time().checked_sub(window) else { return false };
        let is_up_long_enough = self.started_at.is_some_and(|started_at| started_at <= since);
        is_up_long_enough
            && !self.peers.is_heard_since(self.current.leader, since)
            && self.peers.power_heard_since(&self.config.validators, since) >= self.quorum
    }

    /// R10, R11: gives the current view up; the first reason stays.
    pub(super) fn expire(&mut self, reason: Expiry, out: &mut Vec<Output>) {
        if self.current.expired.is_some() {
            return;
        }
        self.current.expired = Some(reason);
        self.current.nullify_again_at = self.in_retry();
        let view = self.current.view;
        let is_allowed = self.round(view).is_none_or(|round| round.ballot.allows(VoteKind::Nullify));
        let epoch = self.config.epoch;
        if is_allowed {
            self.cast(Subject::Nullify { epoch, view }, None, out);
        }
        let below = view.previous();
        if is_on(Mutant::NullifyAfterFinalize)
            && below > self.finalized.view
            && self.round(below).is_some_and(|round| round.ballot.allows(VoteKind::Nullify))
        {
            self.cast(Subject::Nullify { epoch, view: below }, None, out);
        }
    }

    /// Works on the current view; `true` if something changed.
    pub(super) fn try_view(&mut self, out: &mut Vec<Output>) -> bool {
        if self.current.expired.is_some() {
            return false;
        }
        self.take_repeated_proposal();
        self.note_activity();
        if let Some(reason) = self.reason_to_expire() {
            self.expire(reason, out);
            return true;
        }
        self.try_propose(out) || self.try_verify(out)
    }

    /// The view is under way once it has a proposal, or once more power voted in it than malicious validators hold.
    fn note_activity(&mut self) {
        if self.current.clocks.active_at.is_some() {
            return;
        }
        let Some(round) = self.round(self.current.view) else { return };
        let has_voted = |index: &ValidatorIndex| {
            [VoteKind::Notarize, VoteKind::Nullify].into_iter().any(|kind| round.tally(kind).vote(*index).is_some())
        };
        let set = &self.config.validators;
        let powers = set.indices().filter(has_voted).filter_map(|index| set.get(index)).map(|voter| voter.power.0);
        if round.slot.is_some() || powers.fold(0, u64::saturating_add) > self.tolerated.0 {
            self.current.clocks.active_at = Some(self.time());
        }
    }

    fn reason_to_expire(&self) -> Option<Expiry> {
        let round = self.round(self.current.view);
        if let Some(round) = round {
            if round.slot.as_ref().is_some_and(|slot| slot.stage == Stage::Refused) {
                return Some(Expiry::InvalidProposal); // R5
            }
            if round.verdict.is_some_and(|(_, holds)| !holds) {
                return Some(Expiry::CertificationFailed); // R8
            }
            if round.nullifies.vote(self.current.leader).is_some() {
                return Some(Expiry::LeaderGaveUp); // R12
            }
        }
        let now = self.time();
        if self.leader_deadline().is_some_and(|deadline| deadline <= now) {
            return Some(Expiry::LeaderDeadline); // R10
        }
        (self.certify_deadline() <= now).then_some(Expiry::CertifyDeadline) // R10
    }

    /// R1: when the leader is given up on; `None` once there is a proposal.
    pub(super) fn leader_deadline(&self) -> Option<u64> {
        let is_proposed = self.round(self.current.view).is_some_and(|round| round.slot.is_some());
        (!is_proposed).then(|| self.after_base(self.config.timing.leader_timeout_ms))
    }

    /// R1: when the view is given up.
    pub(super) fn certify_deadline(&self) -> u64 {
        self.after_base(self.config.timing.certify_timeout_ms)
    }

    fn after_base(&self, timeout_ms: u64) -> u64 {
        let base = self.current.clocks.base(self.work_since);
        base.saturating_add(timeout_ms.saturating_mul(self.backoff.factor()))
    }
}
