//! Restarts, one engine at a time: what the journal brings back, and what it must never allow.

use super::fixture::{Fixture, TIMING, nullify, proposal_of};
use super::solo::{Solo, finalize, notarize, place_of};
use crate::{Engine, Input, JournalRecord, Output, Verdict};
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Subject, VoteKind};
use std::sync::Arc;

fn opening() -> crate::Head {
    Fixture::opening()
}

/// A follower that notarized view 1, certified and finalized it, and nullified view 2.
fn veteran() -> (Solo, Arc<cairn_primitives::Block>) {
    let mut solo = Solo::follower();
    let block = solo.certify_view(1, &opening());
    solo.wait_until(TIMING.leader_timeout_ms);
    assert!(solo.has_nullified(2));
    (solo, block)
}

#[test]
fn replay_restores_view_votes_and_asks_for_execution_again() {
    let (before, block) = veteran();
    let mut solo = before.restarted(before.journal());
    solo.connect();
    solo.input(Input::Restored(Arc::clone(&block)));
    solo.input(Input::Start);
    assert_eq!(solo.view(), 2);
    assert_eq!(solo.certifying(), [block.header.hash()], "the ledger lost its overlay");
    assert!(solo.votes().contains(&nullify(2)));
    assert!(solo.votes().contains(&finalize(proposal_of(&block, 0))), "R18 goes on");
}

#[test]
fn replay_lost_body_is_fetched_from_peers() {
    let (before, block) = veteran();
    let mut solo = before.restarted(before.journal());
    solo.connect();
    solo.input(Input::Start);
    assert_eq!(solo.fetched_blocks(), [block.header.hash()]);
    let peer = solo.others()[0];
    solo.receive(peer, ConsensusMessage::Block(Arc::clone(&block)));
    assert_eq!(solo.certifying(), [block.header.hash()]);
}

#[test]
fn replay_undecided_certification_is_asked_for_again_and_decided() {
    let mut before = Solo::follower();
    let block = before.block(1, &opening());
    let proposal = before.receive_proposal(&block, 0);
    before.receive_certificate(notarize(proposal));
    let mut solo = before.restarted(before.journal());
    solo.connect();
    solo.input(Input::Start);
    let peer = solo.others()[0];
    solo.receive(peer, ConsensusMessage::Block(Arc::clone(&block)));
    solo.certified(&block, true);
    assert_eq!((solo.view(), solo.votes()), (2, vec![finalize(proposal)]));
}

#[test]
fn replay_any_prefix_order_or_repetition_never_allows_a_second_vote() {
    let (before, block) = veteran();
    let journal = before.journal();
    let other = before.fixture.block(1, &opening(), super::fixture::WALL + 1, 77);
    for length in 0..=journal.len() {
        let prefix = &journal[..length];
        let reversed: Vec<_> = prefix.iter().rev().cloned().collect();
        let doubled: Vec<_> = prefix.iter().chain(prefix).cloned().collect();
        for records in [prefix.to_vec(), reversed, doubled] {
            let logged: Vec<_> = records
                .iter()
                .filter_map(|record| match record {
                    JournalRecord::Vote(vote) => Some(vote.subject),
                    JournalRecord::Certificate(_)
                    | JournalRecord::Certified { .. }
                    | JournalRecord::Floor { .. }
                    | JournalRecord::Silence { .. } => None,
                })
                .collect();
            let mut solo = before.restarted(records);
            solo.connect();
            solo.input(Input::Restored(Arc::clone(&block)));
            solo.input(Input::WorkAvailable(true));
            solo.input(Input::Start);
            solo.certified(&block, true);
            solo.receive_proposal(&other, 0);
            solo.verified(&other, Verdict::Valid);
            solo.wait_until(solo.time + 10 * TIMING.certify_timeout_ms);
            let votes: Vec<Subject> = solo.votes_ever().into_iter().chain(logged).collect();
            for vote in &votes {
                let clashes = |other: &Subject| cairn_primitives::evidence::excludes(vote, other);
                assert!(!votes.iter().any(clashes), "records {length}: {votes:?}");
            }
        }
    }
}

#[test]
fn replay_no_nullify_after_finalize() {
    let mut before = Solo::follower();
    let block = before.certify_view(1, &opening());
    let finalize_only = before
        .journal()
        .into_iter()
        .filter(|record| matches!(record, JournalRecord::Vote(vote) if vote.subject.kind() == VoteKind::Finalize));
    let mut solo = before.restarted(finalize_only);
    solo.input(Input::Start);
    assert_eq!(solo.view(), 2, "a finalize vote shows that the view was certified");
    solo.wait_until(solo.time + 10_000);
    assert!(!solo.has_nullified(1));
    assert!(solo.votes_ever().contains(&finalize(proposal_of(&block, 0))));
}

