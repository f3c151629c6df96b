//! One proof for many keys: shows what single proofs show, in our form and in that of ICS-23.

use super::proofs::spec;
use super::*;
use crate::state::StateError;
use cairn_primitives::state_proof::{BATCH_KEYS_MAX, BatchProof, BatchProofError, to_ics23_batch};
use ics23::HostFunctionsManager;
use parity_scale_codec::Encode;

fn accounts(count: u64) -> (Chain, Hash) {
    let mut random = Random(41);
    let mut chain = Chain::new(ARCHIVE);
    let root = chain.commit((0..count).map(|number| (key(number), Some(random.value()))).collect());
    (chain, root)
}

#[test]
fn batch_proof_shows_the_values_of_its_height() {
    let mut random = Random(42);
    let mut chain = Chain::new(StateConfig { cache_bytes: 0, ..ARCHIVE });
    for _ in 0..20 {
        chain.commit(random_changes(&mut random, 100, 20, 3));
    }
    let reads = chain.store.read_model();
    for (height, (model, root)) in chain.model.iter().zip(&chain.roots).enumerate() {
        let count = 1 + random.below(40);
        let keys: Vec<_> = (0..count).map(|_| key(random.below(150))).collect();
        let proof = reads.prove_batch(Height(height as u32), &keys).unwrap();
        let expected: Vec<_> = keys.iter().map(|key| model.get(key).map(Vec::as_slice)).collect();
        assert_eq!(proof.check(root, &keys).unwrap(), expected);
        assert_eq!(BatchProof::from_bytes(&proof.encode()).unwrap(), proof);
        assert!(proof.check(&sha256(&root.0), &keys).is_err());
    }
}

#[test]
fn batch_proof_has_shared_nodes_once() {
    let (chain, root) = accounts(1_000);
    let keys: Vec<_> = (0..100).map(|number| key(number * 11)).collect();
    let view = chain.store.view();
    let proof = view.prove_batch(&keys).unwrap();
    let singles: usize = keys.iter().map(|key| view.prove(key).unwrap().encoded_size()).sum();
    let values: usize = proof.check(&root, &keys).unwrap().into_iter().flatten().map(<[u8]>::len).sum();
    assert!((proof.encoded_size() - values) * 3 < singles - values, "{} of {singles}", proof.encoded_size());
}

#[test]
fn batch_proof_with_any_flipped_bit_is_refused() {
    let (chain, root) = accounts(60);
    let keys: Vec<_> = [1, 5, 8, 200, 201].map(key).to_vec();
    let bytes = chain.store.view().prove_batch(&keys).unwrap().encode();
    // Every bit but those within the values, of which some are long: there every byte.
    for bit in (0..bytes.len() * 8).filter(|bit| bytes.len() < 2_000 || bit % 7 == 0) {
        let mut forged = bytes.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let is_accepted = BatchProof::from_bytes(&forged).is_ok_and(|forged| forged.check(&root, &keys).is_ok());
        assert!(!is_accepted, "bit {bit}");
    }
}

#[test]
fn keys_out_of_bounds_are_refused() {
    let (chain, _) = accounts(3);
    let refused = |count| StateError::Batch(BatchProofError::KeyCount { count });
    assert_eq!(chain.store.view().prove_batch(&[]), Err(refused(0)));
    let keys = vec![key(0); BATCH_KEYS_MAX + 1];
    assert_eq!(chain.store.view().prove_batch(&keys), Err(refused(keys.len())));
}

#[test]
fn ics23_accepts_a_compressed_batch() {
    let (chain, root) = accounts(50);
    let view = chain.store.view();
    let keys: Vec<_> = (0..70).map(key).collect();
    let proofs: Vec<_> = keys.iter().map(|key| (key.as_slice(), view.prove(key).unwrap())).collect();
    let pairs: Vec<_> = proofs.iter().map(|(key, proof)| (*key, proof)).collect();
    let bytes = to_ics23_batch(&pairs);
    let batch = <ics23::CommitmentProof as prost::Message>::decode(bytes.as_slice()).unwrap();
    // The same message in the encoding of the library that reads it.
    assert_eq!(prost::Message::encode_to_vec(&batch), bytes);
    let root = root.0.to_vec();
    let held = chain.values().iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
    let absent: Vec<_> = keys[50..].iter().map(Vec::as_slice).collect();
    let (members, spec) = (held.collect::<BTreeMap<_, _>>(), spec());
    assert!(ics23::verify_batch_membership::<HostFunctionsManager>(&batch, &spec, &root, members.clone()));
    assert!(ics23::verify_batch_non_membership::<HostFunctionsManager>(&batch, &spec, &root, &absent));
    let forged = members.keys().map(|key| (*key, b"forged".as_slice())).collect();
    assert!(!ics23::verify_batch_membership::<HostFunctionsManager>(&batch, &spec, &root, forged));
    let held: Vec<_> = members.keys().copied().collect();
    assert!(!ics23::verify_batch_non_membership::<HostFunctionsManager>(&batch, &spec, &root, &held));
}
