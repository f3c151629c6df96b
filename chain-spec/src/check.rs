//! The rules a document must keep to be a chain; all broken ones are reported at once.

use crate::development;
use crate::document::{ChainType, Consensus, Document, Fees, Properties, UpgradeEntry, ValidatorEntry};
use crate::error::{Issue, SpecError};
use crate::preset::LOCAL_VALIDATORS_MAX;
use crate::spec::ChainSpec;
use cairn_primitives::account::SS58_PREFIX_MAX;
use cairn_primitives::header::PROTOCOL_VERSION;
use cairn_primitives::validator::VALIDATORS_MAX;
use cairn_primitives::{AccountId32, Height, Power, PublicKey, Validator, ValidatorSet};
use cairn_runtime::{EXISTENTIAL_DEPOSIT, Rules, RulesSchedule, Upgrade};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::RangeInclusive;

/// The most accounts a chain may begin with: the genesis state is built in memory.
const BALANCES_MAX: usize = 1_000_000;
/// The most boot nodes: more than anyone asks.
const BOOT_NODES_MAX: usize = 64;
/// The most changes of the rules: more than a chain has in its life.
const UPGRADES_MAX: usize = 256;
/// The longest multiaddress, in bytes.
const BOOT_NODE_BYTES_MAX: usize = 256;
/// The longest time-out or interval, in milliseconds: ten minutes; back-off multiplies it.
const INTERVAL_MS_MAX: u64 = 600_000;
/// The shortest repetition of votes, in milliseconds: less would flood the network.
const RETRY_MS_MIN: u64 = 10;
/// The shortest epoch of a live chain, in blocks: each one ends with a pause in which its last block is made final.
const EPOCH_LENGTH_LIVE_MIN: u32 = 10;
/// The last millisecond of the year 9999.
const GENESIS_TIME_MS_MAX: u64 = 253_402_300_799_999;
/// The largest price of a byte or a microsecond: what the runtime's arithmetic is made for.
const PRICE_MAX: u128 = u64::MAX as u128;
/// The largest sum of all balances: leaves room above it for every sum of two.
const ISSUANCE_MAX: u128 = u128::MAX / 4;
/// 10^38 is the largest power of ten below 2^128.
const TOKEN_DECIMALS_MAX: u8 = 38;

/// The issues found so far.
#[derive(Default)]
struct Issues(Vec<Issue>);

impl Issues {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Issue { path: format!("$.{}", path.into()), message: message.into() });
    }

    fn check_range<T: PartialOrd + Display>(&mut self, path: &str, value: T, range: RangeInclusive<T>) {
        if !range.contains(&value) {
            self.add(path, format!("{value} is out of range: use {} to {}", range.start(), range.end()));
        }
    }
}

impl Document {
    /// Checks the document as a whole.
    ///
    /// # Errors
    /// [`SpecError::Invalid`] with every issue found.
    pub fn check(&self) -> Result<ChainSpec, SpecError> {
        let mut issues = Issues::default();
        check_names(self, &mut issues);
        let rules = check_rules(self, &mut issues);
        check_consensus(&self.consensus, &mut issues);
        check_epoch_length(self, &mut issues);
        check_fees(&self.fees, &mut issues);
        check_properties(&self.properties, &mut issues);
        check_boot_nodes(&self.boot_nodes, &mut issues);
        let validators = check_validators(self, &mut issues);
        let authority = check_authority(self, &mut issues);
        let balances = check_balances(self, &mut issues);
        match validators.zip(rules) {
            Some((validators, rules)) if issues.0.is_empty() => {
                Ok(ChainSpec::new(self.clone(), rules, validators, authority, balances))
            }
            _ => Err(SpecError::Invalid(issues.0)),
        }
    }
}

