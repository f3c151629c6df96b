//! Stories that need whole epochs, on networks of [`crate::Consensus`].

use super::epochs_ledger::Script;
use super::epochs_network::{Network, Point};
use super::fixture::GENESIS;
use super::network::Weather;
use super::stories::kind_of;
use crate::schedule::Schedule;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Epoch, Hash, Height, KeyPair, Proposal, Subject, View, Vote, VoteKind};

/// A network of nodes with one key each, in calm weather.
fn network(length: u32, sets: &[&[usize]], nodes: usize) -> Network {
    let keys: Vec<_> = (0..nodes).map(|key| vec![key]).collect();
    let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
    let mut network = Network::new(Script::new(length, sets), &keys, 1, Weather::calm(5));
    network.timing.block_interval_ms = 20;
    network
}

fn height_of_all_is_below(height: u32) -> impl Fn(&Network) -> bool {
    move |network| network.height_min() < height
}

/// 14: validators die at each point around the closing block, one or all, and come back on their disks. Nobody votes
/// twice, nothing is built on the closing block before it is committed, and epoch after epoch opens.
#[test]
fn case_14_boundary_block_replayed_after_restart() {
    for point in Point::ALL {
        for dying in [vec![0], vec![1], vec![2], vec![3], vec![0, 1], vec![0, 1, 2, 3]] {
            let mut network = network(3, &[&[0, 1, 2, 3]], 4);
            network.members_poll_ms = Some(500);
            network.start_all();
            dying.iter().for_each(|at| network.nodes[*at].dies_at = Some(point));
            let is_waiting = |network: &Network| dying.iter().filter(|at| network.is_up(**at)).count();
            if dying.len() == 2 {
                // The first one's death may leave no quorum for the other to get there.
                network.run_while(2_000, |network| is_waiting(network) == 2);
                network.run_for(20);
            } else if dying.len() == 4 {
                network.run_for(1_000);
                assert!(is_waiting(&network) <= 2, "{point:?}: no quorum outlives it");
            } else {
                network.run_while(2_000, |network| is_waiting(network) > 0);
            }
            network.run_for(100);
            network.start_all();
            network.assert_goes_on(7, 5_000);
            let epochs: Vec<_> = network.up().map(|at| network.epoch(at)).collect();
            assert!(epochs.iter().all(|epoch| *epoch >= Epoch(2)), "{point:?} {dying:?}: {epochs:?}");
        }
    }
}

/// 14: a validator dies again and again, at every point in turn, each time in the first epoch on the disk of the last.
#[test]
fn case_14_validator_dies_at_every_point_in_turn() {
    let mut network = network(3, &[&[0, 1, 2, 3]], 4);
    network.members_poll_ms = Some(500);
    network.start_all();
    for point in Point::ALL {
        network.nodes[2].dies_at = Some(point);
        network.run_while(5_000, |network| network.is_up(2));
        network.run_for(30);
        network.start(2);
    }
    network.assert_goes_on(7, 5_000);
}

/// 16: half of the validators leave and others come, while one that stays and one that comes are down for a while.
#[test]
fn case_16_set_change_of_more_than_a_third_goes_on() {
    let sets: [&[usize]; 4] = [&[0, 1, 2, 3], &[2, 3, 4, 5], &[4, 5, 6, 0], &[1, 2, 6, 7]];
    let mut network = network(3, &sets, 8);
    network.start_all();
    network.run_while(2_000, |network| network.height_max() < 2);
    network.crash(3);
    network.run_while(5_000, |network| network.height_max() < 5);
    network.start(3);
    network.run_while(5_000, |network| network.epoch(3) < Epoch(1));
    network.crash(5);
    network.run_while(5_000, |network| network.height_max() < 8);
    network.start(5);
    network.assert_goes_on(9, 10_000);
    assert!(network.up().all(|at| network.epoch(at) >= Epoch(4)));
}

/// 16: all validators are replaced at once, and replaced again. The new ones go on with one of four down; the old ones
/// vote no more, and follow by block sync.
#[test]
fn case_16_disjoint_set_takes_over_and_the_old_one_stops() {
    let sets: [&[usize]; 3] = [&[0, 1, 2, 3], &[4, 5, 6, 7], &[8, 9, 10, 11]];
    for (down_before, down_after) in [(0, 4), (3, 7), (1, 6)] {
        let mut network = network(3, &sets, 12);
        network.members_poll_ms = Some(500);
        network.start_all();
        network.run_for(3);
        network.crash(down_before);
        network.crash(down_after);
        network.run_while(10_000, |network| network.height_max() < 5);
        network.start(down_before);
        network.run_while(10_000, height_of_all_is_below(10));
        network.start(down_after);
        network.assert_goes_on(3, 5_000);
        for key in 0..4 {
            assert!(network.votes_of(key, 1).is_empty() && network.votes_of(key, 2).is_empty(), "key {key} left");
        }
        assert!(network.votes_of(5, 0).is_empty() && !network.votes_of(5, 1).is_empty());
    }
}

