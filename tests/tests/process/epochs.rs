//! Epochs end, and the validators change.

use cairn_chain_spec::{ChainSpec, development};
use cairn_runtime::client::set_validator;
use cairn_runtime::keys;
use cairn_tests::harness::{
    Network, Observer, Shape, account, cairn, fast_spec, hashes, height_of, id, signed_calls, transfer, until,
};
use cairn_tests::rpc::{Rpc, to_hex};
use parity_scale_codec::Encode as _;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Blocks in an epoch.
const LENGTH: u32 = 10;

const VALUE: u128 = 1_000_000_000;

/// A chain of short epochs whose validators //Alice may change.
fn spec(validators: u16) -> ChainSpec {
    let mut document = fast_spec(validators, "epochs").unwrap().document().clone();
    document.consensus.epoch_length = LENGTH;
    document.consensus.idle_block_interval_ms = 100;
    document.validator_authority = Some(id("Alice").to_ss58(42));
    document.check().unwrap()
}

const fn epoch_of(height: u32) -> u32 {
    (height - 1) / LENGTH
}

/// What `cairn query account --verify` proves of //Ferdie's balance to somebody who has the chain spec and nothing else.
async fn prove_from_genesis(network: &Network, rpc: &Rpc, block: &str) {
    let common = ["--json", "query", "account", "//Ferdie", "--verify", "--at", block, "--url", rpc.url()];
    let told = cairn(network.folder(), common.into_iter().chain(["--chain", "spec.json"])).unwrap();
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    let proved: Value = serde_json::from_str(&told.stdout).unwrap();
    let epochs = epoch_of(height_of(rpc, block).await.unwrap());
    assert_eq!((&proved["verified"], &proved["validatorsOfEpoch"]), (&json!(true), &json!(epochs)), "{proved}");
    let ferdie = account(rpc, "Ferdie", Some(block)).await.unwrap();
    assert_eq!(proved["key"], json!(to_hex(&keys::system_account(&id("Ferdie")))));
    assert_eq!(proved["value"], json!(to_hex(&ferdie.encode())));

    // Who knows the genesis hash only does not know where epochs end.
    let genesis = network.anchor().unwrap().genesis().to_string();
    let told = cairn(network.folder(), common.into_iter().chain(["--genesis-hash", &genesis])).unwrap();
    assert_ne!(told.code, Some(0), "{}", told.stdout);
    assert!(told.stderr.contains("give --chain"), "{}", told.stderr);
}

/// Waits until every node has `height`, and compares their chains up to there.
async fn assert_agree(clients: &[&Rpc], height: u32) {
    let mut expected = None;
    for client in clients {
        Observer::new(client).await.unwrap().reach(height).await.unwrap();
        let found = hashes(client, height).await.unwrap();
        assert_eq!(expected.get_or_insert_with(|| found.clone()), &found, "{}", client.url());
    }
}

#[tokio::test]
async fn validators_killed_near_the_end_of_an_epoch_vote_in_the_next() {
    let mut network = Network::prepare_chain(spec(4), Shape { validators: 4, archives: 1 }).await.unwrap();
    let clients = network.start_nodes(&[0, 1, 2, 3]).await.unwrap();
    let [first, second, ..] = clients.as_slice() else { panic!("four nodes") };
    let mut observer = Observer::new(first).await.unwrap();
    observer.reach(LENGTH - 2).await.unwrap();
    network.nodes[3].kill().await.unwrap();
    observer.reach(LENGTH + 2).await.unwrap();
    let fourth = network.node(3).unwrap().start().await.unwrap();
    Observer::new(&fourth).await.unwrap().reach(LENGTH + 2).await.unwrap();

    // Without the one that came back there is no quorum now, in this epoch or the next.
    observer.reach(2 * LENGTH - 1).await.unwrap();
    network.nodes[2].kill().await.unwrap();
    let killed_at = Observer::new(first).await.unwrap().height;
    observer.reach(killed_at + LENGTH + 1).await.unwrap();
    let third = network.node(2).unwrap().start().await.unwrap();

    let late = network.node(4).unwrap().start().await.unwrap();
    let block = transfer(first, "Alice", "Ferdie", VALUE).await.unwrap();
    let height = height_of(first, &block).await.unwrap();
    assert!(epoch_of(height) >= 3, "{height}");
    assert_agree(&[first, second, &third, &fourth, &late], height).await;
    prove_from_genesis(&network, &late, &block).await;
}

