//! What is remembered, and for how long.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "a test may panic")]

use super::*;
use cairn_primitives::KeyPair;
use cairn_primitives::crypto::sr25519::Sr25519Pair;
use cairn_primitives::hash::sha256;
use cairn_primitives::signer::AccountKey;
use cairn_runtime::{Rules, RulesSchedule, TransactionExtra, client};

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
    let checker = SignatureChecker::new(GENESIS, RulesSchedule::default(), Signers::default());
    let forged = transaction(Era::Immortal, Hash([1; 32]));
    assert_eq!(check(&checker, &forged, 5), Err(InvalidTransaction::BadProof));
    assert!(!forged.is_signature_known(Rules::NEWEST, &GENESIS, &GENESIS), "a bad signature is not remembered");
    // Only who skips the verification takes it.
    forged.remember_signature(Rules::NEWEST, &GENESIS, &GENESIS);
    assert_eq!(check(&checker, &forged, 5), Ok(()));

    let good = transaction(Era::Immortal, GENESIS);
    assert_eq!(check(&checker.clone(), &good, 5), Ok(()));
    assert!(good.is_signature_known(Rules::NEWEST, &GENESIS, &GENESIS));
    assert!(!good.is_signature_known(Rules::NEWEST, &Hash([1; 32]), &GENESIS), "not on another chain");
    let again = checker.decode(&[good.bytes().clone()]).unwrap().remove(0);
    assert!(again.is_signature_known(Rules::NEWEST, &GENESIS, &GENESIS), "clones share what they know");
    checker.forget(std::slice::from_ref(&good));
    let again = checker.decode(&[good.bytes().clone()]).unwrap().remove(0);
    assert!(!again.is_signature_known(Rules::NEWEST, &GENESIS, &GENESIS), "forgotten");
}

#[test]
fn signatures_of_both_schemes_are_checked_in_one_block() {
    let extra = TransactionExtra { era: Era::Immortal, nonce: 0, tip: 0 };
    let sr25519 = |seed, era_block: Hash| {
        let key = AccountKey::from(Sr25519Pair::from_seed(&[seed; 32]));
        Transaction::decode(client::sign_by(&key, &client::remark(vec![1]), extra, Rules::NEWEST, &GENESIS, &era_block))
            .unwrap()
    };
    let forged = Hash([1; 32]);
    let block = [
        sr25519(1, GENESIS),
        transaction(Era::Immortal, GENESIS),
        sr25519(2, forged),
        transaction(Era::Immortal, forged),
        sr25519(3, GENESIS),
    ];
    let results = SignatureChecker::new(GENESIS, RulesSchedule::default(), Signers::default())
        .check(&block, Height(5), &Heights)
        .unwrap();
    let bad = || Err(InvalidTransaction::BadProof);
    assert_eq!(results, [Ok(()), Ok(()), bad(), bad(), Ok(())]);
}

#[test]
fn remembered_signature_counts_for_its_era_block_only() {
    let checker = SignatureChecker::new(GENESIS, RulesSchedule::default(), Signers::default());
    let mortal = transaction(Era::mortal(64, 100), hash_at(100));
    assert_eq!(check(&checker, &mortal, 101), Ok(()));
    assert_eq!(check(&checker, &mortal, 163), Ok(()));
    // One period on, the era is another one, and so is the block that the signature must name.
    assert_eq!(check(&checker, &mortal, 165), Err(InvalidTransaction::BadProof));
}

#[test]
fn era_without_a_block_before_it_is_refused() {
    let checker = SignatureChecker::new(GENESIS, RulesSchedule::default(), Signers::default());
    let mortal = transaction(Era::mortal(64, 100), hash_at(100));
    assert_eq!(check(&checker, &mortal, 100), Err(InvalidTransaction::AncientBirthBlock), "born in this very block");
    let missing = transaction(Era::mortal(64, 2_000_000), hash_at(2_000_000));
    assert_eq!(check(&checker, &missing, 2_000_001), Err(InvalidTransaction::AncientBirthBlock));
}

#[test]
fn batch_answers_in_order() {
    let checker = SignatureChecker::new(GENESIS, RulesSchedule::default(), Signers::default());
    let good = transaction(Era::Immortal, GENESIS);
    let forged = transaction(Era::Immortal, Hash([1; 32]));
    let batch = [forged.clone(), good.clone(), forged, good];
    let answers = checker.check(&batch, Height(1), &Heights).unwrap();
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false, true]);
}

#[test]
fn answers_of_many_batches_come_in_order() {
    let checker = SignatureChecker::new(GENESIS, RulesSchedule::default(), Signers::default());
    let signed = |number: u32| {
        let extra = TransactionExtra { era: Era::Immortal, nonce: number, tip: 0 };
        let key = KeyPair::from_seed(&[u8::try_from(number % 7).unwrap(); 32]);
        let era_block = if number % 300 == 5 { Hash([1; 32]) } else { GENESIS };
        let length = usize::try_from(number % 11 * 50).unwrap();
        client::sign(&key, &client::remark(vec![1; length]), extra, &GENESIS, &era_block)
    };
    let extrinsics: Vec<_> = (0..1_500).map(signed).collect();
    let transactions = checker.decode(&extrinsics).unwrap();
    assert!(transactions.iter().map(Transaction::bytes).eq(&extrinsics));
    assert!(transactions.iter().map(Transaction::hash).eq(extrinsics.iter().map(OpaqueExtrinsic::hash)));
    let answers = checker.check(&transactions, Height(1), &Heights).unwrap();
    let refused: Vec<_> = (0..).zip(&answers).filter(|(_, answer)| answer.is_err()).map(|(place, _)| place).collect();
    assert_eq!(refused, [5, 305, 605, 905, 1205]);
}

#[test]
fn first_extrinsic_that_does_not_decode_is_named() {
    let checker = SignatureChecker::new(GENESIS, RulesSchedule::default(), Signers::default());
    let good = transaction(Era::Immortal, GENESIS).bytes().clone();
    let mut extrinsics = vec![good; 1_200];
    for place in [1_100, 700] {
        extrinsics[place] = OpaqueExtrinsic::new(vec![9; 40]);
    }
    assert_eq!(checker.decode(&extrinsics).unwrap_err().0, 700);
}
