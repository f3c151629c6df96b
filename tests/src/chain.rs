//! A long chain in a database, as a node that ran for days would have left it: real blocks, transfers, certificates, epochs.
//!
//! Four validators sign what makes a block final; every fourth block has no certificate of its own and is covered by its
//! child's. Above the head lie a certified block and a journal. Nothing of it comes from a clock or from chance.

use anyhow::{Context as _, ensure};
use cairn_chain_spec::{Amount, BalanceEntry, ChainSpec, development};
use cairn_consensus::JournalRecord;
use cairn_ledger::{Genesis, Ledger, LedgerConfig, ProposalRequest, Signers};
use cairn_primitives::block::BLOCK_BYTES_MAX;
use cairn_primitives::hash::sha256;
use cairn_primitives::{
    AccountId32, Block, Certificate, Epoch, Hash, Height, KeyPair, Proposal, Subject, TimestampMs, ValidatorIndex,
    View, Vote,
};
use cairn_runtime::weight::BLOCK_WEIGHT_MAX;
use cairn_runtime::{BlockLimits, Era, Transaction, TransactionExtra, client, genesis_state};
use cairn_storage::blocks::journal::{JournalKey, append};
use cairn_storage::{
    Database, DatabaseError, DatabaseView, Direction, Durability, HistoryMode, KeyRange, Record, StateConfig, Table,
    WriteBatch,
};
use cairn_storage_rocks::{RocksDatabase, RocksOptions};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

const VALIDATORS: u16 = 4;
/// Blocks in an epoch: a short chain has several.
pub const EPOCH_LENGTH: u32 = 50;
/// Accounts that send.
const SENDERS: u32 = 1_000;
/// What a sender has, in base units.
const ENDOWMENT: u128 = 1_000_000_000_000_000;
/// What a transfer moves, in base units: more than an account needs to exist.
const AMOUNT: u128 = 1_000_000_000;
/// Records of the journal.
const JOURNAL_RECORDS: u64 = 6;
/// How often progress is told, in blocks.
const TOLD_EVERY: u32 = 10_000;

/// The chain, and the keys of those who make it.
#[derive(Debug)]
pub struct LongChain {
    spec: ChainSpec,
    genesis: Genesis,
    /// In the order of the set.
    validators: Vec<KeyPair>,
    senders: Vec<KeyPair>,
}

/// Where the chain stands while it grows.
struct Growth<'a> {
    chain: &'a LongChain,
    ledger: &'a mut Ledger,
    to: Height,
    transfers: &'a dyn Fn(Height) -> u32,
    /// Transfers so far.
    sent: u32,
}

impl LongChain {
    /// The chain, without a block.
    ///
    /// # Errors
    /// Its spec is refused: a mistake here.
    pub fn new() -> anyhow::Result<Self> {
        let senders: Vec<_> = (0..SENDERS).map(|number| KeyPair::from_seed(&seed(number))).collect();
        let mut document = ChainSpec::local(VALIDATORS)?.document().clone();
        document.id = "long".to_owned();
        document.consensus.epoch_length = EPOCH_LENGTH;
        document.balances.extend(senders.iter().map(|key| BalanceEntry {
            account: format!("0x{}", hex::encode(AccountId32::from(key.public()).0)),
            amount: Amount(ENDOWMENT),
        }));
        let spec = document.check()?;
        let set = spec.validator_set().clone();
        let genesis = Genesis::new(genesis_state(&spec.genesis_config())?, set, spec.genesis_time(), spec.spec_hash())?;
        let mut validators: Vec<_> =
            (1..=VALIDATORS).map(|number| development::key_pair(&development::name(number))).collect();
        validators.sort_by_key(|key| spec.validator_set().index_of(&key.public()));
        Ok(Self { spec, genesis, validators, senders })
    }

    /// The chain spec, as a node reads it.
    #[must_use]
    pub const fn spec(&self) -> &ChainSpec {
        &self.spec
    }

    /// Makes the database in a folder, or goes on with it, up to a height; `transfers` tells how many a block has, always the
    /// same for one database.
    ///
    /// # Errors
    /// The database cannot be opened or written, or holds another chain.
    pub fn grow(
        &self,
        folder: &Path,
        history: HistoryMode,
        to: Height,
        transfers: &dyn Fn(Height) -> u32,
    ) -> anyhow::Result<()> {
        let rocks = RocksDatabase::open(folder, RocksOptions { cache_bytes: 64 << 20 })?;
        let database: Arc<dyn Database> = Arc::new(Unhurried(rocks));
        let config = LedgerConfig {
            genesis: self.genesis.clone(),
            schedule: self.spec.epoch_schedule(),
            rules: self.spec.rules(),
            spec_hash: self.spec.spec_hash(),
            state: StateConfig { history, ..StateConfig::default() },
            limits: BlockLimits { bytes_max: BLOCK_BYTES_MAX / 2, weight_max: BLOCK_WEIGHT_MAX },
            signers: Signers::default(),
        };
        let mut ledger = Ledger::open(Arc::clone(&database), config)?;
        let checkpointer = ledger.checkpointer();
        let checkpoints = thread::spawn(move || checkpointer.run());
        let sent = (1..=ledger.reader().head().height.0).map(|height| transfers(Height(height))).sum();
        Growth { chain: self, ledger: &mut ledger, to, transfers, sent }.grow()?;
        let epoch = ledger.reader().current_epoch().epoch;
        drop(ledger);
        checkpoints.join().map_err(|_| anyhow::anyhow!("the checkpoints ended by a panic"))??;
        self.write_journal(&*database, epoch)?;
        Ok(database.flush()?)
    }

