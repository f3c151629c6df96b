//! Stories of the design's list that need one engine only.

use super::fixture::{Dice, EPOCH, Fixture, TIMING, WALL, nullify, proposal_of};
use super::solo::{Solo, finalize, notarize, place_of};
use crate::peers::{BLOCK_COST, SHARE};
use crate::round::Ballot;
use crate::{EpochConfig, JournalRecord, Output, Refusal};
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{ValidatorIndex, ValidatorSet, View, VoteKind};
use std::sync::Arc;

fn opening() -> crate::Head {
    Fixture::opening()
}

/// 1: the certificate is for the block we were not shown.
#[test]
fn case_1_certificate_for_another_proposal_is_followed() {
    for kind in [notarize, finalize] {
        let mut solo = Solo::follower();
        let shown = solo.block(1, &opening());
        let other = solo.fixture.block(1, &opening(), WALL + 1, 99);
        solo.receive_proposal(&shown, 0);
        solo.verified(&shown, crate::Verdict::Valid);
        solo.receive_certificate(kind(proposal_of(&other, 0)));
        solo.receive(solo.others()[0], ConsensusMessage::Block(Arc::clone(&other)));
        solo.certified(&other, true);
        assert_eq!(solo.view(), 2);
        assert!(!solo.votes_ever().contains(&finalize(proposal_of(&other, 0))));
    }
}

/// 4: nullified first, the notarization comes later: certification still completes and the block can be a parent.
#[test]
fn case_4_notarization_after_nullification_is_certified() {
    let mut solo = Solo::follower();
    let block = solo.block(1, &opening());
    let proposal = solo.receive_proposal(&block, 0);
    solo.receive_certificate(nullify(1));
    assert_eq!(solo.view(), 2);
    solo.receive_certificate(notarize(proposal));
    assert_eq!(solo.certifying(), [block.header.hash()]);
    solo.certified(&block, true);
    let child = solo.block(2, &place_of(&block));
    solo.receive_proposal(&child, 1);
    assert_eq!(solo.verifying(), [child.header.hash()]);
}

/// 6: a validator restarts and says again what it said; so do we. Each counts once.
#[test]
fn case_6_restarted_signers_count_once() {
    let mut before = Solo::follower();
    before.wait_until(TIMING.leader_timeout_ms);
    assert!(before.has_nullified(1));
    let journal = before.journal();
    let mut solo = before.restarted(journal.iter().chain(&journal).cloned());
    solo.start();
    let [one, two, _] = solo.others()[..] else { unreachable!() };
    for _ in 0..3 {
        solo.input(crate::Input::Peer { validator: one, connected: false });
        solo.input(crate::Input::Peer { validator: one, connected: true });
        solo.receive_vote(one, nullify(1));
        solo.wait_until(solo.time + TIMING.retry_ms);
        assert_eq!(solo.view(), 1, "two of four");
    }
    solo.receive_vote(two, nullify(1));
    assert_eq!(solo.view(), 2, "three of four");
}

/// 6: the same for finalize votes: ours of before the restart is the third of four, and only once.
#[test]
fn case_6_own_finalize_of_before_the_restart_counts_once() {
    let mut before = Solo::follower();
    let block = before.certify_view(1, &opening());
    let mut solo = before.restarted(before.journal());
    solo.connect();
    solo.input(crate::Input::Restored(Arc::clone(&block)));
    solo.input(crate::Input::Start);
    solo.certified(&block, true);
    let [one, two, _] = solo.others()[..] else { unreachable!() };
    solo.receive_vote(one, finalize(proposal_of(&block, 0)));
    solo.wait_until(solo.time + 3 * TIMING.retry_ms);
    assert_eq!(solo.finalized_view(), 0, "two of four");
    solo.receive_vote(two, finalize(proposal_of(&block, 0)));
    assert_eq!(solo.finalizing(), [block.header.hash()], "three of four");
}

