//! Range proofs against trees built by hand from their leaves, and what is refused.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::convert::Infallible;

/// A tree as its leaves by key hash.
struct Tree(BTreeMap<Hash, StateLeaf>);

impl RangeTree for Tree {
    /// Key hashes and value hashes of the leaves below.
    type Node = Vec<(Hash, Hash)>;
    type Error = Infallible;

    fn hash(&self, node: &Self::Node, depth: u16) -> Result<Hash, Infallible> {
        let leaves: Vec<_> = node.iter().map(|(key, value)| (*key, leaf_hash(key, value))).collect();
        Ok(subtree_hash(&leaves, depth))
    }

    fn open(&self, node: &Self::Node, depth: u16) -> Result<Subtree<Self::Node>, Infallible> {
        Ok(match node.as_slice() {
            [] => Subtree::Empty,
            [(key_hash, value_hash)] => Subtree::Leaf { key_hash: *key_hash, value_hash: *value_hash },
            _ => {
                let (right, left) = node.iter().partition(|(key_hash, _)| path_bit(key_hash, depth));
                Subtree::Inner(left, right)
            }
        })
    }
}

impl Tree {
    fn new(numbers: impl IntoIterator<Item = u16>) -> Self {
        let leaf = |number: u16| StateLeaf {
            key: format!("key {number}").into_bytes(),
            value: vec![1; usize::from(number % 7) + 1],
        };
        Self(numbers.into_iter().map(leaf).map(|leaf| (sha256(&leaf.key), leaf)).collect())
    }

    fn node(&self) -> Vec<(Hash, Hash)> {
        self.0.iter().map(|(key_hash, leaf)| (*key_hash, sha256(&leaf.value))).collect()
    }

    fn root(&self) -> Hash {
        self.hash(&self.node(), 0).unwrap()
    }

    fn chunk(&self, range: &KeyRange) -> StateChunk {
        let leaves = self.0.iter().filter(|(key_hash, _)| range.contains(key_hash)).map(|(_, leaf)| leaf.clone());
        StateChunk { leaves: leaves.collect(), proof: RangeProof::make(self, &self.node(), range).unwrap() }
    }

    /// A bound: a leaf's key hash, or one between leaves.
    fn bound(&self, choice: u16) -> Hash {
        let place = usize::from(choice / 2) % self.0.len().max(1);
        let leaf = self.0.keys().nth(place).copied();
        leaf.filter(|_| choice.is_multiple_of(2)).unwrap_or_else(|| sha256(&choice.to_be_bytes()))
    }

    /// Ranges between the bounds, which cover everything.
    fn ranges(&self, choices: &[u16]) -> Vec<KeyRange> {
        let mut bounds: Vec<_> =
            choices.iter().map(|choice| self.bound(*choice)).filter(|b| *b != Hash::ZERO).collect();
        bounds.sort_unstable();
        bounds.dedup();
        let starts = [Hash::ZERO].into_iter().chain(bounds.iter().copied());
        let ends = bounds.iter().copied().map(Some).chain([None]);
        starts.zip(ends).map(|(from, to)| KeyRange { from, to }).collect()
    }
}

proptest! {
    #[test]
    fn chunks_of_any_cut_verify_and_join_to_the_whole_state(
        held in prop::collection::btree_set(0_u16..400, 0..60),
        cuts in prop::collection::vec(any::<u16>(), 0..8),
    ) {
        let tree = Tree::new(held);
        let mut cover = RangeCover::default();
        let mut leaves = Vec::new();
        for range in tree.ranges(&cuts) {
            let chunk = tree.chunk(&range);
            prop_assert_eq!(chunk.verify(&tree.root(), &range), Ok(()));
            prop_assert_eq!(&StateChunk::from_bytes(&chunk.encode()).unwrap(), &chunk);
            cover.join(&range).unwrap();
            leaves.extend(chunk.leaves);
        }
        prop_assert_eq!(cover.next(), None);
        prop_assert_eq!(leaves, tree.0.into_values().collect::<Vec<_>>());
    }

    #[test]
    fn chunk_with_other_leaves_is_refused(
        held in prop::collection::btree_set(0_u16..100, 2..40),
        cuts in prop::collection::vec(any::<u16>(), 0..4),
        (place, added) in (any::<prop::sample::Index>(), 100_u16..200),
    ) {
        let tree = Tree::new(held);
        let root = tree.root();
        for range in tree.ranges(&cuts) {
            let chunk = tree.chunk(&range);
            let more = Tree::new([added]).0.into_iter().find(|(key_hash, _)| range.contains(key_hash));
            if let Some((key_hash, leaf)) = more {
                let mut forged = chunk.clone();
                let at = forged.leaves.partition_point(|leaf| sha256(&leaf.key) < key_hash);
                forged.leaves.insert(at, leaf);
                prop_assert!(forged.verify(&root, &range).is_err(), "added");
            }
            if chunk.leaves.is_empty() {
                continue;
            }
            let at = place.index(chunk.leaves.len());
            let mut forged = chunk.clone();
            forged.leaves.remove(at);
            prop_assert!(forged.verify(&root, &range).is_err(), "omitted");
            let mut forged = chunk.clone();
            forged.leaves[at].value.push(1);
            prop_assert!(forged.verify(&root, &range).is_err(), "changed");
            let mut forged = chunk.clone();
            forged.leaves.rotate_left(1);
            prop_assert_eq!(forged == chunk, forged.verify(&root, &range).is_ok(), "reordered");
            let mut forged = chunk;
            forged.leaves.insert(at, forged.leaves[at].clone());
            prop_assert_eq!(forged.verify(&root, &range), Err(RangeProofError::NotInOrder { index: at + 1 }));
        }
    }

    #[test]
    fn chunk_of_another_range_never_hides_a_leaf(
        held in prop::collection::btree_set(0_u16..100, 2..40),
        cuts in prop::collection::vec(any::<u16>(), 1..4),
        other in any::<u16>(),
    ) {
        let tree = Tree::new(held);
        let root = tree.root();
        for range in tree.ranges(&cuts) {
            let chunk = tree.chunk(&range);
            let bound = tree.bound(other);
            for moved in [KeyRange { from: bound, ..range }, KeyRange { to: Some(bound), ..range }] {
                let is_empty = moved.to.is_some_and(|to| to <= moved.from);
                if chunk.verify(&root, &moved).is_ok() {
                    prop_assert!(!is_empty);
                    prop_assert_eq!(&chunk, &tree.chunk(&moved));
                }
            }
        }
    }
}

