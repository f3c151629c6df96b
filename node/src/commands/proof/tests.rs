use super::{HandoverAnswer, ProofAnswer, step, verify};
use crate::client::to_hex;
use cairn_primitives::hash::sha256;
use cairn_primitives::header::{ConsensusContext, PROTOCOL_VERSION};
use cairn_primitives::light::TrustAnchor;
use cairn_primitives::state_proof::{ExistenceProof, StateProof, leaf_hash};
use cairn_primitives::{
    Certificate, Epoch, EpochSchedule, Hash, Header, Height, KeyPair, Power, Proposal, Subject, TimestampMs, Validator,
    ValidatorIndex, ValidatorSet, View, Vote,
};
use parity_scale_codec::Encode as _;
use serde_json::{Value, json};

const KEY: &[u8] = b"key";
const VALUE: &[u8] = b"value";

struct World {
    anchor: TrustAnchor,
    /// A block whose child is certified.
    answer: Value,
    block: Hash,
}

fn header(parent: Hash, height: u32, root: Hash, set: &ValidatorSet) -> Header {
    let context = ConsensusContext {
        protocol_version: PROTOCOL_VERSION,
        epoch: Epoch(0),
        view: View(height.into()),
        proposer: ValidatorIndex(0),
        timestamp: TimestampMs(1),
        events_root: Hash::ZERO,
        history_root: Hash::ZERO,
        validators_hash: set.hash(),
        next_validators_hash: set.hash(),
    };
    Header::new(parent, Height(height), root, Hash::ZERO, &context)
}

fn world() -> World {
    let key = KeyPair::from_seed(&[1; 32]);
    let set = ValidatorSet::new(vec![Validator { key: key.public(), power: Power(3) }]).unwrap();
    let genesis = header(Hash::ZERO, 0, Hash::ZERO, &set).hash();
    let root = leaf_hash(&sha256(KEY), &sha256(VALUE));
    let block = header(genesis, 1, root, &set);
    let child = header(block.hash(), 2, Hash([5; 32]), &set);
    let proposal = Proposal { epoch: Epoch(0), view: View(2), parent_view: View(1), block: child.hash() };
    let vote = Vote::sign(Subject::Finalize(proposal), ValidatorIndex(0), &key, &genesis);
    let certificate = Certificate::from_signatures(vote.subject, [(vote.signer, vote.signature)], &set);
    let proof = StateProof::Present(ExistenceProof { key: KEY.to_vec(), value: VALUE.to_vec(), siblings: Vec::new() });
    let answer = json!({
        "block": { "header": to_hex(&block.encode()), "height": 1 },
        "items": [{ "key": to_hex(KEY), "value": to_hex(VALUE), "proof": to_hex(&proof.encode()) }],
        "finality": { "links": [to_hex(&child.encode())], "certificate": to_hex(&certificate.encode()) },
    });
    World { anchor: TrustAnchor::new(genesis, set), answer, block: block.hash() }
}

fn verdict(world: &World) -> Result<(), String> {
    let answer: ProofAnswer = serde_json::from_value(world.answer.clone()).unwrap();
    verify(&world.anchor, &answer, KEY, Some(&world.block)).map(|_| ()).map_err(|error| format!("{error:#}"))
}

/// The refusal after one change of the answer.
fn refusal(change: impl FnOnce(&mut Value)) -> String {
    let mut world = world();
    change(&mut world.answer);
    verdict(&world).expect_err("a forged answer was accepted")
}

fn flip_last_byte(text: &Value) -> Value {
    let mut bytes = hex::decode(&text.as_str().unwrap()[2..]).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    json!(to_hex(&bytes))
}

#[test]
fn proof_over_a_certified_child_is_accepted() {
    let world = world();
    let answer: ProofAnswer = serde_json::from_value(world.answer.clone()).unwrap();
    let proved = verify(&world.anchor, &answer, KEY, None).unwrap();
    assert_eq!(proved.value.as_deref(), Some(VALUE));
    assert_eq!((proved.block.header().number, proved.certified_height, proved.signers), (1, 2, 1));
}

#[test]
fn proof_with_forged_value_is_refused() {
    let problem = refusal(|answer| answer["items"][0]["value"] = json!("0x00"));
    assert!(problem.contains("another value"), "{problem}");
    let problem = refusal(|answer| answer["items"][0]["value"] = Value::Null);
    assert!(problem.contains("claimed to have none"), "{problem}");
    let forged = StateProof::Present(ExistenceProof { key: KEY.to_vec(), value: vec![9], siblings: Vec::new() });
    let problem = refusal(|answer| {
        answer["items"][0]["value"] = json!("0x09");
        answer["items"][0]["proof"] = json!(to_hex(&forged.encode()));
    });
    assert!(problem.contains("leads to state root"), "{problem}");
}

#[test]
fn proof_of_another_key_is_refused() {
    let problem = refusal(|answer| answer["items"][0]["key"] = json!("0x00"));
    assert!(problem.contains("another key"), "{problem}");
    let other = StateProof::Present(ExistenceProof { key: vec![0], value: VALUE.to_vec(), siblings: Vec::new() });
    let problem = refusal(|answer| answer["items"][0]["proof"] = json!(to_hex(&other.encode())));
    assert!(problem.contains("another key"), "{problem}");
}

