use super::*;
use crate::codec::decode_strict;

const GENESIS: Hash = Hash([0x11; 32]);

fn proposal() -> Proposal {
    Proposal { epoch: Epoch(1), view: View(9), parent_view: View(7), block: Hash([0x22; 32]) }
}

fn subjects() -> [Subject; 3] {
    [Subject::Notarize(proposal()), Subject::Nullify { epoch: Epoch(1), view: View(9) }, Subject::Finalize(proposal())]
}

#[test]
fn vote_payloads_are_pinned() {
    // "cairn/vote/1", genesis hash, kind, epoch, view, parent view, block: put together apart from this code.
    let head = format!("{}{}", "636169726e2f766f74652f31", "11".repeat(32));
    let place = "01000000000000000900000000000000";
    let rest = format!("0700000000000000{}", "22".repeat(32));
    let expected = [format!("{head}00{place}{rest}"), format!("{head}01{place}"), format!("{head}02{place}{rest}")];
    for (subject, expected) in subjects().iter().zip(expected) {
        assert_eq!(hex::encode(subject.signing_payload(&GENESIS)), expected);
    }
}

#[test]
fn vote_signature_holds_for_its_subject_key_and_chain_alone() {
    let pair = KeyPair::from_seed(&[1; 32]);
    let other = KeyPair::from_seed(&[2; 32]);
    for subject in subjects() {
        let vote = Vote::sign(subject, ValidatorIndex(3), &pair, &GENESIS);
        assert!(vote.is_signed_by(&pair.public(), &GENESIS));
        assert!(!vote.is_signed_by(&other.public(), &GENESIS));
        assert!(!vote.is_signed_by(&pair.public(), &Hash([0x12; 32])));
        for stranger in subjects().into_iter().filter(|stranger| *stranger != subject) {
            let moved = Vote { subject: stranger, ..vote.clone() };
            assert!(!moved.is_signed_by(&pair.public(), &GENESIS), "{:?} under {:?}", subject.kind(), stranger.kind());
        }
    }
}

#[test]
fn vote_payload_covers_every_part_of_a_proposal() {
    let changes: [fn(&mut Proposal); 4] = [
        |proposal| proposal.epoch = Epoch(2),
        |proposal| proposal.view = View(10),
        |proposal| proposal.parent_view = View(8),
        |proposal| proposal.block = Hash::ZERO,
    ];
    for change in changes {
        let mut changed = proposal();
        change(&mut changed);
        let payload = |proposal| Subject::Notarize(proposal).signing_payload(&GENESIS);
        assert_ne!(payload(changed), payload(proposal()));
    }
}

#[test]
fn vote_round_trip_is_strict() {
    let vote = Vote::sign(subjects()[0], ValidatorIndex(3), &KeyPair::from_seed(&[1; 32]), &GENESIS);
    let bytes = vote.encode();
    assert_eq!(decode_strict("vote", &bytes, 256), Ok(vote));
    assert!(decode_strict::<Vote>("vote", &[bytes.as_slice(), &[0]].concat(), 256).is_err());
    let mut unknown = bytes;
    unknown[0] = 3;
    assert!(decode_strict::<Vote>("vote", &unknown, 256).is_err());
}

#[test]
fn subject_tells_its_parts() {
    let [notarize, nullify, finalize] = subjects();
    assert_eq!((notarize.kind(), notarize.proposal()), (VoteKind::Notarize, Some(&proposal())));
    assert_eq!((nullify.kind(), nullify.proposal()), (VoteKind::Nullify, None));
    assert_eq!((finalize.kind(), finalize.proposal()), (VoteKind::Finalize, Some(&proposal())));
    for subject in subjects() {
        assert_eq!((subject.epoch(), subject.view()), (Epoch(1), View(9)));
    }
}
