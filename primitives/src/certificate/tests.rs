use super::*;
use crate::codec::decode_strict;
use crate::crypto::KeyPair;
use crate::number::{Epoch, View};
use crate::validator::Validator;
use crate::vote::{Proposal, Vote};

const GENESIS: Hash = Hash([0x11; 32]);

fn subject() -> Subject {
    Subject::Finalize(Proposal { epoch: Epoch(0), view: View(5), parent_view: View(4), block: Hash([0x22; 32]) })
}

/// A set with the given powers, and its key pairs in the set's order.
fn validators(powers: &[u64]) -> (ValidatorSet, Vec<KeyPair>) {
    let mut pairs: Vec<_> =
        (0..powers.len()).map(|number| KeyPair::from_seed(&crate::hash::sha256(&number.to_le_bytes()).0)).collect();
    pairs.sort_by_key(KeyPair::public);
    let validators =
        pairs.iter().zip(powers).map(|(pair, power)| Validator { key: pair.public(), power: Power(*power) });
    (ValidatorSet::new(validators.collect()).unwrap(), pairs)
}

fn signature(pairs: &[KeyPair], index: u16) -> (ValidatorIndex, Signature) {
    let index = ValidatorIndex(index);
    (index, Vote::sign(subject(), index, &pairs[index.position()], &GENESIS).signature)
}

fn certificate(set: &ValidatorSet, pairs: &[KeyPair], signers: impl IntoIterator<Item = u16>) -> Certificate {
    Certificate::from_signatures(subject(), signers.into_iter().map(|index| signature(pairs, index)), set)
}

fn shape(validators: usize, signatures: usize) -> Result<(), CertificateError> {
    Err(CertificateError::Shape { validators, signatures })
}

#[test]
fn certificate_of_equal_validators_holds_from_the_quorum_on() {
    for (count, quorum) in (1u16..=10).zip([1, 2, 3, 3, 4, 5, 5, 6, 7, 7]) {
        let (set, pairs) = validators(&vec![1; count.into()]);
        for signers in 0..=count {
            let held = certificate(&set, &pairs, 0..signers).verify(&set, &GENESIS);
            let expected = if signers >= quorum {
                Ok(())
            } else {
                Err(CertificateError::NoQuorum { power: Power(signers.into()), quorum: Power(quorum.into()) })
            };
            assert_eq!(held, expected, "{signers} of {count}");
        }
    }
}

#[test]
fn certificate_counts_power_and_not_heads() {
    let (set, pairs) = validators(&[1, 1, 1, 100]);
    assert!(certificate(&set, &pairs, [3]).verify(&set, &GENESIS).is_ok());
    let refused = certificate(&set, &pairs, [0, 1, 2]).verify(&set, &GENESIS);
    assert_eq!(refused, Err(CertificateError::NoQuorum { power: Power(3), quorum: Power(69) }));
    let big = crate::validator::TOTAL_POWER_MAX / 4;
    let (set, pairs) = validators(&[big, big, big, big]);
    assert!(certificate(&set, &pairs, [0, 1]).verify(&set, &GENESIS).is_err());
    assert!(certificate(&set, &pairs, [0, 2, 3]).verify(&set, &GENESIS).is_ok());
}

#[test]
fn certificate_with_one_wrong_signature_names_its_signer() {
    let (set, pairs) = validators(&[1; 30]);
    let mut forged = certificate(&set, &pairs, 3..30);
    forged.signatures[10].0[3] ^= 1;
    assert_eq!(forged.verify(&set, &GENESIS), Err(CertificateError::BadSignature(ValidatorIndex(13))));
}

#[test]
fn certificate_of_another_chain_or_subject_is_refused() {
    let (set, pairs) = validators(&[1; 4]);
    let good = certificate(&set, &pairs, 0..3);
    assert!(good.verify(&set, &Hash([0x12; 32])).is_err());
    let moved = Certificate { subject: Subject::Nullify { epoch: Epoch(0), view: View(5) }, ..good.clone() };
    assert_eq!(moved.verify(&set, &GENESIS), Err(CertificateError::BadSignature(ValidatorIndex(0))));
    let (other_set, _) = validators(&[1; 5]);
    assert!(good.verify(&other_set, &GENESIS).is_err());
}

#[test]
fn certificate_with_signatures_exchanged_is_refused() {
    let (set, pairs) = validators(&[1; 4]);
    let mut exchanged = certificate(&set, &pairs, 0..3);
    exchanged.signatures.swap(0, 2);
    assert_eq!(exchanged.verify(&set, &GENESIS), Err(CertificateError::BadSignature(ValidatorIndex(0))));
}

