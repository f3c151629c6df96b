//! Signing in threads, ahead of time: a signature costs the generator as much as all the rest of a transaction.
//!
//! ```text
//!  thread 0: batches 0, 2, 4 … ─► queue 0 ─┐
//!                                          ├─► the flow takes batches in their order
//!  thread 1: batches 1, 3, 5 … ─► queue 1 ─┘
//! ```
//! Each thread first fills its queue, then rests until the flow finds a queue empty: while the network is measured, nobody
//! signs unless what was signed ahead did not last.

use super::accounts::Account;
use anyhow::Context as _;
use cairn_primitives::Hash;
use cairn_runtime::client::{sign, transfer_keep_alive};
use cairn_runtime::{Era, TransactionExtra};
use jsonrpsee::core::{JsonRawValue, to_json_raw_value};
use parity_scale_codec::Encode as _;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use tokio::sync::mpsc;

/// Base units that a transfer moves.
const VALUE: u128 = 1_000;

/// Batches a thread may be ahead once it signs under way.
const QUEUE_LEN_MIN: usize = 4;

/// Signed transactions, ready to be sent.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Its number, counted from 0.
    pub(crate) number: u64,
    /// The parameters of `cairn_submitBatch`.
    pub(crate) params: Box<JsonRawValue>,
    /// What recognises each transaction in a block: see [`short_id`].
    pub(crate) ids: Vec<u64>,
}

/// The signed batches, in their order.
#[derive(Debug)]
pub(crate) struct Batches {
    queues: Vec<mpsc::Receiver<Batch>>,
    next: u64,
    rest: Arc<Rest>,
}

/// Where threads rest after they have filled their queues.
#[derive(Debug, Default)]
struct Rest {
    state: Mutex<RestState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct RestState {
    resting: usize,
    /// What was signed ahead is used up, or nobody wants more.
    is_over: bool,
}

/// The first eight bytes of a transaction's hash.
pub(crate) const fn short_id(hash: &Hash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = hash.0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

impl Batches {
    /// Starts to sign, and comes back when `ahead` batches are signed.
    ///
    /// # Errors
    /// There are no accounts.
    pub(crate) fn sign_ahead(
        accounts: Vec<Account>,
        genesis: Hash,
        batch_len: u64,
        ahead: u64,
    ) -> anyhow::Result<Self> {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let work = Arc::new(Work { accounts, genesis, batch_len });
        anyhow::ensure!(!work.accounts.is_empty(), "there are no accounts");
        let rest = Arc::new(Rest::default());
        let share = usize::try_from(ahead)?.div_ceil(threads);
        let mut queues = Vec::new();
        for first in 0..threads {
            let (sender, receiver) = mpsc::channel(share.max(QUEUE_LEN_MIN));
            let (work, rest) = (Arc::clone(&work), Arc::clone(&rest));
            let (first, step) = (u64::try_from(first)?, threads);
            thread::spawn(move || {
                let mut signed = (first..).step_by(step).map(|number| work.batch(number));
                send(signed.by_ref().take(share), &sender);
                rest.rest();
                send(signed, &sender);
            });
            queues.push(receiver);
        }
        rest.wait_until_resting(threads);
        Ok(Self { queues, next: 0, rest })
    }

    /// How many batches are signed and wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queues.iter().map(mpsc::Receiver::len).sum()
    }

    /// The next batch; if none is ready, signing begins again.
    ///
    /// # Errors
    /// The accounts have no nonces left.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Batch> {
        let threads = u64::try_from(self.queues.len())?;
        let place = usize::try_from(self.next.checked_rem(threads).unwrap_or(0))?;
        self.next = self.next.saturating_add(1);
        let queue = self.queues.get_mut(place).context("there is no signing thread")?;
        let batch = match queue.try_recv() {
            Ok(batch) => Some(batch),
            Err(_) => {
                self.rest.end();
                queue.recv().await
            }
        };
        batch.context("no more transactions can be signed: the accounts have no nonces left")
    }
}

/// Sends batches until there are no more or nobody takes them.
fn send(batches: impl Iterator<Item = Option<Batch>>, queue: &mpsc::Sender<Batch>) {
    for batch in batches {
        let Some(batch) = batch else { return };
        if queue.blocking_send(batch).is_err() {
            return;
        }
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.queues.clear();
        self.rest.end();
    }
}

impl Rest {
    fn rest(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.resting = state.resting.saturating_add(1);
        self.changed.notify_all();
        let waited = self.changed.wait_while(state, |state| !state.is_over);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn wait_until_resting(&self, threads: usize) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_while(state, |state| state.resting < threads);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        self.changed.notify_all();
    }
}

/// What the threads sign.
struct Work {
    accounts: Vec<Account>,
    genesis: Hash,
    batch_len: u64,
}

impl Work {
    /// Batch `number`: the next `batch_len` senders in turn, each with its next nonce; `None` without nonces left.
    fn batch(&self, number: u64) -> Option<Batch> {
        let count = u64::try_from(self.accounts.len()).ok()?;
        let mut text = String::from("[[");
        let mut ids = Vec::new();
        let first = number.checked_mul(self.batch_len)?;
        for turn in first..first.checked_add(self.batch_len)? {
            let (round, place) = (turn.checked_div(count)?, turn.checked_rem(count)?);
            // Another receiver in each round, never the sender.
            let away = round.checked_rem(count.checked_sub(1)?)?.checked_add(1)?;
            let to = place.checked_add(away)?.checked_rem(count)?;
            let sender = self.accounts.get(usize::try_from(place).ok()?)?;
            let receiver = self.accounts.get(usize::try_from(to).ok()?)?;
            let nonce = sender.nonce.checked_add(u32::try_from(round).ok()?)?;
            let extra = TransactionExtra { era: Era::Immortal, nonce, tip: 0 };
            let call = transfer_keep_alive(receiver.id, VALUE);
            let extrinsic = sign(&sender.key, &call, extra, &self.genesis, &self.genesis);
            ids.push(short_id(&extrinsic.hash()));
            let comma = if turn == first { "" } else { "," };
            write!(text, "{comma}\"0x{}\"", hex::encode(extrinsic.encode())).ok()?;
        }
        text.push_str("]]");
        Some(Batch { number, params: JsonRawValue::from_string(text).ok()?, ids })
    }
}

/// The parameters for some transactions of a batch again, by their places.
pub(crate) fn some_of(params: &JsonRawValue, places: &[usize]) -> anyhow::Result<Box<JsonRawValue>> {
    let (texts,): (Vec<&str>,) = serde_json::from_str(params.get())?;
    let chosen: Vec<&str> = places.iter().filter_map(|place| texts.get(*place).copied()).collect();
    Ok(to_json_raw_value(&(chosen,))?)
}

#[cfg(test)]
mod tests;
