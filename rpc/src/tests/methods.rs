//! Each method with good and with bad parameters.

use super::fake::{self, extrinsic};
use super::{Rig, client};
use crate::ports::ChainPort;
use cairn_primitives::header::ENGINE_ID;
use cairn_primitives::{AccountId32, Certificate, Header, OpaqueExtrinsic};
use parity_scale_codec::{Decode, Encode};
use serde_json::{Value, json};

pub(super) fn hex_of(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

pub(super) fn submitted(extrinsic: &OpaqueExtrinsic) -> String {
    hex_of(&extrinsic.encode())
}

pub(super) fn assert_refused(answer: Result<Value, Value>, code: i32, reason: &str) -> Value {
    let error = answer.expect_err("a refusal");
    assert_eq!((error["code"].clone(), error["data"]["reason"].clone()), (json!(code), json!(reason)), "{error}");
    assert!(error["data"]["retryable"].is_boolean(), "{error}");
    error
}

#[tokio::test]
async fn rpc_methods_lists_every_name_sorted_without_misleading_ones() {
    let rig = Rig::start().await;
    let list = rig.ws().await.call("rpc_methods", Value::Null).await.unwrap();
    let names: Vec<_> = list["methods"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(names.is_sorted());
    for name in [
        "rpc_methods",
        "account_nextIndex",
        "chain_getHead",
        "state_getStorageAt",
        "chain_getRuntimeVersion",
        "chain_subscribeNewHead",
        "chain_subscribeFinalisedHeads",
        "author_unwatchExtrinsic",
        "cairn_getProof",
        "cairn_whyNoBlock",
    ] {
        assert!(names.contains(&name), "{name} is missing");
    }
    for name in ["state_getReadProof", "payment_queryInfo"] {
        assert!(!names.contains(&name), "{name} makes clients fail");
    }
    for (group, methods) in [
        (
            "archive_v1",
            "body call finalizedHeight genesisHash hashByHeight header stopStorage stopStorageDiff storage storageDiff",
        ),
        ("chainHead_v1", "body call continue follow header stopOperation storage unfollow unpin"),
        ("chainSpec_v1", "chainName genesisHash properties"),
        ("transaction_v1", "broadcast stop"),
        ("transactionWatch_v1", "submitAndWatch unwatch"),
    ] {
        let announced: Vec<_> = names.iter().filter_map(|name| name.strip_prefix(group)?.strip_prefix('_')).collect();
        assert_eq!(announced.join(" "), methods, "{group} is announced whole");
    }
}

#[tokio::test]
async fn block_hash_takes_none_number_hex_and_list() {
    let rig = Rig::start().await;
    rig.chain.grow(20);
    let mut ws = rig.ws().await;
    let (head, third) = (json!(rig.hash(20).to_string()), json!(rig.hash(3).to_string()));
    for params in [Value::Null, json!([]), json!([null])] {
        for method in ["chain_getBlockHash", "chain_getHead"] {
            assert_eq!(ws.call(method, params.clone()).await, Ok(head.clone()), "{method} {params}");
        }
    }
    assert_eq!(ws.call("chain_getBlockHash", json!([3])).await, Ok(third.clone()));
    assert_eq!(ws.call("chain_getBlockHash", json!(["0x3"])).await, Ok(third.clone()));
    assert_eq!(ws.call("chain_getBlockHash", json!({ "height": 3 })).await, Ok(third.clone()));
    assert_eq!(ws.call("chain_getBlockHash", json!([[20, "0x3", 21]])).await, Ok(json!([head, third, null])));
    assert_eq!(ws.call("chain_getBlockHash", json!([u64::MAX])).await, Ok(Value::Null));
    for bad in [json!([-1]), json!(["3"]), json!(["0xzz"]), json!([{}]), json!({ "height": "3" })] {
        assert_refused(ws.call("chain_getBlockHash", bad).await, -32602, "invalid_params");
    }
    assert_eq!(ws.call("chain_getFinalizedHead", json!([])).await, Ok(head.clone()));
    assert_eq!(ws.call("chain_getFinalisedHead", json!([])).await, Ok(head));
}

#[tokio::test]
async fn header_has_the_shape_whose_hash_clients_compute() {
    let rig = Rig::start().await;
    rig.chain.grow(17);
    let mut ws = rig.ws().await;
    let hash = rig.hash(17);
    let json = ws.call("chain_getHeader", json!([hash.to_string()])).await.unwrap();
    assert_eq!(json["number"], "0x11");
    let bytes =
        |field: &str| -> [u8; 32] { hex::decode(&json[field].as_str().unwrap()[2..]).unwrap().try_into().unwrap() };
    let log = hex::decode(&json["digest"]["logs"][0].as_str().unwrap()[2..]).unwrap();
    let header = Header {
        parent_hash: bytes("parentHash").into(),
        number: 17,
        state_root: bytes("stateRoot").into(),
        extrinsics_root: bytes("extrinsicsRoot").into(),
        digest: vec![Decode::decode(&mut &log[..]).unwrap()],
    };
    assert_eq!(header.hash(), hash);
    // Without 0x, as one client sends hashes; and unknown.
    assert_eq!(ws.call("chain_getHeader", json!([&hash.to_string()[2..]])).await, Ok(json));
    assert_eq!(ws.call("chain_getHeader", json!([hex_of(&[9; 32])])).await, Ok(Value::Null));
    for bad in [json!(["0x12"]), json!([5]), json!(["0xzz"])] {
        assert_refused(ws.call("chain_getHeader", bad).await, -32602, "invalid_params");
    }
}

#[tokio::test]
async fn block_carries_extrinsics_with_prefix_and_its_finalization_as_justification() {
    let rig = Rig::start().await;
    let plain = rig.chain.commit(&[], vec![extrinsic(1)], false);
    let sealed = rig.chain.commit(&[], vec![extrinsic(2)], true);
    let mut ws = rig.ws().await;
    let block = ws.call("chain_getBlock", json!([plain.hash.to_string()])).await.unwrap();
    assert_eq!(block["block"]["extrinsics"], json!([submitted(&extrinsic(1))]));
    assert_eq!(block["block"]["header"]["number"], "0x1");
    assert_eq!(block["justifications"], Value::Null);
    let block = ws.call("chain_getBlock", json!([])).await.unwrap();
    assert_eq!(block["block"]["extrinsics"], json!([submitted(&extrinsic(2))]));
    let (engine, bytes): ([u8; 4], Vec<u8>) =
        serde_json::from_value(block["justifications"][0].clone()).expect("two lists of numbers");
    assert_eq!(engine, ENGINE_ID);
    let certificate = Certificate::decode(&mut &bytes[..]).unwrap();
    assert_eq!(certificate.subject.proposal().unwrap().block, sealed.hash);
    assert_eq!(ws.call("chain_getBlock", json!([hex_of(&[9; 32])])).await, Ok(Value::Null));
}

#[tokio::test]
async fn storage_is_read_at_any_block_under_every_name() {
    let rig = Rig::start().await;
    rig.chain.commit(&[(b"a/1", b"one"), (b"a/2", b"two"), (b"b", b"")], Vec::new(), true);
    let mut ws = rig.ws().await;
    let (one, genesis) = (hex_of(b"a/1"), rig.hash(0).to_string());
    for method in ["state_getStorage", "state_getStorageAt"] {
        assert_eq!(ws.call(method, json!([one])).await, Ok(json!(hex_of(b"one"))));
        assert_eq!(ws.call(method, json!([&one[2..], null])).await, Ok(json!(hex_of(b"one"))));
        assert_eq!(ws.call(method, json!([one, genesis])).await, Ok(Value::Null));
        assert_refused(ws.call(method, json!([])).await, -32602, "invalid_params");
        assert_refused(ws.call(method, json!(["0x123"])).await, -32602, "invalid_params");
        assert_refused(ws.call(method, json!([hex_of(&[1; 2_000])])).await, -32602, "invalid_params");
        let error = assert_refused(ws.call(method, json!([one, hex_of(&[9; 32])])).await, 4000, "unknown_block");
        assert!(error["message"].as_str().unwrap().contains("UnknownBlock"), "{error}");
    }
    assert_eq!(ws.call("state_getStorage", json!([hex_of(b"b")])).await, Ok(json!("0x")));
    let hash = cairn_primitives::hash::blake2_256(b"one").to_string();
    assert_eq!(ws.call("state_getStorageHash", json!([one])).await, Ok(json!(hash)));
    assert_eq!(ws.call("state_getStorageHashAt", json!([hex_of(b"none")])).await, Ok(Value::Null));
    assert_eq!(ws.call("state_getStorageSize", json!([one])).await, Ok(json!(3)));
    assert_eq!(ws.call("state_getStorageSizeAt", json!([hex_of(b"none")])).await, Ok(Value::Null));

    let page = |params| (("state_getKeysPaged"), params);
    let (method, params) = page(json!([hex_of(b"a/"), 10]));
    assert_eq!(ws.call(method, params).await, Ok(json!([one, hex_of(b"a/2")])));
    let (method, params) = page(json!([hex_of(b"a/"), 10, one, null]));
    assert_eq!(ws.call(method, params).await, Ok(json!([hex_of(b"a/2")])));
    assert_eq!(ws.call("state_getKeysPagedAt", json!(["0x", 1, null, genesis])).await, Ok(json!([hex_of(fake::KEY)])));
    assert_eq!(ws.call("state_getKeys", json!(["0x", genesis])).await, Ok(json!([hex_of(fake::KEY)])));
    assert_refused(ws.call("state_getKeys", json!([])).await, -32602, "invalid_params");
    assert_refused(ws.call("state_getKeysPaged", json!(["0x", 1_001])).await, -32602, "invalid_params");
    assert_refused(ws.call("state_getKeysPaged", json!(["0x"])).await, -32602, "invalid_params");

    let set = ws.call("state_queryStorageAt", json!([[one, hex_of(b"none")]])).await;
    let changes = json!([[one, hex_of(b"one")], [hex_of(b"none"), null]]);
    assert_eq!(set, Ok(json!([{ "block": rig.hash(1).to_string(), "changes": changes }])));
    assert_refused(ws.call("state_queryStorageAt", json!([one])).await, -32602, "invalid_params");
    assert_refused(ws.call("state_queryStorageAt", json!([vec![one; 1_001]])).await, -32602, "invalid_params");
}

#[tokio::test]
async fn keys_all_at_once_are_bounded() {
    let rig = Rig::with(crate::RpcConfig { keys_max: 2, ..crate::RpcConfig::default() }).await;
    let mut ws = rig.ws().await;
    let keys: Vec<_> = (0..101u8).map(|number| [b'p', number]).collect();
    let values: Vec<_> = keys.iter().map(|key| (key.as_slice(), b"v".as_slice())).collect();
    rig.chain.commit(&values[..100], Vec::new(), true);
    let all = ws.call("state_getKeys", json!([hex_of(b"p")])).await.unwrap();
    assert_eq!(all, keys[..100].iter().map(|key| Value::from(hex_of(key))).collect::<Value>());
    rig.chain.commit(&values, Vec::new(), true);
    assert_refused(ws.call("state_getKeys", json!([hex_of(b"p")])).await, -32008, "response_too_large");
}

#[tokio::test]
async fn pruned_state_is_refused_with_the_lowest_height() {
    let rig = Rig::start().await;
    rig.chain.grow(9);
    *rig.chain.lowest.lock().unwrap() = cairn_primitives::Height(7);
    let mut ws = rig.ws().await;
    let old = rig.hash(6).to_string();
    for (method, params) in [
        ("state_getStorage", json!(["0x00", old])),
        ("state_getKeysPaged", json!(["0x00", 1, null, old])),
        ("state_queryStorageAt", json!([["0x00"], old])),
        ("state_call", json!(["Echo", "0x", old])),
        ("cairn_getProof", json!([["0x00"], old])),
    ] {
        let error = assert_refused(ws.call(method, params).await, 4001, "state_pruned");
        assert_eq!(error["data"]["minHeight"], 7);
        let message = error["message"].as_str().unwrap();
        assert!(message.ends_with(&format!("State already discarded for {old}")), "{message}");
    }
    assert!(ws.call("state_getStorage", json!(["0x00", rig.hash(7).to_string()])).await.is_ok());
    assert!(ws.call("chain_getHeader", json!([old])).await.unwrap().is_object());
}

#[tokio::test]
async fn runtime_calls_answer_and_fail_in_the_words_clients_know() {
    let rig = Rig::start().await;
    let mut ws = rig.ws().await;
    assert_eq!(ws.call("state_call", json!(["Echo", "0x0102"])).await, Ok(json!("0x0102")));
    assert_eq!(ws.call("state_callAt", json!(["Echo", "0102", rig.hash(0).to_string()])).await, Ok(json!("0x0102")));
    assert_eq!(ws.call("state_call", json!(["Echo", ""])).await, Ok(json!("0x")));
    let error = assert_refused(ws.call("state_call", json!(["Nope_x", "0x"])).await, 4003, "unknown_function");
    assert_eq!(error["message"], "Client error: Execution failed: Other: Exported method Nope_x is not found");
    assert_refused(ws.call("state_call", json!(["Fail", "0x"])).await, 4003, "call_failed");
    assert_refused(ws.call("state_call", json!(["Echo", "0x", hex_of(&[9; 32])])).await, 4000, "unknown_block");
    assert_refused(ws.call("state_call", json!(["Echo"])).await, -32602, "invalid_params");
    assert_refused(ws.call("state_call", json!(["x".repeat(500), "0x"])).await, -32602, "invalid_params");
    // A fault of the node is an error of this call alone.
    assert_refused(ws.call("state_call", json!(["Panic", "0x"])).await, -32603, "internal");
    assert_eq!(ws.call("state_getMetadata", json!([])).await, Ok(json!(hex_of(b"meta\x0e"))));
    let version = ws.call("state_getRuntimeVersion", json!([null])).await.unwrap();
    let expected = json!({
        "specName": "cairn", "implName": "cairn", "authoringVersion": 1, "specVersion": 1, "implVersion": 1,
        "apis": [["0xdfdfdfdfdfdfdfdf", 5]], "transactionVersion": 1, "stateVersion": 1, "systemVersion": 1,
    });
    assert_eq!(version, expected);
    assert_eq!(ws.call("chain_getRuntimeVersion", json!([])).await, Ok(expected));
    assert_refused(ws.call("state_getRuntimeVersion", json!([hex_of(&[9; 32])])).await, 4000, "unknown_block");
}

#[tokio::test]
async fn submission_gives_the_hash_or_the_pool_code() {
    let rig = Rig::start().await;
    let mut ws = rig.ws().await;
    let good = extrinsic(1);
    assert_eq!(ws.call("author_submitExtrinsic", json!([submitted(&good)])).await, Ok(json!(good.hash().to_string())));
    assert_eq!(ws.call("author_pendingExtrinsics", json!([])).await, Ok(json!([submitted(&good)])));
    for (last, code, reason, message) in [
        (fake::STALE, 1010, "stale", "Invalid Transaction"),
        (fake::BANNED, 1012, "banned", "Transaction is temporarily banned"),
        (fake::KNOWN, 1013, "already_known", "Transaction Already Imported"),
        (fake::CHEAP, 1014, "priority_too_low", "Priority is too low"),
        (fake::FULL, 1016, "pool_full", "Immediately Dropped"),
    ] {
        for method in ["author_submitExtrinsic", "author_submitAndWatchExtrinsic"] {
            let answer = ws.call(method, json!([submitted(&extrinsic(last))])).await;
            let error = assert_refused(answer, code, reason);
            assert_eq!(error["message"], message);
            assert!(error["data"]["message"].as_str().unwrap().contains("nonce 3 is below 5"), "{error}");
        }
    }
    for (bytes, code) in [(&[][..], 1001), (&[20, 1], 1001), (&[4, 1, 2], 1001)] {
        for method in ["author_submitExtrinsic", "author_submitAndWatchExtrinsic"] {
            assert_refused(ws.call(method, json!([hex_of(bytes)])).await, code, "malformed");
        }
    }
    assert_refused(ws.call("author_submitExtrinsic", json!([])).await, -32602, "invalid_params");
    assert_refused(ws.call("author_submitExtrinsic", json!([7])).await, -32602, "invalid_params");
}

#[tokio::test]
async fn batch_submission_gives_one_verdict_each_in_order() {
    let rig = Rig::start().await;
    let (good, last) = (extrinsic(1), extrinsic(2));
    let list = json!([[submitted(&good), "0xzz", submitted(&extrinsic(fake::STALE)), "0x14", &submitted(&last)[2..]]]);
    let mut ws = rig.ws().await;
    let verdicts = ws.call("cairn_submitBatch", list).await.unwrap();
    assert_eq!(verdicts[0], json!({ "hash": good.hash().to_string() }));
    assert_eq!(verdicts[1]["error"]["code"], 1001);
    assert_eq!(
        (&verdicts[2]["error"]["code"], &verdicts[2]["error"]["data"]["reason"]),
        (&json!(1010), &json!("stale"))
    );
    assert_eq!(verdicts[3]["error"]["code"], 1001);
    assert_eq!(verdicts[4], json!({ "hash": last.hash().to_string() }));
    assert_eq!(*rig.pool.accepted.lock().unwrap(), [good, last]);
    assert_eq!(ws.call("cairn_submitBatch", json!([[]])).await, Ok(json!([])));
    assert_refused(ws.call("cairn_submitBatch", json!([vec!["0x"; 1_001]])).await, -32602, "invalid_params");
    assert_refused(ws.call("cairn_submitBatch", json!([[1]])).await, -32602, "invalid_params");
    assert_refused(ws.call("cairn_submitBatch", json!([])).await, -32602, "invalid_params");
}

#[tokio::test]
async fn system_family_describes_the_node() {
    let rig = Rig::start().await;
    let mut ws = rig.ws().await;
    let properties = json!({ "ss58Format": 42, "tokenDecimals": 12, "tokenSymbol": "CRN" });
    for (method, expected) in [
        ("system_chain", json!("Cairn Test")),
        ("system_chainType", json!("Development")),
        ("system_name", json!("cairn")),
        ("system_version", json!("0.1.0")),
        ("system_properties", properties.clone()),
        ("system_nodeRoles", json!(["Authority"])),
        ("system_localPeerId", json!("12D3KooW")),
        ("system_localListenAddresses", json!(["/ip4/127.0.0.1/tcp/30333"])),
        ("system_health", json!({ "peers": 1, "isSyncing": false, "shouldHavePeers": true })),
        ("system_syncState", json!({ "startingBlock": 0, "currentBlock": 5, "highestBlock": 7, "lowestBlock": 3 })),
        ("system_peers", json!([{ "peerId": "12D3KooX", "roles": "AUTHORITY", "bestHash": null, "bestNumber": 4 }])),
        ("chainSpec_v1_chainName", json!("Cairn Test")),
        ("chainSpec_v1_genesisHash", json!(rig.hash(0).to_string())),
        ("chainSpec_v1_properties", properties),
        ("cairn_consensusState", json!({ "view": 9 })),
        ("cairn_whyNoBlock", json!({ "why": "Waiting for votes.", "rule": "R7" })),
        ("cairn_syncState", json!({ "startingBlock": 0, "currentBlock": 5, "highestBlock": 7, "lowestBlock": 3 })),
        ("cairn_mempool", json!({ "ready": 2, "future": 1, "bytes": 300, "countMax": 100, "bytesMax": 1_000 })),
    ] {
        // Parameters that a method does not take are ignored, but they must be a list.
        for params in [Value::Null, json!([]), json!([1, 2])] {
            assert_eq!(ws.call(method, params).await, Ok(expected.clone()), "{method}");
        }
    }
    let account = AccountId32([5; 32]);
    for method in ["system_accountNextIndex", "account_nextIndex"] {
        assert_eq!(ws.call(method, json!([account.to_ss58(42)])).await, Ok(json!(5)));
        for bad in [json!(["nonsense"]), json!([]), json!([5])] {
            assert_refused(ws.call(method, bad).await, -32602, "invalid_params");
        }
    }
    let info = ws.call("cairn_nodeInfo", json!([])).await.unwrap();
    assert_eq!((&info["role"], &info["head"]["height"]), (&json!("validator"), &json!(0)));
    assert_eq!(info["genesisHash"], json!(rig.hash(0).to_string()));
    assert_eq!(info["upgrades"], json!([{ "height": 90, "specVersion": 9, "known": false }]));
    let peers = ws.call("cairn_peers", json!([])).await.unwrap();
    assert_eq!(peers[0]["address"], "/ip4/127.0.0.1/tcp/30334");
    assert_eq!((&peers[0]["score"], &peers[0]["lastOffence"]), (&json!(-5), &json!("useless")));
    let banned = ws.call("cairn_bannedPeers", json!([])).await.unwrap();
    assert_eq!(banned, json!([{ "peerId": "12D3KooY", "reason": "malformed", "secondsLeft": 50, "count": 1 }]));
    assert_eq!(ws.call("cairn_databaseStats", json!([])).await.unwrap(), json!({ "totalBytes": 12 }));
    for method in ["cairn_createSnapshot", "cairn_snapshotState"] {
        assert_eq!(ws.call(method, json!([])).await.unwrap(), json!({ "state": "running", "permille": 250 }));
    }
}

#[tokio::test]
async fn http_serves_calls_but_says_that_subscriptions_need_websocket() {
    let rig = Rig::start().await;
    let address = rig.server.address();
    let call = r#"{"jsonrpc":"2.0","id":"a","method":"system_chain"}"#;
    let (status, body) = client::http(address, "", call).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, body), (200, json!({ "jsonrpc": "2.0", "id": "a", "result": "Cairn Test" })));
    let subscribe = r#"{"jsonrpc":"2.0","id":1,"method":"chain_subscribeNewHeads","params":[]}"#;
    let (_, body) = client::http(address, "", subscribe).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    let error = assert_refused(Err(body["error"].clone()), -32601, "method_not_found");
    assert!(error["data"]["message"].as_str().unwrap().contains("WebSocket"));
    assert!(rig.chain.head().height.0 == 0);
}
