//! `cairn db export-blocks`, `import-blocks`.

use super::Tools;
use crate::exit::{ExitContext as _, ExitKind, Failure};
use crate::opening::{block_cache_bytes, ledger_failure, open_ledger, open_rocks};
use crate::output::{Output, table};
use crate::progress::Progress;
use cairn_ledger::block_file::{self, BlockFileError};
use cairn_primitives::Height;
use cairn_storage::Database;
use serde_json::json;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

/// Bytes that are written to or read from a file at once.
const BUFFER_BYTES: usize = 1 << 20;

fn failure(file: &Path, error: BlockFileError) -> anyhow::Error {
    let kind = match error {
        BlockFileError::Ledger(error) => return ledger_failure(error),
        BlockFileError::OtherChain { .. } => ExitKind::WrongChain,
        BlockFileError::NotFinal { .. } => ExitKind::Proof,
        BlockFileError::NoSuchRange { .. } | BlockFileError::Gap { .. } => ExitKind::NotFound,
        BlockFileError::Foreign
        | BlockFileError::Newer { .. }
        | BlockFileError::CutShort { .. }
        | BlockFileError::Damaged { .. }
        | BlockFileError::Io(_) => ExitKind::Failure,
    };
    Failure::new(kind, format!("{}: {error}", file.display())).into()
}

pub(super) fn export(
    tools: &Tools,
    file: &Path,
    from: Option<Height>,
    to: Option<Height>,
    output: Output,
) -> anyhow::Result<()> {
    if file.exists() {
        let message = format!("{} exists and is never overwritten: name another file, or delete it", file.display());
        return Err(Failure::new(ExitKind::Failure, message).into());
    }
    let rocks = tools.open()?;
    let progress = Progress::new(output);
    // Under another name until it is whole: an interruption leaves no file that looks like one.
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    let part = Path::new(&name);
    let cannot = || format!("cannot write {}", part.display());
    let opened = File::create(part).exit_with(ExitKind::Failure, cannot())?;
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, opened);
    let told = &mut |done, total| progress.tell("blocks", done, Some(total));
    let exported = block_file::export(&*rocks, &tools.genesis, from, to, &mut out, told);
    let exported = exported.and_then(|exported| {
        out.flush()?;
        out.get_ref().sync_all()?;
        fs::rename(part, file)?;
        Ok(exported)
    });
    progress.finish();
    let done = match exported {
        Ok(done) => done,
        Err(error) => {
            fs::remove_file(part).exit_with(ExitKind::Failure, format!("{error}; cannot delete {}", part.display()))?;
            return Err(failure(file, error));
        }
    };
    let count = u64::from(done.last.0 - done.first.0) + 1;
    let rate = progress.rate(count);
    let facts = [
        ("file", file.display().to_string()),
        ("blocks", format!("{} to {}", done.first, done.last)),
        ("bytes", done.bytes.to_string()),
        ("time", format!("{:.1} s, {rate} blocks/s", progress.seconds())),
    ];
    let value = json!({
        "file": file, "first": done.first.0, "last": done.last.0, "bytes": done.bytes,
        "seconds": progress.seconds(), "blocksPerSecond": rate,
    });
    output.print(&value, &table(&facts))
}

pub(super) fn import(tools: &Tools, file: &Path, output: Output) -> anyhow::Result<()> {
    let opened = File::open(file).exit_with(ExitKind::NotFound, format!("cannot read {}", file.display()))?;
    let input = BufReader::with_capacity(BUFFER_BYTES, opened);
    let folder = &tools.folder;
    fs::create_dir_all(folder).exit_with(ExitKind::Config, format!("cannot make {}", folder.display()))?;
    let database: Arc<dyn Database> = Arc::new(open_rocks(folder, block_cache_bytes(&tools.config))?);
    let mut ledger = open_ledger(database, &tools.config, &tools.spec, &tools.genesis)?;
    let progress = Progress::new(output);
    let told = &mut |done, total| progress.tell("blocks", done, Some(total));
    let imported = block_file::import(&mut ledger, input, told);
    progress.finish();
    let done = imported.map_err(|error| failure(file, error))?;
    let rate = progress.rate(done.imported);
    let facts = [
        ("file", format!("{}, blocks {} to {}", file.display(), done.first, done.last)),
        ("here already", done.skipped.to_string()),
        ("imported", done.imported.to_string()),
        ("head", done.head.to_string()),
        ("time", format!("{:.1} s, {rate} blocks/s", progress.seconds())),
    ];
    let value = json!({
        "file": file, "first": done.first.0, "last": done.last.0, "skipped": done.skipped,
        "imported": done.imported, "head": done.head.0, "seconds": progress.seconds(), "blocksPerSecond": rate,
    });
    output.print(&value, &table(&facts))
}
