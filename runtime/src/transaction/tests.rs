//! Tests of decoding and signature claims.

use super::*;
use crate::testing::{Chain, GENESIS, id, key, signed};
use crate::{Era, TransactionExtra, client};
use cairn_primitives::crypto::Scheme;
use cairn_primitives::crypto::sr25519::Sr25519Pair;
use cairn_primitives::signer::AccountKey;
use parity_scale_codec::Encode;

const NEWEST: Rules = Rules::NEWEST;

fn verifies(transaction: &Transaction, genesis: &Hash, era_block: &Hash) -> bool {
    let claim = transaction.signature_claim(NEWEST, genesis, era_block).unwrap();
    claim.holds()
}

#[test]
fn claim_of_a_signed_transaction_verifies_for_its_chain_alone() {
    let other = Hash([1; 32]);
    let calls = [client::transfer_keep_alive(id(1), 5), client::remark(vec![0x42; 400])];
    for call in calls {
        let transaction = signed(0, 0, 7, &call);
        assert!(verifies(&transaction, &GENESIS, &GENESIS));
        assert!(!verifies(&transaction, &other, &GENESIS));
        assert!(!verifies(&transaction, &GENESIS, &other));
    }
}

#[test]
fn claim_binds_the_rules() {
    let transaction = signed(0, 0, 0, &client::remark(vec![]));
    for rules in Rules::ALL {
        let claim = transaction.signature_claim(rules, &GENESIS, &GENESIS).unwrap();
        assert_eq!(claim.holds(), rules == NEWEST);
    }
    transaction.remember_signature(NEWEST, &GENESIS, &GENESIS);
    assert!(!transaction.is_signature_known(Rules::V3, &GENESIS, &GENESIS));
}

#[test]
fn claim_of_a_mortal_transaction_binds_the_era_block() {
    let era_block = Hash([3; 32]);
    let extra = TransactionExtra { era: Era::mortal(64, 100), nonce: 0, tip: 0 };
    let bytes = client::sign(&key(0), &client::remark(vec![]), extra, &GENESIS, &era_block);
    let transaction = Transaction::decode(bytes).unwrap();
    assert!(verifies(&transaction, &GENESIS, &era_block));
    assert!(!verifies(&transaction, &GENESIS, &GENESIS));
}

#[test]
fn claim_of_an_sr25519_signature_names_its_scheme() {
    let key = AccountKey::from(Sr25519Pair::from_seed(&[5; 32]));
    let extra = TransactionExtra { era: Era::Immortal, nonce: 0, tip: 0 };
    for call in [client::remark(vec![1]), client::remark(vec![0x42; 400])] {
        let bytes = client::sign_by(&key, &call, extra, NEWEST, &GENESIS, &GENESIS);
        let transaction = Transaction::decode(bytes).unwrap();
        assert_eq!(transaction.sender(), Some(key.account()));
        let claim = transaction.signature_claim(NEWEST, &GENESIS, &GENESIS).unwrap();
        assert_eq!(claim.scheme, Scheme::Sr25519);
        assert!(claim.holds());
        assert!(!transaction.signature_claim(NEWEST, &Hash([1; 32]), &GENESIS).unwrap().holds());
        let as_ed25519 = SignatureClaim { scheme: Scheme::Ed25519, ..claim };
        assert!(!as_ed25519.holds());
    }
}

#[test]
fn claim_of_another_scheme_is_refused_by_name() {
    let template = signed(0, 0, 0, &client::remark(vec![]));
    let mut ecdsa = template.bytes().bytes().to_vec();
    ecdsa[34] = 2;
    ecdsa.insert(35, 0);
    let transaction = Transaction::decode(OpaqueExtrinsic::new(ecdsa)).unwrap();
    let error = transaction.signature_claim(NEWEST, &GENESIS, &GENESIS).unwrap_err();
    assert_eq!(error, InvalidTransaction::UnsupportedSignature { scheme: "ecdsa" });
    assert_eq!(error.to_string(), "ecdsa signatures are not accepted: sign with an ed25519 or sr25519 key");
}

#[test]
fn claim_of_a_bare_extrinsic_is_refused() {
    assert_eq!(Chain::new().inherent().signature_claim(NEWEST, &GENESIS, &GENESIS), Err(InvalidTransaction::Unsigned));
}

#[test]
fn transaction_keeps_hash_length_and_weight_of_its_bytes() {
    let call = client::transfer_keep_alive(id(1), 5);
    let transaction = signed(0, 3, 0, &call);
    assert_eq!(transaction.hash(), transaction.bytes().hash());
    assert_eq!(transaction.encoded_len(), transaction.bytes().encode().len());
    assert_eq!(transaction.weight(), EXTRINSIC_BASE.saturating_add(call.weight()));
    assert_eq!((transaction.sender(), transaction.call()), (Some(id(0)), &call));
}

#[test]
fn verified_signature_is_remembered_for_its_chain_and_era_block_in_all_clones() {
    let transaction = signed(0, 0, 0, &client::remark(vec![]));
    let (clone, other) = (transaction.clone(), Hash([1; 32]));
    assert!(!transaction.is_signature_known(NEWEST, &GENESIS, &GENESIS));
    transaction.remember_signature(NEWEST, &GENESIS, &GENESIS);
    assert!(clone.is_signature_known(NEWEST, &GENESIS, &GENESIS));
    assert!(!clone.is_signature_known(NEWEST, &GENESIS, &other) && !clone.is_signature_known(NEWEST, &other, &GENESIS));
    clone.remember_signature(NEWEST, &GENESIS, &other);
    assert!(
        clone.is_signature_known(NEWEST, &GENESIS, &GENESIS) && !clone.is_signature_known(NEWEST, &GENESIS, &other)
    );
}

#[test]
fn transaction_with_unknown_or_trailing_or_missing_bytes_does_not_decode() {
    let good = signed(0, 0, 0, &client::remark(vec![1])).bytes().bytes().to_vec();
    let mut trailing = good.clone();
    trailing.push(0);
    let mut unknown = good.clone();
    let call = unknown.len() - 4;
    unknown[call] = 200;
    for bytes in [trailing, unknown, good[..good.len() - 1].to_vec(), good[..60].to_vec(), vec![], vec![4], vec![0x85]]
    {
        let error = Transaction::decode(OpaqueExtrinsic::new(bytes)).unwrap_err();
        assert!(matches!(InvalidTransaction::from(error), InvalidTransaction::Malformed { .. }));
    }
}
