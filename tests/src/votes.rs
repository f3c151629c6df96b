//! How long a vote takes over the link of two validators, beside a raw libp2p stream of the same transport and the same bytes.
//!
//! Both are measured in one run, one round trip of each at a time: whatever else the machine does, it does to both. Half of a
//! round trip counts as the way of one vote.

use anyhow::Context as _;
use cairn_network::{Event, Handle, Multiaddr, NetworkConfig, NodeKey, Validators};
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Epoch, Hash, KeyPair, PublicKey, Subject, ValidatorIndex, View, Vote};
use clap::Parser;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use libp2p_stream::Behaviour as Streams;
use parity_scale_codec::Encode as _;
use std::fmt;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The chain of the two validators.
const GENESIS: Hash = Hash([0x5a; 32]);

/// The protocol of the raw stream.
const RAW: StreamProtocol = StreamProtocol::new("/cairn-tests/raw/1");

/// How long anything may take that takes a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// Round trips before those that count.
const WARM_UP: u32 = 200;

/// Measures the way of a vote.
#[derive(Clone, Debug, Parser)]
#[command(name = "vote_latency")]
pub struct Options {
    /// Round trips of each kind.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(100..))]
    pub rounds: u32,
}

/// Times of one way, in ascending order.
#[derive(Clone, Debug)]
pub struct Report {
    /// Bytes of a vote on the wire, its frame included.
    pub bytes: usize,
    /// Over the link of two validators.
    pub link: Vec<Duration>,
    /// Over the raw stream.
    pub raw: Vec<Duration>,
}

fn percentile(times: &[Duration], percent: usize) -> f64 {
    let place = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "one way of a vote, {} bytes, us    p50    p95    p99", self.bytes)?;
        for (name, times) in [("link of two validators", &self.link), ("raw libp2p stream", &self.raw)] {
            let [half, most, nearly_all] = [50, 95, 99].map(|percent| percentile(times, percent));
            writeln!(f, "{name:34} {half:>6.1} {most:>6.1} {nearly_all:>6.1}")?;
        }
        let added = percentile(&self.link, 50) - percentile(&self.raw, 50);
        writeln!(f, "the link adds {added:.1} us at the median")
    }
}

/// Measures both ways in turn.
///
/// # Errors
/// A connection does not come up or breaks.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(measure(options.rounds))
}

async fn measure(rounds: u32) -> anyhow::Result<Report> {
    let message = vote();
    let bytes = message.encode().len() + 4;
    let mut link = Link::up().await?;
    let mut raw = Raw::up().await?;
    let mut frame = vec![7; bytes];
    let mut report = Report { bytes, link: Vec::new(), raw: Vec::new() };
    for round in 0..WARM_UP + rounds {
        let (linked, bare) = (link.round_trip(&message).await?, raw.round_trip(&mut frame).await?);
        if round >= WARM_UP {
            report.link.push(linked / 2);
            report.raw.push(bare / 2);
        }
    }
    report.link.sort_unstable();
    report.raw.sort_unstable();
    Ok(report)
}

fn key(seed: u8) -> KeyPair {
    KeyPair::from_seed(&[seed; 32])
}

fn vote() -> ConsensusMessage {
    let subject = Subject::Nullify { epoch: Epoch(0), view: View(1) };
    ConsensusMessage::Vote(Vote::sign(subject, ValidatorIndex(0), &key(1), &GENESIS))
}

/// Two validators, the second of which sends back what it gets.
struct Link {
    one: Handle,
    events: mpsc::Receiver<Event>,
    two: PublicKey,
    echo: tokio::task::JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.echo.abort();
    }
}