fn check_names(document: &Document, issues: &mut Issues) {
    let name = &document.name;
    if !(1..=64).contains(&name.chars().count()) || name.chars().any(char::is_control) || name.trim() != name {
        issues.add("name", "must have 1 to 64 printable characters, no blank at either end");
    }
    let is_id = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=32).contains(&document.id.len()) || !document.id.bytes().all(is_id) {
        issues.add("id", "must have 1 to 32 characters out of a-z, 0-9 and -");
    }
    if document.protocol_version != PROTOCOL_VERSION {
        let actual = document.protocol_version;
        issues.add("protocol_version", format!("{actual} is not known to this binary: use {PROTOCOL_VERSION}"));
    }
    issues.check_range("genesis_time_ms", document.genesis_time_ms, 1..=GENESIS_TIME_MS_MAX);
}

/// The rules from the first block on must be known; those of a later change need not be.
fn check_rules(document: &Document, issues: &mut Issues) -> Option<RulesSchedule> {
    let first = Rules::from_spec_version(document.spec_version);
    if first.is_none() {
        let message = format!(
            "{} is not known to this binary: use {} to {}, or a binary that knows it",
            document.spec_version,
            Rules::FIRST.spec_version(),
            Rules::NEWEST.spec_version()
        );
        issues.add("spec_version", message);
    }
    let entries = &document.upgrades;
    if entries.len() > UPGRADES_MAX {
        issues.add("upgrades", format!("{} changes of the rules, at most {UPGRADES_MAX} are allowed", entries.len()));
    }
    let (mut height, mut version) = (1, document.spec_version);
    for (position, entry) in entries.iter().enumerate() {
        if entry.height <= height {
            let message = format!("{} is not above {height}, where the rules before begin: raise it", entry.height);
            issues.add(format!("upgrades[{position}].height"), message);
        }
        if entry.spec_version <= version {
            let message = format!("{} is not above {version}, the rules before: raise it", entry.spec_version);
            issues.add(format!("upgrades[{position}].spec_version"), message);
        }
        (height, version) = (entry.height, entry.spec_version);
    }
    let upgrade = |entry: &UpgradeEntry| Upgrade { height: Height(entry.height), spec_version: entry.spec_version };
    Some(RulesSchedule::new(first?, entries.iter().map(upgrade).collect()))
}

fn check_consensus(consensus: &Consensus, issues: &mut Issues) {
    issues.check_range("consensus.block_interval_ms", consensus.block_interval_ms, 0..=INTERVAL_MS_MAX);
    issues.check_range("consensus.idle_block_interval_ms", consensus.idle_block_interval_ms, 1..=INTERVAL_MS_MAX);
    issues.check_range("consensus.leader_timeout_ms", consensus.leader_timeout_ms, 1..=INTERVAL_MS_MAX);
    issues.check_range("consensus.certify_timeout_ms", consensus.certify_timeout_ms, 2..=INTERVAL_MS_MAX);
    issues.check_range("consensus.retry_ms", consensus.retry_ms, RETRY_MS_MIN..=INTERVAL_MS_MAX);
    issues.check_range("consensus.skip_timeout_ms", consensus.skip_timeout_ms, 1..=INTERVAL_MS_MAX);
    let Consensus { block_interval_ms, idle_block_interval_ms, leader_timeout_ms, certify_timeout_ms, .. } = *consensus;
    if idle_block_interval_ms < block_interval_ms {
        let message = format!("{idle_block_interval_ms} is below block_interval_ms ({block_interval_ms}): raise it");
        issues.add("consensus.idle_block_interval_ms", message);
    }
    if certify_timeout_ms <= leader_timeout_ms {
        let message = format!("{certify_timeout_ms} is not above leader_timeout_ms ({leader_timeout_ms}): raise it");
        issues.add("consensus.certify_timeout_ms", message);
    }
    let quiet_ms = idle_block_interval_ms.max(leader_timeout_ms);
    if consensus.skip_timeout_ms <= quiet_ms {
        let message = format!(
            "{} is not above idle_block_interval_ms and leader_timeout_ms (up to {quiet_ms}): leaders of an idle chain \
             would be skipped; raise it",
            consensus.skip_timeout_ms
        );
        issues.add("consensus.skip_timeout_ms", message);
    }
}

