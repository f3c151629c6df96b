//! Observing, cadence, fetching, serving and passing on, on one engine.

use super::fixture::{Fixture, TIMING, WALL, nullify};
use super::solo::{Solo, finalize, notarize};
use crate::{Input, Output, Verdict};
use cairn_primitives::View;
use cairn_primitives::message::ConsensusMessage;
use std::sync::Arc;

fn opening() -> crate::Head {
    Fixture::opening()
}

#[test]
fn observer_follows_and_never_votes() {
    let fixture = Fixture::equal(4);
    let config = fixture.config(None);
    let mut solo = Solo::with(fixture, cairn_primitives::ValidatorIndex(9), config);
    solo.start();
    let block = solo.block(1, &opening());
    let proposal = solo.receive_proposal(&block, 0);
    solo.verified(&block, Verdict::Valid);
    solo.receive_votes(3, notarize(proposal));
    solo.certified(&block, true);
    solo.receive_votes(3, finalize(proposal));
    assert_eq!(solo.finalizing(), [block.header.hash()]);
    solo.wait_until(10_000);
    let is_vote = |output: &Output| matches!(output, Output::Broadcast(_));
    assert!(!solo.all.iter().any(is_vote));
}

#[test]
fn cadence_leader_without_work_waits_for_the_idle_interval() {
    let mut solo = Solo::unstarted(1);
    solo.connect();
    solo.input(Input::Start);
    solo.wait_until(TIMING.idle_block_interval_ms - 3);
    assert_eq!(solo.proposing(), []);
    solo.wait_until(TIMING.idle_block_interval_ms - 2);
    assert_eq!(solo.proposing().len(), 1);
}

#[test]
fn cadence_work_wakes_an_idle_leader_and_starts_the_deadline_of_a_follower() {
    let mut leader = Solo::unstarted(1);
    leader.input(Input::Start);
    leader.wait_until(300);
    leader.input(Input::WorkAvailable(true));
    assert_eq!(leader.proposing().len(), 1);

    let mut follower = Solo::unstarted(4);
    follower.input(Input::Start);
    follower.wait_until(300);
    follower.input(Input::WorkAvailable(true));
    follower.wait_until(300 + TIMING.leader_timeout_ms - 1);
    assert!(!follower.has_nullified(1));
    follower.wait_until(300 + TIMING.leader_timeout_ms);
    assert!(follower.has_nullified(1));
}

#[test]
fn cadence_busy_leader_keeps_the_block_interval() {
    let mut fixture = Fixture::equal(4);
    fixture.timing.block_interval_ms = 70;
    let own = fixture.leader(1);
    let config = fixture.config(Some(own));
    let mut solo = Solo::with(fixture, own, config);
    solo.start();
    solo.wait_until(67);
    assert!(!solo.all.iter().any(|output| matches!(output, Output::Propose { .. })));
    solo.wait_until(68);
    let timestamp = solo.last.iter().find_map(|output| match output {
        Output::Propose { timestamp, .. } => Some(timestamp.0),
        _ => None,
    });
    assert_eq!(timestamp, Some(WALL + 68));
}

#[test]
fn fetch_unanswered_asks_the_next_peer_and_stops_when_answered() {
    let mut fixture = Fixture::equal(4);
    fixture.timing.retry_ms = 50;
    let own = fixture.leader(4);
    let config = fixture.config(Some(own));
    let mut solo = Solo::with(fixture, own, config);
    solo.start();
    solo.receive_certificate(nullify(3));
    let mut asked = Vec::new();
    for turn in 0..3 {
        solo.wait_until(turn * 50);
        let to = solo.all.iter().rev().find_map(|output| match output {
            Output::Send { to, message: ConsensusMessage::FetchCertificate { view: View(2), .. } } => Some(*to),
            _ => None,
        });
        asked.push(to.unwrap());
    }
    asked.sort_unstable();
    assert_eq!(asked, solo.others(), "each once");
    solo.receive_certificate(nullify(2));
    solo.receive_certificate(nullify(1));
    solo.wait_until(6 * TIMING.retry_ms);
    assert_eq!(solo.fetched(), []);
}

#[test]
fn serve_block_comes_from_the_engine_before_execution_and_from_the_ledger_after() {
    let mut solo = Solo::follower();
    let asker = solo.others()[0];
    let block = solo.block(1, &opening());
    let hash = block.header.hash();
    let proposal = solo.receive_proposal(&block, 0);
    solo.receive(asker, ConsensusMessage::FetchBlock(hash));
    assert_eq!(solo.last, [Output::Send { to: asker, message: ConsensusMessage::Block(Arc::clone(&block)) }]);
    solo.receive_certificate(notarize(proposal));
    solo.certified(&block, true);
    solo.receive(asker, ConsensusMessage::FetchBlock(hash));
    assert_eq!(solo.last, [Output::ServeBlock { to: asker, block: hash }]);
}

#[test]
fn relay_passes_a_formed_certificate_on_to_those_who_seem_not_to_have_it() {
    let mut solo = Solo::follower();
    let block = solo.block(1, &opening());
    let proposal = solo.receive_proposal(&block, 0);
    solo.verified(&block, Verdict::Valid);
    let [one, two, three] = solo.others()[..] else { unreachable!() };
    let leader = solo.fixture.leader(1);
    let voter = [one, two, three].into_iter().find(|index| *index != leader).unwrap();
    solo.receive_vote(voter, notarize(proposal));
    solo.receive_vote(voter, finalize(proposal));
    solo.certified(&block, true);
    solo.wait_until(TIMING.retry_ms / 4);
    let sent: Vec<_> = solo.certificates_sent().into_iter().map(|(to, _)| to).collect();
    let lacking: Vec<_> = solo.others().into_iter().filter(|index| *index != voter).collect();
    assert_eq!(sent, lacking, "a finalize vote shows that its signer holds the notarization");
}
