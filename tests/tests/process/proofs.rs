//! A transfer is final everywhere, and what it changed is proved to clients that trust nothing but the chain spec.

use cairn_primitives::{Hash, Height};
use cairn_runtime::{EventRecord, keys};
use cairn_tests::harness::{Network, Observer, Shape, account, cairn, height_of, id, signed_transfer, transfer};
use cairn_tests::rpc::{Rpc, from_hex, to_hex};
use cairn_verifier::{
    BlockRef, EventAnswer, FinalityAnswer, ItemAnswer, ProofAnswer, TransactionAnswer, VerifiedBlock, Verifier,
};
use ics23::HostFunctionsManager;
use jmt::mock::MockTreeStore;
use jmt::{KeyHash, RootHash, Sha256Jmt};
use parity_scale_codec::{DecodeAll as _, Encode as _};
use prost::Message as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const VALUE: u128 = 10_000_000_000_000;

/// Bits of an answer that are flipped, spread over all of it: each bit is tried where the verifier itself is tested.
const FLIPS: usize = 400;

/// Whether the `ics23` crate accepts a proof by the specification of the `jmt` crate.
fn ics23_accepts(root: &Hash, item: &ItemAnswer) -> bool {
    let proof = ics23::CommitmentProof::decode(item.ics23.0.as_slice()).unwrap();
    let (spec, root) = (jmt::ics23_spec(), root.0.to_vec());
    match &item.value {
        Some(value) => ics23::verify_membership::<HostFunctionsManager>(&proof, &spec, &root, &item.key.0, &value.0),
        None => ics23::verify_non_membership::<HostFunctionsManager>(&proof, &spec, &root, &item.key.0),
    }
}

/// All keys and values of the state after a block.
async fn state(rpc: &Rpc, at: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let keys: Vec<String> =
        rpc.call("state_getKeysPaged", vec![json!("0x"), json!(1_000), json!(null), json!(at)]).await.unwrap();
    let mut values = Vec::new();
    for key in keys {
        let value: String = rpc.call("state_getStorage", vec![json!(key), json!(at)]).await.unwrap();
        values.push((from_hex(&key).unwrap(), from_hex(&value).unwrap()));
    }
    values
}

/// The `jmt` crate's tree over the same values has the same root, and its own proofs hold against the header's.
fn check_with_jmt(values: &[(Vec<u8>, Vec<u8>)], root: &Hash, items: &[ItemAnswer]) {
    let store = MockTreeStore::default();
    let tree = Sha256Jmt::new(&store);
    let hashed = |key: &[u8]| KeyHash::with::<sha2_for_jmt::Sha256>(key);
    for (key, _) in values {
        store.put_key_preimage(hashed(key), key);
    }
    let set = values.iter().map(|(key, value)| (hashed(key), Some(value.clone())));
    let (jmt_root, batch) = tree.put_value_set(set, 0).unwrap();
    store.write_tree_update_batch(batch).unwrap();
    assert_eq!(jmt_root, RootHash(root.0));
    for item in items {
        let (value, proof) = tree.get_with_proof(hashed(&item.key.0), 0).unwrap();
        assert_eq!(value, item.value.as_ref().map(|value| value.0.clone()));
        proof.verify(RootHash(root.0), hashed(&item.key.0), value.as_ref()).unwrap();
        let (_, ics23) = tree.get_with_ics23_proof(item.key.0.clone(), 0).unwrap();
        assert_eq!(ics23.encode_to_vec(), item.ics23.0);
    }
}

