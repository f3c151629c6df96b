//! The `jmt` crate over RocksDB: one record for each node and value, keyed by version first, as stores of chains that use
//! it have them, so that a block writes one run of keys. Nothing is ever deleted, which spares it an index of stale nodes.

use super::Peer;
use crate::workload::Entry;
use anyhow::{Context, Result};
use cairn_primitives::hash::sha256;
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader};
use jmt::{KeyHash, OwnedValue, Sha256Jmt, Version};
use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, Options, WriteOptions};
use std::path::Path;

const NODES: &str = "nodes";
const VALUES: &str = "values";
const META: &str = "meta";

pub struct Jmt {
    reader: Reader,
    /// The next version and the root of the last one.
    next: Version,
    root: [u8; 32],
}

struct Reader {
    rocks: DB,
}

impl Jmt {
    pub fn open(path: &Path, cache_mib: usize) -> Result<Self> {
        let cache = Cache::new_hyper_clock_cache(cache_mib << 20, 0);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_max_background_jobs(2);
        options.set_bytes_per_sync(1 << 20);
        let family = |name| ColumnFamilyDescriptor::new(name, family_options(&cache));
        let rocks = DB::open_cf_descriptors(&options, path, [NODES, VALUES, META].map(family))?;
        let reader = Reader { rocks };
        let (mut next, mut root) = (0, [0; 32]);
        if let Some(record) = reader.get(META, b"head")? {
            let (version, last) = record.split_first_chunk::<8>().context("a version")?;
            next = u64::from_be_bytes(*version) + 1;
            root.copy_from_slice(last);
        }
        Ok(Self { reader, next, root })
    }

    fn version(&self) -> Version {
        self.next.saturating_sub(1)
    }
}

fn family_options(cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_bloom_filter(10.0, false);
    blocks.set_data_block_index_type(rocksdb::DataBlockIndexType::BinaryAndHash);
    blocks.set_block_restart_interval(4);
    blocks.set_format_version(5);
    let mut options = Options::default();
    options.set_write_buffer_size(32 << 20);
    options.set_compression_type(DBCompressionType::None);
    options.set_block_based_table_factory(&blocks);
    options
}

impl Reader {
    fn get(&self, family: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let family = self.rocks.cf_handle(family).context("a column family")?;
        Ok(self.rocks.get_cf(&family, key)?)
    }
}

fn node_key(key: &NodeKey) -> Result<Vec<u8>> {
    let mut bytes = key.version().to_be_bytes().to_vec();
    bytes.extend(borsh::to_vec(key.nibble_path())?);
    Ok(bytes)
}

fn value_key(key: &KeyHash, version: Version) -> Vec<u8> {
    let mut bytes = key.0.to_vec();
    bytes.extend_from_slice(&(!version).to_be_bytes());
    bytes
}

impl TreeReader for Reader {
    fn get_node_option(&self, key: &NodeKey) -> Result<Option<Node>> {
        let record = self.get(NODES, &node_key(key)?)?;
        record.map(|record| Ok(borsh::from_slice(&record)?)).transpose()
    }

    fn get_value_option(&self, max_version: Version, key: KeyHash) -> Result<Option<OwnedValue>> {
        let family = self.rocks.cf_handle(VALUES).context("a column family")?;
        let mut cursor = self.rocks.raw_iterator_cf(&family);
        cursor.seek(value_key(&key, max_version));
        cursor.status()?;
        Ok(cursor.item().filter(|(found, _)| found.starts_with(&key.0)).map(|(_, value)| value.to_vec()))
    }

    fn get_rightmost_leaf(&self) -> Result<Option<(NodeKey, LeafNode)>> {
        anyhow::bail!("only restoring needs it")
    }
}

impl Peer for Jmt {
    fn read(&mut self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
        let version = self.version();
        keys.iter().map(|key| self.reader.get_value_option(version, KeyHash(sha256(key).0))).collect()
    }

    fn commit(&mut self, changes: Vec<Entry>) -> Result<()> {
        let set = changes.into_iter().map(|(key, value)| (KeyHash(sha256(&key).0), value)).collect();
        let (roots, update) = Sha256Jmt::new(&self.reader).batch_put_value_sets(vec![set], None, self.next)?;
        let root = roots.first().context("a root")?.0;
        let mut batch = rocksdb::WriteBatch::default();
        let family = self.reader.rocks.cf_handle(NODES).context("a column family")?;
        for (key, node) in update.node_batch.nodes() {
            batch.put_cf(&family, node_key(key)?, borsh::to_vec(node)?);
        }
        let family = self.reader.rocks.cf_handle(VALUES).context("a column family")?;
        for ((version, key), value) in update.node_batch.values() {
            batch.put_cf(&family, value_key(key, *version), value.as_deref().unwrap_or_default());
        }
        let mut head = self.next.to_be_bytes().to_vec();
        head.extend_from_slice(&root);
        batch.put_cf(&self.reader.rocks.cf_handle(META).context("a column family")?, b"head", head);
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.reader.rocks.write_opt(batch, &options)?;
        self.root = root;
        self.next += 1;
        Ok(())
    }

    fn root(&self) -> [u8; 32] {
        self.root
    }

    fn prove(&mut self, key: &[u8]) -> Result<()> {
        let proof = Sha256Jmt::new(&self.reader).get_with_proof(KeyHash(sha256(key).0), self.version())?;
        std::hint::black_box(proof);
        Ok(())
    }

    fn check_proof(&mut self, key: &[u8], value: &[u8]) -> Result<bool> {
        let key = KeyHash(sha256(key).0);
        let (_, proof) = Sha256Jmt::new(&self.reader).get_with_proof(key, self.version())?;
        Ok(proof.verify_existence(jmt::RootHash(self.root), key, value).is_ok())
    }
}
