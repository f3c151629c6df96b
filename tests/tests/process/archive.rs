//! An archive node that starts late has every block and every state.

use cairn_runtime::keys;
use cairn_tests::harness::{Network, Observer, Shape, account, hashes, height_of, id, transfer};
use cairn_tests::rpc::to_hex;
use serde_json::{Value, json};

/// How many blocks late, unless `CAIRN_TEST_LATE_BLOCKS` says otherwise.
const LATE_BLOCKS: u32 = 60;

fn late_blocks() -> u32 {
    let named = std::env::var("CAIRN_TEST_LATE_BLOCKS").ok();
    named.map_or(LATE_BLOCKS, |text| text.parse().expect("CAIRN_TEST_LATE_BLOCKS is a number"))
}

#[tokio::test]
async fn archive_node_started_late_answers_for_every_height() {
    let mut network = Network::prepare(Shape { validators: 2, archives: 1 }).await.unwrap();
    let clients = network.start_nodes(&[0, 1]).await.unwrap();
    let first = &clients[0];

    // What Ferdie owns from which height on.
    let mut owned = vec![(0, account(first, "Ferdie", None).await.unwrap().data.free)];
    let mut height = 0;
    while height < late_blocks() {
        let value = 1_000_000 + u128::from(height);
        let block = transfer(first, "Alice", "Ferdie", value).await.unwrap();
        height = height_of(first, &block).await.unwrap();
        owned.push((height, owned.last().unwrap().1 + value));
    }

    let late = network.node(2).unwrap().start().await.unwrap();
    Observer::new(&late).await.unwrap().reach(height).await.unwrap();

    let expected = hashes(first, height).await.unwrap();
    assert_eq!(hashes(&late, height).await.unwrap(), expected);
    let mut steps = owned.iter().peekable();
    let mut balance = 0;
    for (height, hash) in (0u32..).zip(&expected) {
        while let Some((_, after)) = steps.next_if(|(from, _)| *from <= height) {
            balance = *after;
        }
        let found = account(&late, "Ferdie", Some(hash)).await.unwrap().data.free;
        assert_eq!(found, balance, "height {height}");
    }

    // It goes on with the chain, and proves what it has.
    let block = transfer(&late, "Alice", "Ferdie", 7).await.unwrap();
    assert!(height_of(&late, &block).await.unwrap() > height);
    let key = to_hex(&keys::system_account(&id("Ferdie")));
    let newest = &expected[expected.len() - 1];
    let proof: Value = late.call("cairn_getProof", vec![json!([key]), json!(newest)]).await.unwrap();
    assert_eq!(proof["block"]["hash"], json!(newest));
}
