//! A snapshot of all accounts: made, and restored into an empty database that a ledger then opens.

use crate::Options;
use crate::base;
use crate::chain::{Chain, SPEC};
use crate::meter::{Cost, timed};
use anyhow::Context;
use cairn_ledger::{Restore, verify_snapshot};
use cairn_primitives::EpochSchedule;
use cairn_primitives::snapshot::SnapshotManifest;
use cairn_storage_rocks::{RocksDatabase, RocksOptions};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The leaves of a chunk have about so many bytes.
const CHUNK_BYTES: usize = 1 << 20;

fn chunk_file(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("{number:06}"))
}

/// Makes a snapshot, restores it, and prints what both took.
pub(crate) fn measure(chain: &Chain, options: &Options) -> anyhow::Result<()> {
    let source = base::copy(options, "snapshot-source")?;
    let (folder, target) = (options.dir.join("snapshot"), options.dir.join("snapshot-target"));
    base::remove(&folder)?;
    base::remove(&target)?;
    fs::create_dir_all(&folder)?;
    let make = |ledger: &mut cairn_ledger::Ledger| {
        // Genesis is no snapshot.
        let block = ledger.propose(&chain.request(ledger), &[])?.block;
        ledger.commit(&[block.header.hash()], &chain.finalization(&block)?)?;
        timed(|| make(ledger, &folder))
    };
    let ((manifest, making), _) = chain.with_ledger(&source, options, make)?;
    let ((), restoring) = timed(|| restore(chain, options, &manifest, &folder, &target))?;
    let (reopened, opening) = timed(|| chain.with_ledger(&target, options, |ledger| Ok(ledger.reader().head())))?;
    anyhow::ensure!(reopened.0.state_root == manifest.block.header.state_root, "another state was restored");
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!("{} entries, {} chunks, {:.1} MiB", manifest.leaves(), manifest.chunks.len(), mib(manifest.chunk_bytes()));
    let print = |what: &str, cost: Cost| {
        println!("{what:<10} {:6.2} s, {:6.2} s of CPU", cost.wall.as_secs_f64(), cost.cpu.as_secs_f64());
    };
    print("make", making);
    print("restore", restoring);
    print("open", opening);
    for path in [source, folder, target] {
        base::remove(&path)?;
    }
    Ok(())
}

fn make(ledger: &cairn_ledger::Ledger, folder: &Path) -> anyhow::Result<SnapshotManifest> {
    let mut source = ledger.reader().snapshot()?;
    let mut number = 0;
    while let Some(chunk) = source.next_chunk(CHUNK_BYTES)? {
        let mut file = File::create_new(chunk_file(folder, number))?;
        file.write_all(&chunk)?;
        file.sync_all()?;
        number += 1;
    }
    Ok(source.finish())
}

fn restore(
    chain: &Chain,
    options: &Options,
    manifest: &SnapshotManifest,
    folder: &Path,
    target: &Path,
) -> anyhow::Result<()> {
    let database = RocksDatabase::open(target, RocksOptions { cache_bytes: options.block_cache << 20 })?;
    let verified = verify_snapshot(manifest.clone(), chain.genesis(), EpochSchedule::new(0))?;
    let mut restore = Restore::open(Arc::new(database), chain.genesis().clone(), SPEC, verified)?;
    for number in 0..manifest.chunks.len() {
        restore.add(&fs::read(chunk_file(folder, number)).context("a chunk")?)?;
    }
    Ok(restore.finish()?)
}
