//! What happens to the networks, and what must hold afterwards: one chain, and finality back within ten seconds.

use super::lab::Lab;
use crate::harness::{Network, Observer, PATIENCE, Shape, Signal, hashes, height_of, metric, transfer};
use crate::rpc::Rpc;
use anyhow::{Context as _, ensure};
use cairn_chain_spec::ChainSpec;
use clap::ValueEnum;
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::process::Command;

/// How soon blocks must be final again once nothing is in the way.
const RECOVERY_MAX: Duration = Duration::from_secs(10);

/// How long a partition lasts.
const PARTITION: Duration = Duration::from_secs(8);

/// One way, between any two nodes.
const DELAY: Duration = Duration::from_millis(50);

/// One way, where the delay is not what a story is about.
const NEAR: Duration = Duration::from_millis(1);

/// Packets lost, of a thousand.
const LOST_PERMILLE: u32 = 20;

/// What a node that sleeps misses.
const SLEPT_BLOCKS: u32 = 1_000;

/// Blocks over which bytes are counted.
const COUNTED_BLOCKS: u32 = 100;

/// What each transfer moves.
const VALUE: u128 = 1_000_000_000;

/// Something that happens to seven validators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Story {
    /// 4 and 3 cannot reach each other for a while: neither side has a quorum.
    Partition43,
    /// 3, 3 and 1.
    Partition331,
    /// Packets are lost, two of a hundred.
    Loss,
    /// Every node is stopped and started again, one after the other.
    RollingRestart,
    /// One node misses a thousand blocks.
    Sleeper,
    /// A validator that can only dial out.
    DialOut,
    /// 500 transactions a second with a delay of 50 ms: how long until they are final.
    Latency,
    /// Bytes and messages for each final block, with 4 and with 16 validators.
    Traffic,
}

/// Tells the stories, all of them if none is named; prints a line for each.
///
/// # Errors
/// Something does not hold.
pub async fn tell(stories: &[Story], load: &std::path::Path) -> anyhow::Result<()> {
    let stories = if stories.is_empty() { Story::value_variants() } else { stories };
    for story in stories {
        let told = match story {
            Story::Partition43 => partition(&[&[0, 1, 2, 3], &[4, 5, 6]]).await,
            Story::Partition331 => partition(&[&[0, 1, 2], &[3, 4, 5], &[6]]).await,
            Story::Loss => loss().await,
            Story::RollingRestart => rolling_restart().await,
            Story::Sleeper => sleeper().await,
            Story::DialOut => dial_out().await,
            Story::Latency => latency(load).await,
            Story::Traffic => traffic(load).await,
        };
        println!("{story:?}: {}", told.with_context(|| format!("{story:?}"))?);
    }
    Ok(())
}

/// A network that runs, each node in a namespace. Fields are dropped in this order: nodes end before their lines go.
struct Running {
    clients: Vec<Rpc>,
    network: Network,
    lab: Lab,
}

impl Running {
    async fn start(validators: u16, spec: ChainSpec, delay: Duration) -> anyhow::Result<Self> {
        let mut network = Network::prepare_chain(spec, Shape { validators, archives: 0 }).await?;
        let lab = Lab::make(&mut network)?;
        lab.shape(delay, 0)?;
        let all: Vec<usize> = (0..network.nodes.len()).collect();
        let clients = network.start_nodes(&all).await?;
        for client in &clients {
            Observer::new(client).await?.reach(1).await?;
        }
        Ok(Self { clients, network, lab })
    }

    async fn seven() -> anyhow::Result<Self> {
        Self::start(7, crate::harness::fast_spec(7, "seven")?, DELAY).await
    }

    fn client(&self, node: usize) -> anyhow::Result<&Rpc> {
        self.clients.get(node).context("a node of the network")
    }

