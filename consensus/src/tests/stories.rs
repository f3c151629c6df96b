//! What other engines learned the hard way, told on whole networks. Numbers are those of the design's list.

use super::fixture::{Fixture, TIMING};
use super::network::{Network, Weather};
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{ValidatorIndex, VoteKind};

fn network(validators: usize) -> Network {
    let mut network = Network::new(Fixture::equal(validators), 1, Weather::calm(5));
    network.start_all();
    network
}

const fn kind_of(message: &ConsensusMessage) -> Option<VoteKind> {
    match message {
        ConsensusMessage::Vote(vote) => Some(vote.subject.kind()),
        ConsensusMessage::Proposal { .. }
        | ConsensusMessage::Certificate(_)
        | ConsensusMessage::FetchCertificate { .. }
        | ConsensusMessage::FetchBlock(_)
        | ConsensusMessage::Block(_)
        | ConsensusMessage::Evidence(_)
        | ConsensusMessage::Probe { .. }
        | ConsensusMessage::Standing { .. } => None,
    }
}

fn assert_goes_on(network: &mut Network, within: u64) {
    let (goal, until) = (network.height_max() + 3, network.time + within);
    while network.height_min() < goal {
        assert!(network.time < until, "height {} after {within} ms, wanted {goal}", network.height_min());
        network.run_for(10);
    }
}

/// 1: the leader shows one block to some and another to the rest. Whatever gets certified, everybody follows.
#[test]
fn case_1_equivocating_leader_crashes_nobody_and_is_accused() {
    let mut network = Network::new(Fixture::equal(4), 1, Weather::calm(5));
    let villain = network.fixture.leader(2);
    network.add(villain);
    network.start_all();
    network.run_for(3_000);
    assert_eq!(network.evidence.iter().copied().collect::<Vec<_>>(), [villain]);
    assert_goes_on(&mut network, 3_000);
}

/// 2: two nodes hold the notarization of a view, two its nullification; nobody accepts the other's ancestry at first.
#[test]
fn case_2_split_certificate_knowledge_is_repaired_by_fetching() {
    let mut network = network(4);
    network.run_for(100);
    // Every second notarize vote and every second certificate between the halves is lost for a while.
    network.filter = Some(|time, from, to, message| {
        time < 1_500
            && from % 2 != to % 2
            && (kind_of(message) == Some(VoteKind::Notarize) || matches!(message, ConsensusMessage::Certificate(_)))
    });
    network.run_until(1_500);
    assert_goes_on(&mut network, 3_000);
}

/// 3: one side certified the view, the other side nullified it: both are legal, and both go on together.
#[test]
fn case_3_certified_here_nullified_there_goes_on_together() {
    let mut network = network(7);
    network.run_for(100);
    network.filter =
        Some(|time, _, to, message| time < 2_000 && to < 3 && kind_of(message) == Some(VoteKind::Notarize));
    network.run_until(2_000);
    assert_goes_on(&mut network, 3_000);
}

/// 5: a quorum crashes right after logging its nullify votes; they come back and the votes are sent then.
#[test]
fn case_5_quorum_crashes_after_logging_nullify_and_recovers() {
    let mut network = network(4);
    network.run_for(200);
    network.set_groups(&[0, 1, 2, 3]);
    network.run_for(TIMING.leader_timeout_ms);
    for at in 0..3 {
        network.crash(at);
    }
    network.set_groups(&[0, 0, 0, 0]);
    network.run_for(500);
    let height = network.height_max();
    network.run_for(500);
    assert_eq!(network.height_max(), height, "one of four makes no block");
    for at in 0..3 {
        network.start(at);
    }
    assert_goes_on(&mut network, 5_000);
}

/// All nodes restart together, all blocks in memory are lost: what was certified comes back from the ledgers.
#[test]
fn restart_of_all_together_goes_on_from_certified_blocks() {
    for moment in 0..40 {
        let mut network = network(4);
        network.run_for(300 + moment);
        for at in 0..4 {
            network.crash(at);
        }
        network.run_for(100);
        network.start_all();
        assert_goes_on(&mut network, 5_000);
    }
}

