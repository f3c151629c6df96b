use super::{PlaceProof, prove_place};
use crate::codec::decode_strict;
use crate::hash::Hash;
use crate::list_tree::{InclusionProof, prove, root};
use parity_scale_codec::Encode;
use std::collections::BTreeMap;

/// Every shape of tree up to four levels, and some more.
const COUNT_MAX: u64 = 19;

fn items(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|index| format!("item {index}").into_bytes()).collect()
}

#[test]
fn place_is_proved_and_its_path_is_that_of_rfc_6962() {
    for count in 1..=COUNT_MAX {
        let items = items(count);
        let root = root(&items);
        for (item, index) in items.iter().zip(0..) {
            let proof = prove_place(&items, index).unwrap();
            assert!(proof.verify(&root, index, item), "{index} of {count}");
            assert_eq!(proof.path, prove(&items, index).unwrap().path, "{index} of {count}");
        }
        assert_eq!(prove_place(&items, count), None);
    }
    assert_eq!(prove_place::<Vec<u8>>(&[], 0), None);
}

#[test]
fn item_has_no_other_place_whatever_the_proof_says() {
    // Proofs of all places in all lists, against the roots of all lists: one that holds says what is.
    let mut roots = BTreeMap::new();
    let mut proofs = Vec::new();
    for count in 1..=COUNT_MAX {
        let items = items(count);
        roots.insert(root(&items), count);
        proofs.extend((0..count).map(|index| prove_place(&items, index).unwrap()));
    }
    for (root, count) in &roots {
        for (item, actual) in items(*count).iter().zip(0..) {
            for proof in &proofs {
                for claimed in (0..=COUNT_MAX + 1).filter(|claimed| *claimed != actual) {
                    assert!(!proof.verify(root, claimed, item), "{actual} as {claimed} of {count}");
                }
            }
        }
    }
}

#[test]
fn path_alone_would_take_the_last_of_three_for_the_last_of_two() {
    let items = items(3);
    let (root, proof) = (root(&items), prove(&items, 2).unwrap());
    let lie = InclusionProof { index: 1, count: 2, path: proof.path.clone() };
    assert!(lie.verify(&root, &items[2]), "why a place needs more than a path");
    let lie = PlaceProof { path: proof.path, lefts: prove_place(&items[..2], 1).unwrap().lefts };
    assert!(!lie.verify(&root, 1, &items[2]));
}

#[test]
fn proof_with_any_bit_flipped_is_refused() {
    for count in 1..=COUNT_MAX {
        let items = items(count);
        let root = root(&items);
        for (item, index) in items.iter().zip(0..) {
            let bytes = prove_place(&items, index).unwrap().encode();
            for bit in 0..bytes.len() * 8 {
                let mut forged = bytes.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                if let Ok(proof) = decode_strict::<PlaceProof>("proof", &forged, 1 << 20) {
                    assert!(!proof.verify(&root, index, item), "bit {bit} of {index} of {count}");
                }
            }
            let proof = prove_place(&items, index).unwrap();
            assert!(!proof.verify(&Hash([7; 32]), index, item));
            assert!(!proof.verify(&root, index, b"another item"));
        }
    }
}

#[test]
fn length_of_a_path_is_bounded() {
    for path in [vec![Hash::ZERO; 65], vec![Hash::ZERO; 64]] {
        let proof = PlaceProof { path, lefts: Vec::new() };
        let decoded = decode_strict::<PlaceProof>("proof", &proof.encode(), 1 << 20);
        assert_eq!(decoded.is_ok(), proof.path.len() == 64);
        // The deepest place of all does not overflow.
        assert!(!proof.verify(&Hash::ZERO, u64::MAX, b""));
    }
}