    /// The certificate of a quorum that makes a block final.
    fn finalization(&self, block: &Block) -> anyhow::Result<Certificate> {
        let context = block.header.context()?;
        let parent_view = View(context.view.0.saturating_sub(1));
        let proposal = Proposal { epoch: context.epoch, view: context.view, parent_view, block: block.header.hash() };
        Ok(self.certificate(Subject::Finalize(proposal)))
    }

    fn certificate(&self, subject: Subject) -> Certificate {
        let genesis = self.genesis.hash();
        let votes = (0_u16..).zip(&self.validators).skip(1).map(|(number, key)| {
            let signer = ValidatorIndex(number);
            (signer, Vote::sign(subject, signer, key, &genesis).signature)
        });
        Certificate::from_signatures(subject, votes, self.spec.validator_set())
    }

    /// Certificates of views that were given up, as the journal of the running epoch has them.
    fn write_journal(&self, database: &dyn Database, epoch: Epoch) -> anyhow::Result<()> {
        let mut batch = WriteBatch::new();
        for sequence in 0..JOURNAL_RECORDS {
            let certificate = self.certificate(Subject::Nullify { epoch, view: View(sequence + 1) });
            let record = JournalRecord::Certificate(certificate);
            append(&mut batch, JournalKey { epoch, sequence }, parity_scale_codec::Encode::encode(&record));
        }
        Ok(database.write(batch, Durability::Synced)?)
    }
}

impl Growth<'_> {
    fn grow(mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        let schedule = self.chain.spec.epoch_schedule();
        let mut covered: Vec<Hash> = Vec::new();
        let first = self.ledger.reader().head().height.next();
        for height in (first.0..=self.to.0).map(Height) {
            let parent = covered.last().copied().unwrap_or_else(|| self.ledger.reader().head().hash);
            let block = self.propose(parent, height)?;
            covered.push(block.header.hash());
            // Some are covered by the certificate of their child.
            if height.0 % 4 == 1 && height < self.to && !schedule.is_closing(height) {
                continue;
            }
            let finalization = self.chain.finalization(&block)?;
            let committed = self.ledger.commit(&covered, &finalization)?;
            ensure!(committed.len() == covered.len(), "block {height} is not committed");
            covered.clear();
            if height.0.is_multiple_of(TOLD_EVERY) {
                eprintln!("built {height} of {} blocks in {} s", self.to, started.elapsed().as_secs());
            }
        }
        let head = self.ledger.reader().head();
        let pending = self.propose(head.hash, head.height.next())?;
        ensure!(self.ledger.certify(&pending)?, "the block above the head does not hold");
        Ok(())
    }

    fn propose(&mut self, parent: Hash, height: Height) -> anyhow::Result<Arc<Block>> {
        let candidates = (0..(self.transfers)(height)).map(|_| self.transfer()).collect::<anyhow::Result<Vec<_>>>()?;
        let request = ProposalRequest {
            epoch: self.chain.spec.epoch_schedule().epoch_of(height),
            view: View(u64::from(height.0)),
            proposer: ValidatorIndex(u16::try_from(height.0 % u32::from(VALIDATORS))?),
            parent,
            timestamp: TimestampMs(self.chain.spec.genesis_time().0 + u64::from(height.0) * 1_000),
            evidence: Vec::new(),
        };
        let built = self.ledger.propose(&request, &candidates)?;
        ensure!(built.rejected.is_empty(), "a transfer was refused: {:?}", built.rejected.first());
        Ok(built.block)
    }

    /// The next transfer: every third to a new account, the others to accounts that there are.
    fn transfer(&mut self) -> anyhow::Result<Transaction> {
        let number = self.sent;
        self.sent += 1;
        let (sender, nonce) = (number % SENDERS, number / SENDERS);
        let to = match number % 3 {
            0 => account(number),
            1 => account(number / 9 * 3),
            _ => self.key(number.wrapping_mul(7_919) % SENDERS)?.public().into(),
        };
        let genesis = self.chain.genesis.hash();
        let extra = TransactionExtra { era: Era::Immortal, nonce, tip: 0 };
        let call = client::transfer_keep_alive(to, AMOUNT + u128::from(number));
        Ok(Transaction::decode(client::sign(self.key(sender)?, &call, extra, &genesis, &genesis))?)
    }

    fn key(&self, number: u32) -> anyhow::Result<&KeyPair> {
        self.chain.senders.get(usize::try_from(number)?).context("a sender")
    }
}

/// An account that only receives.
fn account(number: u32) -> AccountId32 {
    AccountId32(sha256(&[b"long chain account".as_slice(), &number.to_le_bytes()].concat()).0)
}

fn seed(number: u32) -> [u8; 32] {
    sha256(&[b"long chain sender".as_slice(), &number.to_le_bytes()].concat()).0
}

/// A database that is on disk when it is flushed: waiting for the disk after each block would take most of the time, and
/// leaves the same files.
struct Unhurried(RocksDatabase);

impl DatabaseView for Unhurried {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, DatabaseError> {
        DatabaseView::get(&self.0, table, key)
    }

    fn multi_get(&self, table: Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, DatabaseError> {
        DatabaseView::multi_get(&self.0, table, keys)
    }

    fn scan(
        &self,
        table: Table,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Record>, DatabaseError> {
        DatabaseView::scan(&self.0, table, range, direction, limit)
    }
}

impl Database for Unhurried {
    fn write(&self, batch: WriteBatch, durability: Durability) -> Result<(), DatabaseError> {
        let durability = if durability == Durability::Synced { Durability::Unsynced } else { durability };
        self.0.write(batch, durability)
    }

    fn flush(&self) -> Result<(), DatabaseError> {
        self.0.flush()
    }

    fn snapshot(&self) -> Box<dyn DatabaseView + '_> {
        self.0.snapshot()
    }
}
