//! Runs attacks against the first validator of a network and measures what honest users see of them.

use super::attack::{Attack, Outcome};
use super::attacker::{Attacker, Target};
use super::options::Options;
use crate::harness::{Network, PATIENCE, Shape, add_accounts, fast_spec, transfer};
use crate::load::Process;
use crate::rpc::Rpc;
use anyhow::{Context as _, bail};
use cairn_primitives::Hash;
use clap::ValueEnum as _;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often memory is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Peers that make an attack in which they wait for the node to ask; each takes most of a minute.
const ANSWERING_ROUNDS_MAX: u32 = 2;

/// Accounts beside the development ones: some chunks of a snapshot.
const ACCOUNTS: u32 = 20_000;

/// Blocks between two snapshots: soon there is one.
const SNAPSHOT_INTERVAL: u32 = 20;

/// What each transfer moves.
const VALUE: u128 = 1_000_000_000;

/// What came of the attacks.
#[derive(Clone, Debug)]
pub struct Report {
    /// Each attack: how many peers made it, how many were banned, how long a ban took at most.
    pub attacks: Vec<Attacked>,
    /// Resident bytes of the node before.
    pub resident_before: u64,
    /// The most of it during the attacks.
    pub resident_max: u64,
    /// Times of honest transfers until final, before.
    pub quiet: Vec<Duration>,
    /// The same during the attacks.
    pub attacked: Vec<Duration>,
}

/// What came of one attack.
#[derive(Clone, Debug)]
pub struct Attacked {
    /// The attack.
    pub attack: Attack,
    /// Peers that made it.
    pub peers: u32,
    /// Of them banned.
    pub banned: u32,
    /// The time of the slowest ban, from the first connection.
    pub ban_time: Duration,
    /// The most resident bytes while it was made.
    pub resident_max: u64,
}

/// Host and port of a TCP address.
pub(super) fn socket_of(address: &Multiaddr) -> Option<(String, u16)> {
    let mut parts = address.iter();
    let (Some(Protocol::Ip4(ip)), Some(Protocol::Tcp(port))) = (parts.next(), parts.next()) else { return None };
    Some((ip.to_string(), port))
}

/// Starts four validators, attacks the first, and checks that each attack has the outcome it must have.
///
/// # Errors
/// The network stops, an attacker that must be banned is not, or honest transfers fail.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let (network, clients) = offering().await?;
    let [victim, witness, ..] = clients.as_slice() else { anyhow::bail!("four validators") };
    let node = network.nodes.first().context("four validators")?;
    let pid = node.pid().context("the node runs")?;
    let genesis: String = victim.call("chain_getBlockHash", vec![json!(0)]).await?;
    let genesis: Hash = genesis.parse().context("the genesis hash is not understood")?;
    let target = Target { address: node.multiaddr().parse()?, genesis };

    let mut quiet = Vec::new();
    for _ in 0..options.transfers {
        quiet.push(timed_transfer(victim, "Alice").await?);
    }
    let resident_before = resident(pid)?;
    let watch = Arc::new(Watch::default());
    let watcher = tokio::spawn(Arc::clone(&watch).run(pid));
    let honest = async {
        let mut times = Vec::new();
        while !watch.is_over() || times.len() < usize::try_from(options.transfers)? {
            times.push(timed_transfer(witness, "Bob").await?);
        }
        anyhow::Ok(times)
    };
    let attacks = async {
        let made = make_all(options, victim, &target, pid, &watch).await;
        watch.end();
        made
    };
    let (attacks, attacked) = tokio::try_join!(attacks, honest)?;
    watcher.await?;
    // The victim is whole: it takes a transaction and follows.
    transfer(victim, "Charlie", "Ferdie", VALUE).await?;
    let resident_max = watch.all.load(Ordering::Relaxed);
    Ok(Report { attacks, resident_before, resident_max, quiet, attacked })
}

/// Four validators with a state of some chunks, which offer snapshots.
async fn offering() -> anyhow::Result<(Network, Vec<Rpc>)> {
    let mut document = fast_spec(4, "hostile")?.document().clone();
    add_accounts(&mut document, ACCOUNTS)?;
    let shape = Shape { validators: 4, archives: 0 };
    let mut network = Network::prepare_chain(document.check()?, shape).await?;
    for node in &mut network.nodes {
        node.settings.sync = vec![format!("snapshot_interval = {SNAPSHOT_INTERVAL}")];
    }
    let clients = network.start_nodes(&[0, 1, 2, 3]).await?;
    network.node(0)?.logs("a snapshot is offered to new nodes").await?;
    Ok((network, clients))
}

