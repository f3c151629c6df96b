//! The end of an epoch, and the silence after a lost record, at one engine.

use super::fixture::{EPOCH, Fixture, TIMING, place, proposal_of};
use super::solo::{Solo, finalize, notarize};
use crate::{EpochConfig, Offence, Output, Silence, Verdict, VoteGuard};
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Block, Height, Proposal, Subject, View};
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
    assert!(solo.engine.guard().unwrap().silence().is_some(), "view 1 is below the bound");
    let later = Proposal { view: View(7), ..proposal };
    solo.receive_certificate(finalize(later));
    assert_eq!(solo.engine.guard().unwrap().silence(), None);
}
