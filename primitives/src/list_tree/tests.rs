use super::*;
use crate::codec::decode_strict;
use proptest::prelude::*;
use std::str::FromStr;

/// The eight leaves that Certificate Transparency implementations test with.
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];

/// The published roots of the first 0 to 8 leaves.
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// (index, count, path) over the leaves above, as published.
const PATHS: [(u64, usize, &[&str]); 5] = [
    (0, 1, &[]),
    (
        0,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        &[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        &[
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];

fn leaves(count: usize) -> Vec<Vec<u8>> {
    LEAVES[..count].iter().map(|text| hex::decode(text).unwrap()).collect()
}

/// The largest power of two below `count`.
fn split(count: usize) -> usize {
    count.next_power_of_two() / 2
}

/// The recursive definition of RFC 6962, section 2.1.
fn reference_root(items: &[Vec<u8>]) -> Hash {
    match items {
        [] => sha256(&[]),
        [single] => leaf_hash(single),
        many => {
            let (left, right) = many.split_at(split(many.len()));
            node_hash(&reference_root(left), &reference_root(right))
        }
    }
}

/// The recursive definition of RFC 6962, section 2.1.1.
fn reference_path(index: usize, items: &[Vec<u8>]) -> Vec<Hash> {
    if items.len() < 2 {
        return Vec::new();
    }
    let middle = split(items.len());
    let (left, right) = items.split_at(middle);
    let (mut path, sibling) = if index < middle {
        (reference_path(index, left), reference_root(right))
    } else {
        (reference_path(index - middle, right), reference_root(left))
    };
    path.push(sibling);
    path
}

#[test]
fn list_tree_of_the_published_leaves_has_the_published_roots() {
    for (count, expected) in ROOTS.iter().enumerate() {
        assert_eq!(root(leaves(count)), Hash::from_str(expected).unwrap(), "{count} leaves");
        assert_eq!(reference_root(&leaves(count)), Hash::from_str(expected).unwrap(), "{count} leaves");
    }
}

#[test]
fn list_tree_of_the_published_leaves_has_the_published_paths() {
    for (index, count, expected) in PATHS {
        let proof = prove(leaves(count), index).unwrap();
        let expected: Vec<_> = expected.iter().map(|text| Hash::from_str(text).unwrap()).collect();
        assert_eq!(proof, InclusionProof { index, count: count as u64, path: expected }, "{index} of {count}");
    }
}

#[test]
fn inclusion_proof_of_every_leaf_verifies_at_its_place_alone() {
    for count in 1..=8 {
        let items = leaves(count);
        let root = root(&items);
        for index in 0..count {
            let proof = prove(&items, index as u64).unwrap();
            for (other, item) in items.iter().enumerate() {
                assert_eq!(proof.verify(&root, item), other == index, "{other} at {index} of {count}");
            }
        }
    }
}

#[test]
fn inclusion_proof_beyond_the_list_does_not_exist() {
    assert_eq!(prove(leaves(0), 0), None);
    assert_eq!(prove(leaves(5), 5), None);
    assert_eq!(prove(leaves(5), u64::MAX), None);
}

#[test]
fn inclusion_proof_with_index_or_count_that_does_not_fit_is_refused() {
    let items = leaves(5);
    let root = root(&items);
    let proof = prove(&items, 2).unwrap();
    assert!(proof.verify(&root, &items[2]));
    for (index, count) in [(2, 0), (2, 2), (2, 3), (2, 9), (5, 5), (0, 1), (u64::MAX, u64::MAX), (2, u64::MAX)] {
        assert!(!InclusionProof { index, count, ..proof.clone() }.verify(&root, &items[2]), "{index} of {count}");
    }
}

#[test]
fn inclusion_proof_of_an_inner_node_as_leaf_is_refused() {
    let items = leaves(2);
    let forged = InclusionProof { index: 0, count: 1, path: Vec::new() };
    let mut inner = leaf_hash(&items[0]).0.to_vec();
    inner.extend_from_slice(&leaf_hash(&items[1]).0);
    assert!(!forged.verify(&root(&items), &inner));
}

#[test]
fn inclusion_proof_with_too_long_a_path_is_refused_undecoded() {
    let proof = |length: usize| InclusionProof { index: 0, count: u64::MAX, path: vec![Hash::ZERO; length] }.encode();
    assert!(decode_strict::<InclusionProof>("proof", &proof(PATH_LENGTH_MAX), 1 << 20).is_ok());
    assert!(decode_strict::<InclusionProof>("proof", &proof(PATH_LENGTH_MAX + 1), 1 << 20).is_err());
    let claim = (0u64, 1u64, parity_scale_codec::Compact(u32::MAX)).encode();
    assert!(InclusionProof::decode(&mut &*claim).is_err());
}

#[test]
fn accumulator_whose_peaks_do_not_fit_the_count_is_refused() {
    let mut list = ListAccumulator::default();
    for item in leaves(7) {
        list.push(&item);
    }
    assert_eq!(decode_strict::<ListAccumulator>("list", &list.encode(), 1 << 10), Ok(list.clone()));
    list.count = 8;
    assert!(decode_strict::<ListAccumulator>("list", &list.encode(), 1 << 10).is_err());
}

proptest! {
    #[test]
    fn list_tree_agrees_with_the_recursive_definition(items in prop::collection::vec(any::<Vec<u8>>(), 1..70), pick: usize) {
        let index = pick % items.len();
        let expected = reference_root(&items);
        prop_assert_eq!(root(&items), expected);
        let proof = prove(&items, index as u64).unwrap();
        prop_assert_eq!(&proof.path, &reference_path(index, &items));
        prop_assert!(proof.verify(&expected, &items[index]));
        prop_assert_eq!(decode_strict("proof", &proof.encode(), 1 << 12), Ok(proof));
    }

    #[test]
    fn inclusion_proof_changed_anywhere_is_refused(count in 2usize..70, pick: usize, part: usize, bit in 0u8..8) {
        let items: Vec<_> = (0..count).map(|item| item.to_le_bytes().to_vec()).collect();
        let index = pick % count;
        let root = root(&items);
        let mut proof = prove(&items, index as u64).unwrap();
        let item = &items[index];
        let length = proof.path.len();
        let hash = &mut proof.path[part % length];
        hash.0[part % 32] ^= 1 << bit;
        prop_assert!(!proof.verify(&root, item));
        proof.path[part % length].0[part % 32] ^= 1 << bit;
        prop_assert!(proof.verify(&root, item));
        proof.path.push(root);
        prop_assert!(!proof.verify(&root, item));
        proof.path.truncate(length - 1);
        prop_assert!(!proof.verify(&root, item));
    }

    #[test]
    fn accumulator_and_list_have_the_same_root(items in prop::collection::vec(any::<[u8; 4]>(), 0..200)) {
        let mut list = ListAccumulator::default();
        for (count, item) in items.iter().enumerate() {
            prop_assert_eq!(list.count(), count as u64);
            prop_assert_eq!(list.root(), root(&items[..count]));
            list.push(item);
        }
        prop_assert_eq!(list.root(), root(&items));
    }
}

#[test]
fn long_lists_with_long_items_have_the_root_of_the_accumulator() {
    for count in [63, 64, 65, 129, 1_000] {
        // Every thirtieth is too long for its neighbours' company.
        let items: Vec<_> = (0..count).map(|n: usize| vec![1; if n % 30 == 7 { 700 } else { n % 300 }]).collect();
        let mut list = ListAccumulator::default();
        items.iter().for_each(|item| list.push(item));
        assert_eq!(root(&items), list.root(), "{count} items");
    }
}

/// A list in memory that counts what is read.
struct Memory {
    items: Vec<Hash>,
    read: usize,
}

impl LeafSource for Memory {
    type Error = ();

    fn item(&mut self, index: u64) -> Result<Hash, ()> {
        self.read += 1;
        self.items.get(usize::try_from(index).unwrap()).copied().ok_or(())
    }

    fn group(&mut self, group: u64) -> Result<Hash, ()> {
        let (start, len) = (usize::try_from(group * GROUP_LEN).unwrap(), usize::try_from(GROUP_LEN).unwrap());
        Ok(root(self.items.get(start..start + len).ok_or(())?))
    }
}

#[test]
fn proof_from_a_source_equals_the_one_from_the_whole_list() {
    let items: Vec<Hash> = (0..5_000u32).map(|number| sha256(&number.to_le_bytes())).collect();
    for count in [1u64, 2, 3, 1_023, 1_024, 1_025, 2_047, 2_048, 2_049, 3_072, 4_097, 5_000] {
        let list = &items[..usize::try_from(count).unwrap()];
        for index in [0, 1, 1_022, 1_023, 1_024, 2_048, 3_071, 4_096, count / 2, count - 1] {
            let mut source = Memory { items: list.to_vec(), read: 0 };
            let expected = prove(list, index);
            assert_eq!(prove_from(&mut source, count, index), Ok(expected), "{index} of {count}");
            assert!(source.read < 2 * usize::try_from(GROUP_LEN).unwrap(), "{} items were read", source.read);
        }
    }
    let mut source = Memory { items: items[..2_000].to_vec(), read: 0 };
    assert_eq!(prove_from(&mut source, 2_001, 7), Err(()), "what cannot be read is told");
}
