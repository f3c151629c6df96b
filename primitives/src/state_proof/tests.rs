//! Limits of proofs; trees are proved in the tests of the crate that builds them.

use super::{DEPTH_MAX, EMPTY_SUBTREE, ExistenceProof, ProofError, StateProof, leaf_hash};
use crate::hash::sha256;
use parity_scale_codec::Encode;

fn single(siblings: usize) -> StateProof {
    let siblings = vec![EMPTY_SUBTREE; siblings];
    StateProof::Present(ExistenceProof { key: b"key".to_vec(), value: b"value".to_vec(), siblings })
}

#[test]
fn only_leaf_is_the_root() {
    let root = leaf_hash(&sha256(b"key"), &sha256(b"value"));
    assert_eq!(single(0).verify(&root, b"key", Some(b"value")), Ok(()));
    assert_eq!(single(0).verify(&root, b"key", Some(b"other")), Err(ProofError::WrongValue));
}

#[test]
fn path_over_depth_is_refused_decoded_or_not() {
    let depth = usize::from(DEPTH_MAX) + 1;
    assert_eq!(single(depth).verify(&EMPTY_SUBTREE, b"key", Some(b"value")), Err(ProofError::TooDeep { depth }));
    assert!(StateProof::from_bytes(&single(depth).encode()).is_err());
    assert!(StateProof::from_bytes(&single(depth - 1).encode()).is_ok());
}

#[test]
fn length_beyond_the_input_is_refused() {
    // Present, then a key of 1,000 bytes that are not there.
    assert!(StateProof::from_bytes(&[0, 0xa1, 0x0f]).is_err());
}
