//! From transaction bytes to committed blocks in one process, on RocksDB: what each stage costs, and how the whole compares
//! with the rate at which this machine's cores verify signatures.
//!
//! ```text
//! propose   candidates as the pool holds them ─► propose ─► commit                  (the way of a leader)
//! stages    bytes ─► decode ─► verify ─► check ─► execute ─► root ─► commit         (one after the other, timed)
//! import    bytes ─► decode, verify ║ check, execute, root, commit                  (the way of block sync, overlapped)
//! limit     signatures alone, all cores                                     (before, between and after the imports)
//! ```
//! Every block is committed with a synced write. Signing, key generation and the accounts are outside of the timing. The
//! database with the accounts is built once per directory and copied for each pass; its table files are shared by links.

mod accounts;
mod base;
mod chain;
mod limit;
mod meter;
mod passes;
mod report;
mod snapshot;

use anyhow::Context;
use clap::Parser;
use std::path::PathBuf;

/// Measures the way of a block of signed transfers through one node.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Options {
    /// How many accounts there are.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) accounts: u32,
    /// How many blocks are measured.
    #[arg(long, default_value_t = 20)]
    pub(crate) blocks: u32,
    /// How often their import is measured, each time from the same accounts.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) imports: u32,
    /// Transfers in a block.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) transfers: u32,
    /// Where the databases go; the one with the accounts is kept for the next run.
    #[arg(long, default_value = "target/pipeline")]
    pub(crate) dir: PathBuf,
    /// Memory for pages of the state, in MiB.
    #[arg(long, default_value_t = 256)]
    pub(crate) state_cache: usize,
    /// Memory for the block cache of RocksDB, in MiB.
    #[arg(long, default_value_t = 64)]
    pub(crate) block_cache: usize,
    /// Memory for the keys of accounts that signed lately, in MiB.
    #[arg(long, default_value_t = 256)]
    pub(crate) signers: usize,
    /// Begin each pass with the keys of all accounts known, as on a node on which each has signed before.
    #[arg(long)]
    pub(crate) all_signed_before: bool,
    /// Measure a snapshot of the accounts instead.
    #[arg(long)]
    pub(crate) snapshot: bool,
}

fn main() -> anyhow::Result<()> {
    cairn_node_allocator::keep_free_memory();
    let options = Options::parse();
    std::fs::create_dir_all(&options.dir).with_context(|| format!("cannot make {}", options.dir.display()))?;
    eprintln!("{} accounts: genesis", options.accounts);
    let chain = chain::Chain::new(&options)?;
    base::build(&chain, &options)?;
    if options.snapshot {
        return snapshot::measure(&chain, &options);
    }
    eprintln!("signing {} blocks of {} transfers", options.blocks, options.transfers);
    let transfers = accounts::sign(&chain, &options)?;
    eprintln!("measuring");
    let mut limit = limit::Limit::new(&transfers)?;
    let (propose, blocks) = passes::propose(&chain, &options, transfers)?;
    let stages = passes::stages(&chain, &options, &blocks)?;
    limit.measure()?;
    let mut imports = Vec::new();
    for _ in 0..options.imports {
        imports.push(passes::import(&chain, &options, &blocks)?);
        limit.measure()?;
    }
    let count = f64::from(options.blocks) * f64::from(options.transfers);
    report::print(&options, count, &limit, &propose, &stages, &imports);
    Ok(())
}
