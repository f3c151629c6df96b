//! The checked chain spec and what the core takes from it.

use crate::document::{ChainType, Consensus, Document, Fees, Properties};
use crate::error::SpecError;
use cairn_primitives::hash::sha256_concat;
use cairn_primitives::{AccountId32, EpochSchedule, Hash, TimestampMs, ValidatorSet};
use cairn_runtime::{FeeParameters, GenesisConfig, Rules, RulesSchedule};
use parity_scale_codec::{Compact, Encode};

/// The domain tag of [`ChainSpec::spec_hash`]; a change of the encoding below changes it.
const SPEC_DOMAIN: &[u8] = b"cairn/chain-spec/2";

/// A chain spec that was checked as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainSpec {
    document: Document,
    rules: RulesSchedule,
    validators: ValidatorSet,
    authority: Option<AccountId32>,
    /// Sorted by account, each once.
    balances: Vec<(AccountId32, u128)>,
}

impl ChainSpec {
    pub(crate) const fn new(
        document: Document,
        rules: RulesSchedule,
        validators: ValidatorSet,
        authority: Option<AccountId32>,
        balances: Vec<(AccountId32, u128)>,
    ) -> Self {
        Self { document, rules, validators, authority, balances }
    }

    /// Reads and checks a chain spec.
    ///
    /// # Errors
    /// The text is not JSON, has keys or values that do not belong, or breaks rules; all broken rules are reported.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        Document::parse(text)?.check()
    }

    /// The document as it was written.
    #[must_use]
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// The document as JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.document.to_json()
    }

    /// The chain's name, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.document.name
    }

    /// The chain's identifier, for folders and labels.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.document.id
    }

    /// Whether the well-known development keys may be used on this chain.
    #[must_use]
    pub const fn is_development(&self) -> bool {
        matches!(self.document.chain_type, ChainType::Development)
    }

    /// The timestamp of the genesis block.
    #[must_use]
    pub const fn genesis_time(&self) -> TimestampMs {
        TimestampMs(self.document.genesis_time_ms)
    }

    /// Time-outs and cadence.
    #[must_use]
    pub const fn consensus(&self) -> &Consensus {
        &self.document.consensus
    }

    /// What transactions cost.
    #[must_use]
    pub const fn fees(&self) -> &Fees {
        &self.document.fees
    }

    /// How wallets write addresses and amounts.
    #[must_use]
    pub const fn properties(&self) -> &Properties {
        &self.document.properties
    }

    /// The validators of the first epoch.
    #[must_use]
    pub const fn validator_set(&self) -> &ValidatorSet {
        &self.validators
    }

    /// The account that may set validators for later epochs.
    #[must_use]
    pub const fn validator_authority(&self) -> Option<&AccountId32> {
        self.authority.as_ref()
    }

    /// Which heights belong to which epoch.
    #[must_use]
    pub const fn epoch_schedule(&self) -> EpochSchedule {
        EpochSchedule::new(self.document.consensus.epoch_length)
    }

    /// Which rules hold at which height.
    #[must_use]
    pub fn rules(&self) -> RulesSchedule {
        self.rules.clone()
    }

    /// Who owns what at genesis, sorted by account.
    #[must_use]
    pub fn balances(&self) -> &[(AccountId32, u128)] {
        &self.balances
    }

    /// What the runtime builds its first state from.
    #[must_use]
    pub fn genesis_config(&self) -> GenesisConfig {
        let Fees { base, per_byte, per_microsecond, burnt_permille } = self.document.fees;
        GenesisConfig {
            balances: self.balances.clone(),
            fees: FeeParameters {
                base: base.0,
                per_byte: per_byte.0,
                per_microsecond: per_microsecond.0,
                burnt_permille,
            },
            validators: self.validators.validators().to_vec(),
            authority: self.authority,
        }
    }

    /// Addresses of nodes to ask first.
    #[must_use]
    pub fn boot_nodes(&self) -> &[String] {
        &self.document.boot_nodes
    }

    /// SHA-256 over a domain tag and the SCALE encoding of everything but the boot nodes and the changes of the rules.
    ///
    /// The same for two documents that mean the same: the order of validators and balances and the way keys are written do
    /// not count.
    #[must_use]
    pub fn spec_hash(&self) -> Hash {
        sha256_concat(&[SPEC_DOMAIN, &self.identity()])
    }

    /// What the spec hash is over. Every part of the document is taken apart here by name, so that the compiler asks for a
    /// decision when one is added.
    fn identity(&self) -> Vec<u8> {
        let Document {
            name,
            id,
            chain_type,
            protocol_version,
            spec_version,
            upgrades: _, // not part of the identity
            genesis_time_ms,
            consensus,
            validators: _,          // as the sorted set
            validator_authority: _, // as the account
            balances: _,            // as the sorted list
            fees,
            properties,
            boot_nodes: _, // not part of the identity
        } = &self.document;
        let chain_type = match chain_type {
            ChainType::Development => 0u8,
            ChainType::Live => 1u8,
        };
        let Consensus {
            block_interval_ms,
            idle_block_interval_ms,
            leader_timeout_ms,
            certify_timeout_ms,
            retry_ms,
            skip_timeout_ms,
            epoch_length,
        } = consensus;
        let Fees { base, per_byte, per_microsecond, burnt_permille } = fees;
        let Properties { ss58_format, token_decimals, token_symbol } = properties;
        let mut bytes = (name, id, chain_type, protocol_version, genesis_time_ms).encode();
        (block_interval_ms, idle_block_interval_ms, leader_timeout_ms, certify_timeout_ms).encode_to(&mut bytes);
        (retry_ms, skip_timeout_ms, epoch_length).encode_to(&mut bytes);
        self.validators.encode_to(&mut bytes);
        self.authority.encode_to(&mut bytes);
        let balances: Vec<_> = self.balances.iter().map(|(account, amount)| (account, Compact(*amount))).collect();
        balances.encode_to(&mut bytes);
        (base.0, per_byte.0, per_microsecond.0, burnt_permille).encode_to(&mut bytes);
        (ss58_format, token_decimals, token_symbol).encode_to(&mut bytes);
        // Chains older than the second rules do not name the first.
        if *spec_version != Rules::FIRST.spec_version() {
            spec_version.encode_to(&mut bytes);
        }
        bytes
    }
}

#[cfg(test)]
mod tests;
