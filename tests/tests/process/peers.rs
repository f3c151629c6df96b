//! Who is connected with whom: remembered peers, sentry nodes.

use cairn_tests::harness::{Network, Observer, Shape, Signal, height_of, transfer, until};
use cairn_tests::rpc::Rpc;
use serde_json::Value;
use std::collections::BTreeSet;

const VALUE: u128 = 1_000_000_000;

/// The peer ids that a node is connected with.
async fn peers(rpc: &Rpc) -> anyhow::Result<BTreeSet<String>> {
    let peers: Vec<Value> = rpc.call("cairn_peers", Vec::<Value>::new()).await?;
    Ok(peers.iter().map(|peer| peer["peerId"].as_str().unwrap().to_owned()).collect())
}

async fn wait_for_peers(rpc: &Rpc, count: usize) -> BTreeSet<String> {
    let look = async || Ok(Some(peers(rpc).await?).filter(|peers| peers.len() >= count));
    until("peers", look).await.unwrap()
}

#[tokio::test]
async fn node_restarted_finds_its_peers_though_its_boot_node_is_gone() {
    let mut network = Network::prepare(Shape { validators: 4, archives: 1 }).await.unwrap();
    let first = network.nodes[0].multiaddr();
    network.nodes[4].settings.boot_nodes = vec![first];
    let clients = network.start_nodes(&[0, 1, 2, 3, 4]).await.unwrap();
    wait_for_peers(&clients[4], 4).await;
    network.nodes[4].stop(Signal::Terminate).await.unwrap();
    network.nodes[0].kill().await.unwrap();
    // Three of four go on.
    let block = transfer(&clients[1], "Alice", "Ferdie", VALUE).await.unwrap();
    let height = height_of(&clients[1], &block).await.unwrap();

    let late = network.nodes[4].start().await.unwrap();
    assert_eq!(wait_for_peers(&late, 3).await.len(), 3);
    Observer::new(&late).await.unwrap().reach(height).await.unwrap();
}

/// Four validators that talk to each other and to the sentry, the sentry, and a node that knows the sentry alone.
async fn behind_a_sentry() -> (Network, Vec<Rpc>) {
    let mut network = Network::prepare(Shape { validators: 4, archives: 2 }).await.unwrap();
    let addresses: Vec<String> = network.nodes.iter().map(|node| node.multiaddr()).collect();
    let quoted = |chosen: &[&String]| serde_json::to_string(chosen).unwrap();
    for (position, node) in network.nodes.iter_mut().enumerate() {
        let others: Vec<_> = addresses[..5].iter().filter(|one| **one != addresses[position]).collect();
        node.settings.boot_nodes = Vec::new();
        match position {
            0..4 => node.settings.network = vec![format!("reserved = {}\nreserved_only = true", quoted(&others))],
            4 => node.settings.network = vec![format!("reserved = {}", quoted(&others))],
            _ => node.settings.boot_nodes = vec![addresses[4].clone()],
        }
    }
    let clients = network.start_nodes(&[0, 1, 2, 3, 4, 5]).await.unwrap();
    (network, clients)
}

#[tokio::test]
async fn blocks_and_transactions_pass_a_sentry_to_and_from_a_node_that_sees_no_validator() {
    let (mut network, clients) = behind_a_sentry().await;
    let (sentry, outside) = (&clients[4], &clients[5]);
    wait_for_peers(sentry, 5).await;
    // The transfer goes in from outside, the news of its block comes back.
    for _ in 0..3 {
        let block = transfer(outside, "Alice", "Ferdie", VALUE).await.unwrap();
        let height = height_of(outside, &block).await.unwrap();
        Observer::new(&clients[0]).await.unwrap().reach(height).await.unwrap();
    }
    let seen = peers(outside).await.unwrap();
    let sentry_id = network.nodes[4].multiaddr().rsplit('/').next().unwrap().to_owned();
    assert_eq!(seen, [sentry_id].into(), "it is connected with the sentry alone");
    for validator in &clients[..4] {
        assert_eq!(wait_for_peers(validator, 4).await.len(), 4);
    }
    network.nodes[5].stop(Signal::Terminate).await.unwrap();
    let remembered = std::fs::read_to_string(network.nodes[5].folder.join("peers.json")).unwrap();
    let remembered: Value = serde_json::from_str(&remembered).unwrap();
    assert_eq!(remembered["known"].as_array().unwrap().len(), 1, "the sentry told of no validator: {remembered}");
}

#[tokio::test]
async fn only_validator_stays_caught_up_when_its_last_peer_leaves() {
    let (mut network, clients) = Network::start(Shape { validators: 1, archives: 1 }).await.unwrap();
    let is_syncing = async || -> anyhow::Result<bool> {
        let health: Value = clients[0].call("system_health", Vec::<Value>::new()).await?;
        Ok(health["isSyncing"].as_bool().unwrap())
    };
    wait_for_peers(&clients[0], 1).await;
    until("the validator has caught up", async || Ok((!is_syncing().await?).then_some(()))).await.unwrap();
    network.nodes[1].stop(Signal::Terminate).await.unwrap();
    network.nodes[0].logs("to=idle").await.unwrap();
    assert!(!is_syncing().await.unwrap(), "there is nobody whose blocks it could lack");
}
