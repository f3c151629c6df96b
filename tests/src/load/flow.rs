//! Submission under flow control, and what becomes of the transactions.
//!
//! One task submits: it waits while too many transactions are under way, so that the node's pool never overflows. One task
//! reads finalized blocks and finds the transactions in them by their hashes, so that every single latency is known. A
//! transaction that the node refuses for now (a full pool) is submitted again after the next block.

use super::options::Options;
use super::signer::{Batch, Batches, some_of};
use crate::rpc::Rpc;
use anyhow::{Context as _, anyhow, bail};
use jsonrpsee::core::JsonRawValue;
use jsonrpsee::core::client::Subscription;
use jsonrpsee::core::traits::ToRpcParams;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, Visitor};
use serde_json::json;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

/// How long finality may stand still at the end before what is under way is given up.
const STANDSTILL_MAX: Duration = Duration::from_secs(20);

/// Refusals for good that show that nothing works: the run is given up.
const REFUSED_MAX: u64 = 1_000;

/// Codes of refusals that pass: banned, pool full, unavailable.
const PASSING: [i32; 3] = [1012, 1016, 1050];

/// Codes of refusals that mean that the node has the transaction: already known.
const KNOWN: [i32; 1] = [1013];

/// A finalized block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockSeen {
    /// When it was heard of.
    pub(crate) at: Instant,
    /// How many of our transactions are in it.
    pub(crate) transactions: u64,
}

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Transactions submitted.
    pub(crate) submitted: u64,
    /// Transactions in finalized blocks.
    pub(crate) finalized: u64,
    /// Refusals after which a transaction was submitted again.
    pub(crate) retried: u64,
    /// Transactions refused for good.
    pub(crate) refused: u64,
    /// The first of those refusals.
    pub(crate) refusal: Option<String>,
    /// Transactions that were not final when the run was given up.
    pub(crate) unfinished: u64,
    /// From submission to the news of the final block, for each transaction.
    pub(crate) latencies: Vec<Duration>,
    /// The finalized blocks in their order.
    pub(crate) blocks: Vec<BlockSeen>,
}

/// What the tasks share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// A block came, a transaction was refused, or something failed.
    changed: Notify,
}

#[derive(Default)]
struct State {
    outcome: Outcome,
    under_way: HashMap<u64, Instant>,
    /// To submit again, each to the node that refused it.
    again: Vec<(usize, Box<JsonRawValue>, Vec<u64>)>,
    failure: Option<anyhow::Error>,
}

/// Parameters that are JSON already.
struct Prepared(Box<JsonRawValue>);

impl ToRpcParams for Prepared {
    fn to_rpc_params(self) -> Result<Option<Box<JsonRawValue>>, serde_json::Error> {
        Ok(Some(self.0))
    }
}

/// One answer of `cairn_submitBatch`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Verdict {
    Hash(IgnoredAny),
    Error(Refusal),
}

#[derive(Deserialize)]
struct Refusal {
    code: i32,
    message: String,
    #[serde(default)]
    data: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockNews {
    extrinsic_hashes: Vec<ShortId>,
}

/// The first eight bytes of a hash in hexadecimal.
struct ShortId(u64);

impl<'de> Deserialize<'de> for ShortId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HashVisitor;
        impl Visitor<'_> for HashVisitor {
            type Value = ShortId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a hash in hexadecimal")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ShortId, E> {
                let digits = text.get(2..18).ok_or_else(|| E::custom("too short for a hash"))?;
                u64::from_str_radix(digits, 16).map(ShortId).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(HashVisitor)
    }
}

/// The blocks that come from now on.
///
/// # Errors
/// The node refuses.
pub(crate) async fn blocks_of(rpc: &Rpc) -> anyhow::Result<Subscription<BlockNews>> {
    rpc.subscribe("cairn_subscribeBlocks", vec![json!(null), json!("hashes")], "cairn_unsubscribeBlocks").await
}

