//! A chain of four validators and five funded accounts.

use crate::{Built, CommittedBlock, Genesis, Ledger, LedgerConfig, LedgerError, ProposalRequest, Signers};
use cairn_primitives::{
    AccountId32, Block, Certificate, ConsensusContext, EpochSchedule, FinalizedBlock, Hash, Header, KeyPair, Power,
    Proposal, Subject, TimestampMs, Validator, ValidatorIndex, ValidatorSet, View, Vote,
};
use cairn_runtime::weight::BLOCK_WEIGHT_MAX;
use cairn_runtime::{
    AccountInfo, BlockLimits, Era, FeeParameters, GenesisConfig, RulesSchedule, RuntimeCall, StateReader, Transaction,
    TransactionExtra, client, genesis_state,
};
use cairn_storage::{CheckpointLimits, Database, HistoryMode, MemoryDatabase, StateConfig};
use std::sync::{Arc, OnceLock};

pub(super) const START: u64 = 1_700_000_000_000;
pub(super) const ENDOWMENT: u128 = 1_000_000_000_000;
pub(super) const SPEC: Hash = Hash([5; 32]);
pub(super) const ACCOUNTS: u8 = 5;

pub(super) fn key(n: u8) -> KeyPair {
    KeyPair::from_seed(&[n + 100; 32])
}

pub(super) fn id(n: u8) -> AccountId32 {
    key(n).public().into()
}

/// The validators' keys in the order of the set.
pub(super) fn validator_keys() -> Vec<KeyPair> {
    let mut keys: Vec<_> = (1..=4).map(|seed| KeyPair::from_seed(&[seed; 32])).collect();
    keys.sort_by_key(KeyPair::public);
    keys
}

pub(super) fn validators() -> ValidatorSet {
    let validators = validator_keys().iter().map(|key| Validator { key: key.public(), power: Power(1) }).collect();
    ValidatorSet::new(validators).unwrap()
}

pub(super) fn genesis_config() -> GenesisConfig {
    GenesisConfig {
        balances: (0..ACCOUNTS).map(|n| (id(n), ENDOWMENT)).collect(),
        fees: FeeParameters { burnt_permille: 300, ..FeeParameters::default() },
        validators: validators().validators().to_vec(),
        authority: Some(id(4)),
    }
}

pub(super) fn genesis() -> &'static Genesis {
    static GENESIS: OnceLock<Genesis> = OnceLock::new();
    GENESIS.get_or_init(|| {
        let state = genesis_state(&genesis_config()).unwrap();
        Genesis::new(state, validators(), TimestampMs(START), SPEC).unwrap()
    })
}

pub(super) fn open(database: Arc<dyn Database>, history: HistoryMode) -> Ledger {
    open_with(database, history, EpochSchedule::new(0))
}

pub(super) fn open_with(database: Arc<dyn Database>, history: HistoryMode, schedule: EpochSchedule) -> Ledger {
    try_open(database, history, schedule, RulesSchedule::default()).unwrap()
}

pub(super) fn try_open(
    database: Arc<dyn Database>,
    history: HistoryMode,
    schedule: EpochSchedule,
    rules: RulesSchedule,
) -> Result<Ledger, LedgerError> {
    Ledger::open(database, config(history, schedule, rules))
}

pub(super) fn config(history: HistoryMode, schedule: EpochSchedule, rules: RulesSchedule) -> LedgerConfig {
    // So little that every other block brings a checkpoint.
    let unsaved = CheckpointLimits {
        bytes: 4 << 10,
        archive_bytes: 4 << 10,
        diff_bytes: 1 << 20,
        blocks: 2,
        chunk_bytes: 1 << 10,
    };
    let state = StateConfig { history, unsaved, ..StateConfig::default() };
    let limits = BlockLimits { bytes_max: 1 << 20, weight_max: BLOCK_WEIGHT_MAX };
    LedgerConfig {
        genesis: genesis().clone(),
        schedule,
        rules,
        spec_hash: SPEC,
        state,
        limits,
        signers: Signers::default(),
    }
}

/// A transaction that may be included at any time.
pub(super) fn tx(n: u8, nonce: u32, call: &RuntimeCall) -> Transaction {
    tx_in_era(n, nonce, call, Era::Immortal, genesis().hash())
}

pub(super) fn tx_in_era(n: u8, nonce: u32, call: &RuntimeCall, era: Era, era_block: Hash) -> Transaction {
    let extra = TransactionExtra { era, nonce, tip: 0 };
    Transaction::decode(client::sign(&key(n), call, extra, &genesis().hash(), &era_block)).unwrap()
}

pub(super) fn transfer(n: u8, nonce: u32, to: u8, value: u128) -> Transaction {
    tx(n, nonce, &client::transfer_keep_alive(id(to), value))
}

/// The finalization of a block, signed by a quorum.
pub(super) fn finalization(block: &Block) -> Certificate {
    let context = block.header.context().unwrap();
    let parent_view = View(context.view.0 - 1);
    let proposal = Proposal { epoch: context.epoch, view: context.view, parent_view, block: block.header.hash() };
    let subject = Subject::Finalize(proposal);
    let votes = (0u16..3).zip(validator_keys()).map(|(index, key)| {
        let signer = ValidatorIndex(index);
        (signer, Vote::sign(subject, signer, &key, &genesis().hash()).signature)
    });
    Certificate::from_signatures(subject, votes, &validators())
}

