//! Each rule by itself, on one engine.

use super::fixture::{EPOCH, Fixture, TIMING, WALL, nullify, proposal_of};
use super::solo::{Solo, certificate_message, finalize, forged, notarize, place_of};
use crate::{Input, Offence, Output, Verdict};
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Certificate, Epoch, Hash, Subject, View, VoteKind};
use std::sync::Arc;

fn opening() -> crate::Head {
    Fixture::opening()
}

#[test]
fn r1_enter_certified_notarization_moves_on() {
    let mut solo = Solo::follower();
    let block = solo.block(1, &opening());
    let proposal = solo.receive_proposal(&block, 0);
    solo.receive_certificate(notarize(proposal));
    assert_eq!(solo.view(), 1, "notarized is not certified");
    solo.certified(&block, true);
    assert_eq!(solo.view(), 2);
}

#[test]
fn r1_enter_nullification_and_finalization_jump_far() {
    let mut solo = Solo::follower();
    solo.receive_certificate(nullify(20));
    assert_eq!(solo.view(), 21);
    let block = solo.block(40, &opening());
    solo.receive_certificate(finalize(proposal_of(&block, 0)));
    assert_eq!(solo.view(), 41);
    solo.receive_certificate(nullify(39));
    assert_eq!(solo.view(), 41, "never back");
}

#[test]
fn r2_skip_silent_leader_expires_at_once() {
    let mut solo = Solo::started(1);
    let silent = solo.fixture.leader(2);
    let others: Vec<_> = solo.others().into_iter().filter(|index| *index != silent).collect();
    solo.time = TIMING.skip_timeout_ms + 1;
    for index in others {
        solo.receive_vote(index, nullify(1));
    }
    assert_eq!(solo.view(), 2, "with our own, given after the deadline, these are three");
    assert!(solo.has_nullified(2), "view 2 is given up on entry");
}

#[test]
fn r2_skip_ignored_when_a_proposal_is_buffered() {
    let mut solo = Solo::started(1);
    solo.time = 1;
    let block = solo.block(2, &opening());
    solo.receive_proposal(&block, 0);
    solo.time = TIMING.skip_timeout_ms + 2;
    let silent = solo.fixture.leader(2);
    let others: Vec<_> = solo.others().into_iter().filter(|index| *index != silent).collect();
    for index in others {
        solo.receive_vote(index, nullify(1));
    }
    solo.input(Input::Tick);
    assert_eq!(solo.view(), 2);
    assert!(!solo.has_nullified(2));
    assert_eq!(solo.all.iter().filter(|output| matches!(output, Output::Verify { .. })).count(), 1);
}

#[test]
fn r3_propose_leader_asks_once_and_notarizes_its_block() {
    let mut solo = Solo::leader();
    assert_eq!(solo.proposing(), [opening().hash]);
    solo.input(Input::Tick);
    assert_eq!(solo.proposing(), []);
    let block = solo.block(1, &opening());
    solo.input(Input::Proposed { view: View(1), block: Some(Arc::clone(&block)) });
    assert_eq!(solo.votes(), [notarize(proposal_of(&block, 0))]);
    let is_proposal = |output: &Output| matches!(output, Output::Broadcast(ConsensusMessage::Proposal { .. }));
    assert!(solo.last.iter().any(is_proposal), "the vote travels with the block");
    assert!(matches!(solo.last[0], Output::Journal(_)), "the journal comes first");
}

#[test]
fn r3_propose_parent_is_the_highest_certified_over_nullified_views() {
    let mut solo = Solo::started(4);
    let block = solo.certify_view(1, &opening());
    solo.receive_certificate(nullify(2));
    solo.receive_certificate(nullify(3));
    assert_eq!(solo.proposing(), [place_of(&block).hash]);
}

#[test]
fn r3_propose_missing_nullification_is_fetched_first() {
    let mut solo = Solo::started(4);
    solo.certify_view(1, &opening());
    solo.receive_certificate(nullify(3));
    assert_eq!(solo.fetched(), [(2, VoteKind::Nullify)]);
    assert_eq!(solo.proposing(), []);
    solo.receive_certificate(nullify(2));
    assert_eq!(solo.proposing().len(), 1);
}

