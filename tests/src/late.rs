//! How fast a node that starts late gets a chain of full blocks: one validator makes it under load, then a node with an empty
//! folder downloads, executes and commits all of it.

use crate::harness::{Network, Node, Observer, Shape, fast_spec, metric};
use crate::load;
use crate::rpc::Rpc;
use anyhow::{Context as _, ensure};
use clap::Parser;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::time::Duration;
use tokio::time::Instant;

/// The least time between two blocks, in milliseconds.
const BLOCK_INTERVAL_MS: u64 = 20;

/// How long one round of load lasts, in seconds.
const ROUND_SECONDS: u64 = 20;

/// How long the late node may take.
const TIME_MAX: Duration = Duration::from_secs(3_600);

/// Measures a node that starts late.
#[derive(Clone, Debug, Parser)]
#[command(name = "late_node")]
pub struct Options {
    /// How many blocks the chain has when the node starts.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..))]
    pub blocks: u32,
    /// Transactions in a block, on average.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub transactions: u64,
}

/// What it took.
#[derive(Clone, Debug)]
pub struct Report {
    blocks: u32,
    transactions: f64,
    seconds: f64,
    making: f64,
    cpu_server: Duration,
    cpu: Duration,
    /// CPU time by the names of the late node's threads.
    threads: BTreeMap<String, Duration>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { blocks, transactions, seconds, making, .. } = self;
        let blocks = f64::from(*blocks);
        writeln!(f, "chain       {blocks} blocks of {:.1} transactions, made in {making:.0} s", transactions / blocks)?;
        writeln!(
            f,
            "late node   {seconds:.1} s: {:.0} blocks and {:.0} transactions a second",
            blocks / seconds,
            transactions / seconds
        )?;
        writeln!(
            f,
            "CPU time    {:.1} s here, {:.1} s on the peer",
            self.cpu.as_secs_f64(),
            self.cpu_server.as_secs_f64()
        )?;
        for (name, cpu) in &self.threads {
            writeln!(f, "  {name:16} {:.1} s", cpu.as_secs_f64())?;
        }
        Ok(())
    }
}

/// Makes the chain, starts the node and waits for it.
///
/// # Errors
/// A node ends, the load is refused, or the late node does not get there.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(measure(options))
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let mut document = fast_spec(1, "late")?.document().clone();
    document.consensus.block_interval_ms = BLOCK_INTERVAL_MS;
    let mut network = Network::prepare_chain(document.check()?, Shape { validators: 1, archives: 1 }).await?;
    network.node(1)?.settings.role = "rpc";
    let started = Instant::now();
    let maker = network.start_nodes(&[0]).await?.pop().context("one validator")?;
    make(&maker, network.node(0)?, options).await?;
    let making = started.elapsed().as_secs_f64();
    let height = height(network.node(0)?).await?;
    let transactions = metric(network.node(0)?.metrics_address(), "cairn_ledger_committed_transactions").await?;
    let server = network.node(0)?.pid().context("the validator runs")?;
    let cpu_before = load::Process::usage_of(server)?.cpu;

    let late = network.node(1)?.start().await?;
    let started = Instant::now();
    let mut observer = Observer::new(&late).await?;
    tokio::time::timeout(TIME_MAX, observer.reach(height)).await.context("the late node does not get there")??;
    let seconds = started.elapsed().as_secs_f64();
    let pid = network.node(1)?.pid().context("the late node runs")?;
    Ok(Report {
        blocks: height,
        transactions,
        seconds,
        making,
        cpu_server: load::Process::usage_of(server)?.cpu.saturating_sub(cpu_before),
        cpu: load::Process::usage_of(pid)?.cpu,
        threads: threads(pid)?,
    })
}

async fn height(node: &Node) -> anyhow::Result<u32> {
    let height = metric(node.metrics_address(), "cairn_ledger_head_height").await?;
    Ok(format!("{height:.0}").parse()?)
}

/// Puts the validator under load until the chain is long enough.
async fn make(maker: &Rpc, node: &Node, options: &Options) -> anyhow::Result<()> {
    let rate = options.transactions.saturating_mul(1_000 / BLOCK_INTERVAL_MS);
    loop {
        let height = height(node).await?;
        if height >= options.blocks {
            return Ok(());
        }
        let missing = u64::from(options.blocks - height) * BLOCK_INTERVAL_MS / 1_000;
        let (seconds, rate) = (missing.clamp(1, ROUND_SECONDS).to_string(), rate.to_string());
        let arguments = ["load", "--url", maker.url(), "--seconds", &seconds, "--rate", &rate];
        let round = load::Options::try_parse_from(arguments)?;
        let report = tokio::task::spawn_blocking(move || load::run(round)).await??;
        ensure!(height < self::height(node).await?, "the chain does not grow under load: {report}");
    }
}

/// CPU time of a process by the names of its threads; those that ended are not in it.
fn threads(pid: u32) -> anyhow::Result<BTreeMap<String, Duration>> {
    let mut found: BTreeMap<String, Duration> = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while it is looked at.
        let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else { continue };
        let (before, after) = stat.rsplit_once(')').context("a thread has a name")?;
        let name = before.split_once('(').context("a thread has a name")?.1;
        // User and system time are the 14th and 15th field; the third is the first after the name.
        let ticks = after.split_ascii_whitespace().skip(11).take(2).map(str::parse::<u64>);
        let ticks = ticks.sum::<Result<u64, _>>()?;
        *found.entry(name.to_owned()).or_default() += Duration::from_millis(ticks.saturating_mul(10));
    }
    found.retain(|_, cpu| *cpu >= Duration::from_millis(100));
    Ok(found)
}
