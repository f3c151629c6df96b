//! Rules of the state store; the tree is compared with the `jmt` crate.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod archive;
mod batch;
mod crash;
mod history;
mod merge;
mod packed;
mod pages;
mod proofs;
mod roots;
mod snapshot;
mod swap;

use super::{CheckpointLimits, HistoryMode, Overlay, StateConfig, StateError, StateStore};
use crate::batch::WriteBatch;
use crate::database::{Database, Durability};
use crate::memory::MemoryDatabase;
use cairn_primitives::hash::sha256;
use cairn_primitives::{Hash, Height};
use jmt::mock::MockTreeStore;
use jmt::{KeyHash, Sha256Jmt};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a block changes, as tests put it together.
type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A generator with a fixed seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// A value of any size class: tiny, of an account, at and over the bound of pages, large.
    fn value(&mut self) -> Vec<u8> {
        let length = [1, 80, 127, 128, 129, 3_000][self.below(6) as usize];
        let byte = self.below(255) as u8;
        vec![byte; length]
    }
}

const ARCHIVE: StateConfig = StateConfig {
    history: HistoryMode::Archive,
    cache_bytes: 4 << 10,
    recent_bytes: 64 << 20,
    unsaved: CheckpointLimits {
        bytes: 16 << 10,
        archive_bytes: 16 << 10,
        diff_bytes: 64 << 10,
        blocks: 3,
        chunk_bytes: 2 << 10,
    },
    threads: 1,
};

/// A store with its model: the values at every height.
struct Chain {
    database: MemoryDatabase,
    config: StateConfig,
    store: StateStore,
    model: Vec<BTreeMap<Vec<u8>, Vec<u8>>>,
    roots: Vec<Hash>,
}

impl Chain {
    fn new(config: StateConfig) -> Self {
        let database = MemoryDatabase::new();
        let store = StateStore::open(Arc::new(database.clone()), config).unwrap();
        Self { database, config, store, model: Vec::new(), roots: Vec::new() }
    }

    fn next_height(&self) -> Height {
        Height(u32::try_from(self.model.len()).unwrap())
    }

    fn overlay(&self, parent: Option<&Arc<Overlay>>, changes: Changes) -> Result<Arc<Overlay>, StateError> {
        self.store.overlay(parent, changes.into_iter().collect())
    }

    fn commit_overlay(&mut self, overlay: &Arc<Overlay>) {
        let mut batch = WriteBatch::new();
        let staged = self.store.stage(overlay, self.next_height(), &mut batch).unwrap();
        self.database.write(batch, Durability::Synced).unwrap();
        self.store.apply(staged);
        self.store.relieve().unwrap();
        self.note(overlay);
    }

    /// Brings the model to a block.
    fn note(&mut self, overlay: &Overlay) {
        let mut values = self.model.last().cloned().unwrap_or_default();
        for (key, value) in overlay.changes().iter() {
            match value {
                Some(value) => values.insert(key.to_vec(), value.to_vec()),
                None => values.remove(key),
            };
        }
        self.model.push(values);
        self.roots.push(overlay.root());
    }

    fn commit(&mut self, changes: Changes) -> Hash {
        let overlay = self.overlay(None, changes).unwrap();
        self.commit_overlay(&overlay);
        overlay.root()
    }

    /// Brings the derived tables to the head.
    fn save(&self) {
        self.store.checkpointer().finish().unwrap();
    }

    fn reopen(&mut self) {
        self.store = StateStore::open(Arc::new(self.database.clone()), self.config).unwrap();
    }

    fn values(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        self.model.last().unwrap()
    }
}

/// The root that the `jmt` crate gives the same values, inserted at once.
fn jmt_root(values: &BTreeMap<Vec<u8>, Vec<u8>>) -> Hash {
    let store = MockTreeStore::default();
    let tree = Sha256Jmt::new(&store);
    let set = values.iter().map(|(key, value)| (KeyHash(sha256(key).0), Some(value.clone())));
    let (root, _) = tree.put_value_set(set, 0).unwrap();
    Hash(root.0)
}

fn key(number: u64) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

/// Random changes over `keys` keys: new values, deletions, and some that change nothing.
fn random_changes(random: &mut Random, keys: u64, count: u64, deletions_in_ten: u64) -> Changes {
    let mut changes = Changes::new();
    for _ in 0..count {
        let value = if random.below(10) < deletions_in_ten { None } else { Some(random.value()) };
        changes.insert(key(random.below(keys)), value);
    }
    changes
}

/// Keys whose hashes share their first `bits` bits.
fn keys_with_shared_prefix(bits: u32, count: usize) -> Vec<Vec<u8>> {
    let first = sha256(&key(0));
    let leading = |hash: &Hash| u32::from_be_bytes(*hash.0.first_chunk().unwrap()) >> (32 - bits);
    let matching = (0..).map(key).filter(|key| leading(&sha256(key)) == leading(&first));
    matching.take(count).collect()
}