#[test]
fn r3_propose_no_block_gives_the_view_up() {
    let mut solo = Solo::leader();
    solo.input(Input::Proposed { view: View(1), block: None });
    assert_eq!(solo.votes(), [nullify(1)]);
}

#[test]
fn r3_propose_unfit_block_of_the_ledger_is_never_signed() {
    let mut solo = Solo::leader();
    let block = solo.block(5, &opening());
    solo.input(Input::Proposed { view: View(1), block: Some(block) });
    assert_eq!(solo.votes(), [nullify(1)]);
}

#[test]
fn r4_slot_second_proposal_stops_our_votes() {
    let mut solo = Solo::follower();
    let first = solo.block(1, &opening());
    let second = solo.fixture.block(1, &opening(), WALL + 1, 99);
    let proposal = solo.receive_proposal(&first, 0);
    solo.receive_proposal(&second, 0);
    assert_eq!(solo.evidence_count(), 1);
    solo.verified(&first, Verdict::Valid);
    assert_eq!(solo.votes(), [], "no notarize");
    solo.receive_certificate(notarize(proposal));
    solo.certified(&first, true);
    assert_eq!(solo.votes(), [], "no finalize");
    assert_eq!(solo.view(), 2, "but the view goes on");
}

#[test]
fn r4_slot_certificate_replaces_its_content() {
    let mut solo = Solo::follower();
    let mine = solo.block(1, &opening());
    let theirs = solo.fixture.block(1, &opening(), WALL + 1, 99);
    solo.receive_proposal(&mine, 0);
    solo.verified(&mine, Verdict::Valid);
    solo.receive_certificate(notarize(proposal_of(&theirs, 0)));
    assert_eq!(solo.fetched_blocks(), [theirs.header.hash()]);
    solo.receive(solo.others()[1], ConsensusMessage::Block(Arc::clone(&theirs)));
    assert_eq!(solo.certifying(), [theirs.header.hash()]);
    solo.certified(&theirs, true);
    assert_eq!((solo.view(), solo.votes()), (2, vec![]), "certified, not finalized by us");
}

#[test]
fn r5_ancestry_gap_and_parent_are_fetched_then_checked_again() {
    let mut solo = Solo::started(1);
    let parent = solo.block(1, &opening());
    solo.receive_certificate(nullify(3));
    let block = solo.block(4, &place_of(&parent));
    solo.receive_proposal(&block, 1);
    assert_eq!(solo.fetched(), [(1, VoteKind::Notarize), (2, VoteKind::Nullify)]);
    solo.receive_certificate(nullify(2));
    assert_eq!(solo.verifying(), []);
    solo.receive_certificate(notarize(proposal_of(&parent, 0)));
    assert_eq!(solo.fetched_blocks(), [parent.header.hash()]);
    solo.receive(solo.others()[0], ConsensusMessage::Block(Arc::clone(&parent)));
    assert_eq!(solo.verifying(), [], "the parent is not certified yet");
    solo.certified(&parent, true);
    assert_eq!(solo.verifying(), [block.header.hash()]);
}

#[test]
fn r5_ancestry_parent_below_last_finalized_is_invalid() {
    let mut solo = Solo::follower();
    let first = solo.certify_view(1, &opening());
    solo.receive_certificate(finalize(proposal_of(&first, 0)));
    let block = solo.block(2, &opening());
    solo.receive_proposal(&block, 0);
    assert_eq!(solo.votes(), [nullify(2)]);
    assert_eq!(solo.blamed(), [Offence::InvalidProposal]);
}