fn check_epoch_length(document: &Document, issues: &mut Issues) {
    let length = document.consensus.epoch_length;
    if document.chain_type == ChainType::Live && (1..EPOCH_LENGTH_LIVE_MIN).contains(&length) {
        let message = format!(
            "{length} is too short for a live chain, which pauses at the end of each epoch: use \
             {EPOCH_LENGTH_LIVE_MIN} or more, or 0 to keep the first validators"
        );
        issues.add("consensus.epoch_length", message);
    }
}

fn check_fees(fees: &Fees, issues: &mut Issues) {
    issues.check_range("fees.base", fees.base.0, 0..=PRICE_MAX);
    issues.check_range("fees.per_byte", fees.per_byte.0, 0..=PRICE_MAX);
    issues.check_range("fees.per_microsecond", fees.per_microsecond.0, 0..=PRICE_MAX);
    issues.check_range("fees.burnt_permille", fees.burnt_permille, 0..=1_000);
}

fn check_properties(properties: &Properties, issues: &mut Issues) {
    issues.check_range("properties.ss58Format", properties.ss58_format, 0..=SS58_PREFIX_MAX);
    issues.check_range("properties.tokenDecimals", properties.token_decimals, 0..=TOKEN_DECIMALS_MAX);
    let symbol = &properties.token_symbol;
    if !(1..=12).contains(&symbol.len()) || !symbol.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        issues.add("properties.tokenSymbol", "must have 1 to 12 letters or digits");
    }
}

fn check_boot_nodes(boot_nodes: &[String], issues: &mut Issues) {
    if boot_nodes.len() > BOOT_NODES_MAX {
        issues.add("boot_nodes", format!("{} addresses, at most {BOOT_NODES_MAX} are allowed", boot_nodes.len()));
    }
    for (position, address) in boot_nodes.iter().enumerate() {
        let peer = address.rsplit_once("/p2p/").map(|(transport, peer)| (transport.starts_with('/'), peer));
        let is_complete = matches!(peer, Some((true, peer)) if !peer.is_empty() && !peer.contains('/'));
        if address.len() > BOOT_NODE_BYTES_MAX || !is_complete {
            let message = "must be a multiaddress that ends in the peer id, such as /ip4/10.0.0.1/tcp/30333/p2p/12D3…";
            issues.add(format!("boot_nodes[{position}]"), message);
        }
    }
}

fn check_validators(document: &Document, issues: &mut Issues) -> Option<ValidatorSet> {
    let entries = &document.validators;
    if entries.is_empty() || entries.len() > VALIDATORS_MAX {
        issues.add("validators", format!("{} validators: use 1 to {VALIDATORS_MAX}", entries.len()));
        return None;
    }
    let forbidden = forbidden_keys(document.chain_type);
    let mut seen = BTreeMap::new();
    let mut validators = Vec::with_capacity(entries.len());
    for (position, ValidatorEntry { key: text, power }) in entries.iter().enumerate() {
        let path = format!("validators[{position}]");
        if *power == 0 {
            issues.add(format!("{path}.power"), "0 is out of range: a validator needs a power of at least 1");
        }
        let key = match parse_account(text, document.properties.ss58_format) {
            Ok(account) => PublicKey(account.0),
            Err(message) => {
                issues.add(format!("{path}.key"), message);
                continue;
            }
        };
        if key.is_weak() {
            issues.add(
                format!("{path}.key"),
                "is no ed25519 key, or one in whose name anyone can sign: generate another",
            );
        }
        if forbidden.contains(&key) {
            issues.add(format!("{path}.key"), "is a development key, whose secret everyone knows: generate another");
        }
        if let Some(first) = seen.insert(key, position) {
            issues.add(format!("{path}.key"), format!("is the key of validators[{first}] too: remove one"));
        }
        validators.push(Validator { key, power: Power(*power) });
    }
    if validators.len() < entries.len() {
        return None;
    }
    match ValidatorSet::new(validators) {
        Ok(set) => Some(set),
        Err(error) => {
            // Twins and powerless members were reported with their place; what is left concerns the sum.
            if issues.0.iter().all(|issue| !issue.path.starts_with("$.validators")) {
                issues.add("validators", error.to_string());
            }
            None
        }
    }
}

