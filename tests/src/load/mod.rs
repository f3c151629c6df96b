//! The load generator: many accounts that transfer to each other as fast as a network takes it.
//!
//! ```text
//!  accounts, funded ─► signing threads ─► flow: cairn_submitBatch, so many under way at most
//!                                           ▲                         │
//!                       cairn_subscribeBlocks with hashes ◄──── the network
//! ```
//! Beside the transactions, readers and subscribers may ask the first node, over connections and on threads of their own.
//!
//! It measures transactions and blocks per second, the time from submission to the news of the final block for each
//! transaction, and CPU time and memory of the node processes on this machine. It changes nothing in the nodes and works
//! on development chains only, because the first account that pays is //Alice.

pub(crate) mod accounts;
mod flow;
mod options;
mod process;
mod readers;
mod report;
mod signer;
mod wire;

pub use options::Options;
pub use process::{Process, Usage};
pub use readers::{Heads, Reads};
pub use report::Report;
pub use wire::Transport;

use crate::rpc::Rpc;
use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use signer::Batches;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long transactions of a run before may take to leave the pool.
const POOL_EMPTY_TIME_MAX: Duration = Duration::from_secs(30);

/// Transactions that pools hold for one sender, somewhat less than they do by default.
const SENDER_TRANSACTIONS_MAX: u64 = 1_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    spec_version: u32,
    transaction_version: u32,
}

/// Runs the generator with its own runtime, on this thread: the cores are the nodes'.
///
/// # Errors
/// No node answers, the chain is not a development chain, or the network stops.
pub fn run(options: Options) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(options))
}

async fn measure(options: Options) -> anyhow::Result<Report> {
    let mut nodes = Vec::new();
    for url in &options.urls {
        nodes.push(Arc::new(Rpc::connect(url).await?));
    }
    let first = Arc::clone(nodes.first().context("give a --url")?);
    let (chain, genesis) = check(&nodes).await?;
    let mut batches = prepare(&first, &options, genesis).await?;
    let signed_ahead = u64::try_from(batches.waiting())?.saturating_mul(options.batch_len());
    let blocks = flow::blocks_of(&first).await?;
    let processes = process::nodes(&options.pids)?;
    let before: Vec<Option<Usage>> = processes.iter().map(|process| process::usage(process.pid).ok()).collect();
    let own_before = process::usage(std::process::id())?.cpu;
    let url = || first.url().to_owned();
    let reads = (options.readers > 0).then(|| readers::read(url(), options.transport, options.readers));
    let heads = (options.subscribers > 0).then(|| readers::subscribe(url(), options.subscribers));
    let started = Instant::now();
    let (start, outcome) = flow::run(&nodes, blocks, &mut batches, &options).await?;
    let total = started.elapsed();
    let reads = reads.map(readers::Running::stop).transpose()?;
    let own_cpu = process::usage(std::process::id())?.cpu.saturating_sub(own_before);
    let used = processes.into_iter().zip(before).map(|(process, before)| {
        let after = process::usage(process.pid).ok();
        let used =
            before.zip(after).map(|(before, after)| Usage { cpu: after.cpu.saturating_sub(before.cpu), ..after });
        (process, used)
    });
    let used = used.collect();
    // After the memory of the nodes was read: their subscribers are still there then.
    let heads = heads.map(readers::Running::stop).transpose()?;
    let mut report = Report {
        urls: options.urls.clone(),
        chain,
        window: Duration::from_secs(options.seconds),
        total,
        accounts: options.account_count(),
        batch: options.batch_len(),
        in_flight: options.in_flight,
        rate: options.rate,
        signed_ahead,
        submitted: 0,
        finalized: 0,
        finalized_in_window: 0,
        retried: 0,
        refused: 0,
        refusal: None,
        unfinished: 0,
        blocks_in_window: 0,
        block_transactions_max: 0,
        latencies: Vec::new(),
        processes: used,
        reads,
        heads,
        own_cpu,
    };
    report.take(start, outcome);
    Ok(report)
}