/// A node with two guards signs with the one that the epoch's set names; no view is lost over it.
#[test]
fn key_rotation_takes_effect_with_the_next_epoch_without_a_pause() {
    let script = Script::new(4, &[&[0, 1, 2, 3], &[0, 4, 2, 3], &[0, 4, 2, 3]]);
    let mut network = Network::new(script, &[&[0], &[1, 4], &[2], &[3]], 1, Weather::calm(5));
    network.start_all();
    network.run_while(5_000, height_of_all_is_below(11));
    assert!(!network.votes_of(1, 0).is_empty() && network.votes_of(1, 1).is_empty());
    assert!(!network.votes_of(4, 1).is_empty() && network.votes_of(4, 0).is_empty());
    let nullified = network.certificates.keys().filter(|(_, _, kind)| *kind == VoteKind::Nullify as u8);
    assert_eq!(nullified.count(), 0, "no view was given up");
    network.crash(1);
    network.run_for(100);
    network.start(1);
    let key = network.script.keys[4].public();
    assert_eq!(network.consensus(1).guard().map(crate::VoteGuard::public), Some(key), "also after a restart");
    network.assert_goes_on(5, 5_000);
}

/// Whether a message tells of the finality of the first epoch's closing block.
fn tells_of_the_end(message: &ConsensusMessage) -> bool {
    match message {
        ConsensusMessage::Certificate(certificate) => certificate.subject.epoch() == Epoch(0),
        _ => kind_of(message) == Some(VoteKind::Finalize) && message.epoch() == Some(Epoch(0)),
    }
}

/// A validator is told late that the closing block is final. What the others say in the next epoch waits for it; then,
/// helped by who went on, it takes part in the first view: with one of four down, nothing goes on without it.
#[test]
fn messages_of_the_next_epoch_that_come_early_are_kept_for_view_1() {
    const LATE: u64 = 300;
    let mut told = 0;
    for down in 0..3 {
        let mut network = network(3, &[&[0, 1, 2, 3]], 4);
        network.timing.idle_block_interval_ms = 400;
        network.timing.leader_timeout_ms = 400;
        network.timing.certify_timeout_ms = 800;
        network.filter = Some(Box::new(|time, _, to, message| to == 3 && time < LATE && tells_of_the_end(message)));
        network.start_all();
        network.run_while(LATE, |network| network.height_max() < 2);
        network.crash(down);
        network.run_until(LATE / 2);
        // Where the one that died was to lead the last views of the first epoch, the others lose time over it.
        let Some(opened) = network.up().find(|at| network.epoch(*at) == Epoch(1)) else { continue };
        let start = network.consensus(opened).epoch().clone();
        let leader =
            start.validators.get(Schedule::new(&start.validators, &start.opening.hash).leader(View(1))).unwrap();
        let is_led_from_the_next_epoch = (0..3).any(|at| at != down && network.script.keys[at].public() == leader.key);
        if !is_led_from_the_next_epoch {
            continue;
        }
        told += 1;
        network.run_until(LATE - 1);
        assert_eq!(network.epoch(3), Epoch(0));
        assert!(network.consensus(3).early().0 > 0, "they wait");
        network.run_until(LATE + 250);
        assert!(network.epoch(3) >= Epoch(1));
        assert!(!network.handed_over.is_empty() && !network.nodes[3].is_synced, "it was handed the finalization");
        let first = |subject: &Subject| matches!(subject, Subject::Notarize(proposal) if proposal.view == View(1));
        assert!(network.votes_of(3, 1).iter().any(first), "it notarized view 1");
        assert_eq!(network.nodes[3].disk.views(Height(4)).0, View(1), "view 1 was not lost");
    }
    assert!(told > 0);
}

/// A validator that was cut off while the others went through many epochs comes back by block sync, and votes again.
#[test]
fn validator_many_epochs_behind_comes_back_and_votes() {
    let mut network = network(2, &[&[0, 1, 2, 3]], 4);
    network.members_poll_ms = Some(500);
    network.start_all();
    network.run_while(2_000, height_of_all_is_below(1));
    network.set_groups(&[0, 0, 0, 1]);
    network.run_while(20_000, |network| network.epoch(0) < Epoch(12));
    assert!(network.epoch(3) <= Epoch(1));
    network.set_groups(&[0, 0, 0, 0]);
    network.run_while(2_000, |network| network.epoch(3) < Epoch(12));
    network.crash(0);
    network.assert_goes_on(5, 5_000);
}

