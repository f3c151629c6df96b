//! Proofs: accepted by this chain's verifier and by the `ics23` and `jmt` crates, refused when anything is forged.

use super::*;
use crate::state::{RECENT_VERSIONS_MAX, StateError};
use cairn_primitives::state_proof::{ProofError, StateProof};
use ics23::HostFunctionsManager;
use parity_scale_codec::Encode;

/// The published specification: that of `jmt`, with all bits of a key hash as depth.
pub(super) fn spec() -> ics23::ProofSpec {
    ics23::ProofSpec { max_depth: 256, ..jmt::ics23_spec() }
}

fn ics23_accepts(proof: &[u8], root: &Hash, key: &[u8], value: Option<&[u8]>) -> bool {
    let Ok(proof) = <ics23::CommitmentProof as prost::Message>::decode(proof) else { return false };
    let root = root.0.to_vec();
    match value {
        Some(value) => ics23::verify_membership::<HostFunctionsManager>(&proof, &spec(), &root, key, value),
        None => ics23::verify_non_membership::<HostFunctionsManager>(&proof, &spec(), &root, key),
    }
}

/// The protobuf bytes that the `jmt` crate makes of the same values for each key.
fn jmt_proofs(values: &BTreeMap<Vec<u8>, Vec<u8>>, keys: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let store = MockTreeStore::default();
    let tree = Sha256Jmt::new(&store);
    for key in values.keys() {
        store.put_key_preimage(KeyHash(sha256(key).0), key);
    }
    let set = values.iter().map(|(key, value)| (KeyHash(sha256(key).0), Some(value.clone())));
    let (_, batch) = tree.put_value_set(set, 0).unwrap();
    store.write_tree_update_batch(batch).unwrap();
    let prove = |key: &Vec<u8>| prost::Message::encode_to_vec(&tree.get_with_ics23_proof(key.clone(), 0).unwrap().1);
    keys.iter().map(prove).collect()
}

fn check_proof(proof: &StateProof, root: &Hash, key: &[u8], value: Option<&[u8]>) {
    proof.verify(root, key, value).unwrap();
    assert!(ics23_accepts(&proof.to_ics23(key), root, key, value));
    assert_eq!(&StateProof::from_bytes(&proof.encode()).unwrap(), proof);
    // Forged root, key and claims.
    let other_root = sha256(&root.0);
    assert!(proof.verify(&other_root, key, value).is_err());
    assert!(!ics23_accepts(&proof.to_ics23(key), &other_root, key, value));
    assert!(proof.verify(root, key, Some(b"forged")).is_err());
    match value {
        Some(value) => {
            assert_eq!(proof.verify(root, key, None), Err(ProofError::Present));
            assert_eq!(proof.verify(root, b"other", Some(value)), Err(ProofError::WrongKey));
        }
        None => assert_eq!(proof.verify(root, key, Some(b"x")), Err(ProofError::Absent)),
    }
}

#[test]
fn proofs_of_presence_and_absence_are_those_of_jmt() {
    let mut random = Random(21);
    for size in [1, 2, 3, 8, 9, 40, 300] {
        let mut chain = Chain::new(ARCHIVE);
        let root = chain.commit((0..size).map(|number| (key(number), Some(random.value()))).collect());
        // Keys that are there and as many that are not.
        let keys: Vec<_> = (0..2 * size + 20).map(key).collect();
        let view = chain.store.view();
        for (key, jmt_proof) in keys.iter().zip(jmt_proofs(chain.values(), &keys)) {
            let proof = view.prove(key).unwrap();
            check_proof(&proof, &root, key, chain.values().get(key).map(Vec::as_slice));
            assert_eq!(proof.to_ics23(key), jmt_proof);
        }
    }
}

#[test]
fn proofs_with_long_shared_prefixes_are_those_of_jmt() {
    let mut keys = keys_with_shared_prefix(14, 20);
    let absent = keys.split_off(10);
    let mut chain = Chain::new(ARCHIVE);
    let root = chain.commit(keys.iter().map(|key| (key.clone(), Some(b"value".to_vec()))).collect());
    let all = [keys, absent].concat();
    for (key, jmt_proof) in all.iter().zip(jmt_proofs(chain.values(), &all)) {
        let proof = chain.store.view().prove(key).unwrap();
        check_proof(&proof, &root, key, chain.values().get(key).map(Vec::as_slice));
        assert_eq!(proof.to_ics23(key), jmt_proof);
    }
}

