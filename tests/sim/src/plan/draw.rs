//! How a seed becomes a plan.
//!
//! Small networks are common and large ones rare, since most faults need few machines and a run should cost a tenth of a
//! second. Each kind of trouble is absent from a good part of the seeds, so that the rest is seen alone, too.

use super::{Fault, FaultKind, Load, Machine, Plan, PowerChange, Times, Weather};
use crate::disk::WriteFault;
use crate::rng::Rng;
use crate::villain::Kind;

/// The most validators that a run has, newcomers included.
const VALIDATORS_MAX: usize = 13;

/// The most that a clock is off or jumps, in milliseconds.
const CLOCK_JUMP_MS_MAX: u64 = 4_000;

pub(super) fn draw(seed: u64) -> Plan {
    let mut rng = Rng::new(seed, "plan");
    let powers = draw_powers(&mut rng);
    let storm = draw_storm(&mut rng);
    let times = draw_times(&mut rng, &storm, powers.len());
    let mut plan = Plan {
        seed,
        observers: usize::from(rng.percent(30)),
        joins_ms: None,
        times,
        storm,
        calm: draw_calm(&mut rng, &storm),
        storm_ms: draw_storm_ms(&mut rng, &storm, &times),
        ledger_ms_max: rng.below(3) * rng.below(15),
        write_ms_max: rng.below(3) * rng.below(15),
        load: draw_load(&mut rng),
        epoch_blocks: 0,
        changes: Vec::new(),
        villains: Vec::new(),
        faults: Vec::new(),
        broken: Vec::new(),
        rules: Vec::new(),
        goal_blocks: u32::try_from(rng.between(2, 5)).expect("a small number"),
        powers,
    };
    let mut left = draw_villains(&mut rng, &mut plan);
    let forgetful = draw_forgetful(&mut rng, &plan, &mut left);
    if rng.percent(40) {
        let mut order = honest(&plan);
        rng.shuffle(&mut order);
        for at in order {
            if !forgetful.contains(&at) && plan.powers[at] <= left {
                left -= plan.powers[at];
                plan.broken.push(at);
            }
        }
    }
    if rng.percent(80) {
        plan.faults = draw_faults(&mut rng, &plan);
    }
    for machine in forgetful {
        for _ in 0..rng.between(1, 2) {
            let kind = FaultKind::LoseRecord { machine, down_ms: draw_down_ms(&mut rng) };
            plan.faults.push(Fault { at_ms: rng.below(plan.storm_ms), kind });
        }
    }
    plan.faults.sort_by_key(|fault| fault.at_ms);
    if rng.percent(50) {
        draw_epochs(&mut rng, &mut plan);
    }
    draw_joiner(&mut Rng::new(seed, "joiner"), &mut plan);
    plan
}

/// A node that joins while things go wrong, with it, too. It has dice of its own and comes last: all else is drawn as without it.
fn draw_joiner(rng: &mut Rng, plan: &mut Plan) {
    if !rng.percent(25) {
        return;
    }
    plan.joins_ms = Some(rng.below(plan.storm_ms));
    let machine = plan.joiner().expect("it was just drawn");
    for _ in 0..rng.below(4) {
        let kind = match rng.below(4) {
            0 => FaultKind::PowerLoss { machine, down_ms: draw_down_ms(rng) },
            1 => FaultKind::Kill { machine, down_ms: draw_down_ms(rng) },
            2 => draw_write(rng, machine),
            _ => FaultKind::Pause { machine, for_ms: rng.between(20, 2_000) },
        };
        plan.faults.push(Fault { at_ms: rng.below(plan.storm_ms), kind });
    }
    plan.faults.sort_by_key(|fault| fault.at_ms);
}