#[test]
fn certificate_with_one_signature_used_for_two_is_refused() {
    let (set, pairs) = validators(&[1; 4]);
    let mut doubled = certificate(&set, &pairs, [0, 1]);
    doubled.signers = vec![0b0111];
    assert_eq!(doubled.verify(&set, &GENESIS), shape(4, 2), "a bit without a signature");
    doubled.signatures.push(doubled.signatures[1]);
    assert_eq!(doubled.verify(&set, &GENESIS), Err(CertificateError::BadSignature(ValidatorIndex(2))));
}

#[test]
fn certificate_with_a_signature_without_a_bit_is_refused() {
    let (set, pairs) = validators(&[1; 4]);
    let mut longer = certificate(&set, &pairs, 0..3);
    longer.signatures.push(longer.signatures[0]);
    assert_eq!(longer.verify(&set, &GENESIS), shape(4, 4));
}

#[test]
fn certificate_with_bits_beyond_the_set_is_refused() {
    let (set, pairs) = validators(&[1; 4]);
    let mut beyond = certificate(&set, &pairs, 0..3);
    beyond.signers = vec![0b0001_0111];
    beyond.signatures.push(beyond.signatures[0]);
    assert_eq!(beyond.verify(&set, &GENESIS), shape(4, 4));
}

#[test]
fn certificate_with_a_bitmap_of_another_length_is_refused() {
    let (set, pairs) = validators(&[1; 8]);
    let good = certificate(&set, &pairs, 0..6);
    for signers in [vec![], vec![0b0011_1111, 0]] {
        let changed = Certificate { signers, ..good.clone() };
        assert_eq!(changed.verify(&set, &GENESIS), shape(8, 6));
    }
}

#[test]
fn certificate_from_votes_counts_a_signer_once_and_a_stranger_never() {
    let (set, pairs) = validators(&[1; 4]);
    let signature = |index| signature(&pairs, index);
    let votes = [signature(2), signature(0), signature(2), signature(3)];
    let strangers = [(ValidatorIndex(4), signature(0).1), (ValidatorIndex(9000), signature(0).1)];
    let built = Certificate::from_signatures(subject(), votes.into_iter().chain(strangers), &set);
    assert_eq!(built, certificate(&set, &pairs, [0, 2, 3]));
    assert_eq!(built.signatures().map(|(index, _)| index.0).collect::<Vec<_>>(), [0, 2, 3]);
    assert!(built.verify(&set, &GENESIS).is_ok());
}

#[test]
fn certificate_of_the_largest_set_fits_its_bound() {
    let (set, pairs) = validators(&[1; VALIDATORS_MAX]);
    let full = certificate(&set, &pairs, 0..256);
    assert!(full.encode().len() <= CERTIFICATE_BYTES_MAX);
    assert_eq!(full.signatures().last().unwrap().0, ValidatorIndex(255));
    assert_eq!(full.verify(&set, &GENESIS), Ok(()));
    assert_eq!(decode_strict("certificate", &full.encode(), CERTIFICATE_BYTES_MAX), Ok(full));
}

#[test]
fn certificate_encoding_is_pinned() {
    let (set, pairs) = validators(&[1; 4]);
    let certificate = certificate(&set, &pairs, [0, 2, 3]);
    let mut expected = subject().encode();
    expected.extend_from_slice(&[4, 0b1101, 12]);
    for index in [0, 2, 3] {
        expected.extend_from_slice(&signature(&pairs, index).1.0);
    }
    assert_eq!(certificate.encode(), expected);
}

#[test]
fn certificate_with_an_oversized_bitmap_or_list_is_refused_undecoded() {
    let head = subject().encode();
    let with = |rest: &[u8]| Certificate::decode(&mut &*[head.as_slice(), rest].concat());
    assert!(with(&[4, 1, 0]).is_ok());
    let bitmap = vec![0u8; VALIDATORS_MAX / 8 + 1].encode();
    assert!(with(&[bitmap.as_slice(), &[0]].concat()).unwrap_err().to_string().contains("bitmap"));
    // A claim of 2^30 - 1 signatures without a byte of them.
    assert!(with(&[4, 1, 0xfe, 0xff, 0xff, 0xff]).unwrap_err().to_string().contains("too many signatures"));
}
