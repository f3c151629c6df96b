//! Consensus with its journal and the record of its votes: the only file that knows the types of the engine.
//!
//! Mirrors `node/src/drivers/consensus.rs` and `node/src/vote_record.rs`: a turn takes the inputs that wait, starts work,
//! writes record and journal in the order in which the engine gave their entries, and speaks last.

use super::{Answer, Clock, Command, Effect, Fact};
use crate::disk::Disk;
use crate::plan::Times;
use crate::setup::Setup;
use anyhow::{Context, bail};
use cairn_consensus::mutant::{Mutant, is_on};
use cairn_consensus::{Config, EpochStart, Head, JournalRecord, Now, Timing, Verdict, VoteGuard};
use cairn_ledger::{OpenedEpoch, ProposalRequest, Reader};
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Block, Certificate, Epoch, KeyPair, PublicKey, TimestampMs, View};
use cairn_storage::blocks::journal::Journal;
use parity_scale_codec::{DecodeAll, Encode};
use std::collections::VecDeque;
use std::sync::Arc;

/// Inputs handled in one turn, as in the real driver.
const INPUTS_PER_TURN_MAX: usize = 256;

/// Messages that may wait, as in the real driver; beyond that streams drop.
const MESSAGES_MAX: usize = 1_024;

/// How soon a block whose parent is not here is asked for again, as in the real driver.
const RETRY_MS: u64 = 50;

/// For how many views votes are kept, as in the real node.
const RETENTION_VIEWS: u64 = 10;

/// From so many entries on the vote record is written anew: few, so that every run does it.
const RECORD_ENTRIES_MAX: usize = 48;

type Input = cairn_consensus::Input<PublicKey>;
type Output = cairn_consensus::Output<PublicKey>;

/// What waits for the engine.
#[allow(clippy::large_enum_variant, reason = "nearly all are inputs")]
enum Request {
    Input(Input),
    Committed(Epoch, View),
    EpochOpened(Box<OpenedEpoch>, Certificate),
}

/// The consensus of a node.
pub(crate) struct Consensus {
    engine: cairn_consensus::Consensus,
    disk: Disk,
    journal: Journal,
    /// How many entries the vote record has.
    entries: usize,
    requests: VecDeque<Request>,
    messages: VecDeque<Input>,
    dropped: u64,
}

/// A picture of the engine for messages to people.
pub(crate) struct Standing {
    /// The back-off factor.
    pub(crate) factor: u64,
    /// In words.
    pub(crate) text: String,
    /// Certificates and blocks that are being fetched.
    pub(crate) fetches: usize,
}

impl Consensus {
    pub(super) fn open(
        setup: &Setup,
        key: &KeyPair,
        reader: &Reader,
        disk: &Disk,
        restored: Vec<Arc<Block>>,
        clock: Clock,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<Self> {
        let (guard, votes) = guard(setup, key, disk)?;
        votes.iter().for_each(|record| note(record, effects));
        let config = config(setup, guard, reader)?;
        let mut engine = cairn_consensus::Consensus::new(config)?;
        let mut outputs = Vec::new();
        let epoch = engine.epoch().epoch;
        let journal = Journal::open(disk, epoch, |_, bytes| {
            let record = JournalRecord::decode_all(&mut &bytes[..]).context("a journal record is damaged")?;
            let view = record.view();
            note(&record, effects);
            engine.step(now(clock), Input::Replay(record), &mut outputs);
            anyhow::Ok(view)
        })?;
        let mut consensus = Self {
            engine,
            disk: disk.clone(),
            journal,
            entries: votes.len(),
            requests: VecDeque::new(),
            messages: VecDeque::new(),
            dropped: 0,
        };
        for block in restored {
            consensus.engine.step(now(clock), Input::Restored(block), &mut outputs);
        }
        consensus.engine.step(now(clock), Input::Start, &mut outputs);
        consensus.carry_out(outputs, effects)?;
        Ok(consensus)
    }

    /// A message from a validator; dropped where too many wait.
    pub(super) fn message(&mut self, from: &PublicKey, message: &Arc<ConsensusMessage>) {
        if self.messages.len() >= MESSAGES_MAX {
            self.dropped += 1;
            return;
        }
        self.messages.push_back(Input::Message { from: *from, message: ConsensusMessage::clone(message) });
    }

    /// A validator can be reached, or not any more.
    pub(super) fn peer(&mut self, key: &PublicKey, connected: bool) {
        self.messages.push_back(Input::Peer { validator: *key, connected });
    }

    /// An answer of the ledger.
    pub(super) fn answer(&mut self, answer: Answer) {
        self.requests.push_back(match answer {
            Answer::Proposed { view, block } => Request::Input(Input::Proposed { view, block }),
            Answer::Verified { block, verdict } => {
                let verdict = match verdict {
                    cairn_ledger::Verdict::Valid => Verdict::Valid,
                    cairn_ledger::Verdict::Invalid(reason) => Verdict::Invalid(reason),
                    cairn_ledger::Verdict::NotYet => Verdict::NotYet { retry_ms: RETRY_MS },
                };
                Request::Input(Input::Verified { block, verdict })
            }
            Answer::Certified { block, holds } => Request::Input(Input::Certified { block, holds }),
            Answer::CommittedElsewhere { height, timestamp, certificate } => {
                Request::Input(Input::CommittedElsewhere { height, timestamp, certificate })
            }
            Answer::Work(is_there) => Request::Input(Input::WorkAvailable(is_there)),
            Answer::Committed(epoch, view) => Request::Committed(epoch, view),
            Answer::EpochOpened(opened, finalization) => Request::EpochOpened(opened, finalization),
        });
    }

    /// How many inputs wait.
    pub(crate) fn waiting(&self) -> usize {
        self.requests.len() + self.messages.len()
    }

    /// When the engine wants to be woken, by the monotonic clock.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.engine.next_deadline()
    }

