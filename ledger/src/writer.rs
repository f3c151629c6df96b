//! The one writer: propose, verify, execute, certify; `open`, `commit` and `import` are next door.

mod commit;
mod open;

use crate::check::{Verdict, check_block};
use crate::epoch::{NamedSet, OpenedEpoch};
use crate::error::LedgerError;
use crate::events::encode_events;
use crate::genesis::Genesis;
use crate::pending::{Ancestor, Execution, Parent, Pending, PendingBlocks, StoredBlocks};
use crate::reader::{Head, Reader};
use crate::signatures::{Ancestors, SignatureChecker};
use crate::signers::Signers;
use cairn_primitives::header::{ConsensusContext, DigestItem, PROTOCOL_VERSION};
use cairn_primitives::list_tree::ListAccumulator;
use cairn_primitives::{
    AccountId32, Block, Body, Certificate, Epoch, EpochSchedule, Evidence, Hash, Header, Height, TimestampMs,
    ValidatorIndex, View,
};
use cairn_runtime::{
    BlockContext, BlockLimits, BlockOutcome, InvalidTransaction, RulesSchedule, StateReadError, StateReader, TakeValue,
    Transaction, build_block, execute_block, keys, next_validators,
};
use cairn_storage::{Checkpointer, Database, Durability, Overlay, StateConfig, StateStore, WriteBatch, blocks};
use std::sync::Arc;

/// What a ledger is opened with.
#[derive(Clone, Debug)]
pub struct LedgerConfig {
    /// The chain.
    pub genesis: Genesis,
    /// Which heights belong to which epoch; part of the chain spec.
    pub schedule: EpochSchedule,
    /// Which rules hold at which height; from the chain spec.
    pub rules: RulesSchedule,
    /// Hash of the chain spec, kept beside the genesis hash.
    pub spec_hash: Hash,
    /// How much history of the state is kept, and how much of it in memory.
    pub state: StateConfig,
    /// Bounds of the blocks that are built here.
    pub limits: BlockLimits,
    /// The keys that signed lately; those of a closed ledger may be given to the next one.
    pub signers: Signers,
}

/// What consensus wants a block for.
#[derive(Clone, Debug)]
pub struct ProposalRequest {
    /// The epoch: the running one.
    pub epoch: Epoch,
    /// The view.
    pub view: View,
    /// The leader: this node.
    pub proposer: ValidatorIndex,
    /// The block to build on.
    pub parent: Hash,
    /// The timestamp to put in.
    pub timestamp: TimestampMs,
    /// Equivocations to report; those that would punish nobody, and those beyond what a block may have, are left out.
    pub evidence: Vec<Evidence>,
}

/// A block built here, executed already.
#[derive(Clone, Debug)]
pub struct Built {
    /// The block.
    pub block: Arc<Block>,
    /// Candidates that may never be included as things stand, with the reason.
    pub rejected: Vec<(Hash, InvalidTransaction)>,
}

/// A block that became final: the fact that is told to everyone, once.
#[derive(Clone)]
pub struct CommittedBlock {
    /// The height.
    pub height: Height,
    /// The hash.
    pub hash: Hash,
    /// The block.
    pub block: Arc<Block>,
    /// The hashes of its extrinsics, in order.
    pub transactions: Vec<Hash>,
    /// The state it changed.
    pub changes: Arc<Overlay>,
    /// Its own finalization, if it is the block the certificate is about.
    pub finalization: Option<Certificate>,
    /// The epoch it opens, if it is the last block of the one before.
    pub opens: Option<OpenedEpoch>,
}

