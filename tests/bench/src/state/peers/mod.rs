//! Who takes part, each set up as its makers advise.

mod cairn;
mod jmt;
mod nomt;

use crate::workload::Entry;
use anyhow::Result;
use clap::ValueEnum;
use std::fmt;
use std::path::Path;

/// A state that is durable and provable.
pub trait Peer {
    /// The values of keys.
    fn read(&mut self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>>;
    /// Writes values, computes the root, and returns once both are on disk.
    fn commit(&mut self, changes: Vec<Entry>) -> Result<()>;
    /// The root after the last commit.
    fn root(&self) -> [u8; 32];
    /// Makes a proof and drops it.
    fn prove(&mut self, key: &[u8]) -> Result<()>;
    /// Whether a new proof shows that the key has the value.
    fn check_proof(&mut self, key: &[u8], value: &[u8]) -> Result<bool>;
}

/// A peer with its number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// Our state store on RocksDB, one thread
    #[value(name = "cairn-1")]
    Cairn1,
    /// Our state store on RocksDB, two threads
    #[value(name = "cairn-2")]
    Cairn2,
    /// The `jmt` crate on RocksDB, a record for each node
    Jmt,
    /// NOMT with SHA-256 on its own store, one commit thread
    #[value(name = "nomt-1")]
    Nomt1,
    /// The same with two
    #[value(name = "nomt-2")]
    Nomt2,
    /// The same with two, prefetching the path of every account that is read
    #[value(name = "nomt-2-warm")]
    Nomt2Warm,
}

impl Name {
    /// Opens the peer's database, or makes one for about so many accounts.
    pub fn open(self, path: &Path, cache_mib: usize, accounts: u64) -> Result<Box<dyn Peer>> {
        Ok(match self {
            Self::Cairn1 => Box::new(cairn::Cairn::open(path, cache_mib, 1)?),
            Self::Cairn2 => Box::new(cairn::Cairn::open(path, cache_mib, 2)?),
            Self::Jmt => Box::new(jmt::Jmt::open(path, cache_mib)?),
            Self::Nomt1 => Box::new(nomt::NomtPeer::open(path, cache_mib, accounts, 1, false)?),
            Self::Nomt2 => Box::new(nomt::NomtPeer::open(path, cache_mib, accounts, 2, false)?),
            Self::Nomt2Warm => Box::new(nomt::NomtPeer::open(path, cache_mib, accounts, 2, true)?),
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cairn1 => "cairn-1",
            Self::Cairn2 => "cairn-2",
            Self::Jmt => "jmt",
            Self::Nomt1 => "nomt-1",
            Self::Nomt2 => "nomt-2",
            Self::Nomt2Warm => "nomt-2-warm",
        })
    }
}