#[test]
fn absence_in_empty_state_is_proved() {
    let mut chain = Chain::new(ARCHIVE);
    let root = chain.commit(Changes::new());
    let proof = chain.store.view().prove(b"key").unwrap();
    assert_eq!(proof, StateProof::Absent { left: None, right: None });
    proof.verify(&root, b"key", None).unwrap();
    assert_eq!(proof.verify(&sha256(b""), b"key", None), Err(ProofError::NotEmpty));
}

#[test]
fn proofs_with_any_flipped_bit_are_refused() {
    let mut chain = Chain::new(ARCHIVE);
    let root = chain.commit((0..30).map(|number| (key(number), Some(vec![number as u8; 5]))).collect());
    for key in [key(3), key(1_000)] {
        let proof = chain.store.view().prove(&key).unwrap();
        let value = chain.values().get(&key).map(Vec::as_slice);
        let bytes = proof.encode();
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let accepted =
                StateProof::from_bytes(&forged).is_ok_and(|forged| forged.verify(&root, &key, value).is_ok());
            assert!(!accepted, "bit {bit}");
        }
    }
}

#[test]
fn absence_proof_that_leaves_out_a_neighbour_is_refused() {
    let mut chain = Chain::new(ARCHIVE);
    let root = chain.commit((0..40).map(|number| (key(number), Some(vec![1]))).collect());
    let view = chain.store.view();
    let mut keys: Vec<_> = (0..40).map(key).collect();
    keys.sort_by_key(|key| sha256(key));
    let existence = |key: &[u8]| match view.prove(key).unwrap() {
        StateProof::Present(proof) => proof,
        StateProof::Absent { .. } => unreachable!("the key is there"),
    };
    // Every pair of leaves that encloses the victim, and either edge alone, claims that the victim is not there.
    for (position, victim) in keys.iter().enumerate() {
        let befores: Vec<_> = keys[..position].iter().map(|key| Some(existence(key))).chain([None]).collect();
        let afters: Vec<_> = keys[position + 1..].iter().map(|key| Some(existence(key))).chain([None]).collect();
        for left in &befores {
            for right in &afters {
                let forged = StateProof::Absent { left: left.clone(), right: right.clone() };
                assert!(forged.verify(&root, victim, None).is_err());
            }
        }
    }
}

#[test]
fn recent_versions_are_proved_and_older_ones_refused() {
    let mut random = Random(22);
    let mut chain = Chain::new(StateConfig { cache_bytes: 0, history: HistoryMode::Window(200), ..ARCHIVE });
    for _ in 0..100 {
        chain.commit(random_changes(&mut random, 200, 20, 3));
    }
    let reads = chain.store.read_model();
    let lowest = Height(99 - u32::try_from(RECENT_VERSIONS_MAX).unwrap());
    assert_eq!(reads.lowest_provable_height(), lowest);
    for height in lowest.0..100 {
        let keys: Vec<_> = (0..220).map(key).collect();
        let proofs = reads.prove(Height(height), &keys).unwrap();
        for (key, proof) in keys.iter().zip(&proofs) {
            let value = chain.model[height as usize].get(key).map(Vec::as_slice);
            proof.verify(&chain.roots[height as usize], key, value).unwrap();
        }
    }
    let height = lowest.previous();
    assert_eq!(reads.prove(height, &[key(1)]), Err(StateError::ProofNotKept { height, lowest }));
}

#[test]
fn recent_versions_over_their_budget_are_dropped() {
    let mut random = Random(23);
    let mut chain = Chain::new(StateConfig { recent_bytes: 200_000, history: HistoryMode::Window(200), ..ARCHIVE });
    for _ in 0..40 {
        chain.commit(random_changes(&mut random, 500, 100, 3));
    }
    let lowest = chain.store.read_model().lowest_provable_height();
    assert!(lowest > Height(0) && lowest < Height(39), "{lowest}");
}

#[test]
fn version_below_the_window_is_not_proved_from_memory() {
    let mut chain = Chain::new(StateConfig { history: HistoryMode::Window(3), ..ARCHIVE });
    for round in 0..12 {
        chain.commit([(key(1), Some(vec![round; 3_000]))].into());
    }
    chain.save();
    let reads = chain.store.read_model();
    assert_eq!((reads.lowest_height(), reads.lowest_provable_height()), (Height(8), Height(8)));
    let refused = StateError::ProofNotKept { height: Height(7), lowest: Height(8) };
    assert_eq!(reads.prove(Height(7), &[key(1)]), Err(refused));
    for height in 8..12 {
        let proof = reads.prove(Height(height), &[key(1)]).unwrap();
        assert_eq!(proof[0].verify(&chain.roots[height as usize], &key(1), Some(&[height as u8; 3_000])), Ok(()));
    }
}
