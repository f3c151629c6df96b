//! The loop around the consensus engine: receive, step, persist, sync, then send.
//!
//! ```text
//!  network ─┐                       ┌─► ledger (propose, verify, certify)      at once
//!  ledger ──┼─► inputs ─► Engine ───┼─► votes, journal: synced, in their order  then
//!  clock ───┘             (a turn)  └─► votes, certificates, commits           last
//! ```
//!
//! It runs on a thread of its own, so that writing the journal delays nobody else. A failed journal write ends the node:
//! a vote that might not be on disk is never sent.

use crate::drivers::ledger::{Command, LedgerHandle};
use crate::drivers::sync::SyncHandle;
use crate::metrics::Metrics;
use crate::vote_record::VoteRecord;
use anyhow::{Context, bail};
use cairn_consensus::{Consensus, EngineState, EpochStart, JournalRecord, Now, Output};
use cairn_network::Handle as Network;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Block, Certificate, Epoch, PublicKey, TimestampMs, View};
use cairn_storage::Database;
use cairn_storage::blocks::journal::Journal;
use parity_scale_codec::{DecodeAll, Encode};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};

/// Requests of this node's own parts that may wait. They answer the engine's few outstanding questions, so the queue
/// cannot fill up while the engine waits for those parts.
const REQUESTS_MAX: usize = 4_096;

/// Messages of validators that may wait; a full queue makes the streams wait, and a stream that waits drops.
const MESSAGES_MAX: usize = 1_024;

/// Questions about the engine's state that may wait. Apart from the requests, so that clients who ask cannot take the
/// room of the ledger's answers: the ledger would wait for the loop while the loop waits for the ledger.
const QUESTIONS_MAX: usize = 16;

/// Inputs handled in one turn, so that one sync serves many votes and the loop still looks at the clock.
const INPUTS_PER_TURN_MAX: usize = 256;

/// An input of consensus, by validators' keys.
pub type Input = cairn_consensus::Input<PublicKey>;

/// A request to the loop.
#[derive(Debug)]
pub enum Request {
    /// Something the engine must know.
    Input(Input),
    /// The ledger committed everything up to a view of an epoch: the journal needs no records of it any more.
    Committed(Epoch, View),
    /// The ledger committed the block that closes the epoch, and opens the next one; with its finalization.
    EpochOpened(Box<EpochStart>, Certificate),
    /// Finish.
    Stop,
}

/// Takes a picture of the engine.
type Question = oneshot::Sender<EngineState>;

/// The way to the consensus loop.
#[derive(Clone, Debug)]
pub struct ConsensusHandle {
    requests: mpsc::Sender<Request>,
    questions: mpsc::Sender<Question>,
    messages: mpsc::Sender<Input>,
}

/// The receiving end of a [`ConsensusHandle`].
pub struct Mailbox {
    requests: mpsc::Receiver<Request>,
    questions: mpsc::Receiver<Question>,
    /// Apart from the requests, so that a flood from outside cannot hold up the node's own parts.
    messages: mpsc::Receiver<Input>,
}

impl Mailbox {
    /// What waits next, the node's own requests first.
    pub(super) fn next_waiting(&mut self) -> Option<Request> {
        self.requests.try_recv().ok().or_else(|| self.messages.try_recv().ok().map(Request::Input))
    }
}

impl ConsensusHandle {
    /// A handle and the mailbox it leads to.
    #[must_use]
    pub fn new() -> (Self, Mailbox) {
        let (requests, request_box) = mpsc::channel(REQUESTS_MAX);
        let (questions, question_box) = mpsc::channel(QUESTIONS_MAX);
        let (messages, message_box) = mpsc::channel(MESSAGES_MAX);
        let mailbox = Mailbox { requests: request_box, questions: question_box, messages: message_box };
        (Self { requests, questions, messages }, mailbox)
    }

    /// Hands a validator's message over; waits while the mailbox is full.
    pub async fn message(&self, from: &PublicKey, message: ConsensusMessage) {
        // The loop is gone only when the node stops.
        drop(self.messages.send(Input::Message { from: *from, message }).await);
    }

    /// Tells whether a validator can be reached.
    pub async fn peer(&self, key: &PublicKey, connected: bool) {
        // In the same queue as messages: what was sent before a stream broke comes before the news of it.
        drop(self.messages.send(Input::Peer { validator: *key, connected }).await);
    }

    /// Hands an input over from a thread that may block.
    pub fn input_blocking(&self, input: Input) {
        drop(self.requests.blocking_send(Request::Input(input)));
    }

    /// Tells that everything up to `view` of `epoch` is committed and durable; for a thread that may block.
    pub fn committed_blocking(&self, epoch: Epoch, view: View) {
        drop(self.requests.blocking_send(Request::Committed(epoch, view)));
    }

    /// Opens an epoch whose opening block is committed and durable; for a thread that may block.
    pub fn epoch_opened_blocking(&self, start: EpochStart, finalization: Certificate) {
        drop(self.requests.blocking_send(Request::EpochOpened(Box::new(start), finalization)));
    }

