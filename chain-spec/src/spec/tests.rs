use crate::{
    Amount, BalanceEntry, ChainSpec, ChainType, Consensus, Document, Fees, LOCAL_VALIDATORS_MAX, Properties,
    UpgradeEntry, ValidatorEntry, development,
};
use cairn_primitives::{AccountId32, Hash, Height};
use cairn_runtime::{EXISTENTIAL_DEPOSIT, Rules, RulesSchedule, genesis_state};

fn local() -> Document {
    ChainSpec::local(4).unwrap().document().clone()
}

fn hash(document: &Document) -> Hash {
    document.check().unwrap().spec_hash()
}

#[test]
fn presets_all_pass_their_checks() {
    assert_eq!(ChainSpec::dev().validator_set().len(), 1);
    for validators in 1..=LOCAL_VALIDATORS_MAX {
        let spec = ChainSpec::local(validators).unwrap();
        assert_eq!(spec.validator_set().len(), usize::from(validators));
        assert_eq!(spec.balances().len(), usize::from(validators.max(6)) + 6, "as wallets have them too");
        assert!(spec.is_development());
    }
    for validators in [0, LOCAL_VALIDATORS_MAX + 1] {
        assert!(ChainSpec::local(validators).unwrap_err().to_string().contains("use 1 to 20"));
    }
}

#[test]
fn preset_validators_are_the_development_accounts_in_order() {
    let spec = ChainSpec::local(7).unwrap();
    for name in ["Alice", "Bob", "Charlie", "Dave", "Eve", "Ferdie", "Validator7"] {
        let key = development::key_pair(name).public();
        assert!(spec.validator_set().index_of(&key).is_some(), "{name}");
        assert!(spec.balances().iter().any(|(account, _)| *account == AccountId32::from(key)), "{name}");
    }
}

#[test]
fn presets_have_a_genesis_state_that_holds_their_balances() {
    let spec = ChainSpec::local(4).unwrap();
    let config = spec.genesis_config();
    assert_eq!(config.balances, spec.balances());
    let state = genesis_state(&config).unwrap();
    for (account, amount) in spec.balances() {
        let stored = state.get(&cairn_runtime::keys::system_account(account)[..]).unwrap();
        assert!(stored.windows(16).any(|bytes| bytes == amount.to_le_bytes()), "{account:?}");
    }
}

#[test]
fn spec_hash_encoding_is_pinned() {
    let account = |number: u8| hex::encode([number; 32]);
    let document = Document {
        name: "N".to_owned(),
        id: "n".to_owned(),
        chain_type: ChainType::Live,
        protocol_version: 1,
        spec_version: 3,
        upgrades: Vec::new(),
        genesis_time_ms: 2,
        consensus: Consensus {
            block_interval_ms: 3,
            idle_block_interval_ms: 4,
            leader_timeout_ms: 5,
            certify_timeout_ms: 6,
            retry_ms: 10,
            skip_timeout_ms: 11,
            epoch_length: 12,
        },
        validators: vec![ValidatorEntry {
            key: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a".to_owned(),
            power: 7,
        }],
        validator_authority: Some(account(3)),
        balances: vec![
            BalanceEntry { account: account(2), amount: Amount(1 << 40) },
            BalanceEntry { account: account(1), amount: Amount(EXISTENTIAL_DEPOSIT) },
        ],
        fees: Fees { base: Amount(12), per_byte: Amount(13), per_microsecond: Amount(14), burnt_permille: 15 },
        properties: Properties { ss58_format: 42, token_decimals: 12, token_symbol: "T".to_owned() },
        boot_nodes: Vec::new(),
    };
    // SHA-256 over the tag and the fields in SCALE, computed apart from this code.
    assert_eq!(hash(&document).to_string(), "0xea9d17a84c3fec375e8066c52bf30779667f6067cb4edea92365508d404f429d");
}

