//! `cairn db stats`: what is in the database, and what it takes.

use super::Tools;
use crate::output::{Output, table};
use crate::sizes;
use cairn_ledger::rework::kept_heights;
use cairn_storage::table::FORMAT_VERSION;
use cairn_storage_rocks::{DirectoryStats, TableStats};
use serde_json::json;

pub(super) fn run(tools: &Tools, output: Output) -> anyhow::Result<()> {
    let rocks = tools.open()?;
    let (lowest, head) = kept_heights(&*rocks, &tools.genesis).map_err(super::rework_failure)?;
    let tables = rocks.table_stats()?;
    let directory = DirectoryStats::read(&tools.folder)?;
    let cache = tools.config.state.cache_bytes;
    let facts = [
        ("folder", tools.folder.display().to_string()),
        ("chain", format!("{} ({}), genesis {}", tools.spec.name(), tools.spec.id(), tools.genesis.hash())),
        ("format", FORMAT_VERSION.to_string()),
        ("head", head.to_string()),
        ("states kept", format!("{lowest} to {head}")),
        ("state.cache_bytes", cache.to_string()),
        ("table files", bytes(directory.tables)),
        ("logs", bytes(directory.logs)),
        ("other files", bytes(directory.other)),
        ("total", bytes(directory.total())),
    ];
    let mut value = sizes::to_fields(&tables, &directory);
    for (name, field) in [
        ("folder", json!(tools.folder)),
        ("chain", json!(tools.spec.id())),
        ("genesis", json!(tools.genesis.hash().to_string())),
        ("head", json!(head.0)),
        ("lowestState", json!(lowest.0)),
        ("cacheBytes", json!(cache)),
    ] {
        value.insert(name.to_owned(), field);
    }
    output.print(&value.into(), &format!("{}\n{}", table(&facts), rows(&tables)))
}

fn rows(tables: &[TableStats]) -> String {
    let mut text = format!("{:<16}{:>16}{:>8}{:>16}\n", "table", "records (about)", "files", "bytes");
    for one in tables {
        let row = format!("{:<16}{:>16}{:>8}{:>16}\n", one.table.name(), one.records_estimate, one.files, one.bytes);
        text.push_str(&row);
    }
    text
}

/// Bytes as a number, and rounded where that helps.
fn bytes(count: u64) -> String {
    if count < 10 << 20 { count.to_string() } else { format!("{count} ({} MiB)", count >> 20) }
}
