use super::*;
use crate::{Amount, BalanceEntry, UpgradeEntry};
use proptest::prelude::*;

/// The paths and messages of all issues of the local preset after a change.
fn issues(change: impl FnOnce(&mut Document)) -> Vec<(String, String)> {
    let mut document = ChainSpec::local(4).unwrap().document().clone();
    change(&mut document);
    match document.check() {
        Ok(_) => Vec::new(),
        Err(SpecError::Invalid(issues)) => issues.into_iter().map(|issue| (issue.path, issue.message)).collect(),
        Err(other) => panic!("expected issues, got {other:?}"),
    }
}

/// Asserts that a change breaks exactly one rule, at `path`, with `words` in its message.
fn assert_issue(path: &str, words: &str, change: impl FnOnce(&mut Document)) {
    let found = issues(change);
    assert_eq!(found.len(), 1, "{path}: {found:?}");
    assert_eq!(found[0].0, format!("$.{path}"));
    assert!(found[0].1.contains(words), "{path}: `{}` lacks `{words}`", found[0].1);
}

fn key(number: u8) -> String {
    hex::encode(cairn_primitives::KeyPair::from_seed(&[number; 32]).public().0)
}

#[test]
fn names_out_of_bounds_are_refused() {
    for name in ["", " Cairn", "Cairn\n", &"x".repeat(65)] {
        assert_issue("name", "1 to 64", |document| document.name = name.to_owned());
    }
    for id in ["", "Upper", "a_b", "ä", &"x".repeat(33)] {
        assert_issue("id", "a-z", |document| document.id = id.to_owned());
    }
}

#[test]
fn protocol_version_of_another_binary_is_refused() {
    assert_issue("protocol_version", "use 1", |document| document.protocol_version = 2);
}

#[test]
fn rules_that_are_unknown_or_go_back_are_refused() {
    let upgrade = |height, spec_version| UpgradeEntry { height, spec_version };
    assert_issue("spec_version", "use 3 to 4", |document| document.spec_version = 5);
    for (upgrades, path, words) in [
        (vec![upgrade(1, 5)], "upgrades[0].height", "not above 1"),
        (vec![upgrade(9, 5), upgrade(9, 6)], "upgrades[1].height", "not above 9"),
        (vec![upgrade(2, 4)], "upgrades[0].spec_version", "not above 4"),
        (vec![upgrade(2, 6), upgrade(3, 5)], "upgrades[1].spec_version", "not above 6"),
    ] {
        assert_issue(path, words, |document| document.upgrades = upgrades);
    }
    let many = |count: u32| (0..count).map(|n| upgrade(n + 2, n + 5)).collect::<Vec<_>>();
    assert_issue("upgrades", "at most 256", |document| document.upgrades = many(257));
    assert_eq!(issues(|document| document.upgrades = many(256)), [], "later ones need not be known");
}

#[test]
fn genesis_time_out_of_range_is_refused() {
    assert_issue("genesis_time_ms", "use 1 to", |document| document.genesis_time_ms = 0);
    assert_issue("genesis_time_ms", "use 1 to", |document| document.genesis_time_ms = u64::MAX);
}

#[test]
fn timeouts_that_contradict_each_other_are_refused() {
    assert_issue("consensus.idle_block_interval_ms", "below block_interval_ms", |document| {
        document.consensus.block_interval_ms = 2_000;
    });
    assert_issue("consensus.certify_timeout_ms", "not above leader_timeout_ms", |document| {
        document.consensus.certify_timeout_ms = 1_000;
    });
    assert_issue("consensus.skip_timeout_ms", "would be skipped", |document| {
        document.consensus.skip_timeout_ms = 1_000;
    });
}

#[test]
fn timeouts_out_of_range_are_refused() {
    let found = issues(|document| document.consensus.leader_timeout_ms = 0);
    assert_eq!(found[0].0, "$.consensus.leader_timeout_ms");
    assert_issue("consensus.retry_ms", "use 10 to 600000", |document| document.consensus.retry_ms = 9);
    assert_issue("consensus.skip_timeout_ms", "out of range", |document| {
        document.consensus.skip_timeout_ms = INTERVAL_MS_MAX + 1;
    });
}

#[test]
fn epoch_length_may_be_short_on_development_chains_only() {
    for length in [0, 1, 2, u32::MAX] {
        assert!(issues(|document| document.consensus.epoch_length = length).is_empty(), "{length}");
    }
    let live = |length| {
        move |document: &mut Document| {
            document.chain_type = ChainType::Live;
            document.validators = vec![ValidatorEntry { key: key(9), power: 1 }];
            document.balances.clear();
            document.consensus.epoch_length = length;
        }
    };
    for length in [1, 9] {
        assert_issue("consensus.epoch_length", "use 10 or more", live(length));
    }
    for length in [0, 10] {
        assert!(issues(live(length)).is_empty(), "{length}");
    }
}

#[test]
fn validator_authority_that_cannot_be_is_refused() {
    assert_issue("validator_authority", "64 hexadecimal digits", |document| {
        document.consensus.epoch_length = 5;
        document.validator_authority = Some("0x12".into());
    });
    assert_issue("validator_authority", "has no end", |document| document.validator_authority = Some(key(8)));
    assert_issue("validator_authority", "development account", |document| {
        document.chain_type = ChainType::Live;
        document.validator_authority = Some(document.balances[0].account.clone());
        document.validators = vec![ValidatorEntry { key: key(9), power: 1 }];
        document.balances.clear();
        document.consensus.epoch_length = 100;
    });
}

