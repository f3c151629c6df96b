//! The one writer: propose, verify, certify, commit, import.

use crate::check::{Verdict, check_block};
use crate::error::LedgerError;
use crate::genesis::Genesis;
use crate::pending::{Ancestor, Execution, Parent, Pending, PendingBlocks};
use crate::reader::{Head, Published, Reader};
use crate::signatures::{Ancestors, SignatureChecker};
use cairn_primitives::header::{ConsensusContext, PROTOCOL_VERSION};
use cairn_primitives::list_tree::{self, ListAccumulator};
use cairn_primitives::{
    AccountId32, Block, Certificate, Epoch, FinalizedBlock, Hash, Header, Height, TimestampMs, ValidatorIndex, View,
};
use cairn_runtime::{
    BlockContext, BlockLimits, BlockOutcome, EventRecord, InvalidTransaction, StateReadError, StateReader, Transaction,
    build_block, execute_block,
};
use cairn_storage::blocks::{self, ChainIdentity};
use cairn_storage::{Database, Durability, Overlay, StateConfig, StateStore, WriteBatch};
use parity_scale_codec::Encode;
use std::sync::Arc;

/// What a ledger is opened with.
#[derive(Clone, Debug)]
pub struct LedgerConfig {
    /// The chain.
    pub genesis: Genesis,
    /// Hash of the chain spec, kept beside the genesis hash.
    pub spec_hash: Hash,
    /// How much history of the state is kept, and how much of it in memory.
    pub state: StateConfig,
    /// Bounds of the blocks that are built here.
    pub limits: BlockLimits,
}

/// What consensus wants a block for.
#[derive(Clone, Copy, Debug)]
pub struct ProposalRequest {
    /// The epoch.
    pub epoch: Epoch,
    /// The view.
    pub view: View,
    /// The leader: this node.
    pub proposer: ValidatorIndex,
    /// The block to build on.
    pub parent: Hash,
    /// The timestamp to put in.
    pub timestamp: TimestampMs,
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
}

/// The writer of the chain.
pub struct Ledger {
    database: Arc<dyn Database>,
    state: StateStore,
    genesis: Genesis,
    limits: BlockLimits,
    head: blocks::Head,
    head_timestamp: TimestampMs,
    pending: PendingBlocks,
    signatures: SignatureChecker,
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
    /// Opens the chain in `database`; an empty database is given the genesis block.
    ///
    /// # Errors
    /// The database fails, is damaged or belongs to another chain.
    pub fn open(database: Arc<dyn Database>, config: LedgerConfig) -> Result<Self, LedgerError> {
        let LedgerConfig { genesis, spec_hash, state, limits } = config;
        let mut state = StateStore::open(database.clone(), state)?;
        match blocks::chain_identity(&*database)? {
            Some(identity) if identity.genesis_hash != genesis.hash() => {
                return Err(LedgerError::OtherChain { found: identity.genesis_hash, expected: genesis.hash() });
            }
            Some(_) => {}
            None => write_genesis(&*database, &mut state, &genesis, spec_hash)?,
        }
        let head = blocks::head(&*database)?
            .ok_or_else(|| LedgerError::Genesis("the database names a chain, but has no head".into()))?;
        let header = blocks::header(&*database, head.height)?.ok_or(LedgerError::UnknownBlock(head.hash))?;
        let head_timestamp = timestamp_of(&header)?;
        let published = Published { head: read_head(&head, head_timestamp), state: state.view() };
        let reader = Reader::new(database.clone(), &genesis, published, state.read_model());
        let signatures = SignatureChecker::new(genesis.hash());
        Ok(Self {
            database,
            state,
            genesis,
            limits,
            head,
            head_timestamp,
            pending: PendingBlocks::default(),
            signatures,
            reader,
        })
    }

    /// The read model, for any number of threads.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
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

    /// The block, if it is pending.
    #[must_use]
    pub fn pending_block(&self, hash: &Hash) -> Option<Arc<Block>> {
        self.pending.get(hash).map(|pending| pending.block.clone())
    }

    /// The hashes of the transactions in pending blocks from the head's child up to and including `tip`: what a block on
    /// `tip` must not include again.
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

