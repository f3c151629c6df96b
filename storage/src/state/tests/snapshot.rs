//! Chunks of a version, and loading them into an empty database.

use super::{ARCHIVE, Chain, Changes, Random, key, keys_with_shared_prefix, random_changes};
use crate::batch::WriteBatch;
use crate::database::{Database, DatabaseView, Durability};
use crate::memory::MemoryDatabase;
use crate::state::{HistoryMode, StateConfig, StateError, StateLoader, StateStore, StateView};
use crate::table::Table;
use cairn_primitives::hash::sha256;
use cairn_primitives::state_proof::{KeyRange, RangeCover, StateChunk};
use cairn_primitives::{Hash, Height};
use parity_scale_codec::Encode;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn chunks(view: &StateView, bytes_max: usize) -> Vec<(KeyRange, StateChunk)> {
    let mut cover = RangeCover::default();
    let mut chunks = Vec::new();
    while let Some(from) = cover.next() {
        let (range, chunk) = view.chunk(from, bytes_max).unwrap();
        cover.join(&range).unwrap();
        chunks.push((range, chunk));
    }
    chunks
}

fn values(chunks: &[(KeyRange, StateChunk)]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let leaves = chunks.iter().flat_map(|(_, chunk)| &chunk.leaves);
    leaves.map(|leaf| (leaf.key.clone(), leaf.value.clone())).collect()
}

/// A state with large values, deletions, and keys that share many bits.
fn busy_chain(config: StateConfig) -> Chain {
    let mut random = Random(7);
    let mut chain = Chain::new(config);
    for _ in 0..6 {
        chain.commit(random_changes(&mut random, 700, 300, 2));
    }
    let close = keys_with_shared_prefix(12, 40);
    chain.commit(close.into_iter().map(|key| (key, Some(random.value()))).collect());
    chain
}

pub(super) fn load(
    database: &MemoryDatabase,
    chunks: &[(KeyRange, StateChunk)],
    height: Height,
    root: Hash,
) -> Result<(), StateError> {
    let mut loader = StateLoader::open(Arc::new(database.clone()), root)?;
    while let Some((range, chunk)) = chunks.get(loader.chunks() as usize) {
        loader.add(chunk.leaves.clone(), range.to)?;
    }
    let mut batch = WriteBatch::new();
    loader.finish(height, root, &mut batch)?;
    database.write(batch, Durability::Synced).unwrap();
    Ok(())
}

#[test]
fn chunks_of_any_size_hold_all_leaves_and_every_one_is_proved() {
    let chain = busy_chain(ARCHIVE);
    let view = chain.store.view();
    for bytes_max in [1, 200, 5_000, 1 << 20] {
        let chunks = chunks(&view, bytes_max);
        assert_eq!(values(&chunks), *chain.values(), "chunks of {bytes_max} bytes");
        for (range, chunk) in &chunks {
            chunk.verify(&view.root(), range).unwrap();
            assert_eq!(StateChunk::from_bytes(&chunk.encode()).as_ref(), Ok(chunk));
            let (last, others) = chunk.leaves.split_last().unwrap();
            let bytes = others.iter().map(|leaf| leaf.key.len() + leaf.value.len()).sum::<usize>();
            assert!(bytes < bytes_max, "{bytes} bytes before {} are more than {bytes_max}", last.key.len());
        }
    }
}

#[test]
fn chunk_with_any_bit_flipped_is_refused() {
    let chain = busy_chain(ARCHIVE);
    let view = chain.store.view();
    let (range, chunk) = view.chunk(sha256(b"somewhere"), 300).unwrap();
    chunk.verify(&view.root(), &range).unwrap();
    let bytes = chunk.encode();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let accepted = StateChunk::from_bytes(&damaged).is_ok_and(|chunk| chunk.verify(&view.root(), &range).is_ok());
        assert!(!accepted, "bit {bit}");
    }
}

#[test]
fn chunk_of_an_empty_state_and_of_one_leaf_is_proved() {
    let mut chain = Chain::new(ARCHIVE);
    chain.commit(Changes::new());
    for count in [0, 1, 2] {
        let view = chain.store.view();
        let all = chunks(&view, 1);
        assert_eq!(values(&all).len(), count);
        all.iter().for_each(|(range, chunk)| chunk.verify(&view.root(), range).unwrap());
        chain.commit(Changes::from([(key(count as u64), Some(vec![1]))]));
    }
}

#[test]
fn pinned_version_gives_the_same_chunks_while_blocks_replace_everything() {
    let window = StateConfig { history: HistoryMode::Window(64), ..ARCHIVE };
    let mut chain = busy_chain(window);
    let view = chain.store.view();
    let (before, root) = (chunks(&view, 700), view.root());
    let model = chain.values().clone();
    let mut random = Random(8);
    let mut cover = RangeCover::default();
    let mut during = Vec::new();
    while let Some(from) = cover.next() {
        chain.commit(random_changes(&mut random, 700, 60, 5));
        if chain.model.len().is_multiple_of(5) {
            chain.save();
        }
        if chain.model.len() > 60 {
            break;
        }
        let (range, chunk) = view.chunk(from, 7_000).unwrap();
        cover.join(&range).unwrap();
        chunk.verify(&root, &range).unwrap();
        during.push((range, chunk));
    }
    assert_eq!(values(&before), model);
    assert_eq!(values(&during), model);
}

