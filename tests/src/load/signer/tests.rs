use super::{Account, Batches, Work, short_id, some_of};
use crate::load::accounts::account;
use crate::rpc::from_hex;
use cairn_primitives::extrinsic::{Envelope, MultiSignature, TransactionImplicit, signing_payload};
use cairn_primitives::{Hash, OpaqueExtrinsic, PublicKey, crypto};
use cairn_runtime::Rules;
use parity_scale_codec::Decode as _;
use std::collections::BTreeSet;

const GENESIS: Hash = Hash([7; 32]);

fn accounts(count: u64) -> Vec<Account> {
    (0..count).map(account).collect()
}

fn extrinsics(batch: &super::Batch) -> Vec<OpaqueExtrinsic> {
    let (texts,): (Vec<String>,) = serde_json::from_str(batch.params.get()).unwrap();
    texts.iter().map(|text| OpaqueExtrinsic::decode(&mut from_hex(text).unwrap().as_slice()).unwrap()).collect()
}

#[test]
fn batches_hold_each_sender_with_its_nonces_in_turn() {
    let work = Work { accounts: accounts(4), genesis: GENESIS, batch_len: 2 };
    let mut seen = BTreeSet::new();
    for number in 0..6 {
        let batch = work.batch(number).unwrap();
        assert_eq!(batch.ids.len(), 2);
        for (extrinsic, id) in extrinsics(&batch).iter().zip(&batch.ids) {
            assert_eq!(short_id(&extrinsic.hash()), *id);
            let envelope = Envelope::parse(extrinsic.bytes()).unwrap();
            let signed = envelope.signed.unwrap();
            let MultiSignature::Ed25519(signature) = signed.signature else { panic!("not ed25519") };
            let implicit = TransactionImplicit::new(
                Rules::NEWEST.spec_version(),
                Rules::NEWEST.transaction_version(),
                GENESIS,
                GENESIS,
            );
            let payload = signing_payload(envelope.call, &signed.extra, &implicit);
            assert!(crypto::verify(&PublicKey(signed.signer.0), &payload, &signature));
            assert!(seen.insert((signed.signer, signed.extra.nonce)));
        }
    }
    let nonces: BTreeSet<u32> = seen.iter().map(|(_, nonce)| *nonce).collect();
    assert_eq!((seen.len(), nonces), (12, BTreeSet::from([0, 1, 2])));
}

#[tokio::test]
async fn batches_signed_ahead_come_in_order_and_go_on_after_them() {
    let mut batches = Batches::sign_ahead(accounts(4), GENESIS, 1, 4).unwrap();
    assert!(batches.waiting() >= 4);
    for number in 0..20 {
        assert_eq!(batches.next().await.unwrap().number, number);
    }
}

#[test]
fn transactions_chosen_from_a_batch_are_those_at_the_places() {
    let batch = Work { accounts: accounts(4), genesis: GENESIS, batch_len: 4 }.batch(0).unwrap();
    let chosen = some_of(&batch.params, &[3, 1]).unwrap();
    let (texts,): (Vec<String>,) = serde_json::from_str(chosen.get()).unwrap();
    let (all,): (Vec<String>,) = serde_json::from_str(batch.params.get()).unwrap();
    assert_eq!(texts, [all[3].clone(), all[1].clone()]);
}
