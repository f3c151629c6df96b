//! The kill loop: four validators under load, killed with SIGKILL at random moments, over and over.
//!
//! ```text
//!  feeders ──► node ──► every finalized (height, hash) ──► record
//!               ▲ kill, start, sometimes kill while starting      │
//!               └── afterwards: nothing it said is gone, nothing that anybody said is different ◄┘
//! ```
//! In each turn one, sometimes two, sometimes all four nodes die, each at a moment of its own; then they are started, a
//! quarter of them killed once more while they start, and must come back by themselves: the database opens, every block
//! that the node ever told of is there with the same hash, and the node goes on to blocks that are new. At the end all
//! nodes agree on all heights, no log holds an error or a panic, and no node has seen evidence of a second vote.
//!
//! Victims and moments are drawn from a seed. The rest is up to the operating system, so a seed does not repeat a run
//! exactly; it repeats its pattern.

mod feed;
mod logs;
mod options;
mod random;
mod record;
mod report;

pub use options::Options;
pub use report::Report;

use crate::harness::{Network, Shape, Signal, hashes, metric};
use crate::rpc::Rpc;
use anyhow::{Context as _, ensure};
use cairn_primitives::Hash;
use feed::Feeders;
use logs::Log;
use random::Random;
use record::{Record, observe};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

/// Validators of the network: one may be malicious, two are no quorum without the others.
const NODES: u16 = 4;

/// A victim dies within this time after the turn began.
const KILL_WITHIN: Duration = Duration::from_millis(500);

/// A victim stays dead for up to this time, so that the others meet views without it.
const DEAD_WITHIN: Duration = Duration::from_millis(700);

/// A node that is killed while it starts dies within this time: longer than a start takes on an idle machine.
const STARTING_WITHIN: Duration = Duration::from_millis(200);

/// How many of a hundred nodes are killed while they start.
const STARTING_PERCENT: u64 = 25;

/// How many of a hundred turns kill all nodes.
const ALL_PERCENT: u64 = 8;

/// How many of a hundred turns kill two: too many for the others to go on without them.
const TWO_PERCENT: u64 = 20;

/// Blocks that all nodes must finalize after the last kill.
const BLOCKS_AFTER: u32 = 5;

/// Runs the loop.
///
/// # Errors
/// A final block was lost or changed, a node did not come back, voted twice or logged an error. The folder with databases
/// and logs is kept and named.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(kill_loop(options))
}

/// Runs the loop within a runtime.
///
/// # Errors
/// As [`run`].
pub async fn kill_loop(options: &Options) -> anyhow::Result<Report> {
    eprintln!("killing {} times, seed {}", options.kills, options.seed);
    let mut run = Run::start(options).await?;
    let outcome = run.work(options).await;
    if outcome.is_err() {
        run.network.keep_folder();
        eprintln!("databases and logs are kept in {}", run.network.folder().display());
    }
    outcome
}

struct Run {
    network: Network,
    record: Arc<Record>,
    observers: Vec<Option<JoinHandle<anyhow::Result<()>>>>,
    logs: Vec<Log>,
    feeders: Feeders,
    genesis: Hash,
    random: Random,
    report: Report,
}

impl Run {
    async fn start(options: &Options) -> anyhow::Result<Self> {
        let (network, clients) = Network::start(Shape { validators: NODES, archives: 0 }).await?;
        let first = clients.first().context("a network has nodes")?;
        let genesis: String = first.call("chain_getBlockHash", vec![json!(0)]).await?;
        let genesis: Hash = genesis.parse().context("the genesis hash is not understood")?;
        let urls = network.nodes.iter().map(crate::harness::Node::url).collect();
        let feeders = Feeders::start(first, genesis, urls, options.rate).await?;
        let record = Arc::new(Record::default());
        let observers = clients.into_iter().enumerate();
        let observers = observers.map(|(node, rpc)| Some(observe(Arc::clone(&record), rpc, node, 1))).collect();
        let logs = network.nodes.iter().map(|node| Log::new(node.log_file())).collect();
        let report = Report { seed: options.seed, ..Report::default() };
        Ok(Self { network, record, observers, logs, feeders, genesis, random: Random::new(options.seed), report })
    }

    async fn work(&mut self, options: &Options) -> anyhow::Result<Report> {
        let started = Instant::now();
        while self.report.kills < options.kills {
            self.turn(options.kills).await?;
            let Report { kills, .. } = self.report;
            eprintln!("{kills:>5} kills, height {}, {:.0} s", self.record.tip(), started.elapsed().as_secs_f64());
        }
        self.report.took = started.elapsed();
        self.finish().await?;
        Ok(self.report.clone())
    }

    /// Kills some nodes, brings them back and checks them.
    async fn turn(&mut self, kills: u32) -> anyhow::Result<()> {
        let left = usize::try_from(kills.saturating_sub(self.report.kills))?;
        let draw = self.random.below(100);
        let (kind, count) = match draw {
            _ if draw < ALL_PERCENT => (2, usize::from(NODES)),
            _ if draw < ALL_PERCENT + TWO_PERCENT => (1, 2),
            _ => (0, 1),
        };
        let victims = self.random.some_below(self.network.nodes.len(), count.min(left));
        if let Some(turns) = self.report.turns.get_mut(kind) {
            *turns = turns.saturating_add(1);
        }
        self.kill_all(&victims).await?;
        let mut starts = Vec::new();
        for victim in &victims {
            starts.push((*victim, self.start_node(*victim, kills).await?));
        }
        for (victim, started) in starts {
            self.bring_back(victim, started).await?;
        }
        for node in &mut self.network.nodes {
            ensure!(!node.has_ended()?, "{} ended by itself: {}", node.name, node.tail());
        }
        self.logs.iter_mut().try_for_each(Log::check)
    }

