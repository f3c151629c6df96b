//! The table of methods against the server that is made beside it.

use super::client::Ws;
use super::fake::{KEY, extrinsic};
use super::{Rig, client};
use crate::RpcConfig;
use crate::table::{Access, METHODS, Method};
use cairn_primitives::AccountId32;
use parity_scale_codec::Encode;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[tokio::test]
async fn table_names_exactly_the_methods_that_are_served() {
    let rig = Rig::start().await;
    let mut ws = rig.ws().await;
    let served = ws.call("rpc_methods", json!([])).await.unwrap();
    let mut names: Vec<_> = METHODS.iter().flat_map(|method| method.names().chain(method.end_names())).collect();
    names.sort_unstable();
    assert_eq!(served["methods"], json!(names));
    let document = ws.call("rpc.discover", json!([])).await.unwrap();
    let described: Vec<_> = document["methods"].as_array().unwrap().iter().map(|entry| &entry["name"]).collect();
    assert_eq!(json!(described), json!(names));
}

#[test]
fn openrpc_document_is_the_one_in_docs() {
    let kept: Value = serde_json::from_str(include_str!("../../../docs/openrpc.json")).unwrap();
    let how = "`cargo run -p cairn-rpc --example openrpc > docs/openrpc.json` writes it anew";
    assert_eq!(kept, crate::openrpc(), "docs/openrpc.json is not what the table says; {how}");
}

#[test]
fn openrpc_document_is_well_formed() {
    let document = crate::openrpc();
    let mut names = BTreeSet::new();
    for method in document["methods"].as_array().unwrap() {
        assert!(names.insert(method["name"].as_str().unwrap()), "{} is there twice", method["name"]);
        assert!(method["result"]["schema"].is_object(), "{method}");
        let params = method["params"].as_array().unwrap();
        let required: Vec<_> = params.iter().map(|param| param["required"].as_bool().unwrap()).collect();
        assert!(required.is_sorted_by_key(|required| !required), "{}: optional before required", method["name"]);
        for error in method["errors"].as_array().unwrap() {
            let name = error["$ref"].as_str().unwrap().strip_prefix("#/components/errors/").unwrap();
            assert!(document["components"]["errors"].get(name).is_some(), "{name}");
        }
    }
}

#[test]
fn every_method_is_in_the_documentation() {
    let text = include_str!("../../../docs/rpc.md");
    for name in METHODS.iter().flat_map(Method::names) {
        assert!(text.contains(&format!("`{name}")), "{name} is not in docs/rpc.md");
    }
}

/// A value that a parameter of this name takes.
fn good(method: &Method, name: &str, rig: &Rig, follow: &Value) -> Value {
    let key = format!("0x{}", hex::encode(KEY));
    match name.trim_end_matches('?') {
        "hash" | "at" => json!(rig.hash(1).to_string()),
        "hashOrHashes" => json!([rig.hash(1).to_string()]),
        "previousHash" => json!(rig.hash(0).to_string()),
        "height" | "fromHeight" | "count" | "fromEpoch" => json!(1),
        "block" => json!(rig.hash(1).to_string()),
        "index" => json!(0),
        "under" => json!(2),
        "filter" => json!({ "contains": ["0x00"] }),
        "detail" => json!("hashes"),
        "key" | "prefix" => json!(key),
        "startKey" => json!("0x00"),
        "keys" => json!([key]),
        "items" => json!([{ "key": key, "type": "value", "returnType": "value" }]),
        "function" => json!("Echo"),
        "input" | "callParameters" => json!("0x01"),
        "extrinsic" | "transaction" => json!(format!("0x{}", hex::encode(extrinsic(1).encode()))),
        "extrinsics" => json!([format!("0x{}", hex::encode(extrinsic(1).encode()))]),
        "account" => json!(AccountId32([7; 32]).to_ss58(42)),
        "withRuntime" => json!(true),
        "followSubscription" => follow.clone(),
        // The first broadcast is stopped; an operation that is over is not continued.
        "operationId" => json!(if method.name == "transaction_v1_stop" { "1" } else { "over" }),
        "childTrie" => Value::Null,
        other => panic!("no value for `{other}` of {}", method.name),
    }
}

/// The order in which methods can be called: what needs an operation comes after it, what ends something last.
fn rank(method: &Method) -> u8 {
    match method.name {
        "transaction_v1_stop" => 1,
        "chainHead_v1_unpin" => 2,
        _ => 0,
    }
}

