//! Stories of views that ended in two ways: a notarization here, a nullification there. Both are legal, and both can come
//! about without any villain, since a validator may nullify what it notarized.

use super::fixture::Fixture;
use super::network::{Filter, Network, Weather};
use super::stories::{assert_goes_on, kind_of};
use crate::schedule::Schedule;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Height, ValidatorIndex, View, VoteKind};

/// The first proposal goes out at 498: the opening block is two milliseconds old then, and blocks come every 500.
const INTERVAL: u64 = 500;

/// Those who miss the notarization give view 1 up at 898, and know at 903 that it is nullified.
const SPLIT_ENDS: u64 = 900;

/// A network of so many whose view 2 is led by `leader_of_two`, after a first view in which the notarize votes reached
/// nodes below `certified` only, and the nullify votes only the others.
fn split(validators: u16, leader_of_two: u16, filter: Filter) -> Network {
    let mut fixture = Fixture::equal(usize::from(validators));
    fixture.timing.block_interval_ms = INTERVAL;
    let turns = [0, leader_of_two].into_iter().chain((0..8).flat_map(|_| (0..validators).rev()));
    fixture.schedule = Schedule::rigged(turns.map(ValidatorIndex).collect());
    let mut network = Network::new(fixture, 1, Weather::calm(5));
    network.filter = Some(filter);
    network.start_all();
    network.run_until(903);
    network
}

/// Whether a message of the first view is lost so that only nodes below `certified` learn of the notarization.
fn is_lost(certified: usize, time: u64, to: usize, message: &ConsensusMessage) -> bool {
    let is_off = match kind_of(message) {
        Some(VoteKind::Notarize) => to >= certified,
        Some(VoteKind::Nullify) => to < certified,
        Some(VoteKind::Finalize) => false,
        None => matches!(message, ConsensusMessage::Certificate(_)),
    };
    time < SPLIT_ENDS && is_off
}

fn assert_split(network: &Network, certified: usize) {
    for at in 0..network.nodes.len() {
        let engine = network.engine(at);
        assert_eq!(engine.view(), View(2), "node {at}");
        assert_eq!(engine.holds(1, VoteKind::Notarize), at < certified, "node {at}");
        assert_eq!(engine.holds(1, VoteKind::Nullify), at >= certified, "node {at}");
    }
}

/// The view of the block at the first height, once all have it.
fn first_block_view(network: &Network) -> View {
    let is_first = |place: &&(crate::Head, _)| place.0.height == Height(11);
    let up = (0..network.nodes.len()).filter(|at| network.is_up(*at));
    let mut views: Vec<_> = up.map(|at| network.nodes[at].committed.iter().find(is_first).unwrap().0.view).collect();
    views.dedup();
    assert_eq!(views.len(), 1);
    views[0]
}

fn is_lost_but_to_one(time: u64, _: usize, to: usize, message: &ConsensusMessage) -> bool {
    is_lost(1, time, to, message)
}

fn is_lost_but_to_two(time: u64, _: usize, to: usize, message: &ConsensusMessage) -> bool {
    is_lost(2, time, to, message)
}

/// 2: node 0 holds the notarization of view 1, the others its nullification, then node 3 dies. A quorum is online, all of
/// which is needed, and neither side accepts what the other builds on until it has fetched the other's certificate. It
/// does so within the view: nobody gives view 2 up.
#[test]
fn case_2_split_certificate_knowledge_is_repaired_by_fetching() {
    for (leader_of_two, first_block) in [(1, View(2)), (0, View(1))] {
        let mut network = split(4, leader_of_two, is_lost_but_to_one);
        assert_split(&network, 1);
        network.crash(3);
        network.run_until(1_050);
        assert_eq!(first_block_view(&network), first_block, "view 2 led by {leader_of_two}");
        assert!((0..3).all(|at| !network.engine(at).holds(2, VoteKind::Nullify)));
        assert_goes_on(&mut network, 6_000);
    }
}

/// 3: two of seven certified view 1 and voted to finalize it, five nullified it. Whoever leads view 2, all take the way it
/// chose, and learn of the other one: the nullified view's block is certified everywhere, or dropped everywhere.
#[test]
fn case_3_certified_here_nullified_there_goes_on_together() {
    for (leader_of_two, first_block) in [(5, View(2)), (0, View(1))] {
        let mut network = split(7, leader_of_two, is_lost_but_to_two);
        assert_split(&network, 2);
        for at in 0..2 {
            assert_eq!(network.engine(at).state(network.now(at)).finalized_view, View(0), "two of seven");
        }
        network.run_until(1_050);
        assert_eq!(first_block_view(&network), first_block, "view 2 led by {leader_of_two}");
        assert_goes_on(&mut network, 6_000);
    }
}
