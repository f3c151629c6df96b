//! The end of an epoch, and the silence after a lost record, at one engine.

use super::fixture::{EPOCH, Fixture, TIMING, place, proposal_of};
use super::solo::{Solo, finalize, notarize};
use crate::{EpochConfig, Offence, Output, Silence, Verdict, VoteGuard};
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Block, Height, Proposal, Subject, View, VoteKind};
use std::sync::Arc;

/// An engine whose epoch ends with its second block, both certified: it is in view 3.
fn at_the_end(leads: u64) -> (Solo, Arc<Block>) {
    let fixture = Fixture::equal(4);
    let own = fixture.leader(leads);
    let closing = Some(Height(Fixture::opening().height.0 + 2));
    let config = EpochConfig { closing, ..fixture.config(Some(own)) };
    let mut solo = Solo::with(fixture, own, config);
    solo.start();
    let first = solo.certify_view(1, &Fixture::opening());
    let second = solo.certify_view(2, &place(&first));
    (solo, second)
}

fn again(block: &Block, view: u64, parent_view: u64) -> Proposal {
    Proposal { view: View(view), parent_view: View(parent_view), ..proposal_of(block, 1) }
}

#[test]
fn closing_block_is_proposed_again_by_a_vote_alone() {
    let (mut solo, closing) = at_the_end(3);
    assert!(solo.proposing().is_empty() && solo.votes_ever().iter().all(|vote| vote.view() < View(3)));
    solo.wait_until(TIMING.leader_timeout_ms / 2);
    assert!(solo.votes().contains(&notarize(again(&closing, 3, 2))));
    assert!(solo.all.iter().all(|output| !matches!(output, Output::Propose { .. })), "nothing is built on it");
}

#[test]
fn closing_block_proposed_again_is_notarized_without_asking_the_ledger() {
    let (mut solo, closing) = at_the_end(4);
    let leader = solo.fixture.leader(3);
    solo.receive_vote(leader, notarize(again(&closing, 3, 2)));
    assert_eq!(solo.votes(), [notarize(again(&closing, 3, 2))]);
    assert!(solo.verifying().is_empty());
}

#[test]
fn closing_block_proposed_again_with_a_gap_waits_for_the_nullification() {
    let (mut solo, closing) = at_the_end(3);
    solo.receive_certificate(Subject::Nullify { epoch: EPOCH, view: View(3) });
    let leader = solo.fixture.leader(4);
    solo.receive_vote(leader, notarize(again(&closing, 4, 2)));
    assert_eq!(solo.votes(), [notarize(again(&closing, 4, 2))]);
}

#[test]
fn block_on_the_closing_block_is_refused() {
    let (mut solo, closing) = at_the_end(4);
    let child = solo.block(3, &place(&closing));
    solo.receive_proposal(&child, 2);
    assert_eq!(solo.blamed(), [Offence::InvalidProposal]);
    assert!(solo.has_nullified(3) && solo.verifying().is_empty());
}

#[test]
fn closing_block_final_in_a_later_view_ends_the_engine() {
    let (mut solo, closing) = at_the_end(4);
    let repeated = again(&closing, 3, 2);
    solo.receive_certificate(notarize(repeated));
    assert_eq!(solo.certifying(), [], "it was executed as the block of view 2");
    assert_eq!(solo.view(), 4);
    solo.receive_certificate(finalize(repeated));
    assert_eq!(solo.finalizing().last(), Some(&closing.header.hash()));
    assert!(solo.engine.is_closed());
    assert_eq!(solo.engine.committed().view, View(3), "the view of its finalization");
    assert_eq!(solo.engine.next_deadline(), None);
    solo.wait_until(1_000_000);
    assert!(solo.last.is_empty(), "{:?}", solo.last);
}

