//! A peer on libp2p that is not our node: it identifies itself, opens raw streams, and answers what it is asked in its way.

use anyhow::Context as _;
use futures::StreamExt as _;
use libp2p::identity::Keypair;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, identify, multiaddr::Protocol, noise, tcp, yamux,
};
use libp2p_stream::{Behaviour as Streams, Control, IncomingStreams};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The version of gossipsub that attackers speak.
pub(super) const GOSSIP: StreamProtocol = StreamProtocol::new("/meshsub/1.1.0");

/// How long a connection or a stream may take to come up.
const OPEN_TIME_MAX: Duration = Duration::from_secs(5);

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    streams: Streams,
}

/// Whom to attack.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The node's address with its peer id.
    pub(crate) address: Multiaddr,
    /// Its chain.
    pub(crate) genesis: cairn_primitives::Hash,
}

impl Target {
    /// The first 8 bytes of the genesis hash, as protocols name the chain.
    pub(super) fn chain(&self) -> String {
        hex::encode(self.genesis.0).chars().take(16).collect()
    }

    /// A protocol of the chain.
    pub(super) fn protocol(&self, purpose: &str) -> anyhow::Result<StreamProtocol> {
        Ok(StreamProtocol::try_from_owned(format!("/cairn/{}/{purpose}/1", self.chain()))?)
    }

    /// A gossip topic.
    pub(super) fn topic(&self, purpose: &str) -> String {
        format!("/cairn/{}/{purpose}/1", self.chain())
    }

    fn peer(&self) -> anyhow::Result<PeerId> {
        match self.address.iter().last() {
            Some(Protocol::P2p(peer)) => Ok(peer),
            _ => anyhow::bail!("{} names no peer", self.address),
        }
    }
}

/// A connected attacker; the connection ends with it.
pub(crate) struct Attacker {
    pub(super) id: PeerId,
    target: PeerId,
    control: Control,
    connected: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Attacker {
    /// Connects as a new peer of the chain.
    pub(crate) async fn connect(target: &Target) -> anyhow::Result<Self> {
        Self::connect_as(target, format!("cairn/{}", target.chain())).await
    }

    /// Connects as a new peer that names its chain so.
    pub(super) async fn connect_as(target: &Target, chain: String) -> anyhow::Result<Self> {
        let target_id = target.peer()?;
        // Of two peers the one with the smaller id opens consensus streams.
        let mut keys = std::iter::repeat_with(Keypair::generate_ed25519);
        let pair = keys.find(|pair| pair.public().to_peer_id() < target_id).context("no identity")?;
        let mut swarm = SwarmBuilder::with_existing_identity(pair)
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, || {
                let mut yamux = yamux::Config::default();
                yamux.set_max_num_streams(4_096);
                yamux
            })?
            .with_behaviour(|pair| Behaviour {
                identify: identify::Behaviour::new(identify::Config::new(chain, pair.public())),
                streams: Streams::new(),
            })?
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3_600)))
            .build();
        let id = *swarm.local_peer_id();
        let mut control = swarm.behaviour().streams.new_control();
        // Who does not take gossip may send none.
        let gossip = control.accept(GOSSIP)?;
        swarm.dial(target.address.clone())?;
        let (tell, mut connected) = watch::channel(false);
        let task = tokio::spawn(async move {
            tokio::join!(drive(swarm, tell), take_all(gossip));
        });
        timeout(OPEN_TIME_MAX, connected.wait_for(|up| *up)).await.context("no connection")??;
        Ok(Self { id, target: target_id, control, connected, task })
    }

    /// Whether the connection is still there.
    pub(super) fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// Waits until the connection is gone.
    pub(super) async fn gone(&self) {
        let mut connected = self.connected.clone();
        // An error means that nobody drives the connection any more.
        drop(connected.wait_for(|up| !up).await);
    }

    /// Opens a stream of a protocol.
    pub(super) async fn open(&self, protocol: &StreamProtocol) -> anyhow::Result<Stream> {
        let mut control = self.control.clone();
        let opened = timeout(OPEN_TIME_MAX, control.open_stream(self.target, protocol.clone())).await;
        Ok(opened.context("no stream")??)
    }

    /// Takes the streams of a protocol that the node opens.
    pub(super) fn accept(&self, protocol: &StreamProtocol) -> anyhow::Result<IncomingStreams> {
        let mut control = self.control.clone();
        Ok(control.accept(protocol.clone())?)
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the events of a swarm are open-ended")]
async fn drive(mut swarm: Swarm<Behaviour>, tell: watch::Sender<bool>) {
    loop {
        let up = match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { .. } => true,
            SwarmEvent::ConnectionClosed { .. } => false,
            _ => continue,
        };
        if tell.send(up).is_err() {
            return;
        }
    }
}

/// Reads streams to their ends and forgets what they bring.
async fn take_all(streams: IncomingStreams) {
    let take = |(_, stream): (PeerId, Stream)| async move {
        // How a stream ends is all the same to an attacker.
        drop(futures::io::copy(stream, &mut futures::io::sink()).await);
    };
    streams.for_each_concurrent(None, take).await;
}
