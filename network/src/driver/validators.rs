//! The links to other validators: who opens them, how they are put together, replaced and opened again.

use super::Driver;
use crate::authority::Authorities;
use crate::book::{Role, retry_delay};
use crate::config::Validators;
use crate::event::{Event, Offence};
use crate::handshake::{self, HandshakeError, Identity};
use crate::link::{Ended, Link};
use crate::links::Links;
use crate::metrics::Queue;
use crate::protocol::{Open, StreamEvent};
use crate::record;
use crate::timers::Timer;
use cairn_primitives::PublicKey;
use cairn_primitives::authority::{AuthorityRecord, Lane, Refusal};
use libp2p::{Multiaddr, PeerId, Stream};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::task::{AbortHandle, JoinSet};

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// After so long without a link an attempt counts as lost.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);

/// Handshakes under way with one peer.
const HANDSHAKES_PER_PEER_MAX: usize = 4;

/// Handshakes under way in total.
const HANDSHAKES_MAX: usize = 512;

/// How a handshake ended.
pub(super) struct Outcome {
    peer: PeerId,
    /// The link this node tries to open, if it is the opener.
    opened: Option<u64>,
    result: Result<Ready, HandshakeError>,
}

/// An authenticated stream.
struct Ready {
    lane: Lane,
    link: u64,
    record: AuthorityRecord,
    stream: Stream,
}

/// A link of which one stream is ready.
struct Half {
    link: u64,
    record: AuthorityRecord,
    lane: Lane,
    stream: Stream,
}

/// This node's attempts to open a link.
#[derive(Default)]
struct Attempt {
    link: u64,
    failures: u32,
}

struct Running {
    peer: PeerId,
    id: u64,
    task: AbortHandle,
}

/// All that concerns links.
pub(super) struct ValidatorLinks {
    links: Arc<Links>,
    pub(super) validators: Validators,
    /// What this node shows, if it is a validator.
    identity: Option<Arc<Identity>>,
    last_link: u64,
    attempts: BTreeMap<PeerId, Attempt>,
    shaking: BTreeMap<PeerId, usize>,
    halves: BTreeMap<PeerId, Half>,
    established: BTreeMap<PublicKey, Running>,
    /// The newest record seen of each key.
    pub(super) authorities: Authorities,
    pub(super) handshakes: JoinSet<Outcome>,
    pub(super) running: JoinSet<Ended>,
}

impl ValidatorLinks {
    pub(super) fn new(links: Arc<Links>) -> Self {
        Self {
            links,
            validators: Validators::default(),
            identity: None,
            last_link: 0,
            attempts: BTreeMap::new(),
            shaking: BTreeMap::new(),
            halves: BTreeMap::new(),
            established: BTreeMap::new(),
            authorities: Authorities::default(),
            handshakes: JoinSet::new(),
            running: JoinSet::new(),
        }
    }

    /// The consensus key of a peer with a link.
    pub(super) fn key_of(&self, peer: &PeerId) -> Option<PublicKey> {
        self.established.iter().find(|(_, running)| running.peer == *peer).map(|(key, _)| *key)
    }

    /// Whether this node votes in the epoch.
    pub(super) const fn is_validator(&self) -> bool {
        self.identity.is_some()
    }

    /// The consensus key that this node is known by in the epoch.
    pub(super) fn own_key(&self) -> Option<PublicKey> {
        self.record().map(|record| record.statement.key)
    }

    /// This node's authority record.
    pub(super) fn record(&self) -> Option<&AuthorityRecord> {
        self.identity.as_ref().map(|identity| &identity.record)
    }

    /// The validators without a link, in the order of their keys.
    pub(super) fn missing(&self) -> Vec<PublicKey> {
        let own = self.own_key();
        let is_missing = |key: &&PublicKey| own != Some(**key) && !self.established.contains_key(key);
        self.validators.keys.iter().filter(is_missing).copied().collect()
    }

    pub(super) fn close_all(&mut self) {
        self.links.clear();
        self.handshakes.abort_all();
        self.running.abort_all();
    }
}

