//! The genesis block: what all nodes of a chain must agree on before the first vote.

use crate::error::LedgerError;
use cairn_primitives::header::{ConsensusContext, DigestItem, PROTOCOL_VERSION};
use cairn_primitives::light::TrustAnchor;
use cairn_primitives::list_tree::{self, ListAccumulator};
use cairn_primitives::{
    Block, Body, Epoch, EpochSchedule, Hash, Header, Height, TimestampMs, ValidatorIndex, ValidatorSet, View,
};
use cairn_runtime::{EventRecord, next_validators};
use cairn_storage::blocks::{self, ChainIdentity};
use cairn_storage::{Database, Durability, MemoryDatabase, StateConfig, StateStore, WriteBatch};
use parity_scale_codec::Encode;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The block at height 0 with the state it stands for.
#[derive(Clone, Debug)]
pub struct Genesis {
    block: Block,
    hash: Hash,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    validators: ValidatorSet,
}

impl Genesis {
    /// Builds the block: its header commits to the state, the validators, the time and, in a digest item, to the chain
    /// spec as a whole.
    ///
    /// # Errors
    /// The state holds an empty value or cannot be hashed, or its validators are not `validators`.
    pub fn new(
        state: BTreeMap<Vec<u8>, Vec<u8>>,
        validators: ValidatorSet,
        timestamp: TimestampMs,
        spec_hash: Hash,
    ) -> Result<Self, LedgerError> {
        let next = next_validators(&state).map_err(|error| LedgerError::Genesis(error.to_string()))?;
        if next != validators {
            return Err(LedgerError::Genesis("the state holds other validators than those of the first epoch".into()));
        }
        let scratch = StateStore::open(Arc::new(MemoryDatabase::default()), StateConfig::default())?;
        let changes = state.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        let state_root = scratch.overlay(None, changes)?.root();
        let nothing: [&[u8]; 0] = [];
        let context = ConsensusContext {
            protocol_version: PROTOCOL_VERSION,
            epoch: Epoch::ZERO,
            view: View::ZERO,
            proposer: ValidatorIndex(0),
            timestamp,
            events_root: list_tree::root(nothing),
            history_root: ListAccumulator::default().root(),
            validators_hash: validators.hash(),
            next_validators_hash: validators.hash(),
        };
        let mut header = Header::new(Hash::ZERO, Height::ZERO, state_root, list_tree::root(nothing), &context);
        header.digest.push(DigestItem::Other(spec_hash.0.to_vec()));
        let hash = header.hash();
        Ok(Self { block: Block { header, extrinsics: Body::default() }, hash, state, validators })
    }

    /// The hash that names the chain.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// The block.
    #[must_use]
    pub const fn block(&self) -> &Block {
        &self.block
    }

    /// What proofs from genesis on begin with.
    #[must_use]
    pub fn trust_anchor(&self, schedule: EpochSchedule) -> TrustAnchor {
        TrustAnchor::new(self.hash(), self.validators().clone()).with_schedule(schedule)
    }

    /// The validators of the first epoch.
    #[must_use]
    pub const fn validators(&self) -> &ValidatorSet {
        &self.validators
    }

    pub(crate) const fn state(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.state
    }
}

/// Adds the genesis block and what belongs to it, and makes the database one of its chain.
pub(crate) fn put_genesis(batch: &mut WriteBatch, genesis: &Genesis, spec_hash: Hash) {
    let hash = genesis.hash();
    blocks::put_block(batch, &hash, genesis.block());
    blocks::put_events(batch, Height::ZERO, Vec::<EventRecord>::new().encode());
    blocks::put_validator_set(batch, Epoch::ZERO, genesis.validators());
    blocks::put_chain_identity(batch, &ChainIdentity { genesis_hash: hash, spec_hash });
}

/// Makes the genesis block the first committed one of an empty database.
pub(crate) fn write_genesis(
    database: &dyn Database,
    state: &mut StateStore,
    genesis: &Genesis,
    spec_hash: Hash,
) -> Result<(), LedgerError> {
    let changes = genesis.state().iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
    let overlay = state.overlay(None, changes)?;
    let mut batch = WriteBatch::new();
    put_genesis(&mut batch, genesis, spec_hash);
    let (hash, history) = (genesis.hash(), ListAccumulator::default());
    blocks::put_head(&mut batch, &blocks::Head { height: Height::ZERO, hash, state_root: overlay.root(), history });
    let staged = state.stage(&overlay, Height::ZERO, &mut batch)?;
    database.write(batch, Durability::Synced)?;
    state.apply(staged);
    Ok(())
}
