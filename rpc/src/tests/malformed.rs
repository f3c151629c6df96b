//! Random malformed requests: each ends in a proper error, and an honest client does not notice.
//!
//! `CAIRN_MALFORMED` sets how many; the default is for every day.

use super::Rig;
use super::client::{Ws, http};
use crate::RpcConfig;
use crate::table::METHODS;
use serde_json::{Value, json};

/// How many requests are made unless told otherwise.
const REQUESTS: u32 = 4_000;

/// xorshift: the same requests in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    /// A value of any kind.
    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 10 } else { 12 }) {
            0 => Value::Null,
            1 => json!(self.next().is_multiple_of(2)),
            2 => json!(self.next()),
            3 => json!(-1),
            4 => json!(1e300),
            5 => json!("0x"),
            6 => json!("0xzz"),
            7 => json!(format!("0x{}", "00".repeat(self.below(70)))),
            8 => json!("\u{0}\u{ffff}\"\\"),
            9 => json!("Echo"),
            10 => Value::Array((0..self.below(4)).map(|_| self.value(depth - 1)).collect()),
            _ => json!({ "key": self.value(depth - 1), "type": "value", "hash": self.value(depth - 1) }),
        }
    }

    /// A request with a good frame and parameters of any kind.
    fn request(&mut self) -> Value {
        let method = METHODS[self.below(METHODS.len())].name;
        let params = match self.below(4) {
            0 => self.value(3),
            _ => Value::Array((0..self.below(5)).map(|_| self.value(3)).collect()),
        };
        json!({ "jsonrpc": "2.0", "id": self.next() % 100, "method": method, "params": params })
    }

    /// Text that is a request, or was one.
    fn text(&mut self) -> String {
        let request = self.request();
        match self.below(10) {
            0 => {
                let text = request.to_string();
                let cut = text.char_indices().map(|(at, _)| at).nth(self.below(text.chars().count())).unwrap_or(0);
                text[..cut].to_owned()
            }
            1 => format!("{}{}", "[".repeat(2_000), "]".repeat(2_000)),
            2 => json!({ "jsonrpc": "1.0", "id": {}, "method": 5 }).to_string(),
            3 => Value::Array((0..self.below(70)).map(|_| self.request()).collect()).to_string(),
            4 => {
                let mut mixed = vec![self.value(2), json!(1), Value::Null];
                mixed.push(self.request());
                Value::Array(mixed).to_string()
            }
            5 => {
                let deep = format!("{}1{}", "{\"a\":".repeat(500), "}".repeat(500));
                format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"state_call\",\"params\":[{deep}]}}")
            }
            6 => format!("\"{}\"", "x".repeat(self.below(100_000))),
            _ => request.to_string(),
        }
    }
}

/// Whether this is one answer as JSON-RPC has it, its error in our shape where it concerns a call.
fn assert_proper(answer: &Value, text: &str) {
    if let Some(batch) = answer.as_array() {
        assert!(!batch.is_empty(), "{text}");
        return batch.iter().for_each(|answer| assert_proper(answer, text));
    }
    if answer.get("method").is_some() {
        return;
    }
    assert_eq!(answer["jsonrpc"], "2.0", "{text} {answer}");
    assert!(answer.get("result").is_some() != answer.get("error").is_some(), "{text} {answer}");
    if let Some(error) = answer.get("error") {
        let code = error["code"].as_i64().unwrap();
        assert!(code != -32603 || error["data"]["reason"] != "internal", "{text} {answer}");
        assert!(error["message"].is_string(), "{text} {answer}");
    }
}

#[tokio::test]
async fn malformed_requests_end_in_errors_and_disturb_nobody() {
    let requests = std::env::var("CAIRN_MALFORMED").ok().and_then(|text| text.parse().ok()).unwrap_or(REQUESTS);
    let config = RpcConfig { request_bytes_max: 64 << 10, batch_len_max: 20, ..RpcConfig::default() };
    let rig = Rig::with(config).await;
    rig.chain.grow(3);
    let mut honest = rig.ws().await;
    let mut hostile = rig.ws().await;
    let mut random = Random(0x5eed_cafe);
    for step in 0..requests {
        let text = random.text();
        if step.is_multiple_of(16) {
            let (status, body) = http(rig.server.address(), "", &text).await;
            assert!([200, 400, 413].contains(&status), "{status} {body}");
        } else {
            hostile.send(text.clone()).await;
        }
        if step.is_multiple_of(64) {
            assert!(honest.call("system_chain", json!([])).await.is_ok());
            // A call of its own tells that all before was read; a subscription limit is no reason to stay.
            drain(&mut hostile, &text).await;
            hostile = rig.ws().await;
        }
    }
    drain(&mut hostile, "the last").await;
    assert!(honest.call("state_getStorage", json!(["0x616c77617973"])).await.unwrap().is_string());
}

/// Reads the answers to everything that was sent.
async fn drain(ws: &mut Ws, text: &str) {
    const LAST: &str = "drained";
    ws.send(json!({ "jsonrpc": "2.0", "id": LAST, "method": "system_chain" }).to_string()).await;
    while let Some(answer) = ws.frame().await {
        if answer["id"] == LAST {
            return;
        }
        assert_proper(&answer, text);
    }
}