async fn make_all(
    options: &Options,
    victim: &Rpc,
    target: &Target,
    pid: u32,
    watch: &Watch,
) -> anyhow::Result<Vec<Attacked>> {
    let all = if options.attacks.is_empty() { Attack::value_variants() } else { &options.attacks };
    let mut report = Vec::new();
    for attack in all {
        watch.last.store(0, Ordering::Relaxed);
        let mut done = Attacked { attack: *attack, peers: 0, banned: 0, ban_time: Duration::ZERO, resident_max: 0 };
        watch.look(pid)?;
        let rounds = if attack.is_answering() { options.rounds.min(ANSWERING_ROUNDS_MAX) } else { options.rounds };
        for round in 0..rounds {
            let started = Instant::now();
            let is_banned = make_until(*attack, victim, target, u64::from(round)).await?;
            done.peers += 1;
            done.banned += u32::from(is_banned);
            if is_banned {
                done.ban_time = done.ban_time.max(started.elapsed());
            }
        }
        watch.look(pid)?;
        done.resident_max = watch.last.load(Ordering::Relaxed);
        eprintln!("{}", done.line());
        report.push(done);
    }
    Ok(report)
}

/// Makes an attack as one peer, again and again until it is banned where it must be; says whether it was.
async fn make_until(attack: Attack, victim: &Rpc, target: &Target, round: u64) -> anyhow::Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    let mut peer = connect(target, deadline).await?;
    let mut number = round << 32;
    loop {
        attack.make(target, &peer, number).await;
        number += 1;
        if is_banned(victim, &peer.id.to_string()).await? {
            return Ok(true);
        }
        if attack.expected() == Outcome::Nothing {
            return Ok(false);
        }
        if Instant::now() > deadline {
            let known: Vec<Value> = victim.call("cairn_peers", Vec::<Value>::new()).await?;
            let known = known.iter().find(|one| one["peerId"] == peer.id.to_string());
            bail!("{attack:?}: {} is not banned after {} s; it is {known:?}", peer.id, PATIENCE.as_secs());
        }
        if !peer.is_connected() {
            peer = connect(target, deadline).await?;
        }
    }
}

/// Connects as a new peer. Places that the attack before held are given back in a moment.
async fn connect(target: &Target, deadline: Instant) -> anyhow::Result<Attacker> {
    loop {
        match Attacker::connect(target).await {
            Ok(peer) => return Ok(peer),
            Err(error) if Instant::now() > deadline => return Err(error.context("the node takes nobody any more")),
            Err(_) => {}
        }
    }
}

async fn is_banned(rpc: &Rpc, peer: &str) -> anyhow::Result<bool> {
    let banned: Vec<Value> = rpc.call("cairn_bannedPeers", Vec::<Value>::new()).await?;
    Ok(banned.iter().any(|one| one["peerId"] == peer))
}

async fn timed_transfer(rpc: &Rpc, from: &str) -> anyhow::Result<Duration> {
    let started = Instant::now();
    transfer(rpc, from, "Ferdie", VALUE).await?;
    Ok(started.elapsed())
}

fn resident(pid: u32) -> anyhow::Result<u64> {
    Ok(Process::usage_of(pid)?.resident_bytes)
}

/// Watches the memory of a process.
#[derive(Default)]
struct Watch {
    /// The most over all.
    all: AtomicU64,
    /// The most since it was set to 0.
    last: AtomicU64,
    over: AtomicBool,
}

impl Watch {
    async fn run(self: Arc<Self>, pid: u32) {
        // It ends with the process, if not before.
        while !self.is_over() && self.look(pid).is_ok() {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    fn look(&self, pid: u32) -> anyhow::Result<()> {
        let bytes = resident(pid)?;
        self.all.fetch_max(bytes, Ordering::Relaxed);
        self.last.fetch_max(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn mebibytes(bytes: u64) -> u64 {
    bytes >> 20
}

/// The time that so many of a hundred stay below.
pub(crate) fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or_default()
}

impl Attacked {
    fn line(&self) -> String {
        let outcome = match self.attack.expected() {
            Outcome::Ban => format!("banned {} of {} in {:.1} s", self.banned, self.peers, self.ban_time.as_secs_f64()),
            Outcome::Nothing => format!("endured {} times, {} banned", self.peers, self.banned),
        };
        let name = self.attack.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        format!("{name:20} {outcome:32} {:>4} MiB", mebibytes(self.resident_max))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for attack in &self.attacks {
            writeln!(f, "{}", attack.line())?;
        }
        let (before, most) = (mebibytes(self.resident_before), mebibytes(self.resident_max));
        writeln!(f, "resident memory: {before} MiB before, {most} MiB at most")?;
        for (name, times) in [("before", &self.quiet), ("under attack", &self.attacked)] {
            let [half, most] = [50, 95].map(|percent| percentile(times, percent).as_millis());
            writeln!(f, "honest transfers {name}: {} final, p50 {half} ms, p95 {most} ms", times.len())?;
        }
        Ok(())
    }
}
