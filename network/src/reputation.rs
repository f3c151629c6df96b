//! What peers have done wrong, how it fades, and who is banned.
//!
//! A score is 0 at best and halves its distance to 0 every ten minutes. At -100 the peer is banned; each further ban
//! within a day of the last lasts twice as long. Time is an argument, so that the rules are tested without waiting.

use crate::event::{BanStatus, Offence};
use libp2p::PeerId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A score here or below means a ban.
const BANNED_AT: f64 = -100.0;

/// The time in which a score halves.
const HALF_LIFE: Duration = Duration::from_mins(10);

/// The longest ban.
const BAN_MAX: Duration = Duration::from_hours(24);

/// After so long without a ban the next one is a first one again.
const BANS_FORGOTTEN_AFTER: Duration = Duration::from_hours(24);

/// Peers that are remembered; beyond it those with the best score are forgotten.
const PEERS_MAX: usize = 4096;

impl Offence {
    const fn cost(self) -> f64 {
        match self {
            // Two are enough, though the first fades a little before the second comes.
            Self::Malformed => 60.0,
            Self::Invalid => 34.0,
            Self::Flooding => 10.0,
            Self::Useless => 5.0,
            Self::Slow => 2.0,
        }
    }
}

#[derive(Clone, Debug)]
struct Ban {
    reason: Offence,
    until: Instant,
}

#[derive(Clone, Debug)]
struct Record {
    score: f64,
    at: Instant,
    /// The last offence.
    last: Offence,
    bans: u32,
    ban: Option<Ban>,
}

impl Record {
    fn score(&self, now: Instant) -> f64 {
        let halvings = now.saturating_duration_since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.score * 0.5_f64.powf(halvings)
    }

    fn is_worth_keeping(&self, now: Instant) -> bool {
        let recent = self.bans > 0 && now.saturating_duration_since(self.at) < BANS_FORGOTTEN_AFTER;
        self.ban.is_some() || recent || self.score(now) < -1.0
    }
}

/// The reputations of all peers.
#[derive(Debug)]
pub(crate) struct Reputation {
    ban_first: Duration,
    peers: BTreeMap<PeerId, Record>,
}

impl Reputation {
    pub(crate) const fn new(ban_first: Duration) -> Self {
        Self { ban_first, peers: BTreeMap::new() }
    }

