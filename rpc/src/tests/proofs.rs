//! Answers that prove themselves, checked as a client checks them.

use super::Rig;
use super::client::Ws;
use super::fake::{extrinsic, validators};
use super::methods::{assert_refused, hex_of, submitted};
use crate::ports::{ChainPort, Handover};
use cairn_primitives::light::TrustAnchor;
use cairn_primitives::{Epoch, Hash, Height, ValidatorSet};
use cairn_verifier::{
    BlockRef, EventAnswer, FinalityAnswer, ProofAnswer, SetAnswer, TransactionAnswer, Verifier, VerifyError,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn verifier(rig: &Rig) -> Verifier {
    Verifier::new(TrustAnchor::new(rig.hash(0), validators()))
}

async fn ask<T: DeserializeOwned>(ws: &mut Ws, method: &str, params: Value) -> T {
    serde_json::from_value(ws.call(method, params).await.unwrap()).unwrap()
}

/// A chain of ten blocks of which the first nine are final with the tenth or by themselves: block 1 with block 3.
async fn grown() -> (Rig, Ws) {
    let rig = Rig::start().await;
    rig.chain.commit(&[(b"k", b"v")], vec![extrinsic(1), extrinsic(2), extrinsic(3)], false);
    rig.chain.commit(&[], Vec::new(), false);
    rig.chain.grow(7);
    let ws = rig.ws().await;
    (rig, ws)
}

#[tokio::test]
async fn finality_leads_from_a_block_to_the_certificate_of_a_descendant() {
    let (rig, mut ws) = grown().await;
    let at = rig.hash(1);
    for params in [json!([1]), json!([at.to_string()]), json!({ "at": 1 })] {
        let answer: FinalityAnswer = ask(&mut ws, "cairn_getFinality", params).await;
        let block = verifier(&rig).finality(BlockRef::Hash(at), &answer).unwrap();
        assert_eq!((block.certified, block.signers, answer.handovers.len()), (Height(3), 3, 0));
        assert_eq!(answer.finality.unwrap().links.len(), 2);
    }
    assert_eq!(ws.call("cairn_getFinality", json!([0])).await.unwrap()["finality"], Value::Null);
    rig.chain.commit(&[], Vec::new(), false);
    assert_refused(ws.call("cairn_getFinality", json!([])).await, 4010, "not_final");
    assert_refused(ws.call("cairn_getFinality", json!([99])).await, 4000, "unknown_block");
    assert_refused(ws.call("cairn_getFinality", json!([hex_of(&[9; 32])])).await, 4000, "unknown_block");
}

#[tokio::test]
async fn block_is_proved_in_the_history_of_a_later_one() {
    let (rig, mut ws) = grown().await;
    for (at, under) in [(0u32, 5u32), (1, 2), (4, 9)] {
        let answer: FinalityAnswer = ask(&mut ws, "cairn_getFinality", json!({ "at": at, "under": under })).await;
        let block = verifier(&rig).finality(BlockRef::Height(Height(at)), &answer).unwrap();
        assert_eq!((block.header.hash(), block.under), (rig.hash(at), Some(rig.hash(under))));
    }
    for under in [json!(4), json!(3), json!(rig.hash(0).to_string())] {
        let error =
            assert_refused(ws.call("cairn_getFinality", json!([4, null, under])).await, -32602, "invalid_params");
        assert!(error["data"]["message"].as_str().unwrap().contains("below"), "{error}");
    }
    assert_refused(ws.call("cairn_getFinality", json!([4, null, 99])).await, 4000, "unknown_block");
}

#[tokio::test]
async fn values_come_with_proofs_header_and_finality() {
    let (rig, mut ws) = grown().await;
    let keys = json!([hex_of(b"k"), hex_of(b"none")]);
    let answer: ProofAnswer = ask(&mut ws, "cairn_getProof", json!([keys, 1])).await;
    assert_eq!(answer.items[0].value.as_ref().map(|value| value.0.as_slice()), Some(b"v".as_slice()));
    assert_eq!((&answer.items[1].key.0, &answer.items[1].value), (&b"none".to_vec(), &None));
    verifier(&rig).block(BlockRef::Height(Height(1)), &answer.block, answer.finality.as_ref()).unwrap();
    assert_refused(ws.call("cairn_getProof", json!([[], hex_of(&[9; 32])])).await, 4000, "unknown_block");
    assert_refused(ws.call("cairn_getProof", json!([])).await, -32602, "invalid_params");
    assert_refused(ws.call("cairn_getProof", json!([["0x00"], true])).await, -32602, "invalid_params");
}

#[tokio::test]
async fn transaction_is_found_with_its_outcome_and_events() {
    let (rig, mut ws) = grown().await;
    let hash = extrinsic(2).hash().to_string();
    let found = ws.call("cairn_getTransaction", json!([hash])).await.unwrap();
    let expected = json!({
        "hash": hash, "blockHash": rig.hash(1).to_string(), "height": 1, "index": 1,
        "extrinsic": submitted(&extrinsic(2)), "success": false,
        "events": [{ "index": 2, "event": "0x000100000009" }, { "index": 3, "event": "0x000100000000" }],
    });
    assert_eq!(found, expected);
    let other = ws.call("cairn_getTransaction", json!([extrinsic(3).hash().to_string()])).await.unwrap();
    assert_eq!(other["success"], true);
    assert_eq!(ws.call("cairn_getTransaction", json!([hex_of(&[9; 32])])).await, Ok(Value::Null));
    assert_refused(ws.call("cairn_getTransaction", json!([])).await, -32602, "invalid_params");
}

#[tokio::test]
async fn transaction_and_its_events_are_proved_in_their_block() {
    let (rig, mut ws) = grown().await;
    let verifier = verifier(&rig);
    for last in [1, 2, 3] {
        let hash = extrinsic(last).hash();
        for under in [Value::Null, json!(8)] {
            let params = json!([hash.to_string(), under]);
            let answer: TransactionAnswer = ask(&mut ws, "cairn_getTransactionProof", params).await;
            assert_eq!(answer.index, u32::from(last) - 1);
            let block = verifier.transaction(&hash, &answer).unwrap();
            assert_eq!((block.header.hash(), block.under.is_some()), (rig.hash(1), !under.is_null()));
        }
    }
    for index in 0..6 {
        let answer: EventAnswer = ask(&mut ws, "cairn_getEventProof", json!([1, index])).await;
        verifier.event(BlockRef::Hash(rig.hash(1)), index, &answer).unwrap();
        assert!(matches!(
            verifier.event(BlockRef::Hash(rig.hash(2)), index, &answer),
            Err(VerifyError::Mismatch { what: "block", .. })
        ));
    }
    assert_eq!(ws.call("cairn_getTransactionProof", json!([hex_of(&[9; 32])])).await, Ok(Value::Null));
    let error = assert_refused(ws.call("cairn_getEventProof", json!([1, 6])).await, -32602, "invalid_params");
    assert!(error["data"]["message"].as_str().unwrap().contains("6 events"), "{error}");
    for (params, code, reason) in [
        (json!([2, 0]), -32602, "invalid_params"),
        (json!([1, -1]), -32602, "invalid_params"),
        (json!([null, 0]), -32602, "invalid_params"),
        (json!([99, 0]), 4000, "unknown_block"),
        (json!([hex_of(&[9; 32]), 0]), 4000, "unknown_block"),
    ] {
        assert_refused(ws.call("cairn_getEventProof", params).await, code, reason);
    }
}

#[tokio::test]
async fn ends_of_epochs_come_from_the_epoch_asked_for() {
    let (rig, mut ws) = grown().await;
    let (header, finalization) = rig.chain.finalization_for(Height(4)).unwrap().unwrap();
    let next = ValidatorSet::new(validators().validators()[1..].to_vec()).unwrap();
    for epoch in [6, 7] {
        let handover =
            Handover { closing: header.clone(), finalization: finalization.clone(), validators: next.clone() };
        rig.chain.handovers.lock().unwrap().insert(Epoch(epoch), handover);
    }
    *rig.chain.epoch.lock().unwrap() = Epoch(8);
    for (from, expected) in [(6u64, vec![6, 7]), (7, vec![7]), (8, vec![]), (u64::MAX, vec![])] {
        let answer: FinalityAnswer = ask(&mut ws, "cairn_getFinality", json!([9, from])).await;
        let epochs: Vec<_> = answer.handovers.iter().map(|handover| handover.epoch).collect();
        assert_eq!(epochs, expected);
        for handover in answer.handovers {
            assert_eq!(handover.closing.hash.0, header.hash());
            assert_eq!(handover.next, SetAnswer::new(Epoch(handover.epoch + 1), &next, None));
        }
    }
    for bad in [json!([9, -1]), json!([9, 1.5]), json!([9, "7"]), json!([9, [7]])] {
        assert_refused(ws.call("cairn_getFinality", bad).await, -32602, "invalid_params");
    }
}

#[tokio::test]
async fn validators_come_with_power_as_text() {
    let (rig, mut ws) = grown().await;
    let answer = ws.call("cairn_validators", json!([9])).await.unwrap();
    assert_eq!((&answer["totalPower"], &answer["quorum"]), (&json!("40"), &json!("27")));
    let answer: SetAnswer = serde_json::from_value(answer).unwrap();
    assert_eq!(answer, SetAnswer::new(Epoch(0), &validators(), Some(rig.hash(9))));
    let finality: FinalityAnswer = ask(&mut ws, "cairn_getFinality", json!([9])).await;
    let block = verifier(&rig).finality(BlockRef::Newest, &finality).unwrap();
    assert_eq!(verifier(&rig).validators(&block, &answer).unwrap(), validators());
    assert_refused(ws.call("cairn_validators", json!([Hash([9; 32]).to_string()])).await, 4000, "unknown_block");
}
