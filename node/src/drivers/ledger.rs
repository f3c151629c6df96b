//! The thread that owns the one writer of the chain.
//!
//! Consensus and block sync ask by command; answers go back to the consensus mailbox. A valid proposal is executed right
//! after its verdict, so that the result is there when certification asks. Every committed block moves the read model
//! first, then the mempool, then is told on the bus.
//!
//! A block that is not here, or not yet, never ends the thread: consensus and block sync may each be ahead of the other.
//! A certification whose parent is not executed waits here for it; a commit that lacks a block is made up by block sync
//! or by the next commit. State, database, or a final block that does not hold end the node, whoever asked.

use crate::bus::Bus;
use crate::drivers::consensus::{ConsensusHandle, Input};
use crate::drivers::mempool::MempoolHandle;
use crate::exit::{ExitKind, Failure};
use crate::metrics::Metrics;
use anyhow::anyhow;
use cairn_consensus::{EpochStart, Verdict};
use cairn_ledger::{
    CommittedBlock, ErrorClass, Head, Ledger, LedgerError, OpenedEpoch, PreparedBlock, ProposalRequest,
};
use cairn_network::Handle as Network;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{ArchivedBlock, Block, Certificate, FinalizedBlock, Hash, Height, PublicKey, View};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Commands that may wait; consensus has at most a few blocks per view under way.
const COMMANDS_MAX: usize = 1_024;

/// How soon a block whose parent is not here is asked for again, in milliseconds.
const RETRY_MS: u64 = 50;

/// Certifications that may wait for the parent: no more than the bodies that the engine holds.
const WAITING_MAX: usize = 64;

/// What the ledger is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Build a block.
    Propose(ProposalRequest),
    /// Check a proposed block.
    Verify(Arc<Block>),
    /// Execute a block and keep it.
    Certify(Arc<Block>),
    /// Commit blocks that consensus finalized.
    Commit {
        /// Their hashes, lowest first.
        hashes: Vec<Hash>,
        /// What finalizes the last.
        certificate: Certificate,
    },
    /// Send a block to a validator, if it is here.
    ServeBlock {
        /// The validator.
        to: PublicKey,
        /// The block.
        hash: Hash,
    },
    /// Commit blocks that block sync brought.
    Import {
        /// The blocks, lowest first.
        blocks: Vec<PreparedBlock>,
        /// Takes the outcome.
        reply: oneshot::Sender<Result<(), LedgerError>>,
    },
    /// Store blocks below the lowest one here, highest first.
    Fill {
        /// The blocks.
        blocks: Vec<ArchivedBlock>,
        /// Takes the lowest height from which on all blocks are here then.
        reply: oneshot::Sender<Result<Height, LedgerError>>,
    },
    /// Make the states below, which are here, part of the archive.
    FinishMerge {
        /// Takes the outcome.
        reply: oneshot::Sender<Result<(), LedgerError>>,
    },
    /// The pool has transactions it did not have.
    PoolChanged,
    /// Finish: nothing that comes later matters.
    Stop,
}

/// The way to the ledger's thread.
#[derive(Clone, Debug)]
pub struct LedgerHandle {
    commands: mpsc::Sender<Command>,
    nudged: Arc<AtomicBool>,
}

/// The receiving end of a [`LedgerHandle`].
pub struct Mailbox {
    commands: mpsc::Receiver<Command>,
    nudged: Arc<AtomicBool>,
}

impl LedgerHandle {
    /// A handle and the mailbox it leads to.
    #[must_use]
    pub fn new() -> (Self, Mailbox) {
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let nudged = Arc::new(AtomicBool::new(false));
        (Self { commands: sender, nudged: nudged.clone() }, Mailbox { commands, nudged })
    }

    /// Hands a command over; waits while the mailbox is full.
    ///
    /// # Errors
    /// The ledger's thread has ended.
    pub async fn send(&self, command: Command) -> anyhow::Result<()> {
        self.commands.send(command).await.map_err(|_| anyhow!("the ledger has stopped"))
    }

    /// Tells that the pool has new transactions; at most one such hint waits at a time.
    pub fn pool_changed(&self) {
        if !self.nudged.swap(true, Ordering::AcqRel) && self.commands.try_send(Command::PoolChanged).is_err() {
            // The mailbox is full of blocks; after each of them the ledger looks at the pool anyway.
            self.nudged.store(false, Ordering::Release);
        }
    }
}

/// An epoch as consensus starts it.
#[must_use]
pub fn epoch_start(opened: &OpenedEpoch) -> EpochStart {
    let Head { height, hash, timestamp, .. } = opened.opening;
    EpochStart {
        epoch: opened.epoch,
        validators: opened.validators.clone(),
        opening: cairn_consensus::Head { height, hash, view: View::ZERO, timestamp },
        closing: opened.closing,
    }
}

/// What the thread works with.
pub struct LedgerDriver {
    /// The writer.
    pub ledger: Ledger,
    /// Where transactions come from.
    pub mempool: MempoolHandle,
    /// Where answers go; `None` on a node without an engine.
    pub consensus: Option<ConsensusHandle>,
    /// The consensus keys of this node: it gossips the blocks it proposed.
    pub own_keys: Vec<PublicKey>,
    /// Where blocks are served and gossiped.
    pub network: Network,
    /// Where committed blocks are told.
    pub bus: Bus,
    /// What is measured.
    pub metrics: Metrics,
}

