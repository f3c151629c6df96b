//! Consensus over all epochs: one [`Engine`] at a time, and what passes between them.
//!
//! ```text
//!            Finalize(closing block)                ledger commits it          EpochStart
//!  Engine e ───────────────────────► driver ──────────────────────────► driver ─────────► Engine e+1
//!     └─ its vote guard, the peers that are up, messages that came early, evidence ─────────►┘
//! ```
//! Outside, validators have keys: an index means something within one epoch only. Messages of the next epoch are kept
//! until it opens here; who still votes in the last one gets the finalization that closed it. Evidence is kept, one piece
//! for each offender, passed on once, and offered for every block of ours until its offender is out of the set.

use crate::config::{Config, ConfigError, EpochConfig, EpochStart, Timing};
use crate::early::EarlyMessages;
use crate::engine::Engine;
use crate::guard::VoteGuard;
use crate::input::{Input, Now};
use crate::output::{Offence, Output};
use crate::state::EngineState;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Certificate, Epoch, Evidence, Hash, PublicKey, ValidatorIndex};
use std::collections::{BTreeMap, BTreeSet};

/// The consensus of one node; see the crate's documentation.
#[derive(Debug)]
pub struct Consensus {
    genesis: Hash,
    timing: Timing,
    retention: u64,
    engine: Engine,
    epoch: EpochStart,
    /// The finalization of the block that opened the epoch, for those who are still in the last one.
    handover: Option<Certificate>,
    /// Whom the handover was sent, and when.
    handed_at: BTreeMap<PublicKey, u64>,
    /// Guards of keys that are not in the set of this epoch.
    idle_guards: Vec<VoteGuard>,
    connected: BTreeSet<PublicKey>,
    early: EarlyMessages,
    evidence: BTreeMap<PublicKey, Evidence>,
    has_work: bool,
    is_started: bool,
    scratch: Vec<Output>,
}