/// Short epochs, and validators that come, go and change their power, as long as the others keep two thirds throughout.
fn draw_epochs(rng: &mut Rng, plan: &mut Plan) {
    plan.epoch_blocks = u32::try_from(rng.between(1, 12)).expect("a small number");
    let newcomers = if rng.percent(50) { rng.between(1, 3) } else { 0 };
    let has_twins = plan.twins().next().is_some();
    for _ in 0..newcomers {
        // A newcomer is a machine of its own; numbers of machines that others name must not change.
        if plan.powers.len() < VALIDATORS_MAX && plan.observers == 0 && !has_twins {
            plan.powers.push(0);
        }
    }
    for _ in 0..rng.below(6) {
        let validator = rng.index(plan.powers.len());
        let power = if rng.percent(30) { 0 } else { rng.between(1, 5) };
        let at_ms = rng.below(plan.storm_ms);
        plan.changes.push(PowerChange { at_ms, validator, power });
        if !plan.is_tolerable() {
            plan.changes.pop();
        }
    }
    plan.changes.sort_by_key(|change| change.at_ms);
}

fn honest(plan: &Plan) -> Vec<usize> {
    (0..plan.powers.len()).filter(|at| plan.villain_of(*at).is_none()).collect()
}

/// Validators that lose the record of their votes, as far as power that may break is left.
fn draw_forgetful(rng: &mut Rng, plan: &Plan, left: &mut u64) -> Vec<usize> {
    let mut forgetful = Vec::new();
    if rng.percent(20) {
        let mut order = honest(plan);
        rng.shuffle(&mut order);
        for at in order.into_iter().take(2) {
            if plan.powers[at] <= *left {
                *left -= plan.powers[at];
                forgetful.push(at);
            }
        }
    }
    forgetful
}

fn draw_powers(rng: &mut Rng) -> Vec<u64> {
    let validators = match rng.below(100) {
        0..4 => 1,
        4..8 => 2,
        8..14 => 3,
        14..62 => 4,
        62..90 => rng.between(5, 7),
        _ => rng.between(8, 13),
    };
    let is_equal = rng.percent(50);
    (0..validators).map(|_| if is_equal { 1 } else { rng.between(1, 5) }).collect()
}

fn draw_storm(rng: &mut Rng) -> Weather {
    let delay_ms_min = rng.between(1, 40);
    Weather {
        delay_ms_min,
        delay_ms_max: delay_ms_min + rng.below(100),
        loss_percent: if rng.percent(60) { 0 } else { rng.between(1, 30) },
        duplicate_percent: if rng.percent(60) { 0 } else { rng.between(1, 20) },
        late_percent: if rng.percent(60) { 0 } else { rng.between(1, 20) },
        late_ms_max: rng.between(50, 1_000),
    }
}

fn draw_calm(rng: &mut Rng, storm: &Weather) -> Weather {
    let delay_ms_min = rng.between(1, storm.delay_ms_min);
    Weather { delay_ms_max: rng.between(delay_ms_min, storm.delay_ms_max), ..Weather::steady(delay_ms_min) }
}

fn draw_times(rng: &mut Rng, storm: &Weather, validators: usize) -> Times {
    // Some networks are slower than their time-outs expect: only the growing deadlines save those.
    let expected_ms = if rng.percent(85) { storm.delay_ms_max } else { 1 + storm.delay_ms_max / 8 };
    let leader_timeout_ms = expected_ms * rng.between(2, 5) + rng.between(20, 200);
    let block_interval_ms = if validators == 1 || rng.percent(50) { rng.between(20, 200) } else { 0 };
    Times {
        leader_timeout_ms,
        certify_timeout_ms: leader_timeout_ms * 2 + rng.below(200),
        retry_ms: expected_ms * rng.between(2, 4) + rng.between(20, 100),
        skip_timeout_ms: rng.between(500, 4_000),
        block_interval_ms,
        idle_block_interval_ms: block_interval_ms + rng.between(50, 800),
    }
}

/// About 20 to 60 blocks, if all goes well.
fn draw_storm_ms(rng: &mut Rng, storm: &Weather, times: &Times) -> u64 {
    let block_ms = 30 + times.block_interval_ms.max((storm.delay_ms_min + storm.delay_ms_max) * 5 / 4);
    (rng.between(20, 60) * block_ms).clamp(1_500, 12_000)
}

