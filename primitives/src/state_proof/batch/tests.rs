//! Batch proofs against trees built by hand from their leaves, and what is refused.

use super::*;
use proptest::prelude::*;

/// A tree as a list of leaves: key and value.
type Leaves = BTreeMap<Hash, (Vec<u8>, Vec<u8>)>;

fn leaves(numbers: impl IntoIterator<Item = u16>) -> Leaves {
    let leaf = |number: u16| (sha256(&key(number)), (key(number), vec![1; usize::from(number % 7) + 1]));
    numbers.into_iter().map(leaf).collect()
}

fn key(number: u16) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

fn hash_of(leaves: &[(&Hash, &Vec<u8>)], depth: u16) -> Hash {
    match leaves {
        [] => EMPTY_SUBTREE,
        [(key_hash, value)] => leaf_hash(key_hash, &sha256(value)),
        _ => {
            let (left, right) = split(leaves, depth, |(key_hash, _)| key_hash);
            inner_hash(&hash_of(left, depth + 1), &hash_of(right, depth + 1))
        }
    }
}

fn flat(leaves: &Leaves) -> Vec<(&Hash, &Vec<u8>)> {
    leaves.iter().map(|(key_hash, (_, value))| (key_hash, value)).collect()
}

fn path(leaves: &Leaves, key_hash: &Hash) -> ExistenceProof {
    let mut below = flat(leaves);
    let mut siblings = Vec::new();
    for depth in 0.. {
        if below.len() < 2 {
            break;
        }
        let (left, right) = split(&below, depth, |(key_hash, _)| key_hash);
        let (near, far) = if path_bit(key_hash, depth) { (right, left) } else { (left, right) };
        siblings.push(hash_of(far, depth + 1));
        below = near.to_vec();
    }
    siblings.reverse();
    let (key, value) = leaves[key_hash].clone();
    ExistenceProof { key, value, siblings }
}

fn prove(leaves: &Leaves, key: &[u8]) -> StateProof {
    let asked = sha256(key);
    if leaves.contains_key(&asked) {
        return StateProof::Present(path(leaves, &asked));
    }
    let left = leaves.range(..asked).next_back().map(|(key_hash, _)| path(leaves, key_hash));
    let right = leaves.range(asked..).next().map(|(key_hash, _)| path(leaves, key_hash));
    StateProof::Absent { left, right }
}

fn merge(leaves: &Leaves, keys: &[Vec<u8>]) -> BatchProof {
    let proofs: Vec<_> = keys.iter().map(|key| prove(leaves, key)).collect();
    BatchProof::merge(keys.iter().map(Vec::as_slice).zip(&proofs)).unwrap()
}

proptest! {
    #[test]
    fn batch_shows_what_single_proofs_show(
        held in prop::collection::btree_set(0_u16..400, 0..60),
        asked in prop::collection::vec(0_u16..400, 1..40),
    ) {
        let leaves = leaves(held);
        let root = hash_of(&flat(&leaves), 0);
        let keys: Vec<_> = asked.into_iter().map(key).collect();
        let proof = merge(&leaves, &keys);
        let found = proof.check(&root, &keys).unwrap();
        for (key, value) in keys.iter().zip(found) {
            prop_assert_eq!(prove(&leaves, key).verify(&root, key, value), Ok(()));
        }
        prop_assert_eq!(BatchProof::from_bytes(&proof.encode()).unwrap(), proof);
    }

    #[test]
    fn batch_for_other_keys_is_refused(
        held in prop::collection::btree_set(0_u16..60, 5..40),
        asked in prop::collection::btree_set(0_u16..60, 1..10),
        more in 0_u16..60,
    ) {
        let leaves = leaves(held);
        let root = hash_of(&flat(&leaves), 0);
        let mut keys: Vec<_> = asked.iter().copied().map(key).collect();
        let proof = merge(&leaves, &keys);
        // What it does show for more or fewer keys is true: an absent key in a subtree that is shown needs no more nodes.
        if asked.len() > 1 {
            let fewer = &keys[1..];
            let found = proof.check(&root, fewer);
            prop_assert!(found.is_err() || *fewer == keys || merge(&leaves, fewer) == proof);
        }
        keys.push(key(more));
        let is_same = merge(&leaves, &keys) == proof;
        prop_assert_eq!(proof.check(&root, &keys).is_ok(), is_same);
    }
}

