//! What other engines learned the hard way, told on whole networks. Numbers are those of the design's list:
//!
//! | case | told in |
//! |---|---|
//! | 1, 5, 12, 15, 17, 18 | here, on networks |
//! | 1, 4, 6 to 13, 15, 17, 18 | `stories_solo`, on one engine |
//! | 2, 3 | `stories_split`, on networks |
//! | 11 | also `rules_recovery`: every prefix of a journal, reversed, doubled |
//! | 14, 16 | `stories_epochs`, on networks over epochs; `epochs_random`; one engine at the end of its epoch in `closing` |

use super::fixture::{Fixture, TIMING, WALL, nullify};
use super::network::{Network, Weather};
use crate::JournalRecord;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{ValidatorIndex, VoteKind};
use std::collections::BTreeSet;

fn network(validators: usize) -> Network {
    let mut network = Network::new(Fixture::equal(validators), 1, Weather::calm(5));
    network.start_all();
    network
}

pub(super) const fn kind_of(message: &ConsensusMessage) -> Option<VoteKind> {
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

pub(super) fn assert_goes_on(network: &mut Network, within: u64) {
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

/// 5: a quorum logs its nullify votes and crashes before anybody heard them. It comes back, and these votes end the view:
/// nobody has to wait for a deadline again.
#[test]
fn case_5_quorum_crashes_after_logging_nullify_and_recovers() {
    let mut network = network(4);
    network.run_for(200);
    network.set_groups(&[0, 1, 2, 3]);
    network.run_for(TIMING.certify_timeout_ms);
    let view = (0..4).map(|at| network.engine(at).view().0).max().unwrap();
    for at in 0..3 {
        let nullified = network.engine(at).view().0;
        let logged =
            |record: &JournalRecord| matches!(record, JournalRecord::Vote(vote) if vote.subject == nullify(nullified));
        assert!(network.nodes[at].journal.iter().any(logged), "node {at} gave view {nullified} up");
        assert!(!network.engine(at).holds(nullified, VoteKind::Nullify), "alone");
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
    network.run_for(TIMING.leader_timeout_ms - 1);
    assert!((0..4).all(|at| network.engine(at).view().0 > view), "the votes of before the crash count");
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

/// 12: ledgers are slower than the time-out, so leaders give up their own views; once the ledgers are fast the chain is.
#[test]
fn case_12_leader_times_out_its_own_view() {
    let mut network = network(4);
    network.run_for(100);
    network.weather.ledger_max = 2_000;
    network.run_for(4_000);
    let own_views = (0..4).flat_map(|at| {
        let node = &network.nodes[at];
        let votes = node.journal.iter().filter_map(|record| match record {
            JournalRecord::Vote(vote) if vote.subject.kind() == VoteKind::Nullify => Some(vote.subject.view()),
            _ => None,
        });
        votes.filter(|view| network.fixture.schedule.leader(*view) == node.index).collect::<Vec<_>>()
    });
    assert!(own_views.count() > 0, "some leader gave up");
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

/// 17: one clock jumps an hour forwards, one a quarter of an hour back, then both return: blocks keep rising timestamps,
/// none ahead of the time by more than is allowed, and the chain goes on.
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
    let times: Vec<_> = network.nodes[2].committed.iter().map(|(head, _)| head.timestamp.0).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    assert!(*times.last().unwrap() <= WALL + network.time + 2_000, "{times:?}");
    let proposers: BTreeSet<_> =
        network.nodes[2].committed.iter().skip(1).map(|(head, _)| network.fixture.schedule.leader(head.view)).collect();
    assert!(proposers.len() > 1);
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
