//! A transfer is final everywhere, and what it changed is proved to clients that trust nothing but the chain spec.

use cairn_primitives::certificate::CERTIFICATE_BYTES_MAX;
use cairn_primitives::codec::decode_strict;
use cairn_primitives::light::{FinalHeader, TrustAnchor};
use cairn_primitives::state_proof::StateProof;
use cairn_primitives::{Certificate, Hash, Header};
use cairn_runtime::keys;
use cairn_tests::harness::{Network, Observer, Shape, account, height_of, id, transfer};
use cairn_tests::rpc::{Rpc, from_hex, to_hex};
use ics23::HostFunctionsManager;
use jmt::mock::MockTreeStore;
use jmt::{KeyHash, RootHash, Sha256Jmt};
use parity_scale_codec::Encode as _;
use prost::Message as _;
use serde_json::{Value, json};

/// A header larger than this is refused, in bytes.
const HEADER_BYTES_MAX: usize = 64 << 10;

const VALUE: u128 = 10_000_000_000_000;

/// What `cairn_getProof` answered, taken apart.
struct Answer {
    header: Header,
    links: Vec<Header>,
    certificate: Certificate,
    items: Vec<Item>,
}

#[derive(Clone)]
struct Item {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    proof: StateProof,
    ics23: Vec<u8>,
}

async fn fetch(rpc: &Rpc, keys: &[Vec<u8>], at: &str) -> Answer {
    let keys: Vec<String> = keys.iter().map(|key| to_hex(key)).collect();
    let answer: Value = rpc.call("cairn_getProof", vec![json!(keys), json!(at)]).await.unwrap();
    let bytes = |value: &Value| from_hex(value.as_str().unwrap()).unwrap();
    let header = |value: &Value| decode_strict::<Header>("header", &bytes(value), HEADER_BYTES_MAX).unwrap();
    let finality = &answer["finality"];
    let items = answer["items"].as_array().unwrap().iter().map(|item| Item {
        key: bytes(&item["key"]),
        value: item["value"].as_str().map(|text| from_hex(text).unwrap()),
        proof: StateProof::from_bytes(&bytes(&item["proof"])).unwrap(),
        ics23: bytes(&item["ics23"]),
    });
    Answer {
        header: header(&answer["block"]["header"]),
        links: finality["links"].as_array().unwrap().iter().map(header).collect(),
        certificate: decode_strict("finalization", &bytes(&finality["certificate"]), CERTIFICATE_BYTES_MAX).unwrap(),
        items: items.collect(),
    }
}

/// From the certified header down to the block.
fn verify_header(anchor: &TrustAnchor, answer: &Answer, certificate: &Certificate) -> Option<FinalHeader> {
    let mut newest_first = [&answer.header].into_iter().chain(&answer.links).rev().cloned();
    let mut block = anchor.verify_final(newest_first.next()?, certificate).ok()?;
    for parent in newest_first {
        block = block.verify_parent(parent).ok()?;
    }
    Some(block)
}

/// Whether the `ics23` crate accepts a proof by the specification of the `jmt` crate.
fn ics23_accepts(root: &Hash, item: &Item) -> bool {
    let proof = ics23::CommitmentProof::decode(item.ics23.as_slice()).unwrap();
    let (spec, root) = (jmt::ics23_spec(), root.0.to_vec());
    match &item.value {
        Some(value) => ics23::verify_membership::<HostFunctionsManager>(&proof, &spec, &root, &item.key, value),
        None => ics23::verify_non_membership::<HostFunctionsManager>(&proof, &spec, &root, &item.key),
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
fn check_with_jmt(values: &[(Vec<u8>, Vec<u8>)], root: &Hash, items: &[Item]) {
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
        let (value, proof) = tree.get_with_proof(hashed(&item.key), 0).unwrap();
        assert_eq!(value, item.value);
        proof.verify(RootHash(root.0), hashed(&item.key), item.value.as_ref()).unwrap();
        let (_, ics23) = tree.get_with_ics23_proof(item.key.clone(), 0).unwrap();
        assert_eq!(ics23.encode_to_vec(), item.ics23);
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

    let anchor = network.anchor().unwrap();
    let wanted = [keys::system_account(&id("Bob")), keys::system_account(&id("Nobody"))];
    let answer = fetch(last, &wanted, &block).await;
    let header = verify_header(&anchor, &answer, &answer.certificate).expect("the header is proved final");
    assert_eq!(header.hash().to_string(), block);
    let root = header.header().state_root;
    for (item, key) in answer.items.iter().zip(&wanted) {
        assert_eq!(&item.key, key);
        header.verify_state(key, item.value.as_deref(), &item.proof).unwrap();
        assert!(ics23_accepts(&root, item));
    }
    let [bob, nobody] = answer.items.as_slice() else { panic!("two items") };
    assert_eq!(bob.value, Some(account(first, "Bob", Some(&block)).await.unwrap().encode()));
    assert_eq!(nobody.value, None);
    check_with_jmt(&state(first, &block).await, &root, &answer.items);

    check_forgeries(&anchor, &answer, &header);
}

/// A forged value, key, root or signature is refused.
fn check_forgeries(anchor: &TrustAnchor, answer: &Answer, header: &FinalHeader) {
    let [bob, nobody] = answer.items.as_slice() else { panic!("two items") };
    let root = header.header().state_root;
    let mut richer = bob.clone();
    richer.value.as_mut().unwrap()[16] ^= 1;
    let mut other = bob.clone();
    other.key[40] ^= 1;
    for forged in [&richer, &other] {
        assert!(header.verify_state(&forged.key, forged.value.as_deref(), &forged.proof).is_err());
        assert!(!ics23_accepts(&root, forged));
    }
    assert!(header.verify_state(&nobody.key, bob.value.as_deref(), &bob.proof).is_err());
    assert!(header.verify_state(&bob.key, None, &nobody.proof).is_err());

    let other_root = Hash(root.0.map(|byte| byte ^ 1));
    assert!(bob.proof.verify(&other_root, &bob.key, bob.value.as_deref()).is_err());
    assert!(!ics23_accepts(&other_root, bob));
    let mut forged = Answer {
        header: answer.header.clone(),
        links: answer.links.clone(),
        items: Vec::new(),
        certificate: answer.certificate.clone(),
    };
    forged.header.state_root = other_root;
    assert!(verify_header(anchor, &forged, &answer.certificate).is_none());

    // One bit anywhere in the certificate: its subject, its signers or a signature.
    let bytes = answer.certificate.encode();
    for position in [bytes.len() - 1, bytes.len() / 2, 3] {
        let mut bytes = bytes.clone();
        bytes[position] ^= 1;
        let certificate = decode_strict::<Certificate>("finalization", &bytes, CERTIFICATE_BYTES_MAX);
        assert!(certificate.is_err() || verify_header(anchor, answer, &certificate.unwrap()).is_none(), "{position}");
    }
    let stranger = TrustAnchor::new(Hash([9; 32]), anchor.validators().clone());
    assert!(verify_header(&stranger, answer, &answer.certificate).is_none());
}
