//! Clients that begin something and never end it: they lose their places, and nobody else notices.

use super::Rig;
use super::client::{http, patient};
use crate::config::RpcConfig;
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What slow clients send before they fall silent, by what they do.
fn beginnings() -> Vec<(&'static str, Vec<u8>)> {
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"system_chain","params":[]}"#;
    let head = |length: usize| {
        format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n")
    };
    let handshake = "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
    // A text frame from a client says its length, here 125 bytes, and four bytes of a mask.
    let frame = [0x81, 0x80 | 125, 1, 2, 3, 4];
    vec![
        ("nothing at all", Vec::new()),
        ("half a request line", b"POST / HT".to_vec()),
        ("half a head", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-le".to_vec()),
        ("no body", head(call.len()).into_bytes()),
        ("half a body", format!("{}{}", head(call.len()), &call[..20]).into_bytes()),
        (
            "half a chunked body",
            format!("{}5\r\n{{\"js", head(1).replace("content-length: 1", "transfer-encoding: chunked")).into_bytes(),
        ),
        ("half a handshake", handshake.as_bytes()[..60].to_vec()),
        ("a silent WebSocket", handshake.as_bytes().to_vec()),
        ("half the head of a frame", [handshake.as_bytes(), &frame[..1]].concat()),
        ("half a frame", [handshake.as_bytes(), &frame, b"{\"json"].concat()),
    ]
}

/// Limits so short that a test can wait for them, and one place more than there are slow clients.
fn short(clients: usize) -> RpcConfig {
    RpcConfig {
        connections_max: clients + 1,
        head_timeout: Duration::from_millis(300),
        http_request_timeout: Duration::from_millis(300),
        silence_max: Duration::from_millis(600),
        write_stall_max: Duration::from_millis(300),
        ..RpcConfig::default()
    }
}

async fn begin(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    socket
}

#[tokio::test]
async fn slow_clients_lose_their_places_and_others_go_on() {
    let beginnings = beginnings();
    let rig = Rig::with(short(beginnings.len())).await;
    let address = rig.server.address();
    let mut honest = rig.ws().await;
    honest.call("chain_subscribeNewHeads", json!([])).await.unwrap();
    honest.notification().await;
    let mut slow = Vec::new();
    for (what, bytes) in &beginnings {
        slow.push((what, begin(address, bytes).await));
    }
    // All places are taken now: the honest client's connection does not feel it.
    patient(async {
        while rig.metric("cairn_rpc_connections_count", None) < (beginnings.len() + 1) as f64 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(http(address, "", "").await.0, 503);
    for height in 1..=20 {
        rig.chain.grow(1);
        let (_, _, head) = honest.notification().await;
        assert_eq!(head["number"], json!(format!("0x{height:x}")));
        assert_eq!(honest.call("system_chain", json!([])).await, Ok(json!("Cairn Test")));
    }
    // Each slow client is told or not, and its connection ends.
    for (what, mut socket) in slow {
        let mut answer = Vec::new();
        // Some systems say that the other side was reset, which is an end too.
        let ended = patient(socket.read_to_end(&mut answer)).await;
        assert!(
            ended.is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset),
            "{what}"
        );
    }
    patient(async {
        while rig.metric("cairn_rpc_connections_count", None) > 1.0 {
            // The honest client answers pings while it waits for an answer.
            honest.call("system_chain", json!([])).await.unwrap();
        }
    })
    .await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"system_chain","params":[]}"#;
    assert_eq!(http(address, "", call).await.0, 200);
}

#[tokio::test]
async fn client_that_sends_a_byte_at_a_time_is_no_better_off() {
    let rig = Rig::with(short(1)).await;
    let address = rig.server.address();
    for (what, bytes) in beginnings().into_iter().filter(|(what, _)| what.starts_with("half")) {
        let mut socket = TcpStream::connect(address).await.unwrap();
        // The first bytes at once, then the last one again and again: the server closes at some time.
        socket.write_all(&bytes).await.unwrap();
        let (mut reader, mut writer) = socket.into_split();
        let dripping = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            loop {
                ticks.tick().await;
                if writer.write_all(b"a").await.is_err() {
                    return;
                }
            }
        });
        let mut answer = Vec::new();
        let ended = patient(reader.read_to_end(&mut answer)).await;
        assert!(
            ended.is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset),
            "{what}"
        );
        dripping.abort();
    }
}

#[tokio::test]
async fn client_that_does_not_read_its_answers_is_given_up() {
    let rig = Rig::with(short(1)).await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"rpc.discover","params":[]}"#;
    let request = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = TcpStream::connect(rig.server.address()).await.unwrap();
    // Answers nobody reads, until the server takes no more requests and gives the client up.
    patient(async { while socket.write_all(request.as_bytes()).await.is_ok() {} }).await;
    patient(async {
        while rig.metric("cairn_rpc_connections_count", None) > 0.0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
