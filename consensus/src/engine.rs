//! The engine: its state, and the order in which a step works through the rules.
//!
//! A step takes one input into the state, then applies rules until none applies any more: own votes are counted,
//! certifications asked for, finalized blocks committed, the current view worked on. What is missing for that is then
//! compared with what is being fetched. Rules look at the state, not at the input that led to it, so a message that came
//! twice, late or by another way makes no difference.

mod admission;
mod certification;
mod closing;
mod exchange;
mod finality;
mod proposal;
mod recovery;
mod report;
#[cfg(test)]
mod rigged;
mod silence;
mod timers;
mod view;
mod voting;

use crate::chain::Chain;
use crate::config::{ConfigError, EpochConfig, Head};
use crate::fetch::Fetches;
use crate::guard::VoteGuard;
use crate::input::{Input, Now};
use crate::output::Output;
use crate::pace::{Backoff, Clocks};
use crate::peers::Peers;
use crate::round::Round;
use crate::schedule::Schedule;
use cairn_primitives::{Certificate, Hash, Power, TimestampMs, ValidatorIndex, View, Vote, VoteKind};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The consensus engine of one epoch; see the crate's documentation for its rules.
#[derive(Debug)]
pub struct Engine {
    config: EpochConfig,
    quorum: Power,
    /// The most power that malicious validators can hold.
    tolerated: Power,
    own: Option<Own>,
    validators_hash: Hash,
    schedule: Schedule,
    /// When [`Input::Start`] came; before that nothing is answered.
    started_at: Option<u64>,
    /// Set once the chain contradicts us: nothing is done any more.
    diverged: bool,
    now: Now,
    /// Since when there is work to include.
    work_since: Option<u64>,
    current: Current,
    rounds: BTreeMap<View, Round>,
    finalized: Finalized,
    chain: Chain,
    /// R7: notarized views above the last finalized one whose block waits for execution.
    pending: BTreeSet<View>,
    backoff: Backoff,
    peers: Peers,
    fetches: Fetches,
    /// Own votes on their way to our own tally.
    own_votes: VecDeque<Vote>,
    /// Certificates that we formed, to be passed on to those who seem not to have them.
    relays: VecDeque<Relay>,
    /// R18: when own finalize votes are sent again.
    finalize_again_at: Option<u64>,
    /// How far the others have told where they stand, while our record of votes is lost.
    probe: Probe,
    /// When block sync is asked for, while the way to the last finalized block has holes.
    behind_at: Option<u64>,
}

/// Ourselves, as a validator of the epoch.
#[derive(Debug)]
struct Own {
    index: ValidatorIndex,
    guard: VoteGuard,
}

/// The view we are in.
#[derive(Clone, Copy, Debug)]
struct Current {
    view: View,
    leader: ValidatorIndex,
    clocks: Clocks,
    expired: Option<Expiry>,
    /// R10: when our nullify is sent again.
    nullify_again_at: u64,
    proposing: Proposing,
}

/// How far we are with proposing in the current view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proposing {
    /// Not begun.
    Idle,
    /// The ledger builds a block.
    Asked { parent: Head, parent_view: View },
    /// Over.
    Done,
}

/// R11: why a view is given up; the first reason stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    /// R2: the leader was not heard from for long while a quorum was.
    LeaderSilent,
    /// R10: no proposal came.
    LeaderDeadline,
    /// R10: the proposal was not certified.
    CertifyDeadline,
    /// R3: we lead and have no block.
    NoBlock,
    /// R5: the proposal is invalid.
    InvalidProposal,
    /// R8: the block does not execute to its roots.
    CertificationFailed,
    /// R12: the leader itself gave up.
    LeaderGaveUp,
    /// We gave up before a restart.
    BeforeRestart,
}

/// The highest finalization known.
#[derive(Clone, Debug)]
struct Finalized {
    view: View,
    block: Hash,
    /// `None` for the block we started from, where the ledger had no certificate of it.
    certificate: Option<Certificate>,
}

/// The answers to our question where the others stand.
#[derive(Clone, Debug, Default)]
struct Probe {
    answered: BTreeSet<ValidatorIndex>,
    /// The highest view that an answer proved.
    reached: View,
    again_at: u64,
}

/// A certificate to pass on.
#[derive(Clone, Copy, Debug)]
struct Relay {
    at: u64,
    view: View,
    kind: VoteKind,
}

