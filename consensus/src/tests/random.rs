//! Random runs: every seed draws its own network, weather, crashes, partitions and villains; then the faults stop for
//! all honest nodes, and finality must go on.

use super::fixture::{Dice, Fixture};
use super::network::{Network, Weather};

/// How long faults last, in virtual milliseconds.
const STORM_MS: u64 = 4_000;

/// How soon all honest nodes must finalize new blocks once faults stop: some views at the largest factor.
const CALM_MS: u64 = 60_000;

fn run(validators: usize, seed: u64) {
    let mut dice = Dice::new(seed ^ 0xC0FFEE);
    let powers: Vec<_> = (0..validators).map(|_| if dice.percent(50) { 1 } else { 1 + dice.below(3) }).collect();
    let mut fixture = Fixture::new(&powers);
    fixture.timing.block_interval_ms = if validators == 1 { 20 } else { dice.below(2) * 40 };
    let weather = Weather {
        delay_min: 1,
        delay_max: 2 + dice.below(60),
        loss_percent: dice.below(4) * 10,
        duplicate_percent: dice.below(2) * 10,
        ledger_max: dice.below(30),
    };
    let has_twin = validators > 3 && dice.percent(30);
    let mut network = Network::new(fixture, seed, weather);
    network.wrong_roots_percent = dice.below(3) * 5;
    network.scrambles_journals = dice.percent(30);
    if has_twin {
        let set = &network.fixture.set;
        let tolerated = set.total_power().0 - set.quorum().0;
        let villain = set.indices().find(|index| set.get(*index).unwrap().power.0 <= tolerated);
        villain.map(|villain| network.add(villain));
    }
    network.start_all();
    if network.nodes.len() > validators {
        let groups: Vec<_> = network.nodes.iter().map(|_| 0).collect();
        network.set_groups(&groups);
    }
    storm(&mut network, &mut dice);
    // Calm: everybody is back, messages arrive.
    network.weather = Weather { delay_min: 1, delay_max: 20, loss_percent: 0, duplicate_percent: 0, ledger_max: 5 };
    network.wrong_roots_percent = 0;
    for at in 0..network.nodes.len() {
        network.set_skew(at, 0);
        network.nodes[at].is_doomed = false;
        if !network.is_up(at) {
            network.start(at);
        }
    }
    let groups = vec![0; network.nodes.len()];
    network.set_groups(&groups);
    let goal = network.height_max() + 3;
    let until = network.time + CALM_MS;
    while network.height_min() < goal {
        assert!(network.time < until, "no finality after the storm: {}", describe(&network));
        network.run_for(50);
    }
}

fn storm(network: &mut Network, dice: &mut Dice) {
    while network.time < STORM_MS {
        network.run_for(20 + dice.below(400));
        let at = usize::try_from(dice.below(network.nodes.len() as u64)).unwrap();
        match dice.below(6) {
            0 if network.is_up(at) => network.crash(at),
            1 if network.is_up(at) => network.nodes[at].is_doomed = true,
            0..=2 if !network.is_up(at) => network.start(at),
            3 => {
                let groups: Vec<_> = network.nodes.iter().map(|_| dice.below(2)).collect();
                network.set_groups(&groups);
            }
            4 => {
                let groups = vec![0; network.nodes.len()];
                network.set_groups(&groups);
            }
            5 => network.set_skew(at, i64::try_from(dice.below(6000)).unwrap() - 3000),
            _ => {}
        }
    }
}

fn describe(network: &Network) -> String {
    let mut text = String::new();
    for at in 0..network.nodes.len() {
        let state = network.engine(at).state(network.now(at));
        text += &format!(
            "\nnode {at} ({}): height {} view {} leader {} finalized {} backoff {} fetches {} votes {:?}: {}; {:?}",
            network.nodes[at].index,
            network.height(at),
            state.view,
            state.leader,
            state.finalized_view,
            state.backoff,
            state.fetches,
            state.votes,
            state.waiting_for,
            state.deadlines,
        );
    }
    text
}

fn run_all(validators: usize, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let result = std::panic::catch_unwind(|| run(validators, seed));
        assert!(result.is_ok(), "{validators} validators, seed {seed}");
    }
}

#[test]
fn network_of_one_random_faults_stays_safe_and_recovers() {
    run_all(1, 0..100);
}

#[test]
fn network_of_four_random_faults_stays_safe_and_recovers() {
    run_all(4, 0..200);
}

#[test]
fn network_of_seven_random_faults_stays_safe_and_recovers() {
    run_all(7, 0..60);
}
