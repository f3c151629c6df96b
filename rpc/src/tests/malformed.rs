//! Random malformed requests: each ends in a proper error, and an honest client does not notice.

use super::Rig;
use super::client::{Ws, http, patient};
use crate::RpcConfig;
use crate::table::METHODS;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::task::JoinSet;

/// How many requests are made, by how many clients at a time.
const REQUESTS: u32 = 100_000;
const ATTACKERS: u32 = 4;

/// What the whole process, with the attackers and other tests, may take more afterwards.
const MEMORY_MAX: u64 = 512 << 20;

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

/// Sends requests that were drawn from a seed; each answer must be a proper one.
async fn attack(address: SocketAddr, seed: u64, requests: u32) {
    let mut random = Random(seed);
    let mut hostile = Ws::connect(address).await;
    for step in 1..=requests {
        let text = random.text();
        if step.is_multiple_of(16) {
            let (status, body) = http(address, "", &text).await;
            assert!([200, 400, 413].contains(&status), "{status} {body}");
        } else {
            hostile.send(text.clone()).await;
        }
        if step.is_multiple_of(64) {
            // A call of its own tells that all before was read; a subscription limit is no reason to stay.
            drain(&mut hostile, &text).await;
            hostile = Ws::connect(address).await;
        }
    }
    drain(&mut hostile, "the last").await;
}

/// The memory of this process, in bytes; nothing where the system does not tell.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_end_in_errors_and_disturb_nobody() {
    let config = RpcConfig { request_bytes_max: 64 << 10, batch_len_max: 20, ..RpcConfig::default() };
    let rig = Rig::with(config).await;
    rig.chain.grow(3);
    let address = rig.server.address();
    let mut honest = rig.ws().await;
    let before = memory();
    let seeds = (0..ATTACKERS).map(|number| 0x5eed_cafe_u64 + u64::from(number));
    let mut attackers: JoinSet<()> = seeds.map(|seed| attack(address, seed, REQUESTS / ATTACKERS)).collect();
    let mut rounds = 0u32;
    loop {
        let ended = tokio::select! {
            biased;
            ended = attackers.join_next() => ended,
            answer = honest.call("state_getStorage", json!(["0x616c77617973"])) => {
                assert!(answer.unwrap().is_string());
                rounds += 1;
                continue;
            }
        };
        match ended {
            Some(ended) => ended.unwrap(),
            None => break,
        }
    }
    assert!(rounds > REQUESTS / 100, "the honest client got {rounds} answers");
    let grown = memory().saturating_sub(before);
    assert!(grown < MEMORY_MAX, "{grown} bytes more than before");
    patient(async {
        while rig.metric("cairn_rpc_connections_count", None) > 1.0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(honest.call("system_chain", json!([])).await.is_ok());
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