impl Link {
    async fn up() -> anyhow::Result<Self> {
        let (one, mut events) = start(1, None)?;
        let listening = |event| if let Event::Listening(address) = event { Some(address) } else { None };
        let address = next(&mut events, listening).await?;
        let (two, mut others) = start(2, Some(address))?;
        let echo = tokio::spawn(async move {
            while let Some(event) = others.recv().await {
                if let Event::Consensus { from, message } = event {
                    // A message that cannot be sent is missed at the other end, which says so.
                    if two.send(&from, &message).is_err() {
                        return;
                    }
                }
            }
        });
        next(&mut events, |event| matches!(event, Event::ValidatorConnected(_)).then_some(())).await?;
        let this = Self { one, events, two: key(2).public(), echo };
        Ok(this)
    }

    async fn round_trip(&mut self, message: &ConsensusMessage) -> anyhow::Result<Duration> {
        let started = Instant::now();
        self.one.send(&self.two, message)?;
        next(&mut self.events, |event| matches!(event, Event::Consensus { .. }).then_some(())).await?;
        Ok(started.elapsed())
    }
}

fn start(seed: u8, boot_node: Option<Multiaddr>) -> anyhow::Result<(Handle, mpsc::Receiver<Event>)> {
    let mut config = NetworkConfig::new(NodeKey::from_seed([seed; 32]), GENESIS);
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
    config.boot_nodes = boot_node.into_iter().collect();
    config.consensus_keys = vec![key(seed)];
    config.validators = Validators { epoch: Epoch(0), keys: [1, 2].map(|seed| key(seed).public()).into() };
    Ok(cairn_network::start(config)?)
}

/// The first event that `pick` takes.
async fn next<T>(events: &mut mpsc::Receiver<Event>, pick: impl Fn(Event) -> Option<T>) -> anyhow::Result<T> {
    let found = async {
        loop {
            if let Some(found) = pick(events.recv().await.context("the network has stopped")?) {
                return Ok(found);
            }
        }
    };
    timeout(PATIENCE, found).await.context("nothing comes")?
}

/// A stream to a peer that sends back what it gets.
struct Raw {
    stream: Stream,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Raw {
    async fn up() -> anyhow::Result<Self> {
        let (mut one, mut two) = (swarm()?, swarm()?);
        let mut incoming = one.behaviour().new_control().accept(RAW)?;
        one.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
        let peer: PeerId = *one.local_peer_id();
        let listening = async {
            loop {
                if let SwarmEvent::NewListenAddr { address, .. } = one.select_next_some().await {
                    return address;
                }
            }
        };
        let address = timeout(PATIENCE, listening).await.context("no address")?;
        two.dial(libp2p::swarm::dial_opts::DialOpts::peer_id(peer).addresses(vec![address]).build())?;
        let mut control = two.behaviour().new_control();
        let tasks = vec![
            tokio::spawn(drive(one)),
            tokio::spawn(drive(two)),
            tokio::spawn(async move {
                while let Some((_, stream)) = incoming.next().await {
                    let (reader, mut writer) = stream.split();
                    // It ends with the stream.
                    drop(futures::io::copy(reader, &mut writer).await);
                }
            }),
        ];
        let stream = timeout(PATIENCE, control.open_stream(peer, RAW)).await.context("no stream")??;
        Ok(Self { stream, tasks })
    }

    async fn round_trip(&mut self, frame: &mut [u8]) -> anyhow::Result<Duration> {
        let started = Instant::now();
        self.stream.write_all(frame).await?;
        self.stream.flush().await?;
        timeout(PATIENCE, self.stream.read_exact(frame)).await.context("nothing comes back")??;
        Ok(started.elapsed())
    }
}

/// A swarm with the transport of our nodes and nothing but streams.
fn swarm() -> anyhow::Result<Swarm<Streams>> {
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|_| Streams::new())?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3_600)));
    Ok(swarm.build())
}

async fn drive(mut swarm: Swarm<Streams>) {
    loop {
        swarm.select_next_some().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn votes_come_back_over_both_ways() {
        let report = run(&Options { rounds: 100 }).unwrap();
        assert_eq!((report.link.len(), report.raw.len()), (100, 100));
        assert!(report.link[0] > Duration::ZERO && report.raw[0] > Duration::ZERO);
    }
}