#[test]
fn r5_context_each_wrong_part_is_invalid() {
    let wrong_height = crate::Head { height: opening().height.next(), ..opening() };
    let wrong_parent = crate::Head { hash: Hash([8; 32]), ..opening() };
    for (parent, timestamp, what) in [
        (wrong_height, WALL + 1, "height"),
        (wrong_parent, WALL + 1, "parent"),
        (opening(), WALL - 2, "timestamp not above the parent's"),
    ] {
        let mut solo = Solo::follower();
        let block = solo.fixture.block(1, &parent, timestamp, 1);
        solo.receive_proposal(&block, 0);
        assert_eq!((solo.votes(), solo.verifying()), (vec![nullify(1)], vec![]), "{what}");
    }
}

#[test]
fn r5_block_whose_body_is_not_its_headers_is_refused() {
    let mut solo = Solo::follower();
    let block = solo.block(1, &opening());
    let mut other = (*block).clone();
    other.extrinsics.clear();
    let message = solo.fixture.proposal_message(proposal_of(&block, 0), &Arc::new(other));
    solo.receive(solo.fixture.leader(1), message);
    assert_eq!((solo.blamed(), solo.verifying()), (vec![Offence::BadBlock], vec![]));
}

#[test]
fn r5_timestamp_ahead_of_our_clock_waits_and_is_never_invalid() {
    let mut solo = Solo::follower();
    let block = solo.fixture.block(1, &opening(), WALL + 2100, 1);
    solo.receive_proposal(&block, 0);
    assert_eq!((solo.verifying(), solo.blamed()), (vec![], vec![]));
    solo.wait_until(99);
    assert_eq!(solo.verifying(), []);
    solo.wait_until(100);
    assert_eq!(solo.verifying(), [block.header.hash()]);
}

#[test]
fn r5_verdict_not_yet_asks_again_and_invalid_gives_up() {
    let mut solo = Solo::follower();
    let block = solo.block(1, &opening());
    solo.receive_proposal(&block, 0);
    solo.verified(&block, Verdict::NotYet { retry_ms: 30 });
    solo.wait_until(29);
    assert_eq!(solo.verifying(), []);
    solo.wait_until(30);
    assert_eq!(solo.verifying(), [block.header.hash()]);
    solo.verified(&block, Verdict::Invalid("weight".into()));
    assert_eq!((solo.votes(), solo.blamed()), (vec![nullify(1)], vec![Offence::InvalidProposal]));
}

#[test]
fn r6_notarize_valid_proposal_once_and_not_after_nullify() {
    let mut solo = Solo::follower();
    let block = solo.block(1, &opening());
    let proposal = solo.receive_proposal(&block, 0);
    assert_eq!(solo.votes(), []);
    solo.verified(&block, Verdict::Valid);
    assert_eq!(solo.votes(), [notarize(proposal)]);
    solo.verified(&block, Verdict::Valid);
    assert_eq!(solo.votes(), []);

    let mut solo = Solo::follower();
    solo.receive_proposal(&block, 0);
    solo.wait_until(TIMING.certify_timeout_ms);
    assert!(solo.has_nullified(1));
    solo.verified(&block, Verdict::Valid);
    assert_eq!(solo.votes(), []);
}

#[test]
fn r7_notarization_of_an_unseen_proposal_is_certified() {
    let mut solo = Solo::follower();
    let block = solo.block(1, &opening());
    solo.receive_votes(3, notarize(proposal_of(&block, 0)));
    assert_eq!(solo.fetched_blocks(), [block.header.hash()]);
    solo.receive(solo.others()[0], ConsensusMessage::Block(Arc::clone(&block)));
    assert_eq!(solo.certifying(), [block.header.hash()]);
    solo.certified(&block, true);
    assert_eq!(solo.votes(), [finalize(proposal_of(&block, 0))], "R9: notarizing it ourselves is not required");
}

#[test]
fn r8_certify_false_is_logged_and_never_a_parent() {
    let mut solo = Solo::started(2);
    let block = solo.block(1, &opening());
    let proposal = solo.receive_proposal(&block, 0);
    solo.receive_certificate(notarize(proposal));
    solo.certified(&block, false);
    assert_eq!(solo.votes(), [nullify(1)]);
    let is_verdict =
        |output: &Output| matches!(output, Output::Journal(crate::JournalRecord::Certified { holds: false, .. }));
    assert!(solo.last.iter().any(is_verdict));
    solo.receive_votes(2, nullify(1));
    assert_eq!((solo.view(), solo.proposing()), (2, vec![opening().hash]));
    solo.receive(
        solo.others()[0],
        ConsensusMessage::FetchCertificate { kind: VoteKind::Notarize, epoch: EPOCH, view: View(1) },
    );
    assert_eq!(solo.certificates_sent()[0].1, nullify(1), "the failed notarization is not served");
}

