//! `chainHead_v1_*` as its specification has it.

use super::client::Ws;
use super::fake::{KEY, extrinsic};
use super::{Rig, client};
use crate::RpcConfig;
use crate::ports::ChainPort;
use cairn_primitives::hash::blake2_256;
use cairn_primitives::{Hash, Height};
use parity_scale_codec::Encode;
use serde_json::{Value, json};

fn hex_of(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// A follow subscription: its id and its events.
struct Followed {
    ws: Ws,
    id: Value,
}

impl Followed {
    async fn start(rig: &Rig, with_runtime: bool) -> Self {
        let mut ws = rig.ws().await;
        let id = ws.call("chainHead_v1_follow", json!([with_runtime])).await.unwrap();
        Self { ws, id }
    }

    /// As [`Followed::start`], with the first two events read; the first is returned.
    async fn started(rig: &Rig) -> (Self, Value) {
        let mut followed = Self::start(rig, true).await;
        let initialized = followed.event("initialized").await;
        followed.event("bestBlockChanged").await;
        (followed, initialized)
    }

    async fn next(&mut self) -> Value {
        let (method, id, event) = self.ws.notification().await;
        assert_eq!((method.as_str(), &json!(id)), ("chainHead_v1_followEvent", &self.id));
        event
    }

    async fn event(&mut self, name: &str) -> Value {
        let event = self.next().await;
        assert_eq!(event["event"], name, "{event}");
        event
    }

    async fn call(&mut self, method: &str, rest: &[Value]) -> Result<Value, Value> {
        let mut params = vec![self.id.clone()];
        params.extend_from_slice(rest);
        self.ws.call(&format!("chainHead_v1_{method}"), Value::Array(params)).await
    }

    /// Starts an operation and returns its id.
    async fn begin(&mut self, method: &str, rest: &[Value]) -> Value {
        let answer = self.call(method, rest).await.unwrap();
        assert_eq!(answer["result"], "started", "{answer}");
        assert!(answer["operationId"].is_string());
        answer["operationId"].clone()
    }
}

#[tokio::test]
async fn follow_begins_with_last_finalized_blocks_and_reports_each_as_new_best_final() {
    let rig = Rig::start().await;
    rig.chain.grow(2);
    let (mut followed, initialized) = Followed::started(&rig).await;
    let hashes: Vec<_> = (0..=2).map(|height| rig.hash(height).to_string()).collect();
    assert_eq!(initialized["finalizedBlockHashes"], json!(hashes));
    let spec = &initialized["finalizedBlockRuntime"]["spec"];
    assert_eq!(initialized["finalizedBlockRuntime"]["type"], "valid");
    assert_eq!(spec["apis"], json!({ hex_of(&[0xdf; 8]): 5 }));
    for (field, value) in [("specName", json!("cairn")), ("specVersion", json!(1)), ("transactionVersion", json!(1))] {
        assert_eq!(spec[field], value, "{field}");
    }
    for step in 0..2_u32 {
        if step == 1 {
            *rig.chain.spec_version.lock().unwrap() = 2;
        }
        let parent = rig.chain.head().hash.to_string();
        let hash = rig.chain.grow(1)[0].hash.to_string();
        let new = followed.event("newBlock").await;
        assert_eq!((&new["blockHash"], &new["parentBlockHash"]), (&json!(hash), &json!(parent)));
        if step == 0 {
            assert_eq!(new["newRuntime"], Value::Null);
        } else {
            assert_eq!(new["newRuntime"]["spec"]["specVersion"], 2);
        }
        assert_eq!(followed.event("bestBlockChanged").await["bestBlockHash"], hash);
        let finalized = followed.event("finalized").await;
        assert_eq!(finalized["finalizedBlockHashes"], json!([hash]));
        assert_eq!(finalized["prunedBlockHashes"], json!([]));
    }
    assert_eq!(followed.call("unfollow", &[]).await, Ok(Value::Null));
    assert_eq!(followed.call("unfollow", &[]).await, Ok(Value::Null));
}

#[tokio::test]
async fn follow_without_runtime_names_none_and_refuses_calls() {
    let rig = Rig::start().await;
    let mut followed = Followed::start(&rig, false).await;
    assert!(followed.event("initialized").await.get("finalizedBlockRuntime").is_none());
    followed.event("bestBlockChanged").await;
    let hash = json!(rig.chain.grow(1)[0].hash.to_string());
    assert!(followed.event("newBlock").await.get("newRuntime").is_none());
    let error = followed.call("call", &[hash, json!("Echo"), json!("0x")]).await.unwrap_err();
    assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(-32802), &json!("follow_without_runtime")));
    for bad in [json!([]), json!(["yes"]), json!([null])] {
        assert_eq!(followed.ws.call("chainHead_v1_follow", bad).await.unwrap_err()["code"], -32602);
    }
}

