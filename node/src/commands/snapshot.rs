//! `cairn snapshot`: makes, checks, restores and lists snapshots of the state.

use crate::cli::SnapshotCommand;
use crate::client::Client;
use crate::exit::{ExitKind, Failure};
use crate::launch::{genesis_of, load_spec};
use crate::opening::{ledger_config, ledger_failure, open_database};
use crate::output::{Output, table};
use crate::progress::Progress;
use crate::snapshot::{list, own_folder, read_chunk, read_manifest, write};
use cairn_chain_spec::ChainSpec;
use cairn_ledger::{Genesis, Ledger, LedgerError, Reader, Restore, RestoreError, verify_snapshot};
use cairn_primitives::snapshot::{SnapshotError, SnapshotManifest, VerifiedManifest};
use cairn_storage::{HistoryMode, StateConfig, StateError};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a running node is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// The block cache of the database, in bytes.
const CACHE_BYTES: usize = 64 << 20;
/// What a past height is needed for: nothing. Opening with a window of any size changes nothing in the database.
const ANY_WINDOW: HistoryMode = HistoryMode::Window(u32::MAX);

/// Runs the command.
///
/// # Errors
/// The node or the database cannot be asked, the snapshot does not hold, or files cannot be read or written.
pub async fn run(command: &SnapshotCommand, output: Output) -> anyhow::Result<()> {
    match command {
        SnapshotCommand::Create { data_dir: None, node, .. } => ask_node(&node.url, output).await,
        SnapshotCommand::Create { data_dir: Some(data_dir), chain, out, .. } => {
            create(data_dir, chain.as_deref().unwrap_or_default(), out.as_deref(), output)
        }
        SnapshotCommand::Verify { folder, chain } => verify(folder, chain, output),
        SnapshotCommand::Restore { folder, chain, data_dir } => restore(folder, chain, data_dir, output),
        SnapshotCommand::List { data_dir } => print_list(data_dir, output),
    }
}

/// Has a running node make one, and waits for it.
async fn ask_node(url: &str, output: Output) -> anyhow::Result<()> {
    let client = Client::connect(url).await?;
    let mut status: Value = client.call("cairn_createSnapshot", Vec::new()).await?;
    let progress = Progress::new(output);
    loop {
        let text = |name| status.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let state = text("state");
        match state.as_str() {
            "running" => progress.tell(
                "permille",
                status.get("permille").and_then(Value::as_u64).unwrap_or_default(),
                Some(1_000),
            ),
            "done" => {
                progress.finish();
                let height = status.get("height").and_then(Value::as_u64).unwrap_or_default();
                return output.print(&status, &table(&[("height", height.to_string()), ("folder", text("folder"))]));
            }
            _ => return Err(Failure::new(ExitKind::Failure, format!("{url}: {}", text("error"))).into()),
        }
        tokio::time::sleep(ASK_EVERY).await;
        status = client.call("cairn_snapshotState", Vec::new()).await?;
    }
}

/// Makes one from the database of a node that does not run.
fn create(data_dir: &Path, chain: &str, out: Option<&Path>, output: Output) -> anyhow::Result<()> {
    let (spec, genesis) = chain_of(chain)?;
    let folder = data_dir.join("db");
    if !folder.exists() {
        return Err(Failure::new(ExitKind::NotFound, format!("there is no database in {}", data_dir.display())).into());
    }
    let reader = open_reader(data_dir, &spec, genesis).map_err(|error| {
        if crate::exit::kind_of(&error) == ExitKind::DatabaseLocked {
            return error.context("to take a snapshot of a running node leave out --data-dir and give its --url");
        }
        error
    })?;
    let source = reader.snapshot()?;
    let folder = out.map_or_else(|| own_folder(data_dir).join(source.height().0.to_string()), Path::to_path_buf);
    let progress = Progress::new(output);
    let manifest = write(source, &folder, |permille| {
        progress.tell("permille", u64::from(permille), Some(1_000));
        true
    })?;
    progress.finish();
    print("created", &folder, &manifest, output)
}

/// Opens the database of a node that does not run. Nothing is changed in it.
fn open_reader(data_dir: &Path, spec: &ChainSpec, genesis: Genesis) -> anyhow::Result<Reader> {
    let database = open_database(&data_dir.join("db"), CACHE_BYTES)?;
    let state = StateConfig { history: ANY_WINDOW, ..StateConfig::default() };
    Ok(Ledger::open(database, ledger_config(spec, genesis, state)).map_err(ledger_failure)?.reader())
}

fn chain_of(chain: &str) -> anyhow::Result<(ChainSpec, Genesis)> {
    let spec = load_spec(chain)?;
    let genesis = genesis_of(&spec)?;
    Ok((spec, genesis))
}

/// The manifest, checked from the chain spec alone.
fn verified(folder: &Path, spec: &ChainSpec, genesis: &Genesis) -> anyhow::Result<VerifiedManifest> {
    verify_snapshot(read_manifest(folder)?, genesis, spec.epoch_schedule()).map_err(|error| refused(folder, error))
}

