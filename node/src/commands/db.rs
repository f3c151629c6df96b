//! `cairn db`: what tools do with the database of a stopped node. The work is in `ledger` and `storage`; here are settings,
//! files, progress and words.

mod blocks;
mod check;
mod stats;

use crate::cli::{ConfigArgs, DbCommand};
use crate::commands::config::load;
use crate::config::NodeConfig;
use crate::exit::{ExitKind, Failure};
use crate::launch::{database_folder, genesis_of, load_spec};
use crate::opening::{block_cache_bytes, ledger_failure, open_rocks};
use crate::output::{Output, table};
use crate::progress::Progress;
use cairn_chain_spec::ChainSpec;
use cairn_ledger::Genesis;
use cairn_ledger::rework::{self, ReworkError};
use cairn_primitives::Height;
use cairn_storage::{Database, Table};
use cairn_storage_rocks::{DirectoryStats, RocksDatabase};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

/// Runs the command.
///
/// # Errors
/// The database is in use, missing, damaged or of another chain, or the command's own reasons; each names its cure.
pub fn run(command: &DbCommand, output: Output) -> anyhow::Result<()> {
    match command {
        DbCommand::Stats(args) => stats::run(&Tools::new(args)?, output),
        DbCommand::Check { from, config } => check::run(&Tools::new(config)?, Height(*from), output),
        DbCommand::Prune { keep, config } => prune(&Tools::new(config)?, *keep, output),
        DbCommand::Rollback { to, config } => rollback(&Tools::new(config)?, Height(*to), output),
        DbCommand::ExportBlocks { file, from, to, config } => {
            blocks::export(&Tools::new(config)?, file, from.map(Height), to.map(Height), output)
        }
        DbCommand::ImportBlocks { file, config } => blocks::import(&Tools::new(config)?, file, output),
    }
}

/// The node whose database is meant.
struct Tools {
    config: NodeConfig,
    spec: ChainSpec,
    genesis: Genesis,
    folder: PathBuf,
}

impl Tools {
    fn new(args: &ConfigArgs) -> anyhow::Result<Self> {
        let config = load(args)?.config;
        let spec = load_spec(&config.node.chain)?;
        let genesis = genesis_of(&spec)?;
        let folder = database_folder(&config);
        Ok(Self { config, spec, genesis, folder })
    }

    /// Opens the database, which must be there.
    fn open(&self) -> anyhow::Result<Arc<RocksDatabase>> {
        self.check_exists()?;
        Ok(Arc::new(open_rocks(&self.folder, block_cache_bytes(&self.config))?))
    }

    fn check_exists(&self) -> anyhow::Result<()> {
        if self.folder.join("FORMAT").exists() {
            return Ok(());
        }
        let message = format!(
            "there is no database in {}: name the node's data folder with --data-dir, or its configuration with --config",
            self.folder.display()
        );
        Err(Failure::new(ExitKind::NotFound, message).into())
    }

    fn bytes_on_disk(&self) -> u64 {
        DirectoryStats::read(&self.folder).map_or(0, |stats| stats.total())
    }
}

fn rework_failure(error: ReworkError) -> anyhow::Error {
    match error {
        ReworkError::Ledger(error) => ledger_failure(error),
        ReworkError::AboveHead { .. }
        | ReworkError::NotKept { .. }
        | ReworkError::FromSnapshot { .. }
        | ReworkError::Empty => Failure::new(ExitKind::NotFound, error.to_string()).into(),
    }
}

fn prune(tools: &Tools, keep: u32, output: Output) -> anyhow::Result<()> {
    let rocks = tools.open()?;
    let before = tools.bytes_on_disk();
    let database: Arc<dyn Database> = Arc::clone(&rocks) as Arc<dyn Database>;
    let progress = Progress::new(output);
    let done = rework::prune(&database, &tools.genesis, keep, &mut |records| {
        progress.tell("records of the archive", records, None);
    })
    .map_err(rework_failure)?;
    for table in [Table::StateHistory, Table::StateNodes, Table::StateDiffs] {
        progress.tell("compacting", 0, None);
        rocks.compact(table)?;
    }
    progress.finish();
    drop((database, rocks));
    let after = tools.bytes_on_disk();
    let facts = [
        ("head", done.head.to_string()),
        ("states kept from", format!("{} (before: {})", done.lowest, done.lowest_before)),
        ("bytes on disk", format!("{after} (before: {before})")),
        (
            "from now on",
            format!(
                "set state.history = {keep}, or the node keeps all states that follow, and gets the lower ones again"
            ),
        ),
    ];
    let value = json!({
        "head": done.head.0, "lowest": done.lowest.0, "lowestBefore": done.lowest_before.0,
        "bytes": after, "bytesBefore": before, "seconds": progress.seconds(),
    });
    output.print(&value, &table(&facts))
}

fn rollback(tools: &Tools, to: Height, output: Output) -> anyhow::Result<()> {
    let rocks = tools.open()?;
    let database: Arc<dyn Database> = Arc::clone(&rocks) as Arc<dyn Database>;
    let progress = Progress::new(output);
    let schedule = tools.spec.epoch_schedule();
    let done = rework::roll_back(&database, &tools.genesis, schedule, to, &mut |done, total| {
        progress.tell("blocks", done, Some(total));
    })
    .map_err(rework_failure)?;
    progress.finish();
    let votes = "untouched: a validator votes for nothing at or below what it has signed, and catches up by block sync";
    let facts = [
        ("head", format!("{} {} (before: {})", done.head, done.hash, done.from)),
        ("blocks taken back", (done.from.0 - done.head.0).to_string()),
        ("not final, deleted", done.pending_deleted.to_string()),
        ("journal, deleted", done.journal_deleted.to_string()),
        ("vote record", votes.to_owned()),
    ];
    let value = json!({
        "head": done.head.0, "hash": done.hash.to_string(), "headBefore": done.from.0,
        "pendingDeleted": done.pending_deleted, "journalDeleted": done.journal_deleted, "seconds": progress.seconds(),
    });
    output.print(&value, &table(&facts))
}
