//! NOMT over its own store, with the SHA-256 hasher that it offers. Half of the memory goes to its page cache, half to its
//! leaf cache; the hash table has room for twice the pages that so many accounts need, and its file is sparse.

use super::Peer;
use crate::workload::Entry;
use anyhow::{Context, Result};
use bitvec::prelude::{BitSlice, Msb0};
use cairn_primitives::hash::sha256;
use nomt::hasher::{Sha2Hasher, ValueHasher};
use nomt::trie::LeafData;
use nomt::{KeyReadWrite, Nomt, Options, SessionParams};
use std::collections::HashMap;
use std::path::Path;

pub struct NomtPeer {
    nomt: Nomt<Sha2Hasher>,
    /// What the current block read: NOMT wants to know it when the block is written.
    session: Option<nomt::Session<Sha2Hasher>>,
    seen: HashMap<[u8; 32], Option<Vec<u8>>>,
    prefetch: bool,
}

impl NomtPeer {
    pub fn open(path: &Path, cache_mib: usize, accounts: u64, threads: usize, prefetch: bool) -> Result<Self> {
        let mut options = Options::new();
        options.path(path);
        options.commit_concurrency(threads);
        options.page_cache_size(cache_mib / 2);
        options.leaf_cache_size(cache_mib / 2);
        options.hashtable_buckets(u32::try_from((accounts / 2).max(64_000))?);
        options.preallocate_ht(false);
        options.prepopulate_page_cache(true);
        options.warm_up(prefetch);
        Ok(Self { nomt: Nomt::open(options)?, session: None, seen: HashMap::new(), prefetch })
    }
}

impl Peer for NomtPeer {
    fn read(&mut self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
        let session = self.nomt.begin_session(SessionParams::default());
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let path = sha256(key).0;
            if self.prefetch {
                session.warm_up(path);
            }
            let value = session.read(path)?;
            self.seen.insert(path, value.clone());
            values.push(value);
        }
        self.session = Some(session);
        Ok(values)
    }

    fn commit(&mut self, changes: Vec<Entry>) -> Result<()> {
        let session = self.session.take().unwrap_or_else(|| self.nomt.begin_session(SessionParams::default()));
        let mut seen = std::mem::take(&mut self.seen);
        let mut actuals: Vec<_> = changes
            .into_iter()
            .map(|(key, value)| {
                let path = sha256(&key).0;
                let write = match seen.remove(&path) {
                    Some(before) => KeyReadWrite::ReadThenWrite(before, Some(value)),
                    None => KeyReadWrite::Write(Some(value)),
                };
                (path, write)
            })
            .collect();
        actuals.sort_unstable_by_key(|(path, _)| *path);
        session.finish(actuals)?.commit(&self.nomt)
    }

    fn root(&self) -> [u8; 32] {
        self.nomt.root().into_inner()
    }

    fn prove(&mut self, key: &[u8]) -> Result<()> {
        self.session = None;
        let session = self.nomt.begin_session(SessionParams::default());
        std::hint::black_box(session.prove(sha256(key).0)?);
        Ok(())
    }

    fn check_proof(&mut self, key: &[u8], value: &[u8]) -> Result<bool> {
        self.session = None;
        self.seen.clear();
        let key_path = sha256(key).0;
        let proof = self.nomt.begin_session(SessionParams::default()).prove(key_path)?;
        let path = BitSlice::<u8, Msb0>::from_slice(&key_path);
        let verified = proof.verify::<Sha2Hasher>(path, self.root()).ok().context("a path")?;
        let value_hash = Sha2Hasher::hash_value(value);
        Ok(verified.confirm_value(&LeafData { key_path, value_hash }).unwrap_or(false))
    }
}
