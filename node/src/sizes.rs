//! What a database takes on disk, as data.

use cairn_storage::table::FORMAT_VERSION;
use cairn_storage_rocks::{DirectoryStats, TableStats};
use serde_json::{Map, Value, json};

/// The tables with their records and files, and the bytes of all files by what they are.
#[must_use]
pub fn to_fields(tables: &[TableStats], directory: &DirectoryStats) -> Map<String, Value> {
    let rows = tables.iter().map(|one| {
        json!({
            "name": one.table.name(), "recordsEstimate": one.records_estimate, "files": one.files, "bytes": one.bytes,
        })
    });
    let rows: Vec<_> = rows.collect();
    [
        ("format", json!(FORMAT_VERSION)),
        ("tables", json!(rows)),
        ("tableFileBytes", json!(directory.tables)),
        ("logBytes", json!(directory.logs)),
        ("otherBytes", json!(directory.other)),
        ("totalBytes", json!(directory.total())),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
