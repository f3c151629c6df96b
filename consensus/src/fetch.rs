//! What is being fetched from other validators, and from whom.
//!
//! Wanted things are recomputed after each step; the table remembers only whom we asked and when to ask the next one. So
//! an answer that came twice, or by another way, needs no care.

use crate::peers::Peers;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Epoch, Hash, ValidatorIndex, View, VoteKind};
use std::collections::BTreeMap;

/// The most things fetched at a time.
pub(crate) const FETCHES_MAX: usize = 16;

/// Something to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Want {
    /// A certificate for a view, preferably of this kind.
    Certificate(View, VoteKind),
    /// A block.
    Block(Hash),
}

/// What is wanted in this moment, most urgent first, each with whom to ask first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wants {
    wants: Vec<(Want, ValidatorIndex)>,
}

impl Wants {
    /// Adds a want, unless there are as many as can be fetched at a time.
    pub(crate) fn add(&mut self, want: Want, first: ValidatorIndex) {
        if !self.is_full() && self.wants.iter().all(|(known, _)| *known != want) {
            self.wants.push((want, first));
        }
    }

    /// Whether no more can be fetched at a time.
    pub(crate) fn is_full(&self) -> bool {
        self.wants.len() >= FETCHES_MAX
    }

    /// Whether the block is wanted.
    pub(crate) fn has_block(&self, hash: &Hash) -> bool {
        self.wants.iter().any(|(want, _)| *want == Want::Block(*hash))
    }
}

/// The fetches under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fetches {
    under_way: BTreeMap<Want, Fetch>,
}

#[derive(Clone, Copy, Debug)]
struct Fetch {
    asked: usize,
    again_at: u64,
}

impl Fetches {
    /// How many are under way.
    pub(crate) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// When the next one must be asked for again.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.under_way.values().map(|fetch| fetch.again_at).min()
    }

    /// Drops what is no longer wanted and returns whom to ask for what now: what is new, and what was not answered.
    pub(crate) fn update(
        &mut self,
        wants: &Wants,
        peers: &Peers,
        now: u64,
        retry_ms: u64,
    ) -> Vec<(ValidatorIndex, Want)> {
        self.under_way.retain(|want, _| wants.wants.iter().any(|(wanted, _)| wanted == want));
        let mut requests = Vec::new();
        for (want, first) in &wants.wants {
            let fetch = self.under_way.entry(*want).or_insert(Fetch { asked: 0, again_at: now });
            if fetch.again_at > now {
                continue;
            }
            fetch.again_at = now.saturating_add(retry_ms);
            if let Some(to) = nth_peer(peers, *first, fetch.asked) {
                fetch.asked = fetch.asked.saturating_add(1);
                requests.push((to, *want));
            }
        }
        requests
    }
}

/// `first` and then every other connected validator in turn.
fn nth_peer(peers: &Peers, first: ValidatorIndex, asked: usize) -> Option<ValidatorIndex> {
    let connected: Vec<_> = peers.connected().map(|(index, _)| index).collect();
    let start = connected.partition_point(|index| *index < first);
    let turn = start.saturating_add(asked).checked_rem(connected.len())?;
    connected.get(turn).copied()
}

impl Want {
    /// The message that asks for it.
    pub(crate) const fn request(self, epoch: Epoch) -> ConsensusMessage {
        match self {
            Self::Certificate(view, kind) => ConsensusMessage::FetchCertificate { kind, epoch, view },
            Self::Block(hash) => ConsensusMessage::FetchBlock(hash),
        }
    }
}
