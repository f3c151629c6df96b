//! The database with all accounts, built once, and its copies.

use crate::Options;
use crate::accounts::{KEYED_MAX, keyless};
use crate::chain::{Chain, ENDOWMENT, treasurer};
use anyhow::{Context, ensure};
use cairn_ledger::Ledger;
use cairn_runtime::{Era, Transaction, TransactionExtra, client};
use std::fs;
use std::path::{Path, PathBuf};

/// Transfers in one funding transaction.
const BATCH: u32 = 1_000;
/// Funding transactions in one block: bounded by the events of a block.
const BATCHES_PER_BLOCK: u32 = 20;

/// The finished database.
fn path(options: &Options) -> PathBuf {
    options.dir.join(format!("accounts-{}", options.accounts))
}

/// Builds the database if it is not there.
pub(crate) fn build(chain: &Chain, options: &Options) -> anyhow::Result<()> {
    let (finished, unfinished) = (path(options), options.dir.join("unfinished"));
    if finished.exists() {
        return Ok(());
    }
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    chain.with_ledger(&unfinished, options, |ledger| fund(chain, options, ledger))?;
    fs::rename(&unfinished, &finished).context("cannot rename the finished database")
}

/// Funds the accounts that the genesis state does not have.
fn fund(chain: &Chain, options: &Options, ledger: &mut Ledger) -> anyhow::Result<()> {
    let beyond: Vec<_> = (KEYED_MAX..options.accounts).collect();
    let mut nonce = 0;
    let per_block = usize::try_from(BATCH * BATCHES_PER_BLOCK)?;
    for (place, part) in beyond.chunks(per_block).enumerate() {
        if place % 25 == 0 {
            eprintln!("funded {} of {} accounts", place * per_block, beyond.len());
        }
        let mut candidates = Vec::new();
        for numbers in part.chunks(usize::try_from(BATCH)?) {
            let calls = numbers.iter().map(|number| client::transfer_keep_alive(keyless(*number), ENDOWMENT));
            let extra = TransactionExtra { era: Era::Immortal, nonce, tip: 0 };
            let genesis = chain.genesis_hash();
            let signed = client::sign(&treasurer(), &client::batch_all(calls.collect()), extra, &genesis, &genesis);
            candidates.push(Transaction::decode(signed)?);
            nonce += 1;
        }
        let built = ledger.propose(&chain.request(ledger), &candidates)?;
        ensure!(built.rejected.is_empty(), "funding was refused: {:?}", built.rejected.first());
        ledger.commit(&[built.block.header.hash()], &chain.finalization(&built.block)?)?;
    }
    Ok(())
}

/// A copy of the database for one pass: table files never change, so they are linked.
pub(crate) fn copy(options: &Options, name: &str) -> anyhow::Result<PathBuf> {
    let target = options.dir.join(name);
    remove(&target)?;
    copy_folder(&path(options), &target)?;
    Ok(target)
}

/// Deletes the copy of a pass.
pub(crate) fn remove(path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("cannot delete {}", path.display()))?;
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&source, &target)?;
        } else if source.extension().is_some_and(|extension| extension == "sst") {
            fs::hard_link(&source, &target)?;
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}