#[tokio::test]
async fn every_method_answers_good_parameters_by_list_and_by_name_and_refuses_bad_ones() {
    let rig = Rig::start().await;
    rig.chain.commit(&[], vec![extrinsic(1)], true);
    rig.chain.commit(&[], Vec::new(), true);
    let mut ws = rig.ws().await;
    let follow = ws.call("chainHead_v1_follow", json!([true])).await.unwrap();
    let mut methods: Vec<_> = METHODS.iter().collect();
    methods.sort_by_key(|method| rank(method));
    for method in methods {
        let values: Vec<_> = method.params.iter().map(|(name, _)| good(method, name, &rig, &follow)).collect();
        for name in method.names() {
            let answer = ws.call(name, Value::Array(values.clone())).await;
            assert!(answer.is_ok(), "{name} {values:?}: {answer:?}");
            end(&mut ws, method, answer.unwrap()).await;
        }
        // What ends or stops something once has no second time.
        if rank(method) == 0 && !method.params.is_empty() {
            let names = method.params.iter().map(|(name, _)| name.trim_end_matches('?').to_owned());
            let named: serde_json::Map<_, _> = names.zip(values).collect();
            let answer = ws.call(method.name, Value::Object(named)).await;
            assert!(answer.is_ok(), "{} by name: {answer:?}", method.name);
            end(&mut ws, method, answer.unwrap()).await;
        }
        for (position, (param, _)) in method.params.iter().enumerate() {
            let mut bad: Vec<_> = method.params.iter().map(|(name, _)| good(method, name, &rig, &follow)).collect();
            bad[position] = json!({ "no": ["such", "thing"] });
            let error = ws.call(method.name, Value::Array(bad)).await.expect_err(method.name);
            assert_eq!(error["code"], -32602, "{} `{param}`: {error}", method.name);
            assert_eq!(error["data"]["reason"], "invalid_params", "{} `{param}`: {error}", method.name);
        }
    }
}

/// Ends what a call has begun, so that limits are not reached.
async fn end(ws: &mut Ws, method: &Method, id: Value) {
    for name in method.end_names().take(1) {
        assert!(ws.call(name, json!([id.clone()])).await.is_ok() || method.notification.is_some(), "{name}");
    }
}

#[tokio::test]
async fn unsafe_methods_are_for_the_owner_alone() {
    let config = RpcConfig { offers_unsafe: false, unsafe_token: Some("secret".into()), ..RpcConfig::default() };
    let rig = Rig::with(config).await;
    let mut ws = rig.ws().await;
    let methods: Vec<_> = METHODS.iter().filter(|method| method.access == Access::Unsafe).collect();
    assert!(!methods.is_empty());
    for method in methods {
        let error = ws.call(method.name, json!([])).await.unwrap_err();
        assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(-32054), &json!("unsafe_method")));
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method.name, "params": [] }).to_string();
        for (header, answers) in [
            ("authorization: Bearer secret\r\n", true),
            ("authorization: Bearer secre\r\n", false),
            ("authorization: Bearer secrets\r\n", false),
            ("authorization: secret\r\n", false),
            ("", false),
        ] {
            let (_, answer) = client::http(rig.server.address(), header, &body).await;
            assert_eq!(answer.contains("\"result\""), answers, "{header:?} {answer}");
        }
    }
}

#[tokio::test]
async fn client_over_its_budget_is_told_when_to_come_back() {
    let config = RpcConfig { calls_per_second_max: 10, limits_loopback: true, ..RpcConfig::default() };
    let rig = Rig::with(config).await;
    let mut ws = rig.ws().await;
    let mut refused = None;
    // Twenty tokens: a walk costs ten of them.
    for method in ["chain_getBlock", "chain_getBlock", "chain_getBlock"] {
        refused = ws.call(method, json!([])).await.err();
    }
    let refused = refused.expect("a third walk is over the budget");
    assert_eq!((&refused["code"], &refused["data"]["reason"]), (&json!(-32053), &json!("rate_limited")));
    let wait = refused["data"]["retryAfterMs"].as_u64().unwrap();
    assert!((1..=1_000).contains(&wait), "{wait}");
    // A new connection has the same budget.
    let mut other = rig.ws().await;
    assert!(other.call("chain_getBlock", json!([])).await.is_err());
}
