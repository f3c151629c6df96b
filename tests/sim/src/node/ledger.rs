//! The ledger behind its queue of commands.
//!
//! Mirrors `node/src/drivers/ledger.rs`: one command at a time; answers go to consensus, committed blocks to everyone.

use super::mempool::Mempool;
use super::sync::Outcome;
use super::{Clock, Effect};
use crate::disk::Disk;
use crate::plan::Machine;
use crate::setup::Setup;
use crate::villain::Kind;
use cairn_ledger::{
    CommittedBlock, ErrorClass, Ledger, LedgerConfig, LedgerError, OpenedEpoch, ProposalRequest, Reader,
    SignatureChecker, Signers, Verdict,
};
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{
    Block, Certificate, Epoch, FinalizedBlock, Hash, Height, KeyPair, PublicKey, TimestampMs, View,
};
use cairn_runtime::RulesSchedule;
use cairn_storage::{CheckpointLimits, StateConfig};
use std::collections::VecDeque;
use std::sync::Arc;

/// Certifications that may wait for the parent, as in the real driver.
const WAITING_MAX: usize = 64;

const UNSAVED: CheckpointLimits =
    CheckpointLimits { bytes: 4 << 10, archive_bytes: 4 << 10, diff_bytes: 1 << 20, blocks: 3, chunk_bytes: 1 << 10 };

/// What the ledger is asked to do.
pub(crate) enum Command {
    Propose(ProposalRequest),
    Verify(Arc<Block>),
    Certify(Arc<Block>),
    Commit { hashes: Vec<Hash>, certificate: Certificate },
    ServeBlock { to: PublicKey, hash: Hash },
    Import(Vec<FinalizedBlock>),
    PoolChanged,
}

/// What the ledger tells consensus.
pub(crate) enum Answer {
    Proposed { view: View, block: Option<Arc<Block>> },
    Verified { block: Hash, verdict: Verdict },
    Certified { block: Hash, holds: bool },
    CommittedElsewhere { height: Height, timestamp: TimestampMs, certificate: Certificate },
    Work(bool),
    Committed(Epoch, View),
    EpochOpened(Box<OpenedEpoch>, Certificate),
}

impl Command {
    /// A word for traces.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Propose(_) => "propose",
            Self::Verify(_) => "verify",
            Self::Certify(_) => "certify",
            Self::Commit { .. } => "commit",
            Self::ServeBlock { .. } => "serve a block",
            Self::Import(_) => "import",
            Self::PoolChanged => "look at the pool",
        }
    }
}

/// The ledger of a node.
pub(crate) struct LedgerPart {
    ledger: Ledger,
    queue: VecDeque<Command>,
    is_nudged: bool,
    waiting: Vec<Arc<Block>>,
    tip: Hash,
    has_work: bool,
    own_key: Option<PublicKey>,
    is_equivocator: bool,
}

impl LedgerPart {
    pub(super) fn open(setup: &Setup, machine: Machine, disk: &Disk) -> anyhow::Result<Self> {
        let config = LedgerConfig {
            genesis: setup.genesis.clone(),
            schedule: setup.schedule,
            rules: RulesSchedule::default(),
            spec_hash: setup.spec_hash,
            // So little that a run has many checkpoints.
            state: StateConfig { unsaved: UNSAVED, ..StateConfig::default() },
            limits: setup.limits,
            signers: Signers::default(),
        };
        let ledger = Ledger::open(Arc::new(disk.clone()), config)?;
        let tip = ledger.reader().head().hash;
        let own_key = setup.key_of(machine).map(KeyPair::public);
        Ok(Self {
            ledger,
            queue: VecDeque::new(),
            is_nudged: false,
            waiting: Vec::new(),
            tip,
            has_work: false,
            own_key,
            is_equivocator: setup.plan.villain_of(machine) == Some(Kind::Equivocator),
        })
    }

    pub(super) fn reader(&self) -> Reader {
        self.ledger.reader()
    }

