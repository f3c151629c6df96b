//! The loop around the consensus engine: receive, step, persist, sync, then send.
//!
//! ```text
//!  network ─┐                       ┌─► ledger (propose, verify, certify)      at once
//!  ledger ──┼─► inputs ─► Engine ───┼─► journal: ONE synced write              then
//!  clock ───┘             (a turn)  └─► votes, certificates, commits           last
//! ```
//!
//! It runs on a thread of its own, so that writing the journal delays nobody else. A failed journal write ends the node:
//! a vote that might not be on disk is never sent.

use crate::drivers::ledger::{Command, LedgerHandle};
use crate::drivers::sync::SyncHandle;
use crate::metrics::Metrics;
use anyhow::{Context, bail};
use cairn_consensus::{Engine, EngineState, Input, JournalRecord, Now, Output};
use cairn_network::Handle as Network;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Block, Epoch, PublicKey, TimestampMs, ValidatorIndex, ValidatorSet, View};
use cairn_storage::blocks::journal::{self, JournalKey};
use cairn_storage::{Database, Durability, WriteBatch};
use parity_scale_codec::{DecodeAll, Encode};
use std::collections::VecDeque;
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

/// Journal records read in one go at start-up.
const REPLAY_PAGE: usize = 1_024;

/// A request to the loop.
#[derive(Debug)]
pub enum Request {
    /// Something the engine must know.
    Input(Input),
    /// The ledger committed everything up to a view: the journal needs no records of it any more.
    Committed(View),
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
    validators: Arc<ValidatorSet>,
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
    pub fn new(validators: Arc<ValidatorSet>) -> (Self, Mailbox) {
        let (requests, request_box) = mpsc::channel(REQUESTS_MAX);
        let (questions, question_box) = mpsc::channel(QUESTIONS_MAX);
        let (messages, message_box) = mpsc::channel(MESSAGES_MAX);
        let mailbox = Mailbox { requests: request_box, questions: question_box, messages: message_box };
        (Self { requests, questions, messages, validators }, mailbox)
    }

    /// Hands a validator's message over; waits while the mailbox is full.
    pub async fn message(&self, from: &PublicKey, message: ConsensusMessage) {
        if let Some(from) = self.validators.index_of(from) {
            // The loop is gone only when the node stops.
            drop(self.messages.send(Input::Message { from, message }).await);
        }
    }

    /// Tells whether a validator can be reached.
    pub async fn peer(&self, key: &PublicKey, connected: bool) {
        if let Some(index) = self.validators.index_of(key) {
            // In the same queue as messages: what was sent before a stream broke comes before the news of it.
            drop(self.messages.send(Input::Peer { index, connected }).await);
        }
    }

    /// Hands an input over from a thread that may block.
    pub fn input_blocking(&self, input: Input) {
        drop(self.requests.blocking_send(Request::Input(input)));
    }