    /// Waits until every node has a block that is newer than what it has now; gives the time.
    async fn recover(&self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let next = self.clients.iter().map(|client| async move {
            let mut observer = Observer::new(client).await?;
            let height = observer.height;
            observer.reach(height + 2).await
        });
        futures::future::try_join_all(next).await?;
        let took = started.elapsed();
        ensure!(took <= RECOVERY_MAX, "finality came back after {:.1} s", took.as_secs_f64());
        Ok(took)
    }

    /// All nodes agree on every block up to one that becomes final now.
    async fn agree(&self) -> anyhow::Result<u32> {
        let first = self.client(0)?;
        let block = transfer(first, "Alice", "Ferdie", VALUE).await?;
        let height = height_of(first, &block).await?;
        let expected = hashes(first, height).await?;
        for client in &self.clients {
            Observer::new(client).await?.reach(height).await?;
            ensure!(hashes(client, height).await? == expected, "{} has another chain", client.url());
        }
        Ok(height)
    }

    async fn height(&self) -> anyhow::Result<u32> {
        Ok(Observer::new(self.client(0)?).await?.height)
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

async fn partition(sides: &[&[usize]]) -> anyhow::Result<String> {
    let running = Running::seven().await?;
    running.lab.split(sides);
    // What was on its way when the line was cut is through after a moment.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = running.height().await?;
    tokio::time::sleep(PARTITION).await;
    let during = running.height().await?;
    ensure!(during <= before + 1, "{} blocks became final without a quorum", during - before);
    running.lab.heal();
    let took = running.recover().await?;
    let height = running.agree().await?;
    Ok(format!(
        "nothing final while apart; final again on all nodes after {}; one chain of {height} blocks",
        seconds(took)
    ))
}

async fn loss() -> anyhow::Result<String> {
    let running = Running::seven().await?;
    running.lab.shape(DELAY, LOST_PERMILLE)?;
    let (started, before) = (Instant::now(), running.height().await?);
    Observer::new(running.client(0)?).await?.reach(before + 50).await?;
    let rate = 50.0 / started.elapsed().as_secs_f64();
    running.lab.shape(DELAY, 0)?;
    let took = running.recover().await?;
    let height = running.agree().await?;
    Ok(format!(
        "{rate:.1} blocks/s with 2% lost; then all nodes go on in {}; one chain of {height} blocks",
        seconds(took)
    ))
}

async fn rolling_restart() -> anyhow::Result<String> {
    let mut running = Running::seven().await?;
    let mut slowest = Duration::ZERO;
    for position in 0..7 {
        running.network.node(position)?.stop(Signal::Terminate).await?;
        let client = running.network.node(position)?.start().await?;
        *running.clients.get_mut(position).context("a node")? = client;
        slowest = slowest.max(running.recover().await?);
    }
    let height = running.agree().await?;
    Ok(format!(
        "each of seven restarted; all final again at most {} later; one chain of {height} blocks",
        seconds(slowest)
    ))
}

async fn sleeper() -> anyhow::Result<String> {
    let mut document = crate::harness::fast_spec(7, "sleeper")?.document().clone();
    document.consensus.idle_block_interval_ms = 20;
    let mut running = Running::start(7, document.check()?, NEAR).await?;
    running.network.node(6)?.stop(Signal::Terminate).await?;
    drop(running.clients.pop());
    let target = running.height().await? + SLEPT_BLOCKS;
    let mut observer = Observer::new(running.client(0)?).await?;
    while observer.height < target {
        observer.next().await?;
    }
    drop(observer);
    running.lab.shape(DELAY, 0)?;
    let started = Instant::now();
    let back = running.network.node(6)?.start().await?;
    running.clients.push(back);
    Observer::new(running.client(6)?).await?.reach(target).await?;
    let took = started.elapsed();
    ensure!(took <= RECOVERY_MAX, "the node has the missing blocks after {}", seconds(took));
    running.recover().await?;
    let height = running.agree().await?;
    let share = seconds(took);
    Ok(format!("start and {SLEPT_BLOCKS} missing blocks took {share}; one chain of {height} blocks"))
}

async fn dial_out() -> anyhow::Result<String> {
    let mut running = Running::seven().await?;
    running.network.node(6)?.stop(Signal::Terminate).await?;
    // It listens where nobody else can reach it, as behind a router.
    if let Some(place) = &mut running.network.node(6)?.settings.place {
        place.peers = "127.0.0.1".into();
    }
    // The others have heard of it elsewhere; they are started anew so that only its own dials can help.
    let others: Vec<usize> = (0..6).collect();
    for position in &others {
        running.network.node(*position)?.stop(Signal::Terminate).await?;
    }
    running.clients = running.network.start_nodes(&others).await?;
    let started = Instant::now();
    let back = running.network.node(6)?.start().await?;
    running.clients.push(back);
    running.recover().await?;
    loop {
        let linked = metric(running.network.node(6)?.metrics_address(), "cairn_network_validators").await?;
        if linked >= 6.0 {
            break;
        }
        ensure!(started.elapsed() < PATIENCE, "it has links with {linked} of 6 validators");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = seconds(started.elapsed());
    let height = running.agree().await?;
    Ok(format!("a validator that nobody can dial has links with all six after {took}; one chain of {height} blocks"))
}

/// Runs the load generator for some seconds and gives its report.
async fn load_report(load: &std::path::Path, running: &Running, rate: u32) -> anyhow::Result<Value> {
    let mut command = Command::new(load);
    command.args(["--json", "--seconds", "20", "--accounts", "1000", "--rate", &rate.to_string()]);
    for client in &running.clients {
        command.args(["--url", client.url()]);
    }
    let output = command.kill_on_drop(true).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

async fn latency(load: &std::path::Path) -> anyhow::Result<String> {
    let running = Running::start(7, ChainSpec::local(7)?, DELAY).await?;
    let report = load_report(load, &running, 500).await?;
    let height = running.agree().await?;
    let (latency, finalized) = (&report["latencyMs"], &report["finalized"]);
    Ok(format!(
        "{finalized} transactions final, p50 {} ms, p95 {} ms; one chain of {height} blocks",
        latency["p50"], latency["p95"]
    ))
}

async fn traffic(load: &std::path::Path) -> anyhow::Result<String> {
    let mut rows = Vec::new();
    for validators in [4_u16, 16] {
        let running = Running::start(validators, ChainSpec::local(validators)?, NEAR).await?;
        rows.push(
            count(&running, validators, "idle", async |client| {
                let mut observer = Observer::new(client).await?;
                let target = observer.height + COUNTED_BLOCKS;
                observer.reach(target).await
            })
            .await?,
        );
        rows.push(
            count(&running, validators, "500 tx/s", async |_| load_report(load, &running, 500).await.map(drop)).await?,
        );
    }
    Ok(format!(
        "\n| validators | load | bytes a block | packets a block | messages a block | bytes a block and node |\n|---|---|---|---|---|---|\n{}",
        rows.join("\n")
    ))
}

/// A row of the table: what all nodes together send for each final block.
async fn count(
    running: &Running,
    validators: u16,
    name: &str,
    work: impl AsyncFnOnce(&Rpc) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let before = (running.height().await?, running.lab.sent(), messages(running).await?);
    work(running.client(0)?).await?;
    let after = (running.height().await?, running.lab.sent(), messages(running).await?);
    let blocks = u64::from(after.0 - before.0).max(1);
    let bytes = (after.1.0 - before.1.0) / blocks;
    let packets = (after.1.1 - before.1.1) / blocks;
    let sent = (after.2 - before.2) / f64::from(after.0 - before.0).max(1.0);
    Ok(format!("| {validators} | {name} | {bytes} | {packets} | {sent:.0} | {} |", bytes / u64::from(validators)))
}

/// Messages that all nodes have sent and received, halved: each is counted at both ends, gossip at its sender once.
async fn messages(running: &Running) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for node in &running.network.nodes {
        sum += metric(node.metrics_address(), "cairn_network_messages_total").await?;
    }
    Ok(sum / 2.0)
}