#[test]
fn loaded_state_has_the_same_roots_after_the_same_blocks() {
    for bytes_max in [1, 300, 4_000, 1 << 20] {
        for history in [HistoryMode::Archive, HistoryMode::Window(3)] {
            let mut chain = busy_chain(ARCHIVE);
            let (height, root) = (Height(chain.model.len() as u32 - 1), *chain.roots.last().unwrap());
            let database = MemoryDatabase::new();
            load(&database, &chunks(&chain.store.view(), bytes_max), height, root).unwrap();
            let config = StateConfig { history, ..ARCHIVE };
            let open = || StateStore::open(Arc::new(database.clone()), config).unwrap();
            let mut store = open();
            assert_eq!(store.head().map(|head| (head.height, head.root)), Some((height, root)));
            let mut random = Random(9);
            for number in 0..12 {
                let changes = random_changes(&mut random, 900, 120, 4);
                let overlay = store.overlay(None, changes.clone().into_iter().collect()).unwrap();
                assert_eq!(overlay.root(), chain.commit(changes), "block {number} after chunks of {bytes_max}");
                let mut batch = WriteBatch::new();
                let staged = store.stage(&overlay, Height(height.0 + 1 + number), &mut batch).unwrap();
                database.write(batch, Durability::Synced).unwrap();
                store.apply(staged);
                store.relieve().unwrap();
                if number % 4 == 3 {
                    drop(store);
                    store = open();
                }
            }
            let head = store.head().unwrap().height;
            let (model, states) = (chain.values().clone(), store.read_model());
            for (key, value) in &model {
                assert_eq!(states.get_at(head, key).unwrap().as_ref(), Some(value));
            }
            let keys = states.keys_at(head, b"", None, 1_000).unwrap();
            assert_eq!(keys, model.keys().cloned().collect::<Vec<_>>());
            assert!(states.get_at(Height(height.0 - 1), &key(1)).is_err(), "nothing is known below the snapshot");
            if history == HistoryMode::Archive {
                let past = &chain.model[height.0 as usize + 2];
                for (key, value) in past {
                    assert_eq!(states.get_at(Height(height.0 + 2), key).unwrap().as_ref(), Some(value));
                }
            }
        }
    }
}

#[test]
fn loading_is_resumed_after_every_chunk_and_not_mixed() {
    let chain = busy_chain(ARCHIVE);
    let (height, root) = (Height(chain.model.len() as u32 - 1), *chain.roots.last().unwrap());
    let chunks = chunks(&chain.store.view(), 2_500);
    assert!(chunks.len() > 5, "{} chunks", chunks.len());
    let database = MemoryDatabase::new();
    let shared: Arc<dyn Database> = Arc::new(database.clone());
    for (number, (range, chunk)) in chunks.iter().enumerate() {
        let mut loader = StateLoader::open(Arc::clone(&shared), root).unwrap();
        assert_eq!(loader.chunks() as usize, number);
        loader.add(chunk.leaves.clone(), range.to).unwrap();
        assert!(matches!(StateStore::open(Arc::clone(&shared), ARCHIVE), Err(StateError::Unfinished)));
        assert!(matches!(StateLoader::open(Arc::clone(&shared), Hash([1; 32])), Err(StateError::Unfinished)));
    }
    load(&database, &chunks, height, root).unwrap();
    assert_eq!(StateStore::open(Arc::clone(&shared), ARCHIVE).unwrap().head().unwrap().root, root);
    assert!(matches!(StateLoader::open(shared, root), Err(StateError::NotEmpty)));
}

#[test]
fn loading_survives_the_loss_of_any_number_of_last_writes() {
    let chain = busy_chain(ARCHIVE);
    let (height, root) = (Height(chain.model.len() as u32 - 1), *chain.roots.last().unwrap());
    let chunks = chunks(&chain.store.view(), 4_000);
    for kept in 0..=chunks.len() {
        let database = MemoryDatabase::new();
        let mut loader = StateLoader::open(Arc::new(database.clone()), root).unwrap();
        for (range, chunk) in &chunks {
            loader.add(chunk.leaves.clone(), range.to).unwrap();
        }
        drop(loader);
        database.lose_unflushed(kept);
        assert_eq!(StateLoader::open(Arc::new(database.clone()), root).unwrap().chunks() as usize, kept);
        load(&database, &chunks, height, root).unwrap();
        assert_eq!(StateStore::open(Arc::new(database.clone()), ARCHIVE).unwrap().head().unwrap().root, root);
        assert!(database.get(Table::Meta, b"load").unwrap().is_none());
    }
}