#[test]
fn validator_authority_of_a_checked_spec_is_in_the_genesis_config() {
    let mut document = ChainSpec::local(4).unwrap().document().clone();
    assert_eq!(document.check().unwrap().genesis_config().authority, None);
    document.consensus.epoch_length = 5;
    document.validator_authority = Some(key(8));
    let spec = document.check().unwrap();
    assert_eq!(spec.genesis_config().authority.as_ref(), spec.validator_authority());
    assert_eq!(spec.validator_authority().map(|account| hex::encode(account.0)), Some(key(8)));
    assert_eq!(spec.genesis_config().validators, spec.validator_set().validators());
    assert_eq!(spec.epoch_schedule().length(), 5);
}

#[test]
fn validators_too_few_or_too_many_are_refused() {
    assert_issue("validators", "use 1 to 256", |document| document.validators.clear());
    assert_issue("validators", "257 validators", |document| {
        document.validators = vec![document.validators[0].clone(); 257];
    });
}

#[test]
fn validator_with_a_bad_key_is_refused() {
    assert_issue("validators[1].key", "64 hexadecimal digits", |document| document.validators[1].key = "0x12".into());
    assert_issue("validators[2].key", "anyone can sign", |document| {
        document.validators[2].key = format!("01{}", "00".repeat(31));
    });
    assert_issue("validators[3].key", "validators[0]", |document| {
        document.validators[3].key = document.validators[0].key.clone();
    });
}

#[test]
fn validator_power_out_of_range_is_refused() {
    assert_issue("validators[1].power", "at least 1", |document| document.validators[1].power = 0);
    assert_issue("validators", "adds up to more", |document| document.validators[1].power = u64::MAX);
}

#[test]
fn validator_key_as_ss58_means_the_same_as_in_hexadecimal() {
    let spec = ChainSpec::local(4).unwrap();
    let mut document = spec.document().clone();
    for (entry, validator) in document.validators.iter_mut().zip(1..) {
        let account = AccountId32::from(development::key_pair(&development::name(validator)).public());
        entry.key = account.to_ss58(42);
    }
    let again = document.check().unwrap();
    assert_eq!(again.validator_set(), spec.validator_set());
    assert_eq!(again.spec_hash(), spec.spec_hash());
}

#[test]
fn balances_that_cannot_be_are_refused() {
    assert_issue("balances[1].amount", "must hold", |document| {
        document.balances[1].amount = Amount(EXISTENTIAL_DEPOSIT - 1);
    });
    assert_issue("balances[5].account", "listed twice", |document| {
        document.balances[5].account = document.balances[0].account.clone();
    });
    assert_issue("balances[0].account", "prefix 0", |document| {
        document.balances[0].account = AccountId32([1; 32]).to_ss58(0);
    });
    assert_issue("balances", "add up to more", |document| document.balances[2].amount = Amount(u128::MAX));
}

#[test]
fn fees_out_of_range_are_refused() {
    assert_issue("fees.burnt_permille", "use 0 to 1000", |document| document.fees.burnt_permille = 1_001);
    let large = Amount(PRICE_MAX + 1);
    assert_issue("fees.base", "out of range", |document| document.fees.base = large);
    assert_issue("fees.per_byte", "out of range", |document| document.fees.per_byte = large);
    assert_issue("fees.per_microsecond", "out of range", |document| document.fees.per_microsecond = large);
}

#[test]
fn properties_out_of_range_are_refused() {
    assert_issue("properties.tokenDecimals", "use 0 to 38", |document| document.properties.token_decimals = 39);
    for symbol in ["", "A B", "ABCDEFGHIJKLM"] {
        assert_issue("properties.tokenSymbol", "1 to 12", |document| document.properties.token_symbol = symbol.into());
    }
    let found = issues(|document| {
        document.properties.ss58_format = SS58_PREFIX_MAX + 1;
        document.balances.clear();
    });
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "$.properties.ss58Format");
}

#[test]
fn boot_node_without_a_peer_id_is_refused() {
    for address in ["", "10.0.0.1:30333", "/ip4/10.0.0.1/tcp/30333", "/ip4/10.0.0.1/p2p/", "/ip4/1/p2p/12D3/tcp/1"] {
        assert_issue("boot_nodes[0]", "peer id", |document| document.boot_nodes = vec![address.to_owned()]);
    }
    assert!(issues(|document| document.boot_nodes = vec!["/dns4/a.example/tcp/1/p2p/12D3Koo".to_owned()]).is_empty());
}

#[test]
fn live_chain_refuses_everything_that_development_keys_own() {
    let found = issues(|document| document.chain_type = ChainType::Live);
    let paths: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths.iter().filter(|path| path.starts_with("$.validators[")).count(), 4);
    assert_eq!(paths.iter().filter(|path| path.starts_with("$.balances[")).count(), 6);
    let live = issues(|document| {
        document.chain_type = ChainType::Live;
        document.validators = vec![ValidatorEntry { key: key(9), power: 1 }];
        document.balances = vec![BalanceEntry { account: key(8), amount: Amount(EXISTENTIAL_DEPOSIT) }];
    });
    assert!(live.is_empty(), "{live:?}");
}

#[test]
fn all_broken_rules_are_reported_at_once() {
    let found = issues(|document| {
        document.id = "ID".into();
        document.consensus.retry_ms = 0;
        document.fees.burnt_permille = u16::MAX;
        document.validators[0].key = "?".into();
        document.balances[3].account = "?".into();
        document.boot_nodes = vec!["?".into()];
    });
    let paths: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
    let expected = [
        "$.id",
        "$.consensus.retry_ms",
        "$.fees.burnt_permille",
        "$.boot_nodes[0]",
        "$.validators[0].key",
        "$.balances[3].account",
    ];
    assert_eq!(paths, expected);
}

proptest! {
    #[test]
    fn account_of_any_text_does_not_panic(text: String, prefix: u16) {
        prop_assert!(parse_account(&text, prefix).is_err());
    }
}
