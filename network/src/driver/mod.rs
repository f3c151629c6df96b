//! The swarm task: one loop that takes what the swarm, the node, the stream tasks and the clock bring.
//!
//! Nothing in the loop waits: long work (handshakes, decoding, answering) is on tasks of its own, and events that find
//! the node's queue full wait in the outbox (facts) or are dropped (gossip, requests).

pub(crate) mod authorities;
mod exchange;
mod gossip;
mod outbox;
mod peers;
mod validators;

use crate::address_limit;
use crate::behaviour::{self, Behaviour, BehaviourEvent, Names};
use crate::book::{Book, Role};
use crate::bucket::Bucket;
use crate::codec::{BlockSync, StateSync};
use crate::config::{NetworkConfig, split_peer_address};
use crate::error::StartError;
use crate::event::{Event, NetworkStatus, PeerStatus};
use crate::handle::{COMMANDS_MAX, Command, Handle};
use crate::links::Links;
use crate::metrics::Metrics;
use crate::reputation::Reputation;
use crate::timers::{Timer, Timers};
use authorities::Efforts;
use exchange::Service;
use futures::StreamExt;
use gossip::Undecoded;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Swarm};
use outbox::Outbox;
use peers::Peer;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use validators::ValidatorLinks;

/// How long stopping may take until connections are cut.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// How far apart peers remembered from an earlier run are dialled at the start: the first of them bring the others.
const DIAL_SPACING: Duration = Duration::from_millis(50);

/// How long the loop sleeps when nothing is due.
const IDLE: Duration = Duration::from_hours(1);

/// The state of the swarm task.
struct Driver {
    swarm: Swarm<Behaviour>,
    config: NetworkConfig,
    names: Names,
    local: PeerId,
    commands: mpsc::Receiver<Command>,
    decoder: mpsc::Sender<Undecoded>,
    outbox: Outbox,
    metrics: Metrics,
    timers: Timers,
    book: Book,
    peers: BTreeMap<PeerId, Peer>,
    reputation: Reputation,
    validators: ValidatorLinks,
    sync: Service<BlockSync>,
    state: Service<StateSync>,
    listening: BTreeSet<Multiaddr>,
    /// How often this node has looked for peers.
    discoveries: u32,
    /// How often it has looked for validators.
    efforts: Efforts,
}

/// Starts the network on the current tokio runtime: listens, then runs until [`Handle::stop`] is called, the events are
/// no longer received or all handles are dropped. The events end when the network does.
///
/// # Errors
/// An address cannot be listened on, a peer's address names no peer, or the metrics are registered already.
///
/// # Panics
/// Outside a tokio runtime.
pub fn start(config: NetworkConfig) -> Result<(Handle, mpsc::Receiver<Event>), StartError> {
    let metrics = Metrics::new(config.registry.as_ref())?;
    let names = Names::new(&config.genesis)?;
    let mut swarm = behaviour::swarm(&config, &names, &metrics)?;
    let local = *swarm.local_peer_id();
    let mut book = Book::new(local);
    for (addresses, role) in
        [(&config.boot_nodes, Role::Boot), (&config.reserved, Role::Reserved), (&config.known, Role::Ordinary)]
    {
        for address in addresses {
            let (peer, address) = split_peer_address(address)?;
            book.learn(peer, [address], role);
        }
    }
    for address in &config.listen {
        check_port_is_free(address)?;
    }
    for address in &config.listen {
        let failed = |reason: String| StartError::Listen { address: address.clone(), reason };
        swarm.listen_on(address.clone()).map_err(|error| failed(root_cause(&error)))?;
    }
    for address in &config.external {
        swarm.add_external_address(address.clone());
    }
    let (sender, commands) = mpsc::channel(COMMANDS_MAX);
    let (events, receiver) = mpsc::channel(config.limits.events.max(16));
    let links = Arc::new(Links::new(metrics.clone()));
    let decoder = gossip::spawn_decoder(sender.clone(), events.clone(), metrics.clone());
    let handle = Handle::new(sender, Arc::clone(&links), metrics.clone(), local);
    let limits = &config.limits;
    let state_total = Bucket::new(limits.state_requests_per_second, limits.state_requests_burst, Instant::now());
    let mut driver = Driver {
        swarm,
        names,
        local,
        commands,
        decoder,
        outbox: Outbox::new(events),
        metrics,
        timers: Timers::default(),
        book,
        peers: BTreeMap::new(),
        reputation: Reputation::new(config.limits.ban),
        validators: ValidatorLinks::new(links),
        sync: Service::new(None),
        state: Service::new(Some(state_total)),
        listening: BTreeSet::new(),
        discoveries: 0,
        efforts: Efforts::default(),
        config,
    };
    driver.prepare();
    tokio::spawn(driver.run());
    Ok((handle, receiver))
}

/// Refuses a TCP port that another process listens on: libp2p shares ports between sockets, so that two nodes would each
/// get some of the connections.
fn check_port_is_free(address: &Multiaddr) -> Result<(), StartError> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::from(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::from(ip),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) => TcpListener::bind((ip, port))
            .map(drop)
            .map_err(|error| StartError::Listen { address: address.clone(), reason: error.to_string() }),
        _ => Ok(()),
    }
}

/// The innermost message of an error: libp2p wraps what the system said several times.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

impl Driver {
    fn prepare(&mut self) {
        let now = Instant::now();
        let mut remembered = Duration::ZERO;
        for peer in self.book.peers() {
            let role = self.book.role(&peer);
            if role == Some(Role::Reserved) {
                self.swarm.behaviour_mut().limits.bypass_peer_id(&peer);
            }
            let mut delay = Duration::ZERO;
            if role == Some(Role::Ordinary) {
                delay = remembered;
                remembered += DIAL_SPACING;
            }
            self.timers.set(Timer::Dial(peer), now + delay);
        }
        self.restore_bans(now);
        self.timers.set(Timer::Discover, now + Duration::from_secs(1));
        self.set_validators(self.config.validators.clone());
    }