#[test]
fn r9_finalize_not_after_nullify() {
    let mut solo = Solo::follower();
    let block = solo.block(1, &opening());
    let proposal = solo.receive_proposal(&block, 0);
    solo.wait_until(TIMING.certify_timeout_ms);
    assert!(solo.has_nullified(1));
    solo.receive_certificate(notarize(proposal));
    solo.certified(&block, true);
    assert_eq!((solo.view(), solo.votes()), (2, vec![]));
}

#[test]
fn r10_nullify_on_leader_deadline_and_again_with_what_lets_others_follow() {
    let mut solo = Solo::follower();
    let block = solo.certify_view(1, &opening());
    solo.wait_until(TIMING.leader_timeout_ms - 1);
    assert!(!solo.has_nullified(2));
    solo.wait_until(TIMING.leader_timeout_ms);
    assert_eq!(solo.votes(), [finalize(proposal_of(&block, 0)), nullify(2)], "R18, then R10");
    solo.wait_until(TIMING.leader_timeout_ms + TIMING.retry_ms);
    assert!(solo.votes().contains(&nullify(2)), "again after the retry interval");
    let certificates = solo.certificates_sent();
    assert_eq!(certificates.len(), 3);
    assert!(certificates.iter().all(|(_, subject)| *subject == notarize(proposal_of(&block, 0))));
    let ahead = solo.others()[0];
    solo.receive_vote(ahead, nullify(2));
    solo.wait_until(TIMING.leader_timeout_ms + 2 * TIMING.retry_ms);
    assert!(solo.certificates_sent().iter().all(|(to, _)| *to != ahead), "not to those who are here already");
}

#[test]
fn r10_deadlines_scale_after_nullified_views() {
    let mut solo = Solo::follower();
    solo.receive_certificate(nullify(1));
    solo.receive_certificate(nullify(2));
    solo.wait_until(2 * TIMING.leader_timeout_ms - 1);
    assert!(!solo.has_nullified(3));
    solo.wait_until(2 * TIMING.leader_timeout_ms);
    assert!(solo.has_nullified(3));
}

#[test]
fn r12_nullify_of_the_leader_gives_the_view_up_at_once() {
    let mut solo = Solo::follower();
    solo.receive_vote(solo.fixture.leader(1), nullify(1));
    assert_eq!(solo.votes(), [nullify(1)]);
    let mut solo = Solo::follower();
    solo.receive_vote(solo.fixture.leader(2), nullify(1));
    assert_eq!(solo.votes(), [], "somebody else's does not");
}

#[test]
fn r13_nullification_formed_from_votes_enters_the_next_view() {
    let mut solo = Solo::follower();
    solo.receive_votes(3, nullify(1));
    assert_eq!(solo.view(), 2);
    solo.receive(
        solo.others()[0],
        ConsensusMessage::FetchCertificate { kind: VoteKind::Nullify, epoch: EPOCH, view: View(1) },
    );
    assert_eq!(solo.certificates_sent(), [(solo.others()[0], nullify(1))]);
}

#[test]
fn r14_finalization_commits_ancestors_first_and_cancels_certifications() {
    let mut solo = Solo::follower();
    let first = solo.certify_view(1, &opening());
    let second = solo.certify_view(2, &place_of(&first));
    solo.receive_votes(2, finalize(proposal_of(&second, 1)));
    assert_eq!(solo.finalizing(), [first.header.hash(), second.header.hash()]);
    assert_eq!(solo.finalized_view(), 2);
    solo.receive_certificate(notarize(proposal_of(&first, 0)));
    assert_eq!(solo.certifying(), []);
}