    pub(super) fn signatures(&self) -> SignatureChecker {
        self.ledger.signatures()
    }

    pub(super) fn restored(&self) -> Result<Vec<Arc<Block>>, LedgerError> {
        self.ledger.restored()
    }

    pub(super) fn push(&mut self, command: Command) {
        self.queue.push_back(command);
    }

    /// A hint that the pool has new transactions; at most one waits.
    pub(super) fn pool_changed(&mut self) {
        if !self.is_nudged {
            self.is_nudged = true;
            self.queue.push_back(Command::PoolChanged);
        }
    }

    /// How many commands wait.
    pub(crate) fn commands(&self) -> usize {
        self.queue.len()
    }

    /// The command that is next.
    pub(crate) fn next_command(&self) -> Option<&Command> {
        self.queue.front()
    }

    /// The command that waits longest.
    pub(super) fn turn(
        &mut self,
        clock: Clock,
        mempool: &mut Mempool,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        let Some(command) = self.queue.pop_front() else { return Ok(()) };
        let may_end_work = !matches!(command, Command::PoolChanged | Command::Certify(_) | Command::ServeBlock { .. });
        match command {
            Command::PoolChanged => self.is_nudged = false,
            Command::Propose(request) => self.propose(&request, clock, mempool, effects)?,
            Command::Verify(block) => self.verify(&block, effects)?,
            Command::Certify(block) => {
                self.waiting.push(block);
                self.certify(effects)?;
            }
            Command::Commit { hashes, certificate } => {
                self.commit(&hashes, &certificate, clock, mempool, effects)?;
                self.certify(effects)?;
            }
            Command::ServeBlock { to, hash } => self.serve(to, &hash, effects)?,
            Command::Import(blocks) => {
                self.import(&blocks, clock, mempool, effects)?;
                self.certify(effects)?;
            }
        }
        if may_end_work || !self.has_work {
            self.tell_work(mempool, effects);
        }
        Ok(())
    }

    fn propose(
        &mut self,
        request: &ProposalRequest,
        clock: Clock,
        mempool: &mut Mempool,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        let candidates = mempool.select(&self.ledger.pending_transactions(&request.parent), usize::MAX);
        let block = match self.ledger.propose(request, &candidates) {
            Ok(built) => {
                mempool.reject(clock, &built.rejected, effects);
                self.tip = built.block.header.hash();
                Some(built.block)
            }
            Err(error) if error.class() == ErrorClass::Unavailable => None,
            Err(error) => return Err(error.into()),
        };
        if self.is_equivocator && block.is_some() {
            let other = ProposalRequest { timestamp: TimestampMs(request.timestamp.0 + 1), ..request.clone() };
            let built = self.ledger.propose(&other, candidates.get(1..).unwrap_or_default())?;
            effects.push(Effect::Alternative(built.block));
        }
        effects.push(Effect::Consensus(Answer::Proposed { view: request.view, block }));
        Ok(())
    }

    fn verify(&mut self, block: &Arc<Block>, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        let hash = block.header.hash();
        let verdict = self.ledger.verify(block)?;
        let is_valid = verdict == Verdict::Valid;
        effects.push(Effect::Consensus(Answer::Verified { block: hash, verdict }));
        if is_valid && self.ledger.execute(&hash)? {
            self.tip = hash;
        }
        Ok(())
    }

