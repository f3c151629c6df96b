//! What an engine says about itself when an operator asks.

use super::fixture::proposal_of;
use super::solo::Solo;
use crate::state::NeededVotes;
use crate::{EpochConfig, Silence, VoteGuard};
use cairn_primitives::{Power, Subject, ValidatorIndex, View, VoteKind};

fn sorted(mut indices: Vec<ValidatorIndex>) -> Vec<ValidatorIndex> {
    indices.sort_unstable();
    indices
}

#[test]
fn why_without_a_proposal_names_the_leader_and_when_it_was_heard() {
    let mut solo = Solo::follower();
    solo.wait_until(50);
    let state = solo.engine.state(solo.now());
    let leader = solo.fixture.leader(1);
    assert_eq!((state.rule, state.leader), (Some("R4"), leader));
    assert!(state.needed.is_empty());
    let key = state.validators[leader.position()].key.to_string();
    let expected =
        format!("Waiting for validator {leader} ({}, connected, heard 0.0 s ago) to propose in view 1.", &key[..10]);
    assert_eq!(state.why, expected);
    assert_eq!(state.waiting_for, format!("R4: the proposal of validator {leader}"));
}

#[test]
fn why_after_expiry_names_those_whose_nullify_is_not_here() {
    let mut solo = Solo::follower();
    let [first, second, third] = solo.others()[..] else { panic!("three others") };
    solo.input(crate::Input::Peer { validator: third, connected: false });
    solo.wait_until(5_000);
    solo.receive_vote(first, Subject::Nullify { epoch: super::fixture::EPOCH, view: View(1) });
    let state = solo.engine.state(solo.now());
    let missing = sorted(vec![second, third]);
    let needed = NeededVotes { kind: VoteKind::Nullify, view: View(1), seen: Power(2), missing: missing.clone() };
    assert_eq!((state.rule, state.needed), (Some("R13"), vec![needed]));
    assert!(state.nullify_cast && !state.finalize_cast);
    let start = "Waiting for votes: 2 of 3 power has nullified view 1, given up since no proposal came in time (R10); \
                 missing: validator ";
    assert!(state.why.starts_with(start), "{}", state.why);
    for index in missing {
        let reach = if index == third { "out of reach" } else { "connected" };
        let key = state.validators[index.position()].key.to_string();
        let name = format!("validator {index} ({}, {reach}, heard 5.0 s ago)", &key[..10]);
        assert!(state.why.contains(&name), "{} does not name {name}", state.why);
    }
}

#[test]
fn why_with_a_proposal_counts_notarize_votes() {
    let mut solo = Solo::follower();
    let opening = super::fixture::Fixture::opening();
    let block = solo.fixture.block(1, &opening, super::fixture::WALL, 1);
    let proposal = proposal_of(&block, 0);
    let leader = solo.fixture.leader(1);
    solo.receive(leader, solo.fixture.proposal_message(proposal, &block));
    assert_eq!(solo.engine.state(solo.now()).rule, Some("R5"));
    solo.input(crate::Input::Verified { block: proposal.block, verdict: crate::Verdict::Valid });
    let state = solo.engine.state(solo.now());
    assert_eq!(state.rule, Some("R7"));
    let missing: Vec<_> = solo.others().into_iter().filter(|index| *index != leader).collect();
    assert_eq!(state.needed[0].missing, sorted(missing));
    assert!(
        state.why.starts_with("Waiting for votes: 2 of 3 power has notarized the block of view 1"),
        "{}",
        state.why
    );
}

#[test]
fn why_of_a_validator_that_lost_its_record_says_that_it_keeps_silent() {
    let whole = Solo::follower();
    let guard = VoteGuard::without_record(whole.fixture.key(whole.own), super::fixture::GENESIS);
    let config = EpochConfig { guard: Some(guard), ..whole.fixture.config(Some(whole.own)) };
    let mut solo = Solo::with(whole.fixture.clone(), whole.own, config);
    solo.start();
    let state = solo.engine.state(solo.now());
    assert_eq!(state.silence, Some(Silence::RecordLost));
    let start = "This validator does not vote: the record of its votes is lost or too old";
    assert!(state.why.starts_with(start) && state.why.contains("Waiting for validator"), "{}", state.why);
}
