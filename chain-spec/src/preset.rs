//! Ready-made chains for one's own machine.

use crate::amount::Amount;
use crate::development;
use crate::document::{BalanceEntry, ChainType, Consensus, Document, Fees, Properties, ValidatorEntry};
use crate::spec::ChainSpec;
use cairn_primitives::AccountId32;
use cairn_primitives::account::SS58_PREFIX_DEFAULT;
use cairn_primitives::header::PROTOCOL_VERSION;
use cairn_runtime::Rules;

/// The most validators of [`ChainSpec::local`]: more processes than one machine runs.
pub const LOCAL_VALIDATORS_MAX: u16 = 20;

/// 2025-10-09T08:53:20Z. A fixed time, so that every start of a preset is the same chain.
const GENESIS_TIME_MS: u64 = 1_760_000_000_000;

/// Decimals of the presets' token.
const TOKEN_DECIMALS: u8 = 12;

/// What each development account owns: a million tokens, in base units.
const DEVELOPMENT_BALANCE: u128 = 1_000_000_000_000_000_000;

/// Why there is no such preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a local chain of {0} validators is not possible: use 1 to {LOCAL_VALIDATORS_MAX}")]
pub struct PresetError(u16);

impl ChainSpec {
    /// One validator, Alice, and blocks at once.
    #[must_use]
    pub fn dev() -> Self {
        preset("Cairn Development", "dev", 1, 0)
    }

    /// A chain of `validators` equal validators on one machine: Alice, Bob, Charlie and so on.
    ///
    /// # Errors
    /// None, or more than [`LOCAL_VALIDATORS_MAX`].
    pub fn local(validators: u16) -> Result<Self, PresetError> {
        if !(1..=LOCAL_VALIDATORS_MAX).contains(&validators) {
            return Err(PresetError(validators));
        }
        Ok(preset(&format!("Cairn Local {validators}"), &format!("local{validators}"), validators, 20))
    }
}

fn preset(name: &str, id: &str, validators: u16, block_interval_ms: u64) -> ChainSpec {
    let account = |number| AccountId32::from(development::key_pair(&development::name(number)).public());
    let funded = validators.max(6);
    let document = Document {
        name: name.to_owned(),
        id: id.to_owned(),
        chain_type: ChainType::Development,
        protocol_version: PROTOCOL_VERSION,
        spec_version: Rules::NEWEST.spec_version(),
        upgrades: Vec::new(),
        genesis_time_ms: GENESIS_TIME_MS,
        consensus: Consensus {
            block_interval_ms,
            idle_block_interval_ms: 1_000,
            leader_timeout_ms: 1_000,
            certify_timeout_ms: 2_000,
            retry_ms: 1_000,
            skip_timeout_ms: 5_000,
            epoch_length: 0,
        },
        validators: (1..=validators)
            .map(|number| ValidatorEntry { key: format!("0x{}", hex::encode(account(number).0)), power: 1 })
            .collect(),
        validator_authority: None,
        balances: (1..=funded)
            .map(account)
            .chain(development::NAMES.map(|name| AccountId32(development::sr25519_pair(name).public())))
            .map(|account| BalanceEntry {
                account: account.to_ss58(SS58_PREFIX_DEFAULT),
                amount: Amount(DEVELOPMENT_BALANCE),
            })
            .collect(),
        fees: Fees {
            base: Amount(1_000_000),
            per_byte: Amount(10_000),
            per_microsecond: Amount(10_000),
            burnt_permille: 500,
        },
        properties: Properties {
            ss58_format: SS58_PREFIX_DEFAULT,
            token_decimals: TOKEN_DECIMALS,
            token_symbol: "CRN".to_owned(),
        },
        boot_nodes: Vec::new(),
    };
    document.check().expect("every preset passes its checks: a test builds them all")
}