#[test]
fn header_with_forged_root_is_refused() {
    let world = world();
    let bytes = hex::decode(&world.answer["block"]["header"].as_str().unwrap()[2..]).unwrap();
    let mut forged = <Header as parity_scale_codec::Decode>::decode(&mut bytes.as_slice()).unwrap();
    forged.state_root = Hash([9; 32]);
    let problem = refusal(|answer| answer["block"]["header"] = json!(to_hex(&forged.encode())));
    assert!(problem.contains("asked for was"), "{problem}");
    // Also when no block was named.
    let mut answer = world.answer.clone();
    answer["block"]["header"] = json!(to_hex(&forged.encode()));
    let answer: ProofAnswer = serde_json::from_value(answer).unwrap();
    let problem = verify(&world.anchor, &answer, KEY, None).unwrap_err().to_string();
    assert!(problem.contains("its child names the parent"), "{problem}");
}

#[test]
fn certificate_with_forged_signature_is_refused() {
    let problem = refusal(|answer| {
        let forged = flip_last_byte(&answer["finality"]["certificate"]);
        answer["finality"]["certificate"] = forged;
    });
    assert!(problem.contains("signature of validator 0 is wrong"), "{problem}");
}

#[test]
fn finality_left_out_or_not_linked_is_refused() {
    let problem = refusal(|answer| answer["finality"] = Value::Null);
    assert!(problem.contains("genesis header hashes to"), "{problem}");
    let problem = refusal(|answer| answer["finality"]["links"] = json!([]));
    assert!(problem.contains("the certificate finalizes block"), "{problem}");
}

#[test]
fn answer_with_no_or_more_items_is_refused() {
    assert!(refusal(|answer| answer["items"] = json!([])).contains("0 values"));
    let problem = refusal(|answer| {
        let item = answer["items"][0].clone();
        answer["items"] = json!([item.clone(), item]);
    });
    assert!(problem.contains("2 values"), "{problem}");
}

#[test]
fn garbage_in_place_of_bytes_is_refused() {
    for path in [
        "/block/header",
        "/items/0/key",
        "/items/0/value",
        "/items/0/proof",
        "/finality/certificate",
        "/finality/links/0",
    ] {
        for text in ["", "0x", "0x00", "zz", "0xffffffffffffffffffffffffffffffffff"] {
            refusal(|answer| *answer.pointer_mut(path).unwrap() = json!(text));
        }
    }
}

/// An anchor whose first epoch ends with block 1, and the answer that shows it.
fn ended_epoch() -> (TrustAnchor, Value) {
    let set_of = |seed: u8| {
        let key = KeyPair::from_seed(&[seed; 32]).public();
        ValidatorSet::new(vec![Validator { key, power: Power(3) }]).unwrap()
    };
    let (set, next) = (set_of(1), set_of(2));
    let genesis = header(Hash::ZERO, 0, Hash::ZERO, &set).hash();
    let context = ConsensusContext {
        next_validators_hash: next.hash(),
        ..header(genesis, 1, Hash::ZERO, &set).context().unwrap()
    };
    let closing = Header::new(genesis, Height(1), Hash::ZERO, Hash::ZERO, &context);
    let proposal = Proposal { epoch: Epoch(0), view: View(1), parent_view: View(0), block: closing.hash() };
    let vote = Vote::sign(Subject::Finalize(proposal), ValidatorIndex(0), &KeyPair::from_seed(&[1; 32]), &genesis);
    let certificate = Certificate::from_signatures(vote.subject, [(vote.signer, vote.signature)], &set);
    let answer = json!({
        "epoch": 0,
        "closing": { "header": to_hex(&closing.encode()), "height": 1 },
        "certificate": to_hex(&certificate.encode()),
        "next": { "epoch": 1, "validators": [{ "key": to_hex(&next.validators()[0].key.0), "power": "3" }] },
    });
    (TrustAnchor::new(genesis, set).with_schedule(EpochSchedule::new(1)), answer)
}

fn step_to(anchor: &TrustAnchor, answer: &Value) -> Result<TrustAnchor, String> {
    let answer: HandoverAnswer = serde_json::from_value(answer.clone()).unwrap();
    step(anchor, &answer).map_err(|error| format!("{error:#}"))
}

#[test]
fn epoch_handed_over_is_followed_to_the_next_validators() {
    let (anchor, answer) = ended_epoch();
    let next = step_to(&anchor, &answer).unwrap();
    assert_eq!(next.epoch(), Epoch(1));
    assert_eq!(next.validators().validators()[0].key, KeyPair::from_seed(&[2; 32]).public());
    assert!(step_to(&next, &answer).unwrap_err().contains("epoch"));
}

#[test]
fn epoch_with_a_forged_end_is_not_followed() {
    let (anchor, answer) = ended_epoch();
    for (path, forged, expected) in [
        ("/next/validators/0/power", json!("4"), "validators"),
        ("/next/validators/0/power", json!("-"), "no number"),
        ("/next/validators", json!([]), "no set"),
        ("/certificate", flip_last_byte(&answer["certificate"]), "signature"),
        ("/certificate", json!("0x00"), ""),
        ("/closing/header", json!("zz"), ""),
    ] {
        let mut answer = answer.clone();
        *answer.pointer_mut(path).unwrap() = forged;
        let problem = step_to(&anchor, &answer).expect_err(path);
        assert!(problem.contains(expected), "{path}: {problem}");
    }
    let longer = anchor.with_schedule(EpochSchedule::new(2));
    assert!(step_to(&longer, &answer).is_err(), "block 1 does not close an epoch of two blocks");
}
