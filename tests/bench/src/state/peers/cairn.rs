//! Our state store over RocksDB, written to as the ledger and the node do: a thread
//! of its own writes checkpoints.

use super::Peer;
use crate::workload::Entry;
use anyhow::{Context, Result, anyhow};
use cairn_primitives::Height;
use cairn_storage::state::{HistoryMode, StateConfig, StateError, StateStore};
use cairn_storage::{Database, Durability, WriteBatch};
use cairn_storage_rocks::{RocksDatabase, RocksOptions};
use std::path::Path;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

const MIB: usize = 1 << 20;
/// The heights that stay readable: what a validator keeps.
const WINDOW: u32 = 64;

pub struct Cairn {
    database: Arc<RocksDatabase>,
    /// Gone once the checkpointer is to end.
    store: Option<StateStore>,
    checkpoints: Option<JoinHandle<Result<(), StateError>>>,
}

impl Cairn {
    /// Gives an eighth of the memory to RocksDB and the rest to pages.
    pub fn open(path: &Path, cache_mib: usize, threads: usize) -> Result<Self> {
        let rocks = RocksOptions { cache_bytes: cache_mib * MIB / 8 };
        let database = Arc::new(RocksDatabase::open(path, rocks)?);
        let config =
            StateConfig { threads, ..StateConfig::for_memory(HistoryMode::Window(WINDOW), cache_mib * MIB / 8 * 7) };
        let store = StateStore::open(Arc::<RocksDatabase>::clone(&database), config)?;
        let checkpointer = store.checkpointer();
        let checkpoints = Some(Builder::new().name("checkpoints".to_owned()).spawn(move || checkpointer.run())?);
        Ok(Self { database, store: Some(store), checkpoints })
    }

    fn store(&self) -> Result<&StateStore> {
        self.store.as_ref().context("closed")
    }
}

impl Drop for Cairn {
    fn drop(&mut self) {
        self.store = None;
        if let Some(Ok(Err(error))) = self.checkpoints.take().map(JoinHandle::join) {
            eprintln!("the last checkpoint: {error}");
        }
    }
}

impl Peer for Cairn {
    fn read(&mut self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
        let view = self.store()?.view();
        let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
        Ok(view.get_many(&keys)?.iter().map(|value| value.map(<[u8]>::to_vec)).collect())
    }

    fn commit(&mut self, changes: Vec<Entry>) -> Result<()> {
        let changes = changes.into_iter().map(|(key, value)| (key, Some(value))).collect();
        let store = self.store.as_mut().context("closed")?;
        let overlay = store.overlay(None, changes)?;
        let height = store.head().map_or(Height::ZERO, |head| head.height.next());
        let mut batch = WriteBatch::new();
        let staged = store.stage(&overlay, height, &mut batch)?;
        self.database.write(batch, Durability::Synced)?;
        drop(overlay);
        store.apply(staged);
        store.relieve()?;
        Ok(())
    }

    fn root(&self) -> [u8; 32] {
        self.store().map_or([0; 32], |store| store.view().root().0)
    }

    fn prove(&mut self, key: &[u8]) -> Result<()> {
        std::hint::black_box(self.store()?.view().prove(key)?);
        Ok(())
    }

    fn check_proof(&mut self, key: &[u8], value: &[u8]) -> Result<bool> {
        let view = self.store()?.view();
        view.prove(key)?.verify(&view.root(), key, Some(value)).map_err(|error| anyhow!(error))?;
        Ok(true)
    }
}
