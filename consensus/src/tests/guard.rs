//! The vote guard against an engine that asks for anything.

use super::fixture::{Dice, GENESIS};
use crate::{JournalRecord, Refusal, Silence, VoteGuard};
use cairn_primitives::evidence::excludes;
use cairn_primitives::{Certificate, Epoch, Hash, KeyPair, Power, Proposal, Subject, Validator, ValidatorIndex};
use cairn_primitives::{ValidatorSet, View, Vote};

const OWN: ValidatorIndex = ValidatorIndex(0);

fn key() -> KeyPair {
    KeyPair::from_seed(&[5; 32])
}

fn fresh() -> VoteGuard {
    VoteGuard::new(key(), GENESIS, [])
}

fn proposal(view: u64, block: u8) -> Proposal {
    Proposal { epoch: Epoch(1), view: View(view), parent_view: View(0), block: Hash([block; 32]) }
}

fn nullify(view: u64) -> Subject {
    Subject::Nullify { epoch: Epoch(1), view: View(view) }
}

fn anything(dice: &mut Dice) -> Subject {
    let (epoch, view) = (Epoch(dice.below(2)), View(1 + dice.below(4)));
    let block = Hash([u8::try_from(dice.below(2)).unwrap(); 32]);
    let proposal = Proposal { epoch, view, parent_view: View(0), block };
    match dice.below(3) {
        0 => Subject::Notarize(proposal),
        1 => Subject::Finalize(proposal),
        _ => Subject::Nullify { epoch, view },
    }
}

/// Whether an honest validator never signs `later` after `earlier`.
fn is_forbidden(earlier: &Subject, later: &Subject) -> bool {
    let same_view = (earlier.epoch(), earlier.view()) == (later.epoch(), later.view());
    let notarizes_late = matches!((earlier, later), (Subject::Nullify { .. }, Subject::Notarize(_)));
    excludes(earlier, later) || same_view && notarizes_late
}

#[test]
fn guard_asked_for_anything_over_many_lives_never_contradicts_itself() {
    let mut refused = 0;
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let mut guard = fresh();
        let mut record: Vec<JournalRecord> = Vec::new();
        let mut signed: Vec<Subject> = Vec::new();
        for _ in 0..60 {
            match dice.below(12) {
                0 => {
                    guard.on_finalized(Epoch(dice.below(2)), View(dice.below(3)));
                }
                1 => guard = VoteGuard::new(key(), GENESIS, record.clone()),
                2 => {
                    record = guard.record();
                    guard = VoteGuard::new(key(), GENESIS, record.clone());
                }
                _ => match guard.sign(anything(&mut dice), OWN) {
                    Ok(vote) => {
                        let broken = signed.iter().find(|earlier| is_forbidden(earlier, &vote.subject));
                        let is_repeated = signed.contains(&vote.subject);
                        assert!(is_repeated || broken.is_none(), "seed {seed}: {:?} after {broken:?}", vote.subject);
                        assert!(vote.is_signed_by(&key().public(), &GENESIS));
                        signed.push(vote.subject);
                        record.push(JournalRecord::Vote(vote));
                    }
                    Err(_) => refused += 1,
                },
            }
        }
    }
    assert!(refused > 1000, "the engine of this test asks for what is refused: {refused}");
}

#[test]
fn guard_restored_gives_the_votes_of_the_epoch_back() {
    let mut guard = fresh();
    let asked = [Subject::Notarize(proposal(1, 1)), nullify(1), Subject::Notarize(proposal(2, 2))];
    let votes: Vec<Vote> = asked.iter().map(|subject| guard.sign(*subject, OWN).unwrap()).collect();
    let restored = VoteGuard::new(key(), GENESIS, votes.iter().cloned().map(JournalRecord::Vote));
    assert_eq!(restored.votes(Epoch(1), OWN), votes);
    assert_eq!(VoteGuard::new(key(), GENESIS, guard.record()).votes(Epoch(1), OWN), votes, "the short record, too");
    assert_eq!(restored.votes(Epoch(0), OWN), []);
}

#[test]
fn guard_merged_with_another_record_keeps_to_both() {
    let mut guard = fresh();
    guard.sign(Subject::Notarize(proposal(1, 1)), OWN).unwrap();
    guard.sign(Subject::Notarize(proposal(2, 1)), OWN).unwrap();
    guard.merge([nullify(3)], (Epoch(0), View(9)));
    assert_eq!(guard.floor(), (Epoch(0), View(9)));
    assert!(guard.sign(Subject::Finalize(proposal(3, 1)), OWN).is_err(), "the other gave view 3 up");
    guard.merge([Subject::Notarize(proposal(2, 2)), nullify(2)], (Epoch(0), View(0)));
    assert_eq!(guard.floor(), (Epoch(1), View(2)), "the two contradict each other in view 2");
    assert_eq!(guard.signed().collect::<Vec<_>>(), [nullify(3)]);
}

