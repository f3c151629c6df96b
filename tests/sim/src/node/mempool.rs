//! The mempool and the way into it.
//!
//! Mirrors `node/src/drivers/mempool.rs` with batches of one offer.

use super::{Clock, Effect};
use crate::setup::Setup;
use cairn_ledger::{CommittedBlock, Reader, SignatureChecker};
use cairn_mempool::{
    AccountState, Ancestors, Input, Origin, Output, Pool, PoolConfig, PoolTransaction, Selection, Status,
};
use cairn_primitives::{AccountId32, Hash, OpaqueExtrinsic};
use cairn_runtime::{AccountInfo, BlockLimits, InvalidTransaction, Transaction, ValidateError};
use parity_scale_codec::Decode;

/// The pool of a node.
pub(crate) struct Mempool {
    pool: Pool<Transaction>,
    config: PoolConfig,
    limits: BlockLimits,
    reader: Reader,
    signatures: SignatureChecker,
}

/// What became of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offered {
    Admitted { is_to_spread: bool },
    Refused,
    Malformed,
}

impl Mempool {
    pub(super) fn new(setup: &Setup, reader: &Reader, signatures: SignatureChecker) -> Self {
        let config = setup.pool;
        Self {
            pool: Pool::new(config, reader.head().height),
            config,
            limits: setup.limits,
            reader: reader.clone(),
            signatures,
        }
    }

    /// How full the pool is, and how full it may be.
    pub(crate) fn status(&self) -> (Status, PoolConfig) {
        (self.pool.status(), self.config)
    }

    /// The nonce after the account's last waiting transaction.
    pub(crate) fn next_nonce(&self, account: &AccountId32, committed: u64) -> u64 {
        self.pool.next_nonce(account, committed)
    }

    /// Whether the pool knows a transaction.
    pub(crate) fn knows(&self, hash: &Hash) -> bool {
        self.pool.known(hash).is_some()
    }

