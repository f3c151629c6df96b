//! The walk from epoch to epoch.

use super::GENESIS;
use crate::certificate::CertificateError;
use crate::header::{ConsensusContext, PROTOCOL_VERSION};
use crate::light::{LightError, TrustAnchor};
use crate::vote::{Proposal, Subject, Vote};
use crate::{
    Certificate, Epoch, EpochSchedule, Hash, Header, Height, KeyPair, Power, TimestampMs, Validator, ValidatorIndex,
    ValidatorSet, View,
};

/// Blocks in an epoch.
const LENGTH: u32 = 10;

/// The validators of an epoch; no key is in two of them.
struct Term {
    epoch: u64,
    keys: Vec<KeyPair>,
    set: ValidatorSet,
}

impl Term {
    fn new(epoch: u8) -> Self {
        let mut keys: Vec<_> = (1..=4).map(|seed| KeyPair::from_seed(&[10 * epoch + seed; 32])).collect();
        keys.sort_by_key(KeyPair::public);
        let validators = keys.iter().map(|key| Validator { key: key.public(), power: Power(1) }).collect();
        Self { epoch: epoch.into(), keys, set: ValidatorSet::new(validators).unwrap() }
    }

    /// A header of the epoch at a height, naming the next validators.
    fn header(&self, height: u32, next: &Self) -> Header {
        let context = ConsensusContext {
            protocol_version: PROTOCOL_VERSION,
            epoch: Epoch(self.epoch),
            view: View(3),
            proposer: ValidatorIndex(0),
            timestamp: TimestampMs(height.into()),
            events_root: Hash::ZERO,
            history_root: Hash::ZERO,
            validators_hash: self.set.hash(),
            next_validators_hash: next.set.hash(),
        };
        Header::new(Hash([1; 32]), Height(height), Hash::ZERO, Hash::ZERO, &context)
    }

    fn closing(&self, next: &Self) -> Header {
        self.header((u32::try_from(self.epoch).unwrap() + 1) * LENGTH, next)
    }

    /// The finalization of a header by three of four, in a view above the one of its first proposal.
    fn finalize(&self, header: &Header) -> Certificate {
        let proposal = Proposal { epoch: Epoch(self.epoch), view: View(8), parent_view: View(2), block: header.hash() };
        let votes = self.keys.iter().zip(0u16..3).map(|(key, index)| {
            let vote = Vote::sign(Subject::Finalize(proposal), ValidatorIndex(index), key, &GENESIS);
            (vote.signer, vote.signature)
        });
        Certificate::from_signatures(Subject::Finalize(proposal), votes, &self.set)
    }
}

fn anchor() -> TrustAnchor {
    TrustAnchor::new(GENESIS, Term::new(0).set).with_schedule(EpochSchedule::new(LENGTH))
}

#[test]
fn anchor_walks_over_disjoint_sets_with_one_finalization_each() {
    let mut anchor = anchor();
    for epoch in 0..5 {
        let (term, next) = (Term::new(epoch), Term::new(epoch + 1));
        let closing = term.closing(&next);
        anchor = anchor.advance(closing.clone(), &term.finalize(&closing), next.set.clone()).unwrap();
        assert_eq!((anchor.epoch(), anchor.validators()), (Epoch(u64::from(epoch) + 1), &next.set));
        let header = next.header(closing.number + 1, &next);
        assert!(anchor.verify_final(header.clone(), &next.finalize(&header)).is_ok());
        assert!(matches!(
            anchor.verify_final(closing.clone(), &term.finalize(&closing)),
            Err(LightError::Epoch { .. })
        ));
    }
}

#[test]
fn set_other_than_the_one_named_is_refused() {
    let (term, next) = (Term::new(0), Term::new(1));
    let closing = term.closing(&next);
    let finalization = term.finalize(&closing);
    let mut more = next.set.validators().to_vec();
    more[0].power = Power(2);
    for forged in [Term::new(7).set, term.set.clone(), ValidatorSet::new(more).unwrap()] {
        let error = anchor().advance(closing.clone(), &finalization, forged).unwrap_err();
        assert!(matches!(error, LightError::NextValidators { .. }), "{error}");
    }
}

#[test]
fn set_named_in_the_middle_of_an_epoch_is_refused() {
    let (term, next) = (Term::new(0), Term::new(1));
    for height in [1, LENGTH - 1, LENGTH + 1, 2 * LENGTH] {
        let header = term.header(height, &next);
        let error = anchor().advance(header.clone(), &term.finalize(&header), next.set.clone()).unwrap_err();
        assert_eq!(error, LightError::NotClosing { height: Height(height), epoch: Epoch::ZERO });
    }
}

#[test]
fn epoch_skipped_is_refused() {
    let (first, second) = (Term::new(1), Term::new(2));
    let closing = first.closing(&second);
    let error = anchor().advance(closing.clone(), &first.finalize(&closing), second.set).unwrap_err();
    assert!(matches!(error, LightError::Epoch { what: "header", actual: Epoch(1), trusted: Epoch(0) }), "{error}");
}

#[test]
fn hand_over_finalized_by_the_next_validators_is_refused() {
    let (term, next) = (Term::new(0), Term::new(1));
    let closing = term.closing(&next);
    let mut theirs = next.finalize(&closing);
    theirs.subject = term.finalize(&closing).subject;
    let error = anchor().advance(closing, &theirs, next.set).unwrap_err();
    assert!(matches!(error, LightError::Certificate(CertificateError::BadSignature(_))), "{error}");
}

#[test]
fn anchor_without_a_schedule_stays_in_its_epoch() {
    let (term, next) = (Term::new(0), Term::new(1));
    let closing = term.closing(&next);
    let anchor = TrustAnchor::new(GENESIS, term.set.clone());
    let error = anchor.advance(closing.clone(), &term.finalize(&closing), next.set).unwrap_err();
    assert!(matches!(error, LightError::NotClosing { .. }), "{error}");
}
