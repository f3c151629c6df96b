//! The rules change at a height fixed in advance, under clients that stay connected.

use cairn_chain_spec::{ChainSpec, UpgradeEntry};
use cairn_runtime::client::{force_batch, remark, transfer_keep_alive};
use cairn_runtime::{RuntimeCall, keys};
use cairn_tests::harness::{
    Network, Observer, PATIENCE, Shape, Signal, account, cairn, fast_spec, hashes, height_of, id, metric, signed_calls,
    signed_transfer, transfer, until,
};
use cairn_tests::rpc::{Rpc, to_hex};
use jsonrpsee::core::client::Subscription;
use serde_json::{Value, json};
use std::fs;
use tokio::time::timeout;

/// The first block under the new rules.
const HEIGHT: u32 = 12;

/// A chain that begins with rules 3 and has others from [`HEIGHT`] on.
fn spec(spec_version: u32) -> ChainSpec {
    let mut document = fast_spec(3, "upgrade").unwrap().document().clone();
    document.spec_version = 3;
    document.consensus.idle_block_interval_ms = 200;
    document.upgrades = vec![UpgradeEntry { height: HEIGHT, spec_version }];
    document.check().unwrap()
}

async fn hash_at(rpc: &Rpc, height: u32) -> String {
    rpc.call("chain_getBlockHash", vec![json!(height)]).await.unwrap()
}

async fn ask(rpc: &Rpc, method: &str, parameters: Vec<Value>) -> Value {
    rpc.call(method, parameters).await.unwrap()
}

async fn submit(rpc: &Rpc, extrinsic: &str) -> anyhow::Result<String> {
    rpc.call("author_submitExtrinsic", vec![json!(extrinsic)]).await
}

/// Two transfers with one between them that cannot be.
fn forced() -> RuntimeCall {
    let to = |value| transfer_keep_alive(id("Ferdie"), value);
    force_batch(vec![to(1_000_000), to(u128::MAX / 2), to(2_000_000)])
}

async fn version_of(versions: &mut Subscription<Value>) -> Value {
    let version = timeout(PATIENCE, versions.next()).await.expect("a version").expect("the connection stays").unwrap();
    version["specVersion"].clone()
}

/// Versions, metadata, marker and digest change with one block, and what was before stays as it was.
async fn assert_upgraded_at_once(rpc: &Rpc) {
    let method = to_hex(b"force_batch");
    let mut markers = Vec::new();
    for height in HEIGHT - 2..=HEIGHT {
        let (hash, is_new) = (hash_at(rpc, height).await, height >= HEIGHT - 1);
        let version = ask(rpc, "state_getRuntimeVersion", vec![json!(hash)]).await;
        assert_eq!(version["specVersion"], if is_new { 4 } else { 3 }, "{height}");
        let called = ask(rpc, "state_call", vec![json!("Core_version"), json!("0x"), json!(hash)]).await;
        let marker = ask(rpc, "state_getStorage", vec![json!(to_hex(keys::CODE)), json!(hash)]).await;
        for metadata in [
            ask(rpc, "state_getMetadata", vec![json!(hash)]).await,
            ask(rpc, "state_call", vec![json!("Metadata_metadata_at_version"), json!("0x10000000"), json!(hash)]).await,
        ] {
            assert_eq!(metadata.as_str().unwrap().contains(&method[2..]), is_new, "{height}");
        }
        let header = ask(rpc, "chain_getHeader", vec![json!(hash)]).await;
        let logs = header["digest"]["logs"].as_array().unwrap();
        assert_eq!(logs.contains(&json!("0x08")), height == HEIGHT - 1, "{height}: {logs:?}");
        markers.push((marker, called));
    }
    assert_ne!(markers[0], markers[1]);
    assert_eq!(markers[1], markers[2]);
}