impl Driver {
    pub(super) fn set_validators(&mut self, validators: Validators) {
        let gone: Vec<_> =
            self.validators.established.keys().filter(|key| !validators.keys.contains(key)).copied().collect();
        for key in gone {
            self.close_link(&key);
        }
        for peer in self.validators.authorities.retain(&validators) {
            self.demote(&peer);
        }
        self.validators.validators = validators;
        self.validators.attempts.clear();
        let key_before = self.validators.own_key();
        self.renew_record();
        self.forget_records();
        self.renew_efforts();
        if self.validators.own_key() != key_before {
            // Others know the links by the last key.
            let all: Vec<_> = self.validators.established.keys().copied().collect();
            all.iter().for_each(|key| self.close_link(key));
        }
        self.swarm.behaviour_mut().consensus.set_offered(self.validators.identity.is_some());
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            self.open_link(peer);
        }
    }

    /// Signs a new record with the addresses and the epoch of now.
    pub(super) fn renew_record(&mut self) {
        let validators = &self.validators.validators;
        let own = self.config.consensus_keys.iter().rfind(|pair| validators.keys.contains(&pair.public()));
        let last = self.validators.identity.as_ref().map_or(0, |identity| identity.record.statement.sequence);
        self.validators.identity = own.map(|pair| {
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let sequence = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX).max(last.saturating_add(1));
            let addresses: Vec<Multiaddr> = self.config.external.iter().chain(&self.listening).cloned().collect();
            let genesis = self.config.genesis;
            let said = record::statement(genesis, validators.epoch, pair.public(), self.local, &addresses, sequence);
            let (epoch, record) = (validators.epoch, said.sign(pair));
            Arc::new(Identity { genesis, epoch, validators: validators.keys.clone(), record })
        });
    }

    /// Opens a link with the peer unless an attempt is under way.
    pub(super) fn ensure_link(&mut self, peer: PeerId) {
        if self.timers.due(Timer::OpenLink(peer)).is_none() {
            self.open_link(peer);
        }
    }

    /// Opens a link with the peer, if this node is the one to open it and there is none.
    pub(super) fn open_link(&mut self, peer: PeerId) {
        let links = &mut self.validators;
        if links.identity.is_none() || self.local >= peer || links.key_of(&peer).is_some() {
            return;
        }
        let Some(connection) = self.peers.get(&peer).and_then(|peer| peer.connections.last().copied()) else { return };
        links.last_link = links.last_link.wrapping_add(1);
        links.attempts.entry(peer).or_default().link = links.last_link;
        self.timers.set(Timer::OpenLink(peer), Instant::now() + ATTEMPT_TIMEOUT);
        self.swarm.behaviour_mut().consensus.open(peer, connection, links.last_link);
    }

    /// Notes that an attempt failed; the next one follows later and later.
    fn handle_attempt_failed(&mut self, peer: PeerId, link: u64) {
        let Some(attempt) = self.validators.attempts.get_mut(&peer).filter(|attempt| attempt.link == link) else {
            return;
        };
        // The other stream of the same link fails too, but counts no more.
        attempt.link = 0;
        let delay = retry_delay(attempt.failures, &peer);
        attempt.failures = attempt.failures.saturating_add(1);
        self.validators.halves.remove(&peer);
        self.timers.set(Timer::OpenLink(peer), Instant::now() + delay);
    }

    pub(super) fn handle_stream(&mut self, peer: PeerId, event: StreamEvent) {
        match event {
            StreamEvent::Outbound(open, stream) => self.shake_hands(peer, Some(open), stream),
            StreamEvent::Inbound(stream) if peer < self.local => self.shake_hands(peer, None, stream),
            // It is not the peer's turn to open; it will see a closed stream.
            StreamEvent::Inbound(_) => {}
            StreamEvent::Unsupported => {
                self.validators.attempts.remove(&peer);
                self.timers.cancel(Timer::OpenLink(peer));
            }
            StreamEvent::Failed(link) => self.handle_attempt_failed(peer, link),
        }
    }

    fn shake_hands(&mut self, peer: PeerId, opened: Option<Open>, mut stream: Stream) {
        let links = &mut self.validators;
        let Some(identity) = links.identity.clone() else { return };
        let with_peer = links.shaking.entry(peer).or_default();
        if *with_peer >= HANDSHAKES_PER_PEER_MAX || links.handshakes.len() >= HANDSHAKES_MAX {
            self.metrics.dropped(Queue::Handshakes, 1);
            return;
        }
        *with_peer += 1;
        links.handshakes.spawn(async move {
            let handshake = async {
                if let Some(Open { lane, link }) = opened {
                    let record = handshake::open(&mut stream, lane, link, &identity, &peer).await?;
                    return Ok(Ready { lane, link, record, stream });
                }
                let hello = handshake::accept(&mut stream, &identity, &peer).await?;
                Ok(Ready { lane: hello.lane, link: hello.link, record: hello.record, stream })
            };
            let result =
                tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await.unwrap_or(Err(HandshakeError::Timeout));
            Outcome { peer, opened: opened.map(|open| open.link), result }
        });
    }

    pub(super) fn handle_handshake(&mut self, outcome: Outcome) {
        let Outcome { peer, opened, result } = outcome;
        if let Some(count) = self.validators.shaking.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.validators.shaking.remove(&peer);
            }
        }
        match result {
            Ok(ready) => self.handle_ready(peer, ready),
            Err(error) => {
                tracing::debug!(%peer, %error, "no consensus stream");
                match error {
                    HandshakeError::Refused(Refusal::OwnKey) | HandshakeError::RefusedByPeer(Refusal::OwnKey) => {
                        tracing::error!(%peer, "{}", Refusal::OwnKey);
                    }
                    HandshakeError::Refused(refusal) if refusal.is_offence() => self.report(peer, Offence::Malformed),
                    HandshakeError::Malformed(_) => self.report(peer, Offence::Malformed),
                    HandshakeError::Refused(_)
                    | HandshakeError::RefusedByPeer(_)
                    | HandshakeError::Io(_)
                    | HandshakeError::Timeout => {}
                }
                if let Some(link) = opened {
                    self.handle_attempt_failed(peer, link);
                }
            }
        }
    }

    /// Puts the two streams of a link together; a stream of a newer link replaces that of an older one.
    fn handle_ready(&mut self, peer: PeerId, ready: Ready) {
        if !self.peers.contains_key(&peer) {
            return;
        }
        let Ready { lane, link, record, stream } = ready;
        match self.validators.halves.remove(&peer) {
            Some(half)
                if half.link == link && half.lane != lane && half.record.statement.key == record.statement.key =>
            {
                self.establish(peer, link, &record, [(half.lane, half.stream), (lane, stream)]);
            }
            _ => drop(self.validators.halves.insert(peer, Half { link, record, lane, stream })),
        }
    }

    fn establish(&mut self, peer: PeerId, id: u64, record: &AuthorityRecord, streams: [(Lane, Stream); 2]) {
        let key = record.statement.key;
        let sequence = record.statement.sequence;
        let is_current = self.validators.identity.as_ref().is_some_and(|identity| identity.validators.contains(&key));
        let is_stale = self.validators.authorities.is_stale(&key, sequence, &peer);
        if !is_current || is_stale {
            tracing::debug!(%peer, %key, reason = %Refusal::Stale, "no consensus stream");
            return self.handle_attempt_failed(peer, id);
        }
        if let Some(before) = self.validators.authorities.note(key, sequence, peer) {
            self.demote(&before);
        }
        self.close_link(&key);
        if let Some(other) = self.validators.key_of(&peer) {
            self.close_link(&other);
        }
        self.validators.attempts.remove(&peer);
        self.timers.cancel(Timer::OpenLink(peer));
        self.book.learn(peer, record::addresses(record), Role::Validator);
        self.swarm.behaviour_mut().limits.bypass_peer_id(&peer);
        let queues = self.validators.links.open(key);
        // Whoever hears of it can send at once.
        self.outbox.push(Event::ValidatorConnected(key));
        let (events, metrics) = (self.outbox.sender.clone(), self.metrics.clone());
        let link = Link { peer, key, id, streams, queues, events, metrics };
        let task = self.validators.running.spawn(link.run());
        self.validators.established.insert(key, Running { peer, id, task });
        self.count_validators();
    }

    /// Ends a link and tells the node.
    fn close_link(&mut self, key: &PublicKey) {
        if let Some(running) = self.validators.established.remove(key) {
            running.task.abort();
            self.validators.links.remove(key);
            self.outbox.push(Event::ValidatorDisconnected(*key));
            self.count_validators();
        }
    }

    pub(super) fn handle_link_ended(&mut self, ended: &Ended) {
        let current = self.validators.established.get(&ended.key);
        if current.is_none_or(|running| running.id != ended.id || running.peer != ended.peer) {
            return;
        }
        tracing::debug!(peer = %ended.peer, validator = %ended.key, reason = %ended.reason, "consensus streams ended");
        self.close_link(&ended.key);
        if ended.reason.is_offence() {
            self.report(ended.peer, Offence::Malformed);
        }
        self.timers.set(Timer::OpenLink(ended.peer), Instant::now() + retry_delay(0, &ended.peer));
    }

    /// Forgets what was under way with a peer that is gone.
    pub(super) fn forget_link(&mut self, peer: &PeerId) {
        self.validators.attempts.remove(peer);
        self.validators.halves.remove(peer);
        self.timers.cancel(Timer::OpenLink(*peer));
        if let Some(key) = self.validators.key_of(peer) {
            self.close_link(&key);
        }
    }

    fn count_validators(&self) {
        let count = self.validators.established.len();
        self.metrics.validators.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