fn refused(folder: &Path, error: SnapshotError) -> anyhow::Error {
    let is_other = matches!(error, SnapshotError::OtherChain { .. });
    let kind = if is_other { ExitKind::WrongChain } else { ExitKind::Proof };
    anyhow::Error::new(Failure::new(kind, format!("{}: {error}", folder.display())))
}

fn verify(folder: &Path, chain: &str, output: Output) -> anyhow::Result<()> {
    let (spec, genesis) = chain_of(chain)?;
    let verified = verified(folder, &spec, &genesis)?;
    let progress = Progress::new(output);
    let count = verified.manifest().chunks.len();
    for index in 0..count {
        verified.open_chunk(index, &read_chunk(folder, index)?).map_err(|error| refused(folder, error))?;
        progress.tell_index("chunks", index + 1, count);
    }
    progress.finish();
    print("verified", folder, verified.manifest(), output)
}

fn restore(folder: &Path, chain: &str, data_dir: &Path, output: Output) -> anyhow::Result<()> {
    let (spec, genesis) = chain_of(chain)?;
    let verified = verified(folder, &spec, &genesis)?;
    let manifest = verified.manifest().clone();
    let database = open_database(&data_dir.join("db"), CACHE_BYTES)?;
    let begun = Restore::open(database, genesis.clone(), spec.spec_hash(), verified);
    let mut restore = begun.map_err(|error| cannot_restore(data_dir, &error))?;
    let progress = Progress::new(output);
    let count = manifest.chunks.len();
    while restore.next_chunk() < count {
        let chunk = read_chunk(folder, restore.next_chunk())?;
        restore.add(&chunk).map_err(|error| failed(folder, data_dir, error))?;
        progress.tell_index("chunks", restore.next_chunk(), count);
    }
    restore.finish().map_err(|error| failed(folder, data_dir, error))?;
    progress.finish();
    // Opening computes the root of all that was written.
    let head = open_reader(data_dir, &spec, genesis)?.head();
    if head.height != manifest.height() {
        let message = format!("{} holds block {} after the restore", data_dir.display(), head.height);
        return Err(Failure::new(ExitKind::DatabaseDamaged, message).into());
    }
    print("restored", data_dir, &manifest, output)
}

fn failed(folder: &Path, data_dir: &Path, error: RestoreError) -> anyhow::Error {
    match error {
        RestoreError::Snapshot(error) => refused(folder, error),
        RestoreError::Ledger(error) => cannot_restore(data_dir, &error),
    }
}

fn cannot_restore(data_dir: &Path, error: &LedgerError) -> anyhow::Error {
    let is_in_use = matches!(error, LedgerError::State(StateError::NotEmpty | StateError::Unfinished));
    let kind = if is_in_use { ExitKind::Config } else { ExitKind::DatabaseDamaged };
    anyhow::Error::new(Failure::new(kind, format!("cannot restore into {}: {error}", data_dir.display())))
}

fn print_list(data_dir: &Path, output: Output) -> anyhow::Result<()> {
    let mut documents = Vec::new();
    let mut text = String::new();
    for (_, folder) in list(&own_folder(data_dir))? {
        match read_manifest(&folder) {
            Ok(manifest) => {
                documents.push(document(&folder, &manifest));
                text.push_str(&table(&facts(&folder, &manifest)));
            }
            Err(error) => {
                let reason = crate::exit::one_line(&error);
                text.push_str(&table(&[("damaged", reason.clone())]));
                documents.push(json!({ "folder": folder, "error": reason }));
            }
        }
        text.push('\n');
    }
    if documents.is_empty() {
        text = format!("no snapshots in {}", own_folder(data_dir).display());
    }
    output.print(&documents.into(), &text)
}

fn print(done: &'static str, folder: &Path, manifest: &SnapshotManifest, output: Output) -> anyhow::Result<()> {
    let mut document = document(folder, manifest);
    if let Some(object) = document.as_object_mut() {
        object.insert("state".into(), done.into());
    }
    let mut rows = facts(folder, manifest);
    if let Some(first) = rows.first_mut() {
        first.0 = done;
    }
    output.print(&document, &table(&rows))
}

fn facts(folder: &Path, manifest: &SnapshotManifest) -> Vec<(&'static str, String)> {
    let header = &manifest.block.header;
    vec![
        ("snapshot", folder.display().to_string()),
        ("genesis", manifest.genesis.to_string()),
        ("block", format!("{} {}", header.number, header.hash())),
        ("state root", header.state_root.to_string()),
        ("entries", manifest.leaves().to_string()),
        ("size", format!("{} bytes in {} chunks", manifest.chunk_bytes(), manifest.chunks.len())),
    ]
}

fn document(folder: &Path, manifest: &SnapshotManifest) -> Value {
    let header = &manifest.block.header;
    let folder: PathBuf = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    json!({
        "folder": folder, "genesisHash": manifest.genesis.to_string(), "height": header.number,
        "blockHash": header.hash().to_string(), "stateRoot": header.state_root.to_string(),
        "entries": manifest.leaves(), "bytes": manifest.chunk_bytes(), "chunks": manifest.chunks.len(),
    })
}