/// The writer of the chain.
pub struct Ledger {
    pub(crate) database: Arc<dyn Database>,
    pub(crate) state: StateStore,
    pub(crate) genesis: Genesis,
    schedule: EpochSchedule,
    rules: RulesSchedule,
    limits: BlockLimits,
    head: blocks::Head,
    head_timestamp: TimestampMs,
    /// The epoch of the block after the head, and of all pending ones.
    epoch: OpenedEpoch,
    /// Its validators.
    validators: NamedSet,
    /// The validators of the epoch after it, in the state after the head.
    next: NamedSet,
    pending: PendingBlocks,
    stored: StoredBlocks,
    pub(crate) signatures: SignatureChecker,
    reader: Reader,
}

/// The state a block executes on.
struct BranchState<'a> {
    state: &'a StateStore,
    overlay: Option<&'a Arc<Overlay>>,
}

impl StateReader for BranchState<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateReadError> {
        self.state.get(self.overlay, key).map_err(StateReadError::new)
    }

    fn get_many(&self, keys: &[&[u8]], take: &mut TakeValue<'_>) -> Result<(), StateReadError> {
        self.state.get_many(self.overlay, keys).map_err(StateReadError::new)?.iter().try_for_each(take)
    }
}

/// The blocks below a block that is not final.
struct Branch<'a> {
    ledger: &'a Ledger,
    parent: Hash,
}

impl Ancestors for Branch<'_> {
    fn hash_at(&self, height: Height) -> Result<Option<Hash>, LedgerError> {
        match self.ledger.pending.ancestor(self.parent, height) {
            Ancestor::Pending(hash) => Ok(Some(hash)),
            Ancestor::Committed => Ok(blocks::hash_of(&*self.ledger.database, height)?),
        }
    }
}

impl Ledger {
    /// The read model, for any number of threads.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// What writes pages and history of the state behind the committed blocks, for a thread of its own. Without one, the
    /// ledger writes them itself, block by block, when too much is unsaved.
    #[must_use]
    pub fn checkpointer(&self) -> Checkpointer {
        self.state.checkpointer()
    }

    /// What remembers verified signatures, to be shared with the mempool.
    #[must_use]
    pub fn signatures(&self) -> SignatureChecker {
        self.signatures.clone()
    }

    /// The blocks that were certified before a restart and are not final yet, lowest first.
    ///
    /// # Errors
    /// The database fails or is damaged.
    pub fn restored(&self) -> Result<Vec<Arc<Block>>, LedgerError> {
        let mut restored: Vec<_> =
            blocks::pending::all(&*self.database)?.into_iter().map(|(_, block)| Arc::new(block)).collect();
        restored.retain(|block| block.header.height() > self.head.height);
        restored.sort_by_key(|block| block.header.number);
        Ok(restored)
    }

    /// The block, if it is pending in memory.
    #[must_use]
    pub fn pending_block(&self, hash: &Hash) -> Option<Arc<Block>> {
        self.pending.get(hash).map(|pending| pending.block.clone())
    }

    /// The block, if it is pending, in memory or on disk.
    ///
    /// # Errors
    /// The database fails or is damaged.
    pub fn uncommitted_block(&self, hash: &Hash) -> Result<Option<Arc<Block>>, LedgerError> {
        match self.pending_block(hash) {
            Some(block) => Ok(Some(block)),
            None if self.stored.parent(hash).is_some() => {
                Ok(blocks::pending::get(&*self.database, hash)?.map(Arc::new))
            }
            None => Ok(None),
        }
    }

    /// The signed transactions in pending blocks from the head's child up to and including `tip`: what a block on `tip`
    /// must not include again.
    #[must_use]
    pub fn pending_transactions(&self, tip: &Hash) -> Vec<Transaction> {
        let mut transactions = Vec::new();
        let mut hash = *tip;
        while let Some(pending) = self.pending.get(&hash) {
            transactions.extend(pending.transactions.iter().filter(|t| t.sender().is_some()).cloned());
            hash = pending.block.header.parent_hash;
        }
        transactions
    }