/// Name and genesis of the chain that all nodes follow.
async fn check(nodes: &[Arc<Rpc>]) -> anyhow::Result<(String, cairn_primitives::Hash)> {
    let mut chain: Option<(String, String)> = None;
    for node in nodes {
        let kind: String = node.call("system_chainType", Vec::<Value>::new()).await?;
        ensure!(
            kind == "Development",
            "{} is of the chain type {kind}: //Alice has funds on development chains only",
            node.url()
        );
        let versions: Versions = node.call("state_getRuntimeVersion", Vec::<Value>::new()).await?;
        let ours = (cairn_runtime::Rules::NEWEST.spec_version(), cairn_runtime::Rules::NEWEST.transaction_version());
        let theirs = (versions.spec_version, versions.transaction_version);
        ensure!(theirs == ours, "{} follows rules {theirs:?}, this program signs for {ours:?}", node.url());
        let name: String = node.call("system_chain", Vec::<Value>::new()).await?;
        let genesis: String = node.call("chain_getBlockHash", vec![json!(0)]).await?;
        let (_, first) = chain.get_or_insert_with(|| (name, genesis.clone()));
        ensure!(*first == genesis, "{} follows another chain than {}", node.url(), nodes[0].url());
    }
    let (name, genesis) = chain.context("give a --url")?;
    Ok((name, genesis.parse().context("the genesis hash is not understood")?))
}

/// Funds the accounts and signs ahead.
async fn prepare(rpc: &Rpc, options: &Options, genesis: cairn_primitives::Hash) -> anyhow::Result<Batches> {
    check_room(options, wait_for_empty_pool(rpc).await?)?;
    let accounts = accounts::funded(rpc, &genesis, options.account_count()).await?;
    let ahead = options.batches_ahead();
    eprintln!("signing {} transactions ahead", ahead.saturating_mul(options.batch_len()));
    let batches = Batches::sign_ahead(accounts, genesis, options.batch_len(), ahead)?;
    eprintln!("submitting for {} s", options.seconds);
    Ok(batches)
}

/// A pool that overflows drops transactions silently, and every later one of their senders waits for them in vain.
fn check_room(options: &Options, count_max: u64) -> anyhow::Result<()> {
    let Options { in_flight, .. } = *options;
    ensure!(
        in_flight <= count_max,
        "--in-flight {in_flight} is more than the node's pool holds, {count_max}: lower it"
    );
    let held = options.account_count().saturating_mul(SENDER_TRANSACTIONS_MAX);
    ensure!(
        in_flight <= held,
        "--in-flight {in_flight} is more than pools hold for so few --accounts, {held}: take more"
    );
    Ok(())
}

/// Nonces are read from the state, so what an earlier run left in the pool must be final or gone. Gives how many
/// transactions the pool can hold.
async fn wait_for_empty_pool(rpc: &Rpc) -> anyhow::Result<u64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Pool {
        ready: u64,
        future: u64,
        count_max: u64,
    }
    let mut heads = rpc
        .subscribe::<Value>("chain_subscribeFinalizedHeads", Vec::<Value>::new(), "chain_unsubscribeFinalizedHeads")
        .await?;
    let empty = async {
        loop {
            let Pool { ready, future, count_max } = rpc.call("cairn_mempool", Vec::<Value>::new()).await?;
            if ready == 0 {
                if future > 0 {
                    eprintln!("{future} transactions of others wait in the pool for earlier nonces");
                }
                return anyhow::Ok(count_max);
            }
            heads.next().await.context("the node closed the connection")??;
        }
    };
    match tokio::time::timeout(POOL_EMPTY_TIME_MAX, empty).await {
        Ok(outcome) => outcome,
        Err(_) => bail!(
            "transactions wait in the pool of {} and do not become final in {} s: is the network running?",
            rpc.url(),
            POOL_EMPTY_TIME_MAX.as_secs()
        ),
    }
}
