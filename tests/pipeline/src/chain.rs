//! A chain with one validator and many accounts.

use crate::Options;
use crate::accounts::{KEYED_MAX, in_parts, key, keyless};
use crate::meter::{Cost, timed};
use anyhow::{Context, ensure};
use cairn_ledger::{Genesis, Ledger, LedgerConfig, ProposalRequest, Signers};
use cairn_primitives::block::BLOCK_BYTES_MAX;
use cairn_primitives::{
    AccountId32, Block, Certificate, Epoch, EpochSchedule, Hash, KeyPair, Power, Proposal, PublicKey, Subject,
    TimestampMs, Validator, ValidatorIndex, ValidatorSet, View, Vote,
};
use cairn_runtime::weight::BLOCK_WEIGHT_MAX;
use cairn_runtime::{BlockLimits, FeeParameters, GenesisConfig, RulesSchedule, genesis_state};
use cairn_storage::{HistoryMode, StateConfig};
use cairn_storage_rocks::{RocksDatabase, RocksOptions};
use std::path::Path;
use std::sync::Arc;
use std::thread;

const START: TimestampMs = TimestampMs(1_700_000_000_000);
/// The hash of a chain spec that there is not.
pub(crate) const SPEC: Hash = Hash([7; 32]);
/// What each account has, in base units.
pub(crate) const ENDOWMENT: u128 = 1_000_000_000_000;
/// Heights of which the state is kept, as on a validator.
const WINDOW: u32 = 256;

/// The chain and who owns it.
pub(crate) struct Chain {
    genesis: Genesis,
    validator: KeyPair,
    set: ValidatorSet,
    /// The accounts with keys.
    keyed: Vec<AccountId32>,
    /// The keys that passes begin with, if they do not begin with none.
    signers: Option<Signers>,
}

/// Who funds the accounts that are not in the genesis state.
pub(crate) fn treasurer() -> KeyPair {
    KeyPair::from_seed(&[99; 32])
}

impl Chain {
    pub(crate) fn new(options: &Options) -> anyhow::Result<Self> {
        let validator = KeyPair::from_seed(&[1; 32]);
        let member = Validator { key: validator.public(), power: Power(1) };
        let set = ValidatorSet::new(vec![member]).context("a set of one validator")?;
        let keyed = in_parts(options.accounts.min(KEYED_MAX), |number| AccountId32::from(key(number).public()))?;
        let mut balances: Vec<_> = keyed.iter().map(|account| (*account, ENDOWMENT)).collect();
        balances.push((treasurer().public().into(), ENDOWMENT * u128::from(u32::MAX)));
        let config = GenesisConfig {
            balances,
            fees: FeeParameters::default(),
            validators: set.validators().to_vec(),
            authority: None,
        };
        let genesis = Genesis::new(genesis_state(&config)?, set.clone(), START, SPEC)?;
        let signers = options.all_signed_before.then(|| Signers::with_memory(options.signers << 20));
        if let Some(signers) = &signers {
            let meet = |place: u32| signers.point(&PublicKey(keyed.get(usize::try_from(place).ok()?)?.0));
            let met = in_parts(u32::try_from(keyed.len())?, meet)?;
            ensure!(met.iter().all(Option::is_some), "a key of our own is no point");
        }
        Ok(Self { genesis, validator, set, keyed, signers })
    }

    pub(crate) const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    pub(crate) const fn genesis_hash(&self) -> Hash {
        self.genesis.hash()
    }

    /// The account of a number.
    pub(crate) fn account(&self, number: u32) -> AccountId32 {
        let keyed = usize::try_from(number).ok().and_then(|place| self.keyed.get(place));
        keyed.copied().unwrap_or_else(|| keyless(number))
    }

    /// Runs `work` with the ledger of a directory, and with the thread that writes its checkpoints; what it takes to close
    /// both comes back with the outcome.
    pub(crate) fn with_ledger<T>(
        &self,
        path: &Path,
        options: &Options,
        work: impl FnOnce(&mut Ledger) -> anyhow::Result<T>,
    ) -> anyhow::Result<(T, Cost)> {
        let mut ledger = self.open(path, options)?;
        let checkpointer = ledger.checkpointer();
        let checkpoints = thread::spawn(move || checkpointer.run());
        let outcome = work(&mut ledger)?;
        // As long as somebody reads, the state stays in memory: giving that back is not what blocks cost.
        let reader = ledger.reader();
        let close = || {
            drop(ledger);
            Ok(checkpoints.join().map_err(|_| anyhow::anyhow!("the checkpoints ended by a panic"))??)
        };
        let ((), closing) = timed(close)?;
        drop(reader);
        Ok((outcome, closing))
    }

    fn open(&self, path: &Path, options: &Options) -> anyhow::Result<Ledger> {
        let database = RocksDatabase::open(path, RocksOptions { cache_bytes: options.block_cache << 20 })?;
        let config = LedgerConfig {
            genesis: self.genesis.clone(),
            schedule: EpochSchedule::new(0),
            rules: RulesSchedule::default(),
            spec_hash: SPEC,
            state: StateConfig::for_memory(HistoryMode::Window(WINDOW), options.state_cache << 20),
            limits: BlockLimits { bytes_max: BLOCK_BYTES_MAX / 2, weight_max: BLOCK_WEIGHT_MAX },
            signers: self.signers.clone().unwrap_or_else(|| Signers::with_memory(options.signers << 20)),
        };
        Ok(Ledger::open(Arc::new(database), config)?)
    }

    /// What consensus asks for on top of the head.
    pub(crate) fn request(&self, ledger: &Ledger) -> ProposalRequest {
        let head = ledger.reader().head();
        ProposalRequest {
            epoch: Epoch::ZERO,
            view: View(u64::from(head.height.0) + 1),
            proposer: ValidatorIndex(0),
            parent: head.hash,
            timestamp: TimestampMs(head.timestamp.0 + 1_000),
            evidence: Vec::new(),
        }
    }

    /// The certificate that makes a block final.
    pub(crate) fn finalization(&self, block: &Block) -> anyhow::Result<Certificate> {
        let context = block.header.context()?;
        let parent_view = View(context.view.0.saturating_sub(1));
        let proposal = Proposal { epoch: context.epoch, view: context.view, parent_view, block: block.header.hash() };
        let subject = Subject::Finalize(proposal);
        let signer = ValidatorIndex(0);
        let vote = Vote::sign(subject, signer, &self.validator, &self.genesis_hash());
        Ok(Certificate::from_signatures(subject, [(signer, vote.signature)], &self.set))
    }
}