    /// How many extrinsics the pending blocks from the head's child up to and including `tip` have together.
    #[must_use]
    pub fn pending_count(&self, tip: &Hash) -> usize {
        let mut count = 0usize;
        let mut hash = *tip;
        while let Some(pending) = self.pending.get(&hash) {
            count = count.saturating_add(pending.transactions.len());
            hash = pending.block.header.parent_hash;
        }
        count
    }

    /// Builds a block from candidates, executes it, and keeps it as pending.
    ///
    /// # Errors
    /// The parent is not executed here or ends an epoch and is not committed, the epoch is not the running one, the rules of
    /// the block are not here, or state or database fail.
    pub fn propose(&mut self, request: &ProposalRequest, candidates: &[Transaction]) -> Result<Built, LedgerError> {
        if request.epoch != self.epoch.epoch {
            return Err(LedgerError::WrongEpoch { asked: request.epoch, running: self.epoch.epoch });
        }
        self.recall(request.parent)?;
        let parent = self.parent(&request.parent).ok_or(LedgerError::UnknownBlock(request.parent))?;
        let height = parent.height.next();
        let answers = self.signatures.check(candidates, height, &Branch { ledger: self, parent: parent.hash })?;
        let mut rejected = Vec::new();
        let mut good = Vec::with_capacity(candidates.len());
        for (transaction, answer) in candidates.iter().zip(answers) {
            match answer {
                Ok(()) => good.push(transaction.clone()),
                Err(invalid) => rejected.push((transaction.hash(), invalid)),
            }
        }
        let block_context = self.block_context(&parent, request.proposer, request.timestamp)?;
        let state = BranchState { state: &self.state, overlay: parent.overlay.as_ref() };
        let built = build_block(&state, &block_context, &request.evidence, &good, self.limits)
            .map_err(|error| LedgerError::Execution(error.to_string()))?;
        rejected.extend(built.rejected);
        let (mut execution, events_root) = self.settle(&parent, built.outcome)?;
        execution.holds = true;
        let context = self.consensus_context(request, &parent, events_root, execution.next.hash);
        let extrinsics: Vec<_> = built.transactions.iter().map(|transaction| transaction.bytes().clone()).collect();
        let extrinsics = Body::from(extrinsics);
        let mut header = Header::new(parent.hash, height, execution.overlay.root(), extrinsics.root(), &context);
        if self.rules.change_after(height) {
            header.digest.push(DigestItem::RuntimeEnvironmentUpdated);
        }
        let hash = header.hash();
        let block = Arc::new(Block { header, extrinsics });
        let pending = Pending {
            block: block.clone(),
            context,
            transactions: built.transactions,
            history: appended(&parent.history, &hash),
            execution: Some(execution),
            is_certified: false,
        };
        self.pending.insert(hash, pending);
        Ok(Built { block, rejected })
    }

    /// Checks form, context and signatures of a block and keeps it as pending; it is not executed yet.
    ///
    /// # Errors
    /// State or database fail. What is wrong with the block is a [`Verdict`].
    pub fn verify(&mut self, block: &Arc<Block>) -> Result<Verdict, LedgerError> {
        self.verify_decoded(block.header.hash(), block, None)
    }

    fn verify_decoded(
        &mut self,
        hash: Hash,
        block: &Arc<Block>,
        decoded: Option<Vec<Transaction>>,
    ) -> Result<Verdict, LedgerError> {
        if self.pending.get(&hash).is_some() {
            return Ok(Verdict::Valid);
        }
        self.recall(block.header.parent_hash)?;
        self.admit(hash, block, decoded)
    }