    /// Tells that everything up to `view` is committed and durable; for a thread that may block.
    pub fn committed_blocking(&self, view: View) {
        drop(self.requests.blocking_send(Request::Committed(view)));
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
    /// The engine, before replay.
    pub engine: Engine,
    /// The epoch the engine is for.
    pub epoch: Epoch,
    /// Its validators.
    pub validators: Arc<ValidatorSet>,
    /// Where the journal lies.
    pub database: Arc<dyn Database>,
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
}

/// The place of journal records that are not pruned yet.
struct Journal {
    database: Arc<dyn Database>,
    epoch: Epoch,
    next: u64,
    /// Records up to this view are of no use any more.
    committed: View,
    /// Sequence and view of the records on disk, oldest first.
    records: VecDeque<(u64, View)>,
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
                let deadline = clock.instant(self.engine.next_deadline());
                let first = tokio::select! {
                    biased;
                    request = mailbox.requests.recv() => match request {
                        Some(Request::Stop) | None => return Ok(()),
                        Some(request) => request,
                    },
                    Some(reply) = mailbox.questions.recv() => {
                        // Whoever asked may have gone.
                        drop(reply.send(self.engine.state(clock.now())));
                        // The turn goes on, or clients who keep asking would hold up everybody else.
                        Request::Input(Input::Tick)
                    }
                    Some(input) = mailbox.messages.recv() => Request::Input(input),
                    () = tokio::time::sleep_until(deadline.into()) => Request::Input(Input::Tick),
                };
                self.handle(&clock, first, &mut journal, &mut outputs);
                for _ in 1..INPUTS_PER_TURN_MAX {
                    let Some(request) = mailbox.next_waiting() else { break };
                    stopping = matches!(request, Request::Stop);
                    if stopping {
                        break;
                    }
                    self.handle(&clock, request, &mut journal, &mut outputs);
                }
                self.carry_out(&mut journal, clock.now(), &mut outputs).await?;
            }
            Ok(())
        })
    }

    fn handle(&mut self, clock: &Clock, request: Request, journal: &mut Journal, outputs: &mut Vec<Output>) {
        let now = clock.now();
        match request {
            Request::Input(input) => self.engine.step(now, input, outputs),
            Request::Committed(view) => journal.committed = journal.committed.max(view),
            // The loop looks for it before it asks here.
            Request::Stop => {}
        }
    }

    fn replay(&mut self, clock: &Clock, outputs: &mut Vec<Output>) -> anyhow::Result<Journal> {
        let mut journal = Journal {
            database: self.database.clone(),
            epoch: self.epoch,
            next: 0,
            committed: View::ZERO,
            records: VecDeque::new(),
        };
        let mut start = JournalKey { epoch: self.epoch, sequence: 0 };
        loop {
            let page =
                journal::read(&*self.database, start, REPLAY_PAGE).context("cannot read the consensus journal")?;
            let full = page.len() == REPLAY_PAGE;
            for (key, bytes) in page {
                let record = JournalRecord::decode_all(&mut bytes.as_slice())
                    .with_context(|| format!("journal record {} of epoch {} is damaged", key.sequence, key.epoch))?;
                journal.records.push_back((key.sequence, record.view()));
                start = JournalKey { epoch: key.epoch, sequence: key.sequence.saturating_add(1) };
                self.engine.step(clock.now(), Input::Replay(record), outputs);
            }
            if !full {
                break;
            }
        }
        journal.next = start.sequence;
        for block in self.restored.drain(..) {
            self.engine.step(clock.now(), Input::Restored(block), outputs);
        }
        self.engine.step(clock.now(), Input::Start, outputs);
        Ok(journal)
    }

    /// Starts work, makes the turn's records durable, then speaks.
    async fn carry_out(&mut self, journal: &mut Journal, now: Now, outputs: &mut Vec<Output>) -> anyhow::Result<()> {
        if outputs.is_empty() {
            return Ok(());
        }
        let mut records = Vec::new();
        let mut afterwards = Vec::new();
        for output in outputs.drain(..) {
            match output {
                Output::Journal(record) => records.push(record),
                Output::Propose { epoch, view, proposer, parent, timestamp } => {
                    let request = cairn_ledger::ProposalRequest { epoch, view, proposer, parent, timestamp };
                    self.ledger.send(Command::Propose(request)).await?;
                }
                Output::Verify { block, .. } => self.ledger.send(Command::Verify(block)).await?,
                Output::Certify { block, .. } => self.ledger.send(Command::Certify(block)).await?,
                Output::ServeBlock { to, block } => {
                    if let Some(key) = self.key_of(to) {
                        self.ledger.send(Command::ServeBlock { to: key, hash: block }).await?;
                    }
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
                | Output::Evidence(_) => afterwards.push(output),
            }
        }
        journal.append(&records).context("cannot write the consensus journal")?;
        for output in afterwards {
            self.speak(output).await?;
        }
        if !records.is_empty() {
            self.metrics.observe_engine(&self.engine.state(now));
        }
        Ok(())
    }

    async fn speak(&self, output: Output) -> anyhow::Result<()> {
        match output {
            Output::Broadcast(message) => {
                if let Err(error) = self.network.broadcast(&message) {
                    tracing::error!(%error, "a consensus message was not sent");
                }
            }
            Output::Send { to, message } => {
                if let Some(key) = self.key_of(to)
                    && let Err(error) = self.network.send(&key, &message)
                {
                    tracing::debug!(validator = %to, %error, "a consensus message was not sent; it is repeated if needed");
                }
            }
            Output::Finalize { blocks, certificate } => {
                self.ledger.send(Command::Commit { hashes: blocks, certificate }).await?;
            }
            Output::Blame { validator, offence } => tracing::warn!(%validator, %offence, "a validator misbehaves"),
            Output::Evidence(evidence) => {
                tracing::error!(?evidence, "a validator signed two things that exclude each other");
            }
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

    fn key_of(&self, index: ValidatorIndex) -> Option<PublicKey> {
        self.validators.get(index).map(|validator| validator.key)
    }
}

impl Journal {
    /// Appends records and syncs once.
    fn append(&mut self, records: &[JournalRecord]) -> anyhow::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut batch = WriteBatch::new();
        for record in records {
            let key = JournalKey { epoch: self.epoch, sequence: self.next };
            journal::append(&mut batch, key, record.encode());
            self.records.push_back((self.next, record.view()));
            self.next = self.next.saturating_add(1);
        }
        self.prune(&mut batch)?;
        self.database.write(batch, Durability::Synced)?;
        Ok(())
    }

    /// Deletes the oldest records that are of no use any more, along with the next write.
    fn prune(&mut self, batch: &mut WriteBatch) -> anyhow::Result<()> {
        let mut end = None;
        while let Some((sequence, _)) = self.records.front().filter(|(_, view)| *view <= self.committed) {
            end = Some(sequence.saturating_add(1));
            self.records.pop_front();
        }
        if let Some(sequence) = end {
            journal::prune(&*self.database, batch, JournalKey { epoch: self.epoch, sequence })?;
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