    /// Kills each victim at a moment of its own.
    async fn kill_all(&mut self, victims: &[usize]) -> anyhow::Result<()> {
        let now = Instant::now();
        let mut moments: Vec<_> =
            victims.iter().map(|victim| (now + self.random.moment(KILL_WITHIN), *victim)).collect();
        moments.sort_unstable();
        for (moment, victim) in moments {
            sleep_until(moment).await;
            self.network.node(victim)?.kill().await?;
            self.report.kills = self.report.kills.saturating_add(1);
            // What it said before it died is on its way to us still.
            if let Some(observer) = self.observers.get_mut(victim).and_then(Option::take) {
                timeout(crate::harness::PATIENCE, observer).await.context("a dead node keeps talking")???;
            }
        }
        Ok(())
    }

    /// Starts a node some time after its death, sometimes to kill it while it starts; gives the last start's moment.
    async fn start_node(&mut self, victim: usize, kills: u32) -> anyhow::Result<Instant> {
        sleep_until(Instant::now() + self.random.moment(DEAD_WITHIN)).await;
        while self.random.happens(STARTING_PERCENT) && self.report.kills < kills {
            let node = self.network.node(victim)?;
            node.spawn()?;
            sleep_until(Instant::now() + self.random.moment(STARTING_WITHIN)).await;
            ensure!(!node.has_ended()?, "{} ended while it started: {}", node.name, node.tail());
            node.kill().await?;
            self.report.kills = self.report.kills.saturating_add(1);
            self.report.kills_starting = self.report.kills_starting.saturating_add(1);
            self.report.restarts = self.report.restarts.saturating_add(1);
        }
        self.network.node(victim)?.spawn()?;
        self.report.restarts = self.report.restarts.saturating_add(1);
        Ok(Instant::now())
    }

    /// Waits until a node answers, checks what it has, and waits until it goes on.
    async fn bring_back(&mut self, victim: usize, started: Instant) -> anyhow::Result<()> {
        let rpc = self.network.node(victim)?.connect().await?;
        self.report.answers.push(started.elapsed());
        let said = self.record.height(victim);
        let has = head(&rpc).await?;
        ensure!(has >= said, "node {victim} lost final blocks: it told of height {said} and came back with {has}");
        self.compare(&rpc, victim, has.min(self.record.tip())).await?;
        let next = self.record.tip().saturating_add(1);
        let from = said.saturating_add(1);
        let observer = observe(Arc::clone(&self.record), rpc, victim, from);
        *self.observers.get_mut(victim).context("there is such a node")? = Some(observer);
        let tail = self.network.node(victim)?.tail();
        self.record.reached(victim, next).await.with_context(|| format!("after its start; {tail}"))?;
        self.report.recoveries.push(started.elapsed());
        Ok(())
    }

    /// Compares all blocks of a node up to a height with what was said to be final.
    async fn compare(&mut self, rpc: &Rpc, node: usize, height: u32) -> anyhow::Result<Vec<String>> {
        let found = hashes(rpc, height).await?;
        self.record.check(node, 0, &found)?;
        self.report.compared = self.report.compared.saturating_add(u64::try_from(found.len())?);
        Ok(found)
    }

    /// All agree, all go on, nobody saw a second vote, and all end as they should.
    async fn finish(&mut self) -> anyhow::Result<()> {
        self.report.taken = self.feeders.stop().await;
        let height = self.record.tip().saturating_add(BLOCKS_AFTER);
        let mut first: Option<Vec<String>> = None;
        for node in 0..self.network.nodes.len() {
            self.record.reached(node, height).await?;
            let (url, metrics) = (self.network.node(node)?.url(), self.network.node(node)?.metrics_address());
            let rpc = Rpc::connect(&url).await?;
            let found = self.compare(&rpc, node, height).await?;
            ensure!(
                *first.get_or_insert_with(|| found.clone()) == found,
                "node {node} has other blocks than the first"
            );
            let evidence = metric(metrics, "cairn_consensus_evidence_total").await?;
            ensure!(evidence == 0.0, "node {node} saw evidence of {evidence} double votes");
            self.report.finalized = self.feeders.finalized(&rpc, &self.genesis).await?;
        }
        self.report.height = height;
        for node in &mut self.network.nodes {
            let (status, _) = node.stop(Signal::Terminate).await?;
            ensure!(status.code() == Some(0), "{} stopped with {status}: {}", node.name, node.tail());
        }
        self.logs.iter_mut().try_for_each(Log::check)
    }
}

/// The height of a node's head.
async fn head(rpc: &Rpc) -> anyhow::Result<u32> {
    let info: Value = rpc.call("cairn_nodeInfo", Vec::<Value>::new()).await?;
    let height = info.pointer("/head/height").and_then(Value::as_u64).context("a node has a head")?;
    Ok(u32::try_from(height)?)
}
