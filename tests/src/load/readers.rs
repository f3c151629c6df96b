//! Clients that read while transactions are committed: state and nonces over many connections, and subscribers to heads.

use super::accounts;
use super::wire::{Transport, Wire};
use crate::rpc::to_hex;
use anyhow::{Context as _, ensure};
use cairn_runtime::keys;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Requests that are made ready for each connection and then go round.
const REQUESTS: u64 = 200;

/// Connections that subscribe at a time.
const SUBSCRIBING_MAX: usize = 64;

/// What readers saw.
#[derive(Clone, Debug)]
pub struct Reads {
    /// How requests travelled.
    pub transport: Transport,
    /// Over how many connections, each with one request under way.
    pub connections: u64,
    /// From the first request to the last answer.
    pub time: Duration,
    /// From request to answer, ascending.
    pub latencies: Vec<Duration>,
}

/// What subscribers saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// How many subscribers there were, each of which got every head from its first to its last, in order.
    pub subscribers: u64,
    /// The fewest and the most heads that one of them got.
    pub heads: (u64, u64),
    /// The lowest last head of a subscriber.
    pub last: u64,
}

/// Clients on a thread of their own.
pub(crate) struct Running<T> {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<T>>,
}

impl<T: Send + 'static> Running<T> {
    fn start<Work>(work: impl FnOnce(Arc<AtomicBool>) -> Work + Send + 'static) -> Self
    where
        Work: Future<Output = anyhow::Result<T>>,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(work(told))
        });
        Self { stop, thread }
    }

    /// Tells them to stop, and what they saw.
    ///
    /// # Errors
    /// The node closed a connection or gave another answer than it should.
    pub(crate) fn stop(self) -> anyhow::Result<T> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the readers failed")?
    }
}

/// Reads state and nonces until told to stop.
pub(crate) fn read(url: String, transport: Transport, connections: u64) -> Running<Reads> {
    Running::start(move |stop| async move {
        let mut readers = JoinSet::new();
        for number in 0..connections {
            let wire = Wire::connect(&url, transport).await?;
            readers.spawn(reader(wire, number, Arc::clone(&stop)));
        }
        let started = Instant::now();
        let mut latencies = Vec::new();
        while let Some(reader) = readers.join_next().await {
            latencies.extend(reader??);
        }
        latencies.sort_unstable();
        Ok(Reads { transport, connections, time: started.elapsed(), latencies })
    })
}

/// Alternates between an account's state and its next nonce.
async fn reader(mut wire: Wire, number: u64, stop: Arc<AtomicBool>) -> anyhow::Result<Vec<Duration>> {
    let mut requests = Vec::new();
    for step in 0..REQUESTS {
        let id = accounts::account(number.wrapping_mul(REQUESTS).wrapping_add(step) % 1_000).id;
        let (method, param) = if step.is_multiple_of(2) {
            ("state_getStorage", to_hex(&keys::system_account(&id)))
        } else {
            ("system_accountNextIndex", id.to_ss58(42))
        };
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": [param] }).to_string();
        requests.push(wire.request(&body)?);
    }
    let mut latencies = Vec::new();
    for request in requests.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let sent = Instant::now();
        wire.send(request).await?;
        let answer = wire.message().await?;
        latencies.push(sent.elapsed());
        let is_result = answer.windows(9).any(|window| window == b"\"result\":");
        ensure!(is_result, "a read was refused: {}", String::from_utf8_lossy(&answer));
    }
    Ok(latencies)
}

/// Subscribes to finalized heads over a connection for each subscriber until told to stop.
pub(crate) fn subscribe(url: String, subscribers: u64) -> Running<Heads> {
    Running::start(move |stop| async move {
        let places = Arc::new(tokio::sync::Semaphore::new(SUBSCRIBING_MAX));
        let mut running = JoinSet::new();
        for _ in 0..subscribers {
            running.spawn(subscriber(url.clone(), Arc::clone(&places), Arc::clone(&stop)));
        }
        let mut heads = Heads { subscribers, heads: (u64::MAX, 0), last: u64::MAX };
        while let Some(seen) = running.join_next().await {
            let (count, last) = seen??;
            heads.heads = (heads.heads.0.min(count), heads.heads.1.max(count));
            heads.last = heads.last.min(last);
        }
        Ok(heads)
    })
}

#[derive(Deserialize)]
struct Notification {
    params: Params,
}

#[derive(Deserialize)]
struct Params {
    result: Head,
}

#[derive(Deserialize)]
struct Head {
    number: String,
}

/// How many heads came, and the last of them; each must follow the one before.
async fn subscriber(
    url: String,
    places: Arc<tokio::sync::Semaphore>,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<(u64, u64)> {
    let place = places.acquire_owned().await?;
    let mut wire = Wire::connect(&url, Transport::Ws).await?;
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "chain_subscribeFinalizedHeads", "params": [] });
    let request = wire.request(&body.to_string())?;
    wire.send(&request).await?;
    wire.message().await?;
    drop(place);
    let (mut count, mut last) = (0u64, None);
    while !stop.load(Ordering::Relaxed) || count == 0 {
        let message = wire.message().await?;
        let news: Notification = serde_json::from_slice(&message).context("a head is not understood")?;
        let number = u64::from_str_radix(news.params.result.number.trim_start_matches("0x"), 16)?;
        ensure!(last.is_none_or(|last: u64| number == last + 1), "head {number} came after {last:?}");
        (count, last) = (count + 1, Some(number));
    }
    Ok((count, last.unwrap_or_default()))
}