    /// Checks a block whose parent is in memory, and keeps it; its transactions may be decoded already.
    fn admit(
        &mut self,
        hash: Hash,
        block: &Arc<Block>,
        decoded: Option<Vec<Transaction>>,
    ) -> Result<Verdict, LedgerError> {
        let Some(parent) = self.parent(&block.header.parent_hash) else { return Ok(Verdict::NotYet) };
        if self.rules.at(parent.height.next()).is_err() {
            return Ok(Verdict::NotYet);
        }
        let context = match check_block(block, &parent, self.epoch.epoch, &self.validators, &self.rules) {
            Ok(context) => context,
            Err(error) => return Ok(Verdict::Invalid(error.to_string())),
        };
        let transactions = match decoded.map_or_else(|| self.signatures.decode(&block.extrinsics), Ok) {
            Ok(transactions) => transactions,
            Err((index, error)) => return Ok(Verdict::Invalid(format!("extrinsic {index}: {error}"))),
        };
        let branch = Branch { ledger: self, parent: parent.hash };
        let answers = self.signatures.check(&transactions, parent.height.next(), &branch)?;
        if let Some((index, Err(invalid))) = answers.into_iter().enumerate().find(|(_, answer)| answer.is_err()) {
            return Ok(Verdict::Invalid(format!("extrinsic {index}: {invalid}")));
        }
        let pending = Pending {
            block: block.clone(),
            context,
            transactions,
            history: appended(&parent.history, &hash),
            execution: None,
            is_certified: self.stored.parent(&hash).is_some(),
        };
        self.pending.insert(hash, pending);
        Ok(Verdict::Valid)
    }

    /// Executes a pending block, once; whether the roots and the next validators in its header are right.
    ///
    /// # Errors
    /// The block is not pending, or state or database fail.
    pub fn execute(&mut self, hash: &Hash) -> Result<bool, LedgerError> {
        let pending = self.pending.get(hash).ok_or(LedgerError::UnknownBlock(*hash))?;
        if let Some(execution) = &pending.execution {
            return Ok(execution.holds);
        }
        let header = &pending.block.header;
        let parent = self.parent(&header.parent_hash).ok_or(LedgerError::UnknownBlock(header.parent_hash))?;
        let block_context = self.block_context(&parent, pending.context.proposer, pending.context.timestamp)?;
        let state = BranchState { state: &self.state, overlay: parent.overlay.as_ref() };
        let outcome = match execute_block(&state, &block_context, &pending.transactions) {
            Ok(outcome) => outcome,
            Err(error) if !error.is_invalid_block() => return Err(LedgerError::Execution(error.to_string())),
            // A block that cannot be executed has no roots at all.
            Err(_) => return Ok(false),
        };
        let (mut execution, events_root) = self.settle(&parent, outcome)?;
        let holds = execution.overlay.root() == header.state_root
            && events_root == pending.context.events_root
            && execution.next.hash == pending.context.next_validators_hash;
        execution.holds = holds;
        if let Some(pending) = self.pending.get_mut(hash) {
            pending.execution = Some(execution);
        }
        Ok(holds)
    }

    /// Whether a block's roots hold. If so, the block is written; it is durable with the next synced write, which is
    /// the consensus journal's record of this very verdict.
    ///
    /// # Errors
    /// [`LedgerError::UnknownBlock`] while the parent is not executed here: ask again once it is. State or database fail.
    pub fn certify(&mut self, block: &Arc<Block>) -> Result<bool, LedgerError> {
        let hash = block.header.hash();
        if self.is_committed(&hash)? {
            return Ok(true);
        }
        match self.verify(block)? {
            Verdict::Valid => {}
            Verdict::Invalid(_) => return Ok(false),
            Verdict::NotYet => return Err(LedgerError::UnknownBlock(block.header.parent_hash)),
        }
        let holds = self.execute(&hash)?;
        if holds && self.stored.parent(&hash).is_none() {
            let mut batch = WriteBatch::new();
            blocks::pending::put(&mut batch, &hash, block);
            self.database.write(batch, Durability::Unsynced)?;
            self.stored.insert(hash, &block.header);
            if let Some(pending) = self.pending.get_mut(&hash) {
                pending.is_certified = true;
            }
        }
        Ok(holds)
    }