#[test]
fn guard_signs_nothing_at_or_below_a_finalized_view() {
    let mut guard = fresh();
    guard.on_finalized(Epoch(1), View(7));
    assert_eq!(guard.sign(nullify(7), OWN), Err(Refusal::BelowFloor { epoch: Epoch(1), view: View(7) }));
    assert!(guard.sign(nullify(8), OWN).is_ok());
    guard.on_finalized(Epoch(2), View(1));
    assert!(guard.sign(nullify(9), OWN).is_err(), "of an epoch that is over");
    assert_eq!(guard.record(), [JournalRecord::Floor { epoch: Epoch(2), view: View(1) }], "what is final is forgotten");
}

#[test]
fn guard_without_record_is_silent_until_a_view_above_its_bound_is_final() {
    let mut guard = VoteGuard::without_record(key(), GENESIS);
    assert_eq!(guard.sign(nullify(1), OWN), Err(Refusal::Silent));
    assert_eq!(guard.on_committed(Epoch(1), View(50)), None, "nobody told yet how far it can have voted");
    guard.bound_silence(Epoch(1), View(60));
    assert_eq!(guard.silence(), Some(Silence::Until { epoch: Epoch(1), above: View(60) }));
    assert_eq!(guard.on_committed(Epoch(1), View(60)), None);
    assert_eq!(guard.sign(nullify(70), OWN), Err(Refusal::Silent));
    guard.on_finalized(Epoch(1), View(61));
    assert!(guard.silence().is_some(), "the block of view 61 may close the epoch");
    let record = guard.on_committed(Epoch(1), View(61));
    assert_eq!(record, Some(JournalRecord::Floor { epoch: Epoch(1), view: View(61) }));
    assert!(guard.sign(nullify(62), OWN).is_ok());
    assert!(VoteGuard::new(key(), GENESIS, record).silence().is_none(), "the end of the silence is in the record");
}

fn certificate_of_own(subject: Subject) -> Certificate {
    let set = ValidatorSet::new(vec![Validator { key: key().public(), power: Power(1) }]).unwrap();
    let vote = Vote::sign(subject, OWN, &key(), &GENESIS);
    Certificate::from_signatures(subject, [(OWN, vote.signature)], &set)
}

#[test]
fn guard_that_meets_a_vote_above_the_bound_of_its_silence_asks_again() {
    let mut guard = VoteGuard::without_record(key(), GENESIS);
    guard.bound_silence(Epoch(1), View(60));
    assert!(guard.inspect(&certificate_of_own(nullify(60)), OWN).is_none(), "as was to be expected");
    assert!(guard.inspect(&certificate_of_own(nullify(61)), OWN).is_some(), "somebody else signs with the key");
    assert_eq!(guard.silence(), Some(Silence::RecordLost));
}

#[test]
fn guard_that_fell_silent_stays_so_over_restarts_until_its_silence_ends() {
    let mut guard = fresh();
    guard.sign(nullify(3), OWN).unwrap();
    let mut record: Vec<_> = [JournalRecord::Vote(Vote::sign(nullify(3), OWN, &key(), &GENESIS))].to_vec();
    record.extend(guard.inspect(&certificate_of_own(nullify(5)), OWN));
    assert_eq!(VoteGuard::new(key(), GENESIS, record.clone()).silence(), Some(Silence::RecordLost));
    guard.on_finalized(Epoch(1), View(9));
    let short = VoteGuard::new(key(), GENESIS, guard.record());
    assert_eq!(short.silence(), Some(Silence::RecordLost), "also in the short record, with a higher floor");
    guard.bound_silence(Epoch(1), View(12));
    record.extend(guard.on_committed(Epoch(1), View(13)));
    assert_eq!(guard.silence(), None);
    record.reverse();
    assert_eq!(VoteGuard::new(key(), GENESIS, record).silence(), None, "in any order");
    assert_eq!(VoteGuard::new(key(), GENESIS, guard.record()).silence(), None);
}

#[test]
fn guard_that_meets_a_vote_it_does_not_know_falls_silent() {
    let mut guard = fresh();
    guard.sign(nullify(3), OWN).unwrap();
    assert_eq!(guard.inspect(&certificate_of_own(nullify(3)), OWN), None, "its own vote");
    assert_eq!(guard.inspect(&certificate_of_own(nullify(4)), ValidatorIndex(1)), None, "the vote of another");
    guard.on_finalized(Epoch(1), View(4));
    assert_eq!(guard.inspect(&certificate_of_own(nullify(4)), OWN), None, "a view that is over");
    let record = guard.inspect(&certificate_of_own(nullify(5)), OWN);
    assert_eq!(record, Some(JournalRecord::Silence { epoch: Epoch(1), view: View(5) }));
    assert_eq!(guard.sign(nullify(6), OWN), Err(Refusal::Silent));
    assert_eq!(guard.inspect(&certificate_of_own(nullify(6)), OWN), None, "told once");
}
