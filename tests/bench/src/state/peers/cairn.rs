//! Our state store over RocksDB, written to as the ledger does.

use super::Peer;
use crate::workload::Entry;
use anyhow::{Result, anyhow};
use cairn_primitives::Height;
use cairn_storage::state::{HistoryMode, StateConfig, StateStore};
use cairn_storage::{Database, Durability, WriteBatch};
use cairn_storage_rocks::{RocksDatabase, RocksOptions};
use std::path::Path;
use std::sync::Arc;

const MIB: usize = 1 << 20;
/// The heights that stay readable: what a validator keeps.
const WINDOW: u32 = 64;

pub struct Cairn {
    database: Arc<RocksDatabase>,
    store: StateStore,
}

impl Cairn {
    /// Gives an eighth of the memory to RocksDB and the rest to pages.
    pub fn open(path: &Path, cache_mib: usize, threads: usize) -> Result<Self> {
        let rocks = RocksOptions { cache_bytes: cache_mib * MIB / 8 };
        let database = Arc::new(RocksDatabase::open(path, rocks)?);
        let config = StateConfig {
            history: HistoryMode::Window(WINDOW),
            cache_bytes: cache_mib * MIB / 8 * 7,
            threads,
            ..StateConfig::default()
        };
        let store = StateStore::open(Arc::<RocksDatabase>::clone(&database), config)?;
        Ok(Self { database, store })
    }
}

impl Peer for Cairn {
    fn read(&mut self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
        let view = self.store.view();
        Ok(keys.iter().map(|key| view.get(key)).collect::<Result<_, _>>()?)
    }

    fn commit(&mut self, changes: Vec<Entry>) -> Result<()> {
        let changes = changes.into_iter().map(|(key, value)| (key, Some(value))).collect();
        let overlay = self.store.overlay(None, changes)?;
        let height = self.store.head().map_or(Height::ZERO, |head| head.height.next());
        let mut batch = WriteBatch::new();
        let staged = self.store.stage(&overlay, height, &mut batch)?;
        self.database.write(batch, Durability::Synced)?;
        self.store.apply(staged);
        Ok(())
    }

    fn root(&self) -> [u8; 32] {
        self.store.view().root().0
    }

    fn prove(&mut self, key: &[u8]) -> Result<()> {
        std::hint::black_box(self.store.view().prove(key)?);
        Ok(())
    }

    fn check_proof(&mut self, key: &[u8], value: &[u8]) -> Result<bool> {
        let view = self.store.view();
        view.prove(key)?.verify(&view.root(), key, Some(value)).map_err(|error| anyhow!(error))?;
        Ok(true)
    }
}
