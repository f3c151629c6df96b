//! Counters and gauges of the network, all under `cairn_network_`.

use crate::event::Offence;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// The directions, as metrics name them.
const IN: &str = "in";
const OUT: &str = "out";

/// The network's metrics; without a registry they count for nobody.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Connected peers.
    pub(crate) peers: IntGauge,
    /// Validators with an authenticated stream.
    pub(crate) validators: IntGauge,
    /// Peers under a ban.
    pub(crate) banned: IntGauge,
    /// Messages in and out, by protocol.
    pub(crate) messages: IntCounterVec,
    /// Bytes of those messages.
    pub(crate) bytes: IntCounterVec,
    /// What was dropped because a queue was full, by queue.
    pub(crate) drops: IntCounterVec,
    /// Offences by kind.
    pub(crate) offences: IntCounterVec,
    /// Bans by offence.
    pub(crate) bans: IntCounterVec,
    /// Dials by result.
    pub(crate) dials: IntCounterVec,
    /// Connections of others that were refused, by reason.
    pub(crate) refused: IntCounterVec,
    /// Authority records that others sent, by what became of them.
    pub(crate) records: IntCounterVec,
    /// Frames waiting for validators, over all streams.
    pub(crate) queued: IntGauge,
}

/// A protocol, as metrics name it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Traffic {
    Transactions,
    Blocks,
    Consensus,
    Sync,
    State,
}

impl Traffic {
    const ALL: [Self; 5] = [Self::Transactions, Self::Blocks, Self::Consensus, Self::Sync, Self::State];

    const fn label(self) -> &'static str {
        match self {
            Self::Transactions => "transactions",
            Self::Blocks => "blocks",
            Self::Consensus => "consensus",
            Self::Sync => "sync",
            Self::State => "state",
        }
    }
}

/// What is full when something is dropped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Queue {
    /// Commands of the node.
    Commands,
    /// Events for the node.
    Events,
    /// What gossipsub would send.
    Gossip,
    /// Gossip that waits to be decoded.
    GossipDecoder,
    /// Handshakes of consensus streams.
    Handshakes,
    /// Small frames for one validator.
    ConsensusSmall,
    /// Large frames for one validator.
    ConsensusLarge,
    /// Sync requests that wait for the node's answer.
    SyncAnswers,
    /// Requests for state that wait for the node's answer, or exceed what all peers together may ask.
    StateAnswers,
}

impl Queue {
    const ALL: [Self; 9] = [
        Self::Commands,
        Self::Events,
        Self::Gossip,
        Self::GossipDecoder,
        Self::Handshakes,
        Self::ConsensusSmall,
        Self::ConsensusLarge,
        Self::SyncAnswers,
        Self::StateAnswers,
    ];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Events => "events",
            Self::Gossip => "gossip",
            Self::GossipDecoder => "gossip_decoder",
            Self::Handshakes => "handshakes",
            Self::ConsensusSmall => "consensus_small",
            Self::ConsensusLarge => "consensus_large",
            Self::SyncAnswers => "sync_answers",
            Self::StateAnswers => "state_answers",
        }
    }
}

/// What came of a dial.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dial {
    /// It began.
    Started,
    /// It did not lead to a connection.
    Failed,
}

impl Dial {
    const ALL: [Self; 2] = [Self::Started, Self::Failed];

    const fn label(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Failed => "failed",
        }
    }
}

impl Metrics {
    pub(crate) fn new(registry: Option<&Registry>) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            peers: gauge("peers", "Connected peers")?,
            validators: gauge("validators", "Validators with an authenticated stream")?,
            banned: gauge("banned_peers", "Peers under a ban")?,
            messages: counters("messages_total", "Messages by protocol and direction", &["protocol", "direction"])?,
            bytes: counters("bytes_total", "Bytes of messages by protocol and direction", &["protocol", "direction"])?,
            drops: counters("drops_total", "Messages dropped because a queue was full", &["queue"])?,
            offences: counters("offences_total", "Offences of peers by kind", &["offence"])?,
            bans: counters("bans_total", "Bans by offence", &["offence"])?,
            dials: counters("dials_total", "Dials by result", &["result"])?,
            refused: counters("refused_connections_total", "Connections of others refused, by reason", &["reason"])?,
            records: counters("authority_records_total", "Authority records received, by verdict", &["verdict"])?,
            queued: gauge("consensus_queued_frames", "Frames waiting for validators' streams")?,
        };
        metrics.start_at_zero();
        if let Some(registry) = registry {
            for gauge in [&metrics.peers, &metrics.validators, &metrics.banned, &metrics.queued] {
                registry.register(Box::new(gauge.clone()))?;
            }
            let families =
                [&metrics.messages, &metrics.bytes, &metrics.drops, &metrics.offences, &metrics.bans, &metrics.dials];
            for counter in families.into_iter().chain([&metrics.refused, &metrics.records]) {
                registry.register(Box::new(counter.clone()))?;
            }
        }
        Ok(metrics)
    }

    /// Makes every series at once: what appears with its first event has no rate that an alert could see.
    fn start_at_zero(&self) {
        for traffic in Traffic::ALL {
            for direction in [IN, OUT] {
                self.messages.with_label_values(&[traffic.label(), direction]);
                self.bytes.with_label_values(&[traffic.label(), direction]);
            }
        }
        for queue in Queue::ALL {
            self.drops.with_label_values(&[queue.label()]);
        }
        for offence in Offence::ALL {
            self.offences.with_label_values(&[offence.label()]);
            self.bans.with_label_values(&[offence.label()]);
        }
        for dial in Dial::ALL {
            self.dials.with_label_values(&[dial.label()]);
        }
        for reason in ["limit", "address", "banned"] {
            self.refused.with_label_values(&[reason]);
        }
        for verdict in ["accepted", "refused", "malformed"] {
            self.records.with_label_values(&[verdict]);
        }
    }

    pub(crate) fn count_in(&self, traffic: Traffic, bytes: usize) {
        self.count(traffic, IN, bytes);
    }

    pub(crate) fn count_out(&self, traffic: Traffic, bytes: usize) {
        self.count(traffic, OUT, bytes);
    }

    fn count(&self, traffic: Traffic, direction: &str, bytes: usize) {
        let labels = [traffic.label(), direction];
        self.messages.with_label_values(&labels).inc();
        self.bytes.with_label_values(&labels).inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    pub(crate) fn dialled(&self, dial: Dial) {
        self.dials.with_label_values(&[dial.label()]).inc();
    }

    pub(crate) fn dropped(&self, queue: Queue, count: usize) {
        if count > 0 {
            self.drops.with_label_values(&[queue.label()]).inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        }
    }
}

fn gauge(name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    IntGauge::with_opts(Opts::new(name, help).namespace("cairn_network"))
}

fn counters(name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name, help).namespace("cairn_network"), labels)
}