/// The consensus keys of development accounts.
fn keys_of(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| to_hex(&development::key_pair(name).public().0)).collect()
}

/// The epoch of a block and the keys of those who voted on it.
async fn validators_at(rpc: &Rpc, height: u32) -> (u32, BTreeSet<String>) {
    let answer: Value = rpc.call("cairn_validators", vec![json!(height)]).await.unwrap();
    let keys = answer["validators"].as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap().to_owned());
    (u32::try_from(answer["epoch"].as_u64().unwrap()).unwrap(), keys.collect())
}

/// Waits for the first block of an epoch; gives its height.
async fn wait_for_beginning(rpc: &Rpc) -> u32 {
    let mut observer = Observer::new(rpc).await.unwrap();
    while observer.height % LENGTH != 1 {
        observer.next().await.unwrap();
    }
    observer.height
}

/// Submits calls of //Alice at the beginning of an epoch; gives the height at which the last of them is final.
async fn submit_in_one_epoch(rpc: &Rpc, calls: &[cairn_runtime::RuntimeCall]) -> u32 {
    let begun = epoch_of(wait_for_beginning(rpc).await);
    let signed = signed_calls(rpc, "Alice", calls).await.unwrap();
    let verdicts: Vec<Value> = rpc.call("cairn_submitBatch", vec![json!(signed)]).await.unwrap();
    let last = verdicts.last().and_then(|verdict| verdict["hash"].as_str()).unwrap();
    let look = || async {
        let found: Value = rpc.call("cairn_getTransaction", vec![json!(last)]).await?;
        Ok(found["height"].as_u64())
    };
    let height = u32::try_from(until("the changes of the set", look).await.unwrap()).unwrap();
    assert_eq!(epoch_of(height), begun, "the changes are spread over two epochs");
    height
}

/// Doubles //Eve's power with `cairn tx set-validator`, which only //Alice may; gives the height at which that is final.
fn set_power_by_command(network: &Network, rpc: &Rpc) -> u32 {
    let set = |from| {
        let what = ["--json", "tx", "set-validator", "--key", "//Eve", "--power", "2"];
        cairn(network.folder(), what.into_iter().chain(["--from", from, "--url", rpc.url()])).unwrap()
    };
    let refused = set("//Bob");
    assert_ne!(refused.code, Some(0), "{}", refused.stdout);
    assert!(refused.stderr.contains("NotAuthority"), "{}", refused.stderr);
    let told = set("//Alice");
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((&told["power"], &told["success"]), (&json!("2"), &json!(true)));
    u32::try_from(told["height"].as_u64().unwrap()).unwrap()
}

