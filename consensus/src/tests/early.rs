//! Messages of the next epoch that come early, and what a flood of them costs.

use super::fixture::{Fixture, place};
use crate::early::{BYTES_MAX, EarlyMessages};
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Block, Epoch, KeyPair, OpaqueExtrinsic, Proposal, PublicKey, Subject, ValidatorIndex, View};
use cairn_primitives::{Vote, VoteKind};
use std::sync::Arc;

const PRESENT: Epoch = Epoch(4);

fn key(seed: u8) -> PublicKey {
    KeyPair::from_seed(&[seed; 32]).public()
}

fn vote(view: u64) -> ConsensusMessage {
    let subject = Subject::Nullify { epoch: PRESENT.next(), view: View(view) };
    ConsensusMessage::Vote(Vote::sign(
        subject,
        ValidatorIndex(0),
        &KeyPair::from_seed(&[1; 32]),
        &Fixture::opening().hash,
    ))
}

fn proposal(view: u64, bytes: usize) -> ConsensusMessage {
    let fixture = Fixture::equal(4);
    let block = fixture.block(1, &Fixture::opening(), 1_000_000, view);
    let block = Arc::new(Block { extrinsics: vec![OpaqueExtrinsic::new(vec![0; bytes])].into(), ..(*block).clone() });
    let proposal =
        Proposal { epoch: PRESENT.next(), view: View(view), parent_view: View(0), block: place(&block).hash };
    let ConsensusMessage::Vote(vote) = vote(view) else { panic!("a vote") };
    ConsensusMessage::Proposal { proposal, block, vote }
}

#[test]
fn early_message_sent_again_is_kept_once() {
    let mut early = EarlyMessages::default();
    early.keep(PRESENT, key(1), proposal(1, 10));
    for _ in 0..100 {
        early.keep(PRESENT, key(1), vote(1));
    }
    assert_eq!(early.len(), 2, "what is sent again does not push out what came before");
}

#[test]
fn early_messages_of_one_sender_leave_room_for_the_others() {
    let mut early = EarlyMessages::default();
    for view in 1..=16 {
        early.keep(PRESENT, key(1), proposal(view, 4_000_000));
    }
    assert!(early.bytes() <= BYTES_MAX);
    for sender in 2..=5 {
        early.keep(PRESENT, key(sender), proposal(1, 2_000_000));
        early.keep(PRESENT, key(sender), vote(1));
    }
    assert!(early.bytes() <= BYTES_MAX);
    let taken = early.take(PRESENT.next());
    for sender in 2..=5 {
        assert_eq!(taken.iter().filter(|(from, _)| *from == key(sender)).count(), 2, "sender {sender}");
    }
    assert!(taken.iter().any(|(from, _)| *from == key(1)));
    assert_eq!((early.len(), early.bytes()), (0, 0));
}

#[test]
fn early_message_that_is_too_old_too_new_or_asked_again_anyway_is_not_kept() {
    let mut early = EarlyMessages::default();
    let view = View(1);
    for epoch in [PRESENT, PRESENT.next().next()] {
        early.keep(PRESENT, key(1), ConsensusMessage::Probe { epoch });
    }
    let epoch = PRESENT.next();
    early.keep(PRESENT, key(1), ConsensusMessage::FetchCertificate { kind: VoteKind::Nullify, epoch, view });
    early.keep(PRESENT, key(1), ConsensusMessage::Probe { epoch });
    early.keep(PRESENT, key(1), ConsensusMessage::Standing { epoch, view, entry: None });
    assert_eq!(early.len(), 0);
}