    /// Builds a block from candidates, executes it, and keeps it as pending.
    ///
    /// # Errors
    /// The parent is not executed here, or state or database fail.
    pub fn propose(&mut self, request: &ProposalRequest, candidates: &[Transaction]) -> Result<Built, LedgerError> {
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
        let block_context = self.block_context(&parent, request.proposer, request.timestamp);
        let state = BranchState { state: &self.state, overlay: parent.overlay.as_ref() };
        let built = build_block(&state, &block_context, &good, self.limits)
            .map_err(|error| LedgerError::Execution(error.to_string()))?;
        rejected.extend(built.rejected);
        let (overlay, events, events_root) = self.settle(&parent, built.outcome)?;
        let context = self.consensus_context(request, &parent, events_root);
        let extrinsics: Vec<_> = built.transactions.iter().map(|transaction| transaction.bytes().clone()).collect();
        let extrinsics_root = list_tree::root(extrinsics.iter().map(Encode::encode));
        let header = Header::new(parent.hash, height, overlay.root(), extrinsics_root, &context);
        let hash = header.hash();
        let block = Arc::new(Block { header, extrinsics });
        let pending = Pending {
            block: block.clone(),
            context,
            transactions: built.transactions,
            history: appended(&parent.history, &hash),
            execution: Some(Execution { overlay, events, holds: true }),
        };
        self.pending.insert(hash, pending);
        Ok(Built { block, rejected })
    }

    /// Checks form, context and signatures of a block and keeps it as pending; it is not executed yet.
    ///
    /// # Errors
    /// State or database fail. What is wrong with the block is a [`Verdict`].
    pub fn verify(&mut self, block: &Arc<Block>) -> Result<Verdict, LedgerError> {
        let hash = block.header.hash();
        if self.pending.get(&hash).is_some() {
            return Ok(Verdict::Valid);
        }
        let Some(parent) = self.parent(&block.header.parent_hash) else { return Ok(Verdict::NotYet) };
        let context = match check_block(block, &parent, self.genesis.validators()) {
            Ok(context) => context,
            Err(error) => return Ok(Verdict::Invalid(error.to_string())),
        };
        let mut transactions = Vec::with_capacity(block.extrinsics.len());
        for (index, extrinsic) in block.extrinsics.iter().enumerate() {
            match Transaction::decode(extrinsic.clone()) {
                Ok(transaction) => transactions.push(transaction),
                Err(error) => return Ok(Verdict::Invalid(format!("extrinsic {index}: {error}"))),
            }
        }
        let branch = Branch { ledger: self, parent: parent.hash };
        let answers = self.signatures.check(&transactions, parent.height.next(), &branch)?;
        if let Some((index, Err(invalid))) = answers.into_iter().enumerate().find(|(_, answer)| answer.is_err()) {
            return Ok(Verdict::Invalid(format!("extrinsic {index}: {invalid}")));
        }
        let history = appended(&parent.history, &hash);
        self.pending.insert(hash, Pending { block: block.clone(), context, transactions, history, execution: None });
        Ok(Verdict::Valid)
    }

