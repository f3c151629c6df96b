mod epochs;

use super::{FinalHeader, LightError, TrustAnchor};
use crate::certificate::CertificateError;
use crate::header::{ConsensusContext, PROTOCOL_VERSION};
use crate::state_proof::{ExistenceProof, ProofError, StateProof, leaf_hash};
use crate::validator::ValidatorIndex;
use crate::vote::{Proposal, Subject, Vote};
use crate::{Certificate, Epoch, Hash, Header, Height, KeyPair, Power, TimestampMs, Validator, ValidatorSet, View};

const GENESIS: Hash = Hash([7; 32]);
const KEY: &[u8] = b"account";
const VALUE: &[u8] = b"ten";

fn keys() -> Vec<KeyPair> {
    let mut keys: Vec<KeyPair> = (1..=4).map(|seed| KeyPair::from_seed(&[seed; 32])).collect();
    keys.sort_by_key(KeyPair::public);
    keys
}

fn set() -> ValidatorSet {
    ValidatorSet::new(keys().iter().map(|key| Validator { key: key.public(), power: Power(1) }).collect()).unwrap()
}

/// The root of a state with one value, and the proof of that value.
fn state() -> (Hash, StateProof) {
    let root = leaf_hash(&crate::hash::sha256(KEY), &crate::hash::sha256(VALUE));
    (root, StateProof::Present(ExistenceProof { key: KEY.to_vec(), value: VALUE.to_vec(), siblings: Vec::new() }))
}

fn header_of(parent: Hash, height: u32, validators: &ValidatorSet) -> Header {
    let context = ConsensusContext {
        protocol_version: PROTOCOL_VERSION,
        epoch: Epoch::ZERO,
        view: View(height.into()),
        proposer: ValidatorIndex(0),
        timestamp: TimestampMs(u64::from(height)),
        events_root: Hash::ZERO,
        history_root: Hash::ZERO,
        validators_hash: validators.hash(),
        next_validators_hash: validators.hash(),
    };
    Header::new(parent, Height(height), state().0, Hash::ZERO, &context)
}

fn proposal(header: &Header) -> Proposal {
    Proposal { epoch: Epoch::ZERO, view: View(5), parent_view: View(4), block: header.hash() }
}

fn certify(subject: Subject, signers: &[u16], genesis: &Hash) -> Certificate {
    let keys = keys();
    let votes = signers.iter().map(|index| {
        let vote = Vote::sign(subject, ValidatorIndex(*index), &keys[usize::from(*index)], genesis);
        (vote.signer, vote.signature)
    });
    Certificate::from_signatures(subject, votes, &set())
}

fn anchor() -> TrustAnchor {
    TrustAnchor::new(GENESIS, set())
}

fn final_header() -> FinalHeader {
    let header = header_of(Hash([1; 32]), 9, &set());
    let certificate = certify(Subject::Finalize(proposal(&header)), &[0, 1, 3], &GENESIS);
    anchor().verify_final(header, &certificate).unwrap()
}

#[test]
fn header_with_quorum_of_trusted_validators_is_final() {
    assert_eq!(final_header().header().number, 9);
}

#[test]
fn header_changed_after_the_votes_is_refused() {
    let header = header_of(Hash([1; 32]), 9, &set());
    let certificate = certify(Subject::Finalize(proposal(&header)), &[0, 1, 3], &GENESIS);
    let mut forged = header;
    forged.state_root = Hash([9; 32]);
    assert!(matches!(anchor().verify_final(forged, &certificate), Err(LightError::OtherBlock { .. })));
}

#[test]
fn certificate_without_quorum_is_refused() {
    let header = header_of(Hash([1; 32]), 9, &set());
    let certificate = certify(Subject::Finalize(proposal(&header)), &[0, 1], &GENESIS);
    let error = anchor().verify_final(header, &certificate).unwrap_err();
    assert!(matches!(error, LightError::Certificate(CertificateError::NoQuorum { .. })), "{error}");
}

#[test]
fn certificate_with_one_forged_signature_is_refused() {
    let header = header_of(Hash([1; 32]), 9, &set());
    let subject = Subject::Finalize(proposal(&header));
    let mut votes: Vec<_> = certify(subject, &[0, 1, 3], &GENESIS).signatures().collect();
    votes[1].1.0[3] ^= 1;
    let certificate = Certificate::from_signatures(subject, votes, &set());
    let error = anchor().verify_final(header, &certificate).unwrap_err();
    assert_eq!(error, LightError::Certificate(CertificateError::BadSignature(ValidatorIndex(1))));
}

#[test]
fn certificate_of_another_chain_is_refused() {
    let header = header_of(Hash([1; 32]), 9, &set());
    let certificate = certify(Subject::Finalize(proposal(&header)), &[0, 1, 3], &Hash([8; 32]));
    let error = anchor().verify_final(header, &certificate).unwrap_err();
    assert!(matches!(error, LightError::Certificate(CertificateError::BadSignature(_))), "{error}");
}