fn check_authority(document: &Document, issues: &mut Issues) -> Option<AccountId32> {
    let text = document.validator_authority.as_ref()?;
    let path = "validator_authority";
    match parse_account(text, document.properties.ss58_format) {
        Err(message) => {
            issues.add(path, message);
            None
        }
        Ok(account) => {
            if forbidden_keys(document.chain_type).contains(&PublicKey(account.0)) {
                issues.add(path, "is a development account, whose secret everyone knows: name another");
            }
            if document.consensus.epoch_length == 0 {
                let message = "sets validators for the next epoch, but the only epoch has no end: set \
                               consensus.epoch_length above 0, or remove it";
                issues.add(path, message);
            }
            Some(account)
        }
    }
}

fn check_balances(document: &Document, issues: &mut Issues) -> Vec<(AccountId32, u128)> {
    let entries = &document.balances;
    if entries.len() > BALANCES_MAX {
        issues.add("balances", format!("{} accounts, at most {BALANCES_MAX} are allowed", entries.len()));
        return Vec::new();
    }
    let forbidden = forbidden_keys(document.chain_type);
    let mut balances = BTreeMap::new();
    let mut total = Some(0u128);
    for (position, entry) in entries.iter().enumerate() {
        let path = format!("balances[{position}]");
        if entry.amount.0 < EXISTENTIAL_DEPOSIT {
            let message =
                format!("{} is below what an account must hold ({EXISTENTIAL_DEPOSIT}): raise it", entry.amount);
            issues.add(format!("{path}.amount"), message);
        }
        total = total.and_then(|total| total.checked_add(entry.amount.0)).filter(|total| *total <= ISSUANCE_MAX);
        match parse_account(&entry.account, document.properties.ss58_format) {
            Err(message) => issues.add(format!("{path}.account"), message),
            Ok(account) if forbidden.contains(&PublicKey(account.0)) => {
                issues
                    .add(format!("{path}.account"), "is a development account, whose secret everyone knows: remove it");
            }
            Ok(account) => {
                if balances.insert(account, entry.amount.0).is_some() {
                    issues.add(format!("{path}.account"), "is listed twice: add the amounts up in one entry");
                }
            }
        }
    }
    if total.is_none() {
        issues.add("balances", format!("the amounts add up to more than {ISSUANCE_MAX}: lower them"));
    }
    balances.into_iter().collect()
}

/// The keys that a chain of this type must not use.
fn forbidden_keys(chain_type: ChainType) -> BTreeSet<PublicKey> {
    match chain_type {
        ChainType::Development => BTreeSet::new(),
        ChainType::Live => (1..=LOCAL_VALIDATORS_MAX)
            .map(|number| development::key_pair(&development::name(number)).public())
            .collect(),
    }
}

/// Reads 32 bytes from hexadecimal or from an SS58 address with the chain's prefix.
fn parse_account(text: &str, ss58_format: u16) -> Result<AccountId32, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let mut bytes = [0; 32];
    if digits.len() == 64 && hex::decode_to_slice(digits, &mut bytes).is_ok() {
        return Ok(AccountId32(bytes));
    }
    AccountId32::from_ss58(text, ss58_format)
        .map_err(|error| format!("{error}; use 64 hexadecimal digits or an SS58 address"))
}

#[cfg(test)]
mod tests;
