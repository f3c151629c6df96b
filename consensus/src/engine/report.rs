//! What the engine tells about itself.

use super::{Engine, Expiry, Proposing};
use crate::input::Now;
use crate::round::{Round, Stage};
use crate::state::{Deadline, EngineState, ValidatorState, VoteCount};
use cairn_primitives::{Power, View, VoteKind};

impl Engine {
    /// A picture of the engine, for people and for monitoring.
    #[must_use]
    pub fn state(&self, now: Now) -> EngineState {
        let round = self.round(self.current.view);
        let set = &self.config.validators;
        let power = |kind| round.map_or(Power::ZERO, |round| round.tally(kind).power(set));
        let has_cast = |kind| round.is_some_and(|round| round.ballot.vote(kind).is_some());
        EngineState {
            epoch: self.config.epoch,
            view: self.current.view,
            leader: self.current.leader,
            own_index: self.own_index(),
            proposal_seen: round.is_some_and(|round| round.slot.is_some()),
            notarize_cast: has_cast(VoteKind::Notarize),
            nullify_cast: has_cast(VoteKind::Nullify),
            votes: VoteCount {
                notarize: power(VoteKind::Notarize),
                nullify: power(VoteKind::Nullify),
                finalize: power(VoteKind::Finalize),
            },
            quorum: self.quorum,
            total_power: set.total_power(),
            backoff: self.backoff.factor(),
            deadlines: self.deadlines(now),
            finalized_view: self.finalized.view,
            committed: self.chain.head(),
            fetches: self.fetches.len(),
            validators: self.validators(now),
            waiting_for: self.waiting_for(),
        }
    }

    /// The view we are in.
    #[must_use]
    pub const fn view(&self) -> View {
        self.current.view
    }

    fn deadlines(&self, now: Now) -> Vec<Deadline> {
        let left = |at: u64| at.saturating_sub(now.monotonic_ms);
        let running = self.timers().into_iter().filter(|(_, at)| *at > self.time());
        let mut deadlines: Vec<_> = running.map(|(name, at)| Deadline { name, left_ms: left(at) }).collect();
        deadlines.sort_by_key(|deadline| deadline.left_ms);
        deadlines
    }

    fn validators(&self, now: Now) -> Vec<ValidatorState> {
        let set = &self.config.validators;
        let state = |index| {
            let peer = self.peers.get(index)?;
            let is_own = self.own_index() == Some(index);
            let heard = peer.heard_at.map(|heard_at| now.monotonic_ms.saturating_sub(heard_at));
            Some(ValidatorState {
                index,
                power: set.get(index)?.power,
                connected: is_own || peer.connected,
                heard_ms_ago: if is_own { Some(0) } else { heard },
                seen_view: if is_own { self.current.view } else { peer.seen },
            })
        };
        set.indices().filter_map(state).collect()
    }

    fn waiting_for(&self) -> String {
        let view = self.current.view;
        if self.diverged {
            return "R14: nothing; a finalized block contradicts this node".into();
        }
        if self.started_at.is_none() {
            return "the journal to be replayed".into();
        }
        if self.chain.head().hash != self.finalized.block {
            return format!("R14: blocks up to the finalized view {}", self.finalized.view);
        }
        let quorum = self.quorum;
        let Some(round) = self.round(view) else { return self.waiting_for_proposal() };
        let power = |kind| round.tally(kind).power(&self.config.validators);
        if let Some(reason) = self.current.expired {
            let nullify = power(VoteKind::Nullify);
            return format!(
                "R13: nullify votes with power {quorum}, seen {nullify}; given up since {}",
                reason.words()
            );
        }
        if round.notarization.is_some() {
            return "R8: the notarized block to be fetched and executed".into();
        }
        let Some(slot) = &round.slot else { return self.waiting_for_proposal() };
        match slot.stage {
            Stage::Waiting { .. } => "R5: the proposal's ancestry or its time".into(),
            Stage::Asked => "R5: the ledger to verify the proposal".into(),
            Stage::Verified | Stage::Refused | Stage::Adopted => {
                format!("R7: notarize votes with power {quorum}, seen {}", power(VoteKind::Notarize))
            }
        }
    }

    fn waiting_for_proposal(&self) -> String {
        if !self.is_leader() {
            return format!("R4: the proposal of validator {}", self.current.leader);
        }
        match self.current.proposing {
            Proposing::Asked { .. } => "R3: the ledger to build a block".into(),
            Proposing::Idle if self.current.clocks.propose_at(self.work_since) > self.time() => {
                "R3: transactions, or the block interval to pass, before proposing".into()
            }
            Proposing::Idle => self.waiting_for_parent(),
            Proposing::Done => "R3: nothing to propose".into(),
        }
    }

    fn waiting_for_parent(&self) -> String {
        let below = self.current.view.previous();
        let is_pending = self.round(below).is_some_and(|round: &Round| round.notarization.is_some());
        let what = if is_pending { "the execution of" } else { "certificates that lead back to" };
        format!("R3: {what} the parent, from view {below} down")
    }
}

impl Expiry {
    const fn words(self) -> &'static str {
        match self {
            Self::LeaderSilent => "the leader was not heard from (R2)",
            Self::LeaderDeadline => "no proposal came in time (R10)",
            Self::CertifyDeadline => "no certified block came in time (R10)",
            Self::NoBlock => "there was no block to propose (R11)",
            Self::InvalidProposal => "the proposal is invalid (R11)",
            Self::CertificationFailed => "the block does not execute to its roots (R11)",
            Self::LeaderGaveUp => "the leader gave up (R12)",
            Self::BeforeRestart => "we gave up before a restart (R10)",
        }
    }
}
