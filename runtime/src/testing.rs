//! A chain in memory for the tests of this crate.

use crate::modules::RuntimeEvent;
use crate::{
    AccountInfo, BlockContext, BlockError, BlockLimits, BlockOutcome, BuiltBlock, DispatchError, Era, FeeParameters,
    GenesisConfig, Rules, RuntimeCall, RuntimeError, Transaction, TransactionExtra, Weight, account, build_block,
    client, execute_block, genesis_state, keys,
};
use cairn_primitives::{
    AccountId32, Epoch, Evidence, Hash, Height, KeyPair, OpaqueExtrinsic, Power, TimestampMs, Validator,
};
use parity_scale_codec::{Decode, Encode};
use std::collections::BTreeMap;

/// What funded accounts start with.
pub(crate) const ENDOWMENT: u128 = 1_000_000_000_000;

pub(crate) const GENESIS: Hash = Hash([9; 32]);

/// The key pair number `n`; 0 to 3 are funded, 3 sets validators, 9 proposes, 20 to 23 validate.
pub(crate) fn key(n: u8) -> KeyPair {
    KeyPair::from_seed(&[n; 32])
}

pub(crate) fn id(n: u8) -> AccountId32 {
    key(n).public().into()
}

/// The validators of the first epoch: keys 20 to 23, each with a power of ten.
pub(crate) fn validators() -> Vec<Validator> {
    (20..24).map(|n| Validator { key: key(n).public(), power: Power(10) }).collect()
}

pub(crate) fn proposer() -> AccountId32 {
    id(9)
}

pub(crate) struct Chain {
    pub(crate) state: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) height: u32,
    pub(crate) epoch: u64,
}

impl Chain {
    pub(crate) fn new() -> Self {
        Self::with_fees(FeeParameters::default())
    }

    pub(crate) fn with_fees(fees: FeeParameters) -> Self {
        let balances = (0..4).map(|n| (id(n), ENDOWMENT)).collect();
        let config = GenesisConfig { balances, fees, validators: validators(), authority: Some(id(3)) };
        Self { state: genesis_state(&config).unwrap(), height: 0, epoch: 0 }
    }

    pub(crate) fn context(&self) -> BlockContext {
        BlockContext {
            genesis: GENESIS,
            epoch: Epoch(self.epoch),
            height: Height(self.height + 1),
            parent_hash: Hash::ZERO,
            timestamp: TimestampMs(u64::from(self.height + 1) * 1_000),
            proposer: proposer(),
            rules: Rules::NEWEST,
            rules_begin: false,
        }
    }

    pub(crate) fn inherent(&self) -> Transaction {
        Transaction::decode(client::timestamp_extrinsic(self.context().timestamp)).unwrap()
    }

    pub(crate) fn account(&self, n: u8) -> AccountInfo {
        account(&self.state, &id(n)).unwrap()
    }

    pub(crate) fn free(&self, n: u8) -> u128 {
        self.account(n).data.free
    }

    pub(crate) fn set_account(&mut self, n: u8, info: &AccountInfo) {
        self.state.insert(keys::system_account(&id(n)).to_vec(), info.encode());
    }

    /// A transaction of `n` with its next nonce.
    pub(crate) fn tx(&self, n: u8, call: &RuntimeCall) -> Transaction {
        signed(n, self.account(n).nonce, 0, call)
    }

    pub(crate) fn execute(&self, transactions: &[Transaction]) -> Result<BlockOutcome, BlockError> {
        let mut all = vec![self.inherent()];
        all.extend_from_slice(transactions);
        execute_block(&self.state, &self.context(), &all)
    }

    pub(crate) fn build(&self, candidates: &[Transaction], bytes_max: usize, weight_max: Weight) -> BuiltBlock {
        self.build_with(&[], candidates, bytes_max, weight_max)
    }

    pub(crate) fn build_with(
        &self,
        evidence: &[Evidence],
        candidates: &[Transaction],
        bytes_max: usize,
        weight_max: Weight,
    ) -> BuiltBlock {
        let limits = BlockLimits { bytes_max, weight_max };
        build_block(&self.state, &self.context(), evidence, candidates, limits).unwrap()
    }

    /// Makes the outcome the state.
    pub(crate) fn commit(&mut self, outcome: &BlockOutcome) {
        for (key, value) in outcome.changes.iter() {
            match value {
                Some(value) => self.state.insert(key.to_vec(), value.to_vec()),
                None => self.state.remove(key),
            };
        }
        self.height += 1;
    }

    /// Executes a block with the transactions and commits it.
    pub(crate) fn run(&mut self, transactions: &[Transaction]) -> BlockOutcome {
        let outcome = self.execute(transactions).unwrap();
        self.commit(&outcome);
        outcome
    }

    /// Executes one call of `n` in a block of its own; returns its result and its events but for payment and the last.
    pub(crate) fn call(&mut self, n: u8, call: &RuntimeCall) -> (Result<(), DispatchError>, Vec<RuntimeEvent>) {
        let outcome = self.run(&[self.tx(n, call)]);
        let mut events: Vec<_> = outcome
            .events
            .into_iter()
            .filter(|record| record.phase == crate::Phase::ApplyExtrinsic(1))
            .map(|record| record.event)
            .collect();
        events.truncate(events.len() - 2);
        events.remove(0);
        (outcome.results[1], events)
    }

    /// The stored number under a prefix.
    pub(crate) fn number(&self, key: &[u8]) -> u128 {
        u128::decode(&mut &self.state[key][..]).unwrap()
    }

    /// Free and reserved balances of all accounts.
    pub(crate) fn sum_of_balances(&self) -> u128 {
        self.state
            .iter()
            .filter(|(key, _)| keys::parse_system_account(key).is_some())
            .map(|(_, value)| AccountInfo::decode(&mut &value[..]).unwrap())
            .map(|info| info.data.free + info.data.reserved)
            .sum()
    }
}

pub(crate) fn signed(n: u8, nonce: u32, tip: u128, call: &RuntimeCall) -> Transaction {
    let extra = TransactionExtra { era: Era::Immortal, nonce, tip };
    Transaction::decode(client::sign(&key(n), call, extra, &GENESIS, &GENESIS)).unwrap()
}

/// The fee of a transaction without its tip.
pub(crate) fn fee(transaction: &Transaction) -> u128 {
    crate::InclusionFee::new(&FeeParameters::default(), transaction.encoded_len(), transaction.weight()).total()
}

pub(crate) fn module_error(error: RuntimeError) -> Result<(), DispatchError> {
    Err(error.into())
}

/// A bare extrinsic with a call.
pub(crate) fn bare(call: &RuntimeCall) -> Transaction {
    let mut bytes = vec![4];
    call.encode_to(&mut bytes);
    Transaction::decode(OpaqueExtrinsic::new(bytes)).unwrap()
}