#[test]
fn chunk_with_any_flipped_bit_is_refused() {
    let tree = Tree::new(0..40);
    for range in tree.ranges(&[3, 20, 41]) {
        let bytes = tree.chunk(&range).encode();
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let is_accepted =
                StateChunk::from_bytes(&forged).is_ok_and(|forged| forged.verify(&tree.root(), &range).is_ok());
            assert!(!is_accepted, "bit {bit}");
        }
    }
}

#[test]
fn chunk_of_an_empty_state_has_no_leaves() {
    let tree = Tree::new([]);
    let middle = KeyRange { from: sha256(b"from"), to: None };
    for range in [KeyRange::WHOLE, middle] {
        assert_eq!(tree.chunk(&range).verify(&EMPTY_SUBTREE, &range), Ok(()));
        assert!(tree.chunk(&range).verify(&Tree::new([1]).root(), &range).is_err());
    }
}

#[test]
fn proof_with_nodes_too_many_or_too_few_is_refused() {
    let tree = Tree::new(0..40);
    let range = KeyRange { from: tree.bound(20), to: Some(tree.bound(60)) };
    let chunk = tree.chunk(&range);
    let mut forged = chunk.clone();
    forged.proof.nodes.push(Node::Empty);
    assert_eq!(forged.verify(&tree.root(), &range), Err(RangeProofError::Superfluous));
    let mut forged = chunk.clone();
    forged.proof.hashes.push(Hash::ZERO);
    assert_eq!(forged.verify(&tree.root(), &range), Err(RangeProofError::Superfluous));
    let mut forged = chunk;
    forged.proof.nodes.pop();
    assert_eq!(forged.verify(&tree.root(), &range), Err(RangeProofError::Incomplete));
}

#[test]
fn hash_in_place_of_a_cut_subtree_is_refused() {
    let tree = Tree::new(0..40);
    let range = KeyRange { from: tree.bound(20), to: None };
    let proof = RangeProof { nodes: vec![Node::Hidden], hashes: vec![tree.root()] };
    let forged = StateChunk { leaves: Vec::new(), proof };
    assert_eq!(forged.verify(&tree.root(), &range), Err(RangeProofError::Misplaced));
}

#[test]
fn leaf_of_the_range_shown_as_another_is_refused() {
    let tree = Tree::new([1]);
    let (key_hash, leaf) = tree.0.first_key_value().unwrap();
    let range = KeyRange { from: *key_hash, to: None };
    let proof = RangeProof { nodes: vec![Node::Other], hashes: vec![*key_hash, sha256(&leaf.value)] };
    let forged = StateChunk { leaves: Vec::new(), proof };
    assert_eq!(forged.verify(&tree.root(), &range), Err(RangeProofError::Misplaced));
}

#[test]
fn bounds_that_part_at_the_last_bit_stay_within_the_limits() {
    let tree = Tree::new([1]);
    let key_hash = *tree.0.first_key_value().unwrap().0;
    let mut node = tree.node();
    let mut twin = key_hash;
    twin.0[31] ^= 1;
    node.push((twin, Hash::ZERO));
    node.sort_unstable();
    let proof = RangeProof::make(&tree, &node, &KeyRange { from: node[1].0, to: None }).unwrap();
    assert_eq!(proof.nodes.iter().filter(|node| **node == Node::Inner).count(), 256);
    assert!(proof.nodes.len() <= RANGE_NODES_MAX && proof.hashes.len() <= RANGE_HASHES_MAX);
}

#[test]
fn ranges_with_a_gap_or_doubled_do_not_join() {
    let [a, b] = [Hash([1; 32]), Hash([2; 32])];
    let range = |from, to| KeyRange { from, to };
    let mut cover = RangeCover::default();
    assert!(matches!(cover.join(&range(a, Some(b))), Err(RangeProofError::Gap { .. })));
    cover.join(&range(Hash::ZERO, Some(a))).unwrap();
    assert!(matches!(cover.join(&range(Hash::ZERO, Some(a))), Err(RangeProofError::Gap { .. })));
    assert!(matches!(cover.join(&range(b, None)), Err(RangeProofError::Gap { .. })));
    assert!(matches!(cover.join(&range(a, Some(a))), Err(RangeProofError::EmptyRange { .. })));
    cover.join(&range(a, None)).unwrap();
    assert_eq!(cover.join(&range(a, None)), Err(RangeProofError::AfterLast));
}
