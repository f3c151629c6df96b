//! Proofs: what decodes and verifies is true.

use super::strict;
use crate::draw::Draw;
use crate::memory::bounded;
use cairn_primitives::hash::sha256;
use cairn_primitives::list_tree::{InclusionProof, ListAccumulator, PlaceProof, prove, prove_place, root};
use cairn_primitives::state_proof::{
    BATCH_BYTES_MAX, BatchProof, CHUNK_BYTES_MAX, KeyRange, PROOF_BYTES_MAX, StateChunk, StateProof,
};
use cairn_primitives::{Hash, Height};
use cairn_storage::{Database, Durability, MemoryDatabase, StateConfig, StateStore, StateView, WriteBatch};
use parity_scale_codec::Encode;
use std::sync::Arc;

/// Keys with values; one without a value is asked for as well.
const KEYS: usize = 20;

/// Leaves of the list.
const ITEMS: u8 = 11;

fn key(number: usize) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

/// The value of a key.
fn value(number: usize) -> Option<Vec<u8>> {
    (number < KEYS).then(|| format!("value {number}").into_bytes())
}

/// A state that is proved against.
struct State {
    root: Hash,
    view: StateView,
    proofs: Vec<StateProof>,
}

fn build() -> State {
    let database: Arc<MemoryDatabase> = Arc::new(MemoryDatabase::new());
    let mut store = StateStore::open(Arc::<MemoryDatabase>::clone(&database), StateConfig::default()).unwrap();
    let changes = (0..KEYS).map(|number| (key(number), value(number))).collect();
    let overlay = store.overlay(None, changes).unwrap();
    let mut batch = WriteBatch::new();
    let staged = store.stage(&overlay, Height(0), &mut batch).unwrap();
    database.write(batch, Durability::Synced).unwrap();
    store.apply(staged);
    let view = store.view();
    let proofs = (0..KEYS + 5).map(|number| view.prove(&key(number)).unwrap()).collect();
    State { root: overlay.root(), view, proofs }
}

/// The first byte chooses a key; the rest is a proof. One that verifies shows what the state holds.
pub(crate) fn state_proof(bytes: &[u8]) {
    thread_local! {
        static STATE: State = build();
    }
    let mut draw = Draw::new(bytes);
    let number = draw.below(KEYS + 5);
    let (asked, truth) = (key(number), value(number));
    let bytes = draw.rest();
    let Ok(proof) = bounded(bytes.len(), || StateProof::from_bytes(bytes)) else { return };
    assert_eq!(strict::<StateProof>("state proof", bytes, PROOF_BYTES_MAX).as_ref(), Some(&proof));
    assert!(proof.to_ics23(&asked).len() <= 4 * bytes.len() + (64 << 10), "an ICS-23 proof out of proportion");
    STATE.with(|State { root, .. }| {
        let claimed = proof.value().map(<[u8]>::to_vec);
        if proof.verify(root, &asked, claimed.as_deref()).is_ok() {
            assert_eq!(claimed, truth, "a forged proof of the state");
        }
        if proof.verify(root, &asked, None).is_ok() {
            assert_eq!(truth, None, "a forged proof of absence");
        }
    });
}

pub(crate) fn state_proof_seeds() -> Vec<Vec<u8>> {
    let proofs = build().proofs.into_iter().zip(0u8..);
    proofs.map(|(proof, number)| [vec![number], proof.encode()].concat()).collect()
}

/// Where the ranges of chunks begin and end: the first byte chooses.
fn chunk_range(number: u8) -> KeyRange {
    let bound = |bits: u8| Hash([bits << 4; 32]);
    let (from, to) = (number >> 4, number & 15);
    KeyRange { from: bound(from), to: (to > from).then(|| bound(to)) }
}

/// The first byte chooses a range; the rest is a chunk. One that verifies holds all of the range and nothing else.
pub(crate) fn state_chunk(bytes: &[u8]) {
    thread_local! {
        static STATE: State = build();
    }
    let mut draw = Draw::new(bytes);
    let range = chunk_range(draw.byte());
    let bytes = draw.rest();
    let Some(chunk) = strict::<StateChunk>("state chunk", bytes, CHUNK_BYTES_MAX) else { return };
    assert_eq!(StateChunk::from_bytes(bytes).as_ref(), Ok(&chunk));
    STATE.with(|State { root, .. }| {
        if chunk.verify(root, &range).is_err() {
            return;
        }
        let truth = (0..KEYS).filter(|number| range.contains(&sha256(&key(*number))));
        let mut truth: Vec<_> = truth.map(|number| (key(number), value(number).unwrap())).collect();
        truth.sort_by_key(|(key, _)| sha256(key));
        let found: Vec<_> = chunk.leaves.into_iter().map(|leaf| (leaf.key, leaf.value)).collect();
        assert_eq!(found, truth, "a forged chunk of the state");
    });
}

pub(crate) fn state_chunk_seeds() -> Vec<Vec<u8>> {
    let State { view, .. } = build();
    let mut seeds = Vec::new();
    for from in [0, 1, 7, 15] {
        // A chunk that ends with its range: the leaves below the next bound.
        let whole = chunk_range(from << 4);
        let (range, chunk) = view.chunk(whole.from, 1 << 20).unwrap();
        assert_eq!(range, whole);
        seeds.push([vec![from << 4], chunk.encode()].concat());
    }
    seeds
}

