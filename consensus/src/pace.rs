//! When a view's deadlines run out.

use crate::config::Timing;
use cairn_primitives::TimestampMs;

/// The largest factor on time-outs.
const FACTOR_MAX: u64 = 64;

/// Timestamps count milliseconds and rise with every block: faster blocks would run ahead of the clock.
const INTERVAL_MS_MIN: u64 = 1;

/// Views without a block that double the factor.
const VIEWS_PER_DOUBLING: u32 = 2;

/// Scales time-outs while views go by without finalization, so that the chain lives on when real delays exceed the
/// configured ones.
///
/// Nullified views are counted from the last finalization: a view that was certified in between says nothing, since
/// without a finalization the time-outs are still too short for somebody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    nullified: u32,
    factor: u64,
}

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self { nullified: 0, factor: 1 }
    }

    /// The factor, 1 to [`FACTOR_MAX`].
    pub(crate) const fn factor(&self) -> u64 {
        self.factor
    }

    /// A view was left by a nullification.
    pub(crate) fn on_nullified(&mut self) {
        self.nullified = self.nullified.saturating_add(1);
        if self.nullified.checked_rem(VIEWS_PER_DOUBLING) == Some(0) {
            self.factor = self.factor.saturating_mul(2).min(FACTOR_MAX);
        }
    }

    /// A block was finalized.
    pub(crate) const fn on_finalized(&mut self) {
        *self = Self::new();
    }
}

/// The clocks of the current view; all times are monotonic milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    /// When a leader that holds work may propose.
    pub(crate) busy_at: u64,
    /// When a leader without work proposes.
    pub(crate) idle_at: u64,
    /// When the first proposal, or votes that not only malicious validators cast, showed that the view is under way.
    pub(crate) active_at: Option<u64>,
}

impl Clocks {
    /// Clocks of a view entered at `now` by someone whose wall clock shows `wall`, to build on a block of `parent`'s time.
    ///
    /// However the wall clock jumps, no wait exceeds its interval.
    pub(crate) fn new(now: u64, wall: TimestampMs, parent: Option<TimestampMs>, timing: &Timing) -> Self {
        let elapsed = parent.map_or(u64::MAX, |parent| wall.0.saturating_sub(parent.0));
        let after = |interval: u64| now.saturating_add(interval.max(INTERVAL_MS_MIN).saturating_sub(elapsed));
        Self {
            busy_at: after(timing.block_interval_ms),
            idle_at: after(timing.idle_block_interval_ms),
            active_at: None,
        }
    }

    /// Clocks of a view entered at `now` in which the closing block of the epoch is to be proposed again: by then most
    /// often its finalization has come, and nothing needs to be sent.
    pub(crate) fn at_closing(now: u64, timing: &Timing) -> Self {
        let at = now.saturating_add(timing.leader_timeout_ms.checked_div(2).unwrap_or(0));
        Self { busy_at: at, idle_at: at, active_at: None }
    }

    /// Waits no longer than `other` does.
    pub(crate) fn hasten(&mut self, other: Self) {
        self.idle_at = self.idle_at.min(other.idle_at);
        self.busy_at = self.busy_at.min(self.idle_at);
    }

    /// When the leader is to propose, given since when it holds work.
    pub(crate) const fn propose_at(&self, work_since: Option<u64>) -> u64 {
        match work_since {
            Some(_) => self.busy_at,
            None => self.idle_at,
        }
    }

    /// What the deadlines count from: the later of view entry with the block interval over, and the moment there was
    /// something to wait for.
    pub(crate) fn base(&self, work_since: Option<u64>) -> u64 {
        let awaited = [work_since, self.active_at].into_iter().flatten().fold(self.idle_at, u64::min);
        self.busy_at.max(awaited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing {
        leader_timeout_ms: 1000,
        certify_timeout_ms: 2000,
        retry_ms: 500,
        skip_timeout_ms: 5000,
        block_interval_ms: 100,
        idle_block_interval_ms: 1000,
    };

    #[test]
    fn backoff_doubles_after_every_second_nullified_view_up_to_64() {
        let mut backoff = Backoff::new();
        let mut factors = Vec::new();
        for _ in 0..16 {
            backoff.on_nullified();
            factors.push(backoff.factor());
        }
        assert_eq!(factors, [1, 2, 2, 4, 4, 8, 8, 16, 16, 32, 32, 64, 64, 64, 64, 64]);
        backoff.on_finalized();
        assert_eq!(backoff.factor(), 1);
        backoff.on_nullified();
        assert_eq!(backoff.factor(), 1, "the count starts again as well");
    }

    #[test]
    fn clocks_count_intervals_from_the_parents_timestamp() {
        let clocks = Clocks::new(50, TimestampMs(10_030), Some(TimestampMs(10_000)), &TIMING);
        assert_eq!((clocks.busy_at, clocks.idle_at), (120, 1020));
        assert_eq!(clocks.propose_at(Some(0)), 120);
        assert_eq!(clocks.propose_at(None), 1020);
    }

    #[test]
    fn clocks_wall_clock_jump_never_waits_longer_than_the_interval() {
        let backwards = Clocks::new(50, TimestampMs(1), Some(TimestampMs(10_000_000)), &TIMING);
        assert_eq!((backwards.busy_at, backwards.idle_at), (150, 1050));
        let forwards = Clocks::new(50, TimestampMs(u64::MAX), Some(TimestampMs(10_000)), &TIMING);
        assert_eq!((forwards.busy_at, forwards.idle_at), (50, 50));
    }

    #[test]
    fn clocks_base_is_the_first_moment_there_is_something_to_wait_for() {
        let mut clocks = Clocks { busy_at: 100, idle_at: 1000, active_at: None };
        assert_eq!(clocks.base(None), 1000);
        assert_eq!(clocks.base(Some(400)), 400);
        assert_eq!(clocks.base(Some(10)), 100);
        clocks.active_at = Some(300);
        assert_eq!(clocks.base(Some(400)), 300);
    }
}
