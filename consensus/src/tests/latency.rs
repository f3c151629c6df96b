//! The promise of the protocol in virtual time: blocks every 2 message delays, final in 3.

use super::fixture::Fixture;
use super::network::{Network, Weather};

const DELAY: u64 = 50;

#[test]
fn network_without_faults_finalizes_in_three_delays_and_makes_a_block_every_two() {
    for validators in [4, 7, 16] {
        let mut network = Network::new(Fixture::equal(validators), 1, Weather::calm(DELAY));
        network.start_all();
        network.run_for(40 * DELAY);
        let mut proposed: Vec<_> = network.finalized_at.keys().map(|hash| network.proposed_at[hash]).collect();
        proposed.sort_unstable();
        assert!(proposed.len() >= 18, "{} blocks", proposed.len());
        for pair in proposed.windows(2) {
            assert_eq!(pair[1] - pair[0], 2 * DELAY, "block interval");
        }
        for (hash, finalized_at) in &network.finalized_at {
            assert_eq!(finalized_at - network.proposed_at[hash], 3 * DELAY, "proposal to finality");
        }
    }
}

#[test]
fn network_of_one_finalizes_its_blocks_at_once() {
    let mut fixture = Fixture::equal(1);
    fixture.timing.block_interval_ms = 10;
    let mut network = Network::new(fixture, 1, Weather::calm(1));
    network.start_all();
    network.run_for(100);
    // The opening block is two milliseconds old: the first one is due after 8, the tenth after 98.
    assert_eq!(network.height(0), 10 + 10);
    for (hash, finalized_at) in &network.finalized_at {
        assert_eq!(*finalized_at, network.proposed_at[hash]);
    }
    assert_eq!(network.sent, 0);
}

#[test]
fn network_idle_makes_a_block_each_idle_interval_and_little_else() {
    let mut network = Network::new(Fixture::equal(4), 1, Weather::calm(5));
    network.start_all();
    network.set_work(false);
    network.run_for(1_000);
    let (height, sent) = (network.height_min(), network.sent);
    let steps: u64 = network.nodes.iter().map(|node| node.steps).sum();
    network.run_for(10_000);
    let blocks = u64::from(network.height_min() - height);
    assert!((18..=20).contains(&blocks), "{blocks} blocks in 20 idle intervals");
    let messages = network.sent - sent;
    // Proposal, three notarize votes, four finalize votes, to three others each.
    assert!(messages <= 24 * (blocks + 1), "{messages} messages for {blocks} blocks");
    let steps = network.nodes.iter().map(|node| node.steps).sum::<u64>() - steps;
    assert!(steps <= 60 * (blocks + 1), "{steps} steps for {blocks} blocks");
}

#[test]
fn network_with_one_dead_validator_skips_it_without_waiting() {
    let mut network = Network::new(Fixture::equal(4), 1, Weather::calm(5));
    network.start_all();
    network.run_for(500);
    network.crash(2);
    network.run_for(5_000);
    let height = network.height_min();
    network.run_for(1_000);
    // Three blocks of 10 ms and one skipped view of 5 ms, over and over; waiting would cost 200 ms a round.
    assert!(network.height_min() - height > 50, "{} blocks", network.height_min() - height);
}