/// 7: a fetch is answered while its twin, to another peer, is still under way: the second answer costs nothing.
#[test]
fn case_7_second_answer_to_a_fetch_changes_nothing() {
    let mut solo = Solo::follower();
    let block = solo.block(1, &opening());
    solo.receive_certificate(notarize(proposal_of(&block, 0)));
    solo.wait_until(TIMING.retry_ms);
    assert_eq!(solo.fetched_blocks(), [block.header.hash()], "asked a second peer");
    solo.receive(solo.others()[0], ConsensusMessage::Block(Arc::clone(&block)));
    assert_eq!(solo.certifying(), [block.header.hash()]);
    solo.receive(solo.others()[1], ConsensusMessage::Block(Arc::clone(&block)));
    assert_eq!(solo.last, []);
    solo.receive_certificate(notarize(proposal_of(&block, 0)));
    assert_eq!(solo.last, []);
    solo.certified(&block, true);
    solo.receive(solo.others()[1], ConsensusMessage::Block(Arc::clone(&block)));
    assert_eq!((solo.certifying(), solo.blamed()), (vec![], vec![]), "nor after it was executed");
    let (unasked, peer) = (solo.block(9, &opening()), solo.others()[0]);
    solo.receive(peer, ConsensusMessage::Block(Arc::clone(&unasked)));
    solo.receive(peer, ConsensusMessage::FetchBlock(unasked.header.hash()));
    assert_eq!(
        solo.last,
        [Output::ServeBlock { to: peer, block: unasked.header.hash() }],
        "what nobody asked for is not kept"
    );
}

/// 8: finalize votes come before anything else about the view: they are kept, and suffice.
#[test]
fn case_8_finalize_votes_before_the_proposal_are_kept() {
    let mut solo = Solo::follower();
    let block = solo.block(1, &opening());
    let proposal = proposal_of(&block, 0);
    solo.receive_votes(2, finalize(proposal));
    assert_eq!(solo.finalized_view(), 0);
    solo.receive_certificate(notarize(proposal));
    solo.receive(solo.others()[0], ConsensusMessage::Block(Arc::clone(&block)));
    solo.certified(&block, true);
    assert_eq!(solo.finalizing(), [block.header.hash()], "our own vote was the third");
}

/// 9: after a finalize vote nothing makes us nullify the same view: no deadline, no restart, and whatever the engine
/// thinks, neither the ballot nor the guard lets it.
#[test]
fn case_9_no_nullify_after_finalize() {
    let mut solo = Solo::follower();
    let block = solo.certify_view(1, &opening());
    let finalized = finalize(proposal_of(&block, 0));
    assert!(solo.votes_ever().contains(&finalized));
    let mut again = solo.restarted(solo.journal());
    again.start();
    for solo in [&mut solo, &mut again] {
        solo.wait_until(10_000);
        assert!(!solo.has_nullified(1));
        assert!(solo.has_nullified(2));
    }
    let vote = solo.fixture.vote(solo.own, finalized);
    let mut ballot = Ballot::default();
    ballot.record(vote.clone());
    assert!(!ballot.allows(VoteKind::Nullify));
    let mut guard = solo.fixture.guard(solo.own, [JournalRecord::Vote(vote)]);
    let (epoch, view) = (EPOCH, View(1));
    assert_eq!(guard.sign(nullify(1), solo.own), Err(Refusal::Contradiction { epoch, view }));
}

/// 10: the finalize vote goes on being sent although its view is over and the next one has expired.
#[test]
fn case_10_finalize_is_sent_again_after_the_view_expired() {
    let mut solo = Solo::follower();
    let block = solo.certify_view(1, &opening());
    solo.wait_until(5_000);
    solo.receive_certificate(nullify(2));
    solo.wait_until(5_000 + TIMING.retry_ms);
    assert!(solo.votes().contains(&finalize(proposal_of(&block, 0))));
}

/// 11: of what was written last a part is missing, or comes twice, or the records come in another order: the view reached
/// may be an earlier one, what was voted stays.
#[test]
fn case_11_torn_doubled_or_shuffled_journal_binds_all_the_same() {
    let mut before = Solo::follower();
    let block = before.certify_view(1, &opening());
    before.wait_until(TIMING.leader_timeout_ms);
    let journal = before.journal();
    let (votes, others): (Vec<_>, Vec<_>) = journal.iter().cloned().partition(JournalRecord::is_of_guard);
    let (doubled, torn) = ([&journal[..], &journal[2..]].concat(), [&others[..1], &votes[..]].concat());
    for records in [journal.iter().rev().cloned().collect(), doubled, torn] {
        let mut solo = before.restarted(records);
        solo.connect();
        solo.input(crate::Input::Restored(Arc::clone(&block)));
        solo.input(crate::Input::Start);
        assert_eq!(solo.view(), 2, "nothing was lost that a vote does not show");
        assert!(solo.votes().contains(&finalize(proposal_of(&block, 0))) && solo.votes().contains(&nullify(2)));
        let late = solo.block(2, &place_of(&block));
        solo.certified(&block, true);
        solo.receive_proposal(&late, 1);
        solo.verified(&late, crate::Verdict::Valid);
        assert!(!solo.votes_ever().contains(&notarize(proposal_of(&late, 1))), "view 2 was given up");
    }
}

