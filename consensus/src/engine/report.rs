//! What the engine tells about itself: figures for monitoring, and a sentence for an operator who looks at a chain that
//! stands still.

use super::{Engine, Expiry, Proposing};
use crate::guard::{Silence, VoteGuard};
use crate::input::Now;
use crate::round::{Round, Stage};
use crate::state::{Deadline, EngineState, NeededVotes, ValidatorState, VoteCount};
use cairn_primitives::{Power, ValidatorIndex, View, VoteKind};

/// The most validators that a sentence names.
const NAMED_MAX: usize = 5;

/// The characters of a key that a sentence shows: 0x and four bytes.
const KEY_CHARS: usize = 10;

/// What is waited for.
struct Waiting {
    /// The rule that would go on.
    rule: Option<&'static str>,
    /// What it needs, tersely.
    what: String,
    /// The same as a sentence without its end.
    sentence: String,
    /// The votes it needs.
    votes: Option<NeededVotes>,
}

impl Waiting {
    fn new(rule: &'static str, what: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { rule: Some(rule), what: what.into(), sentence: sentence.into(), votes: None }
    }

    fn terse(&self) -> String {
        self.rule.map_or_else(|| self.what.clone(), |rule| format!("{rule}: {}", self.what))
    }
}

impl Engine {
    /// A picture of the engine, for people and for monitoring.
    #[must_use]
    pub fn state(&self, now: Now) -> EngineState {
        let round = self.round(self.current.view);
        let set = &self.config.validators;
        let power = |kind| round.map_or(Power::ZERO, |round| round.tally(kind).power(set));
        let has_cast = |kind| round.is_some_and(|round| round.ballot.vote(kind).is_some());
        let waiting = self.waiting(now);
        let needed: Vec<_> = waiting.votes.clone().into_iter().chain(self.needed_finalizes()).collect();
        EngineState {
            epoch: self.config.epoch,
            view: self.current.view,
            leader: self.current.leader,
            own_index: self.own_index(),
            silence: self.guard().and_then(VoteGuard::silence),
            proposal_seen: round.is_some_and(|round| round.slot.is_some()),
            notarize_cast: has_cast(VoteKind::Notarize),
            nullify_cast: has_cast(VoteKind::Nullify),
            finalize_cast: has_cast(VoteKind::Finalize),
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
            waiting_for: waiting.terse(),
            rule: waiting.rule,
            why: self.why(&waiting, &needed, now),
            needed,
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
        set.indices().filter_map(|index| self.validator(index, now)).collect()
    }

    fn validator(&self, index: ValidatorIndex, now: Now) -> Option<ValidatorState> {
        let peer = self.peers.get(index)?;
        let validator = self.config.validators.get(index)?;
        let is_own = self.own_index() == Some(index);
        let heard = peer.heard_at.map(|heard_at| now.monotonic_ms.saturating_sub(heard_at));
        Some(ValidatorState {
            index,
            key: validator.key,
            power: validator.power,
            connected: is_own || peer.connected,
            heard_ms_ago: if is_own { Some(0) } else { heard },
            seen_view: if is_own { self.current.view } else { peer.seen },
        })
    }

    /// The votes of a kind in a view, while they make no certificate.
    fn votes_needed(&self, kind: VoteKind, view: View) -> NeededVotes {
        let set = &self.config.validators;
        let tally = self.round(view).map(|round| round.tally(kind));
        let has_voted = |index: &ValidatorIndex| tally.is_some_and(|tally| tally.vote(*index).is_some());
        NeededVotes {
            kind,
            view,
            seen: tally.map_or(Power::ZERO, |tally| tally.power(set)),
            missing: set.indices().filter(|index| !has_voted(index)).collect(),
        }
    }

    /// R14, R18: the finalize votes of the highest view that we voted to finalize and that is not final.
    fn needed_finalizes(&self) -> Option<NeededVotes> {
        let mut open = self.rounds.range(self.finalized.view.next()..).rev();
        let (view, _) = open.find(|(_, round)| round.ballot.vote(VoteKind::Finalize).is_some())?;
        Some(self.votes_needed(VoteKind::Finalize, *view))
    }

    fn waiting(&self, now: Now) -> Waiting {
        let view = self.current.view;
        if self.diverged {
            let what = "nothing; a finalized block contradicts this node";
            let sentence = "A finalized block contradicts this node: its state or its software is wrong";
            return Waiting::new("R14", what, sentence);
        }
        if self.started_at.is_none() {
            let what = "the journal to be replayed".to_owned();
            return Waiting {
                rule: None,
                what,
                sentence: "The consensus journal is being replayed".into(),
                votes: None,
            };
        }
        if self.chain.head().hash != self.finalized.block {
            let what = format!("blocks up to the finalized view {}", self.finalized.view);
            let sentence = format!("Fetching and executing {what}");
            return Waiting::new("R14", what, sentence);
        }
        if self.is_closed() {
            let what = "the ledger to commit the closing block and open the next epoch";
            return Waiting::new("R14", what, format!("Epoch {} is over: waiting for {what}", self.config.epoch));
        }
        if let Some(reason) = self.current.expired {
            return self.waiting_for_votes("R13", VoteKind::Nullify, Some(reason));
        }
        let Some(round) = self.round(view) else { return self.waiting_for_proposal(now) };
        if round.notarization.is_some() {
            let what = "the notarized block to be fetched and executed";
            return Waiting::new("R8", what, format!("Waiting for {what} (view {view})"));
        }
        let Some(slot) = &round.slot else { return self.waiting_for_proposal(now) };
        match slot.stage {
            Stage::Waiting { .. } => {
                let what = "the proposal's ancestry or its time";
                Waiting::new("R5", what, format!("Waiting for {what} before voting in view {view}"))
            }
            Stage::Asked => {
                let what = "the ledger to verify the proposal";
                Waiting::new("R5", what, format!("Waiting for {what} of view {view}"))
            }
            Stage::Verified | Stage::Refused | Stage::Adopted => self.waiting_for_votes("R7", VoteKind::Notarize, None),
        }
    }

    fn waiting_for_votes(&self, rule: &'static str, kind: VoteKind, reason: Option<Expiry>) -> Waiting {
        let votes = self.votes_needed(kind, self.current.view);
        let since = reason.map_or_else(String::new, |reason| format!("; given up since {}", reason.words()));
        let name = match kind {
            VoteKind::Notarize => "notarize",
            VoteKind::Nullify => "nullify",
            VoteKind::Finalize => "finalize",
        };
        let what = format!("{name} votes with power {}, seen {}{since}", self.quorum, votes.seen);
        let given_up = reason.map_or_else(String::new, |reason| format!(", given up since {}", reason.words()));
        let sentence = format!("{}{given_up}", self.votes_in_words(&votes));
        Waiting { rule: Some(rule), what, sentence, votes: Some(votes) }
    }

    fn waiting_for_proposal(&self, now: Now) -> Waiting {
        let (view, leader) = (self.current.view, self.current.leader);
        if !self.is_leader() {
            let what = format!("the proposal of validator {leader}");
            let sentence = format!("Waiting for {} to propose in view {view}", self.name(leader, now));
            return Waiting::new("R4", what, sentence);
        }
        let what = match self.current.proposing {
            Proposing::Asked { .. } => "the ledger to build a block".into(),
            Proposing::Idle if self.current.clocks.propose_at(self.work_since) > self.time() => {
                "transactions, or the block interval to pass, before proposing".into()
            }
            Proposing::Idle => self.waiting_for_parent(),
            Proposing::Done => "nothing to propose".into(),
        };
        let sentence = format!("This validator leads view {view} and waits for {what}");
        Waiting::new("R3", what, sentence)
    }

    fn waiting_for_parent(&self) -> String {
        let below = self.current.view.previous();
        let is_pending = self.round(below).is_some_and(|round: &Round| round.notarization.is_some());
        let what = if is_pending { "the execution of" } else { "certificates that lead back to" };
        format!("{what} the parent, from view {below} down")
    }

    /// The sentence: what is waited for, and who is missing.
    fn why(&self, waiting: &Waiting, needed: &[NeededVotes], now: Now) -> String {
        let silence = self.guard().and_then(VoteGuard::silence).map(Silence::words);
        let mut text = silence.map_or_else(String::new, |words| format!("{words}. "));
        text.push_str(&waiting.sentence);
        // Where nothing of the current view is short of votes, those that would make the block before it final may be.
        let votes = waiting.votes.as_ref().or_else(|| {
            let votes = needed.first()?;
            text = format!("{text}. {}", self.votes_in_words(votes));
            Some(votes)
        });
        if let Some(votes) = votes.filter(|votes| !votes.missing.is_empty()) {
            text = format!("{text}; missing: {}", self.names(&votes.missing, now));
        }
        text.push('.');
        text
    }

    fn votes_in_words(&self, votes: &NeededVotes) -> String {
        let (seen, quorum, view) = (votes.seen, self.quorum, votes.view);
        let done = match votes.kind {
            VoteKind::Notarize => "notarized the block of",
            VoteKind::Nullify => "nullified",
            VoteKind::Finalize => "finalized the block of",
        };
        format!("Waiting for votes: {seen} of {quorum} power has {done} view {view}")
    }

    fn names(&self, which: &[ValidatorIndex], now: Now) -> String {
        let named: Vec<_> = which.iter().take(NAMED_MAX).map(|index| self.name(*index, now)).collect();
        match which.len().saturating_sub(NAMED_MAX) {
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    }

    /// A validator with what may be wrong with it.
    fn name(&self, index: ValidatorIndex, now: Now) -> String {
        let Some(validator) = self.validator(index, now) else { return format!("validator {index}") };
        let key: String = validator.key.to_string().chars().take(KEY_CHARS).collect();
        if self.own_index() == Some(index) {
            return format!("validator {index} (this node)");
        }
        let reach = if validator.connected { "connected" } else { "out of reach" };
        let heard = match validator.heard_ms_ago {
            None => "never heard of".into(),
            Some(ms) => format!("heard {}.{} s ago", ms / 1_000, ms % 1_000 / 100),
        };
        format!("validator {index} ({key}, {reach}, {heard})")
    }
}

impl Silence {
    fn words(self) -> String {
        match self {
            Self::RecordLost => {
                "This validator does not vote: the record of its votes is lost or too old, and too few of \
                                 the others have said where they stand"
                    .into()
            }
            Self::Until { epoch, above } => format!(
                "This validator does not vote until a view above {above} of epoch {epoch} is final: the record of its votes \
                 was lost"
            ),
        }
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