/// Nobody needs votes of an epoch that is over, whatever still comes in.
#[test]
fn engine_that_is_closed_votes_no_more() {
    let (mut solo, closing) = at_the_end(3);
    let silent = solo.fixture.leader(4);
    let others: Vec<_> = solo.others().into_iter().filter(|index| *index != silent).collect();
    solo.receive_certificate(finalize(proposal_of(&closing, 1)));
    assert!(solo.engine.is_closed());
    solo.time = 10_000;
    for index in &others {
        solo.receive_vote(*index, Subject::Nullify { epoch: EPOCH, view: View(3) });
    }
    let before = solo.votes_ever();
    let later = solo.fixture.certificate_without(finalize(again(&closing, 3, 2)), Some(solo.own));
    solo.receive(others[0], ConsensusMessage::Certificate(later));
    assert_eq!(solo.votes_ever(), before, "the leader of view 4 was silent for long, and nobody cares");
}

/// An engine whose epoch ends with its second block, which it does not know to be notarized: it is in view 3 since the
/// others gave view 2 up.
fn at_the_end_without_the_closing_block(leads: u64) -> (Solo, Arc<Block>) {
    let fixture = Fixture::equal(4);
    let own = fixture.leader(leads);
    let closing = Some(Height(Fixture::opening().height.0 + 2));
    let config = EpochConfig { closing, ..fixture.config(Some(own)) };
    let mut solo = Solo::with(fixture, own, config);
    solo.start();
    let first = solo.certify_view(1, &Fixture::opening());
    let second = solo.block(2, &place(&first));
    solo.receive_certificate(Subject::Nullify { epoch: EPOCH, view: View(2) });
    assert_eq!(solo.view(), 3);
    (solo, second)
}

/// A vote alone does not say what it is for: who lacks the closing block fetches it, or it could never follow a leader
/// that proposes it again.
#[test]
fn closing_block_proposed_again_to_one_that_lacks_it_is_fetched() {
    let (mut solo, closing) = at_the_end_without_the_closing_block(4);
    let repeated = again(&closing, 3, 2);
    let leader = solo.fixture.leader(3);
    solo.receive_vote(leader, notarize(repeated));
    assert_eq!(solo.fetched(), [(2, VoteKind::Notarize)]);
    solo.receive_certificate(notarize(proposal_of(&closing, 1)));
    assert_eq!(solo.fetched_blocks(), [closing.header.hash()]);
    solo.receive(leader, ConsensusMessage::Block(Arc::clone(&closing)));
    assert_eq!(solo.certifying(), [closing.header.hash()]);
    solo.certified(&closing, true);
    assert!(solo.votes().contains(&notarize(repeated)), "{:?}", solo.votes());
}

/// The closing block was certified only after the view after it had begun: it is proposed again as soon as if it had been
/// in time, not after the idle interval of a block that will never be built.
#[test]
fn closing_block_certified_late_is_proposed_again_without_the_idle_interval() {
    let mut fixture = Fixture::equal(4);
    fixture.timing.idle_block_interval_ms = 60_000;
    let own = fixture.leader(3);
    let closing = Some(Height(Fixture::opening().height.0 + 2));
    let config = EpochConfig { closing, ..fixture.config(Some(own)) };
    let mut solo = Solo::with(fixture, own, config);
    solo.start();
    solo.input(crate::Input::WorkAvailable(false));
    let first = solo.certify_view(1, &Fixture::opening());
    let second = solo.block(2, &place(&first));
    solo.receive_proposal(&second, 1);
    solo.verified(&second, Verdict::Valid);
    solo.receive_certificate(notarize(proposal_of(&second, 1)));
    solo.receive_certificate(Subject::Nullify { epoch: EPOCH, view: View(2) });
    assert_eq!(solo.view(), 3);
    solo.wait_until(30);
    solo.certified(&second, true);
    assert!(!solo.votes_ever().contains(&notarize(again(&second, 3, 2))), "its finalization may still come");
    solo.wait_until(30 + TIMING.leader_timeout_ms / 2);
    assert!(solo.votes_ever().contains(&notarize(again(&second, 3, 2))));
}