#[test]
fn r14_finalization_without_blocks_fetches_them_and_then_reports_behind() {
    let mut solo = Solo::follower();
    let first = solo.block(1, &opening());
    let second = solo.block(2, &place_of(&first));
    solo.receive_certificate(finalize(proposal_of(&second, 1)));
    assert_eq!(solo.fetched_blocks(), [second.header.hash()]);
    solo.receive(solo.others()[0], ConsensusMessage::Block(Arc::clone(&second)));
    assert_eq!(solo.fetched_blocks(), [first.header.hash()]);
    solo.wait_until(TIMING.retry_ms);
    let is_behind = |output: &Output| matches!(output, Output::Behind { .. });
    assert!(solo.last.iter().any(is_behind));
    solo.receive(solo.others()[1], ConsensusMessage::Block(Arc::clone(&first)));
    assert_eq!(solo.certifying(), [first.header.hash()]);
    solo.certified(&first, true);
    assert_eq!(solo.certifying(), [second.header.hash()]);
    solo.certified(&second, true);
    assert_eq!(solo.finalizing(), [first.header.hash(), second.header.hash()]);
}

#[test]
fn r14_finalization_of_a_block_that_fails_here_stops_everything() {
    let mut solo = Solo::follower();
    let block = solo.block(1, &opening());
    let proposal = solo.receive_proposal(&block, 0);
    solo.receive_certificate(finalize(proposal));
    assert_eq!(solo.certifying(), [block.header.hash()]);
    solo.certified(&block, false);
    assert_eq!(solo.last, [Output::Diverged { block: block.header.hash() }]);
    solo.wait_until(10_000);
    assert_eq!(solo.last, [], "nothing is signed any more");
    assert_eq!(solo.engine.next_deadline(), None);
}

#[test]
fn r15_admission_votes_outside_the_window_are_dropped() {
    let mut solo = Solo::follower();
    solo.receive_votes(3, nullify(3));
    assert_eq!(solo.view(), 1, "two views ahead");
    solo.receive_votes(3, nullify(2));
    assert_eq!(solo.view(), 3, "one view ahead counts");
    solo.receive_votes(3, nullify(0));
    assert_eq!(solo.blamed(), []);
}

#[test]
fn r15_admission_offences_cost_the_sender_and_a_wrong_epoch_does_not() {
    let mut solo = Solo::follower();
    let [one, other, _] = solo.others()[..] else { unreachable!() };
    let vote = solo.fixture.vote(one, nullify(1));
    solo.receive(other, ConsensusMessage::Vote(vote));
    assert_eq!(solo.blamed(), [Offence::NotTheSigner]);
    let ahead = Subject::Nullify { epoch: Epoch(EPOCH.0 + 1), view: View(1) };
    solo.receive_vote(one, ahead);
    assert_eq!(solo.last, []);
    let thin = Certificate::from_signatures(
        nullify(5),
        [(one, solo.fixture.vote(one, nullify(5)).signature)],
        &solo.fixture.set,
    );
    solo.receive(one, certificate_message(thin));
    assert_eq!(solo.blamed(), [Offence::BadCertificate]);
    let block = solo.block(1, &opening());
    let message = solo.fixture.proposal_message(proposal_of(&block, 0), &block);
    solo.receive(solo.fixture.leader(2), message);
    assert_eq!(solo.blamed(), [Offence::BadProposal], "not the leader");
}

#[test]
fn r16_tally_verifies_nothing_before_a_quorum_and_then_names_the_forger() {
    let mut solo = Solo::follower();
    let [one, two, three] = solo.others()[..] else { unreachable!() };
    let bad = forged(solo.fixture.vote(one, nullify(2)));
    solo.receive(one, ConsensusMessage::Vote(bad));
    solo.receive_vote(two, nullify(2));
    assert_eq!(solo.blamed(), []);
    solo.receive_vote(three, nullify(2));
    assert_eq!((solo.blamed(), solo.view()), (vec![Offence::BadSignature], 1));
    solo.receive_vote(one, nullify(2));
    assert_eq!(solo.view(), 3, "the right vote still counts");
}