    /// Counts an offence; returns how long the peer is banned for, if it now is.
    pub(crate) fn report(&mut self, peer: PeerId, offence: Offence, now: Instant) -> Option<Duration> {
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&peer) {
            self.make_room(now);
        }
        let fresh = Record { score: 0.0, at: now, last: offence, bans: 0, ban: None };
        let record = self.peers.entry(peer).or_insert(fresh);
        if now.saturating_duration_since(record.at) >= BANS_FORGOTTEN_AFTER {
            record.bans = 0;
        }
        record.score = record.score(now) - offence.cost();
        record.at = now;
        record.last = offence;
        if record.score > BANNED_AT || record.ban.is_some() {
            return None;
        }
        let factor = 2_u32.saturating_pow(record.bans.min(16));
        let duration = self.ban_first.saturating_mul(factor).min(BAN_MAX);
        record.bans = record.bans.saturating_add(1);
        record.ban = Some(Ban { reason: offence, until: now + duration });
        Some(duration)
    }

    /// Takes a ban over from an earlier run; returns when it ends, or `None` if there are too many.
    pub(crate) fn restore(&mut self, ban: &BanStatus, now: Instant) -> Option<Instant> {
        if self.peers.len() >= PEERS_MAX {
            return None;
        }
        let until = now + ban.remaining.min(BAN_MAX);
        let reason = ban.reason;
        let record = Record {
            score: BANNED_AT,
            at: now,
            last: reason,
            bans: ban.count.max(1),
            ban: Some(Ban { reason, until }),
        };
        self.peers.insert(ban.peer, record);
        Some(until)
    }

    /// Ends a ban; the peer starts again at 0.
    pub(crate) fn unban(&mut self, peer: &PeerId, now: Instant) {
        if let Some(record) = self.peers.get_mut(peer) {
            record.ban = None;
            record.score = 0.0;
            record.at = now;
        }
    }

    pub(crate) fn is_banned(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|record| record.ban.is_some())
    }

    /// The peer's score, from 0 down.
    pub(crate) fn score(&self, peer: &PeerId, now: Instant) -> f64 {
        self.peers.get(peer).map_or(0.0, |record| record.score(now))
    }

    /// The peer's last offence, as far as it is remembered.
    pub(crate) fn last_offence(&self, peer: &PeerId) -> Option<Offence> {
        self.peers.get(peer).map(|record| record.last)
    }

    /// Who is banned.
    pub(crate) fn bans(&self, now: Instant) -> Vec<BanStatus> {
        let status = |(peer, record): (&PeerId, &Record)| {
            let ban = record.ban.as_ref()?;
            let remaining = ban.until.saturating_duration_since(now);
            Some(BanStatus { peer: *peer, reason: ban.reason, remaining, count: record.bans })
        };
        self.peers.iter().filter_map(status).collect()
    }

    fn make_room(&mut self, now: Instant) {
        self.peers.retain(|_, record| record.is_worth_keeping(now));
        if self.peers.len() < PEERS_MAX {
            return;
        }
        let best = self
            .peers
            .iter()
            .filter(|(_, record)| record.ban.is_none())
            .max_by(|(_, a), (_, b)| a.score(now).total_cmp(&b.score(now)))
            .or_else(|| self.peers.first_key_value())
            .map(|(peer, _)| *peer);
        if let Some(best) = best {
            self.peers.remove(&best);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_mins(1);

    #[test]
    fn offences_add_up_to_a_ban() {
        let (mut reputation, peer, now) = (Reputation::new(FIRST), PeerId::random(), Instant::now());
        assert_eq!(reputation.report(peer, Offence::Malformed, now), None);
        assert_eq!(reputation.report(peer, Offence::Malformed, now), Some(FIRST));
        assert!(reputation.is_banned(&peer));
        assert_eq!(reputation.bans(now)[0].reason, Offence::Malformed);
    }

    #[test]
    fn offences_far_apart_are_forgiven() {
        let (mut reputation, peer, mut now) = (Reputation::new(FIRST), PeerId::random(), Instant::now());
        for _ in 0..20 {
            assert_eq!(reputation.report(peer, Offence::Malformed, now), None);
            now += 2 * HALF_LIFE;
        }
        assert!(reputation.score(&peer, now) > -20.0);
    }

    #[test]
    fn two_malformed_messages_are_enough_though_the_first_fades() {
        let (mut reputation, peer, now) = (Reputation::new(FIRST), PeerId::random(), Instant::now());
        assert_eq!(reputation.report(peer, Offence::Malformed, now), None);
        let later = now + Duration::from_mins(1);
        assert_eq!(reputation.report(peer, Offence::Malformed, later), Some(FIRST));
    }

    #[test]
    fn bans_grow_and_are_forgotten_after_a_day() {
        let (mut reputation, peer, mut now) = (Reputation::new(FIRST), PeerId::random(), Instant::now());
        for factor in [1, 2, 4] {
            reputation.report(peer, Offence::Malformed, now);
            assert_eq!(reputation.report(peer, Offence::Malformed, now), Some(FIRST * factor));
            assert_eq!(reputation.report(peer, Offence::Malformed, now), None, "already banned");
            now += FIRST * factor;
            reputation.unban(&peer, now);
            assert!(!reputation.is_banned(&peer));
        }
        now += BANS_FORGOTTEN_AFTER;
        reputation.report(peer, Offence::Malformed, now);
        assert_eq!(reputation.report(peer, Offence::Malformed, now), Some(FIRST));
    }

    #[test]
    fn ban_taken_over_from_an_earlier_run_counts_like_one_of_this_run() {
        let (mut before, peer, now) = (Reputation::new(FIRST), PeerId::random(), Instant::now());
        before.report(peer, Offence::Malformed, now);
        before.report(peer, Offence::Malformed, now);
        let mut after = Reputation::new(FIRST);
        let kept = before.bans(now + FIRST / 2);
        assert_eq!(after.restore(&kept[0], now), Some(now + FIRST / 2));
        assert!(after.is_banned(&peer));
        assert_eq!((after.last_offence(&peer), after.bans(now)[0].count), (Some(Offence::Malformed), 1));
        after.unban(&peer, now);
        after.report(peer, Offence::Malformed, now);
        assert_eq!(after.report(peer, Offence::Malformed, now), Some(2 * FIRST), "the second ban lasts twice as long");
    }

    #[test]
    fn reputations_stay_bounded_and_keep_bans() {
        let (mut reputation, banned, now) = (Reputation::new(FIRST), PeerId::random(), Instant::now());
        reputation.report(banned, Offence::Malformed, now);
        reputation.report(banned, Offence::Malformed, now);
        for _ in 0..PEERS_MAX + 10 {
            reputation.report(PeerId::random(), Offence::Useless, now);
        }
        assert!(reputation.peers.len() <= PEERS_MAX);
        assert!(reputation.is_banned(&banned));
    }
}