#[tokio::test]
async fn transfer_is_final_on_every_node_and_proved() {
    let (network, clients) = Network::start(Shape { validators: 4, archives: 1 }).await.unwrap();
    let [first, .., last] = clients.as_slice() else { panic!("five nodes") };
    let before = [account(first, "Alice", None).await.unwrap(), account(first, "Bob", None).await.unwrap()];

    let block = transfer(first, "Alice", "Bob", VALUE).await.unwrap();

    let height = height_of(first, &block).await.unwrap();
    for client in &clients {
        Observer::new(client).await.unwrap().reach(height).await.unwrap();
        let hash: String = client.call("chain_getBlockHash", vec![json!(height)]).await.unwrap();
        assert_eq!(hash, block, "{}", client.url());
        let alice = account(client, "Alice", Some(&block)).await.unwrap();
        let bob = account(client, "Bob", Some(&block)).await.unwrap();
        // The block's proposer, who may be one of the two, gets a part of the fee.
        let fee_max = 1_000_000_000;
        let (paid, got) = (before[0].data.free - alice.data.free, bob.data.free - before[1].data.free);
        assert!((VALUE..VALUE + fee_max).contains(&paid), "{paid}");
        assert!((VALUE..VALUE + fee_max).contains(&got), "{got}");
        assert_eq!(alice.nonce, before[0].nonce + 1);
    }

    let verifier = Verifier::new(network.anchor().unwrap());
    let wanted = ["Bob", "Nobody"].map(|name| keys::system_account(&id(name)).to_vec());
    let hexed: Vec<String> = wanted.iter().map(|key| to_hex(key)).collect();
    let answer: ProofAnswer = last.call("cairn_getProof", vec![json!(hexed), json!(block)]).await.unwrap();
    let at = BlockRef::Hash(block.parse().unwrap());
    let verified = verifier.state(at, &wanted, &answer).unwrap();
    let root = verified.header.header().state_root;
    let [bob, nobody] = answer.items.as_slice() else { panic!("two items") };
    assert!(ics23_accepts(&root, bob) && ics23_accepts(&root, nobody));
    let value = bob.value.as_ref().map(|value| value.0.clone());
    assert_eq!(value, Some(account(first, "Bob", Some(&block)).await.unwrap().encode()));
    assert_eq!(nobody.value, None);
    check_with_jmt(&state(first, &block).await, &root, &answer.items);
    assert_flips_are_refused(&answer, |answer| verifier.state(at, &wanted, answer));
    check_ics23_forgeries(&root, bob);
}

/// What `ics23` makes of another value, key or root.
fn check_ics23_forgeries(root: &Hash, item: &ItemAnswer) {
    let (mut richer, mut other) = (item.clone(), item.clone());
    richer.value.as_mut().unwrap().0[16] ^= 1;
    other.key.0[40] ^= 1;
    assert!(!ics23_accepts(root, &richer) && !ics23_accepts(root, &other));
    assert!(!ics23_accepts(&Hash(root.0.map(|byte| byte ^ 1)), item));
}

/// The answer as it was proves what it says; with a bit flipped anywhere it proves nothing.
fn assert_flips_are_refused<T: DeserializeOwned + Serialize, E: std::fmt::Debug>(
    answer: &T,
    verify: impl Fn(&T) -> Result<VerifiedBlock, E>,
) {
    verify(answer).unwrap();
    let text = serde_json::to_vec(answer).unwrap();
    let bits = text.len() * 8;
    for flip in 0..FLIPS {
        let bit = bits * flip / FLIPS + flip % 8;
        let mut forged = text.clone();
        let Some(byte) = forged.get_mut(bit / 8) else { continue };
        *byte ^= 1 << (bit % 8);
        let Ok(forged) = serde_json::from_slice::<T>(&forged) else { continue };
        assert!(verify(&forged).is_err(), "bit {bit} of {bits}");
    }
}