/// 12: our ledger builds too slowly for our own view: we give it up like everybody else, and keep the block that came too
/// late to ourselves.
#[test]
fn case_12_leader_gives_its_own_view_up_and_drops_the_late_block() {
    let mut solo = Solo::leader();
    assert_eq!(solo.proposing(), [opening().hash]);
    solo.wait_until(TIMING.leader_timeout_ms);
    assert_eq!(solo.votes(), [nullify(1)]);
    let block = solo.block(1, &opening());
    solo.input(crate::Input::Proposed { view: View(1), block: Some(Arc::clone(&block)) });
    assert_eq!(solo.votes(), []);
    solo.receive_votes(2, nullify(1));
    assert_eq!(solo.view(), 2);
}

/// 13: however a configuration lists the validators, everybody comes to the same set, leaders and certificates.
#[test]
fn case_13_unsorted_validator_input_gives_the_same_set() {
    let sorted = Fixture::new(&[4, 3, 2, 1]);
    for seed in 0..24 {
        let mut listed = sorted.set.validators().to_vec();
        let mut dice = Dice::new(seed);
        for place in (1..listed.len()).rev() {
            listed.swap(place, usize::try_from(dice.below(place as u64 + 1)).unwrap());
        }
        let set = ValidatorSet::new(listed).unwrap();
        assert_eq!(set.hash(), sorted.set.hash());
        let validators = Arc::new(set);
        for own in sorted.set.indices() {
            let config = EpochConfig { validators: Arc::clone(&validators), ..sorted.config(Some(own)) };
            let state = Solo::with(sorted.clone(), own, config).engine.state(Solo::follower().now());
            assert_eq!((state.own_index, state.leader), (Some(own), sorted.leader(1)));
        }
        let config = EpochConfig { validators, ..sorted.config(None) };
        let mut observer = Solo::with(sorted.clone(), ValidatorIndex(9), config);
        observer.start();
        observer.receive_vote(ValidatorIndex(0), nullify(1));
        observer.receive_vote(ValidatorIndex(2), nullify(1));
        assert_eq!(observer.view(), 1, "six of ten");
        observer.receive_vote(ValidatorIndex(3), nullify(1));
        assert_eq!(observer.view(), 2, "seven of ten");
    }
}

/// 15: a jump of 10,000 views is one step, and the way back is fetched a bounded part at a time.
#[test]
fn case_15_view_jump_of_ten_thousand() {
    let mut solo = Solo::follower();
    solo.receive_certificate(nullify(10_000));
    assert_eq!(solo.view(), 10_001);
    let (view, own) = (solo.fixture.view_led_by(solo.own, 10_002), solo.own);
    assert_eq!(solo.fixture.leader(view), own);
    solo.receive_certificate(nullify(view - 1));
    assert_eq!(solo.fetched().len(), crate::fetch::FETCHES_MAX, "not ten thousand at once");
    let ten = solo.fixture.view_led_by(solo.fixture.leader(2), view + 1);
    solo.receive_certificate(nullify(ten - 1));
    let block = solo.block(ten, &opening());
    solo.receive_proposal(&block, 0);
    assert_eq!(solo.fetched()[0], (1, VoteKind::Nullify), "the first gap first");
}