    pub(super) fn submit(
        &mut self,
        clock: Clock,
        extrinsic: OpaqueExtrinsic,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<bool> {
        let offered = self.offer(clock, &extrinsic, Origin::Local)?;
        let Offered::Admitted { is_to_spread } = offered else { return Ok(false) };
        effects.push(Effect::PoolChanged);
        if is_to_spread {
            effects.push(Effect::GossipTransactions(vec![extrinsic]));
        }
        Ok(true)
    }

    pub(super) fn gossiped(
        &mut self,
        clock: Clock,
        id: u64,
        extrinsics: &[OpaqueExtrinsic],
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        let mut verdicts = Vec::with_capacity(extrinsics.len());
        for extrinsic in extrinsics {
            verdicts.push(self.offer(clock, extrinsic, Origin::Remote)?);
        }
        let is_admitted = verdicts.iter().any(|offered| matches!(offered, Offered::Admitted { .. }));
        if is_admitted {
            effects.push(Effect::PoolChanged);
        }
        if is_admitted && !verdicts.contains(&Offered::Malformed) {
            effects.push(Effect::Forward(id));
        }
        Ok(())
    }

    fn offer(&mut self, clock: Clock, extrinsic: &OpaqueExtrinsic, origin: Origin) -> anyhow::Result<Offered> {
        if self.pool.known(&extrinsic.hash()).is_some() {
            return Ok(Offered::Refused);
        }
        let Ok(transaction) = Transaction::decode(extrinsic.clone()) else { return Ok(Offered::Malformed) };
        let signed = self.signatures.check_on_head(std::slice::from_ref(&transaction), &self.reader)?;
        if signed.iter().any(Result::is_err) {
            return Ok(Offered::Refused);
        }
        self.insert(clock, transaction, origin)
    }

    fn insert(&mut self, clock: Clock, transaction: Transaction, origin: Origin) -> anyhow::Result<Offered> {
        let state = self.reader.state_at_head();
        let height = self.reader.head().height.next();
        let validity = match cairn_runtime::validate(&state, &transaction, height, self.reader.rules()) {
            Ok(validity) => validity,
            Err(ValidateError::State(error)) => return Err(error.into()),
            Err(ValidateError::Invalid(_)) => return Ok(Offered::Refused),
        };
        let Some(signed) = transaction.signed() else { return Ok(Offered::Refused) };
        let entry = PoolTransaction {
            hash: transaction.hash(),
            sender: signed.signer,
            nonce: u64::from(signed.extra.nonce),
            priority: validity.priority,
            cost_max: validity.cost_max,
            valid_until: validity.valid_until,
            bytes_len: transaction.bytes().bytes().len(),
            weight: validity.weight.ref_time,
            payload: transaction,
        };
        let account = AccountState { nonce: u64::from(validity.account_nonce), spendable: validity.spendable };
        let mut outputs = Vec::new();
        let input = Input::Insert { transaction: entry, account, origin };
        self.pool.step(clock.monotonic_ms, input, &mut outputs);
        Ok(match outputs.last() {
            Some(Output::Admitted { propagate, .. }) => Offered::Admitted { is_to_spread: *propagate },
            _ => Offered::Refused,
        })
    }

    /// The best transactions for a block on top of blocks with `ancestors`.
    pub(super) fn select(&self, ancestors: &[Transaction], count_max: usize) -> Vec<Transaction> {
        let mut used = Ancestors::default();
        for signed in ancestors.iter().filter_map(Transaction::signed) {
            used.add(signed.signer, u64::from(signed.extra.nonce));
        }
        let selection = Selection {
            height: self.reader.head().height.next(),
            bytes_max: self.limits.bytes_max,
            weight_max: self.limits.weight_max.ref_time,
            count_max,
        };
        self.pool.select(&selection, &used)
    }

    /// Drops transactions that the executor found impossible.
    pub(super) fn reject(&mut self, clock: Clock, rejected: &[(Hash, InvalidTransaction)], effects: &mut Vec<Effect>) {
        for (hash, invalid) in rejected {
            if matches!(
                invalid,
                InvalidTransaction::Future { .. }
                    | InvalidTransaction::Stale { .. }
                    | InvalidTransaction::ExhaustsResources { .. }
            ) {
                continue;
            }
            self.step(clock, Input::Invalid { hash: *hash, reason: invalid.to_string() }, effects);
        }
    }

    /// Takes the transactions of a committed block out and looks again at the accounts it changed.
    pub(super) fn committed(&mut self, clock: Clock, block: &CommittedBlock, effects: &mut Vec<Effect>) {
        let mut accounts = Vec::new();
        for (key, value) in block.changes.changes().iter() {
            let Some(account) = cairn_runtime::keys::parse_system_account(key) else { continue };
            if self.pool.is_sender(&account) {
                let info = value.and_then(|mut bytes| AccountInfo::decode(&mut bytes).ok());
                let info = info.unwrap_or_default();
                accounts.push((account, AccountState { nonce: u64::from(info.nonce), spendable: info.data.free }));
            }
        }
        let included = block.transactions.clone();
        self.step(clock, Input::BlockCommitted { height: block.height, included, accounts }, effects);
    }

    pub(super) fn tick(&mut self, clock: Clock, effects: &mut Vec<Effect>) {
        self.step(clock, Input::Tick, effects);
    }

    fn step(&mut self, clock: Clock, input: Input<Transaction>, effects: &mut Vec<Effect>) {
        let mut outputs = Vec::new();
        self.pool.step(clock.monotonic_ms, input, &mut outputs);
        let mut again = Vec::new();
        for output in &outputs {
            if let Output::Propagate { hash } = output {
                again.extend(self.pool.get(hash).map(|waiting| waiting.payload.bytes().clone()));
            }
        }
        if !again.is_empty() {
            effects.push(Effect::GossipTransactions(again));
        }
    }
}
