//! Headers, blocks, votes and what is built of them.

use super::strict;
use crate::fixture::{GENESIS, certificate as certify, chain, keys, proposal, quorum, set, set_of, vote as cast};
use cairn_consensus::JournalRecord;
use cairn_primitives::block::BLOCK_BYTES_MAX;
use cairn_primitives::certificate::CERTIFICATE_BYTES_MAX;
use cairn_primitives::evidence::excludes;
use cairn_primitives::header::DigestItem;
use cairn_primitives::light::TrustAnchor;
use cairn_primitives::{
    Block, Certificate, Epoch, Evidence, Hash, Header, Power, Subject, Validator, ValidatorSet, View, Vote,
};
use parity_scale_codec::Encode;

/// A header is a few hundred bytes; digests of other chains may be longer.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// What everybody does with a header: hash it, read its context, which has one encoding.
fn look_at_header(header: &Header) {
    let hash = header.hash();
    assert_ne!(hash, GENESIS);
    if let Ok(context) = header.context() {
        let again =
            Header::new(header.parent_hash, header.height(), header.state_root, header.extrinsics_root, &context);
        if header.digest.len() == 1 {
            assert_eq!(again.hash(), hash, "one context, two headers");
        }
    }
}

pub(super) fn look_at_block(block: &Block) {
    look_at_header(&block.header);
    let root = block.extrinsics_root();
    if !block.extrinsics.is_empty() {
        assert_ne!(root, Block { extrinsics: Vec::new().into(), header: block.header.clone() }.extrinsics_root());
    }
}

/// A certificate holds for the keys of [`set`] only if these signed: nothing else is known to the fuzzer but the seeds.
pub(super) fn look_at_certificate(certificate: &Certificate) {
    let signers: Vec<_> = certificate.signatures().map(|(signer, _)| signer).collect();
    assert!(signers.windows(2).all(|pair| pair[0] < pair[1]), "signers are not in order");
    for set in [set().clone(), set_of(&[0]), set_of(&[0, 1, 2, 3, 4, 5, 6, 7])] {
        let verdict = certificate.verify(&set, &GENESIS);
        if certificate.check_quorum(&set).is_err() {
            assert!(verdict.is_err(), "a certificate without a quorum");
        }
        if verdict.is_ok() {
            let power: u64 = signers.iter().filter_map(|signer| set.get(*signer)).map(|one| one.power.0).sum();
            assert!(Power(power) >= set.quorum());
            let votes = certificate.signatures().map(|(signer, signature)| Vote {
                subject: certificate.subject,
                signer,
                signature,
            });
            for vote in votes {
                let key = set.get(vote.signer).unwrap().key;
                assert!(vote.is_signed_by(&key, &GENESIS), "batch and single verification disagree");
            }
        }
    }
}

pub(super) fn look_at_evidence(evidence: &Evidence) {
    let (first, second) = evidence.votes();
    if evidence.verify(&GENESIS).is_ok() {
        assert!(excludes(&first.subject, &second.subject) && first.subject != second.subject);
        assert_eq!((first.subject.epoch(), first.subject.view()), (evidence.epoch(), evidence.view()));
        assert!(
            keys().iter().any(|key| key.public() == evidence.offender()),
            "evidence against a key that never signed"
        );
    }
}

pub(crate) fn header(bytes: &[u8]) {
    if let Some(header) = strict::<Header>("header", bytes, HEADER_BYTES_MAX) {
        look_at_header(&header);
    }
}

pub(crate) fn header_seeds() -> Vec<Vec<u8>> {
    let mut header = chain(1).remove(0).block.header;
    let plain = header.encode();
    header.digest.extend([
        DigestItem::Other(vec![1; 9]),
        DigestItem::Consensus(*b"BABE", vec![2]),
        DigestItem::Seal(*b"CARN", vec![3; 64]),
        DigestItem::RuntimeEnvironmentUpdated,
    ]);
    let busy = header.encode();
    header.digest = vec![DigestItem::RuntimeEnvironmentUpdated; 40];
    vec![plain, busy, header.encode()]
}

pub(crate) fn block(bytes: &[u8]) {
    if let Some(block) = strict::<Block>("block", bytes, BLOCK_BYTES_MAX) {
        look_at_block(&block);
    }
}

pub(crate) fn block_seeds() -> Vec<Vec<u8>> {
    let mut block = chain(1).remove(0).block;
    let small = block.encode();
    block.extrinsics = super::transactions::extrinsics().into();
    vec![small, block.encode()]
}

pub(crate) fn certificate(bytes: &[u8]) {
    let Some(certificate) = strict::<Certificate>("certificate", bytes, CERTIFICATE_BYTES_MAX) else { return };
    look_at_certificate(&certificate);
    let block = chain(1).remove(0).block;
    let anchor = TrustAnchor::new(GENESIS, set().clone());
    if let Ok(header) = anchor.verify_final(block.header, &certificate) {
        assert_eq!(certificate.subject.proposal().map(|proposal| proposal.block), Some(header.hash()));
    }
}

