//! Snapshots as folders, and the one that a running node makes.
//!
//! ```text
//!   <data>/snapshots/<height>/manifest, chunk-000000, chunk-000001, …
//! ```
//! A folder has its name only once it is whole: until then `.partial` is added.

use crate::exit::{ExitContext as _, ExitKind, Failure};
use cairn_ledger::{Reader, SnapshotSource};
use cairn_primitives::Height;
use cairn_primitives::snapshot::{MANIFEST_BYTES_MAX, SnapshotManifest};
use cairn_primitives::state_proof::CHUNK_BYTES_MAX;
use parity_scale_codec::Encode as _;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The leaves of a chunk have about so many bytes.
const CHUNK_BYTES: usize = 1 << 20;
/// What the name of an unfinished folder ends with.
const PARTIAL: &str = "partial";
/// The file of the manifest.
pub const MANIFEST: &str = "manifest";

/// The folder of a node's own snapshots.
#[must_use]
pub fn own_folder(data_dir: &Path) -> PathBuf {
    data_dir.join("snapshots")
}

/// The file of a chunk.
#[must_use]
pub fn chunk_file(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("chunk-{index:06}"))
}

/// Writes a snapshot into a new folder; `go_on` is told the thousandths done after each chunk and may end it.
///
/// # Errors
/// The folder exists, cannot be written, or `go_on` ended it; the database failed.
pub fn write(
    mut source: SnapshotSource,
    folder: &Path,
    mut go_on: impl FnMut(u32) -> bool,
) -> anyhow::Result<SnapshotManifest> {
    let cannot = |path: &Path| format!("cannot write {}", path.display());
    if folder.exists() {
        let message = format!("{} exists: snapshots are never overwritten, name another folder", folder.display());
        return Err(Failure::new(ExitKind::Config, message).into());
    }
    let partial = folder.with_extension(PARTIAL);
    if partial.exists() {
        std::fs::remove_dir_all(&partial).exit_with(ExitKind::Config, cannot(&partial))?;
    }
    std::fs::create_dir_all(&partial).exit_with(ExitKind::Config, cannot(&partial))?;
    let mut index = 0;
    while let Some(chunk) = source.next_chunk(CHUNK_BYTES)? {
        let path = chunk_file(&partial, index);
        write_synced(&path, &chunk).exit_with(ExitKind::Failure, cannot(&path))?;
        index += 1;
        if !go_on(source.permille()) {
            return Err(Failure::new(ExitKind::Failure, "the snapshot was given up: the node stops").into());
        }
    }
    let manifest = source.finish();
    let path = partial.join(MANIFEST);
    write_synced(&path, &manifest.encode()).exit_with(ExitKind::Failure, cannot(&path))?;
    std::fs::rename(&partial, folder).exit_with(ExitKind::Failure, cannot(folder))?;
    if let Some(parent) = folder.parent() {
        File::open(parent).and_then(|parent| parent.sync_all()).exit_with(ExitKind::Failure, cannot(parent))?;
    }
    Ok(manifest)
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Writes a file that is there as a whole or not at all, whenever the process is killed.
///
/// # Errors
/// It cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let partial = path.with_extension(PARTIAL);
    if partial.exists() {
        std::fs::remove_file(&partial)?;
    }
    write_synced(&partial, bytes)?;
    std::fs::rename(&partial, path)?;
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Reads a file of a snapshot, up to a size.
fn read(path: &Path, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let file = File::open(path).exit_with(ExitKind::NotFound, format!("cannot read {shown} of the snapshot"))?;
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).exit_with(ExitKind::Failure, format!("{shown}"))?;
    if bytes.len() > bytes_max {
        let message = format!("{shown} is larger than {bytes_max} bytes: it is not part of a snapshot");
        return Err(Failure::new(ExitKind::Proof, message).into());
    }
    Ok(bytes)
}