#[test]
fn r16_tally_counts_power_not_heads() {
    let fixture = Fixture::new(&[1, 1, 1, 7]);
    let strong = fixture.set.indices().last().unwrap();
    let own = fixture.set.indices().next().unwrap();
    let config = fixture.config(Some(own));
    let mut solo = Solo::with(fixture, own, config);
    solo.start();
    let view = solo.view();
    let weak: Vec<_> = solo.others().into_iter().filter(|index| *index != strong).collect();
    for index in weak {
        solo.receive_vote(index, nullify(view));
    }
    solo.wait_until(TIMING.certify_timeout_ms);
    assert_eq!(solo.view(), view, "three of ten");
    solo.receive_vote(strong, nullify(view));
    assert!(solo.view() > view);
}

#[test]
fn r17_evidence_of_each_conflict_once() {
    let block = Solo::follower().block(1, &opening());
    let (one, other) = (proposal_of(&block, 0), {
        let other = Solo::follower().fixture.block(1, &opening(), WALL + 1, 99);
        proposal_of(&other, 0)
    });
    for (first, second) in [
        (notarize(one), notarize(other)),
        (finalize(one), finalize(other)),
        (finalize(one), nullify(1)),
        (nullify(1), finalize(one)),
    ] {
        let mut solo = Solo::follower();
        let villain = solo.others()[2];
        solo.receive_vote(villain, first);
        solo.receive_vote(villain, second);
        assert_eq!((solo.evidence_count(), solo.blamed()), (1, vec![Offence::Conflict]), "{first:?} {second:?}");
        solo.receive_vote(villain, second);
        assert_eq!(solo.evidence_count(), 1);
    }
    let mut solo = Solo::follower();
    let honest = solo.others()[2];
    solo.receive_vote(honest, notarize(one));
    solo.receive_vote(honest, nullify(1));
    assert_eq!(solo.evidence_count(), 0, "nullify after notarize is allowed");
}

#[test]
fn r17_evidence_against_a_signer_of_a_certificate_verifies_offline() {
    let mut solo = Solo::follower();
    let block = solo.block(1, &opening());
    let certificate = solo.fixture.certificate(finalize(proposal_of(&block, 0)));
    let signer = certificate.signatures().map(|(index, _)| index).find(|index| *index != solo.own).unwrap();
    solo.receive_vote(signer, nullify(1));
    solo.receive(solo.others()[0], certificate_message(certificate));
    let evidence = solo.all.iter().find_map(|output| match output {
        Output::Evidence(evidence) => Some(evidence.clone()),
        _ => None,
    });
    let evidence = evidence.unwrap();
    assert_eq!(Some(evidence.offender()), solo.fixture.set.get(signer).map(|validator| validator.key));
    assert_eq!(evidence.verify(&super::fixture::GENESIS), Ok(()));
    assert!(evidence.verify(&Hash::ZERO).is_err(), "of another chain it proves nothing");
}

#[test]
fn r17_evidence_is_not_made_of_forged_votes() {
    let mut solo = Solo::follower();
    let villain = solo.others()[2];
    let block = solo.block(1, &opening());
    let bad = forged(solo.fixture.vote(villain, finalize(proposal_of(&block, 0))));
    solo.receive(villain, ConsensusMessage::Vote(bad));
    solo.receive_vote(villain, nullify(1));
    assert_eq!((solo.evidence_count(), solo.blamed()), (0, vec![Offence::BadSignature]));
}

#[test]
fn r18_finalize_is_sent_again_until_the_view_is_finalized() {
    let mut solo = Solo::follower();
    let block = solo.certify_view(1, &opening());
    let subject = finalize(proposal_of(&block, 0));
    solo.wait_until(TIMING.retry_ms);
    assert_eq!(solo.votes(), [subject]);
    solo.receive_votes(2, subject);
    solo.wait_until(4 * TIMING.retry_ms);
    assert!(!solo.votes().contains(&subject));
}
