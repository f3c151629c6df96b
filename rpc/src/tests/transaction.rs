//! `transaction_v1_*` and `transactionWatch_v1_*` as their specifications have them.

use super::Rig;
use super::client::patient;
use super::fake::{FULL, KNOWN, STALE, extrinsic};
use crate::ports::TransactionStatus;
use crate::{ChainPort as _, RpcConfig};
use cairn_primitives::Hash;
use parity_scale_codec::Encode;
use serde_json::{Value, json};

fn submitted(last: u8) -> Value {
    json!([format!("0x{}", hex::encode(extrinsic(last).encode()))])
}

#[tokio::test]
async fn broadcast_offers_again_until_stopped() {
    let rig = Rig::start().await;
    let mut ws = rig.ws().await;
    let id = ws.call("transaction_v1_broadcast", submitted(1)).await.unwrap();
    assert!(id.is_string());
    let offered = || rig.pool.accepted.lock().unwrap().len();
    patient(async {
        while offered() < 3 {
            rig.chain.grow(1);
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(ws.call("transaction_v1_stop", json!([id])).await, Ok(Value::Null));
    let count = offered();
    rig.chain.grow(50);
    for _ in 0..20 {
        assert!(ws.call("system_chain", json!([])).await.is_ok());
    }
    assert_eq!(offered(), count, "it was offered after it was stopped");
    assert_eq!(ws.call("transaction_v1_stop", json!([id])).await.unwrap_err()["code"], -32602);
    for bad in [json!([]), json!(["zz"]), json!([1])] {
        assert_eq!(ws.call("transaction_v1_broadcast", bad).await.unwrap_err()["code"], -32602);
    }
}

#[tokio::test]
async fn broadcasts_are_bounded_and_end_with_their_connection() {
    let rig = Rig::with(RpcConfig { broadcasts_per_connection_max: 4, ..RpcConfig::default() }).await;
    let mut ws = rig.ws().await;
    let mut ids = Vec::new();
    // Bytes that are no transaction count as well, and nothing is said about them.
    for params in [submitted(1), submitted(STALE), json!(["0x00ff"]), submitted(2)] {
        ids.push(ws.call("transaction_v1_broadcast", params).await.unwrap());
    }
    assert_eq!(ws.call("transaction_v1_broadcast", submitted(3)).await, Ok(Value::Null));
    ws.call("transaction_v1_stop", json!([ids[2]])).await.unwrap();
    assert!(ws.call("transaction_v1_broadcast", submitted(3)).await.unwrap().is_string());
    assert!(rig.ws().await.call("transaction_v1_stop", json!([ids[0]])).await.is_err(), "of another connection");
    drop(ws);
    patient(async {
        loop {
            let before = rig.pool.accepted.lock().unwrap().len();
            for _ in 0..20 {
                rig.chain.grow(1);
                tokio::task::yield_now().await;
            }
            if rig.pool.accepted.lock().unwrap().len() == before {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn watched_transaction_reports_events_to_the_last() {
    let rig = Rig::start().await;
    let mut ws = rig.ws().await;
    let block = Hash([3; 32]);
    let place = json!({ "hash": block.to_string(), "index": 1 });
    let validated = json!({ "event": "validated" });
    for (last, statuses, expected) in [
        (
            1,
            vec![TransactionStatus::Future, TransactionStatus::Ready, TransactionStatus::Included { block, index: 1 }],
            vec![
                validated.clone(),
                json!({ "event": "bestChainBlockIncluded", "block": place }),
                json!({ "event": "finalized", "block": place }),
            ],
        ),
        (1, vec![TransactionStatus::Ready, TransactionStatus::Dropped], vec![validated.clone(), json!("dropped")]),
        (1, vec![TransactionStatus::Usurped(block)], vec![json!("invalid")]),
        (1, vec![TransactionStatus::Invalid], vec![json!("invalid")]),
        (1, vec![], vec![json!("dropped")]),
        (STALE, vec![], vec![json!("invalid")]),
        (FULL, vec![], vec![json!("dropped")]),
        (KNOWN, vec![TransactionStatus::Dropped], vec![validated, json!("dropped")]),
    ] {
        *rig.pool.statuses.lock().unwrap() = statuses;
        let id = ws.call("transactionWatch_v1_submitAndWatch", submitted(last)).await.unwrap();
        for expected in expected {
            let (method, subscription, event) = ws.notification().await;
            assert_eq!((method.as_str(), json!(subscription)), ("transactionWatch_v1_watchEvent", id.clone()));
            if expected.is_string() {
                assert_eq!(event["event"], expected);
                assert!(event["error"].is_string());
            } else {
                assert_eq!(event, expected);
            }
        }
    }
}

#[tokio::test]
async fn transaction_that_is_in_a_block_already_is_reported_there() {
    let rig = Rig::start().await;
    let head = rig.chain.commit(&[], vec![extrinsic(9), extrinsic(KNOWN)], true);
    let mut ws = rig.ws().await;
    ws.call("transactionWatch_v1_submitAndWatch", submitted(KNOWN)).await.unwrap();
    for event in ["bestChainBlockIncluded", "finalized"] {
        let block = json!({ "hash": head.hash.to_string(), "index": 1 });
        assert_eq!(ws.notification().await.2, json!({ "event": event, "block": block }));
    }
    assert_eq!(rig.chain.head(), head);
}

#[tokio::test]
async fn bytes_that_are_no_transaction_are_told_by_an_event_and_bad_text_is_refused() {
    let rig = Rig::start().await;
    let mut ws = rig.ws().await;
    ws.call("transactionWatch_v1_submitAndWatch", json!(["0x00ff"])).await.unwrap();
    assert_eq!(ws.notification().await.2["event"], "invalid");
    for bad in [json!([]), json!(["zz"]), json!([{}])] {
        assert_eq!(ws.call("transactionWatch_v1_submitAndWatch", bad).await.unwrap_err()["code"], -32602);
    }
    let id = ws.call("chain_subscribeNewHeads", json!([])).await.unwrap();
    for other in [json!(["gone"]), json!([id])] {
        assert_eq!(ws.call("transactionWatch_v1_unwatch", other).await.unwrap_err()["code"], -32602);
    }
}