/// 17: the leader's clock jumped back behind the parent's timestamp: its block still comes after the parent. A follower's
/// jump in either direction ends no view, since deadlines count on the other clock.
#[test]
fn case_17_clock_jumps_neither_spoil_a_proposal_nor_end_a_view() {
    let mut leader = Solo::unstarted(1);
    leader.wall_skew = -900_000;
    leader.start();
    leader.wait_until(TIMING.leader_timeout_ms - 1);
    let proposed = leader.all.iter().find_map(|output| match output {
        Output::Propose { timestamp, .. } => Some(*timestamp),
        _ => None,
    });
    assert_eq!(proposed.unwrap().0, opening().timestamp.0 + 1);

    let mut follower = Solo::follower();
    for skew in [3_600_000, -900_000] {
        follower.wall_skew = skew;
        follower.wait_until(follower.time + TIMING.leader_timeout_ms / 3);
        assert!(!follower.has_nullified(1));
    }
    follower.wait_until(TIMING.leader_timeout_ms);
    assert!(follower.has_nullified(1));
}

/// 18: a peer that keeps sending its finalize vote for a view we know to be final is sent the finalization.
#[test]
fn case_18_repeated_finalize_vote_is_answered_with_the_finalization() {
    let mut solo = Solo::follower();
    let block = solo.certify_view(1, &opening());
    let subject = finalize(proposal_of(&block, 0));
    solo.receive_votes(2, subject);
    assert_eq!(solo.finalized_view(), 1);
    let peer = solo.others()[0];
    solo.receive_vote(peer, subject);
    assert_eq!(solo.certificates_sent(), [(peer, subject)]);
    solo.receive_vote(peer, subject);
    assert_eq!(solo.certificates_sent(), [], "not for every copy");
}

/// A node that is behind by certificates asks, view by view, whoever was seen further on.
#[test]
fn follower_seeing_others_ahead_fetches_its_way() {
    let mut solo = Solo::follower();
    let peer = solo.others()[1];
    solo.receive_vote(peer, nullify(9));
    assert_eq!(solo.fetched(), [(1, VoteKind::Notarize)]);
    solo.receive_certificate(nullify(1));
    assert_eq!(solo.fetched(), [(2, VoteKind::Notarize)]);
}

/// The kind that was asked for is served if held; any finalization at or above the view beats it.
#[test]
fn serve_certificate_prefers_finalization_then_the_kind_asked_for() {
    let mut solo = Solo::follower();
    let block = solo.certify_view(1, &opening());
    solo.receive_certificate(nullify(1));
    let peer = solo.others()[0];
    for (kind, expected) in [(VoteKind::Nullify, nullify(1)), (VoteKind::Notarize, notarize(proposal_of(&block, 0)))] {
        solo.receive(peer, ConsensusMessage::FetchCertificate { kind, epoch: EPOCH, view: View(1) });
        assert_eq!(solo.certificates_sent(), [(peer, expected)]);
    }
    let later = solo.block(7, &place_of(&block));
    solo.receive_certificate(finalize(proposal_of(&later, 1)));
    solo.receive(peer, ConsensusMessage::FetchCertificate { kind: VoteKind::Nullify, epoch: EPOCH, view: View(1) });
    assert_eq!(solo.certificates_sent(), [(peer, finalize(proposal_of(&later, 1)))]);
}

/// What a validator asks for costs much more to answer than to ask: it has a share, and gets it anew in each retry interval.
#[test]
fn questions_of_one_validator_beyond_its_share_get_no_answer_until_time_has_passed() {
    let mut solo = Solo::follower();
    solo.receive_certificate(nullify(1));
    let (greedy, modest) = (solo.others()[0], solo.others()[1]);
    let question = ConsensusMessage::FetchCertificate { kind: VoteKind::Nullify, epoch: EPOCH, view: View(1) };
    let probe = ConsensusMessage::Probe { epoch: EPOCH };
    let answers = |solo: &mut Solo, from, message: &ConsensusMessage| {
        let asked = 0..2 * SHARE;
        asked.filter(|_| !solo.receive(from, message.clone()).is_empty()).count()
    };
    let share = usize::try_from(SHARE).unwrap();
    assert_eq!(answers(&mut solo, greedy, &question), share);
    assert_eq!((answers(&mut solo, greedy, &probe), answers(&mut solo, modest, &probe)), (0, share));
    solo.time += TIMING.retry_ms;
    let block = ConsensusMessage::FetchBlock(cairn_primitives::Hash([5; 32]));
    assert_eq!(answers(&mut solo, greedy, &block), share / usize::try_from(BLOCK_COST).unwrap());
    // What is no question is taken all the same.
    solo.receive_certificate(nullify(2));
    assert_eq!(solo.view(), 3);
}