/// Submits for the time asked for, then waits for what is under way.
///
/// # Errors
/// A node went away, or refuses everything.
pub(crate) async fn run(
    nodes: &[Arc<Rpc>],
    blocks: Subscription<BlockNews>,
    batches: &mut Batches,
    options: &Options,
) -> anyhow::Result<(Instant, Outcome)> {
    let shared = Arc::new(Shared::default());
    let follower = tokio::spawn(follow(Arc::clone(&shared), blocks));
    let start = Instant::now();
    let end = start + Duration::from_secs(options.seconds);
    let flow = Flow { nodes, shared: Arc::clone(&shared), options, start, end };
    let submitted = flow.submit(batches).await;
    let drained = match submitted {
        Ok(()) => flow.drain().await,
        Err(error) => Err(error),
    };
    follower.abort();
    drained?;
    let mut state = shared.state();
    state.outcome.unfinished = u64::try_from(state.under_way.len())?;
    Ok((start, std::mem::take(&mut state.outcome)))
}

async fn follow(shared: Arc<Shared>, mut blocks: Subscription<BlockNews>) {
    loop {
        let news = match blocks.next().await {
            Some(Ok(news)) => news,
            Some(Err(error)) => return shared.fail(anyhow!(error).context("a block is not understood")),
            None => return shared.fail(anyhow!("the node ended the subscription to blocks")),
        };
        let at = Instant::now();
        let mut state = shared.state();
        let before = state.under_way.len();
        for ShortId(id) in news.extrinsic_hashes {
            if let Some(since) = state.under_way.remove(&id) {
                state.outcome.latencies.push(at.duration_since(since));
            }
        }
        let transactions = u64::try_from(before.saturating_sub(state.under_way.len())).unwrap_or(u64::MAX);
        state.outcome.finalized = state.outcome.finalized.saturating_add(transactions);
        state.outcome.blocks.push(BlockSeen { at, transactions });
        drop(state);
        shared.changed.notify_one();
    }
}

struct Flow<'a> {
    nodes: &'a [Arc<Rpc>],
    shared: Arc<Shared>,
    options: &'a Options,
    start: Instant,
    end: Instant,
}

