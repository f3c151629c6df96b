//! Methods for the node's owner, called by who has the token.

use cairn_tests::harness::{Network, Shape};
use jsonrpsee::client_transport::ws::{HeaderMap, HeaderValue, Url, WsTransportClientBuilder};
use jsonrpsee::core::client::{Client, ClientT as _, Error};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const TOKEN: &str = "0123456789abcdef-a-token";

/// The code of the refusal of a method for the owner over HTTP; `None` where it is answered.
async fn over_http(port: u16, authorization: Option<&str>) -> Option<i64> {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "cairn_peers", "params": [] }).to_string();
    let header = authorization.map_or_else(String::new, |text| format!("authorization: {text}\r\n"));
    let request = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nconnection: close\r\n{header}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let answer: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert!(answer["result"].is_array() || answer["error"].is_object(), "{answer}");
    answer["error"]["code"].as_i64()
}

/// The same over a WebSocket whose handshake carries the header.
async fn over_websocket(port: u16, authorization: Option<&str>) -> Option<i64> {
    let mut headers = HeaderMap::new();
    if let Some(text) = authorization {
        headers.insert("authorization", HeaderValue::from_str(text).unwrap());
    }
    let url = Url::parse(&format!("ws://127.0.0.1:{port}")).unwrap();
    let (sender, receiver) = WsTransportClientBuilder::default().set_headers(headers).build(url).await.unwrap();
    let client = Client::builder().build_with_tokio(sender, receiver);
    match client.request::<Value, _>("cairn_peers", Vec::<Value>::new()).await {
        Ok(answer) => {
            assert!(answer.is_array(), "{answer}");
            None
        }
        Err(Error::Call(refused)) => Some(i64::from(refused.code())),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn owner_methods_are_called_with_the_token_of_the_file_and_by_nobody_else() {
    let mut network = Network::prepare(Shape { validators: 1, archives: 0 }).await.unwrap();
    let file = network.folder().join("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let node = network.node(0).unwrap();
    node.settings.rpc =
        vec!["unsafe_methods = \"off\"".into(), format!("unsafe_token_file = {:?}", file.to_str().unwrap())];

    // A token that others can read is refused.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    node.spawn().unwrap();
    assert_eq!(node.end().await.unwrap().code(), Some(9), "{}", node.tail());
    assert!(node.log().contains("chmod 600"), "{}", node.tail());

    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    node.start().await.unwrap();
    let (_, port) = node.rpc_address();
    let good = format!("Bearer {TOKEN}");
    let short = &good[..good.len() - 1];
    for (given, expected) in [
        (Some(good.as_str()), None),
        (None, Some(-32054)),
        (Some(short), Some(-32054)),
        (Some(TOKEN), Some(-32054)),
        (Some("Bearer x"), Some(-32054)),
    ] {
        assert_eq!(over_http(port, given).await, expected, "{given:?}");
        assert_eq!(over_websocket(port, given).await, expected, "{given:?}");
    }
    assert!(!node.log().contains(TOKEN), "the token is in the log");
}
