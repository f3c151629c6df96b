//! `cairn db check`: the whole database against the chain and against itself.

use super::Tools;
use crate::exit::{ExitKind, Failure};
use crate::opening::{block_cache_bytes, open_rocks};
use crate::output::{Output, table};
use crate::progress::Progress;
use cairn_consensus::JournalRecord;
use cairn_ledger::audit::{Audit, AuditReport, Phase};
use cairn_primitives::{Epoch, Hash, Height, ValidatorSet};
use cairn_storage::damage::DAMAGES_LISTED_MAX;
use cairn_storage::{Damage, Database, Table};
use cairn_storage_rocks::{FileDamage, RocksDatabase, check_logs, check_values};
use parity_scale_codec::DecodeAll as _;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) fn run(tools: &Tools, from: Height, output: Output) -> anyhow::Result<()> {
    tools.check_exists()?;
    let progress = Progress::new(output);
    // Before the engine opens them: it drops an unfinished end and makes new files. It also takes the lock.
    let mut files = check_logs(&tools.folder).unwrap_or_default();
    if files.iter().any(|found| found.file.starts_with("MANIFEST")) {
        // The engine would take the files that are not listed for left-overs, and delete them.
        print_files(&files, output)?;
        let message = format!("the database {} is damaged: its list of files is cut short", tools.folder.display());
        return Err(Failure::new(ExitKind::DatabaseDamaged, message).into());
    }
    let rocks = match open_rocks(&tools.folder, block_cache_bytes(&tools.config)) {
        Ok(rocks) => Arc::new(rocks),
        Err(error) if crate::exit::kind_of(&error) == ExitKind::DatabaseDamaged => {
            print_files(&files, output)?;
            return Err(error);
        }
        Err(error) => return Err(error),
    };
    files.extend(check_values(&tools.folder).unwrap_or_default());
    let scratch = Scratch::new(tools)?;
    let audit = Audit {
        database: Arc::clone(&rocks) as Arc<dyn Database>,
        scratch: Arc::clone(&scratch.database) as Arc<dyn Database>,
        genesis: tools.genesis.clone(),
        schedule: tools.spec.epoch_schedule(),
        from,
        listed_max: DAMAGES_LISTED_MAX,
    };
    let genesis = tools.genesis.hash();
    let judge = |epoch, set: Option<&ValidatorSet>, record: &[u8]| judge_record(&genesis, epoch, set, record);
    let report = audit.run(&judge, &|phase, done, total| progress.tell(name(phase), done, total));
    progress.finish();
    let (seconds, rate) = (progress.seconds(), progress.rate(report.blocks));
    let list: Vec<_> = report.damages.listed().iter().map(|damage| Found::new(damage, &rocks, &tools.folder)).collect();
    print(&report, &files, &list, seconds, rate, output)?;
    let count = report.damages.count() + u64::try_from(files.len()).unwrap_or(u64::MAX);
    if count == 0 {
        return Ok(());
    }
    let message = format!("the database {} is damaged in {count} places", tools.folder.display());
    Err(Failure::new(ExitKind::DatabaseDamaged, message).into())
}

const fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Blocks => "blocks",
        Phase::Indexes => "index records",
        Phase::State => "state leaves",
        Phase::History => "past states",
    }
}