impl Flow<'_> {
    async fn submit(&self, batches: &mut Batches) -> anyhow::Result<()> {
        let batch_len = self.options.batch_len();
        let under_way_max = usize::try_from(self.options.in_flight.saturating_sub(batch_len))?;
        let mut count: u64 = 0;
        while Instant::now() < self.end {
            self.submit_again()?;
            if self.shared.state().under_way.len() > under_way_max || self.options.rate == Some(0) {
                tokio::select! {
                    () = self.shared.changed.notified() => {}
                    () = sleep_until(self.end) => {}
                }
                continue;
            }
            if let Some(rate) = self.options.rate.filter(|rate| *rate > 0) {
                let slot = self.start + Duration::from_secs_f64(count as f64 / rate as f64);
                sleep_until(slot.min(self.end)).await;
            }
            let Batch { number, params, ids } = batches.next().await?;
            count = count.saturating_add(batch_len);
            let now = Instant::now();
            {
                let mut state = self.shared.state();
                state.outcome.submitted = state.outcome.submitted.saturating_add(batch_len);
                state.under_way.extend(ids.iter().map(|id| (*id, now)));
            }
            self.send(self.node_of(number)?, params, ids)?;
            // The request shall be on its way before the next one is made.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Each account always speaks to the same node, so that its nonces arrive there without gaps.
    fn node_of(&self, number: u64) -> anyhow::Result<usize> {
        let in_round = self.options.account_count().checked_div(self.options.batch_len()).unwrap_or(1).max(1);
        let place = number.checked_rem(in_round).unwrap_or(0);
        Ok(usize::try_from(place)?.checked_rem(self.nodes.len()).unwrap_or(0))
    }

    fn submit_again(&self) -> anyhow::Result<()> {
        let (again, failure) = {
            let mut state = self.shared.state();
            (std::mem::take(&mut state.again), state.failure.take())
        };
        if let Some(failure) = failure {
            return Err(failure);
        }
        again.into_iter().try_for_each(|(node, params, ids)| self.send(node, params, ids))
    }

    fn send(&self, node: usize, params: Box<JsonRawValue>, ids: Vec<u64>) -> anyhow::Result<()> {
        let rpc = Arc::clone(self.nodes.get(node).context("there is no such node")?);
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let answer: anyhow::Result<Vec<Verdict>> = rpc.call("cairn_submitBatch", Prepared(params.clone())).await;
            let judged = answer.and_then(|verdicts| shared.judge(node, &params, &ids, verdicts));
            if let Err(error) = judged {
                shared.fail(error);
            }
        });
        Ok(())
    }

    /// Waits until everything is final, or nothing becomes final any more.
    async fn drain(&self) -> anyhow::Result<()> {
        loop {
            self.submit_again()?;
            let before = self.shared.state().under_way.len();
            if before == 0 {
                return Ok(());
            }
            let fewer = async {
                while self.shared.state().under_way.len() >= before && self.shared.state().failure.is_none() {
                    self.shared.changed.notified().await;
                    self.submit_again()?;
                }
                anyhow::Ok(())
            };
            match timeout(STANDSTILL_MAX, fewer).await {
                Ok(progress) => progress?,
                Err(_) => return Ok(()),
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: anyhow::Error) {
        self.state().failure.get_or_insert(error);
        self.changed.notify_one();
    }

    fn judge(&self, node: usize, params: &JsonRawValue, ids: &[u64], verdicts: Vec<Verdict>) -> anyhow::Result<()> {
        if verdicts.len() != ids.len() {
            bail!("{} transactions were submitted and {} verdicts came", ids.len(), verdicts.len());
        }
        let mut places = Vec::new();
        let mut state = self.state();
        for (place, (verdict, id)) in verdicts.into_iter().zip(ids).enumerate() {
            let Verdict::Error(refusal) = verdict else { continue };
            if PASSING.contains(&refusal.code) {
                places.push(place);
            } else if !KNOWN.contains(&refusal.code) {
                state.under_way.remove(id);
                state.outcome.refused = state.outcome.refused.saturating_add(1);
                let Refusal { code, message, data } = refusal;
                let is_over = state.outcome.refused > REFUSED_MAX;
                let words = state.outcome.refusal.get_or_insert_with(|| format!("{message} ({code}): {data}"));
                if is_over {
                    bail!("more than {REFUSED_MAX} transactions were refused; the first: {words}");
                }
            }
        }
        if !places.is_empty() {
            let count = u64::try_from(places.len())?;
            state.outcome.retried = state.outcome.retried.saturating_add(count);
            let ids = places.iter().filter_map(|place| ids.get(*place).copied()).collect();
            // Taken up when the next block has made room.
            state.again.push((node, some_of(params, &places)?, ids));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockNews, Shared, Verdict};
    use crate::load::signer::some_of;
    use jsonrpsee::core::JsonRawValue;
    use tokio::time::Instant;

    const VERDICTS: &str = r#"[{"hash":"0x01"},{"error":{"code":1016,"message":"full"}},
        {"error":{"code":1010,"message":"bad","data":{"reason":"stale"}}},{"error":{"code":1013,"message":"known"}}]"#;

    #[test]
    fn verdicts_are_told_apart() {
        let shared = Shared::default();
        shared.state().under_way.extend([1, 2, 3, 4].map(|id| (id, Instant::now())));
        let params = JsonRawValue::from_string(r#"[["0xa","0xb","0xc","0xd"]]"#.to_owned()).unwrap();
        let verdicts: Vec<Verdict> = serde_json::from_str(VERDICTS).unwrap();
        shared.judge(0, &params, &[1, 2, 3, 4], verdicts).unwrap();
        let state = shared.state();
        assert_eq!((state.outcome.retried, state.outcome.refused), (1, 1));
        assert!(state.outcome.refusal.as_ref().unwrap().contains("stale"));
        let (node, again, ids) = &state.again[0];
        assert_eq!((*node, again.get(), ids.as_slice()), (0, some_of(&params, &[1]).unwrap().get(), [2].as_slice()));
        let mut left: Vec<u64> = state.under_way.keys().copied().collect();
        left.sort_unstable();
        assert_eq!(left, [1, 2, 4]);
    }

    #[test]
    fn verdicts_of_another_number_are_an_error() {
        let params = JsonRawValue::from_string("[[]]".to_owned()).unwrap();
        assert!(Shared::default().judge(0, &params, &[1], Vec::new()).is_err());
    }

    #[test]
    fn block_news_keep_the_beginnings_of_hashes() {
        let hash = format!("0x00000000000000ff{}", "11".repeat(24));
        let news: BlockNews = serde_json::from_str(&format!(r#"{{"height":1,"extrinsicHashes":["{hash}"]}}"#)).unwrap();
        assert_eq!(news.extrinsic_hashes[0].0, 255);
    }
}