impl LedgerDriver {
    /// Runs until every handle is gone.
    ///
    /// # Errors
    /// State or database fail, a finalized block does not hold here, or the next block is under rules that this binary does
    /// not have.
    pub fn run(mut self, mut mailbox: Mailbox) -> anyhow::Result<()> {
        let mut tip = self.ledger.reader().head().hash;
        let mut work = false;
        let mut waiting = Vec::new();
        while let Some(command) = mailbox.commands.blocking_recv() {
            // Other commands do not end the work, and looking for it costs as much as the pending blocks are long.
            let may_end_work = matches!(
                command,
                Command::Propose(_) | Command::Verify(_) | Command::Commit { .. } | Command::Import { .. }
            );
            match command {
                Command::Stop => return Ok(()),
                Command::PoolChanged => mailbox.nudged.store(false, Ordering::Release),
                Command::Propose(request) => {
                    let block = self.propose(&request)?;
                    if let Some(block) = &block {
                        tip = block.header.hash();
                    }
                    self.answer(Input::Proposed { view: request.view, block });
                }
                Command::Verify(block) => {
                    if let Some(hash) = self.verify(&block)? {
                        tip = hash;
                    }
                }
                Command::Certify(block) => {
                    waiting.push(block);
                    self.certify(&mut waiting)?;
                }
                Command::Commit { hashes, certificate } => {
                    self.commit(&hashes, &certificate)?;
                    self.certify(&mut waiting)?;
                }
                Command::ServeBlock { to, hash } => self.serve(&to, &hash)?,
                Command::Import { blocks, reply } => {
                    let outcome = self.import(blocks);
                    let failure = outcome.as_ref().err().filter(|error| error.class() == ErrorClass::Fatal);
                    let failure = failure.map(|error| anyhow!("{error}"));
                    // Sync has gone only when the node stops.
                    drop(reply.send(outcome));
                    if let Some(failure) = failure {
                        return Err(failure.context("blocks of block sync cannot be committed"));
                    }
                    self.certify(&mut waiting)?;
                }
                // Who asked has gone only when the node stops.
                Command::Fill { blocks, reply } => drop(reply.send(self.ledger.fill(&blocks))),
                Command::FinishMerge { reply } => drop(reply.send(self.ledger.finish_merge())),
            }
            let reader = self.ledger.reader();
            if let Err(unknown) = reader.rules().after(reader.head().height) {
                // All that this binary can do is done, and on disk.
                return Err(Failure::new(ExitKind::UnknownRules, unknown.to_string()).into());
            }
            if may_end_work || !work {
                self.tell_work(&mut tip, &mut work);
            }
        }
        Ok(())
    }