    async fn run(mut self) {
        loop {
            let due = self.timers.next().unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                event = self.swarm.select_next_some() => self.handle_swarm(event),
                command = self.commands.recv() => match command {
                    Some(Command::Stop(reply)) => {
                        self.stop().await;
                        drop(self);
                        drop(reply);
                        return;
                    }
                    Some(command) => self.handle_command(command),
                    None => return self.stop().await,
                },
                Some(result) = self.validators.handshakes.join_next() => match result {
                    Ok(outcome) => self.handle_handshake(outcome),
                    Err(error) if error.is_panic() => return tracing::error!(%error, "a handshake task failed"),
                    Err(_) => {}
                },
                Some(result) = self.validators.running.join_next() => match result {
                    Ok(ended) => self.handle_link_ended(&ended),
                    Err(error) if error.is_panic() => return tracing::error!(%error, "a stream task failed"),
                    Err(_) => {}
                },
                Some(answer) = self.sync.answers.next() => self.handle_answer::<BlockSync>(answer),
                Some(answer) = self.state.answers.next() => self.handle_answer::<StateSync>(answer),
                () = self.outbox.has_room(), if self.outbox.is_waiting() => self.outbox.flush(),
                () = tokio::time::sleep_until(due.into()) => self.handle_timers(),
                () = self.outbox.closed() => return self.stop().await,
            }
        }
    }

    /// Closes streams and connections, so that peers notice at once.
    async fn stop(&mut self) {
        self.validators.close_all();
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            self.disconnect(peer);
        }
        let closed = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.next().await;
            }
        };
        if tokio::time::timeout(STOP_TIMEOUT, closed).await.is_err() {
            tracing::debug!("connections were cut while stopping");
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Publish { topic, data } => self.publish(topic, data),
            Command::Verdict { id, verdict } => self.handle_verdict(&id, verdict),
            Command::MalformedGossip(id) => self.handle_malformed_gossip(&id),
            Command::Report { peer, offence } => self.report(peer, offence),
            Command::Sync { peer, request, reply } => self.send_request::<BlockSync>(peer, request, reply),
            Command::State { peer, request, reply } => self.send_request::<StateSync>(peer, request, reply),
            Command::SetValidators(validators) => self.set_validators(validators),
            Command::AddKnown(addresses) => self.add_known(&addresses),
            // The caller may have stopped waiting.
            Command::Status(reply) => drop(reply.send(self.status())),
            Command::Stop(_) => {}
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "the events of a swarm are open-ended")]
    fn handle_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.handle_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.handle_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => {
                self.handle_disconnected(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
                tracing::debug!(peer = ?peer_id, %error, "a dial failed");
                if let Some(peer) = peer_id {
                    self.handle_dial_failed(peer);
                }
            }
            SwarmEvent::IncomingConnectionError { error, send_back_addr, .. } => {
                tracing::debug!(from = %send_back_addr, %error, "a connection of another was not taken");
                if let Some(reason) = address_limit::refusal(&error) {
                    self.metrics.refused.with_label_values(&[reason]).inc();
                }
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                self.listening.insert(address.clone());
                self.renew_record();
                self.renew_efforts();
                self.outbox.push(Event::Listening(address.with(Protocol::P2p(self.local))));
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.listening.remove(&address);
                self.renew_record();
                self.renew_efforts();
            }
            SwarmEvent::ListenerClosed { addresses, reason: Err(error), .. } => {
                for address in &addresses {
                    self.listening.remove(address);
                }
                self.outbox.push(Event::ListenerFailed { addresses, reason: error.to_string() });
            }
            _ => {}
        }
    }

    fn handle_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(event) => self.handle_identify(event),
            BehaviourEvent::Ping(event) => self.handle_ping(&event),
            BehaviourEvent::Kad(event) => self.handle_kad(event),
            BehaviourEvent::Gossip(event) => self.handle_gossip(event),
            BehaviourEvent::Sync(event) => self.handle_exchange::<BlockSync>(event),
            BehaviourEvent::State(event) => self.handle_exchange::<StateSync>(event),
            BehaviourEvent::Consensus((peer, event)) => self.handle_stream(peer, event),
        }
    }

    fn handle_timers(&mut self) {
        let now = Instant::now();
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Discover => self.discover(),
                Timer::Publish => self.publish_record(),
                Timer::Search => self.search_records(),
                Timer::Dial(peer) => self.dial(peer),
                Timer::OpenLink(peer) => self.open_link(peer),
                Timer::Unban(peer) => self.unban(peer),
            }
        }
    }

    fn status(&self) -> NetworkStatus {
        let now = Instant::now();
        let connected = |(id, peer): (&PeerId, &Peer)| PeerStatus {
            peer: *id,
            address: peer.address.clone(),
            direction: peer.direction,
            agent: peer.agent.clone(),
            validator: self.validators.key_of(id),
            score: self.score(id, now),
            last_offence: self.reputation.last_offence(id),
            round_trip: peer.round_trip,
            connected: now.saturating_duration_since(peer.since),
        };
        NetworkStatus {
            local: self.local,
            listening: self.listening.iter().map(|one| one.clone().with(Protocol::P2p(self.local))).collect(),
            connected: self.peers.iter().map(connected).collect(),
            banned: self.reputation.bans(now),
            known: self.book.reached(|peer| self.peers.contains_key(peer)),
        }
    }
}
