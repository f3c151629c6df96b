//! What the network does to a message, and which machines can reach each other.

use crate::plan::{Machine, Matter, Plan, Rule, Weather};
use crate::rng::Rng;
use crate::wire::Wire;
use cairn_primitives::VoteKind;
use cairn_primitives::message::ConsensusMessage;

/// A partition that is on.
#[derive(Clone, Debug)]
struct Partition {
    number: usize,
    groups: Vec<u8>,
    is_one_way: bool,
    breaks_streams: bool,
}

/// The network between the machines.
pub(crate) struct Network {
    weather: Weather,
    partitions: Vec<Partition>,
    rules: Vec<Rule>,
    rng: Rng,
    pub(crate) sent: u64,
    pub(crate) lost: u64,
}

impl Network {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            weather: plan.storm,
            partitions: Vec::new(),
            rules: plan.rules.clone(),
            rng: Rng::new(plan.seed, "network"),
            sent: 0,
            lost: 0,
        }
    }

    pub(crate) fn begin_partition(&mut self, number: usize, groups: &[u8], is_one_way: bool, breaks_streams: bool) {
        self.partitions.push(Partition { number, groups: groups.to_vec(), is_one_way, breaks_streams });
    }

    pub(crate) fn end_partition(&mut self, number: usize) {
        self.partitions.retain(|partition| partition.number != number);
    }

    /// The faults stop.
    pub(crate) fn calm_down(&mut self, weather: Weather) {
        self.weather = weather;
        self.partitions.clear();
        self.rules.clear();
    }

    /// Whether the stream between two machines can be up.
    pub(crate) fn allows_stream(&self, one: Machine, other: Machine) -> bool {
        self.partitions
            .iter()
            .all(|partition| !partition.breaks_streams || partition.groups.get(one) == partition.groups.get(other))
    }

    fn is_cut(&self, from: Machine, to: Machine) -> bool {
        self.partitions.iter().any(|partition| {
            let (from, to) = (partition.groups.get(from), partition.groups.get(to));
            if partition.is_one_way { from < to } else { from != to }
        })
    }

    /// A delay as messages have it.
    pub(crate) fn delay(&mut self) -> u64 {
        self.rng.between(self.weather.delay_ms_min, self.weather.delay_ms_max)
    }

    /// When the copies of a message arrive, in milliseconds from now: none if it is lost.
    pub(crate) fn copies(&mut self, now_ms: u64, from: Machine, to: Machine, wire: &Wire) -> Vec<u64> {
        self.sent += 1;
        if self.is_cut(from, to) || self.rng.percent(self.weather.loss_percent) {
            self.lost += 1;
            return Vec::new();
        }
        let mut later = 0;
        for rule in self.rules.iter().filter(|rule| applies(rule, now_ms, from, to, wire)) {
            match rule.delay_ms {
                Some(delay) => later += delay,
                None => {
                    self.lost += 1;
                    return Vec::new();
                }
            }
        }
        let copies = if self.rng.percent(self.weather.duplicate_percent) { 2 } else { 1 };
        (0..copies)
            .map(|_| {
                let is_late = self.rng.percent(self.weather.late_percent);
                let held_up = if is_late { self.rng.below(self.weather.late_ms_max + 1) } else { 0 };
                self.delay() + held_up + later
            })
            .collect()
    }
}

fn applies(rule: &Rule, now_ms: u64, from: Machine, to: Machine, wire: &Wire) -> bool {
    let names = |list: &Option<Vec<Machine>>, machine| list.as_ref().is_none_or(|list| list.contains(&machine));
    let is_concerned =
        (rule.from_ms..rule.until_ms).contains(&now_ms) && names(&rule.senders, from) && names(&rule.receivers, to);
    let Wire::Consensus(message) = wire else { return false };
    is_concerned && is_about(rule.what, message)
}

fn is_about(matter: Matter, message: &ConsensusMessage) -> bool {
    let vote = if let ConsensusMessage::Vote(vote) = message { Some(vote.subject.kind()) } else { None };
    match matter {
        Matter::Everything => true,
        Matter::Proposals => matches!(message, ConsensusMessage::Proposal { .. }),
        Matter::Notarizes => vote == Some(VoteKind::Notarize),
        Matter::Nullifies => vote == Some(VoteKind::Nullify),
        Matter::Finalizes => vote == Some(VoteKind::Finalize),
        Matter::Certificates => matches!(message, ConsensusMessage::Certificate(_)),
        Matter::Finalizations => {
            matches!(message, ConsensusMessage::Certificate(found) if found.subject.kind() == VoteKind::Finalize)
        }
    }
}