    fn certify(&mut self, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        self.waiting.sort_by_key(|block| block.header.number);
        for block in std::mem::take(&mut self.waiting) {
            let (hash, height) = (block.header.hash(), block.header.height());
            match self.ledger.certify(&block) {
                Ok(holds) => effects.push(Effect::Consensus(Answer::Certified { block: hash, holds })),
                Err(error) if error.class() == ErrorClass::Unavailable => {
                    if height > self.ledger.reader().head().height && self.waiting.len() < WAITING_MAX {
                        self.waiting.push(block);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn commit(
        &mut self,
        hashes: &[Hash],
        certificate: &Certificate,
        clock: Clock,
        mempool: &mut Mempool,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        match self.ledger.commit(hashes, certificate) {
            Ok(committed) => {
                self.announce(committed, clock, mempool, effects);
                effects.push(Effect::Consensus(Answer::Committed(
                    certificate.subject.epoch(),
                    certificate.subject.view(),
                )));
                Ok(())
            }
            Err(error) if error.class() == ErrorClass::Unavailable => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn import(
        &mut self,
        blocks: &[FinalizedBlock],
        clock: Clock,
        mempool: &mut Mempool,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        let Some(last) = blocks.last() else { return Ok(()) };
        let (height, hash) = (last.block.header.height(), last.block.header.hash());
        match self.ledger.import(blocks) {
            Ok(committed) => {
                let newest = committed.iter().rev().find_map(|block| {
                    let certificate = block.finalization.clone()?;
                    let timestamp = block.block.header.context().ok()?.timestamp;
                    Some((block.height, timestamp, certificate))
                });
                self.announce(committed, clock, mempool, effects);
                if let Some((height, timestamp, certificate)) = newest {
                    effects.push(Effect::Consensus(Answer::Committed(
                        certificate.subject.epoch(),
                        certificate.subject.view(),
                    )));
                    let answer = Answer::CommittedElsewhere { height, timestamp, certificate };
                    effects.push(Effect::Consensus(answer));
                }
                effects.push(Effect::Imported(Outcome::Done { height, hash }));
            }
            Err(error) if error.class() == ErrorClass::Fatal => return Err(error.into()),
            Err(error) => effects.push(Effect::Imported(Outcome::Failed { height, reason: error.to_string() })),
        }
        Ok(())
    }

    fn announce(&self, committed: Vec<CommittedBlock>, clock: Clock, mempool: &mut Mempool, effects: &mut Vec<Effect>) {
        for block in committed {
            mempool.committed(clock, &block, effects);
            self.gossip(&block, effects);
            if let (Some(opened), Some(finalization)) = (&block.opens, block.finalization.clone()) {
                effects.push(Effect::Consensus(Answer::EpochOpened(Box::new(opened.clone()), finalization)));
            }
            effects.push(Effect::Committed(Arc::new(block)));
        }
    }

    /// The proposer of a block gossips it.
    fn gossip(&self, block: &CommittedBlock, effects: &mut Vec<Effect>) {
        let Some(finalization) = block.finalization.clone() else { return };
        let proposer = block.block.header.context().ok().map(|context| context.proposer);
        let set = self.ledger.reader().validators(block.height).ok().map(|(_, set)| set);
        let key = proposer.zip(set).and_then(|(proposer, set)| set.get(proposer).map(|validator| validator.key));
        if self.own_key.is_some() && key == self.own_key {
            let block = FinalizedBlock { block: Block::clone(&block.block), finalization: Some(finalization) };
            effects.push(Effect::GossipBlock(Box::new(block)));
        }
    }

    fn serve(&self, to: PublicKey, hash: &Hash, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        let block = match self.ledger.uncommitted_block(hash)? {
            Some(block) => Some(block),
            None => self.ledger.reader().block(hash)?.map(|finalized| Arc::new(finalized.block)),
        };
        if let Some(block) = block {
            effects.push(Effect::Send { to, message: Arc::new(ConsensusMessage::Block(block)) });
        }
        Ok(())
    }

    fn tell_work(&mut self, mempool: &Mempool, effects: &mut Vec<Effect>) {
        if self.own_key.is_none() {
            return;
        }
        if self.ledger.pending_block(&self.tip).is_none() {
            self.tip = self.ledger.reader().head().hash;
        }
        let now = !mempool.select(&self.ledger.pending_transactions(&self.tip), 1).is_empty();
        if now != self.has_work {
            self.has_work = now;
            effects.push(Effect::Consensus(Answer::Work(now)));
        }
    }
}
