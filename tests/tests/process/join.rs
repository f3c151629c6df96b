//! New nodes that begin with a snapshot which their peers offer, with the real binary.

use anyhow::Context as _;
use cairn_tests::harness::{
    Network, Node, Observer, Shape, account, fast_spec, hashes, height_of, metric, transfer, until,
};
use cairn_tests::rpc::{Rpc, to_hex};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Accounts beside the development ones: some ten chunks.
const ACCOUNTS: u32 = 60_000;

/// Two validators with a large state, each of which offers a snapshot, and nodes that are to begin with one.
async fn offering(joining: u16) -> (Network, Vec<Rpc>) {
    let mut document = fast_spec(2, "join").unwrap().document().clone();
    let entry = document.balances[0].clone();
    for number in 0..ACCOUNTS {
        let mut account = [0x5a; 32];
        account[..4].copy_from_slice(&number.to_be_bytes());
        document.balances.push(cairn_chain_spec::BalanceEntry { account: to_hex(&account), ..entry.clone() });
    }
    let spec = document.check().unwrap();
    let mut network = Network::prepare_chain(spec, Shape { validators: 2, archives: joining }).await.unwrap();
    for node in &mut network.nodes {
        node.settings.sync = match node.settings.role {
            "validator" => vec!["snapshot_interval = 20".into()],
            _ => vec!["mode = \"snapshot\"".into()],
        };
    }
    let clients = network.start_nodes(&[0, 1]).await.unwrap();
    for value in 1..=5 {
        transfer(&clients[0], "Alice", "Ferdie", 1_000_000 * value).await.unwrap();
    }
    for validator in [0, 1] {
        network.node(validator).unwrap().logs("a snapshot is offered to new nodes").await.unwrap();
    }
    (network, clients)
}

fn sync_folder(node: &Node) -> PathBuf {
    node.folder.join("sync")
}

/// The only snapshot that a node offers.
fn offered(node: &Node) -> (u32, PathBuf) {
    let names = fs::read_dir(sync_folder(node)).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let [folder] = &names[..] else { panic!("one snapshot: {names:?}") };
    (folder.file_name().unwrap().to_str().unwrap().parse().unwrap(), folder.clone())
}

fn chunks(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with("chunk-") && !name.contains('.')).count()
}

async fn parts_served(network: &Network) -> Vec<u64> {
    let mut served = Vec::new();
    for node in &network.nodes {
        let parts = metric(node.metrics_address(), "cairn_sync_snapshot_parts_served").await.unwrap_or_default();
        served.push(format!("{parts:.0}").parse().unwrap());
    }
    served
}

/// A node that joined goes on with the chain, has the same blocks and state, and nothing from before the snapshot.
async fn follows(network: &mut Network, validator: &Rpc, position: usize, joined: &Rpc) {
    let block = transfer(validator, "Alice", "Ferdie", 7_000_000).await.unwrap();
    let reached = height_of(validator, &block).await.unwrap();
    Observer::new(joined).await.unwrap().reach(reached).await.unwrap();
    let (known, theirs) = (hashes(validator, reached).await.unwrap(), hashes(joined, reached).await.unwrap());
    assert_eq!(known, theirs);
    let node = network.node(position).unwrap();
    let (height, _) = offered(node);
    let first = usize::try_from(height).unwrap();
    assert!(height >= 20, "{height}");
    for hash in &known[first..] {
        let expected = account(validator, "Ferdie", Some(hash)).await.unwrap();
        assert_eq!(account(joined, "Ferdie", Some(hash)).await.unwrap(), expected);
    }
    let below: Option<Value> =
        joined.call("chain_getBlock", vec![Value::from(known[first - 1].clone())]).await.unwrap();
    assert!(below.is_none(), "a block below the snapshot is not here: {below:?}");
    let committed = metric(node.metrics_address(), "cairn_ledger_committed_blocks").await.unwrap();
    let head = metric(node.metrics_address(), "cairn_ledger_head_height").await.unwrap();
    assert!(committed <= head - f64::from(height), "{committed} blocks committed up to {head}");
    assert!(!node.log().contains("misbehaves"), "{}", node.tail());
}

#[tokio::test]
async fn late_node_begins_with_a_snapshot_from_its_peers_and_follows_the_chain() {
    let (mut network, clients) = offering(2).await;
    let joined = network.node(2).unwrap().start().await.unwrap();
    follows(&mut network, &clients[0], 2, &joined).await;
    let (height, folder) = offered(network.node(2).unwrap());
    let all = chunks(&folder);
    assert!(all >= 5, "{all} chunks");
    let served = parts_served(&network).await;
    // The manifest is one part, and every chunk came once.
    assert_eq!(served.iter().sum::<u64>(), u64::try_from(all + 1).unwrap(), "{served:?}");
    for (position, parts) in served.iter().enumerate().take(2) {
        let offers_it = sync_folder(network.node(position).unwrap()).join(height.to_string()).exists();
        assert!(!offers_it || *parts > 0, "all that offer the snapshot are asked: {served:?}");
    }

    // A node that was killed when it had half of the chunks, one of them damaged since, asks for the others alone.
    let joining = sync_folder(network.node(3).unwrap()).join("joining");
    fs::create_dir_all(&joining).unwrap();
    fs::copy(folder.join("manifest"), joining.join("manifest")).unwrap();
    let held = all / 2;
    for index in 0..held {
        let name = format!("chunk-{index:06}");
        fs::copy(folder.join(&name), joining.join(&name)).unwrap();
    }
    fs::write(joining.join("chunk-000001"), b"damaged").unwrap();
    let before = parts_served(&network).await;
    let second = network.node(3).unwrap().start().await.unwrap();
    follows(&mut network, &clients[0], 3, &second).await;
    let served: u64 = parts_served(&network).await.iter().sum::<u64>() - before.iter().sum::<u64>();
    assert_eq!(served, u64::try_from(all - held + 1).unwrap());
}

#[tokio::test]
async fn node_killed_again_and_again_while_it_joins_has_the_state_in_the_end() {
    let (mut network, clients) = offering(1).await;
    let joining = sync_folder(network.node(2).unwrap()).join("joining");
    let mut had = 0;
    for _ in 0..4 {
        let node = network.node(2).unwrap();
        node.spawn().unwrap();
        let look = || async { Ok((chunks(&joining) > had || !offered_heights(&joining).is_empty()).then_some(())) };
        until("a further chunk", look).await.unwrap();
        node.kill().await.unwrap();
        had = chunks(&joining);
    }
    let joined = network.node(2).unwrap().start().await.unwrap();
    follows(&mut network, &clients[0], 2, &joined).await;
    network.node(2).unwrap().kill().await.unwrap();
    let again = network.node(2).unwrap().start().await.context("after the snapshot it starts as any other").unwrap();
    follows(&mut network, &clients[0], 2, &again).await;
}

/// The finished snapshots beside the one that is being fetched.
fn offered_heights(joining: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(joining.parent().unwrap()) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}
