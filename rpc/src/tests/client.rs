//! A client that sees the frames as they are.

use jsonrpsee::client_transport::ws::{Url, WsTransportClientBuilder};
use jsonrpsee::core::client::{ReceivedMessage, TransportReceiverT, TransportSenderT};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

type Frames = Pin<Box<dyn futures::Stream<Item = String> + Send>>;

/// A WebSocket connection.
pub(super) struct Ws {
    out: tokio::sync::mpsc::Sender<String>,
    frames: Frames,
    notifications: VecDeque<Value>,
    next_id: u64,
}

pub(super) async fn patient<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("an answer in time")
}

impl Ws {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let url = Url::parse(&format!("ws://{address}")).unwrap();
        let builder = WsTransportClientBuilder::default().max_response_size(64 << 20);
        let (mut sender, receiver) = builder.build(url).await.unwrap();
        let (out, mut queue) = tokio::sync::mpsc::channel::<String>(16);
        tokio::spawn(async move {
            while let Some(text) = queue.recv().await {
                if sender.send(text).await.is_err() {
                    return;
                }
            }
        });
        let frames = futures::stream::unfold(receiver, |mut receiver| async move {
            loop {
                match receiver.receive().await.ok()? {
                    ReceivedMessage::Text(text) => return Some((text, receiver)),
                    ReceivedMessage::Bytes(bytes) => return Some((String::from_utf8(bytes).unwrap(), receiver)),
                    ReceivedMessage::Pong => {}
                }
            }
        });
        Self { out, frames: Box::pin(frames), notifications: VecDeque::new(), next_id: 0 }
    }

    /// Sends text as it is.
    pub(super) async fn send(&mut self, text: impl Into<String>) {
        self.out.send(text.into()).await.unwrap();
    }

    /// The next frame, whatever it is; `None` once the server closed.
    pub(super) async fn frame(&mut self) -> Option<Value> {
        use futures::StreamExt;
        let text = patient(self.frames.next()).await?;
        Some(serde_json::from_str(&text).unwrap())
    }

    /// Calls a method; `Err` is the error object.
    pub(super) async fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.next_id += 1;
        let id = self.next_id;
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.send(request.to_string()).await;
        loop {
            let frame = self.frame().await.expect("an open connection");
            if frame["id"] == json!(id) {
                return match frame.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(frame["result"].clone()),
                };
            }
            self.notifications.push_back(frame);
        }
    }

    /// Whether no notification came while calls were answered.
    pub(super) fn frame_is_quiet(&self) -> bool {
        self.notifications.is_empty()
    }

    /// The next notification: method, subscription and payload (`result` or `error`).
    pub(super) async fn notification(&mut self) -> (String, String, Value) {
        let frame = match self.notifications.pop_front() {
            Some(frame) => frame,
            None => self.frame().await.expect("an open connection"),
        };
        let params = &frame["params"];
        let payload = params.get("result").or_else(|| params.get("error")).cloned().unwrap();
        let id = params["subscription"].as_str().expect("subscription ids are text").to_owned();
        (frame["method"].as_str().unwrap().to_owned(), id, payload)
    }
}

/// One HTTP request: status and body.
pub(super) async fn http(address: SocketAddr, headers: &str, body: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    patient(socket.read_to_string(&mut answer)).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("chunked"), "the tests read plain bodies");
    (status, body.to_owned())
}
