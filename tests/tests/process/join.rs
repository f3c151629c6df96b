//! New nodes that begin with a snapshot which their peers offer, with the real binary.

use anyhow::Context as _;
use cairn_primitives::OpaqueExtrinsic;
use cairn_runtime::keys;
use cairn_tests::harness::{
    Network, Node, Observer, Shape, Signal, account, add_accounts, cairn, fast_spec, hashes, height_of, id, metric,
    transfer, until,
};
use cairn_tests::rpc::{Rpc, from_hex, to_hex};
use parity_scale_codec::Decode as _;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Accounts beside the development ones: some ten chunks.
const ACCOUNTS: u32 = 60_000;

/// Two validators with a large state, each of which offers a snapshot, and nodes that are to begin with one.
async fn offering(joining: u16) -> (Network, Vec<Rpc>) {
    let mut document = fast_spec(2, "join").unwrap().document().clone();
    add_accounts(&mut document, ACCOUNTS).unwrap();
    let spec = document.check().unwrap();
    let mut network = Network::prepare_chain(spec, Shape { validators: 2, archives: joining }).await.unwrap();
    for node in &mut network.nodes {
        node.settings.sync = match node.settings.role {
            "validator" => vec!["snapshot_interval = 20".into()],
            _ => vec!["mode = \"snapshot\"".into(), "backfill = false".into()],
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

/// Whether a node says that it has blocks from a height on, and not this one.
async fn lacks(client: &Rpc, hash: &str, lowest: u32) -> bool {
    let found = client.call::<Option<Value>>("chain_getBlock", vec![Value::from(hash)]).await;
    found.is_err_and(|error| format!("{error:#}").contains(&format!("this node has blocks from height {lowest} on")))
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
    assert!(lacks(joined, &known[first - 1], height).await, "a block below the snapshot is not here");
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

#[tokio::test]
async fn archive_that_began_with_a_snapshot_gets_what_lies_below_while_it_follows_the_chain() {
    let (mut network, clients) = offering(2).await;
    network.node(3).unwrap().settings.sync = vec!["mode = \"blocks\"".into()];
    let original = network.node(3).unwrap().start().await.unwrap();
    let side = network.node(2).unwrap().database().with_file_name("replay");
    fs::create_dir_all(&side).unwrap();
    fs::write(side.join("FORMAT"), b"no database").unwrap();
    let joined = network.node(2).unwrap().start().await.unwrap();
    follows(&mut network, &clients[0], 2, &joined).await;
    assert_eq!(fs::read(side.join("FORMAT")).unwrap(), b"no database", "what it may need later is left to it");
    let (height, _) = offered(network.node(2).unwrap());
    let state: Value = joined.call("cairn_syncState", Vec::<Value>::new()).await.unwrap();
    assert_eq!(state["lowestBlock"], height);

    // It is told to have all blocks, and killed as soon as it begins; the next run goes on.
    let node = network.node(2).unwrap();
    node.kill().await.unwrap();
    node.settings.sync = vec!["mode = \"snapshot\"".into()];
    node.spawn().unwrap();
    node.logs("filling the archive").await.unwrap();
    node.kill().await.unwrap();
    let all_blocks = "the archive has all blocks from genesis on";
    // There are few: a busy machine may have them before it is killed.
    let has_all_blocks = node.log().contains(all_blocks);
    let joined = node.start().await.unwrap();
    let whole = || async {
        let state: Value = joined.call("cairn_syncState", Vec::<Value>::new()).await?;
        Ok((state["lowestBlock"] == 0).then_some(()))
    };
    until("all blocks from genesis on", whole).await.unwrap();
    if !has_all_blocks {
        node.logs(all_blocks).await.unwrap();
    }
    assert_eq!(metric(node.metrics_address(), "cairn_sync_lowest_block").await.unwrap(), 0.0);
    assert!(!node.log().contains("misbehaves"), "{}", node.tail());

    let known = hashes(&clients[0], height).await.unwrap();
    assert_eq!(hashes(&joined, height).await.unwrap(), known);
    blocks_agree(&clients[0], &joined, &known).await;

    // The states follow: the blocks are executed again, in a folder that holds nothing of use.
    let whole = || async {
        let state: Value = joined.call("cairn_databaseStats", Vec::<Value>::new()).await?;
        Ok((state["lowestState"] == 0).then_some(()))
    };
    until("all states from genesis on", whole).await.unwrap();
    Observer::new(&original).await.unwrap().reach(height).await.unwrap();
    assert_eq!(hashes(&original, height).await.unwrap(), known);
    states_agree(&original, &joined, &known).await;
    let node = network.node(2).unwrap();
    let database = node.database();
    let data = database.parent().unwrap().to_path_buf();
    node.stop(Signal::Terminate).await.unwrap();
    assert!(!side.exists(), "the side folder was begun anew, and is gone");
    let spec = network.spec_file();
    let checked = cairn(
        network.folder(),
        ["db", "check", "--data-dir", data.to_str().unwrap(), "--chain", spec.to_str().unwrap()],
    );
    let checked = checked.unwrap();
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
}

/// Two nodes have the same blocks, with events and places of their transactions.
async fn blocks_agree(original: &Rpc, joined: &Rpc, known: &[String]) {
    let mut transfers = 0;
    for hash in known {
        let theirs: Value = original.call("chain_getBlock", vec![Value::from(hash.clone())]).await.unwrap();
        let ours: Value = joined.call("chain_getBlock", vec![Value::from(hash.clone())]).await.unwrap();
        assert_eq!(theirs["block"], ours["block"]);
        let extrinsics = theirs["block"]["extrinsics"].as_array().unwrap();
        for extrinsic in extrinsics {
            let bytes = from_hex(extrinsic.as_str().unwrap()).unwrap();
            let transaction = to_hex(&OpaqueExtrinsic::decode(&mut &*bytes).unwrap().hash().0);
            let place = vec![Value::from(transaction)];
            let theirs: Value = original.call("cairn_getTransaction", place.clone()).await.unwrap();
            let ours: Value = joined.call("cairn_getTransaction", place).await.unwrap();
            assert_eq!(theirs, ours, "with its events");
            assert_eq!(ours["blockHash"], *hash);
        }
        transfers += extrinsics.len().saturating_sub(1);
    }
    assert!(transfers > 0, "transfers lie below the snapshot");
}

/// Two nodes have the same states with the same proofs.
async fn states_agree(original: &Rpc, joined: &Rpc, known: &[String]) {
    let key = to_hex(&keys::system_account(&id("Ferdie")));
    let absent = to_hex(b"absent");
    let mut balances = BTreeSet::new();
    for hash in known {
        balances.insert(account(joined, "Ferdie", Some(hash)).await.unwrap().data.free);
        for (method, arguments) in [
            ("state_getStorage", vec![json!(key), json!(hash)]),
            ("state_getKeysPaged", vec![json!("0x"), json!(50), Value::Null, json!(hash)]),
        ] {
            let theirs: Value = original.call(method, arguments.clone()).await.unwrap();
            assert_eq!(joined.call::<Value>(method, arguments).await.unwrap(), theirs, "{method} at {hash}");
            assert!(!theirs.is_null(), "{method} at {hash}");
        }
        // Which descendant's finalization shows that the block is final is another matter.
        let asked = vec![json!([key, absent]), json!(hash)];
        let theirs: Value = original.call("cairn_getProof", asked.clone()).await.unwrap();
        let ours: Value = joined.call("cairn_getProof", asked).await.unwrap();
        assert_eq!((&ours["block"], &ours["items"]), (&theirs["block"], &theirs["items"]));
        assert_eq!(ours["items"].as_array().map(Vec::len), Some(2));
    }
    assert!(balances.len() > 1, "the balance changed below the snapshot");
}
