//! Notification names, order, completeness and what ends a subscription.

use super::Rig;
use super::fake::{KEY, extrinsic};
use crate::config::RpcConfig;
use crate::ports::TransactionStatus;
use cairn_primitives::{Hash, Height};
use parity_scale_codec::Encode;
use serde_json::{Value, json};
use std::time::Duration;

fn number(header: &Value) -> u32 {
    u32::from_str_radix(&header["number"].as_str().unwrap()[2..], 16).unwrap()
}

#[tokio::test]
async fn heads_come_under_the_exact_names_from_the_current_one_on() {
    let rig = Rig::start().await;
    rig.chain.grow(3);
    for (subscribe, unsubscribe, notification) in [
        ("chain_subscribeNewHeads", "chain_unsubscribeNewHeads", "chain_newHead"),
        ("chain_subscribeNewHead", "chain_unsubscribeNewHead", "chain_newHead"),
        ("subscribe_newHead", "unsubscribe_newHead", "chain_newHead"),
        ("chain_subscribeAllHeads", "chain_unsubscribeAllHeads", "chain_allHead"),
        ("chain_subscribeFinalizedHeads", "chain_unsubscribeFinalizedHeads", "chain_finalizedHead"),
        ("chain_subscribeFinalisedHeads", "chain_unsubscribeFinalisedHeads", "chain_finalizedHead"),
    ] {
        let mut ws = rig.ws().await;
        let id = ws.call(subscribe, json!([])).await.unwrap();
        let start = rig.chain.grow(1)[0].height.0 - 1;
        for height in start..=start + 1 {
            let (method, subscription, header) = ws.notification().await;
            assert_eq!((method.as_str(), json!(subscription)), (notification, id.clone()));
            assert_eq!(number(&header), height);
        }
        assert_eq!(ws.call(unsubscribe, json!([id])).await, Ok(json!(true)));
        assert_eq!(ws.call(unsubscribe, json!([id])).await, Ok(json!(false)));
        rig.chain.grow(1);
        // Nothing but the answer comes.
        assert!(ws.call("system_chain", json!([])).await.is_ok());
        assert!(ws.frame_is_quiet());
    }
}

