//! What all machines of a run share: keys, the chain's genesis, bounds.

use crate::plan::{Machine, Plan, Times};
use anyhow::Context;
use cairn_ledger::Genesis;
use cairn_mempool::PoolConfig;
use cairn_primitives::{
    AccountId32, EpochSchedule, Hash, KeyPair, Power, PublicKey, TimestampMs, Validator, ValidatorSet,
};
use cairn_runtime::weight::BLOCK_WEIGHT_MAX;
use cairn_runtime::{BlockLimits, FeeParameters, GenesisConfig, genesis_state};
use std::sync::{Arc, OnceLock};

/// The time of day at virtual time 0.
pub(crate) const WALL_MS: u64 = 1_700_000_000_000;

/// What each account holds at genesis, in base units.
const ENDOWMENT: u128 = 1_000_000_000_000;

/// Keys that are made once per process: as many as any seed needs.
const KEYS_MAX: u8 = 16;

/// The most validators of a hand-made plan.
pub(crate) const VALIDATORS_MAX: u8 = 100;

/// What all machines of a run share.
pub(crate) struct Setup {
    /// What the run is made of.
    pub(crate) plan: Plan,
    /// Time-outs and cadence.
    pub(crate) times: Times,
    /// The chain.
    pub(crate) genesis: Genesis,
    /// Stands for the chain spec.
    pub(crate) spec_hash: Hash,
    /// Which heights belong to which epoch.
    pub(crate) schedule: EpochSchedule,
    /// The validators of the first epoch.
    pub(crate) validators: Arc<ValidatorSet>,
    /// The keys of all validators, those of later epochs included.
    pub(crate) keys: Vec<KeyPair>,
    /// The accounts that send; the last but one sets validators, the last one is kept for the transaction of the liveness
    /// phase.
    pub(crate) accounts: Vec<KeyPair>,
    /// Bounds of blocks.
    pub(crate) limits: BlockLimits,
    /// Bounds of pools: small, so that a run comes near them.
    pub(crate) pool: PoolConfig,
}

/// Validators' keys in the order of public keys, then accounts' keys.
fn keys() -> &'static (Vec<KeyPair>, Vec<KeyPair>) {
    static KEYS: OnceLock<(Vec<KeyPair>, Vec<KeyPair>)> = OnceLock::new();
    KEYS.get_or_init(|| {
        let mut validators: Vec<_> = (1..=KEYS_MAX).map(|seed| KeyPair::from_seed(&[seed; 32])).collect();
        validators.sort_by_key(KeyPair::public);
        (validators, (101..=100 + KEYS_MAX).map(|seed| KeyPair::from_seed(&[seed; 32])).collect())
    })
}

/// The keys of as many validators, in the order of public keys: those of a seed's network, or of a large one.
fn validator_keys(count: usize) -> Option<Vec<KeyPair>> {
    if let Some(keys) = keys().0.get(..count) {
        return Some(keys.to_vec());
    }
    let count = u8::try_from(count).ok().filter(|count| *count <= VALIDATORS_MAX)?;
    let mut large: Vec<_> = (1..=count).map(|seed| KeyPair::from_seed(&[seed; 32])).collect();
    large.sort_by_key(KeyPair::public);
    Some(large)
}

impl Setup {
    /// The chain of a plan.
    ///
    /// # Errors
    /// The plan describes no network.
    pub(crate) fn new(plan: Plan) -> anyhow::Result<Self> {
        let account_keys = &keys().1;
        let keys = validator_keys(plan.powers.len()).context("too many validators")?;
        let accounts = account_keys.get(..plan.load.accounts + 2).context("too many accounts")?.to_vec();
        let members = keys.iter().zip(&plan.powers).filter(|(_, power)| **power > 0);
        let members = members.map(|(key, power)| Validator { key: key.public(), power: Power(*power) });
        let validators = ValidatorSet::new(members.collect())?;
        let config = GenesisConfig {
            balances: accounts.iter().map(|key| (key.public().into(), ENDOWMENT)).collect(),
            fees: FeeParameters { burnt_permille: 300, ..FeeParameters::default() },
            validators: validators.validators().to_vec(),
            authority: Some(accounts[plan.load.accounts].public().into()),
        };
        let (spec_hash, genesis_ms) = (Hash([5; 32]), WALL_MS - 1_000);
        let genesis = Genesis::new(genesis_state(&config)?, validators.clone(), TimestampMs(genesis_ms), spec_hash)?;
        Ok(Self {
            times: plan.times,
            schedule: EpochSchedule::new(plan.epoch_blocks),
            genesis,
            spec_hash,
            validators: Arc::new(validators),
            keys,
            accounts,
            limits: BlockLimits { bytes_max: plan.load.block_bytes_max, weight_max: BLOCK_WEIGHT_MAX },
            pool: PoolConfig { transactions_max: 64, sender_transactions_max: 16, ..PoolConfig::default() },
            plan,
        })
    }

    /// What all accounts hold together at genesis.
    #[must_use]
    pub(crate) fn issued(&self) -> u128 {
        ENDOWMENT * u128::try_from(self.accounts.len()).expect("a small number")
    }

    /// The key of a machine; `None` for an observer.
    #[must_use]
    pub(crate) fn key_of(&self, machine: Machine) -> Option<&KeyPair> {
        self.keys.get(self.plan.validator_of(machine)?)
    }

    /// The machines that hold a key: two for twins.
    pub(crate) fn machines_with(&self, key: PublicKey) -> impl Iterator<Item = Machine> + '_ {
        (0..self.plan.machines()).filter(move |at| self.key_of(*at).is_some_and(|own| own.public() == key))
    }

    /// Whether the holder of a key follows the rules.
    #[must_use]
    pub(crate) fn is_honest(&self, key: &PublicKey) -> bool {
        self.machines_with(*key).all(|machine| self.plan.villain_of(machine).is_none())
    }

    /// The account of a number; those beyond the endowed ones do not exist at first.
    #[must_use]
    pub(crate) fn account(&self, number: usize) -> AccountId32 {
        keys().1[number % usize::from(KEYS_MAX)].public().into()
    }
}