impl Consensus {
    /// Consensus that stands at the last committed block and waits for the journal, then for [`Input::Start`].
    ///
    /// # Errors
    /// The configuration contradicts itself.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let Config { genesis, epoch, committed, finalization, mut guards, timing, retention } = config;
        let guard = take_guard(&mut guards, &epoch);
        let handover = finalization.clone().filter(|certificate| certificate.subject.epoch() < epoch.epoch);
        let finalization = finalization.filter(|certificate| certificate.subject.epoch() == epoch.epoch);
        let fresh = EpochConfig::at_start(&epoch, genesis, guard, timing, retention);
        let engine = Engine::new(EpochConfig { committed, finalization, ..fresh })?;
        Ok(Self {
            genesis,
            timing,
            retention,
            engine,
            epoch,
            handover,
            handed_at: BTreeMap::new(),
            idle_guards: guards,
            connected: BTreeSet::new(),
            early: EarlyMessages::default(),
            evidence: BTreeMap::new(),
            has_work: false,
            is_started: false,
            scratch: Vec::new(),
        })
    }

    /// Takes one input and appends what must be done for it, in order.
    pub fn step(&mut self, now: Now, input: Input<PublicKey>, out: &mut Vec<Output<PublicKey>>) {
        match input {
            Input::Message { from, message } => self.handle_message(now, from, message, out),
            Input::Peer { validator, connected } => self.handle_peer(now, validator, connected, out),
            Input::WorkAvailable(available) => {
                self.has_work = available;
                self.engine_step(now, Input::WorkAvailable(available), out);
            }
            Input::Start => {
                self.is_started = true;
                self.engine_step(now, Input::Start, out);
            }
            Input::Replay(record) => self.engine_step(now, Input::Replay(record), out),
            Input::Restored(block) => self.engine_step(now, Input::Restored(block), out),
            Input::Tick => self.engine_step(now, Input::Tick, out),
            Input::Proposed { view, block } => self.engine_step(now, Input::Proposed { view, block }, out),
            Input::Verified { block, verdict } => self.engine_step(now, Input::Verified { block, verdict }, out),
            Input::Certified { block, holds } => self.engine_step(now, Input::Certified { block, holds }, out),
            Input::CommittedElsewhere { height, timestamp, certificate } => {
                self.engine_step(now, Input::CommittedElsewhere { height, timestamp, certificate }, out);
            }
        }
        // A flood of what the engine never sees must not hold up its timers.
        if self.engine.next_deadline().is_some_and(|due| due <= now.monotonic_ms) {
            self.engine_step(now, Input::Tick, out);
        }
    }

    /// Goes over to the next epoch, whose opening block the ledger has committed; `finalization` is that block's. An epoch
    /// that is not above the present one is ignored.
    ///
    /// # Errors
    /// The epoch contradicts itself.
    pub fn open_epoch(
        &mut self,
        now: Now,
        start: EpochStart,
        finalization: Certificate,
        out: &mut Vec<Output<PublicKey>>,
    ) -> Result<(), ConfigError> {
        if start.epoch <= self.epoch.epoch {
            return Ok(());
        }
        let mut guards = std::mem::take(&mut self.idle_guards);
        if let Some(guard) = self.engine.take_guard() {
            guards.push(guard);
        }
        guards.iter_mut().for_each(VoteGuard::on_epoch);
        self.idle_guards = guards;
        let guard = take_guard(&mut self.idle_guards, &start);
        self.engine = Engine::new(EpochConfig::at_start(&start, self.genesis, guard, self.timing, self.retention))?;
        self.evidence.retain(|offender, _| start.validators.index_of(offender).is_some());
        self.handover = Some(finalization);
        self.handed_at.clear();
        self.epoch = start;
        self.resume(now, out);
        Ok(())
    }

    /// Brings a fresh engine to where the last one was.
    fn resume(&mut self, now: Now, out: &mut Vec<Output<PublicKey>>) {
        self.engine_step(now, Input::WorkAvailable(self.has_work), out);
        for key in self.connected.clone() {
            if let Some(validator) = self.index_of(&key) {
                self.engine_step(now, Input::Peer { validator, connected: true }, out);
            }
        }
        if self.is_started {
            self.engine_step(now, Input::Start, out);
        }
        for (from, message) in self.early.take(self.epoch.epoch) {
            self.handle_message(now, from, message, out);
        }
    }

    fn handle_message(
        &mut self,
        now: Now,
        from: PublicKey,
        message: ConsensusMessage,
        out: &mut Vec<Output<PublicKey>>,
    ) {
        if let ConsensusMessage::Evidence(evidence) = message {
            return self.handle_evidence(from, *evidence, out);
        }
        match message.epoch() {
            Some(epoch) if epoch > self.epoch.epoch => self.early.keep(self.epoch.epoch, from, message),
            Some(epoch) if epoch < self.epoch.epoch => self.hand_over(now, from, epoch, out),
            Some(_) | None => {
                if let Some(from) = self.index_of(&from) {
                    self.engine_step(now, Input::Message { from, message }, out);
                }
            }
        }
    }

    /// Sends who is still in the last epoch the finalization that closed it; not more often than twice per retry interval.
    fn hand_over(&mut self, now: Now, to: PublicKey, epoch: Epoch, out: &mut Vec<Output<PublicKey>>) {
        let Some(certificate) = self.handover.as_ref().filter(|handover| handover.subject.epoch() == epoch) else {
            return;
        };
        let pause = self.timing.retry_ms.checked_div(2).unwrap_or(0).max(1);
        let is_due = self.handed_at.get(&to).is_none_or(|at| now.monotonic_ms >= at.saturating_add(pause));
        if is_due && self.connected.contains(&to) {
            self.handed_at.insert(to, now.monotonic_ms);
            out.push(Output::Send { to, message: ConsensusMessage::Certificate(certificate.clone()) });
        }
    }

    fn handle_peer(&mut self, now: Now, key: PublicKey, connected: bool, out: &mut Vec<Output<PublicKey>>) {
        let came_up = if connected { self.connected.insert(key) } else { !self.connected.remove(&key) };
        if !connected {
            self.early.forget(&key);
            self.handed_at.remove(&key);
        }
        if let Some(validator) = self.index_of(&key) {
            self.engine_step(now, Input::Peer { validator, connected }, out);
            if connected && came_up {
                let known =
                    self.evidence.values().cloned().map(|evidence| ConsensusMessage::Evidence(Box::new(evidence)));
                out.extend(known.map(|message| Output::Send { to: key, message }));
            }
        }
    }

    /// R17: keeps evidence of a member that is new to us; what proves nothing costs the sender.
    fn handle_evidence(&mut self, from: PublicKey, evidence: Evidence, out: &mut Vec<Output<PublicKey>>) {
        let offender = evidence.offender();
        if self.evidence.contains_key(&offender) || self.index_of(&offender).is_none() {
            return;
        }
        if evidence.verify(&self.genesis).is_err() {
            return out.push(Output::Blame { validator: from, offence: Offence::BadEvidence });
        }
        self.evidence.insert(offender, evidence.clone());
        out.push(Output::Evidence(evidence));
    }

    /// Steps the engine and names validators by key in what it asks for.
    fn engine_step(&mut self, now: Now, input: Input, out: &mut Vec<Output<PublicKey>>) {
        let mut outputs = std::mem::take(&mut self.scratch);
        self.engine.step(now, input, &mut outputs);
        for output in outputs.drain(..) {
            self.pass_on(output, out);
        }
        self.scratch = outputs;
    }

    fn pass_on(&mut self, output: Output, out: &mut Vec<Output<PublicKey>>) {
        match output {
            Output::Evidence(evidence) => {
                if self.evidence.insert(evidence.offender(), evidence.clone()).is_none() {
                    out.push(Output::Evidence(evidence.clone()));
                    out.push(Output::Broadcast(ConsensusMessage::Evidence(Box::new(evidence))));
                }
            }
            Output::Propose { epoch, view, proposer, parent, timestamp, .. } => {
                let evidence = self.evidence.values().cloned().collect();
                out.push(Output::Propose { epoch, view, proposer, parent, timestamp, evidence });
            }
            other @ (Output::Journal(_)
            | Output::Broadcast(_)
            | Output::Send { .. }
            | Output::ServeBlock { .. }
            | Output::Verify { .. }
            | Output::Certify { .. }
            | Output::Finalize { .. }
            | Output::Behind { .. }
            | Output::Blame { .. }
            | Output::VoteRefused { .. }
            | Output::RecordLost { .. }
            | Output::Diverged { .. }) => {
                let set = &self.epoch.validators;
                out.extend(other.map_validator(|index| set.get(index).map(|validator| validator.key)));
            }
        }
    }

    fn index_of(&self, key: &PublicKey) -> Option<ValidatorIndex> {
        self.epoch.validators.index_of(key)
    }

    /// The monotonic time, in milliseconds, at which [`Input::Tick`] is needed if nothing else happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.engine.next_deadline()
    }

    /// A picture of the engine of the present epoch, for people and for monitoring.
    #[must_use]
    pub fn state(&self, now: Now) -> EngineState {
        self.engine.state(now)
    }

    /// The present epoch.
    #[must_use]
    pub const fn epoch(&self) -> &EpochStart {
        &self.epoch
    }

    /// The guard that signs in the present epoch; `None` for an observer.
    #[must_use]
    pub fn guard(&self) -> Option<&VoteGuard> {
        self.engine.guard()
    }

    /// Evidence that is held, one piece for each offender.
    pub fn evidence(&self) -> impl Iterator<Item = &Evidence> {
        self.evidence.values()
    }

    /// How many messages of the next epoch are kept, and their bytes.
    #[must_use]
    pub fn early(&self) -> (usize, usize) {
        (self.early.len(), self.early.bytes())
    }
}

/// The guard whose key is in the set of an epoch.
fn take_guard(guards: &mut Vec<VoteGuard>, epoch: &EpochStart) -> Option<VoteGuard> {
    let place = guards.iter().position(|guard| epoch.validators.index_of(&guard.public()).is_some())?;
    Some(guards.remove(place))
}