#[tokio::test]
async fn transaction_events_and_history_are_proved_to_who_trusts_genesis_or_a_checkpoint() {
    let (network, clients) = Network::start(Shape { validators: 4, archives: 1 }).await.unwrap();
    let [first, .., last] = clients.as_slice() else { panic!("five nodes") };
    // What fails is in its block as well: //Bob has not so much.
    let sent = [
        signed_transfer(first, "Alice", "Bob", VALUE).await.unwrap(),
        signed_transfer(first, "Charlie", "Dave", u128::MAX >> 1).await.unwrap(),
    ];
    let verdicts: Vec<Value> = first.call("cairn_submitBatch", vec![json!(sent)]).await.unwrap();
    let verifier = Verifier::new(network.anchor().unwrap());
    let mut newest = 0;
    for (verdict, succeeds) in verdicts.iter().zip([true, false]) {
        let text = verdict["hash"].as_str().unwrap();
        let height = followed(last, text).await;
        let found: Value = last.call("cairn_getTransaction", vec![json!(text)]).await.unwrap();
        assert_eq!((&found["success"], &found["height"]), (&json!(succeeds), &json!(height)));
        let hash: Hash = text.parse().unwrap();
        let answer: TransactionAnswer = last.call("cairn_getTransactionProof", vec![json!(text)]).await.unwrap();
        assert_flips_are_refused(&answer, |answer| verifier.transaction(&hash, answer));
        let mut outcome = None;
        for event in found["events"].as_array().unwrap() {
            let index = u32::try_from(event["index"].as_u64().unwrap()).unwrap();
            let proof: EventAnswer = last.call("cairn_getEventProof", vec![json!(height), json!(index)]).await.unwrap();
            let at = BlockRef::Height(Height(height));
            verifier.event(at, index, &proof).unwrap();
            let record = EventRecord::decode_all(&mut proof.event.0.as_slice()).unwrap();
            assert_eq!(record.extrinsic(), Some(answer.index));
            outcome = outcome.or(record.outcome());
            if record.outcome().is_some() {
                assert_flips_are_refused(&proof, |proof| verifier.event(at, index, proof));
            }
        }
        assert_eq!(outcome, Some(succeeds));
        check_command(&network, last, text, "chain-spec", &[]);
        newest = newest.max(height);
    }

    // Some blocks later, one of those is all that is trusted.
    Observer::new(last).await.unwrap().reach(newest + 3).await.unwrap();
    let checkpoint: String = last.call("chain_getBlockHash", vec![json!(newest + 2)]).await.unwrap();
    let params = vec![json!(1), json!(null), json!(checkpoint)];
    let answer: FinalityAnswer = last.call("cairn_getFinality", params).await.unwrap();
    let verified = verifier.block(BlockRef::Height(Height(1)), &answer.block, answer.finality.as_ref()).unwrap();
    assert_eq!(verified.under.map(|hash| hash.to_string()), Some(checkpoint.clone()));
    for verdict in &verdicts {
        check_command(&network, last, verdict["hash"].as_str().unwrap(), "checkpoint", &["--checkpoint", &checkpoint]);
    }
}

/// Follows a transaction to its block, from the subscription alone; gives the height.
async fn followed(rpc: &Rpc, hash: &str) -> u32 {
    let mut states = rpc
        .subscribe::<Value>("cairn_subscribeTransaction", vec![json!(hash)], "cairn_unsubscribeTransaction")
        .await
        .unwrap();
    loop {
        let state = states.next().await.expect("the transaction becomes final").unwrap();
        if state["status"] == "finalized" {
            return u32::try_from(state["height"].as_u64().unwrap()).unwrap();
        }
        assert!(["waiting", "future"].contains(&state["status"].as_str().unwrap()), "{state}");
    }
}

/// `cairn query … --verify` says what it verified.
fn check_command(network: &Network, rpc: &Rpc, hash: &str, anchor: &str, trust: &[&str]) {
    for what in [&["tx", hash][..], &["account", "//Bob", "--at", "1"], &["block", "1"], &["validators", "--at", "1"]] {
        let arguments = ["--json", "query"].into_iter().chain(what.iter().copied());
        let common = ["--verify", "--chain", "spec.json", "--url", rpc.url()];
        let told = cairn(network.folder(), arguments.chain(common).chain(trust.iter().copied())).unwrap();
        assert_eq!(told.code, Some(0), "{what:?}: {}", told.stderr);
        let said: Value = serde_json::from_str(&told.stdout).unwrap();
        assert_eq!((&said["verified"], &said["trustAnchor"]), (&json!(true), &json!(anchor)), "{said}");
        let is_below = anchor == "checkpoint";
        assert_eq!(said["under"].is_string(), is_below, "{said}");
    }
}