fn draw_load(rng: &mut Rng) -> Load {
    Load {
        pause_ms_max: if rng.percent(20) { 0 } else { rng.between(20, 1_000) },
        burst_max: rng.between(1, 6),
        accounts: usize::try_from(rng.between(2, 6)).expect("a small number"),
        block_bytes_max: usize::try_from(rng.between(800, 4_000)).expect("a small number"),
    }
}

/// Villains as far as their power allows; what power may still break is returned.
fn draw_villains(rng: &mut Rng, plan: &mut Plan) -> u64 {
    let mut left = plan.tolerated_power();
    if !rng.percent(65) {
        return left;
    }
    let mut order: Vec<_> = (0..plan.powers.len()).collect();
    rng.shuffle(&mut order);
    for at in order {
        if plan.powers[at] <= left && rng.percent(80) {
            left -= plan.powers[at];
            plan.villains.push((at, *rng.pick(&Kind::ALL)));
        }
    }
    left
}

fn draw_faults(rng: &mut Rng, plan: &Plan) -> Vec<Fault> {
    let machines = plan.machines();
    let count = rng.below(1 + plan.storm_ms / 400).min(20);
    // A seed has a weakness for some kinds of faults.
    let kinds: Vec<u64> = (0..rng.between(1, 4)).map(|_| rng.below(6)).collect();
    let mut faults: Vec<_> = (0..count)
        .map(|_| {
            let machine = rng.index(machines);
            let kind = match rng.pick(&kinds) {
                0 => draw_partition(rng, machines, plan.storm_ms),
                1 => FaultKind::PowerLoss { machine, down_ms: draw_down_ms(rng) },
                2 => FaultKind::Kill { machine, down_ms: draw_down_ms(rng) },
                3 => draw_write(rng, machine),
                4 => FaultKind::Pause { machine, for_ms: rng.between(20, 2_000) },
                _ => draw_clock_jump(rng, machine),
            };
            Fault { at_ms: rng.below(plan.storm_ms), kind }
        })
        .collect();
    if rng.percent(15) {
        // Everybody at once.
        let at_ms = rng.below(plan.storm_ms);
        let is_power = rng.percent(50);
        faults.extend((0..machines).map(|machine| {
            let down_ms = draw_down_ms(rng);
            let power = FaultKind::PowerLoss { machine, down_ms };
            Fault { at_ms, kind: if is_power { power } else { FaultKind::Kill { machine, down_ms } } }
        }));
    }
    if rng.percent(30) {
        // Clocks that are off from the beginning.
        faults.extend((0..machines).map(|machine| Fault { at_ms: 0, kind: draw_clock_jump(rng, machine) }));
    }
    faults
}

fn draw_down_ms(rng: &mut Rng) -> u64 {
    if rng.percent(50) { rng.between(1, 200) } else { rng.between(200, 3_000) }
}

fn draw_partition(rng: &mut Rng, machines: usize, storm_ms: u64) -> FaultKind {
    let parts = rng.between(2, 3);
    FaultKind::Partition {
        groups: (0..machines).map(|_| u8::try_from(rng.below(parts)).expect("a small number")).collect(),
        is_one_way: rng.percent(30),
        breaks_streams: rng.percent(60),
        for_ms: rng.between(50, storm_ms / 2),
    }
}

fn draw_write(rng: &mut Rng, machine: Machine) -> FaultKind {
    const FAULTS: [WriteFault; 5] = [
        WriteFault::PowerLossBefore,
        WriteFault::PowerLossAfter,
        WriteFault::KillBefore,
        WriteFault::KillAfter,
        WriteFault::Full,
    ];
    FaultKind::Write { machine, after: rng.between(1, 12), fault: *rng.pick(&FAULTS), down_ms: draw_down_ms(rng) }
}

fn draw_clock_jump(rng: &mut Rng, machine: Machine) -> FaultKind {
    let by_ms = i64::try_from(rng.below(CLOCK_JUMP_MS_MAX)).expect("a small number");
    FaultKind::ClockJump { machine, by_ms: if rng.percent(50) { by_ms } else { -by_ms } }
}
