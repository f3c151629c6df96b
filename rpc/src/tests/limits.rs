//! What is too much, too long, not JSON or not allowed.

use super::Rig;
use super::client::{self, Ws, patient};
use super::fake::{self, FakeChain, FakePool};
use crate::config::{AllowedOrigins, RpcConfig};
use crate::error::Code;
use crate::server::{Server, StartError};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

fn call(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

#[tokio::test]
async fn malformed_text_is_refused_and_the_connection_stays() {
    let rig = Rig::start().await;
    let mut ws = rig.ws().await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (text, codes) in [
        ("nonsense".to_owned(), [-32700, -32700]),
        ("{".to_owned(), [-32700, -32700]),
        (r#"{"jsonrpc":"2.0","id":1}"#.to_owned(), [-32600, -32600]),
        (r#"{"jsonrpc":"1.0","id":1,"method":"system_chain"}"#.to_owned(), [-32600, -32600]),
        ("[]".to_owned(), [-32600, -32600]),
        ("[1]".to_owned(), [-32600, -32600]),
        (deep.clone(), [-32700, -32600]),
        (call("chain_getBlockHash", &deep), [-32700, -32602]),
        (call("state_call", r#"{"a":1}"#), [-32602, -32602]),
        (call("no_such_method", "[]"), [-32601, -32601]),
    ] {
        ws.send(text.clone()).await;
        let frame = ws.frame().await.unwrap();
        let error = frame.get(0).unwrap_or(&frame)["error"].clone();
        let code = i32::try_from(error["code"].as_i64().unwrap()).unwrap();
        let shown: String = text.chars().take(60).collect();
        assert!(codes.contains(&code), "{shown}: {error}");
    }
    assert_eq!(ws.call("system_chain", Value::Null).await, Ok(json!("Cairn Test")));
    assert_eq!(rig.metric("cairn_rpc_calls_total", Some("unknown")), 1.0);
}

#[tokio::test]
async fn request_and_response_sizes_are_bounded() {
    let config = RpcConfig { request_bytes_max: 10_000, response_bytes_max: 20_000, ..RpcConfig::default() };
    let rig = Rig::with(config).await;
    let mut ws = rig.ws().await;
    ws.send(call("state_call", &format!(r#"["Echo","0x{}"]"#, "00".repeat(6_000)))).await;
    assert_eq!(ws.frame().await.unwrap()["error"]["code"], -32007);
    let error = ws.call("state_call", json!(["Large", "0x"])).await.unwrap_err();
    assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(-32008), &json!("response_too_large")));
    // Together too large in a batch, each of them not.
    let list = call("rpc_methods", "[]");
    ws.send(list.clone()).await;
    assert!(ws.frame().await.unwrap()["result"].is_object());
    ws.send(format!("[{}]", [list.as_str(); 20].join(","))).await;
    assert_eq!(ws.frame().await.unwrap()["error"]["code"], -32011);
    assert!(ws.call("state_call", json!(["Echo", "0x00"])).await.is_ok());
}

#[tokio::test]
async fn batch_is_answered_in_order_with_metrics_and_bounded() {
    let rig = Rig::start().await;
    let mut ws = rig.ws().await;
    let one = |id: usize, method: &str| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": null });
    let note = json!({ "jsonrpc": "2.0", "method": "system_chain" });
    ws.send(json!([one(1, "system_chain"), note, 7, one(2, "nope"), one(3, "system_name")]).to_string()).await;
    let answers = ws.frame().await.unwrap();
    let ids: Vec<_> = answers.as_array().unwrap().iter().map(|answer| answer["id"].clone()).collect();
    assert_eq!(ids, [json!(1), Value::Null, json!(2), json!(3)]);
    assert_eq!(answers[0]["result"], "Cairn Test");
    assert_eq!((&answers[1]["error"]["code"], &answers[2]["error"]["code"]), (&json!(-32600), &json!(-32601)));
    assert_eq!(answers[2]["error"]["message"], "Method not found");
    assert_eq!(rig.metric("cairn_rpc_calls_total", Some("system_chain")), 1.0);

    let batch = |len: usize| Value::Array((0..len).map(|id| one(id, "system_name")).collect()).to_string();
    ws.send(batch(50)).await;
    assert_eq!(ws.frame().await.unwrap().as_array().unwrap().len(), 50);
    ws.send(batch(51)).await;
    assert_eq!(ws.frame().await.unwrap()["error"]["code"], -32010);
}

#[tokio::test]
async fn subscriptions_of_a_connection_are_bounded() {
    let rig = Rig::with(RpcConfig { subscriptions_per_connection_max: 2, ..RpcConfig::default() }).await;
    let mut ws = rig.ws().await;
    let first = ws.call("chain_subscribeNewHeads", json!([])).await.unwrap();
    ws.call("chain_subscribeNewHeads", json!([])).await.unwrap();
    let error = ws.call("chain_subscribeNewHeads", json!([])).await.unwrap_err();
    assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(-32006), &json!("too_many_subscriptions")));
    assert_eq!(rig.metric("cairn_rpc_subscriptions_count", None), 2.0);
    ws.call("chain_unsubscribeNewHeads", json!([first])).await.unwrap();
    // The place is free once the subscription's task has ended.
    patient(async { while ws.call("chain_subscribeNewHeads", json!([])).await.is_err() {} }).await;
}

#[tokio::test]
async fn connections_are_bounded_and_the_refused_is_told() {
    let rig = Rig::with(RpcConfig { connections_max: 1, ..RpcConfig::default() }).await;
    let mut ws = rig.ws().await;
    assert!(ws.call("system_chain", json!([])).await.is_ok());
    let (status, body) = client::http(rig.server.address(), "", &call("system_chain", "[]")).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["error"]["code"]), (503, &json!(Code::TooManyConnections.number())));
    assert_eq!(rig.metric("cairn_rpc_connections_refused_total", None), 1.0);
    assert!(ws.call("system_chain", json!([])).await.is_ok());
    drop(ws);
    patient(async {
        while rig.metric("cairn_rpc_connections_count", None) > 0.0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(client::http(rig.server.address(), "", &call("system_chain", "[]")).await.0, 200);
}

#[tokio::test]
async fn call_that_takes_too_long_is_given_up() {
    let rig = Rig::with(RpcConfig { call_timeout: Duration::from_millis(50), ..RpcConfig::default() }).await;
    let mut ws = rig.ws().await;
    let held = Arc::clone(&rig.chain);
    let (locked, release) = (std::sync::mpsc::sync_channel(0), std::sync::mpsc::sync_channel::<()>(0));
    let holder = std::thread::spawn(move || {
        let _gate = held.gate.lock().unwrap();
        locked.0.send(()).unwrap();
        assert!(release.1.recv().is_err(), "nothing is sent");
    });
    locked.1.recv().unwrap();
    let error = ws.call("state_call", json!(["Wait", "0x"])).await.unwrap_err();
    assert_eq!((&error["code"], &error["data"]["retryable"]), (&json!(-32050), &json!(true)));
    assert!(ws.call("system_chain", json!([])).await.is_ok());
    drop(release.0);
    holder.join().unwrap();
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let list = AllowedOrigins::List(vec!["https://wallet.example".into()]);
    for (origins, origin, status) in [
        (AllowedOrigins::Local, None, 200),
        (AllowedOrigins::Local, Some("http://localhost:3000"), 200),
        (AllowedOrigins::Local, Some("http://[::1]:3000"), 200),
        (AllowedOrigins::Local, Some("https://127.0.0.1"), 200),
        (AllowedOrigins::Local, Some("https://evil.example"), 403),
        (AllowedOrigins::Local, Some("http://localhost.evil.example:80"), 403),
        (AllowedOrigins::Local, Some("null"), 403),
        (list.clone(), Some("https://wallet.example"), 200),
        (list.clone(), Some("http://localhost"), 403),
        (list, None, 200),
        (AllowedOrigins::Any, Some("https://evil.example"), 200),
    ] {
        let rig = Rig::with(RpcConfig { origins: origins.clone(), ..RpcConfig::default() }).await;
        let header = origin.map_or_else(String::new, |origin| format!("origin: {origin}\r\n"));
        let (actual, body) = client::http(rig.server.address(), &header, &call("system_chain", "[]")).await;
        assert_eq!(actual, status, "{origins:?} {origin:?} {body}");
        if status == 403 {
            assert!(body.contains("origin_refused"), "{body}");
        }
    }
}

#[tokio::test]
async fn port_in_use_is_named_with_the_cure() {
    let rig = Rig::start().await;
    let address = rig.server.address();
    let (chain, pool) = (FakeChain::new(), Arc::<FakePool>::default());
    let config = RpcConfig { listen: address, ..RpcConfig::default() };
    let again = Server::start(config, fake::ports(&chain, &pool), &prometheus::Registry::new()).await;
    let error = again.expect_err("the port is taken");
    assert!(matches!(error, StartError::PortInUse { .. }));
    assert!(error.to_string().contains(&address.to_string()) && error.to_string().contains("rpc.listen"));
    let config = RpcConfig { listen: SocketAddr::from(([203, 0, 113, 1], 0)), ..RpcConfig::default() };
    let elsewhere = Server::start(config, fake::ports(&chain, &pool), &prometheus::Registry::new()).await;
    assert!(matches!(elsewhere, Err(StartError::Bind { .. })));
}

#[tokio::test]
async fn stop_closes_connections_and_frees_the_port() {
    let rig = Rig::start().await;
    let address = rig.server.address();
    let mut ws = rig.ws().await;
    ws.call("chain_subscribeNewHeads", json!([])).await.unwrap();
    patient(rig.server.stop()).await;
    while ws.frame().await.is_some() {}
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn connection_that_ends_frees_its_subscriptions() {
    let rig = Rig::start().await;
    for _ in 0..3 {
        let mut ws = Ws::connect(rig.server.address()).await;
        ws.call("chain_subscribeNewHeads", json!([])).await.unwrap();
        ws.call("chain_subscribeFinalizedHeads", json!([])).await.unwrap();
    }
    patient(async {
        while rig.metric("cairn_rpc_subscriptions_count", None) > 0.0 {
            rig.chain.grow(1);
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[test]
fn error_codes_have_one_number_and_one_name_each_and_are_documented() {
    let documentation = include_str!("../../../docs/rpc.md");
    let (mut numbers, mut names) = (BTreeSet::new(), BTreeSet::new());
    for code in Code::ALL {
        assert!(numbers.insert(code.number()), "{code:?}");
        assert!(names.insert(code.reason()), "{code:?}");
        assert!(
            documentation.contains(&format!("| {} | `{}`", code.number(), code.reason())),
            "{code:?} is not in docs/rpc.md"
        );
    }
}
