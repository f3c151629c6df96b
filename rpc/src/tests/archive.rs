//! `archive_v1_*` as its specification has it.

use super::Rig;
use super::client::Ws;
use super::fake::{KEY, extrinsic};
use crate::ports::ChainPort;
use cairn_primitives::Height;
use cairn_primitives::hash::blake2_256;
use parity_scale_codec::Encode;
use serde_json::{Value, json};

fn hex_of(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// The events of an archive subscription up to its last.
async fn events(ws: &mut Ws, method: &str, params: Value) -> Vec<Value> {
    let id = ws.call(&format!("archive_v1_{method}"), params).await.unwrap();
    let mut events = Vec::new();
    loop {
        let (name, subscription, event) = ws.notification().await;
        assert_eq!((name, json!(subscription)), (format!("archive_v1_{method}Event"), id.clone()));
        let kind = event["event"].as_str().unwrap().to_owned();
        events.push(event);
        if kind.ends_with("Done") || kind.ends_with("Error") {
            return events;
        }
    }
}

#[tokio::test]
async fn blocks_are_found_by_height_and_hash() {
    let rig = Rig::start().await;
    let head = rig.chain.commit(&[], vec![extrinsic(1)], true);
    let mut ws = rig.ws().await;
    let at = json!([head.hash.to_string()]);
    assert_eq!(ws.call("archive_v1_finalizedHeight", json!([])).await, Ok(json!(1)));
    assert_eq!(ws.call("archive_v1_genesisHash", json!([])).await, Ok(json!(rig.hash(0).to_string())));
    assert_eq!(ws.call("archive_v1_hashByHeight", json!([1])).await, Ok(at.clone()));
    assert_eq!(ws.call("archive_v1_hashByHeight", json!({ "height": 1 })).await, Ok(at.clone()));
    assert_eq!(ws.call("archive_v1_hashByHeight", json!([2])).await, Ok(json!([])));
    let header = rig.chain.header(&head.hash).unwrap().unwrap();
    assert_eq!(ws.call("archive_v1_header", at.clone()).await, Ok(json!(hex_of(&header.encode()))));
    assert_eq!(ws.call("archive_v1_body", at).await, Ok(json!([hex_of(&extrinsic(1).encode())])));
    let unknown = json!([hex_of(&[9; 32])]);
    assert_eq!(ws.call("archive_v1_header", unknown.clone()).await, Ok(Value::Null));
    assert_eq!(ws.call("archive_v1_body", unknown).await, Ok(Value::Null));
    for (method, bad) in [
        ("hashByHeight", json!([])),
        ("hashByHeight", json!([-1])),
        ("header", json!(["0x12"])),
        ("body", json!([1])),
        ("body", Value::Null),
        ("call", json!([hex_of(&[9; 32]), "Echo"])),
        ("storage", json!([hex_of(&[9; 32])])),
        ("storage", json!([hex_of(&[9; 32]), [{ "key": "0x", "type": "value", "paginationStartKey": "0x" }]])),
        ("storageDiff", json!(["0x"])),
        ("storageDiff", json!([hex_of(&[9; 32]), [{ "key": "0x" }]])),
    ] {
        assert_eq!(ws.call(&format!("archive_v1_{method}"), bad).await.unwrap_err()["code"], -32602, "{method}");
    }
}

#[tokio::test]
async fn call_tells_success_failure_and_unknown_block_apart() {
    let rig = Rig::start().await;
    let mut ws = rig.ws().await;
    let at = rig.hash(0).to_string();
    let echo = ws.call("archive_v1_call", json!([at, "Echo", "0x0102"])).await;
    assert_eq!(echo, Ok(json!({ "success": true, "value": "0x0102" })));
    for function in ["Fail", "Missing"] {
        let failed = ws.call("archive_v1_call", json!([at, function, "0x"])).await.unwrap();
        assert_eq!(failed["success"], false);
        assert!(failed["error"].is_string());
    }
    assert_eq!(ws.call("archive_v1_call", json!([hex_of(&[9; 32]), "Echo", "0x"])).await, Ok(Value::Null));
    *rig.chain.lowest.lock().unwrap() = Height(7);
    let pruned = ws.call("archive_v1_call", json!([at, "Echo", "0x"])).await.unwrap();
    assert!(pruned["error"].as_str().unwrap().contains("already discarded"), "{pruned}");
}

#[tokio::test]
async fn storage_comes_item_by_item_and_then_done() {
    let rig = Rig::start().await;
    let keys: Vec<_> = (0..600_u32).map(|index| format!("map{index:05}").into_bytes()).collect();
    let values: Vec<_> = keys.iter().map(|key| (key.as_slice(), &b"value"[..])).collect();
    let at = rig.chain.commit(&values, Vec::new(), true).hash.to_string();
    let mut ws = rig.ws().await;
    let items = json!([
        { "key": hex_of(KEY), "type": "value" },
        { "key": hex_of(b"none"), "type": "value" },
        { "key": hex_of(b"map"), "type": "descendantsHashes", "paginationStartKey": hex_of(&keys[9]) },
        { "key": hex_of(b"map"), "type": "closestDescendantMerkleValue" },
    ]);
    let found = events(&mut ws, "storage", json!([at, items, null])).await;
    assert_eq!(found[0], json!({ "event": "storage", "key": hex_of(KEY), "value": hex_of(b"genesis") }));
    for (event, key) in found[1..].iter().zip(&keys[10..]) {
        let hash = blake2_256(b"value").to_string();
        assert_eq!(*event, json!({ "event": "storage", "key": hex_of(key), "hash": hash }));
    }
    assert_eq!(found.len(), 1 + 590 + 2);
    assert!(found[591]["closestDescendantMerkleValue"].is_string());
    assert_eq!(found[592], json!({ "event": "storageDone" }));

    let child = events(&mut ws, "storage", json!([at, items, "0x01"])).await;
    assert_eq!(child, [json!({ "event": "storageDone" })]);
    let unknown = events(&mut ws, "storage", json!([hex_of(&[9; 32]), items])).await;
    assert_eq!((unknown.len(), &unknown[0]["event"]), (1, &json!("storageError")));
    assert_eq!(ws.call("archive_v1_stopStorage", json!(["gone"])).await, Ok(Value::Null));
}

#[tokio::test]
async fn storage_diff_names_what_was_added_modified_and_deleted() {
    let rig = Rig::start().await;
    let old = rig.chain.commit(&[(b"map1", b"a"), (b"map2", b"b"), (b"x", b"y")], Vec::new(), true);
    let new = rig.chain.commit(&[(b"map2", b"c"), (b"map3", b"d"), (b"x", b"z")], Vec::new(), true);
    rig.chain.remove(&new, b"map1");
    let mut ws = rig.ws().await;
    let diff = |key: &[u8], kind: &str, value: &[u8]| json!({ "event": "storageDiff", "key": hex_of(key), "value": hex_of(value), "type": kind });
    let done = json!({ "event": "storageDiffDone" });
    let map = [diff(b"map1", "deleted", b"a"), diff(b"map2", "modified", b"c"), diff(b"map3", "added", b"d")];
    let items = json!([{ "key": hex_of(b"map"), "returnType": "value" }]);
    let found = events(&mut ws, "storageDiff", json!([new.hash.to_string(), items])).await;
    assert_eq!(found, [&map[..], std::slice::from_ref(&done)].concat());
    let hashes = json!([{ "key": hex_of(b"x"), "returnType": "hash" }]);
    let found = events(&mut ws, "storageDiff", json!([new.hash.to_string(), hashes])).await;
    assert_eq!(found[0]["hash"], blake2_256(b"z").to_string());
    // Everything, against a block further back.
    let genesis = rig.hash(0).to_string();
    let found = events(&mut ws, "storageDiff", json!([new.hash.to_string(), null, genesis])).await;
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(found[0], diff(b"map2", "added", b"c"));
    let found = events(&mut ws, "storageDiff", json!([genesis])).await;
    assert_eq!(found, [diff(KEY, "added", b"genesis"), done.clone()], "nothing was before genesis");
    let child = json!([{ "returnType": "value", "childTrieKey": "0x01" }]);
    assert_eq!(events(&mut ws, "storageDiff", json!([new.hash.to_string(), child])).await, [done]);
    for (new, old) in [(old.hash, new.hash), (old.hash, old.hash), (old.hash, cairn_primitives::Hash([9; 32]))] {
        let found = events(&mut ws, "storageDiff", json!([new.to_string(), null, old.to_string()])).await;
        assert_eq!(found[0]["event"], "storageDiffError");
    }
    assert_eq!(ws.call("archive_v1_stopStorageDiff", json!(["gone"])).await, Ok(Value::Null));
}