#[tokio::test]
async fn connection_has_a_limit_of_follows_that_an_end_frees() {
    let rig = Rig::with(RpcConfig { follows_per_connection_max: 2, ..RpcConfig::default() }).await;
    let mut ws = rig.ws().await;
    ws.call("chainHead_v1_follow", json!([true])).await.unwrap();
    let second = ws.call("chainHead_v1_follow", json!([false])).await.unwrap();
    assert_eq!(ws.call("chainHead_v1_follow", json!([true])).await.unwrap_err()["code"], -32800);
    assert!(rig.ws().await.call("chainHead_v1_follow", json!([true])).await.is_ok(), "others are not concerned");
    ws.call("chainHead_v1_unfollow", json!([second])).await.unwrap();
    client::patient(async {
        while ws.call("chainHead_v1_follow", json!([true])).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn header_is_that_of_a_pinned_block_alone() {
    let rig = Rig::start().await;
    let (mut followed, _) = Followed::started(&rig).await;
    let hash = rig.hash(0);
    let header = rig.chain.header(&hash).unwrap().unwrap();
    let text = json!(hash.to_string());
    assert_eq!(followed.call("header", std::slice::from_ref(&text)).await, Ok(json!(hex_of(&header.encode()))));
    assert_eq!(followed.call("unpin", std::slice::from_ref(&text)).await, Ok(Value::Null));
    for unknown in [text.clone(), json!(hex_of(&[9; 32]))] {
        let error = followed.call("header", std::slice::from_ref(&unknown)).await.unwrap_err();
        assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(-32801), &json!("block_not_pinned")));
        for method in ["body", "storage"] {
            let error = followed.call(method, &[unknown.clone(), json!([])]).await.unwrap_err();
            assert_eq!(error["code"], -32801, "{method}");
        }
    }
    let stale = json!(["none", text]);
    assert_eq!(followed.ws.call("chainHead_v1_header", stale.clone()).await, Ok(Value::Null));
    assert_eq!(followed.ws.call("chainHead_v1_unpin", stale.clone()).await, Ok(Value::Null));
    let limit = followed.ws.call("chainHead_v1_body", stale).await;
    assert_eq!(limit, Ok(json!({ "result": "limitReached" })));
    assert_eq!(followed.call("header", &[json!("0x12")]).await.unwrap_err()["code"], -32602);
}

#[tokio::test]
async fn unpin_takes_all_or_none() {
    let rig = Rig::start().await;
    rig.chain.grow(3);
    let (mut followed, initialized) = Followed::started(&rig).await;
    let hashes = initialized["finalizedBlockHashes"].as_array().unwrap().clone();
    let unknown = json!([hashes[0], hex_of(&[9; 32])]);
    assert_eq!(followed.call("unpin", &[unknown]).await.unwrap_err()["code"], -32801);
    let twice = json!([hashes[0], hashes[0]]);
    assert_eq!(followed.call("unpin", &[twice]).await.unwrap_err()["code"], -32804);
    assert!(followed.call("header", &[hashes[0].clone()]).await.is_ok(), "nothing was unpinned");
    assert_eq!(followed.call("unpin", &[json!([hashes[0], hashes[1]])]).await, Ok(Value::Null));
    assert!(followed.call("header", &[hashes[1].clone()]).await.is_err());
    assert!(followed.call("header", &[hashes[2].clone()]).await.is_ok());
}

#[tokio::test]
async fn too_many_pins_stop_the_subscription() {
    let rig = Rig::with(RpcConfig { pinned_blocks_max: 3, ..RpcConfig::default() }).await;
    let (mut followed, _) = Followed::started(&rig).await;
    rig.chain.grow(3);
    loop {
        let event = followed.next().await;
        if event["event"] == "stop" {
            break;
        }
        assert_ne!(event["blockHash"], json!(rig.hash(3).to_string()), "a fourth block is pinned");
    }
    let text = json!(rig.hash(1).to_string());
    assert_eq!(followed.call("header", &[text]).await, Ok(Value::Null), "the subscription is over");
}

#[tokio::test]
async fn body_and_call_answer_by_events() {
    let rig = Rig::start().await;
    let head = rig.chain.commit(&[], vec![extrinsic(1), extrinsic(2)], true);
    let (mut followed, _) = Followed::started(&rig).await;
    let at = json!(head.hash.to_string());
    let id = followed.begin("body", std::slice::from_ref(&at)).await;
    let done = followed.event("operationBodyDone").await;
    let body = [extrinsic(1), extrinsic(2)].map(|extrinsic| hex_of(&extrinsic.encode()));
    assert_eq!((&done["operationId"], &done["value"]), (&id, &json!(body)));
    let id = followed.begin("call", &[at.clone(), json!("Echo"), json!("0x0102")]).await;
    let done = followed.event("operationCallDone").await;
    assert_eq!((&done["operationId"], &done["output"]), (&id, &json!("0x0102")));
    for function in ["Fail", "Missing"] {
        let id = followed.begin("call", &[at.clone(), json!(function), json!("0x")]).await;
        let error = followed.event("operationError").await;
        assert_eq!(error["operationId"], id);
        assert!(error["error"].as_str().unwrap().contains("Execution failed"), "{error}");
    }
    *rig.chain.lowest.lock().unwrap() = Height(100);
    followed.begin("call", &[at, json!("Echo"), json!("0x")]).await;
    followed.event("operationInaccessible").await;
}

#[tokio::test]
async fn storage_items_come_in_each_kind() {
    let rig = Rig::start().await;
    let head = rig.chain.commit(&[(b"map1", b"a"), (b"map2", b"b"), (b"other", b"c")], Vec::new(), true);
    let (mut followed, _) = Followed::started(&rig).await;
    let item = |key: &[u8], kind: &str| json!({ "key": hex_of(key), "type": kind });
    let value = |key: &[u8], value: &[u8]| json!({ "key": hex_of(key), "value": hex_of(value) });
    let hash = |key: &[u8], value: &[u8]| json!({ "key": hex_of(key), "hash": blake2_256(value).to_string() });
    for (kind, key, found) in [
        ("value", &b"map1"[..], json!([value(b"map1", b"a")])),
        ("hash", b"map1", json!([hash(b"map1", b"a")])),
        ("descendantsValues", b"map", json!([value(b"map1", b"a"), value(b"map2", b"b")])),
        ("descendantsHashes", b"map", json!([hash(b"map1", b"a"), hash(b"map2", b"b")])),
    ] {
        let at = json!(head.hash.to_string());
        let id = followed.begin("storage", &[at, json!([item(key, kind)]), Value::Null]).await;
        let items = followed.event("operationStorageItems").await;
        assert_eq!((&items["operationId"], &items["items"]), (&id, &found), "{kind}");
        assert_eq!(followed.event("operationStorageDone").await["operationId"], id);
    }
    // Neither what does not exist nor a child trie has items.
    let at = json!(head.hash.to_string());
    for (items, child) in [(json!([item(b"none", "value")]), Value::Null), (json!([item(KEY, "value")]), json!("0x01"))]
    {
        followed.begin("storage", &[at.clone(), items, child]).await;
        followed.event("operationStorageDone").await;
    }
    for bad in [json!([{ "key": "0x00" }]), json!([{ "key": "0x00", "type": "all" }]), json!("0x00"), Value::Null] {
        assert_eq!(followed.call("storage", &[at.clone(), bad]).await.unwrap_err()["code"], -32602);
    }
}

#[tokio::test]
async fn merkle_value_changes_with_what_is_below_alone() {
    let rig = Rig::start().await;
    let (mut followed, _) = Followed::started(&rig).await;
    let mut values = Vec::new();
    for change in [(&b"map1"[..], &b"a"[..]), (b"other", b"x"), (b"map2", b"b"), (b"map1", b"c")] {
        let at = json!(rig.chain.commit(&[change], Vec::new(), true).hash.to_string());
        for event in ["newBlock", "bestBlockChanged", "finalized"] {
            followed.event(event).await;
        }
        let items = json!([{ "key": hex_of(b"map"), "type": "closestDescendantMerkleValue" }]);
        followed.begin("storage", &[at, items]).await;
        let event = followed.event("operationStorageItems").await;
        assert_eq!(event["items"][0]["key"], hex_of(b"map"));
        values.push(event["items"][0]["closestDescendantMerkleValue"].as_str().unwrap().to_owned());
        followed.event("operationStorageDone").await;
    }
    assert_eq!(values[0], values[1], "another key changed");
    assert!(values[1] != values[2] && values[2] != values[3], "{values:?}");
}

#[tokio::test]
async fn long_walk_waits_to_be_continued_and_can_be_stopped() {
    let rig = Rig::start().await;
    let keys: Vec<_> = (0..3_000_u32).map(|index| format!("map{index:05}").into_bytes()).collect();
    let values: Vec<_> = keys.iter().map(|key| (key.as_slice(), &b"value"[..])).collect();
    let at = json!(rig.chain.commit(&values, Vec::new(), true).hash.to_string());
    let (mut followed, _) = Followed::started(&rig).await;
    let items = json!([{ "key": hex_of(b"map"), "type": "descendantsValues" }]);
    let id = followed.begin("storage", &[at.clone(), items.clone()]).await;
    let (mut found, mut waited) = (Vec::new(), 0);
    loop {
        let event = followed.next().await;
        assert_eq!(event["operationId"], id);
        match event["event"].as_str().unwrap() {
            "operationStorageItems" => {
                found.extend(event["items"].as_array().unwrap().iter().map(|item| item["key"].clone()));
            }
            "operationWaitingForContinue" => {
                waited += 1;
                assert_eq!(followed.call("continue", std::slice::from_ref(&id)).await, Ok(Value::Null));
            }
            "operationStorageDone" => break,
            other => panic!("{other}"),
        }
    }
    assert!(waited > 0);
    assert_eq!(found, keys.iter().map(|key| json!(hex_of(key))).collect::<Vec<_>>(), "each key once, in order");
    assert_eq!(followed.call("continue", &[id]).await, Ok(Value::Null), "an operation that is over is not continued");

    let id = followed.begin("storage", &[at, items]).await;
    while followed.next().await["event"] != "operationWaitingForContinue" {}
    assert_eq!(followed.call("stopOperation", std::slice::from_ref(&id)).await, Ok(Value::Null));
    assert_eq!(followed.call("stopOperation", std::slice::from_ref(&id)).await, Ok(Value::Null));
    assert_eq!(followed.call("continue", &[id]).await, Ok(Value::Null));
    assert!(followed.ws.frame_is_quiet());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_beyond_the_limit_are_discarded_or_refused() {
    let rig = Rig::with(RpcConfig { operations_per_follow_max: 3, ..RpcConfig::default() }).await;
    let (mut followed, _) = Followed::started(&rig).await;
    let at = json!(rig.hash(0).to_string());
    let held = std::sync::Arc::clone(&rig.chain);
    let (locked, release) = (std::sync::mpsc::sync_channel(0), std::sync::mpsc::sync_channel::<()>(0));
    let holder = std::thread::spawn(move || {
        let _gate = held.gate.lock().unwrap();
        locked.0.send(()).unwrap();
        assert!(release.1.recv().is_err(), "nothing is sent");
    });
    locked.1.recv().unwrap();
    let first = followed.begin("call", &[at.clone(), json!("Wait"), json!("0x")]).await;
    assert_eq!(followed.call("continue", &[first]).await.unwrap_err()["code"], -32803);
    let item = json!({ "key": hex_of(KEY), "type": "value" });
    let five = json!([item, item, item, item, item]);
    let answer = followed.call("storage", &[at.clone(), five]).await.unwrap();
    assert_eq!((&answer["result"], &answer["discardedItems"]), (&json!("started"), &json!(3)));
    let mut items = 0;
    loop {
        let event = followed.next().await;
        if event["event"] == "operationStorageDone" {
            break;
        }
        items += event["items"].as_array().unwrap().len();
    }
    assert_eq!(items, 2);
    for _ in 0..2 {
        followed.begin("call", &[at.clone(), json!("Wait"), json!("0x")]).await;
    }
    let refused = followed.call("body", std::slice::from_ref(&at)).await.unwrap();
    assert_eq!(refused, json!({ "result": "limitReached" }));
    drop(release.0);
    holder.join().unwrap();
    for _ in 0..3 {
        followed.event("operationCallDone").await;
    }
    followed.begin("body", &[at]).await;
    followed.event("operationBodyDone").await;
}

#[tokio::test]
async fn group_needs_a_websocket_and_stays_in_its_connection() {
    let rig = Rig::start().await;
    let (mut followed, _) = Followed::started(&rig).await;
    let params = json!([followed.id, rig.hash(0).to_string()]);
    assert_eq!(rig.ws().await.call("chainHead_v1_header", params.clone()).await, Ok(Value::Null));
    assert!(followed.ws.call("chainHead_v1_header", params.clone()).await.unwrap().is_string());
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "chainHead_v1_header", "params": params }).to_string();
    let (_, answer) = client::http(rig.server.address(), "", &body).await;
    assert!(answer.contains("method_not_found"), "{answer}");
    let named = json!({ "followSubscription": followed.id, "hash": Hash([9; 32]).to_string() });
    assert_eq!(followed.ws.call("chainHead_v1_header", named).await.unwrap_err()["code"], -32801);
}