/// A record of the journal is one that the engine writes, of its key's epoch, and what it certifies holds.
fn judge_record(genesis: &Hash, epoch: Epoch, set: Option<&ValidatorSet>, bytes: &[u8]) -> Result<(), String> {
    let record = JournalRecord::decode_all(&mut &bytes[..]).map_err(|error| error.to_string())?;
    if record.is_of_guard() {
        return Err("a record of the vote guard is not in its own file".into());
    }
    if record.epoch() != epoch {
        return Err(format!("it is of epoch {}", record.epoch()));
    }
    if let (JournalRecord::Certificate(certificate), Some(set)) = (&record, set) {
        certificate.verify(set, genesis).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// A database for the copy of the state, deleted at the end. One that a kill left behind is deleted at the next check.
struct Scratch {
    folder: PathBuf,
    database: Arc<RocksDatabase>,
}

impl Scratch {
    fn new(tools: &Tools) -> anyhow::Result<Self> {
        let folder = tools.config.node.data_dir.join("db-check");
        remove(&folder)?;
        std::fs::create_dir_all(&folder)?;
        let database = Arc::new(open_rocks(&folder, block_cache_bytes(&tools.config))?);
        Ok(Self { folder, database })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.folder) {
            eprintln!("{} cannot be deleted: {error}", self.folder.display());
        }
    }
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A damage with the files in which it may lie, and what to do.
struct Found<'a> {
    damage: &'a Damage,
    files: Vec<String>,
}

impl<'a> Found<'a> {
    fn new(damage: &'a Damage, rocks: &RocksDatabase, folder: &Path) -> Self {
        let names = damage.key.as_ref().and_then(|key| rocks.files_of(damage.table, key).ok()).unwrap_or_default();
        let path = |name: String| folder.join(name.trim_start_matches('/')).display().to_string();
        Self { damage, files: names.into_iter().map(path).collect() }
    }

    fn json(&self) -> Value {
        json!({
            "table": self.damage.table.name(), "place": self.damage.place, "reason": self.damage.reason,
            "files": self.files, "cure": cure(self.damage.table),
        })
    }

    fn text(&self) -> String {
        let files = if self.files.is_empty() { String::new() } else { format!("\n    in {}", self.files.join(", ")) };
        format!("  {}{files}\n    cure: {}\n", self.damage, cure(self.damage.table))
    }
}

/// What helps against a damage in a table.
const fn cure(table: Table) -> &'static str {
    match table {
        Table::Hashes
        | Table::Heights
        | Table::Transactions
        | Table::Events
        | Table::StatePages
        | Table::StateHistory
        | Table::StateKeys
        | Table::StateNodes
        | Table::StateDiffs => {
            "the blocks make it again: `cairn db export-blocks FILE`, then `cairn db import-blocks FILE` into a new folder"
        }
        Table::Headers | Table::Bodies | Table::Finalizations | Table::ValidatorSets | Table::Meta => {
            "restore the folder from a copy, or start with a new one: the node gets the blocks from its peers"
        }
        Table::PendingBlocks | Table::Journal => {
            "`cairn db rollback --to` the block below the head deletes it; the node gets what it needs from its peers"
        }
    }
}

fn files_text(files: &[FileDamage]) -> String {
    files
        .iter()
        .map(|found| {
            format!(
                "  file {}: {}\n    cure: after a power cut this is harmless in a log: start the node, it gets the blocks from \
                 its peers. Otherwise restore the folder from a copy, or start with a new one\n",
                found.file, found.reason
            )
        })
        .collect()
}

fn files_json(files: &[FileDamage]) -> Vec<Value> {
    files.iter().map(|found| json!({ "file": found.file, "reason": found.reason })).collect()
}

fn print_files(files: &[FileDamage], output: Output) -> anyhow::Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    output.print(&json!({ "damages": [], "files": files_json(files) }), &files_text(files))
}

fn print(
    report: &AuditReport,
    files: &[FileDamage],
    list: &[Found<'_>],
    seconds: f64,
    rate: u64,
    output: Output,
) -> anyhow::Result<()> {
    let count = report.damages.count();
    let facts = [
        ("head", format!("{} {}", report.head, report.head_hash)),
        (
            "blocks",
            format!(
                "{} from height {}, {} with their own finalization",
                report.blocks, report.from, report.finalizations
            ),
        ),
        ("extrinsics", report.extrinsics.to_string()),
        ("epochs", report.epochs.to_string()),
        (
            "state",
            format!("{} leaves; {} past states from height {}", report.leaves, report.states, report.lowest_state),
        ),
        ("time", format!("{seconds:.1} s, {rate} blocks/s")),
        ("damages", if count == 0 && files.is_empty() { "none".to_owned() } else { count.to_string() }),
    ];
    let value = json!({
        "head": report.head.0, "headHash": report.head_hash.to_string(), "from": report.from.0, "blocks": report.blocks,
        "finalizations": report.finalizations, "extrinsics": report.extrinsics, "epochs": report.epochs,
        "leaves": report.leaves, "pastStates": report.states, "lowestState": report.lowest_state.0,
        "seconds": seconds, "blocksPerSecond": rate, "damageCount": count, "files": files_json(files),
        "damages": list.iter().map(Found::json).collect::<Vec<_>>(),
    });
    let found: String = list.iter().map(Found::text).collect();
    let left = count.saturating_sub(u64::try_from(list.len()).unwrap_or(u64::MAX));
    let more = if left > 0 { format!("  and {left} more\n") } else { String::new() };
    output.print(&value, &format!("{}{}{found}{more}", table(&facts), files_text(files)))
}
