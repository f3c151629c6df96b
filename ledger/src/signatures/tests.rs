//! What is remembered, and for how long.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "a test may panic")]

use super::*;
use cairn_primitives::KeyPair;
use cairn_primitives::hash::sha256;
use cairn_runtime::{TransactionExtra, client};

const GENESIS: Hash = Hash([9; 32]);

/// Hashes that a height gives away, nothing above 1,000.
struct Heights;

impl Ancestors for Heights {
    fn hash_at(&self, height: Height) -> Result<Option<Hash>, LedgerError> {
        Ok((height.0 <= 1_000_000).then(|| hash_at(height.0)))
    }
}

fn hash_at(height: u32) -> Hash {
    sha256(&height.to_le_bytes())
}

fn transaction(era: Era, era_block: Hash) -> Transaction {
    let extra = TransactionExtra { era, nonce: 0, tip: 0 };
    let key = KeyPair::from_seed(&[1; 32]);
    Transaction::decode(client::sign(&key, &client::remark(vec![1]), extra, &GENESIS, &era_block)).unwrap()
}

fn check(checker: &SignatureChecker, transaction: &Transaction, height: u32) -> Result<(), InvalidTransaction> {
    checker.check(std::slice::from_ref(transaction), Height(height), &Heights).unwrap().remove(0)
}

#[test]
fn signature_that_was_verified_is_not_verified_again() {
    let checker = SignatureChecker::new(GENESIS);
    let forged = transaction(Era::Immortal, Hash([1; 32]));
    assert_eq!(check(&checker, &forged, 5), Err(InvalidTransaction::BadProof));
    assert!(checker.lock().known.is_empty(), "a bad signature is not remembered");
    // Only who skips the verification takes it.
    checker.lock().remember((forged.hash(), GENESIS));
    assert_eq!(check(&checker, &forged, 5), Ok(()));

    let good = transaction(Era::Immortal, GENESIS);
    assert_eq!(check(&checker.clone(), &good, 5), Ok(()));
    assert!(checker.lock().known.contains(&(good.hash(), GENESIS)), "clones share what they know");
}

#[test]
fn remembered_signature_counts_for_its_era_block_only() {
    let checker = SignatureChecker::new(GENESIS);
    let mortal = transaction(Era::mortal(64, 100), hash_at(100));
    assert_eq!(check(&checker, &mortal, 101), Ok(()));
    assert_eq!(check(&checker, &mortal, 163), Ok(()));
    // One period on, the era is another one, and so is the block that the signature must name.
    assert_eq!(check(&checker, &mortal, 165), Err(InvalidTransaction::BadProof));
}

#[test]
fn era_without_a_block_before_it_is_refused() {
    let checker = SignatureChecker::new(GENESIS);
    let mortal = transaction(Era::mortal(64, 100), hash_at(100));
    assert_eq!(check(&checker, &mortal, 100), Err(InvalidTransaction::AncientBirthBlock), "born in this very block");
    let missing = transaction(Era::mortal(64, 2_000_000), hash_at(2_000_000));
    assert_eq!(check(&checker, &missing, 2_000_001), Err(InvalidTransaction::AncientBirthBlock));
}

#[test]
fn batch_answers_in_order() {
    let checker = SignatureChecker::new(GENESIS);
    let good = transaction(Era::Immortal, GENESIS);
    let forged = transaction(Era::Immortal, Hash([1; 32]));
    let batch = [forged.clone(), good.clone(), forged, good];
    let answers = checker.check(&batch, Height(1), &Heights).unwrap();
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false, true]);
    assert_eq!(checker.lock().order.len(), 1);
}

#[test]
fn memory_is_bounded_and_forgets_the_oldest() {
    let mut verified = Verified::default();
    let entry = |number: usize| (sha256(&number.to_le_bytes()), GENESIS);
    for number in 0..SIGNATURES_REMEMBERED_MAX + 10 {
        verified.remember(entry(number));
        verified.remember(entry(number));
    }
    assert_eq!((verified.known.len(), verified.order.len()), (SIGNATURES_REMEMBERED_MAX, SIGNATURES_REMEMBERED_MAX));
    assert!(!verified.known.contains(&entry(9)));
    assert!(verified.known.contains(&entry(10)));
}
