//! What validators lose while they serve snapshots: time until final and blocks a second, with and without peers that fetch
//! chunks from every validator, more than it gives. The peers are on a thread of their own that gives way to the validators: what they
//! do with chunks is not what serving costs.

use crate::harness::{Network, Node, Shape, add_accounts, fast_spec, metric, transfer};
use crate::hostile::{Attacker, Target, offered_snapshot, percentile, state_request};
use crate::load::Process;
use crate::rpc::Rpc;
use anyhow::Context as _;
use cairn_primitives::message::{StateRequest, StateResponse};
use clap::Parser;
use serde_json::json;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Blocks between two snapshots.
const SNAPSHOT_INTERVAL: u32 = 20;

/// Peers that fetch from one validator: they ask for twice of what it gives to all together.
const PEERS: usize = 4;

/// Requests of one peer at a time, as a node makes them.
const REQUESTS: u32 = 2;

/// The time between two of them in a row: a peer that asks for more than its share is banned.
const REQUEST_INTERVAL: Duration = Duration::from_millis(200);

/// After so many refusals a peer asks again which snapshots there are.
const REFUSALS_MAX: u32 = 8;

/// How far the peers' thread gives way: as far as can be.
const PEERS_NICE: i32 = 19;

/// What each transfer moves.
const VALUE: u128 = 1_000_000_000;

/// Measures consensus while snapshots are served.
#[derive(Clone, Debug, Parser)]
#[command(name = "serving")]
pub struct Options {
    /// Accounts in the state.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(10_000..=10_000_000))]
    pub accounts: u32,
    /// The least time between two blocks in ms: the shorter, the less of the cores is left.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub block_interval: u64,
    /// Seconds of each phase.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// How often both phases take turns.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
}

/// What was seen in the phases of one kind.
#[derive(Clone, Debug, Default)]
struct Phase {
    /// Times of transfers until final.
    times: Vec<Duration>,
    blocks: f64,
    seconds: f64,
    /// CPU time of all validators.
    cpu: Duration,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Report {
    quiet: Phase,
    serving: Phase,
    chunks: u64,
    bytes: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, Phase { times, blocks, seconds, cpu }) in [("quiet", &self.quiet), ("serving", &self.serving)] {
            let [half, most] = [50, 95].map(|percent| percentile(times, percent).as_secs_f64() * 1e3);
            let (rate, count) = (blocks / seconds, times.len());
            let busy = cpu.as_secs_f64() / seconds * 1e2;
            writeln!(
                f,
                "{name:8} {rate:>5.1} blocks a second; {count} transfers, p50 {half:.0} ms, p95 {most:.0} ms; \
                 validators together {busy:.0}% of a core"
            )?;
        }
        #[allow(clippy::cast_precision_loss, reason = "rates are printed with one digit")]
        let (chunks, mebibytes) = (self.chunks as f64, self.bytes as f64 / f64::from(1 << 20));
        let seconds = self.serving.seconds;
        writeln!(f, "served   {:.1} chunks and {:.1} MiB a second", chunks / seconds, mebibytes / seconds)
    }
}

/// Starts four validators and measures.
///
/// # Errors
/// The network stops, or a transfer fails.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(measure(options))
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let mut document = fast_spec(4, "serving")?.document().clone();
    add_accounts(&mut document, options.accounts)?;
    document.consensus.block_interval_ms = options.block_interval;
    document.consensus.idle_block_interval_ms = document.consensus.idle_block_interval_ms.max(options.block_interval);
    let mut network = Network::prepare_chain(document.check()?, Shape { validators: 4, archives: 0 }).await?;
    for node in &mut network.nodes {
        node.settings.sync = vec![format!("snapshot_interval = {SNAPSHOT_INTERVAL}")];
    }
    let clients = network.start_nodes(&[0, 1, 2, 3]).await?;
    let [client, ..] = clients.as_slice() else { anyhow::bail!("four validators") };
    let genesis: String = client.call("chain_getBlockHash", vec![json!(0)]).await?;
    let genesis = genesis.parse().context("the genesis hash is not understood")?;
    let mut targets = Vec::new();
    for node in &mut network.nodes {
        node.logs("a snapshot is offered to new nodes").await?;
        targets.push(Target { address: node.multiaddr().parse()?, genesis });
    }
    let fetched = Arc::new(Fetched::default());
    let (mut quiet, mut serving) = (Phase::default(), Phase::default());
    for _ in 0..options.rounds {
        watch(client, &network.nodes, options.seconds, &mut quiet).await?;
        let peers = Peers::start(targets.clone(), Arc::clone(&fetched))?;
        watch(client, &network.nodes, options.seconds, &mut serving).await?;
        peers.stop()?;
    }
    let (chunks, bytes) = (fetched.chunks.load(Ordering::Relaxed), fetched.bytes.load(Ordering::Relaxed));
    Ok(Report { quiet, serving, chunks, bytes })
}

