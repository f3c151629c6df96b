//! What is known about the other validators.

use cairn_primitives::{Power, ValidatorIndex, ValidatorSet, View};

/// What one validator may ask for within a retry interval, in certificates: many times what one that catches up asks for,
/// which has [`crate::fetch::FETCHES_MAX`] questions under way. Some 4 MiB of certificates at most.
pub(crate) const SHARE: u64 = 256;

/// What a block counts for in certificates: it may have to be read from disk.
pub(crate) const BLOCK_COST: u64 = 4;

/// The other validators, by index.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    peers: Vec<Peer>,
    own: Option<ValidatorIndex>,
}

/// Another validator.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peer {
    /// Whether its stream is up.
    pub(crate) connected: bool,
    /// The monotonic time of its last message.
    pub(crate) heard_at: Option<u64>,
    /// The highest view it voted in or sent an own proposal for.
    pub(crate) seen: View,
    /// When it was last helped along without having asked.
    pub(crate) assisted_at: Option<u64>,
    /// Until when what it asked for uses up its share, in [`SHARE`]ths of a millisecond; see [`Peer::may_ask`].
    asked_until: u64,
}

impl Peer {
    /// Whether it may ask for what counts as `cost` certificates now: [`SHARE`] at once, and as many again in each `retry_ms`. What
    /// goes beyond gets no answer; whoever needs one asks again.
    pub(crate) fn may_ask(&mut self, cost: u64, now: u64, retry_ms: u64) -> bool {
        let used = self.asked_until.max(now.saturating_mul(SHARE)).saturating_add(cost.saturating_mul(retry_ms));
        let may = used <= now.saturating_add(retry_ms).saturating_mul(SHARE);
        if may {
            self.asked_until = used;
        }
        may
    }
}

impl Peers {
    pub(crate) fn new(set: &ValidatorSet, own: Option<ValidatorIndex>) -> Self {
        Self { peers: vec![Peer::default(); set.len()], own }
    }

    pub(crate) fn get(&self, index: ValidatorIndex) -> Option<&Peer> {
        self.peers.get(index.position())
    }

    pub(crate) fn get_mut(&mut self, index: ValidatorIndex) -> Option<&mut Peer> {
        self.peers.get_mut(index.position()).filter(|_| Some(index) != self.own)
    }

    /// Every validator but ourselves.
    pub(crate) fn others(&self) -> impl Iterator<Item = (ValidatorIndex, &Peer)> {
        let own = self.own;
        (0u16..).map(ValidatorIndex).zip(&self.peers).filter(move |(index, _)| Some(*index) != own)
    }

    /// Those whose stream is up.
    pub(crate) fn connected(&self) -> impl Iterator<Item = (ValidatorIndex, &Peer)> {
        self.others().filter(|(_, peer)| peer.connected)
    }

    /// Whether the validator was heard from since `since`; we always hear ourselves.
    pub(crate) fn is_heard_since(&self, index: ValidatorIndex, since: u64) -> bool {
        Some(index) == self.own
            || self.get(index).is_some_and(|peer| peer.heard_at.is_some_and(|heard_at| heard_at >= since))
    }

    /// The power of those heard from since `since`.
    pub(crate) fn power_heard_since(&self, set: &ValidatorSet, since: u64) -> Power {
        let heard = set.indices().filter(|index| self.is_heard_since(*index, since));
        let powers = heard.filter_map(|index| set.get(index).map(|validator| validator.power.0));
        Power(powers.fold(0, u64::saturating_add))
    }

    /// The connected validator that was seen in the highest view.
    pub(crate) fn furthest(&self) -> Option<(ValidatorIndex, View)> {
        self.connected().map(|(index, peer)| (index, peer.seen)).max_by_key(|(_, seen)| *seen)
    }
}