    /// How many records the journal holds.
    pub(crate) fn journal_records(&self) -> usize {
        self.journal.len()
    }

    /// Where the engine stands.
    pub(crate) fn standing(&self, clock: Clock) -> Standing {
        let state = self.engine.state(now(clock));
        let text = format!(
            "epoch {} view {} led by {}, finalized view {}, head {}, backoff {}, power {:?}, fetches {}, {}; {:?}",
            state.epoch,
            state.view,
            state.leader,
            state.finalized_view,
            state.committed.height,
            state.backoff,
            state.votes,
            state.fetches,
            state.waiting_for,
            state.deadlines,
        );
        Standing { factor: state.backoff, text, fetches: state.fetches }
    }

    /// One turn: the inputs that wait, or a tick.
    pub(super) fn turn(&mut self, clock: Clock, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        let mut outputs = Vec::new();
        if self.waiting() == 0 {
            self.engine.step(now(clock), Input::Tick, &mut outputs);
        }
        for _ in 0..INPUTS_PER_TURN_MAX {
            let waiting = self.requests.pop_front().or_else(|| self.messages.pop_front().map(Request::Input));
            match waiting {
                Some(Request::Input(input)) => self.engine.step(now(clock), input, &mut outputs),
                Some(Request::Committed(epoch, view)) => self.journal.commit(epoch, view),
                Some(Request::EpochOpened(opened, finalization)) => {
                    // What the last epoch still has to say goes into its own journal and record.
                    self.carry_out(std::mem::take(&mut outputs), effects)?;
                    self.engine.open_epoch(now(clock), epoch_start(&opened), finalization, &mut outputs)?;
                }
                None => break,
            }
        }
        self.carry_out(outputs, effects)
    }

    /// Starts work, makes the turn's records durable, then speaks.
    fn carry_out(&mut self, outputs: Vec<Output>, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        let (mut records, mut afterwards) = (Vec::new(), Vec::new());
        for output in outputs {
            match output {
                Output::Journal(record) => records.push(record),
                Output::Propose { epoch, view, proposer, parent, timestamp, evidence } => {
                    let request = ProposalRequest { epoch, view, proposer, parent, timestamp, evidence };
                    effects.push(Effect::Ledger(Command::Propose(request)));
                }
                Output::Verify { block, .. } => effects.push(Effect::Ledger(Command::Verify(block))),
                Output::Certify { block, .. } => effects.push(Effect::Ledger(Command::Certify(block))),
                Output::ServeBlock { to, block } => {
                    effects.push(Effect::Ledger(Command::ServeBlock { to, hash: block }));
                }
                Output::Behind { .. } => effects.push(Effect::Behind),
                Output::Diverged { block } => {
                    effects.push(Effect::Fact(Fact::Diverged(block)));
                    bail!("block {block} is final, but does not hold at this node");
                }
                Output::Broadcast(_)
                | Output::Send { .. }
                | Output::Finalize { .. }
                | Output::Blame { .. }
                | Output::VoteRefused { .. }
                | Output::RecordLost { .. }
                | Output::Evidence(_) => afterwards.push(output),
            }
        }
        if is_on(Mutant::SendBeforeSync) {
            afterwards.drain(..).for_each(|output| Self::speak(output, effects));
        }
        self.journal.turn_to(self.engine.epoch().epoch);
        for run in records.chunk_by(|one, next| one.is_of_guard() == next.is_of_guard()) {
            if run.first().is_some_and(JournalRecord::is_of_guard) {
                self.record(run)?;
            } else {
                self.journal.append(&self.disk, run.iter().map(|record| (record.view(), record.encode())))?;
            }
            run.iter().for_each(|record| note(record, effects));
        }
        afterwards.into_iter().for_each(|output| Self::speak(output, effects));
        Ok(())
    }