#[tokio::test]
async fn three_of_four_validators_replaced_at_once_hand_over_to_the_new_ones() {
    let mut network = Network::prepare_chain(spec(4), Shape { validators: 7, archives: 0 }).await.unwrap();
    let clients = network.start_nodes(&[0, 1, 2, 3, 4, 5, 6]).await.unwrap();
    let all: Vec<&Rpc> = clients.iter().collect();
    assert_agree(&all, 1).await;
    let (old, new) = (["Alice", "Bob", "Charlie", "Dave"], ["Alice", "Eve", "Ferdie", "Validator7"]);

    let key = |name: &str| development::key_pair(name).public();
    let added = new[1..].iter().map(|name| set_validator(key(name), 1));
    let removed = old[1..].iter().map(|name| set_validator(key(name), 0));
    let calls: Vec<_> = added.chain(removed).collect();
    let changed = submit_in_one_epoch(all[0], &calls).await;

    let closing = (epoch_of(changed) + 1) * LENGTH;
    let height = closing + LENGTH + 1;
    assert_agree(&all, height).await;
    for client in &all {
        assert_eq!(validators_at(client, closing).await, (epoch_of(closing), keys_of(&old)));
        for height in [closing + 1, height] {
            assert_eq!(validators_at(client, height).await, (epoch_of(height), keys_of(&new)));
        }
    }
    // Those that were removed follow, take transactions, and prove what they have.
    let block = transfer(all[1], "Bob", "Ferdie", VALUE).await.unwrap();
    prove_from_genesis(&network, all[1], &block).await;
    // They are not needed any more.
    for removed in 1..4 {
        network.nodes[removed].kill().await.unwrap();
    }
    let changed = set_power_by_command(&network, all[0]);
    let height = (epoch_of(changed) + 1) * LENGTH + 1;
    assert_agree(&[all[0], all[4], all[5], all[6]], height).await;
    let set: Value = all[0].call("cairn_validators", vec![json!(height)]).await.unwrap();
    assert_eq!(set["totalPower"], "5", "{set}");
}

/// Replaces a validator's key with `cairn tx rotate-key`; gives the height at which that is final.
fn rotate_by_command(network: &Network, rpc: &Rpc, [old, new]: [&str; 2]) -> u32 {
    let what = ["--json", "tx", "rotate-key", "--old", old, "--new", new, "--from", "//Ferdie", "--url", rpc.url()];
    let told = cairn(network.folder(), what).unwrap();
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    let height = u32::try_from(told["height"].as_u64().unwrap()).unwrap();
    assert_eq!((&told["success"], &told["fromEpoch"]), (&json!(true), &json!(epoch_of(height) + 1)));
    height
}

#[tokio::test]
async fn key_rotated_by_command_votes_from_the_next_epoch_on_without_a_pause() {
    let mut network = Network::prepare_chain(spec(4), Shape { validators: 4, archives: 0 }).await.unwrap();
    network.nodes[3].settings.next_consensus_key = Some("//Eve".into());
    let clients = network.start_nodes(&[0, 1, 2, 3]).await.unwrap();
    let all: Vec<&Rpc> = clients.iter().collect();
    wait_for_beginning(all[0]).await;
    let rotated = rotate_by_command(&network, all[0], ["//Dave", "//Eve"]);
    let opening = (epoch_of(rotated) + 1) * LENGTH + 1;
    assert_agree(&all, opening + 1).await;
    assert_eq!(validators_at(all[0], opening - 1).await.1, keys_of(&["Alice", "Bob", "Charlie", "Dave"]));
    assert_eq!(validators_at(all[0], opening).await.1, keys_of(&["Alice", "Bob", "Charlie", "Eve"]));

    // Without the new key's votes there is no quorum now.
    network.nodes[2].kill().await.unwrap();
    let killed_at = Observer::new(all[0]).await.unwrap().height;
    assert_agree(&[all[0], all[1], all[3]], killed_at + LENGTH).await;

    // The old key is not needed any more, and is never taken again.
    network.nodes[3].kill().await.unwrap();
    (network.nodes[3].settings.consensus_key, network.nodes[3].settings.next_consensus_key) =
        (Some("//Eve".into()), None);
    let fourth = network.node(3).unwrap().start().await.unwrap();
    let killed_at = Observer::new(all[0]).await.unwrap().height;
    assert_agree(&[all[0], all[1], &fourth], killed_at + 2).await;
    let back = ["tx", "rotate-key", "--old", "//Eve", "--new", "//Dave", "--from", "//Ferdie", "--url", all[0].url()];
    let refused = cairn(network.folder(), back).unwrap();
    assert_ne!(refused.code, Some(0), "{}", refused.stdout);
    assert!(refused.stderr.contains("KeyUsed") || refused.stderr.contains("WrongEpoch"), "{}", refused.stderr);
}
