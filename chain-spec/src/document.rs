//! The document as written: one type for each JSON object, nothing checked but shape and key names.

use crate::amount::Amount;
use crate::error::SpecError;
use cairn_runtime::Rules;
use serde::{Deserialize, Serialize};

/// A chain spec longer than this is refused before it is read, in bytes: room for a million balances.
pub const DOCUMENT_BYTES_MAX: usize = 128 << 20;

/// A chain spec as people and tools write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The chain's name, for people; 1 to 64 characters.
    pub name: String,
    /// The chain's identifier, for folders and labels; 1 to 32 of `a-z`, `0-9` and `-`.
    pub id: String,
    /// Whether the chain is for development.
    pub chain_type: ChainType,
    /// The version of consensus messages and headers.
    pub protocol_version: u32,
    /// The version of the rules from block 1 on; 3, the first there was, if left out.
    #[serde(default = "first_rules")]
    pub spec_version: u32,
    /// Changes of the rules, each at a height fixed in advance; not part of the chain's identity, so that a running chain can
    /// agree on one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upgrades: Vec<UpgradeEntry>,
    /// The timestamp of the genesis block, in milliseconds since the Unix epoch.
    pub genesis_time_ms: u64,
    /// Time-outs and cadence.
    pub consensus: Consensus,
    /// Who validates from the first block on.
    pub validators: Vec<ValidatorEntry>,
    /// The account that may set validators for later epochs, as an SS58 address or in hexadecimal; nobody if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validator_authority: Option<String>,
    /// Who owns what at genesis.
    pub balances: Vec<BalanceEntry>,
    /// What transactions cost.
    pub fees: Fees,
    /// How wallets write addresses and amounts.
    pub properties: Properties,
    /// Addresses of nodes to ask first, as multiaddresses that end in `/p2p/…`; not part of the chain's identity.
    #[serde(default)]
    pub boot_nodes: Vec<String>,
}

fn first_rules() -> u32 {
    Rules::FIRST.spec_version()
}

/// A change of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpgradeEntry {
    /// The first height under the new rules, at least 2.
    pub height: u32,
    /// Their version; a binary that does not know it stops before that height.
    pub spec_version: u32,
}

/// What a chain is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChainType {
    /// For work on one's own machine: the well-known development keys are allowed.
    Development,
    /// Anything with value: development keys are refused.
    Live,
}

/// Time-outs and cadence, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consensus {
    /// The least time between a block and its child.
    pub block_interval_ms: u64,
    /// How long a leader without transactions waits before it proposes an empty block.
    pub idle_block_interval_ms: u64,
    /// How long a view waits for its leader's proposal.
    pub leader_timeout_ms: u64,
    /// How long a view waits for a certified block.
    pub certify_timeout_ms: u64,
    /// How often unanswered votes and fetches are repeated.
    pub retry_ms: u64,
    /// A leader not heard from for this long is not waited for while a quorum is heard.
    pub skip_timeout_ms: u64,
    /// Blocks in an epoch, at whose end the validators may change; 0 for a chain that keeps its first validators.
    pub epoch_length: u32,
}

/// A validator of the first epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidatorEntry {
    /// The ed25519 consensus key, in hexadecimal or as an SS58 address.
    pub key: String,
    /// The voting power, at least 1.
    pub power: u64,
}

/// What one account owns at genesis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BalanceEntry {
    /// The account, as an SS58 address or in hexadecimal.
    pub account: String,
    /// What it owns, in base units.
    pub amount: Amount,
}

/// What transactions cost, in base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fees {
    /// What every transaction pays.
    pub base: Amount,
    /// What each byte of a transaction adds.
    pub per_byte: Amount,
    /// What each microsecond of a transaction's weight adds.
    pub per_microsecond: Amount,
    /// The share of every fee that is burnt, in thousandths; the proposer gets the rest and the tip.
    pub burnt_permille: u16,
}

/// How wallets write addresses and amounts; the names are those that clients ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Properties {
    /// The prefix of SS58 addresses.
    #[serde(rename = "ss58Format")]
    pub ss58_format: u16,
    /// How many decimals separate the token from its base unit.
    #[serde(rename = "tokenDecimals")]
    pub token_decimals: u8,
    /// The token's symbol.
    #[serde(rename = "tokenSymbol")]
    pub token_symbol: String,
}

impl Document {
    /// Reads a document; shape and names must fit, nothing else is checked yet.
    ///
    /// # Errors
    /// The text is too long, not JSON, or has a key or a value that does not belong; the error names its JSON path.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        if text.len() > DOCUMENT_BYTES_MAX {
            return Err(SpecError::TooLarge { actual: text.len(), limit: DOCUMENT_BYTES_MAX });
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let document = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| SpecError::shape(&error))?;
        deserializer.end().map_err(|error| SpecError::syntax(&error))?;
        Ok(document)
    }

    /// The document as JSON text, indented, with a final line break.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("the document has string keys and no failing parts");
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests;
