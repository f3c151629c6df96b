//! Random runs over epochs: every seed draws its own sets, weather, crashes and partitions; then the faults stop, and
//! finality must go on through more epochs. Other runs take the record of votes, the database or both back to what they
//! were before: nothing may become unsafe by it, though it may cost the chain its quorum.

use super::epochs_ledger::Script;
use super::epochs_network::Network;
use super::fixture::Dice;
use super::network::Weather;

/// How long faults last, in virtual milliseconds.
const STORM_MS: u64 = 4_000;

/// How soon all nodes must finalize new blocks once faults stop: some views at the largest factor.
const CALM_MS: u64 = 60_000;

/// Keys of the script; the last node holds two of them.
const KEYS: usize = 9;

/// Sets drawn at random: some overlap, some are disjoint, one validator in four has more power than the others.
fn script(dice: &mut Dice, size_min: usize) -> Script {
    let sets = (0..30).map(|_| {
        let mut keys: Vec<_> = (0..KEYS).collect();
        let size = size_min + usize::try_from(dice.below(5)).unwrap();
        while keys.len() > size {
            keys.remove(usize::try_from(dice.below(keys.len() as u64)).unwrap());
        }
        // One machine does not vote twice.
        if keys.contains(&(KEYS - 2)) {
            keys.retain(|key| *key != KEYS - 1);
        }
        keys.into_iter().map(|key| (key, if dice.percent(25) { 2 } else { 1 })).collect()
    });
    let sets: Vec<_> = sets.collect();
    let length = 1 + u32::try_from(dice.below(6)).unwrap();
    Script::with_powers(length, &sets)
}

/// What happens to disks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disks {
    Sound,
    /// One node comes back with an old database, without the record of its votes, or both.
    Restored,
}

/// What a run went through.
#[derive(Default)]
struct Tale {
    epochs: u64,
    handed_over: usize,
    ended_silences: usize,
}

fn network(seed: u64, dice: &mut Dice, script: Script) -> Network {
    let weather = Weather {
        delay_min: 1,
        delay_max: 2 + dice.below(60),
        loss_percent: dice.below(4) * 10,
        duplicate_percent: dice.below(2) * 10,
        ledger_max: dice.below(30),
    };
    let single: Vec<_> = (0..KEYS - 2).map(|key| vec![key]).chain([vec![KEYS - 2, KEYS - 1]]).collect();
    let keys: Vec<_> = single.iter().map(Vec::as_slice).collect();
    let mut network = Network::new(script, &keys, seed, weather);
    network.timing.block_interval_ms = 20 + dice.below(2) * 40;
    network.members_poll_ms = Some(700);
    network.start_all();
    network
}

fn run(seed: u64, disks: Disks) -> Tale {
    let mut dice = Dice::new(seed ^ 0xE90C);
    let script = script(&mut dice, if disks == Disks::Sound { 1 } else { 4 });
    let length = script.schedule.length();
    let mut network = network(seed, &mut dice, script);
    let victim = usize::try_from(dice.below(network.nodes.len() as u64)).unwrap();
    let victim = Some(victim).filter(|_| disks == Disks::Restored);
    storm(&mut network, &mut dice, victim);
    network.weather = Weather { delay_min: 1, delay_max: 20, loss_percent: 0, duplicate_percent: 0, ledger_max: 5 };
    network.nodes.iter_mut().for_each(|node| node.is_doomed = false);
    network.start_all();
    network.set_groups(&vec![0; network.nodes.len()]);
    match disks {
        Disks::Sound => network.assert_goes_on(2 * length + 1, CALM_MS),
        Disks::Restored => network.run_for(3_000),
    }
    let speaks_again = victim.filter(|at| {
        let guard = network.consensus(*at).guard();
        network.nodes[*at].is_record_lost && guard.is_some_and(|guard| guard.silence().is_none())
    });
    Tale {
        epochs: network.up().map(|at| network.epoch(at).0).max().unwrap(),
        handed_over: network.handed_over.len(),
        ended_silences: usize::from(speaks_again.is_some()),
    }
}

fn storm(network: &mut Network, dice: &mut Dice, victim: Option<usize>) {
    let mut old = network.nodes[victim.unwrap_or(0)].disk.clone();
    while network.time < STORM_MS {
        network.run_for(20 + dice.below(300));
        let at = usize::try_from(dice.below(network.nodes.len() as u64)).unwrap();
        if let Some(victim) = victim.filter(|_| dice.percent(20)) {
            match dice.below(4) {
                0 => old = network.nodes[victim].disk.clone(),
                1 if !network.is_up(victim) => network.restore_database(victim, &old),
                2 if !network.is_up(victim) => network.lose_record(victim),
                _ if network.is_up(victim) => network.crash(victim),
                _ => network.start(victim),
            }
        }
        match dice.below(6) {
            0 if network.is_up(at) => network.crash(at),
            1 if network.is_up(at) => network.nodes[at].is_doomed = true,
            0..=3 if !network.is_up(at) => network.start(at),
            4 => {
                let groups: Vec<_> = network.nodes.iter().map(|_| dice.below(2)).collect();
                network.set_groups(&groups);
            }
            5 => network.set_groups(&vec![0; network.nodes.len()]),
            _ => {}
        }
    }
}

fn run_all(seeds: std::ops::Range<u64>, disks: Disks) -> Tale {
    let mut all = Tale::default();
    for seed in seeds {
        let result = std::panic::catch_unwind(|| run(seed, disks));
        let Ok(tale) = result else { panic!("seed {seed}") };
        all.epochs += tale.epochs;
        all.handed_over += tale.handed_over;
        all.ended_silences += tale.ended_silences;
    }
    println!("{} epochs, {} hand-overs, {} silences ended", all.epochs, all.handed_over, all.ended_silences);
    all
}

#[test]
fn network_over_epochs_random_faults_and_sets_stays_safe_and_recovers() {
    let tale = run_all(0..100, Disks::Sound);
    assert!(tale.epochs > 400 && tale.handed_over > 300, "the runs are worth something");
}

#[test]
fn network_over_epochs_old_databases_and_lost_records_stay_safe() {
    let tale = run_all(0..60, Disks::Restored);
    assert!(tale.epochs > 500 && tale.ended_silences > 5, "the runs are worth something");
}