/// 10, 18: finalize votes are lost on an idle chain; they are sent again although their view is long over.
#[test]
fn case_18_idle_chain_repairs_lost_finalize_votes_without_new_blocks() {
    let mut fixture = Fixture::equal(4);
    fixture.timing.idle_block_interval_ms = 60_000;
    let mut network = Network::new(fixture, 1, Weather::calm(5));
    network.filter = Some(|time, _, _, message| time < 300 && kind_of(message) == Some(VoteKind::Finalize));
    network.start_all();
    network.run_for(12);
    network.set_work(false);
    network.run_until(290);
    assert_eq!(network.height_max(), 10, "no finalize vote arrived");
    let proposed = network.proposed_at.len();
    network.run_until(300 + 2 * TIMING.retry_ms + 50);
    assert!(network.height_min() > 10);
    assert_eq!(network.proposed_at.len(), proposed, "no new block was needed");
}

/// 12: the leader's ledger is slower than the time-out: it gives up its own view, the others do so with it.
#[test]
fn case_12_leader_times_out_its_own_view() {
    let mut network = network(4);
    network.run_for(100);
    network.weather.ledger_max = 2_000;
    network.run_for(4_000);
    network.weather.ledger_max = 0;
    assert_goes_on(&mut network, 8_000);
}

/// 15: a node was away while the others went through many views; block sync and one finalization bring it back.
#[test]
fn case_15_late_node_jumps_to_the_current_view() {
    let mut network = network(4);
    network.run_for(100);
    network.crash(3);
    network.run_for(10_000);
    let (own, others) = (network.height(3), network.height(0));
    assert!(others - own > 100, "{own} {others}");
    network.start(3);
    network.run_for(1_000);
    assert!(network.behind.contains(&3), "block sync was asked for");
    assert_goes_on(&mut network, 1_000);
}

/// 17: clocks jump back and forth; blocks keep rising timestamps and the chain goes on.
#[test]
fn case_17_clock_jumps_do_not_stop_the_chain() {
    let mut network = network(4);
    network.run_for(200);
    network.set_skew(0, 3_600_000);
    network.set_skew(1, -900_000);
    assert_goes_on(&mut network, 6_000);
    network.set_skew(0, 0);
    network.set_skew(1, 0);
    assert_goes_on(&mut network, 6_000);
}

/// One of four dead: blocks go on. Two dead: they stop. Both back: they go on within the bound.
#[test]
fn killed_validators_stop_the_chain_only_beyond_a_third() {
    let mut network = network(4);
    network.run_for(200);
    network.crash(0);
    assert_goes_on(&mut network, 3_000);
    network.crash(1);
    network.run_for(200);
    let height = network.height_max();
    network.run_for(20_000);
    assert_eq!(network.height_max(), height);
    network.start(0);
    network.start(1);
    assert_goes_on(&mut network, 10_000);
}

/// Each node in turn is cut off, some of them as leaders with their proposal just sent.
#[test]
fn validator_cut_off_rejoins() {
    let mut network = network(4);
    network.run_for(203);
    for at in 0..4 {
        let groups: Vec<_> = (0..4).map(|other| u64::from(other == at)).collect();
        network.set_groups(&groups);
        network.run_for(700);
        network.set_groups(&[0, 0, 0, 0]);
        assert_goes_on(&mut network, 3_000);
    }
}

/// Stake far from equal: the strong two make blocks alone, the weak ones cannot.
#[test]
fn power_decides_not_the_number_of_validators() {
    let mut network = Network::new(Fixture::new(&[1, 1, 1, 10, 10]), 1, Weather::calm(5));
    network.start_all();
    network.run_for(100);
    for at in 0..3 {
        network.crash(at);
    }
    assert_goes_on(&mut network, 10_000);
    network.crash(3);
    for at in 0..3 {
        network.start(at);
    }
    network.run_for(500);
    let height = network.height_max();
    network.run_for(5_000);
    assert_eq!(network.height_max(), height);
}

#[test]
fn state_names_what_is_waited_for() {
    let mut network = network(4);
    network.run_for(100);
    for at in 1..3 {
        network.crash(at);
    }
    network.run_for(5_000);
    let state = network.engine(0).state(network.now(0));
    assert!(state.waiting_for.starts_with("R13: nullify votes with power 3, seen 2"), "{}", state.waiting_for);
    let missing: Vec<_> = state.validators.iter().filter(|validator| !validator.connected).collect();
    assert_eq!(
        missing.iter().map(|validator| validator.index).collect::<Vec<_>>(),
        [ValidatorIndex(1), ValidatorIndex(2)]
    );
    assert!(state.backoff > 1 || state.nullify_cast);
    assert!(!state.deadlines.is_empty());
}