    /// Brings a certified block that was evicted, and those between it and the head, back into memory, executed. Does
    /// nothing for a block that is there or not known.
    fn recall(&mut self, hash: Hash) -> Result<(), LedgerError> {
        let mut evicted = Vec::new();
        let mut at = hash;
        while at != self.head.hash && self.pending.get(&at).is_none() {
            let Some(parent) = self.stored.parent(&at) else { break };
            evicted.push(at);
            at = parent;
        }
        for hash in evicted.into_iter().rev() {
            let Some(block) = blocks::pending::get(&*self.database, &hash)? else { return Ok(()) };
            if self.admit(hash, &Arc::new(block), None)? != Verdict::Valid || !self.execute(&hash)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn is_committed(&self, hash: &Hash) -> Result<bool, LedgerError> {
        Ok(blocks::height_of(&*self.database, hash)?.is_some())
    }

    /// What a child needs of its parent: the committed head, or a pending block that holds and does not end the epoch.
    fn parent(&self, hash: &Hash) -> Option<Parent> {
        if *hash == self.head.hash {
            return Some(Parent {
                hash: *hash,
                height: self.head.height,
                timestamp: self.head_timestamp,
                history: appended(&self.head.history, &self.head.hash),
                next: self.next.clone(),
                overlay: None,
            });
        }
        let pending = self.pending.get(hash)?;
        if self.schedule.is_closing(pending.block.header.height()) {
            return None;
        }
        pending.as_parent(*hash)
    }

    fn block_context(
        &self,
        parent: &Parent,
        proposer: ValidatorIndex,
        timestamp: TimestampMs,
    ) -> Result<BlockContext, LedgerError> {
        let proposer = self.validators.set.get(proposer).map_or(AccountId32([0; 32]), |entry| entry.key.into());
        let height = parent.height.next();
        Ok(BlockContext {
            genesis: self.genesis.hash(),
            epoch: self.epoch.epoch,
            height,
            parent_hash: parent.hash,
            timestamp,
            proposer,
            rules: self.rules.at(height)?,
            rules_begin: self.rules.change_after(parent.height),
        })
    }

    fn consensus_context(
        &self,
        request: &ProposalRequest,
        parent: &Parent,
        events_root: Hash,
        next_validators_hash: Hash,
    ) -> ConsensusContext {
        ConsensusContext {
            protocol_version: PROTOCOL_VERSION,
            epoch: request.epoch,
            view: request.view,
            proposer: request.proposer,
            timestamp: request.timestamp,
            events_root,
            history_root: parent.history.root(),
            validators_hash: self.validators.hash,
            next_validators_hash,
        }
    }

    /// Turns an outcome into what is kept of it, not yet compared with a header, and the root of the events.
    fn settle(&self, parent: &Parent, outcome: BlockOutcome) -> Result<(Execution, Hash), LedgerError> {
        let sets_validators = outcome.changes.get(&keys::VALIDATORS_NEXT).is_some();
        let overlay = self.state.overlay(parent.overlay.as_ref(), outcome.changes)?;
        let next = if sets_validators {
            read_next(&BranchState { state: &self.state, overlay: Some(&overlay) })?
        } else {
            parent.next.clone()
        };
        let (events, events_root) = encode_events(&outcome.events);
        Ok((Execution { overlay, events, next, holds: false }, events_root))
    }
}

fn appended(history: &ListAccumulator, hash: &Hash) -> ListAccumulator {
    let mut history = history.clone();
    history.push(&hash.0);
    history
}

const fn read_head(head: &blocks::Head, timestamp: TimestampMs) -> Head {
    Head { height: head.height, hash: head.hash, state_root: head.state_root, timestamp }
}

/// The validators of the next epoch in a state.
fn read_next(state: &dyn StateReader) -> Result<NamedSet, LedgerError> {
    let set = next_validators(state).map_err(|error| LedgerError::Execution(error.to_string()))?;
    Ok(NamedSet::new(Arc::new(set)))
}