#[test]
fn replay_does_not_count_a_signer_twice() {
    let mut before = Solo::follower();
    before.wait_until(TIMING.leader_timeout_ms);
    let own_vote = before.fixture.vote(before.own, nullify(1));
    let record = JournalRecord::Vote(own_vote);
    let mut solo = before.restarted([record.clone(), record]);
    solo.connect();
    solo.input(Input::Start);
    solo.wait_until(solo.time + 3 * TIMING.retry_ms);
    let one = solo.others()[0];
    solo.receive_vote(one, nullify(1));
    assert_eq!(solo.view(), 1, "two of four, however often ours was fed");
    let two = solo.others()[1];
    solo.receive_vote(two, nullify(1));
    assert_eq!(solo.view(), 2, "and ours does count");
}

#[test]
fn replay_records_at_or_below_the_committed_block_are_skipped() {
    let (before, block) = veteran();
    let mut config = before.fixture.config(Some(before.own));
    config.committed = place_of(&block);
    let mut solo = Solo::with(before.fixture.clone(), before.own, config);
    for record in before.journal() {
        solo.input(Input::Replay(record));
    }
    solo.connect();
    solo.input(Input::Start);
    assert_eq!(solo.view(), 2);
    assert_eq!((solo.certifying(), solo.fetched_blocks()), (vec![], vec![]));
}

#[test]
fn replay_finalization_above_the_head_is_committed_again() {
    let mut before = Solo::follower();
    let block = before.certify_view(1, &opening());
    let proposal = proposal_of(&block, 0);
    before.receive_votes(2, finalize(proposal));
    assert_eq!(before.finalizing().len(), 1);
    let mut solo = before.restarted(before.journal());
    solo.input(Input::Restored(Arc::clone(&block)));
    solo.input(Input::Start);
    assert_eq!(solo.certifying(), [block.header.hash()]);
    solo.certified(&block, true);
    assert_eq!(solo.finalizing(), [block.header.hash()]);
}

#[test]
fn replay_foreign_or_damaged_certificate_is_not_believed() {
    let before = Solo::follower();
    let certificate = before.fixture.certificate(nullify(5));
    let votes = certificate.signatures().map(|(index, mut signature)| {
        signature.0[0] ^= 1;
        (index, signature)
    });
    let damaged = cairn_primitives::Certificate::from_signatures(nullify(5), votes, &before.fixture.set);
    let mut solo = before.restarted([JournalRecord::Certificate(damaged)]);
    solo.input(Input::Start);
    assert_eq!(solo.view(), 1);
    let mut solo = before.restarted([JournalRecord::Certificate(certificate)]);
    solo.input(Input::Start);
    assert_eq!(solo.view(), 6);
}

#[test]
fn start_before_it_nothing_is_answered_or_signed() {
    let mut solo = Solo::unstarted(1);
    solo.connect();
    solo.input(Input::WorkAvailable(true));
    let block = solo.block(2, &opening());
    solo.receive_proposal(&block, 0);
    solo.wait_until(10_000);
    assert_eq!(solo.all, []);
    assert_eq!(solo.engine.next_deadline(), None);
}

#[test]
fn committed_elsewhere_moves_on_and_keeps_what_lies_above() {
    let mut solo = Solo::follower();
    let first = solo.block(1, &opening());
    let second = solo.block(2, &place_of(&first));
    let third = solo.block(3, &place_of(&second));
    solo.receive_certificate(finalize(proposal_of(&third, 2)));
    let peer = solo.others()[0];
    solo.receive(peer, ConsensusMessage::Block(Arc::clone(&third)));
    let place = place_of(&second);
    let certificate = solo.fixture.certificate(finalize(proposal_of(&second, 1)));
    solo.input(Input::CommittedElsewhere { height: place.height, timestamp: place.timestamp, certificate });
    assert_eq!(solo.certifying(), [third.header.hash()]);
    solo.certified(&third, true);
    assert_eq!(solo.finalizing(), [third.header.hash()]);
    let is_behind = |output: &Output| matches!(output, Output::Behind { .. });
    solo.wait_until(solo.time + 10 * TIMING.retry_ms);
    assert!(!solo.last.iter().any(is_behind));
}

#[test]
fn config_contradictions_are_refused() {
    let fixture = Fixture::equal(4);
    let mut config = fixture.config(None);
    config.timing.certify_timeout_ms = config.timing.leader_timeout_ms;
    assert!(Engine::new(config).is_err());
    let mut config = fixture.config(None);
    config.timing.retry_ms = 0;
    assert!(Engine::new(config).is_err());
    let mut config = fixture.config(None);
    config.timing.block_interval_ms = config.timing.idle_block_interval_ms + 1;
    assert!(Engine::new(config).is_err());
    let mut config = fixture.config(None);
    config.committed.height = cairn_primitives::Height(1);
    assert!(Engine::new(config).is_err());
}