#[test]
fn spec_hash_does_not_depend_on_boot_nodes_order_or_notation() {
    let document = local();
    let expected = hash(&document);
    let changes: [fn(&mut Document); 4] = [
        |document| document.boot_nodes.push("/ip4/10.0.0.1/tcp/30333/p2p/12D3KooW".to_owned()),
        |document| document.validators.reverse(),
        |document| document.balances.reverse(),
        |document| document.validators[0].key = document.validators[0].key.trim_start_matches("0x").to_uppercase(),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut changed = document.clone();
        change(&mut changed);
        assert_ne!(changed, document, "change {number}");
        assert_eq!(hash(&changed), expected, "change {number}");
    }
}

#[test]
fn spec_hash_covers_everything_else() {
    let changes: [fn(&mut Document); 24] = [
        |document| document.name.push('x'),
        |document| document.id.push('x'),
        |document| document.genesis_time_ms += 1,
        |document| document.consensus.block_interval_ms += 1,
        |document| document.consensus.idle_block_interval_ms += 1,
        |document| document.consensus.leader_timeout_ms += 1,
        |document| document.consensus.certify_timeout_ms += 1,
        |document| document.consensus.retry_ms += 1,
        |document| document.consensus.skip_timeout_ms += 1,
        |document| document.consensus.epoch_length += 1,
        |document| {
            document.consensus.epoch_length = 2;
            document.validator_authority = Some(hex::encode([9; 32]));
        },
        |document| document.validators[0].power += 1,
        |document| document.validators.truncate(3),
        |document| {
            let key = hex::encode(development::key_pair("Validator9").public().0);
            document.validators.push(ValidatorEntry { key, power: 1 });
        },
        |document| document.balances[0].amount.0 += 1,
        |document| document.balances.truncate(5),
        |document| {
            let account = hex::encode([9; 32]);
            document.balances.push(BalanceEntry { account, amount: Amount(1 << 40) });
        },
        |document| document.fees.base.0 += 1,
        |document| document.fees.per_byte.0 += 1,
        |document| document.fees.per_microsecond.0 += 1,
        |document| document.fees.burnt_permille += 1,
        |document| {
            document.properties.ss58_format = 7;
            for entry in &mut document.balances {
                let account = AccountId32::from_ss58(&entry.account, 42).unwrap();
                entry.account = account.to_ss58(7);
            }
        },
        |document| document.properties.token_decimals += 1,
        |document| document.properties.token_symbol.push('X'),
    ];
    let mut seen = vec![hash(&local())];
    for (number, change) in changes.iter().enumerate() {
        let mut document = local();
        change(&mut document);
        let hash = hash(&document);
        assert!(!seen.contains(&hash), "change {number}");
        seen.push(hash);
    }
}

#[test]
fn spec_hash_covers_the_chain_type() {
    let mut document = local();
    let key = |number: u8| hex::encode(cairn_primitives::KeyPair::from_seed(&[number; 32]).public().0);
    document.validators = vec![ValidatorEntry { key: key(1), power: 1 }];
    document.balances.clear();
    let development = hash(&document);
    document.chain_type = ChainType::Live;
    assert_ne!(hash(&document), development);
}

#[test]
fn spec_hash_is_that_of_the_rules_at_the_start_and_of_no_later_ones() {
    let mut document = local();
    let newest = hash(&document);
    document.upgrades = vec![UpgradeEntry { height: 9, spec_version: 1_000 }];
    assert_eq!(hash(&document), newest);
    document.spec_version = 3;
    assert_ne!(hash(&document), newest);
    let mut json: serde_json::Value = serde_json::from_str(&document.to_json()).unwrap();
    json.as_object_mut().unwrap().remove("spec_version");
    assert_eq!(Document::parse(&json.to_string()).unwrap(), document, "left out, it is the first");
}

#[test]
fn rules_of_a_chain_are_those_of_its_document() {
    let mut document = local();
    assert_eq!(document.check().unwrap().rules(), RulesSchedule::default());
    document.spec_version = 3;
    document.upgrades = vec![UpgradeEntry { height: 9, spec_version: 4 }];
    let rules = document.check().unwrap().rules();
    assert_eq!((rules.at(Height(8)), rules.at(Height(9))), (Ok(Rules::V3), Ok(Rules::V4)));
}