    /// Ends the loop after the turn it is in.
    pub async fn stop(&self) {
        drop(self.requests.send(Request::Stop).await);
    }

    /// A picture of the engine; `None` when the loop has ended.
    pub async fn state(&self) -> Option<EngineState> {
        let (reply, answer) = oneshot::channel();
        self.questions.send(reply).await.ok()?;
        answer.await.ok()
    }
}

/// What the loop works with.
pub struct ConsensusDriver {
    /// The engines, before replay.
    pub consensus: Consensus,
    /// Where the journal lies.
    pub database: Arc<dyn Database>,
    /// The record of the votes of each key.
    pub records: BTreeMap<PublicKey, VoteRecord>,
    /// Blocks that were certified before the restart.
    pub restored: Vec<Arc<Block>>,
    /// The way to the ledger.
    pub ledger: LedgerHandle,
    /// The way to block sync.
    pub sync: SyncHandle,
    /// The way to the network.
    pub network: Network,
    /// What is measured.
    pub metrics: Metrics,
    /// Whether the vote guard was silent at the end of the last turn; false at first.
    pub was_silent: bool,
}

impl ConsensusDriver {
    /// Runs until the mailbox closes.
    ///
    /// # Errors
    /// The journal cannot be read or written, the chain diverged, or a component is gone.
    pub fn run(mut self, mut mailbox: Mailbox) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(async move {
            let clock = Clock::new();
            let mut outputs = Vec::new();
            let mut journal = self.replay(&clock, &mut outputs)?;
            self.carry_out(&mut journal, clock.now(), &mut outputs).await?;
            let mut stopping = false;
            while !stopping {
                let deadline = clock.instant(self.consensus.next_deadline());
                let first = tokio::select! {
                    biased;
                    request = mailbox.requests.recv() => match request {
                        Some(Request::Stop) | None => return Ok(()),
                        Some(request) => request,
                    },
                    Some(reply) = mailbox.questions.recv() => {
                        // Whoever asked may have gone.
                        drop(reply.send(self.consensus.state(clock.now())));
                        // The turn goes on, or clients who keep asking would hold up everybody else.
                        Request::Input(Input::Tick)
                    }
                    Some(input) = mailbox.messages.recv() => Request::Input(input),
                    () = tokio::time::sleep_until(deadline.into()) => Request::Input(Input::Tick),
                };
                self.handle(&clock, first, &mut journal, &mut outputs)?;
                for _ in 1..INPUTS_PER_TURN_MAX {
                    let Some(request) = mailbox.next_waiting() else { break };
                    stopping = matches!(request, Request::Stop);
                    if stopping {
                        break;
                    }
                    if matches!(request, Request::EpochOpened(..)) {
                        // What the last epoch still has to say goes into its own journal and record.
                        self.carry_out(&mut journal, clock.now(), &mut outputs).await?;
                    }
                    self.handle(&clock, request, &mut journal, &mut outputs)?;
                }
                self.carry_out(&mut journal, clock.now(), &mut outputs).await?;
            }
            Ok(())
        })
    }

    fn handle(
        &mut self,
        clock: &Clock,
        request: Request,
        journal: &mut Journal,
        outputs: &mut Vec<Output<PublicKey>>,
    ) -> anyhow::Result<()> {
        let now = clock.now();
        match request {
            Request::Input(input) => self.consensus.step(now, input, outputs),
            Request::Committed(epoch, view) => journal.commit(epoch, view),
            Request::EpochOpened(start, finalization) => {
                tracing::info!(epoch = %start.epoch, validators = start.validators.len(), "a new epoch begins");
                self.consensus.open_epoch(now, *start, finalization, outputs)?;
            }
            // The loop looks for it before it asks here.
            Request::Stop => {}
        }
        Ok(())
    }

    fn replay(&mut self, clock: &Clock, outputs: &mut Vec<Output<PublicKey>>) -> anyhow::Result<Journal> {
        let Self { consensus, database, .. } = self;
        let epoch = consensus.epoch().epoch;
        let journal = Journal::open(&**database, epoch, |key, bytes| {
            let record = JournalRecord::decode_all(&mut &bytes[..])
                .with_context(|| format!("journal record {} of epoch {} is damaged", key.sequence, key.epoch))?;
            let view = record.view();
            consensus.step(clock.now(), Input::Replay(record), outputs);
            anyhow::Ok(view)
        })
        .context("cannot read the consensus journal")?;
        for block in self.restored.drain(..) {
            self.consensus.step(clock.now(), Input::Restored(block), outputs);
        }
        self.consensus.step(clock.now(), Input::Start, outputs);
        Ok(journal)
    }

    /// Starts work, makes the turn's records durable, then speaks.
    async fn carry_out(
        &mut self,
        journal: &mut Journal,
        now: Now,
        outputs: &mut Vec<Output<PublicKey>>,
    ) -> anyhow::Result<()> {
        if outputs.is_empty() {
            return Ok(());
        }
        let mut records = Vec::new();
        let mut afterwards = Vec::new();
        for output in outputs.drain(..) {
            match output {
                Output::Journal(record) => records.push(record),
                Output::Propose { epoch, view, proposer, parent, timestamp, evidence } => {
                    let request = cairn_ledger::ProposalRequest { epoch, view, proposer, parent, timestamp, evidence };
                    self.ledger.send(Command::Propose(request)).await?;
                }
                Output::Verify { block, .. } => self.ledger.send(Command::Verify(block)).await?,
                Output::Certify { block, .. } => self.ledger.send(Command::Certify(block)).await?,
                Output::ServeBlock { to, block } => {
                    self.ledger.send(Command::ServeBlock { to, hash: block }).await?;
                }
                Output::Behind { certificate } => self.sync.behind(&certificate),
                Output::Diverged { block } => bail!(
                    "block {block} is final, but does not hold at this node: its state or its software is wrong, or more \
                     than a third of the voting power is malicious. Do not restart blindly"
                ),
                Output::Broadcast(_)
                | Output::Send { .. }
                | Output::Finalize { .. }
                | Output::Blame { .. }
                | Output::VoteRefused { .. }
                | Output::RecordLost { .. }
                | Output::Evidence(_) => afterwards.push(output),
            }
        }
        self.persist(journal, &records)?;
        for output in afterwards {
            self.speak(output).await?;
        }
        let is_silent = self.consensus.guard().is_some_and(|guard| guard.silence().is_some());
        if std::mem::replace(&mut self.was_silent, is_silent) && !is_silent {
            tracing::info!("everything that this key can have voted on is final: it signs votes again");
        }
        if !records.is_empty() {
            self.metrics.observe_engine(&self.consensus.state(now));
        }
        Ok(())
    }

    /// Writes and syncs votes and journal in the order in which the engine gave them, so that a crash leaves a beginning of
    /// it: no certificate without our vote in it, and no vote without the certificates and the block that it stands on.
    fn persist(&mut self, journal: &mut Journal, records: &[JournalRecord]) -> anyhow::Result<()> {
        journal.turn_to(self.consensus.epoch().epoch);
        for run in records.chunk_by(|one, next| one.is_of_guard() == next.is_of_guard()) {
            if run.first().is_some_and(JournalRecord::is_of_guard) {
                self.record(run).context("cannot write the vote record")?;
            } else {
                let encoded = run.iter().map(|record| (record.view(), record.encode()));
                journal.append(&*self.database, encoded).context("cannot write the consensus journal")?;
            }
        }
        Ok(())
    }

    /// Writes what was signed to the record of the key, and syncs.
    fn record(&mut self, votes: &[JournalRecord]) -> anyhow::Result<()> {
        // A vote that is in no record must not leave.
        let guard = self.consensus.guard().context("a vote was signed without a guard")?;
        let record = self.records.get_mut(&guard.public()).context("a key has no vote record")?;
        record.append(votes)?;
        if record.is_large() {
            record.rewrite(&guard.record())?;
        }
        Ok(())
    }

    async fn speak(&self, output: Output<PublicKey>) -> anyhow::Result<()> {
        match output {
            Output::Broadcast(message) => {
                if let Err(error) = self.network.broadcast(&message) {
                    tracing::error!(%error, "a consensus message was not sent");
                }
            }
            Output::Send { to, message } => {
                if let Err(error) = self.network.send(&to, &message) {
                    tracing::debug!(validator = %to, %error, "a consensus message was not sent; it is repeated if needed");
                }
            }
            Output::Finalize { blocks, certificate } => {
                self.ledger.send(Command::Commit { hashes: blocks, certificate }).await?;
            }
            Output::Blame { validator, offence } => tracing::warn!(%validator, %offence, "a validator misbehaves"),
            Output::Evidence(evidence) => {
                self.metrics.evidence();
                tracing::error!(?evidence, "a validator signed two things that exclude each other");
            }
            Output::VoteRefused { subject, refusal } => tracing::error!(?subject, %refusal, "a vote was not signed"),
            Output::RecordLost { subject } => tracing::error!(
                ?subject,
                "others hold a vote of this node's key that its record does not: the record is older than the key's last \
                 votes, or another node runs with the same key. This validator stays silent until everything it can have \
                 voted on is final"
            ),
            Output::Journal(_)
            | Output::Propose { .. }
            | Output::Verify { .. }
            | Output::Certify { .. }
            | Output::ServeBlock { .. }
            | Output::Behind { .. }
            | Output::Diverged { .. } => {}
        }
        Ok(())
    }
}

/// The two clocks of the engine.
struct Clock {
    origin: Instant,
}

/// How long the loop sleeps at most without a deadline.
const IDLE_MAX: Duration = Duration::from_secs(3_600);

impl Clock {
    fn new() -> Self {
        Self { origin: Instant::now() }
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { monotonic_ms: milliseconds(self.origin.elapsed()), wall: TimestampMs(milliseconds(wall)) }
    }

    /// The moment of a deadline; far away where there is none.
    fn instant(&self, deadline_ms: Option<u64>) -> Instant {
        let after = deadline_ms.map_or_else(|| self.origin.elapsed().saturating_add(IDLE_MAX), Duration::from_millis);
        self.origin.checked_add(after).unwrap_or_else(|| Instant::now() + IDLE_MAX)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