    /// Writes what was signed in this turn to the record of the key, and syncs.
    fn record(&mut self, votes: &[JournalRecord]) -> anyhow::Result<()> {
        let Some(guard) = self.engine.guard().filter(|_| !votes.is_empty()) else { return Ok(()) };
        self.disk.write_votes(votes.iter().map(Encode::encode).collect(), false)?;
        self.entries += votes.len();
        if self.entries > RECORD_ENTRIES_MAX {
            let whole: Vec<_> = guard.record().iter().map(Encode::encode).collect();
            self.entries = whole.len();
            self.disk.write_votes(whole, true)?;
        }
        Ok(())
    }

    fn speak(output: Output, effects: &mut Vec<Effect>) {
        match output {
            Output::Broadcast(message) => effects.push(Effect::Broadcast(Arc::new(message))),
            Output::Send { to, message } => {
                effects.push(Effect::Send { to, message: Arc::new(message) });
            }
            Output::Finalize { blocks, certificate } => {
                effects.push(Effect::Ledger(Command::Commit { hashes: blocks, certificate }));
            }
            Output::Blame { validator, offence } => {
                effects.push(Effect::Fact(Fact::Blamed { offender: validator, offence: offence.to_string() }));
            }
            Output::Evidence(evidence) => effects.push(Effect::Fact(Fact::Evidence(Box::new(evidence)))),
            Output::VoteRefused { subject, refusal } => {
                effects.push(Effect::Fact(Fact::VoteRefused(format!("{subject:?}: {refusal}"))));
            }
            Output::RecordLost { subject } => effects.push(Effect::Fact(Fact::RecordLost(format!("{subject:?}")))),
            Output::Journal(_)
            | Output::Propose { .. }
            | Output::Verify { .. }
            | Output::Certify { .. }
            | Output::ServeBlock { .. }
            | Output::Behind { .. }
            | Output::Diverged { .. } => {}
        }
    }
}

/// Tells of a record that is on disk.
fn note(record: &JournalRecord, effects: &mut Vec<Effect>) {
    match record {
        JournalRecord::Vote(vote) => effects.push(Effect::Fact(Fact::VoteSynced(vote.clone()))),
        JournalRecord::Certificate(certificate) => effects.push(Effect::Fact(Fact::Held(certificate.clone()))),
        JournalRecord::Certified { .. } | JournalRecord::Floor { .. } | JournalRecord::Silence { .. } => {}
    }
}

/// The guard of a key with what its record says, and what that is.
fn guard(setup: &Setup, key: &KeyPair, disk: &Disk) -> anyhow::Result<(VoteGuard, Vec<JournalRecord>)> {
    let genesis = setup.genesis.hash();
    let Some(entries) = disk.votes() else { return Ok((VoteGuard::without_record(key.clone(), genesis), Vec::new())) };
    let decode = |bytes: &Vec<u8>| JournalRecord::decode_all(&mut bytes.as_slice());
    let records: Vec<_> = entries.iter().map(decode).collect::<Result<_, _>>().context("the vote record is damaged")?;
    let known = if is_on(Mutant::ForgetVotes) { Vec::new() } else { records.clone() };
    Ok((VoteGuard::new(key.clone(), genesis, known), records))
}

/// As the real node makes it from the chain spec and the read model.
fn config(setup: &Setup, guard: VoteGuard, reader: &Reader) -> anyhow::Result<Config> {
    let genesis = reader.genesis_hash();
    let head = reader.head();
    let (view, finalization) = reader.head_view()?;
    Ok(Config {
        genesis,
        epoch: epoch_start(&reader.current_epoch()),
        guards: vec![guard],
        timing: timing(&setup.times),
        retention: RETENTION_VIEWS,
        committed: Head { height: head.height, hash: head.hash, view, timestamp: head.timestamp },
        finalization,
    })
}

/// An epoch as consensus starts it.
fn epoch_start(opened: &OpenedEpoch) -> EpochStart {
    let cairn_ledger::Head { height, hash, timestamp, .. } = opened.opening;
    EpochStart {
        epoch: opened.epoch,
        validators: opened.validators.clone(),
        opening: Head { height, hash, view: View::ZERO, timestamp },
        closing: opened.closing,
    }
}

const fn timing(times: &Times) -> Timing {
    Timing {
        leader_timeout_ms: times.leader_timeout_ms,
        certify_timeout_ms: times.certify_timeout_ms,
        retry_ms: times.retry_ms,
        skip_timeout_ms: times.skip_timeout_ms,
        block_interval_ms: times.block_interval_ms,
        idle_block_interval_ms: times.idle_block_interval_ms,
    }
}

const fn now(clock: Clock) -> Now {
    Now { monotonic_ms: clock.monotonic_ms, wall: TimestampMs(clock.wall_ms) }
}