/// Times transfers, one after the other, and counts blocks.
async fn watch(client: &Rpc, nodes: &[Node], seconds: u64, phase: &mut Phase) -> anyhow::Result<()> {
    let node = nodes.first().context("no validators")?;
    let height = async || metric(node.metrics_address(), "cairn_ledger_head_height").await;
    let cpu = || -> anyhow::Result<Duration> {
        nodes.iter().map(|node| Ok(Process::usage_of(node.pid().context("a validator ended")?)?.cpu)).sum()
    };
    let (started, before, cpu_before) = (Instant::now(), height().await?, cpu()?);
    while started.elapsed() < Duration::from_secs(seconds) {
        let began = Instant::now();
        transfer(client, "Alice", "Ferdie", VALUE).await?;
        phase.times.push(began.elapsed());
    }
    phase.cpu += cpu()?.saturating_sub(cpu_before);
    phase.blocks += height().await? - before;
    phase.seconds += started.elapsed().as_secs_f64();
    Ok(())
}

/// Peers that fetch until they are stopped.
struct Peers {
    /// Dropped when they are to stop.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Peers {
    fn start(targets: Vec<Target>, fetched: Arc<Fetched>) -> anyhow::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let work = move || {
            // On Linux this is the thread's own.
            rustix::process::nice(PEERS_NICE).context("the thread cannot give way")?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut peers = JoinSet::new();
                for target in targets.iter().flat_map(|target| std::iter::repeat_n(target, PEERS)) {
                    peers.spawn(fetch(target.clone(), Arc::clone(&fetched)));
                }
                tokio::select! {
                    _ = stopped => Ok(()),
                    Some(ended) = peers.join_next() => ended?,
                }
            })
        };
        Ok(Self { stop, thread: thread::Builder::new().name("peers".to_owned()).spawn(work)? })
    }

    /// # Errors
    /// A peer failed.
    fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        self.thread.join().ok().context("the peers' thread ended by a panic")?
    }
}

/// What peers got.
#[derive(Default)]
struct Fetched {
    chunks: AtomicU64,
    bytes: AtomicU64,
}

/// Fetches the chunks of a snapshot again and again, as fast as the node gives them.
async fn fetch(target: Target, fetched: Arc<Fetched>) -> anyhow::Result<()> {
    let peer = Attacker::connect(&target).await?;
    let one = async |first: u32| -> anyhow::Result<()> {
        let mut id = offered_snapshot(&target, &peer).await?;
        let (mut index, mut refusals) = (first, 0);
        loop {
            tokio::time::sleep(REQUEST_INTERVAL).await;
            match state_request(&target, &peer, &StateRequest::Chunk { id, index }).await? {
                StateResponse::Chunk(bytes) => {
                    fetched.chunks.fetch_add(1, Ordering::Relaxed);
                    fetched.bytes.fetch_add(u64::try_from(bytes.len())?, Ordering::Relaxed);
                    index += REQUESTS;
                }
                StateResponse::Refused => {
                    // Busy, past the last chunk, or the snapshot has made room for a newer one.
                    refusals += 1;
                    if refusals % REFUSALS_MAX == 0 {
                        id = offered_snapshot(&target, &peer).await.unwrap_or(id);
                        index = first;
                    }
                }
                StateResponse::Snapshots(_) | StateResponse::Manifest(_) => {
                    anyhow::bail!("something else came for a chunk")
                }
            }
        }
    };
    futures::future::try_join_all((0..REQUESTS).map(one)).await?;
    Ok(())
}
