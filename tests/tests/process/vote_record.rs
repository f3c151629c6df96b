//! A validator without the record of its votes.

use cairn_tests::harness::{Network, Observer, Shape, cairn, fast_spec, hashes, until};
use cairn_tests::rpc::Rpc;
use serde_json::Value;
use std::fs;

async fn is_silent(rpc: &Rpc) -> bool {
    let state: Value = rpc.call("cairn_consensusState", jsonrpsee::rpc_params![]).await.unwrap();
    state["isSilent"].as_bool().unwrap()
}

#[tokio::test]
async fn validator_without_its_vote_record_is_silent_until_its_votes_can_do_no_harm() {
    let keys = tempfile::tempdir().unwrap();
    let file = keys.path().join("consensus.json");
    let arguments = ["--json", "keys", "generate", "--kind", "consensus", "--out", file.to_str().unwrap()];
    let made: Value = serde_json::from_str(&cairn(keys.path(), arguments).unwrap().stdout).unwrap();
    let mut document = fast_spec(4, "record").unwrap().document().clone();
    document.validators[3].key = made["public"].as_str().unwrap().to_owned();
    let shape = Shape { validators: 4, archives: 0 };
    let mut network = Network::prepare_chain(document.check().unwrap(), shape).await.unwrap();
    network.nodes[3].settings.consensus_key = Some(file.display().to_string());
    let clients = network.start_nodes(&[0, 1, 2, 3]).await.unwrap();
    Observer::new(&clients[0]).await.unwrap().reach(3).await.unwrap();
    assert!(!is_silent(&clients[3]).await);

    // Two are down, so nothing becomes final that could end the silence.
    network.nodes[3].kill().await.unwrap();
    network.nodes[2].kill().await.unwrap();
    fs::remove_file(file.with_extension("votes")).unwrap();
    let fourth = network.node(3).unwrap().start().await.unwrap();
    assert!(is_silent(&fourth).await);
    network.nodes[3].logs("signs nothing").await.unwrap();
    let third = network.node(2).unwrap().start().await.unwrap();
    let voting = || async { Ok((!is_silent(&fourth).await).then_some(())) };
    until("the end of the silence", voting).await.unwrap();
    network.nodes[3].logs("it signs votes again").await.unwrap();

    // Its votes count again: without them there is no quorum now.
    network.nodes[2].kill().await.unwrap();
    drop(third);
    let height = Observer::new(&clients[0]).await.unwrap().height + 3;
    for client in [&clients[0], &clients[1], &fourth] {
        Observer::new(client).await.unwrap().reach(height).await.unwrap();
    }
    assert_eq!(hashes(&fourth, height).await.unwrap(), hashes(&clients[0], height).await.unwrap());
}