/// The keys of a batch: every third from a number on, the same one twice now and then.
fn batch_keys(first: usize) -> Vec<usize> {
    (0..4).map(|step| (first + 3 * step) % (KEYS + 5)).chain([first]).collect()
}

/// The first byte chooses the keys; the rest is a batch proof. One that verifies shows what the state holds.
pub(crate) fn batch_proof(bytes: &[u8]) {
    thread_local! {
        static STATE: State = build();
    }
    let mut draw = Draw::new(bytes);
    let numbers = batch_keys(draw.below(KEYS + 5));
    let bytes = draw.rest();
    let Some(proof) = strict::<BatchProof>("batch proof", bytes, BATCH_BYTES_MAX) else { return };
    assert_eq!(BatchProof::from_bytes(bytes).as_ref(), Ok(&proof));
    let keys: Vec<_> = numbers.iter().map(|number| key(*number)).collect();
    STATE.with(|State { root, proofs, .. }| {
        let Ok(found) = proof.check(root, &keys) else { return };
        for (number, found) in numbers.iter().zip(found) {
            assert_eq!(found.map(<[u8]>::to_vec), value(*number), "a forged batch proof of the state");
        }
        let singles = numbers.iter().filter_map(|number| proofs.get(*number));
        let honest = BatchProof::merge(keys.iter().map(Vec::as_slice).zip(singles)).unwrap();
        assert_eq!(honest, proof, "two proofs of the same keys");
    });
}

pub(crate) fn batch_proof_seeds() -> Vec<Vec<u8>> {
    let State { proofs, .. } = build();
    let seed = |first: u8| {
        let numbers = batch_keys(usize::from(first));
        let keys: Vec<_> = numbers.iter().map(|number| key(*number)).collect();
        let singles = numbers.iter().filter_map(|number| proofs.get(*number));
        let proof = BatchProof::merge(keys.iter().map(Vec::as_slice).zip(singles)).unwrap();
        [vec![first], proof.encode()].concat()
    };
    (0..25).map(seed).collect()
}

fn items() -> Vec<Vec<u8>> {
    (0..ITEMS).map(|item| vec![item; usize::from(item)]).collect()
}

/// The first byte chooses what decodes: an accumulator, or an inclusion proof for the item of the second byte.
pub(crate) fn list_proof(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    if draw.happens() {
        let Some(mut list) = strict::<ListAccumulator>("list accumulator", draw.rest(), 4_096) else { return };
        let (before, count) = (list.root(), list.count());
        list.push(b"one more");
        assert_eq!(list.count(), count.saturating_add(1));
        assert_ne!(list.root(), before);
        return;
    }
    let item = vec![draw.byte(); draw.below(16)];
    let Some(proof) = strict::<InclusionProof>("inclusion proof", draw.rest(), 4_096) else { return };
    let items = items();
    let tree = root(&items);
    if proof.verify(&tree, &item) {
        assert!(items.contains(&item), "a forged proof of inclusion");
        if proof.count == u64::from(ITEMS) {
            let place = usize::try_from(proof.index).unwrap();
            assert_eq!(items.get(place), Some(&item), "the right item in the wrong place");
        }
    }
}

pub(crate) fn list_proof_seeds() -> Vec<Vec<u8>> {
    let items = items();
    let proofs = (0..ITEMS).map(|item| {
        let proof = prove(&items, u64::from(item)).unwrap();
        [vec![0, item, item], proof.encode()].concat()
    });
    let mut list = ListAccumulator::default();
    items.iter().for_each(|item| list.push(item));
    proofs.chain([[vec![1], list.encode()].concat()]).collect()
}

/// The first bytes choose a length of the list, a place and an item; the rest is a proof. One that verifies shows the item that
/// is there.
pub(crate) fn place_proof(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let (length, place, item) = (1 + draw.below(usize::from(ITEMS)), draw.below(usize::from(ITEMS) + 2), draw.byte());
    let item = vec![item; usize::from(item % ITEMS)];
    let Some(proof) = strict::<PlaceProof>("place proof", draw.rest(), 8_192) else { return };
    let items = &items()[..length];
    let index = u64::try_from(place).unwrap();
    if proof.verify(&root(items), index, &item) {
        assert_eq!(items.get(place), Some(&item), "a forged proof of an item's place");
        assert_eq!(prove_place(items, index).as_ref(), Some(&proof), "two proofs of one place");
    }
}

pub(crate) fn place_proof_seeds() -> Vec<Vec<u8>> {
    let items = items();
    let mut seeds = Vec::new();
    for length in [1, 2, 3, 6, 11u8] {
        for place in 0..length {
            let proof = prove_place(&items[..usize::from(length)], u64::from(place)).unwrap();
            seeds.push([vec![length - 1, place, place], proof.encode()].concat());
        }
    }
    seeds
}

/// A key of the state, its value, the state's root and a proof of it.
pub(crate) fn proved(number: usize) -> (Vec<u8>, Option<Vec<u8>>, Hash, StateProof) {
    let State { root, proofs, .. } = build();
    (key(number), value(number), root, proofs[number].clone())
}
