//! The protobuf encoding of `ics23.CommitmentProof`, written by hand: a few messages do not need a code generator.
//!
//! A field is a varint tag (field number ‖ wire type) and a varint or a length-delimited body; fields of value zero are
//! left out, as proto3 does.

use super::{ExistenceProof, INNER_DOMAIN, LEAF_DOMAIN, StateProof, path_bit};
use crate::hash::sha256;
use std::collections::BTreeMap;

/// `HashOp.SHA256`.
const SHA256: u8 = 1;
/// Wire type of varints.
const VARINT: u8 = 0;
/// Wire type of bytes and messages.
const LENGTH_DELIMITED: u8 = 2;

/// `CommitmentProof { exist = 1 | nonexist = 2 }`.
pub(super) fn encode(proof: &StateProof, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match proof {
        StateProof::Present(present) => put_bytes(&mut out, 1, &existence(present)),
        StateProof::Absent { left, right } => {
            // NonExistenceProof { key = 1, left = 2, right = 3 }
            let mut absent = Vec::new();
            put_bytes(&mut absent, 1, key);
            for (field, neighbour) in [(2, left), (3, right)] {
                if let Some(neighbour) = neighbour {
                    put_bytes(&mut absent, field, &existence(neighbour));
                }
            }
            put_bytes(&mut out, 2, &absent);
        }
    }
    out
}

/// `CommitmentProof { compressed = 4 }` with `CompressedBatchProof { entries = 1, lookup_inners = 2 }`; an entry is a
/// `CompressedBatchEntry { exist = 1 | nonexist = 2 }`.
pub(super) fn encode_batch(proofs: &[(&[u8], &StateProof)]) -> Vec<u8> {
    let mut batch = Vec::new();
    let mut steps = Steps::default();
    for (key, proof) in proofs {
        let mut entry = Vec::new();
        match proof {
            StateProof::Present(present) => put_bytes(&mut entry, 1, &compressed_existence(present, &mut steps)),
            StateProof::Absent { left, right } => {
                // CompressedNonExistenceProof { key = 1, left = 2, right = 3 }
                let mut absent = Vec::new();
                put_bytes(&mut absent, 1, key);
                for (field, neighbour) in [(2, left), (3, right)] {
                    if let Some(neighbour) = neighbour {
                        put_bytes(&mut absent, field, &compressed_existence(neighbour, &mut steps));
                    }
                }
                put_bytes(&mut entry, 2, &absent);
            }
        }
        put_bytes(&mut batch, 1, &entry);
    }
    for step in &steps.in_order {
        put_bytes(&mut batch, 2, step);
    }
    let mut out = Vec::new();
    put_bytes(&mut out, 4, &batch);
    out
}

/// Inner nodes of a batch, each once.
#[derive(Default)]
struct Steps {
    in_order: Vec<Vec<u8>>,
    places: BTreeMap<Vec<u8>, usize>,
}

impl Steps {
    fn place(&mut self, step: Vec<u8>) -> usize {
        let next = self.in_order.len();
        let place = *self.places.entry(step.clone()).or_insert(next);
        if place == next {
            self.in_order.push(step);
        }
        place
    }
}

/// `CompressedExistenceProof { key = 1, value = 2, leaf = 3, path = 4 }`, the path as places in `lookup_inners`.
fn compressed_existence(proof: &ExistenceProof, steps: &mut Steps) -> Vec<u8> {
    let mut path = Vec::new();
    for step in path_steps(proof) {
        put_varint(&mut path, steps.place(step));
    }
    let mut out = leaf(proof);
    put_bytes(&mut out, 4, &path);
    out
}

/// `ExistenceProof { key = 1, value = 2, leaf = 3, path = 4 }`, the path from the leaf up.
fn existence(proof: &ExistenceProof) -> Vec<u8> {
    let mut out = leaf(proof);
    for step in path_steps(proof) {
        put_bytes(&mut out, 4, &step);
    }
    out
}

/// The first three fields of both.
fn leaf(proof: &ExistenceProof) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, &proof.key);
    put_bytes(&mut out, 2, &proof.value);
    put_bytes(&mut out, 3, &leaf_operation());
    out
}

/// `InnerOp { hash = 1, prefix = 2, suffix = 3 }` for each node of the path: it is SHA-256(prefix ‖ child ‖ suffix).
fn path_steps(proof: &ExistenceProof) -> impl Iterator<Item = Vec<u8>> {
    let key_hash = sha256(&proof.key);
    let depth = u16::try_from(proof.siblings.len()).unwrap_or(u16::MAX);
    (0..depth).rev().zip(&proof.siblings).map(move |(at, sibling)| {
        let mut step = Vec::with_capacity(64);
        put_number(&mut step, 1, SHA256);
        if path_bit(&key_hash, at) {
            put_bytes(&mut step, 2, &[INNER_DOMAIN, &sibling.0].concat());
        } else {
            put_bytes(&mut step, 2, INNER_DOMAIN);
            put_bytes(&mut step, 3, &sibling.0);
        }
        step
    })
}

/// `LeafOp { hash = 1, prehash_key = 2, prehash_value = 3, length = 4, prefix = 5 }`; length `NO_PREFIX` is zero.
fn leaf_operation() -> Vec<u8> {
    let mut out = Vec::new();
    for field in 1..=3 {
        put_number(&mut out, field, SHA256);
    }
    put_bytes(&mut out, 5, LEAF_DOMAIN);
    out
}

fn put_number(out: &mut Vec<u8>, field: u8, value: u8) {
    out.push(tag(field, VARINT));
    put_varint(out, usize::from(value));
}

fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.push(tag(field, LENGTH_DELIMITED));
        put_varint(out, bytes.len());
        out.extend_from_slice(bytes);
    }
}

/// Field numbers here are below 16, so that a tag is one byte.
fn tag(field: u8, wire_type: u8) -> u8 {
    field.wrapping_shl(3) | wire_type
}

/// Seven bits a byte, least significant first, the top bit set on all but the last.
fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        let [low, ..] = value.to_le_bytes();
        out.push(low | 0x80);
        value = value.wrapping_shr(7);
    }
    let [low, ..] = value.to_le_bytes();
    out.push(low);
}