#[tokio::test]
async fn every_head_comes_once_in_order_to_a_subscriber_that_lags() {
    let rig = Rig::start().await;
    let mut ws = rig.ws().await;
    ws.call("chain_subscribeFinalizedHeads", json!([])).await.unwrap();
    // On one thread the feed cannot run in between: far more heads than it keeps, in several steps.
    for count in [1, 300, 1, 700] {
        rig.chain.grow(count);
        tokio::task::yield_now().await;
    }
    for height in 0..=1_002 {
        let (_, _, header) = ws.notification().await;
        assert_eq!(number(&header), height);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn new_head_of_a_block_comes_before_its_finalized_head() {
    let rig = Rig::start().await;
    let mut ws = rig.ws().await;
    for subscribe in ["chain_subscribeFinalizedHeads", "chain_subscribeAllHeads", "chain_subscribeNewHeads"] {
        ws.call(subscribe, json!([])).await.unwrap();
    }
    let heads = 200;
    for _ in 0..heads {
        rig.chain.grow(1);
        tokio::task::yield_now().await;
    }
    let (mut new, mut all, mut finalized) = (None, None, None);
    while finalized != Some(heads) {
        let (method, _, header) = ws.notification().await;
        let height = number(&header);
        match method.as_str() {
            "chain_newHead" => new = Some(height),
            "chain_allHead" => all = Some(height),
            _ => {
                // The finalized subscription began first: its first head was sent before the others existed.
                if height > 0 {
                    assert!(new >= Some(height) && all >= Some(height), "finalized {height}, new {new:?}, all {all:?}");
                }
                finalized = Some(height);
            }
        }
    }
}

#[tokio::test]
async fn blocks_resume_from_a_height_without_gap() {
    let rig = Rig::start().await;
    rig.chain.grow(100);
    rig.chain.commit(&[], vec![extrinsic(1)], true);
    let mut ws = rig.ws().await;
    ws.call("cairn_subscribeBlocks", json!([5, "hashes"])).await.unwrap();
    for height in 5..=101 {
        let (method, _, block) = ws.notification().await;
        assert_eq!((method.as_str(), &block["height"]), ("cairn_block", &json!(height)));
        assert_eq!(block["hash"], json!(rig.hash(height).to_string()));
        assert_eq!(block["timestampMs"], json!(1_000 + height));
        let hashes = if height == 101 { json!([extrinsic(1).hash().to_string()]) } else { json!([]) };
        assert_eq!(block["extrinsicHashes"], hashes);
    }
    rig.chain.grow(1);
    assert_eq!(ws.notification().await.2["height"], 102);

    let mut other = rig.ws().await;
    other.call("cairn_subscribeBlocks", json!([103])).await.unwrap();
    rig.chain.grow(1);
    let (_, _, block) = other.notification().await;
    assert_eq!((&block["height"], &block["header"]["number"]), (&json!(103), &json!("0x67")));
    assert!(block.get("extrinsicHashes").is_none());
    for bad in [json!([200]), json!(["x"]), json!([1, "everything"])] {
        assert_eq!(other.call("cairn_subscribeBlocks", bad).await.unwrap_err()["code"], -32602);
    }
}

#[tokio::test]
async fn events_resume_from_a_height_without_gap_and_are_chosen_by_their_bytes() {
    let rig = Rig::start().await;
    rig.chain.commit(&[], vec![extrinsic(1), extrinsic(2)], true);
    rig.chain.grow(2);
    let mut ws = rig.ws().await;
    ws.call("cairn_subscribeEvents", json!([null, 0])).await.unwrap();
    for height in 0..=3 {
        let (method, _, message) = ws.notification().await;
        assert_eq!((method.as_str(), &message["height"]), ("cairn_event", &json!(height)));
        assert_eq!(message["hash"], json!(rig.hash(height).to_string()));
        assert_eq!(message["events"].as_array().unwrap().len(), if height == 1 { 4 } else { 0 });
    }
    // Only of the second extrinsic, whose place is in the record.
    let mut other = rig.ws().await;
    let filter = json!({ "contains": ["0x0001000000", "0xffff"] });
    other.call("cairn_subscribeEvents", json!([filter, 1])).await.unwrap();
    let (_, _, message) = other.notification().await;
    let expected = json!([
        { "index": 2, "extrinsic": 1, "event": "0x000100000009" },
        { "index": 3, "extrinsic": 1, "event": "0x000100000000" },
    ]);
    assert_eq!((&message["height"], &message["events"]), (&json!(1), &expected));
    rig.chain.commit(&[], vec![extrinsic(1)], true);
    for height in [4] {
        assert_eq!(ws.notification().await.2["height"], height);
    }
    let long = format!("0x{}", "00".repeat(65));
    for bad in [
        json!([{ "contains": ["0x"] }]),
        json!([{ "contains": [long] }]),
        json!([{ "contains": vec!["0x00"; 65] }]),
        json!([{ "contains": "0x00" }]),
        json!([{ "holds": [] }]),
        json!([null, 200]),
        json!([null, "x"]),
    ] {
        assert_eq!(other.call("cairn_subscribeEvents", bad.clone()).await.unwrap_err()["code"], -32602, "{bad}");
    }
}

#[tokio::test]
async fn transaction_is_followed_wherever_it_is() {
    let rig = Rig::start().await;
    let head = rig.chain.commit(&[], vec![extrinsic(1), extrinsic(2)], true);
    let mut ws = rig.ws().await;
    let included = json!({ "status": "finalized", "blockHash": head.hash.to_string(), "height": 1, "index": 1 });
    ws.call("cairn_subscribeTransaction", json!([extrinsic(2).hash().to_string()])).await.unwrap();
    assert_eq!(ws.notification().await.2, included);
    let block = head.hash;
    *rig.pool.statuses.lock().unwrap() =
        vec![TransactionStatus::Future, TransactionStatus::Included { block, index: 1 }];
    ws.call("cairn_subscribeTransaction", json!([extrinsic(9).hash().to_string()])).await.unwrap();
    for expected in [json!({ "status": "waiting" }), json!({ "status": "future" }), included] {
        let (method, _, message) = ws.notification().await;
        assert_eq!((method.as_str(), message), ("cairn_transaction", expected));
    }
    for (status, expected) in [
        (TransactionStatus::Usurped(block), json!({ "status": "usurped", "by": block.to_string() })),
        (TransactionStatus::Dropped, json!({ "status": "dropped" })),
        (TransactionStatus::Invalid, json!({ "status": "invalid" })),
    ] {
        *rig.pool.statuses.lock().unwrap() = vec![status];
        ws.call("cairn_subscribeTransaction", json!([extrinsic(9).hash().to_string()])).await.unwrap();
        assert_eq!(ws.notification().await.2, json!({ "status": "waiting" }));
        assert_eq!(ws.notification().await.2, expected);
    }
    assert_eq!(ws.call("cairn_subscribeTransaction", json!(["0x00"])).await.unwrap_err()["code"], -32602);
}

#[tokio::test]
async fn storage_comes_at_once_and_then_only_what_changes() {
    let rig = Rig::start().await;
    let mut ws = rig.ws().await;
    let key = |bytes: &[u8]| format!("0x{}", hex::encode(bytes));
    let id = ws.call("state_subscribeStorage", json!([[key(b"a"), key(b"b")]])).await.unwrap();
    let (method, subscription, set) = ws.notification().await;
    assert_eq!((method.as_str(), json!(subscription)), ("state_storage", id.clone()));
    let both = json!([[key(b"a"), null], [key(b"b"), null]]);
    assert_eq!(set, json!({ "block": rig.hash(0).to_string(), "changes": both }));
    rig.chain.commit(&[(b"c", b"other")], Vec::new(), true);
    rig.chain.commit(&[(b"b", b"new")], Vec::new(), true);
    rig.chain.commit(&[(b"b", b"new")], Vec::new(), true);
    rig.chain.commit(&[(b"b", b"last")], Vec::new(), true);
    for (height, value) in [(2, b"new".as_slice()), (4, b"last")] {
        let (_, _, set) = ws.notification().await;
        let changes = json!([[key(b"b"), key(value)]]);
        assert_eq!(set, json!({ "block": rig.hash(height).to_string(), "changes": changes }));
    }
    assert_eq!(ws.call("state_unsubscribeStorage", json!([id])).await, Ok(json!(true)));
    for bad in [json!([]), json!([null]), json!(["0x00"]), json!([["zz"]]), json!([vec!["0x00"; 1_001]])] {
        assert_eq!(ws.call("state_subscribeStorage", bad).await.unwrap_err()["code"], -32602);
    }
}

#[tokio::test]
async fn runtime_version_comes_at_once_and_when_it_changes() {
    let rig = Rig::start().await;
    let mut ws = rig.ws().await;
    for subscribe in ["state_subscribeRuntimeVersion", "chain_subscribeRuntimeVersion"] {
        ws.call(subscribe, json!([])).await.unwrap();
        let (method, _, version) = ws.notification().await;
        assert_eq!((method.as_str(), &version["specVersion"]), ("state_runtimeVersion", &json!(1)));
    }
    rig.chain.grow(2);
    *rig.chain.spec_version.lock().unwrap() = 2;
    rig.chain.grow(1);
    for _ in 0..2 {
        assert_eq!(ws.notification().await.2["specVersion"], 2);
    }
}

#[tokio::test]
async fn watched_transaction_reports_each_state_once_and_then_ends() {
    let rig = Rig::start().await;
    let mut ws = rig.ws().await;
    let block = Hash([3; 32]);
    let bytes = json!([format!("0x{}", hex::encode(extrinsic(1).encode()))]);
    for (statuses, expected) in [
        (
            vec![TransactionStatus::Future, TransactionStatus::Ready, TransactionStatus::Included { block, index: 1 }],
            vec![
                json!("future"),
                json!("ready"),
                json!({ "inBlock": block.to_string() }),
                json!({ "finalized": block.to_string() }),
            ],
        ),
        (vec![TransactionStatus::Usurped(block)], vec![json!({ "usurped": block.to_string() })]),
        (vec![TransactionStatus::Ready, TransactionStatus::Dropped], vec![json!("ready"), json!("dropped")]),
        (vec![TransactionStatus::Invalid], vec![json!("invalid")]),
    ] {
        *rig.pool.statuses.lock().unwrap() = statuses;
        let id = ws.call("author_submitAndWatchExtrinsic", bytes.clone()).await.unwrap();
        for expected in expected {
            let (method, subscription, status) = ws.notification().await;
            assert_eq!((method.as_str(), json!(subscription)), ("author_extrinsicUpdate", id.clone()));
            assert_eq!(status, expected);
        }
        // Clients unwatch what has ended and take an error for a failure.
        assert!(ws.call("author_unwatchExtrinsic", json!([id])).await.unwrap().is_boolean());
    }
}

#[tokio::test]
async fn subscriber_that_does_not_read_is_dropped_with_a_reason() {
    let config = RpcConfig {
        connection_buffer_len: 1,
        slow_subscriber_timeout: Duration::from_millis(50),
        ..RpcConfig::default()
    };
    let rig = Rig::with(config).await;
    let mut ws = rig.ws().await;
    let key = format!("0x{}", hex::encode(KEY));
    ws.call("state_subscribeStorage", json!([[key]])).await.unwrap();
    // More than the sockets of both sides buffer.
    for step in 0..40u8 {
        rig.chain.commit(&[(KEY, &vec![step; 512 << 10])], Vec::new(), true);
    }
    super::client::patient(async {
        while rig.metric("cairn_rpc_subscribers_slow_total", None) < 1.0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let end = loop {
        let (_, _, payload) = ws.notification().await;
        if payload.get("code").is_some() {
            break payload;
        }
    };
    assert_eq!((&end["code"], &end["data"]["reason"]), (&json!(-32052), &json!("slow_subscriber")));
    assert_eq!(rig.metric("cairn_rpc_subscriptions_count", None), 0.0);
}

#[tokio::test]
async fn failed_read_ends_the_subscription_with_the_error() {
    let rig = Rig::start().await;
    let mut ws = rig.ws().await;
    ws.call("state_subscribeStorage", json!([["0x00"]])).await.unwrap();
    ws.notification().await;
    *rig.chain.lowest.lock().unwrap() = Height(100);
    rig.chain.grow(1);
    let (_, _, end) = ws.notification().await;
    assert_eq!((&end["code"], &end["data"]["minHeight"]), (&json!(4001), &json!(100)));
}
