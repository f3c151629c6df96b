//! How long it may take until everybody goes on once the faults have stopped.
//!
//! From then on every message between honest nodes arrives within d, the calm delay. A bound follows from the rules alone:
//!
//! 1. *Meeting.* Whoever is in a lower view is helped into the highest one within a retry interval and a round trip, since
//!    nullify votes and finalize votes are repeated (R10, R18) and answered with certificates.
//! 2. *A view with an honest leader that all are in* is final after at most the idle interval and four delays, if the
//!    deadlines allow that; the back-off doubles them every second nullified view, so at most 2 · 7 views are lost to
//!    deadlines that are too short.
//! 3. *A view with a leader that is down or a villain* costs at most the idle interval and the certify deadline times the
//!    back-off factor, then a retry interval and a delay. Of W turns the bad leaders have as many as they have power.
//! 4. The factor is at most 64, and at most what it can have grown to while the faults lasted and in the views since: to
//!    reach a factor F takes 2 · (1 + 2 + … + F/2) deadlines, so F <= 2 + storm / leader time-out.
//! 5. *Block sync* of those far behind: peers that failed in the storm are left out for at most twice as long as it
//!    lasted; each villain can cost a request time-out and then its back-off, the honest ones answer within a status
//!    interval.
//! 6. *Clocks* are within bounds, but the last block may carry a time ahead of them: proposals wait for the clocks (R5).

use crate::plan::Plan;

/// The largest back-off factor.
const FACTOR_MAX: u64 = 64;

/// Views that deadlines which are too short can cost: two a doubling, up to 64.
const SHORT_VIEWS: u64 = 14;

/// The most that clocks are off once the faults have stopped, in milliseconds.
pub const CALM_SKEW_MS_MAX: i64 = 500;

/// The most that clocks are ever off, in milliseconds.
pub const SKEW_MS_MAX: i64 = 8_000;

/// How far a block may be ahead of a verifier's clock, in milliseconds.
const AHEAD_MS_MAX: u64 = 2_000;

/// Block sync as `cairn_sync::SyncConfig` has it by default, in milliseconds.
const SYNC_REQUEST_MS: u64 = 5_000;
const SYNC_STATUS_MS: u64 = 10_000;

/// The time in milliseconds, after the faults have stopped, by which all that can must have gone on.
#[must_use]
pub fn bound_ms(plan: &Plan) -> u64 {
    let (times, delay) = (&plan.times, plan.calm.delay_ms_max);
    let bad: u64 = (0..plan.powers.len())
        .filter(|at| plan.villain_of(*at).is_some() || plan.broken.contains(at))
        .map(|at| plan.powers[at])
        .sum();
    let good = plan.total_power() - bad;
    // Work in one view: build, verify, execute, certify, commit, and the writes between them.
    let work = 8 * (plan.ledger_ms_max + plan.write_ms_max + 1);
    let meeting = 2 * times.retry_ms + 2 * delay + work;
    let factor = FACTOR_MAX.min(2 + plan.storm_ms / times.leader_timeout_ms).next_power_of_two().min(FACTOR_MAX);
    let wanted = u64::from(plan.goal_blocks) + 2;
    let rounds = wanted.div_ceil(good) + 1;
    let bad_views = bad * rounds;
    let good_view = times.idle_block_interval_ms + times.block_interval_ms + 4 * delay + work;
    // Bad views in a row may double the factor further, until a block is final.
    let in_a_row = u32::try_from(bad.min(12)).unwrap_or(12) / 2 + 1;
    let worst_factor = factor.saturating_mul(1 << in_a_row).min(FACTOR_MAX);
    let bad_view = times.idle_block_interval_ms
        + times.block_interval_ms
        + times.certify_timeout_ms * worst_factor
        + times.retry_ms
        + delay
        + work;
    let views = meeting + wanted * good_view + (bad_views + SHORT_VIEWS) * bad_view;
    let villains = plan.villains.len() as u64;
    let sync = 2 * plan.storm_ms + SYNC_STATUS_MS + (villains + 2) * 2 * SYNC_REQUEST_MS;
    let clocks = SKEW_MS_MAX.unsigned_abs() + CALM_SKEW_MS_MAX.unsigned_abs() + AHEAD_MS_MAX;
    views + sync + clocks
}

#[cfg(test)]
mod tests {
    use super::bound_ms;
    use crate::plan::Plan;

    #[test]
    fn bound_grows_with_delay_and_with_what_stays_broken() {
        let plan = Plan::quiet(4);
        let mut slow = plan.clone();
        slow.calm.delay_ms_max += 100;
        let mut broken = plan.clone();
        broken.broken = vec![0];
        assert!(bound_ms(&plan) < bound_ms(&slow));
        assert!(bound_ms(&plan) < bound_ms(&broken));
    }
}