pub(crate) fn certificate_seeds() -> Vec<Vec<u8>> {
    let proposal = proposal(&chain(1)[0].block);
    let nullify = Subject::Nullify { epoch: Epoch(1), view: View(70_000) };
    let large = certify(&set_of(&[0, 1, 2, 3, 4, 5, 6, 7]), nullify, 0..8);
    let weak = certify(set(), nullify, 2..4);
    [quorum(Subject::Finalize(proposal)), quorum(Subject::Notarize(proposal)), quorum(nullify), large, weak]
        .iter()
        .map(Encode::encode)
        .collect()
}

pub(crate) fn vote(bytes: &[u8]) {
    let Some(vote) = strict::<Vote>("vote", bytes, 512) else { return };
    let signed_by = keys().iter().filter(|key| vote.is_signed_by(&key.public(), &GENESIS)).count();
    assert!(signed_by <= 1, "one signature, two keys");
    let other = vote.is_signed_by(&keys()[0].public(), &Hash([8; 32]));
    assert!(!other, "a vote of another chain");
}

pub(crate) fn vote_seeds() -> Vec<Vec<u8>> {
    let proposal = proposal(&chain(1)[0].block);
    let nullify = Subject::Nullify { epoch: Epoch(1), view: View(70_000) };
    let subjects = [Subject::Finalize(proposal), Subject::Notarize(proposal), nullify];
    subjects.iter().zip(0..).map(|(subject, place)| cast(set(), *subject, place).unwrap().encode()).collect()
}

pub(crate) fn evidence(bytes: &[u8]) {
    if let Some(evidence) = strict::<Evidence>("evidence", bytes, 1_024) {
        look_at_evidence(&evidence);
    }
}

pub(crate) fn evidence_seeds() -> Vec<Vec<u8>> {
    let mut one = proposal(&chain(1)[0].block);
    let offender = set().validators()[2].key;
    let nullify = Subject::Nullify { epoch: Epoch(0), view: one.view };
    let finalize = Subject::Finalize(one);
    let notarize = Subject::Notarize(one);
    one.block = Hash([9; 32]);
    let pairs = [
        (nullify, finalize),
        (finalize, nullify),
        (Subject::Notarize(one), notarize),
        (finalize, Subject::Finalize(one)),
    ];
    let made = pairs.into_iter().map(|(first, second)| {
        let votes = (cast(set(), first, 2).unwrap(), cast(set(), second, 2).unwrap());
        Evidence::new(offender, &votes.0, &votes.1).unwrap().encode()
    });
    made.collect()
}

pub(crate) fn journal_record(bytes: &[u8]) {
    let Some(record) = strict::<JournalRecord>("journal record", bytes, CERTIFICATE_BYTES_MAX + 16) else { return };
    assert_eq!(
        record.is_of_guard(),
        matches!(record, JournalRecord::Vote(_) | JournalRecord::Floor { .. } | JournalRecord::Silence { .. })
    );
    assert!(record.epoch() >= Epoch(0) && record.view() >= View(0));
}

pub(crate) fn journal_record_seeds() -> Vec<Vec<u8>> {
    let proposal = proposal(&chain(1)[0].block);
    let (epoch, view) = (Epoch(2), View(9));
    let records = [
        JournalRecord::Vote(cast(set(), Subject::Finalize(proposal), 0).unwrap()),
        JournalRecord::Certificate(quorum(Subject::Notarize(proposal))),
        JournalRecord::Certified { epoch, view, block: proposal.block, holds: true },
        JournalRecord::Floor { epoch, view },
        JournalRecord::Silence { epoch, view },
    ];
    records.iter().map(Encode::encode).collect()
}

pub(crate) fn validator_set(bytes: &[u8]) {
    let Some(set) = strict::<ValidatorSet>("validator set", bytes, 1 << 20) else { return };
    let validators: Vec<Validator> = set.validators().to_vec();
    assert!(!validators.is_empty() && validators.windows(2).all(|pair| pair[0].key < pair[1].key));
    assert!(validators.iter().all(|validator| validator.power > Power(0)));
    let (total, quorum) = (u128::from(set.total_power().0), u128::from(set.quorum().0));
    assert_eq!(validators.iter().map(|validator| u128::from(validator.power.0)).sum::<u128>(), total);
    assert_eq!(quorum, total - (total - 1) / 3);
    for (index, validator) in set.indices().zip(&validators) {
        assert_eq!(set.index_of(&validator.key), Some(index));
    }
    assert_eq!(ValidatorSet::new(validators).map(|again| again.hash()), Ok(set.hash()));
}

pub(crate) fn validator_set_seeds() -> Vec<Vec<u8>> {
    [set().clone(), set_of(&[5]), set_of(&[0, 1, 2, 3, 4, 5, 6, 7])].iter().map(Encode::encode).collect()
}