/// A lost record may hold votes of the next epoch, if its key saw the closing block final before the others did. So the
/// finality of that block says nothing about them: the others are asked again.
#[test]
fn silence_does_not_end_with_the_closing_block() {
    let fixture = Fixture::equal(4);
    let own = fixture.leader(4);
    let guard = Some(VoteGuard::without_record(fixture.key(own), super::fixture::GENESIS));
    let closing = Some(Height(Fixture::opening().height.0 + 2));
    let config = EpochConfig { guard, closing, ..fixture.config(Some(own)) };
    let mut solo = Solo::with(fixture, own, config);
    solo.start();
    for index in solo.others() {
        solo.receive(index, ConsensusMessage::Standing { epoch: EPOCH, view: View(1), entry: None });
    }
    assert_eq!(solo.engine.guard().unwrap().silence(), Some(Silence::Until { epoch: EPOCH, above: View(2) }));
    let first = solo.certify_view(1, &Fixture::opening());
    let second = solo.certify_view(2, &place(&first));
    solo.receive_certificate(notarize(again(&second, 3, 2)));
    solo.receive_certificate(finalize(again(&second, 3, 2)));
    assert!(solo.engine.is_closed());
    assert!(solo.engine.guard().unwrap().silence().is_some());
}

/// A record that turned out to be old stays so over a restart.
#[test]
fn silence_over_an_old_record_survives_a_restart() {
    let mut solo = Solo::follower();
    let nullify = solo.fixture.vote(solo.own, super::fixture::nullify(9));
    let others = solo.others();
    let signatures = others[..2].iter().map(|index| (*index, solo.fixture.vote(*index, nullify.subject).signature));
    let signatures: Vec<_> = signatures.chain([(solo.own, nullify.signature)]).collect();
    let old = cairn_primitives::Certificate::from_signatures(nullify.subject, signatures, &solo.fixture.set);
    solo.receive(others[0], ConsensusMessage::Certificate(old));
    assert_eq!(solo.engine.guard().unwrap().silence(), Some(Silence::RecordLost));
    let record: Vec<_> = solo.journal().into_iter().filter(crate::JournalRecord::is_of_guard).collect();
    let restarted = solo.restarted(record);
    assert_eq!(restarted.engine.guard().unwrap().silence(), Some(Silence::RecordLost));
}

#[test]
fn engine_without_record_of_its_votes_follows_in_silence_until_it_is_safe() {
    let fixture = Fixture::equal(4);
    let own = fixture.leader(4);
    let guard = Some(VoteGuard::without_record(fixture.key(own), super::fixture::GENESIS));
    let config = EpochConfig { guard, ..fixture.config(Some(own)) };
    let mut solo = Solo::with(fixture, own, config);
    solo.start();
    let probes =
        solo.all.iter().filter(|output| matches!(output, Output::Send { message: ConsensusMessage::Probe { .. }, .. }));
    assert_eq!(probes.count(), 3);
    let first = solo.block(1, &Fixture::opening());
    let proposal = solo.receive_proposal(&first, 0);
    solo.verified(&first, Verdict::Valid);
    assert!(solo.votes_ever().is_empty(), "it verifies, but does not vote");
    // All others tell where they stand: one is in view 5, by a nullification of view 4.
    let others = solo.others();
    let entry = solo.fixture.certificate_without(Subject::Nullify { epoch: EPOCH, view: View(4) }, Some(own));
    let standing = |view: u64, entry| ConsensusMessage::Standing { epoch: EPOCH, view: View(view), entry };
    solo.receive(others[0], standing(5, Some(entry.clone())));
    solo.receive(others[1], standing(1, None));
    solo.receive(others[2], standing(9, Some(entry)));
    assert_eq!(solo.blamed(), [Offence::BadStanding], "a view that the certificate does not lead to");
    assert_eq!(solo.engine.guard().unwrap().silence(), Some(Silence::RecordLost));
    solo.receive(others[2], standing(1, None));
    let bound = Some(Silence::Until { epoch: EPOCH, above: View(6) });
    assert_eq!(solo.engine.guard().unwrap().silence(), bound);
    solo.receive_certificate(finalize(proposal));
    solo.certified(&first, true);
    assert!(solo.engine.guard().unwrap().silence().is_some(), "view 1 is below the bound");
    let later = solo.block(7, &place(&first));
    let proposal = solo.receive_proposal(&later, 1);
    solo.receive_certificate(finalize(proposal));
    assert!(solo.engine.guard().unwrap().silence().is_some(), "the block may close the epoch");
    solo.receive(others[0], ConsensusMessage::Block(Arc::clone(&later)));
    solo.certified(&later, true);
    assert_eq!(solo.engine.guard().unwrap().silence(), None);
}