#[test]
fn notarization_does_not_finalize() {
    let header = header_of(Hash([1; 32]), 9, &set());
    let certificate = certify(Subject::Notarize(proposal(&header)), &[0, 1, 2, 3], &GENESIS);
    assert_eq!(anchor().verify_final(header, &certificate), Err(LightError::NotFinalization));
}

#[test]
fn header_of_other_validators_is_refused() {
    let others = ValidatorSet::new(vec![Validator { key: keys()[0].public(), power: Power(1) }]).unwrap();
    let header = header_of(Hash([1; 32]), 9, &others);
    let certificate = certify(Subject::Finalize(proposal(&header)), &[0, 1, 3], &GENESIS);
    assert!(matches!(anchor().verify_final(header, &certificate), Err(LightError::Validators { .. })));
}

#[test]
fn certificate_of_another_epoch_is_refused() {
    let header = header_of(Hash([1; 32]), 9, &set());
    let other = Proposal { epoch: Epoch(1), ..proposal(&header) };
    let certificate = certify(Subject::Finalize(other), &[0, 1, 3], &GENESIS);
    let error = anchor().verify_final(header, &certificate).unwrap_err();
    assert!(matches!(error, LightError::Epoch { what: "certificate", .. }), "{error}");
}

#[test]
fn parent_is_final_and_a_stranger_is_not() {
    let parent = header_of(Hash([1; 32]), 8, &set());
    let child = header_of(parent.hash(), 9, &set());
    let certificate = certify(Subject::Finalize(proposal(&child)), &[0, 1, 3], &GENESIS);
    let child = anchor().verify_final(child, &certificate).unwrap();
    assert_eq!(child.verify_parent(parent.clone()).unwrap().hash(), parent.hash());
    let stranger = header_of(Hash([2; 32]), 8, &set());
    assert!(matches!(child.verify_parent(stranger), Err(LightError::Parent { .. })));
}

#[test]
fn anchor_from_genesis_takes_only_its_header_and_its_validators() {
    let genesis = header_of(Hash::ZERO, 0, &set());
    let trusted = genesis.hash();
    let anchor = TrustAnchor::from_genesis(trusted, &genesis, set()).unwrap();
    assert_eq!(anchor.verify_genesis(genesis.clone()).unwrap().hash(), trusted);
    assert!(matches!(TrustAnchor::from_genesis(GENESIS, &genesis, set()), Err(LightError::Genesis { .. })));
    let others = ValidatorSet::new(vec![Validator { key: keys()[0].public(), power: Power(1) }]).unwrap();
    assert!(matches!(TrustAnchor::from_genesis(trusted, &genesis, others), Err(LightError::Validators { .. })));
    let other = header_of(Hash([1; 32]), 9, &set());
    assert!(matches!(anchor.verify_genesis(other), Err(LightError::Genesis { .. })));
}

#[test]
fn state_value_and_absence_are_proved_against_the_final_header() {
    let (_, proof) = state();
    let StateProof::Present(leaf) = proof.clone() else { panic!("a value") };
    final_header().verify_state(KEY, Some(VALUE), &proof).unwrap();
    let other = b"nobody".as_slice();
    let is_left = crate::hash::sha256(KEY) < crate::hash::sha256(other);
    let absent = match is_left {
        true => StateProof::Absent { left: Some(leaf), right: None },
        false => StateProof::Absent { left: None, right: Some(leaf) },
    };
    final_header().verify_state(other, None, &absent).unwrap();
}

#[test]
fn state_forged_in_any_part_is_refused() {
    let (_, proof) = state();
    let header = final_header();
    let refused =
        |key: &[u8], value: Option<&[u8]>, proof: &StateProof| header.verify_state(key, value, proof).unwrap_err();
    assert_eq!(refused(KEY, Some(b"eleven"), &proof), LightError::State(ProofError::WrongValue));
    assert_eq!(refused(b"other", Some(VALUE), &proof), LightError::State(ProofError::WrongKey));
    assert_eq!(refused(KEY, None, &proof), LightError::State(ProofError::Present));
    let forged =
        StateProof::Present(ExistenceProof { key: KEY.to_vec(), value: b"eleven".to_vec(), siblings: Vec::new() });
    let error = refused(KEY, Some(b"eleven"), &forged);
    assert!(matches!(error, LightError::State(ProofError::WrongRoot { .. })), "{error}");
    let longer =
        StateProof::Present(ExistenceProof { key: KEY.to_vec(), value: VALUE.to_vec(), siblings: vec![Hash::ZERO] });
    assert!(matches!(refused(KEY, Some(VALUE), &longer), LightError::State(ProofError::WrongRoot { .. })));
}