/// Evidence is passed on by who found it, once, is offered for blocks over epochs, and is forgotten when the offender is
/// out of the set.
#[test]
fn evidence_is_passed_on_once_and_dropped_when_the_offender_leaves() {
    let mut network = network(4, &[&[0, 1, 2, 3], &[0, 1, 2, 3], &[0, 1, 2, 4]], 3);
    network.start_all();
    network.run_while(2_000, |network| network.height_max() < 1);
    let villain = network.script.keys[3].clone();
    network.villain = Some(villain.public());
    let set = network.script.set(Epoch(0));
    let signer = set.index_of(&villain.public()).unwrap();
    let view = network.consensus(0).state(network.now(0)).view;
    for block in [1, 2] {
        let proposal = Proposal { epoch: Epoch(0), view, parent_view: View(0), block: Hash([block; 32]) };
        let vote = Vote::sign(Subject::Notarize(proposal), signer, &villain, &GENESIS);
        network.receive(0, villain.public(), ConsensusMessage::Vote(vote));
    }
    network.run_while(5_000, |network| network.epoch(1) < Epoch(1));
    network.run_while(5_000, |network| network.height_max() < 7);
    network.evidence.sort_unstable();
    assert_eq!(network.evidence, [0, 1, 2].map(|at| (at, villain.public())), "everybody is told once");
    assert_eq!(network.evidence_sent, 2, "by the first to know, to the two others");
    assert_eq!(network.evidence_proposed, 1);
    assert!((0..3).all(|at| network.consensus(at).evidence().count() == 1));
    network.run_while(20_000, |network| network.up().any(|at| network.epoch(at) < Epoch(2)));
    assert!((0..3).all(|at| network.consensus(at).evidence().count() == 0));
    assert_eq!((network.evidence.len(), network.evidence_sent), (3, 2));
}

/// A validator loses the record of its votes and its disk is as it was an epoch ago. It says nothing until what it may
/// have voted on is final, and then votes again.
#[test]
fn validator_that_lost_its_record_over_an_epoch_is_silent_until_it_is_safe() {
    for lost_in in 0..6 {
        let mut network = network(10, &[&[0, 1, 2, 3]], 4);
        network.members_poll_ms = Some(300);
        network.start_all();
        network.run_while(2_000, height_of_all_is_below(2));
        let old = network.nodes[3].disk.clone();
        network.run_while(5_000, height_of_all_is_below(9 + lost_in));
        network.crash(3);
        network.nodes[3].disk = old;
        network.lose_record(3);
        let voted = network.votes_of(3, 0).len() + network.votes_of(3, 1).len();
        network.start(3);
        while network.consensus(3).guard().unwrap().silence().is_some() {
            let cast: usize = (0..9).map(|epoch| network.votes_of(3, epoch).len()).sum();
            assert_eq!(cast, voted, "it said something");
            assert!(network.time < 20_000, "{}", network.describe());
            network.run_for(1);
        }
        let epoch = network.epoch(3).0;
        network.run_while(5_000, |network| network.votes_of(3, epoch).is_empty());
        network.crash(0);
        network.assert_goes_on(5, 10_000);
    }
}

/// The finalize votes of the closing block are lost, so it is proposed again, in later views, until it is final in one.
#[test]
fn closing_block_proposed_again_is_final_in_a_later_view() {
    for lost_until in [200, 450, 900] {
        let mut network = network(3, &[&[0, 1, 2, 3], &[1, 2, 3, 4]], 5);
        network.filter = Some(Box::new(move |time, _, _, message| {
            time < lost_until && kind_of(message) == Some(VoteKind::Finalize)
        }));
        network.start_all();
        network.run_until(lost_until);
        assert_eq!(network.height_max(), 0, "nothing is final");
        network.run_while(2_000, height_of_all_is_below(3));
        for at in network.up() {
            let (proposed, finalized) = network.nodes[at].disk.views(Height(3));
            assert!(proposed < finalized, "node {at}: proposed in {proposed}, final in {finalized}");
        }
        network.assert_goes_on(6, 5_000);
    }
}

/// The only key that a guard of another node has is no reason for it to vote here.
#[test]
fn node_whose_key_is_in_no_set_only_observes() {
    let mut network = network(2, &[&[0, 1, 2, 3]], 5);
    network.start_all();
    network.run_while(5_000, height_of_all_is_below(5));
    assert!(network.consensus(4).guard().is_none());
    let outsider: &KeyPair = &network.script.keys[4];
    assert!(network.votes.keys().all(|(key, _, _)| *key != outsider.public()));
}