    /// Executes a pending block, once; whether the roots in its header are right.
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
        let block_context = self.block_context(&parent, pending.context.proposer, pending.context.timestamp);
        let state = BranchState { state: &self.state, overlay: parent.overlay.as_ref() };
        let outcome = match execute_block(&state, &block_context, &pending.transactions) {
            Ok(outcome) => outcome,
            Err(error) if !error.is_invalid_block() => return Err(LedgerError::Execution(error.to_string())),
            // A block that cannot be executed has no roots at all.
            Err(_) => return Ok(false),
        };
        let (overlay, events, events_root) = self.settle(&parent, outcome)?;
        let holds = overlay.root() == header.state_root && events_root == pending.context.events_root;
        if let Some(pending) = self.pending.get_mut(hash) {
            pending.execution = Some(Execution { overlay, events, holds });
        }
        Ok(holds)
    }

    /// Whether a block's roots hold. If so, the block is written; it is durable with the next synced write, which is
    /// the consensus journal's record of this very verdict.
    ///
    /// # Errors
    /// The parent is not executed here, or state or database fail.
    pub fn certify(&mut self, block: &Arc<Block>) -> Result<bool, LedgerError> {
        let hash = block.header.hash();
        match self.verify(block)? {
            Verdict::Valid => {}
            Verdict::Invalid(_) => return Ok(false),
            Verdict::NotYet => return Err(LedgerError::UnknownBlock(block.header.parent_hash)),
        }
        let holds = self.execute(&hash)?;
        if holds {
            let mut batch = WriteBatch::new();
            blocks::pending::put(&mut batch, &hash, block);
            self.database.write(batch, Durability::Unsynced)?;
        }
        Ok(holds)
    }

    /// Commits finalized blocks, lowest first; those at or below the head are skipped. One batch a block, the last one
    /// synced, then the read model moves.
    ///
    /// # Errors
    /// A block is unknown or does not hold, or state or database fail.
    pub fn commit(&mut self, hashes: &[Hash], finalization: &Certificate) -> Result<Vec<CommittedBlock>, LedgerError> {
        let mut blocks = Vec::with_capacity(hashes.len());
        for hash in hashes {
            if let Some(pending) = self.pending.get(hash) {
                blocks.push((*hash, pending.block.header.height()));
            } else if blocks::height_of(&*self.database, hash)?.is_none() {
                return Err(LedgerError::UnknownBlock(*hash));
            }
        }
        let last = blocks.last().map(|(hash, _)| *hash);
        let mut committed = Vec::with_capacity(blocks.len());
        for (hash, _) in blocks {
            let own = (Some(hash) == last).then(|| finalization.clone());
            let durability = if Some(hash) == last { Durability::Synced } else { Durability::Unsynced };
            committed.push(self.commit_one(hash, own, durability)?);
        }
        self.publish();
        Ok(committed)
    }

    /// Checks, executes and commits blocks that block sync verified to be final, lowest first; those at or below the head
    /// are skipped. The last one is synced.
    ///
    /// # Errors
    /// A block is not on top of the chain, breaks a rule here, or state or database fail.
    pub fn import(&mut self, finalized: &[FinalizedBlock]) -> Result<Vec<CommittedBlock>, LedgerError> {
        let new: Vec<_> = finalized.iter().filter(|entry| entry.block.header.height() > self.head.height).collect();
        let mut committed = Vec::with_capacity(new.len());
        for (position, entry) in new.iter().enumerate() {
            let block = Arc::new(entry.block.clone());
            let (hash, height) = (block.header.hash(), block.header.height());
            let invalid = |reason| LedgerError::FinalizedInvalid { hash, height, reason };
            match self.verify(&block)? {
                Verdict::Valid => {}
                Verdict::Invalid(reason) => return Err(invalid(reason)),
                Verdict::NotYet => return Err(LedgerError::UnknownBlock(block.header.parent_hash)),
            }
            if !self.execute(&hash)? {
                return Err(invalid("execution gives other roots than the header".into()));
            }
            let is_last = position.saturating_add(1) == new.len();
            let durability = if is_last { Durability::Synced } else { Durability::Unsynced };
            committed.push(self.commit_one(hash, entry.finalization.clone(), durability)?);
        }
        self.publish();
        Ok(committed)
    }

    fn commit_one(
        &mut self,
        hash: Hash,
        finalization: Option<Certificate>,
        durability: Durability,
    ) -> Result<CommittedBlock, LedgerError> {
        let pending = self.pending.get(&hash).ok_or(LedgerError::UnknownBlock(hash))?.clone();
        let height = pending.block.header.height();
        let execution = pending.execution.filter(|execution| execution.holds);
        let execution = execution.ok_or(LedgerError::UnknownBlock(hash))?;
        assert_eq!(pending.block.header.parent_hash, self.head.hash, "only a child of the head is ever committed");
        let transactions: Vec<_> = pending.transactions.iter().map(Transaction::hash).collect();
        let mut batch = WriteBatch::new();
        blocks::put_block(&mut batch, &hash, &pending.block);
        if let Some(certificate) = &finalization {
            blocks::put_finalization(&mut batch, height, certificate);
        }
        blocks::put_events(&mut batch, height, execution.events);
        blocks::put_transactions(&mut batch, height, transactions.iter().copied());
        let state_root = execution.overlay.root();
        let head = blocks::Head { height, hash, state_root, history: pending.history };
        blocks::put_head(&mut batch, &head);
        let staged = self.state.stage(&execution.overlay, height, &mut batch)?;
        for dropped in self.pending.commit(hash) {
            blocks::pending::delete(&mut batch, &dropped);
        }
        self.database.write(batch, durability)?;
        self.state.apply(staged);
        self.head = head;
        self.head_timestamp = pending.context.timestamp;
        Ok(CommittedBlock {
            height,
            hash,
            block: pending.block,
            transactions,
            changes: execution.overlay,
            finalization,
        })
    }

    /// Moves the read model to the head.
    fn publish(&self) {
        let head = read_head(&self.head, self.head_timestamp);
        self.reader.publish(Published { head, state: self.state.view() });
    }

    fn parent(&self, hash: &Hash) -> Option<Parent> {
        if *hash == self.head.hash {
            return Some(Parent {
                hash: *hash,
                height: self.head.height,
                timestamp: self.head_timestamp,
                history: self.head.history.clone(),
                overlay: None,
            });
        }
        self.pending.get(hash)?.as_parent(*hash)
    }

    fn block_context(&self, parent: &Parent, proposer: ValidatorIndex, timestamp: TimestampMs) -> BlockContext {
        let proposer = self.genesis.validators().get(proposer).map_or(AccountId32([0; 32]), |entry| entry.key.into());
        BlockContext { height: parent.height.next(), parent_hash: parent.hash, timestamp, proposer }
    }

    fn consensus_context(&self, request: &ProposalRequest, parent: &Parent, events_root: Hash) -> ConsensusContext {
        let validators_hash = self.genesis.validators().hash();
        ConsensusContext {
            protocol_version: PROTOCOL_VERSION,
            epoch: request.epoch,
            view: request.view,
            proposer: request.proposer,
            timestamp: request.timestamp,
            events_root,
            history_root: parent.history.root(),
            validators_hash,
            next_validators_hash: validators_hash,
        }
    }

    /// Turns an outcome into an overlay, the encoded events and their root.
    fn settle(&self, parent: &Parent, outcome: BlockOutcome) -> Result<(Arc<Overlay>, Vec<u8>, Hash), LedgerError> {
        let overlay = self.state.overlay(parent.overlay.as_ref(), outcome.changes)?;
        let events_root = list_tree::root(outcome.events.iter().map(EventRecord::encode));
        Ok((overlay, outcome.events.encode(), events_root))
    }
}