/// A block as block sync hands it over.
pub(super) fn finalized(block: &Arc<Block>) -> FinalizedBlock {
    FinalizedBlock { block: Block::clone(block), finalization: Some(finalization(block)) }
}

/// A block inside a range that a later finalization covers.
pub(super) fn covered(block: &Arc<Block>) -> FinalizedBlock {
    FinalizedBlock { block: Block::clone(block), finalization: None }
}

/// The block with another consensus context.
pub(super) fn with_context(block: &Block, change: impl FnOnce(&mut ConsensusContext)) -> Block {
    let mut context = block.header.context().unwrap();
    change(&mut context);
    let Header { parent_hash, state_root, extrinsics_root, .. } = block.header;
    let header = Header::new(parent_hash, block.header.height(), state_root, extrinsics_root, &context);
    Block { header, extrinsics: block.extrinsics.clone() }
}

/// A ledger with its disk.
pub(super) struct Node {
    pub(super) database: MemoryDatabase,
    pub(super) ledger: Ledger,
    history: HistoryMode,
    schedule: EpochSchedule,
}

impl Node {
    pub(super) fn new() -> Self {
        Self::with_history(HistoryMode::Archive)
    }

    pub(super) fn with_history(history: HistoryMode) -> Self {
        Self::on(MemoryDatabase::new(), history, EpochSchedule::new(0))
    }

    /// A node of a chain with epochs of `length` blocks.
    pub(super) fn with_epochs(length: u32) -> Self {
        Self::on(MemoryDatabase::new(), HistoryMode::Archive, EpochSchedule::new(length))
    }

    /// A node of a chain whose rules change.
    pub(super) fn under(rules: &RulesSchedule) -> Self {
        let (database, history, schedule) = (MemoryDatabase::new(), HistoryMode::Archive, EpochSchedule::new(0));
        let ledger = try_open(Arc::new(database.clone()), history, schedule, rules.clone()).unwrap();
        Self { database, ledger, history, schedule }
    }

    pub(super) fn on(database: MemoryDatabase, history: HistoryMode, schedule: EpochSchedule) -> Self {
        let ledger = open_with(Arc::new(database.clone()), history, schedule);
        Self { database, ledger, history, schedule }
    }

    /// Stops and starts again.
    pub(super) fn restart(self) -> Self {
        Self::on(self.database, self.history, self.schedule)
    }

    pub(super) fn head(&self) -> Hash {
        self.ledger.reader().head().hash
    }

    pub(super) fn height(&self) -> u32 {
        self.ledger.reader().head().height.0
    }

    /// What consensus asks in a view of the running epoch; the view decides proposer and time.
    pub(super) fn request(&self, parent: Hash, view: u64) -> ProposalRequest {
        ProposalRequest {
            epoch: self.ledger.reader().current_epoch().epoch,
            view: View(view),
            proposer: ValidatorIndex(u16::try_from(view % 4).unwrap()),
            parent,
            timestamp: TimestampMs(START + view * 1_000),
            evidence: Vec::new(),
        }
    }

    /// Builds a block for a view.
    pub(super) fn try_propose(&mut self, parent: Hash, view: u64, candidates: &[Transaction]) -> Built {
        self.ledger.propose(&self.request(parent, view), candidates).unwrap()
    }

    /// Builds a block with all candidates.
    pub(super) fn propose(&mut self, parent: Hash, view: u64, candidates: &[Transaction]) -> Arc<Block> {
        let built = self.try_propose(parent, view, candidates);
        assert_eq!(built.rejected, Vec::new());
        built.block
    }

    pub(super) fn certify(&mut self, block: &Arc<Block>) {
        assert!(self.ledger.certify(block).unwrap());
    }

    /// Commits certified blocks; the last one is finalized.
    pub(super) fn commit(&mut self, blocks: &[&Arc<Block>]) -> Vec<CommittedBlock> {
        let hashes: Vec<_> = blocks.iter().map(|block| block.header.hash()).collect();
        self.ledger.commit(&hashes, &finalization(blocks.last().unwrap())).unwrap()
    }

    /// One block more on the head, committed.
    pub(super) fn grow(&mut self, candidates: &[Transaction]) -> Arc<Block> {
        self.grow_in(u64::from(self.height()) + 1, candidates)
    }

    /// One block more on the head, proposed in a view and committed.
    pub(super) fn grow_in(&mut self, view: u64, candidates: &[Transaction]) -> Arc<Block> {
        let block = self.propose(self.head(), view, candidates);
        self.certify(&block);
        assert_eq!(self.commit(&[&block]).len(), 1);
        block
    }

    pub(super) fn account(&self, n: u8) -> AccountInfo {
        account(&self.ledger.reader().state_at_head(), n)
    }
}

pub(super) fn account(state: &dyn StateReader, n: u8) -> AccountInfo {
    cairn_runtime::account(state, &id(n)).unwrap()
}

/// A chain of blocks, each with a transfer from account 0 to account 1 but for every third one, which is empty.
pub(super) fn chain(node: &mut Node, count: u32) -> Vec<Arc<Block>> {
    let mut nonce = node.account(0).nonce;
    let mut blocks = Vec::new();
    for _ in 0..count {
        let transactions = if node.height() % 3 == 2 { Vec::new() } else { vec![transfer(0, nonce, 1, 1_000_000_000)] };
        nonce += u32::try_from(transactions.len()).unwrap();
        blocks.push(node.grow(&transactions));
    }
    blocks
}
