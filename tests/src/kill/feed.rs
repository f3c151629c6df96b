//! Transactions for nodes that come and go.
//!
//! Each node is fed by a task of its own, from accounts that no other task uses. A node that died takes what only its pool
//! held along, so nonces are asked for anew before each batch.

use crate::load::accounts::{self, Account};
use crate::rpc::{Rpc, to_hex};
use cairn_primitives::Hash;
use cairn_runtime::client::{sign, transfer_keep_alive};
use cairn_runtime::{Era, TransactionExtra};
use parity_scale_codec::Encode as _;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// Accounts of each task.
const ACCOUNTS: usize = 25;

/// Transactions in one request, all of one account.
const BATCH: u64 = 20;

/// Base units that a transfer carries.
const VALUE: u128 = 1_000;

/// How often a node that is away is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// The tasks that feed a network.
#[derive(Debug)]
pub(super) struct Feeders {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
    accounts: usize,
    nonces_before: u64,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    taken: AtomicU64,
}

impl Feeders {
    /// Funds accounts through `rpc` and begins to feed the nodes at `urls`, `rate` transactions a second together.
    ///
    /// # Errors
    /// The accounts cannot be funded.
    pub(super) async fn start(rpc: &Rpc, genesis: Hash, urls: Vec<String>, rate: u64) -> anyhow::Result<Self> {
        let accounts = if rate == 0 { 0 } else { ACCOUNTS.saturating_mul(urls.len()) };
        let mut funded = accounts::funded(rpc, &genesis, u64::try_from(accounts)?).await?;
        let nonces_before = funded.iter().map(|account| u64::from(account.nonce)).sum();
        let shared = Arc::new(Shared::default());
        let nodes = u64::try_from(urls.len())?.max(1);
        let batch_interval = Duration::from_secs(1) * u32::try_from(BATCH.saturating_mul(nodes))?;
        let batch_interval = batch_interval / u32::try_from(rate.max(1))?;
        let mut tasks = Vec::new();
        for url in urls.into_iter().filter(|_| rate > 0) {
            let own = funded.split_off(funded.len().saturating_sub(ACCOUNTS));
            let feeder = Feeder { url, accounts: own, genesis, shared: Arc::clone(&shared) };
            tasks.push(tokio::spawn(feeder.run(batch_interval)));
        }
        Ok(Self { shared, tasks, accounts, nonces_before })
    }

    /// Ends the tasks and gives how many transactions pools took.
    pub(super) async fn stop(&mut self) -> u64 {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for task in self.tasks.drain(..) {
            // What a task had left to say is said by the blocks.
            task.abort();
            drop(task.await);
        }
        self.shared.taken.load(Ordering::Relaxed)
    }

    /// How many transactions are in finalized blocks, by the nonces of their senders.
    ///
    /// # Errors
    /// The node does not answer.
    pub(super) async fn finalized(&self, rpc: &Rpc, genesis: &Hash) -> anyhow::Result<u64> {
        let accounts = accounts::funded(rpc, genesis, u64::try_from(self.accounts)?).await?;
        let nonces: u64 = accounts.iter().map(|account| u64::from(account.nonce)).sum();
        Ok(nonces.saturating_sub(self.nonces_before))
    }
}

struct Feeder {
    url: String,
    accounts: Vec<Account>,
    genesis: Hash,
    shared: Arc<Shared>,
}

impl Feeder {
    async fn run(self, batch_interval: Duration) {
        let mut turns = interval(batch_interval);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connection: Option<Rpc> = None;
        for account in self.accounts.iter().cycle() {
            turns.tick().await;
            if self.shared.is_over.load(Ordering::Relaxed) {
                return;
            }
            let connected = match connection.take() {
                Some(rpc) => Ok(rpc),
                None => Rpc::connect(&self.url).await,
            };
            // A node that is away, dies or has no room is what this is about.
            match connected {
                Ok(rpc) if self.submit(&rpc, account).await.is_ok() => connection = Some(rpc),
                Ok(_) | Err(_) => tokio::time::sleep(RETRY_INTERVAL).await,
            }
        }
    }

    async fn submit(&self, rpc: &Rpc, account: &Account) -> anyhow::Result<()> {
        let first: u32 = rpc.call("system_accountNextIndex", vec![json!(account.id.to_ss58(42))]).await?;
        let receiver = self.accounts.first().map_or(account.id, |account| account.id);
        let signed = (0..u32::try_from(BATCH)?).map(|turn| {
            let extra = TransactionExtra { era: Era::Immortal, nonce: first.saturating_add(turn), tip: 0 };
            let call = transfer_keep_alive(receiver, VALUE);
            to_hex(&sign(&account.key, &call, extra, &self.genesis, &self.genesis).encode())
        });
        let verdicts: Vec<Value> = rpc.call("cairn_submitBatch", vec![json!(signed.collect::<Vec<_>>())]).await?;
        let taken = verdicts.iter().filter(|verdict| verdict.get("hash").is_some()).count();
        self.shared.taken.fetch_add(u64::try_from(taken)?, Ordering::Relaxed);
        Ok(())
    }
}