fn appended(history: &ListAccumulator, hash: &Hash) -> ListAccumulator {
    let mut history = history.clone();
    history.push(&hash.0);
    history
}

fn timestamp_of(header: &Header) -> Result<TimestampMs, LedgerError> {
    Ok(header.context().map_err(|error| LedgerError::Genesis(error.to_string()))?.timestamp)
}

const fn read_head(head: &blocks::Head, timestamp: TimestampMs) -> Head {
    Head { height: head.height, hash: head.hash, state_root: head.state_root, timestamp }
}

fn write_genesis(
    database: &dyn Database,
    state: &mut StateStore,
    genesis: &Genesis,
    spec_hash: Hash,
) -> Result<(), LedgerError> {
    let changes = genesis.state().iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
    let overlay = state.overlay(None, changes)?;
    let hash = genesis.hash();
    let mut batch = WriteBatch::new();
    blocks::put_block(&mut batch, &hash, genesis.block());
    blocks::put_events(&mut batch, Height::ZERO, Vec::<EventRecord>::new().encode());
    blocks::put_chain_identity(&mut batch, &ChainIdentity { genesis_hash: hash, spec_hash });
    let history = appended(&ListAccumulator::default(), &hash);
    blocks::put_head(&mut batch, &blocks::Head { height: Height::ZERO, hash, state_root: overlay.root(), history });
    let staged = state.stage(&overlay, Height::ZERO, &mut batch)?;
    database.write(batch, Durability::Synced)?;
    state.apply(staged);
    Ok(())
}
