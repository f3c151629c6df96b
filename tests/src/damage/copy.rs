//! Copies of a database that share its large files.

use anyhow::Context as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The database in a data folder.
pub(super) fn database(data_dir: &Path) -> PathBuf {
    data_dir.join("db")
}

/// Whether files of this name are written once and never changed.
pub(super) fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sst" || extension == "blob")
}

/// Copies a database of which no process has it open; table files are linked.
pub(super) fn link(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let source = entry?.path();
        let target = to.join(source.file_name().context("a file has a name")?);
        if is_table(&source) {
            fs::hard_link(&source, &target)?;
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

/// Changes the bytes of a file of a copy, and of no other copy.
pub(super) fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> anyhow::Result<()> {
    let mut bytes = fs::read(path)?;
    fs::remove_file(path)?;
    change(&mut bytes);
    Ok(fs::write(path, bytes)?)
}