#[test]
fn any_flipped_bit_is_refused() {
    let leaves = leaves(0..40);
    let root = hash_of(&flat(&leaves), 0);
    let keys: Vec<_> = [3, 9, 17, 100, 101, 102].map(key).to_vec();
    let bytes = merge(&leaves, &keys).encode();
    assert!(BatchProof::from_bytes(&bytes).unwrap().check(&root, &keys).is_ok());
    for bit in 0..bytes.len() * 8 {
        let mut forged = bytes.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let is_accepted = BatchProof::from_bytes(&forged).is_ok_and(|forged| forged.check(&root, &keys).is_ok());
        assert!(!is_accepted, "bit {bit}");
    }
}

#[test]
fn value_hidden_as_another_leaf_is_refused() {
    let leaves = leaves(0..1);
    let root = hash_of(&flat(&leaves), 0);
    let hashes = vec![sha256(&key(0)), sha256(&leaves[&sha256(&key(0))].1)];
    let forged = BatchProof { nodes: vec![Node::Other], hashes, values: Vec::new() };
    assert_eq!(forged.check(&root, &[key(1)]), Ok(vec![None]));
    assert_eq!(forged.check(&root, &[key(0), key(1)]), Err(BatchProofError::NotCovered));
}

#[test]
fn leaf_on_a_path_that_is_not_its_own_is_refused() {
    // A tree that no honest node commits to: a leaf on the wrong side of the root.
    let (asked, wrong) = (0..)
        .map(key)
        .find_map(|asked| {
            let wrong = (0..50).map(key).find(|other| path_bit(&sha256(other), 0) != path_bit(&sha256(&asked), 0));
            wrong.filter(|_| !path_bit(&sha256(&asked), 0)).map(|wrong| (asked, wrong))
        })
        .unwrap();
    let hashes = vec![sha256(&wrong), sha256(b"value")];
    let root = inner_hash(&leaf_hash(&hashes[0], &hashes[1]), &EMPTY_SUBTREE);
    let forged = BatchProof { nodes: vec![Node::Inner, Node::Other, Node::Empty], hashes, values: Vec::new() };
    assert_eq!(forged.check(&root, &[asked]), Err(BatchProofError::Misplaced));
}

#[test]
fn empty_subtree_hidden_behind_its_hash_is_refused() {
    let leaves = leaves([0]);
    let root = hash_of(&flat(&leaves), 0);
    assert_eq!(merge(&leaves, &[key(1)]).check(&root, &[key(1)]), Ok(vec![None]));
    let nodes = vec![Node::Inner, Node::Hidden, Node::Empty];
    let keys = [(0..).map(key).find(|key| path_bit(&sha256(key), 0)).unwrap()];
    let forged = BatchProof { nodes, hashes: vec![EMPTY_SUBTREE], values: Vec::new() };
    assert_eq!(forged.check(&inner_hash(&EMPTY_SUBTREE, &EMPTY_SUBTREE), &keys), Err(BatchProofError::Superfluous));
}

#[test]
fn nodes_below_full_depth_and_missing_nodes_are_refused() {
    let deep = BatchProof { nodes: vec![Node::Inner; 1_000], hashes: Vec::new(), values: Vec::new() };
    // The path of the key is followed to the end: 256 times left or right, where the other side is empty.
    assert!(deep.check(&Hash::ZERO, &[key(1)]).is_err());
    let none = BatchProof { nodes: Vec::new(), hashes: Vec::new(), values: Vec::new() };
    assert_eq!(none.check(&Hash::ZERO, &[key(1)]), Err(BatchProofError::Incomplete));
    assert_eq!(none.check::<Vec<u8>>(&Hash::ZERO, &[]), Err(BatchProofError::KeyCount { count: 0 }));
}

#[test]
fn keys_over_the_limit_are_refused() {
    let count = BATCH_KEYS_MAX + 1;
    let keys: Vec<_> = (0..u16::try_from(count).unwrap()).map(key).collect();
    let proofs: Vec<_> = keys.iter().map(|key| prove(&Leaves::new(), key)).collect();
    let merged = BatchProof::merge(keys.iter().map(Vec::as_slice).zip(&proofs));
    assert_eq!(merged, Err(BatchProofError::KeyCount { count }));
    let empty = merge(&Leaves::new(), &keys[..1]);
    assert_eq!(empty.check(&EMPTY_SUBTREE, &keys[..1]), Ok(vec![None]));
    assert_eq!(empty.check(&EMPTY_SUBTREE, &keys), Err(BatchProofError::KeyCount { count }));
}