impl Engine {
    /// An engine that stands at the last committed block and waits for the journal, then for [`Input::Start`].
    ///
    /// # Errors
    /// The configuration contradicts itself.
    pub fn new(config: EpochConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let mut config = config;
        let own = config
            .guard
            .take()
            .and_then(|guard| Some(Own { index: config.validators.index_of(&guard.public())?, guard }));
        let schedule = Schedule::new(&config.validators, &config.opening.hash);
        let now = Now { monotonic_ms: 0, wall: TimestampMs(0) };
        let head = config.committed;
        let view = head.view.next();
        let clocks = Clocks::new(0, now.wall, None, &config.timing);
        let quorum = config.validators.quorum();
        Ok(Self {
            quorum,
            tolerated: Power(config.validators.total_power().0.saturating_sub(quorum.0)),
            validators_hash: config.validators.hash(),
            started_at: None,
            diverged: false,
            now,
            work_since: None,
            current: Current {
                view,
                leader: schedule.leader(view),
                clocks,
                expired: None,
                nullify_again_at: 0,
                proposing: Proposing::Idle,
            },
            rounds: BTreeMap::new(),
            finalized: Finalized { view: head.view, block: head.hash, certificate: config.finalization.clone() },
            chain: Chain::new(head),
            pending: BTreeSet::new(),
            backoff: Backoff::new(),
            peers: Peers::new(&config.validators, own.as_ref().map(|own| own.index)),
            fetches: Fetches::default(),
            own_votes: VecDeque::new(),
            relays: VecDeque::new(),
            finalize_again_at: None,
            probe: Probe::default(),
            behind_at: None,
            own,
            schedule,
            config,
        })
    }

    /// Takes one input and appends what must be done for it, in order.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        let monotonic_ms = now.monotonic_ms.max(self.now.monotonic_ms);
        self.now = Now { monotonic_ms, wall: now.wall };
        if self.diverged {
            return;
        }
        match input {
            Input::Peer { validator, connected } => self.handle_peer(validator, connected, out),
            Input::WorkAvailable(available) => {
                self.work_since = available.then(|| self.work_since.unwrap_or(monotonic_ms));
            }
            Input::Replay(record) => self.handle_replay(record, out),
            Input::Restored(block) => self.handle_restored(block),
            Input::Start => self.handle_start(out),
            Input::CommittedElsewhere { height, timestamp, certificate } => {
                self.handle_committed(height, timestamp, certificate, out);
            }
            Input::Tick => {}
            Input::Message { from, message } if self.started_at.is_some() => self.handle_message(from, message, out),
            Input::Proposed { view, block } => self.handle_proposed(view, block, out),
            Input::Verified { block, verdict } => self.handle_verified(block, verdict, out),
            Input::Certified { block, holds } => self.handle_certified(block, holds, out),
            Input::Message { .. } => {}
        }
        if self.started_at.is_some() {
            self.advance(out);
        }
    }

    /// Applies rules until none applies any more.
    fn advance(&mut self, out: &mut Vec<Output>) {
        if self.is_closed() {
            return;
        }
        self.resend(out);
        self.update_probe(out);
        while !self.diverged {
            if let Some(vote) = self.own_votes.pop_front() {
                self.admit_own(vote, out);
            } else if !self.try_certify(out) && !self.try_commit(out) && !self.try_view(out) {
                break;
            }
        }
        if !self.is_closed() {
            self.update_fetches(out);
        }
    }

    /// The vote guard, for the engine of the next epoch.
    pub(crate) fn take_guard(&mut self) -> Option<VoteGuard> {
        self.own.take().map(|own| own.guard)
    }

    /// The last block handed to the ledger for commit.
    #[must_use]
    pub const fn committed(&self) -> Head {
        self.chain.head()
    }

    /// The vote guard; `None` for an observer.
    #[must_use]
    pub fn guard(&self) -> Option<&VoteGuard> {
        self.own.as_ref().map(|own| &own.guard)
    }

    /// Whether we lead the current view.
    fn is_leader(&self) -> bool {
        self.own_index() == Some(self.current.leader)
    }

    fn own_index(&self) -> Option<ValidatorIndex> {
        self.own.as_ref().map(|own| own.index)
    }

    fn time(&self) -> u64 {
        self.now.monotonic_ms
    }

    fn in_retry(&self) -> u64 {
        self.time().saturating_add(self.config.timing.retry_ms)
    }

    fn round(&self, view: View) -> Option<&Round> {
        self.rounds.get(&view)
    }

    /// The block of a view that may be a parent: the last finalized one, or a certified one above it.
    fn parent_block(&self, view: View) -> Option<Hash> {
        if view == self.finalized.view {
            return Some(self.finalized.block);
        }
        self.round(view).filter(|_| view > self.finalized.view).and_then(Round::certified_block)
    }

    fn is_nullified(&self, view: View) -> bool {
        self.round(view).is_some_and(|round| round.nullification.is_some())
    }
}