    fn propose(&mut self, request: &ProposalRequest) -> anyhow::Result<Option<Arc<Block>>> {
        let started = Instant::now();
        let candidates = self.mempool.select(&self.ledger.pending_transactions(&request.parent), usize::MAX);
        match self.ledger.propose(request, &candidates) {
            Ok(built) => {
                self.mempool.reject(&built.rejected);
                self.metrics.proposed(started.elapsed(), built.block.extrinsics.len());
                Ok(Some(built.block))
            }
            Err(error) if error.class() == ErrorClass::Unavailable => {
                tracing::warn!(view = %request.view, %error, "no block to propose");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Answers with a verdict, then executes a valid block; its hash if it holds.
    fn verify(&mut self, block: &Arc<Block>) -> anyhow::Result<Option<Hash>> {
        let started = Instant::now();
        let hash = block.header.hash();
        let verdict = self.ledger.verify(block)?;
        let valid = verdict == cairn_ledger::Verdict::Valid;
        let verdict = match verdict {
            cairn_ledger::Verdict::Valid => Verdict::Valid,
            cairn_ledger::Verdict::Invalid(reason) => {
                tracing::warn!(%hash, height = block.header.number, reason, "invalid proposal");
                Verdict::Invalid(reason)
            }
            cairn_ledger::Verdict::NotYet => Verdict::NotYet { retry_ms: RETRY_MS },
        };
        self.answer(Input::Verified { block: hash, verdict });
        self.metrics.verified(started.elapsed());
        if !valid {
            return Ok(None);
        }
        let started = Instant::now();
        let holds = self.ledger.execute(&hash)?;
        self.metrics.executed(started.elapsed());
        Ok(holds.then_some(hash))
    }

    /// Certifies the blocks whose parents are executed, lowest first; the others go on waiting.
    fn certify(&mut self, waiting: &mut Vec<Arc<Block>>) -> anyhow::Result<()> {
        waiting.sort_by_key(|block| block.header.number);
        for block in std::mem::take(waiting) {
            let (hash, height) = (block.header.hash(), block.header.height());
            match self.ledger.certify(&block) {
                Ok(holds) => {
                    if !holds {
                        tracing::error!(%hash, %height, "a notarized block does not hold here");
                    }
                    self.answer(Input::Certified { block: hash, holds });
                }
                Err(error) if error.class() == ErrorClass::Unavailable => {
                    // Block sync went past a block at or below the head: the engine is about to hear of it.
                    if height > self.ledger.reader().head().height && waiting.len() < WAITING_MAX {
                        tracing::debug!(%hash, %height, %error, "certification waits for the parent");
                        waiting.push(block);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn commit(&mut self, hashes: &[Hash], certificate: &Certificate) -> anyhow::Result<()> {
        match self.ledger.commit(hashes, certificate) {
            Ok(committed) => {
                self.announce(committed);
                self.committed_up_to(certificate);
                Ok(())
            }
            Err(error) if error.class() == ErrorClass::Unavailable => {
                tracing::warn!(%error, "final blocks cannot be committed yet; the next commit or block sync brings them");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Everything up to the block that the certificate is about is durable.
    fn committed_up_to(&self, certificate: &Certificate) {
        if let Some(consensus) = &self.consensus {
            consensus.committed_blocking(certificate.subject.epoch(), certificate.subject.view());
        }
    }

    fn import(&mut self, blocks: Vec<PreparedBlock>) -> Result<(), LedgerError> {
        let committed = self.ledger.import_prepared(blocks)?;
        let newest = committed.iter().rev().find_map(|block| {
            let certificate = block.finalization.clone()?;
            let timestamp = block.block.header.context().ok()?.timestamp;
            Some((block.height, timestamp, certificate))
        });
        self.announce(committed);
        if let Some((height, timestamp, certificate)) = newest {
            self.committed_up_to(&certificate);
            self.answer(Input::CommittedElsewhere { height, timestamp, certificate });
        }
        Ok(())
    }

    /// Tells everyone about committed blocks, in order.
    fn announce(&self, committed: Vec<CommittedBlock>) {
        for block in committed {
            self.mempool.committed(&block);
            self.metrics.committed(&block);
            self.gossip(&block);
            self.open_epoch(&block);
            tracing::debug!(height = %block.height, hash = %block.hash, transactions = block.transactions.len(), "committed");
            self.bus.committed(Arc::new(block));
        }
        self.metrics.unsaved(self.ledger.reader().unsaved_state_bytes());
    }

    /// The proposer of a block gossips it to whoever follows the chain without voting.
    fn gossip(&self, block: &CommittedBlock) {
        let Some(finalization) = block.finalization.clone() else { return };
        if self.own_keys.is_empty() || !self.is_own(block) {
            return;
        }
        let finalized = FinalizedBlock { block: Block::clone(&block.block), finalization: Some(finalization) };
        if let Err(error) = self.network.publish_block(&finalized) {
            tracing::debug!(height = %block.height, %error, "a finalized block was not gossiped; peers will ask for it");
        }
    }

    fn is_own(&self, block: &CommittedBlock) -> bool {
        let proposer = block.block.header.context().ok().map(|context| context.proposer);
        let set = self.ledger.reader().validators(block.height).ok().map(|(_, set)| set);
        let key = proposer.zip(set).and_then(|(proposer, set)| set.get(proposer).map(|validator| validator.key));
        key.is_some_and(|key| self.own_keys.contains(&key))
    }

    /// Opens the epoch that a committed block opens.
    fn open_epoch(&self, block: &CommittedBlock) {
        let (Some(consensus), Some(opened), Some(finalization)) =
            (&self.consensus, &block.opens, block.finalization.clone())
        else {
            return;
        };
        consensus.epoch_opened_blocking(epoch_start(opened), finalization);
    }

    fn serve(&self, to: &PublicKey, hash: &Hash) -> anyhow::Result<()> {
        let block = match self.ledger.uncommitted_block(hash)? {
            Some(block) => Some(block),
            None => self.ledger.reader().block(hash)?.map(|finalized| Arc::new(finalized.block)),
        };
        if let Some(block) = block
            && let Err(error) = self.network.send(to, &ConsensusMessage::Block(block))
        {
            tracing::debug!(%to, %error, "a block asked for could not be sent");
        }
        Ok(())
    }

    fn answer(&self, input: Input) {
        if let Some(consensus) = &self.consensus {
            consensus.input_blocking(input);
        }
    }

    /// Whether the pool has a transaction that can follow on `tip`.
    fn has_work(&self, tip: &Hash) -> bool {
        let ready = self.mempool.status().ready;
        // Each pending transaction makes at most one ready one useless. Only where these may be all, they are looked at.
        ready > 0
            && (ready > self.ledger.pending_count(tip)
                || !self.mempool.select(&self.ledger.pending_transactions(tip), 1).is_empty())
    }

    /// Tells consensus when there begins or ceases to be something to propose.
    fn tell_work(&self, tip: &mut Hash, work: &mut bool) {
        if self.consensus.is_none() {
            return;
        }
        if self.ledger.pending_block(tip).is_none() {
            *tip = self.ledger.reader().head().hash;
        }
        let now = self.has_work(tip);
        if now != *work {
            *work = now;
            self.answer(Input::WorkAvailable(now));
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
