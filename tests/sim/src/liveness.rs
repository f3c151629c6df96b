//! How long it may take until everybody goes on once the faults have stopped.
//!
//! From then on every message between honest nodes arrives within d, the calm delay; w is what a node's own work adds to a
//! view. Let B be the power of those that stay down, are villains, or lost their vote record, G the rest, F the largest back-off factor of any node
//! at that moment. A bound follows from the rules alone:
//!
//! 1. *Meeting.* Whoever is in a lower view is helped into the highest one within two retry intervals and a round trip,
//!    since nullify and finalize votes are repeated (R10, R18) and answered with certificates.
//! 2. *Views under way*: two, the one that the highest node is in and one that the others were not all in, each given up
//!    at the latest at the certify deadline times F.
//! 3. *A row of bad leaders* has at most B views. Each costs the wait for work, the certify deadline times the factor, a
//!    retry interval and a delay; the factor doubles after every second one, up to 64. The first row begins with F, the
//!    later ones with 1, as a block was final in between. Of W turns at least G belong to good leaders, so there are at
//!    most 1 + blocks / G rows; where epochs end, at most one row for each block, as each epoch has turns of its own.
//! 4. *A good view* takes the wait for work and four delays. If the deadlines are shorter than that, two views are lost to
//!    each doubling until they are long enough, before each block.
//! 5. *Block sync* of those far behind: peers that failed in the storm are left out for at most twice as long as it
//!    lasted; each villain can cost a request time-out and its back-off, the honest ones answer within a status interval.
//! 6. *A node that joins* looks for snapshots for at most its patience, gives one up that nobody has, and waits for some
//!    lost answers; then comes block sync.
//! 7. *Clocks*: the last block may carry a time ahead of the clocks, and proposals wait for them (R5).

use crate::plan::{FaultKind, Plan};

/// The largest back-off factor.
const FACTOR_MAX: u64 = 64;

/// The most that clocks are off once the faults have stopped, in milliseconds.
pub const CALM_SKEW_MS_MAX: i64 = 500;

/// The most that clocks are ever off, in milliseconds.
pub const SKEW_MS_MAX: i64 = 8_000;

/// How far a block may be ahead of a verifier's clock, in milliseconds.
const AHEAD_MS_MAX: u64 = 2_000;

/// Block sync as `cairn_sync::SyncConfig` has it by default, in milliseconds.
const SYNC_REQUEST_MS: u64 = 5_000;
const SYNC_STATUS_MS: u64 = 10_000;

/// Snapshot sync as `cairn_sync::SnapshotConfig` has it by default, in milliseconds: patience, a snapshot given up, and
/// answers that do not come.
const JOIN_MS: u64 = 60_000 + 15_000 + 3 * 14_000;

/// Streams that come up late, in milliseconds.
const STREAMS_MS: u64 = 500;

/// The time in milliseconds, after the faults have stopped, by which all that can must have gone on; `factor` is the
/// largest back-off factor at that moment.
#[must_use]
pub fn bound_ms(plan: &Plan, factor: u64) -> u64 {
    let (times, delay) = (&plan.times, plan.calm.delay_ms_max);
    let (bad, good) = plan.extreme_powers();
    // Build, verify, execute, certify, commit, and the writes between them.
    let work = 8 * (plan.ledger_ms_max + plan.write_ms_max + 1);
    let wait = times.idle_block_interval_ms + times.block_interval_ms;
    let lost_view = |factor: u64| wait + times.certify_timeout_ms * factor + times.retry_ms + delay + work;
    let row = |first: u64| -> u64 {
        let factors = (0..bad).map(|place| first.saturating_mul(1 << (place / 2).min(6)).min(FACTOR_MAX));
        factors.map(lost_view).sum()
    };
    let meeting = STREAMS_MS + 2 * times.retry_ms + 2 * delay + work;
    let blocks = u64::from(plan.goal_blocks) + 2;
    let mut short_views = 0;
    let mut enough = 1;
    while enough < FACTOR_MAX && times.leader_timeout_ms * enough < 4 * delay + work {
        short_views += 2 * lost_view(enough);
        enough *= 2;
    }
    // Each epoch shuffles the leaders anew.
    let rows = if plan.epoch_blocks == 0 { blocks.div_ceil(good.max(1)) } else { blocks };
    let views = 2 * lost_view(factor) + row(factor) + rows * row(1) + blocks * (wait + 4 * delay + work);
    let villains = plan.villains.len() as u64;
    let sync = 2 * plan.storm_ms + SYNC_STATUS_MS + (villains + 2) * 2 * SYNC_REQUEST_MS;
    let jumps = plan.faults.iter().any(|fault| matches!(fault.kind, FaultKind::ClockJump { .. }));
    let clocks = if jumps { SKEW_MS_MAX.unsigned_abs() + CALM_SKEW_MS_MAX.unsigned_abs() + AHEAD_MS_MAX } else { 0 };
    let join = if plan.joins_ms.is_some() { JOIN_MS } else { 0 };
    meeting + views + blocks * short_views + sync + join + clocks
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
        assert!(bound_ms(&plan, 1) < bound_ms(&slow, 1));
        assert!(bound_ms(&plan, 1) < bound_ms(&broken, 1));
        assert!(bound_ms(&plan, 1) < bound_ms(&plan, 64));
    }
}
