//! What the swarm task does later: one due time for each thing, one sleep for all.

use libp2p::PeerId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Something to do at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Look for peers.
    Discover,
    /// Tell others this validator's authority record.
    Publish,
    /// Look for the authority records of validators without a link.
    Search,
    /// Dial a peer.
    Dial(PeerId),
    /// Open the consensus streams with a peer.
    OpenLink(PeerId),
    /// End a peer's ban.
    Unban(PeerId),
}

/// The due times, one for each timer.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeMap<Timer, Instant>,
    order: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    /// Sets a timer, instead of the time it had.
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.cancel(timer);
        self.due.insert(timer, at);
        self.order.insert((at, timer));
    }

    /// Sets a timer unless it is set already.
    pub(crate) fn set_if_unset(&mut self, timer: Timer, at: Instant) {
        if !self.due.contains_key(&timer) {
            self.set(timer, at);
        }
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.due.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    /// When a timer is due, if it is set.
    pub(crate) fn due(&self, timer: Timer) -> Option<Instant> {
        self.due.get(&timer).copied()
    }

    /// When the next timer is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the next timer that is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timers_fire_in_order_and_once() {
        let (mut timers, now) = (Timers::default(), Instant::now());
        let peer = PeerId::random();
        timers.set(Timer::Dial(peer), now + Duration::from_secs(2));
        timers.set(Timer::Discover, now + Duration::from_secs(1));
        timers.set(Timer::Dial(peer), now + Duration::from_secs(3));
        timers.set_if_unset(Timer::Discover, now);
        assert_eq!(timers.next(), Some(now + Duration::from_secs(1)));
        assert_eq!(timers.pop(now), None);
        let later = now + Duration::from_secs(9);
        assert_eq!(timers.pop(later), Some(Timer::Discover));
        assert_eq!(timers.pop(later), Some(Timer::Dial(peer)));
        assert_eq!(timers.pop(later), None);
    }
}