/// The manifest of a snapshot, not verified.
///
/// # Errors
/// There is none, or it is damaged.
pub fn read_manifest(folder: &Path) -> anyhow::Result<SnapshotManifest> {
    let path = folder.join(MANIFEST);
    let bytes = read(&path, MANIFEST_BYTES_MAX)?;
    SnapshotManifest::from_bytes(&bytes).exit_with(ExitKind::Proof, format!("{} is damaged", path.display()))
}

/// A chunk of a snapshot, not verified.
///
/// # Errors
/// It is missing or too large.
pub fn read_chunk(folder: &Path, index: usize) -> anyhow::Result<Vec<u8>> {
    read(&chunk_file(folder, index), CHUNK_BYTES_MAX)
}

/// The folders of the finished snapshots in a folder, lowest height first.
///
/// # Errors
/// The folder cannot be read.
pub fn list(folder: &Path) -> anyhow::Result<Vec<(u32, PathBuf)>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let cannot = || format!("cannot read {}", folder.display());
    for entry in std::fs::read_dir(folder).exit_with(ExitKind::Config, cannot())? {
        let path = entry.exit_with(ExitKind::Config, cannot())?.path();
        let height = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok());
        found.extend(height.map(|height| (height, path)));
    }
    found.sort();
    Ok(found)
}

/// What became of the last snapshot.
#[derive(Clone, Debug, Default)]
enum Progress {
    #[default]
    None,
    Running(u32),
    Done,
    Failed(String),
}

#[derive(Clone, Debug, Default)]
struct Status {
    progress: Progress,
    height: Height,
    folder: PathBuf,
}

#[derive(Debug, Default)]
struct Shared {
    status: Mutex<Status>,
    is_over: AtomicBool,
}

impl Shared {
    // Each field is set at once: a panic elsewhere leaves nothing half done.
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the snapshots of a running node, one at a time, beside its work.
#[derive(Debug)]
pub struct Snapshots {
    shared: Arc<Shared>,
    folder: PathBuf,
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

impl Snapshots {
    /// For a node with this data folder. Nothing is made until it is asked for.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { shared: Arc::default(), folder: own_folder(data_dir) }
    }

    /// Begins a snapshot of the newest block, unless one is under way.
    pub fn begin(&self, reader: &Reader) {
        let mut status = self.shared.status();
        if matches!(status.progress, Progress::Running(_)) {
            return;
        }
        *status = match self.spawn(reader) {
            Ok(status) => status,
            Err(error) => Status { progress: Progress::Failed(crate::exit::one_line(&error)), ..Status::default() },
        };
    }

    fn spawn(&self, reader: &Reader) -> anyhow::Result<Status> {
        let source = reader.snapshot()?;
        let (height, shared) = (source.height(), Arc::clone(&self.shared));
        let folder = self.folder.join(height.0.to_string());
        let target = folder.clone();
        std::thread::Builder::new().name("snapshot".into()).spawn(move || {
            let written = write(source, &target, |permille| {
                shared.status().progress = Progress::Running(permille);
                !shared.is_over.load(Ordering::Relaxed)
            });
            let progress = match written {
                Ok(_) => Progress::Done,
                Err(error) => Progress::Failed(crate::exit::one_line(&error)),
            };
            tracing::info!(height = height.0, folder = %target.display(), ?progress, "snapshot");
            shared.status().progress = progress;
        })?;
        Ok(Status { progress: Progress::Running(0), height, folder })
    }

    /// What became of the last snapshot, as the RPC tells it; `null` if none was asked for.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Status { progress, height, folder } = self.shared.status().clone();
        let (state, permille, error) = match progress {
            Progress::None => return Value::Null,
            Progress::Running(permille) => ("running", permille, Value::Null),
            Progress::Done => ("done", 1_000, Value::Null),
            Progress::Failed(reason) => ("failed", 0, reason.into()),
        };
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        json!({ "state": state, "permille": permille, "height": height.0, "folder": folder, "error": error })
    }
}