#[tokio::test]
async fn rules_change_under_connected_clients_and_a_node_without_the_new_ones_stops_before_them() {
    let mut network = Network::prepare_chain(spec(4), Shape { validators: 3, archives: 1 }).await.unwrap();
    // To the archive node, the coming rules are unknown: to it they have a version that this binary does not know.
    let (good, other) = (network.spec_file(), network.folder().join("other.json"));
    fs::write(&other, spec(1_000).to_json()).unwrap();
    network.node(3).unwrap().settings.chain = other;
    let clients = network.start_nodes(&[0, 1, 2, 3]).await.unwrap();
    let rpc = &clients[0];

    // While the old rules hold.
    let mut versions: Subscription<Value> = rpc
        .subscribe("state_subscribeRuntimeVersion", Vec::<Value>::new(), "state_unsubscribeRuntimeVersion")
        .await
        .unwrap();
    assert_eq!(version_of(&mut versions).await, 3);
    let early = signed_calls(rpc, "Bob", &[forced()]).await.unwrap().remove(0);
    let refused = submit(rpc, &early).await.unwrap_err().to_string();
    assert!(refused.contains("from rules 4 on"), "{refused}");
    transfer(rpc, "Alice", "Ferdie", 5_000_000).await.unwrap();
    let late = signed_transfer(rpc, "Charlie", "Ferdie", 3_000_000).await.unwrap();
    // One that waits for a nonce which never comes: the new rules make it invalid where it waits.
    let waiting = signed_calls(rpc, "Dave", &[remark(vec![1]), remark(vec![2])]).await.unwrap().remove(1);
    submit(rpc, &waiting).await.unwrap();
    let node = network.node(3).unwrap();
    node.logs("rules change to ones that this binary does not have").await.unwrap();
    let told = metric(node.metrics_address(), "cairn_ledger_unknown_rules_height").await.unwrap();
    assert_eq!(told.to_string(), HEIGHT.to_string());
    let info = ask(&clients[3], "cairn_nodeInfo", Vec::new()).await;
    assert_eq!(info["upgrades"], json!([{ "height": HEIGHT, "specVersion": 1_000, "known": false }]));

    // The same connections go on into the new ones.
    assert_eq!(version_of(&mut versions).await, 4);
    Observer::new(rpc).await.unwrap().reach(HEIGHT).await.unwrap();
    assert_upgraded_at_once(rpc).await;
    let refused = submit(rpc, &late).await.unwrap_err().to_string();
    assert!(refused.contains("signature"), "{refused}");
    let pool = ask(rpc, "cairn_mempool", Vec::new()).await;
    assert_eq!((&pool["ready"], &pool["future"]), (&json!(0), &json!(0)), "what was signed for the old rules is gone");
    let before = account(rpc, "Ferdie", None).await.unwrap().data.free;
    let extrinsic = signed_calls(rpc, "Bob", &[forced()]).await.unwrap().remove(0);
    let hash = submit(rpc, &extrinsic).await.unwrap();
    until("the batch is final", async || {
        let found = rpc.call::<Value>("cairn_getTransaction", vec![json!(hash)]).await?;
        Ok((!found.is_null()).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(account(rpc, "Ferdie", None).await.unwrap().data.free, before + 3_000_000);

    // The node without them stopped one block before, cleanly, and does not start again.
    for _ in 0..2 {
        let node = network.node(3).unwrap();
        assert_eq!(node.end().await.unwrap().code(), Some(16), "{}", node.tail());
        assert!(node.log().contains("rules 1000 hold from block 12 on"), "{}", node.tail());
        node.spawn().unwrap();
    }
    assert_eq!(network.node(3).unwrap().end().await.unwrap().code(), Some(16));
    let node = network.node(3).unwrap();
    let stats = cairn(&node.folder, ["--json", "db", "stats", "--config", "cairn.toml"]).unwrap();
    let stats: Value = serde_json::from_str(&stats.stdout).unwrap();
    assert_eq!(stats["head"], HEIGHT - 1, "{stats}");

    // With them it goes on where it stopped.
    node.settings.chain = good;
    let joined = node.start().await.unwrap();
    let block = transfer(rpc, "Alice", "Ferdie", 1_000_000).await.unwrap();
    let height = height_of(rpc, &block).await.unwrap();
    Observer::new(&joined).await.unwrap().reach(height).await.unwrap();
    assert_eq!(hashes(rpc, height).await.unwrap(), hashes(&joined, height).await.unwrap());
    assert_upgraded_at_once(&joined).await;
}

#[tokio::test]
async fn data_of_a_chain_whose_rules_changed_elsewhere_is_refused() {
    let mut network = Network::prepare_chain(spec(4), Shape { validators: 3, archives: 0 }).await.unwrap();
    let clients = network.start_nodes(&[0, 1, 2]).await.unwrap();
    Observer::new(&clients[0]).await.unwrap().reach(HEIGHT).await.unwrap();
    let mut document = spec(4).document().clone();
    document.upgrades = vec![UpgradeEntry { height: HEIGHT - 3, spec_version: 4 }];
    let other = network.folder().join("other.json");
    fs::write(&other, document.to_json()).unwrap();
    let node = network.node(0).unwrap();
    node.stop(Signal::Terminate).await.unwrap();
    node.settings.chain = other;
    node.spawn().unwrap();
    assert_eq!(node.end().await.unwrap().code(), Some(8), "{}", node.tail());
    assert!(node.log().contains("use the chain spec that the chain was made with"), "{}", node.tail());
}
