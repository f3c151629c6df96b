//! What a range must be to be believed.

use super::*;
use crate::{VerifiedRange, VerifyError, verify_range};

fn verify(chain: &Chain, blocks: Vec<FinalizedBlock>, from: u32, count: u32) -> Result<VerifiedRange, VerifyError> {
    verify_range(blocks, Height(from), count, &GENESIS, &chain.sets())
}

#[test]
fn range_closed_by_its_last_finalization_holds_and_loses_the_inner_ones() {
    let chain = Chain::new(10, 1);
    let range = verify(&chain, chain.range(3, 8), 3, 8).unwrap();
    assert_eq!((range.first(), range.last(), range.last_hash()), (Height(3), Height(8), chain.hash(Height(8))));
    let inner = |block: &FinalizedBlock| block.finalization.is_some();
    assert_eq!(range.blocks().iter().map(inner).collect::<Vec<_>>(), [false, false, false, false, false, true]);
}

#[test]
fn range_with_a_forged_inner_finalization_holds_without_it() {
    let chain = Chain::new(4, 1);
    let mut blocks = chain.range(1, 4);
    blocks[1].finalization = Some(Certificate::from_signatures(finalize(2, Hash::ZERO), [], &chain.set));
    assert_eq!(verify(&chain, blocks, 1, 4).unwrap(), verify(&chain, chain.range(1, 4), 1, 4).unwrap());
}

#[test]
fn range_without_blocks_is_empty() {
    assert_eq!(verify(&Chain::new(1, 1), vec![], 1, 4), Err(VerifyError::Empty));
}

#[test]
fn range_starting_elsewhere_is_of_wrong_height() {
    let chain = Chain::new(5, 1);
    let error = VerifyError::WrongHeight { actual: Height(2), expected: Height(1) };
    assert_eq!(verify(&chain, chain.range(2, 4), 1, 4), Err(error));
}

#[test]
fn range_with_a_gap_is_of_wrong_height() {
    let chain = Chain::new(5, 1);
    let mut blocks = chain.range(1, 5);
    blocks.remove(2);
    let error = VerifyError::WrongHeight { actual: Height(4), expected: Height(3) };
    assert_eq!(verify(&chain, blocks, 1, 5), Err(error));
}

#[test]
fn range_cut_before_its_finalization_is_not_final() {
    let chain = Chain::new(8, 4);
    assert_eq!(verify(&chain, chain.range(1, 7), 1, 8), Err(VerifyError::NotFinalized(Height(7))));
}

#[test]
fn range_longer_than_asked_for_holds_only_where_nothing_closed_it_before() {
    let chain = Chain::new(8, 4);
    assert_eq!(verify(&chain, chain.range(1, 4), 1, 2).unwrap().last(), Height(4));
    assert_eq!(verify(&chain, chain.range(1, 8), 1, 5), Err(VerifyError::TooMany { actual: 8, asked: 5 }));
}

#[test]
fn range_beyond_the_most_blocks_of_an_answer_is_too_long() {
    let chain = Chain::new(257, 257);
    let error = VerifyError::TooMany { actual: 257, asked: 256 };
    assert_eq!(verify(&chain, chain.range(1, 257), 1, 256), Err(error));
}

#[test]
fn range_with_a_foreign_block_inside_is_broken() {
    let chain = Chain::new(5, 5);
    let mut blocks = chain.range(1, 5);
    blocks[2].block.header.state_root = Hash([9; 32]);
    assert_eq!(verify(&chain, blocks, 1, 5), Err(VerifyError::BrokenLink(Height(3))));
}

#[test]
fn range_with_a_changed_body_is_refused() {
    let chain = Chain::new(5, 5);
    let mut blocks = chain.range(1, 5);
    blocks[1].block.extrinsics.push(OpaqueExtrinsic::new(vec![1, 2, 3]));
    assert_eq!(verify(&chain, blocks, 1, 5), Err(VerifyError::WrongBody(Height(2))));
}

#[test]
fn finalization_of_another_block_is_of_wrong_subject() {
    let chain = Chain::new(3, 1);
    let mut blocks = chain.range(1, 2);
    blocks[1].finalization = chain.block(3).finalization.clone();
    assert_eq!(verify(&chain, blocks, 1, 2), Err(VerifyError::WrongSubject));
}

#[test]
fn notarization_in_the_place_of_a_finalization_is_of_wrong_subject() {
    let chain = Chain::new(1, 1);
    let Subject::Finalize(proposal) = finalize(1, chain.hash(Height(1))) else { unreachable!() };
    let mut blocks = chain.range(1, 1);
    blocks[0].finalization = Some(chain.certify(Subject::Notarize(proposal)));
    assert_eq!(verify(&chain, blocks, 1, 1), Err(VerifyError::WrongSubject));
}

#[test]
fn finalization_without_a_quorum_or_with_a_wrong_signature_does_not_hold() {
    let chain = Chain::new(1, 1);
    let subject = finalize(1, chain.hash(Height(1)));
    let two = chain.block(1).finalization.as_ref().unwrap().signatures().take(2).collect::<Vec<_>>();
    let mut wrong = chain.block(1).finalization.as_ref().unwrap().signatures().collect::<Vec<_>>();
    wrong[1].1 = wrong[0].1;
    for signatures in [two, wrong] {
        let mut blocks = chain.range(1, 1);
        blocks[0].finalization = Some(Certificate::from_signatures(subject, signatures, &chain.set));
        assert!(matches!(verify(&chain, blocks, 1, 1), Err(VerifyError::BadCertificate(_))));
    }
}

#[test]
fn finalization_of_another_chain_does_not_hold() {
    let chain = Chain::new(1, 1);
    let result = verify_range(chain.range(1, 1), Height(1), 1, &Hash([8; 32]), &chain.sets());
    assert!(matches!(result, Err(VerifyError::BadCertificate(_))));
}

#[test]
fn finalization_of_an_epoch_not_known_yet_is_told_apart() {
    let chain = Chain::new(1, 1);
    let sets = ValidatorSets::new(chain.schedule, Epoch(3), Arc::clone(&chain.set));
    let result = verify_range(chain.range(1, 1), Height(1), 1, &GENESIS, &sets);
    assert_eq!(result, Err(VerifyError::UnknownEpoch(Epoch(0))));
}

#[test]
fn range_without_its_first_blocks_keeps_the_rest() {
    let chain = Chain::new(6, 6);
    let range = verify(&chain, chain.range(1, 6), 1, 6).unwrap();
    let rest = range.clone().starting_at(Height(4)).unwrap();
    assert_eq!(heights(rest.blocks()), [4, 5, 6]);
    assert!(rest.bytes() < range.bytes());
    assert_eq!(range.starting_at(Height(7)), None);
}
