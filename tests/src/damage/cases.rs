//! The list of damages.

use super::copy::{is_table, rewrite};
use super::options::Keeping;
use super::records::{Picked, Records};
use anyhow::{Context as _, ensure};
use cairn_primitives::{Hash, Height};
use cairn_storage::{Table, WriteBatch, blocks};
use parity_scale_codec::Encode as _;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Tables whose records a check looks at one by one, so that several damages do not hide each other, and where in the chain
/// each is damaged, in thousandths.
const BLOCK_TABLES: [(Table, u32); 10] = [
    (Table::Headers, 110),
    (Table::Bodies, 210),
    (Table::Hashes, 310),
    (Table::Heights, 410),
    (Table::Finalizations, 560),
    (Table::Events, 610),
    (Table::Transactions, 710),
    (Table::ValidatorSets, 0),
    (Table::PendingBlocks, 0),
    (Table::Journal, 0),
];

/// What must be found.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// What was done.
    what: &'static str,
    /// Empty for a file, which may be missed by whoever reads it first.
    pub(super) table: String,
    /// What must be said of the place or the file.
    pub(super) places: Vec<String>,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: table `{}`, {}", self.what, self.table, self.places.join(", "))
    }
}

/// Damages the database in a folder; returns what must be found.
type Damage = Box<dyn Fn(&Path) -> anyhow::Result<Vec<Expected>>>;

/// Damages of one copy.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) damage: Damage,
}

/// All cases for a database.
pub(super) fn all(history: Keeping) -> Vec<Case> {
    let case = |name: &str, damage: Damage| Case { name: name.to_owned(), damage };
    let mut cases = vec![
        case("bytes", Box::new(|folder| on_records(folder, "flipped byte in the value", &BLOCK_TABLES, flip_value))),
        case("keys", Box::new(|folder| on_records(folder, "flipped byte in the key", &BLOCK_TABLES, flip_key))),
        case("missing", Box::new(missing)),
        case("surplus", Box::new(surplus)),
        case("roots", Box::new(wrong_roots)),
    ];
    for (table, permille) in state_tables(history) {
        let one = move |what, change: Change| -> Damage {
            Box::new(move |folder| on_records(folder, what, &[(table, permille)], change))
        };
        if table == Table::StateKeys {
            cases.push(case(&format!("bytes-{table}"), Box::new(flip_long_value)));
        } else {
            cases.push(case(&format!("bytes-{table}"), one("flipped byte in the value", flip_value)));
        }
        cases.push(case(&format!("keys-{table}"), one("flipped byte in the key", flip_key)));
        cases.push(case(&format!("missing-{table}"), one("missing record", delete)));
    }
    for name in meta_names(history) {
        cases.push(case(&format!("bytes-meta-{name}"), Box::new(move |folder| flip_meta(folder, name))));
        cases.push(case(&format!("missing-meta-{name}"), Box::new(move |folder| delete_meta(folder, name))));
    }
    cases.push(case("rot", Box::new(|folder| rot(folder, &BLOCK_TABLES))));
    let others = state_tables(history).into_iter().chain([(Table::Meta, 0)]);
    for (table, permille) in others.clone() {
        cases.push(case(&format!("rot-{table}"), Box::new(move |folder| rot(folder, &[(table, permille)]))));
    }
    for (table, permille) in BLOCK_TABLES.into_iter().chain(others) {
        cases.push(case(&format!("cut-{table}"), Box::new(move |folder| cut_table(folder, table, permille))));
    }
    cases.push(case("cut-blob", Box::new(cut_blob)));
    cases.push(case("rot-values", Box::new(rot_values)));
    cases.push(case("cut-values", Box::new(cut_values)));
    cases.push(case("missing-values", Box::new(delete_values)));
    cases.push(case("cut-manifest", Box::new(cut_manifest)));
    cases.push(case("cut-log", Box::new(cut_log)));
    cases.push(case("missing-table-file", Box::new(missing_file)));
    cases.push(case("missing-current", Box::new(missing_current)));
    cases
}

/// Tables that make up the state, and where each is damaged. A check of the past ends at the first block that does not fit.
fn state_tables(history: Keeping) -> Vec<(Table, u32)> {
    let both = [(Table::StatePages, 500), (Table::StateKeys, 500), (Table::StateDiffs, 995)];
    let archive = [(Table::StateHistory, 500), (Table::StateNodes, 500)];
    match history {
        Keeping::Archive => both.into_iter().chain(archive).collect(),
        Keeping::Window => both.to_vec(),
    }
}

/// The records of `meta`.
fn meta_names(history: Keeping) -> Vec<&'static str> {
    let archive = (history == Keeping::Archive).then_some("archive");
    ["head", "chain", "state", "checkpoint"].into_iter().chain(archive).collect()
}

/// What happens to a record.
type Change = fn(&mut WriteBatch, &Picked);

fn on_records(
    folder: &Path,
    what: &'static str,
    tables: &[(Table, u32)],
    change: Change,
) -> anyhow::Result<Vec<Expected>> {
    let records = Records::open(folder)?;
    let mut batch = WriteBatch::new();
    let mut expected = Vec::new();
    for (table, permille) in tables {
        let picked = records.pick(*table, *permille)?;
        change(&mut batch, &picked);
        expected.push(Expected { what, table: table.to_string(), places: vec![picked.place] });
    }
    records.write(batch)?;
    Ok(expected)
}

fn flip_value(batch: &mut WriteBatch, picked: &Picked) {
    let mut value = picked.value.clone();
    turn(&mut value, 2);
    batch.put(picked.table, picked.key.clone(), value);
}

fn flip_key(batch: &mut WriteBatch, picked: &Picked) {
    let mut key = picked.key.clone();
    // Of a height or an epoch, a byte that leads out of the chain: no other record is overwritten.
    if let Some(byte) = key.first_mut() {
        *byte ^= 0x40;
    }
    batch.delete(picked.table, picked.key.clone());
    batch.put(picked.table, key, picked.value.clone());
}

fn delete(batch: &mut WriteBatch, picked: &Picked) {
    batch.delete(picked.table, picked.key.clone());
}

/// Nobody else knows which blocks are not final: all but those.
fn missing(folder: &Path) -> anyhow::Result<Vec<Expected>> {
    let known: Vec<_> = BLOCK_TABLES.into_iter().filter(|(table, _)| *table != Table::PendingBlocks).collect();
    on_records(folder, "missing record", &known, delete)
}

/// Most keys have no value of their own.
fn flip_long_value(folder: &Path) -> anyhow::Result<Vec<Expected>> {
    let records = Records::open(folder)?;
    let (mut batch, picked) = (WriteBatch::new(), records.long_value()?);
    flip_value(&mut batch, &picked);
    records.write(batch)?;
    Ok(vec![Expected {
        what: "flipped byte in the value",
        table: picked.table.to_string(),
        places: vec![picked.place],
    }])
}

/// Records that no block accounts for.
fn surplus(folder: &Path) -> anyhow::Result<Vec<Expected>> {
    let records = Records::open(folder)?;
    let (mut batch, mut expected) = (WriteBatch::new(), Vec::new());
    let above = records.head().next().0.to_be_bytes();
    let mut put = |table: Table, key: Vec<u8>, value: Vec<u8>| {
        let places = vec![cairn_storage::damage::shown_key(&key)];
        batch.put(table, key, value);
        expected.push(Expected { what: "record too many", table: table.to_string(), places });
    };
    for table in [Table::Headers, Table::Bodies, Table::Hashes, Table::Events, Table::Finalizations] {
        put(table, above.to_vec(), records.pick(table, 500)?.value);
    }
    for table in [Table::Heights, Table::Transactions] {
        put(table, vec![7; 32], records.pick(table, 500)?.value);
    }
    put(Table::ValidatorSets, vec![0x40; 8], records.pick(Table::ValidatorSets, 0)?.value);
    put(Table::PendingBlocks, vec![7; 32], records.pick(Table::PendingBlocks, 0)?.value);
    put(Table::Journal, vec![0x40; 16], records.pick(Table::Journal, 0)?.value);
    records.write(batch)?;
    Ok(expected)
}

/// Roots that are not those of what they stand for: in a header, with its hash and without, and in the record of the head.
fn wrong_roots(folder: &Path) -> anyhow::Result<Vec<Expected>> {
    let records = Records::open(folder)?;
    let mut batch = WriteBatch::new();
    let other = |height: Height| -> anyhow::Result<_> {
        let mut header = blocks::header(records.view(), height)?.context("a header")?;
        header.state_root = Hash([0x5a; 32]);
        Ok(header)
    };
    let (alone, forged) = (records.height(330), records.height(660));
    batch.put(Table::Headers, alone.0.to_be_bytes(), other(alone)?.encode());
    // As someone would do it who wants it to look right: the block's hash follows.
    let header = other(forged)?;
    blocks::put_header(&mut batch, &header.hash(), &header);
    let mut head = blocks::head(records.view())?.context("a head")?;
    head.state_root = Hash([0x5a; 32]);
    blocks::put_head(&mut batch, &head);
    records.write(batch)?;
    let expected = |what, table: Table, place: String| Expected { what, table: table.to_string(), places: vec![place] };
    Ok(vec![
        expected("wrong state root in a header", Table::Headers, format!("height {alone}")),
        expected("wrong state root in a header, hash as well", Table::Headers, format!("height {}", forged.next())),
        expected("wrong state root of the head", Table::Meta, "head".to_owned()),
    ])
}

fn flip_meta(folder: &Path, name: &'static str) -> anyhow::Result<Vec<Expected>> {
    let records = Records::open(folder)?;
    let (mut batch, picked) = (WriteBatch::new(), records.meta(name)?);
    let mut value = picked.value.clone();
    // The first byte of the checkpoint's height may make it lower, which only takes longer to open.
    *value.last_mut().context("a value")? ^= 0x10;
    batch.put(Table::Meta, picked.key, value);
    records.write(batch)?;
    Ok(vec![Expected { what: "flipped byte in the value", table: "meta".to_owned(), places: Vec::new() }])
}

fn delete_meta(folder: &Path, name: &'static str) -> anyhow::Result<Vec<Expected>> {
    let records = Records::open(folder)?;
    let mut batch = WriteBatch::new();
    batch.delete(Table::Meta, name.as_bytes());
    records.write(batch)?;
    Ok(vec![Expected { what: "missing record", table: "meta".to_owned(), places: Vec::new() }])
}

/// A byte of a file of each table turned, as a disk does it: the engine's own checksum no longer fits.
fn rot(folder: &Path, tables: &[(Table, u32)]) -> anyhow::Result<Vec<Expected>> {
    let mut expected = Vec::new();
    // The names first: the files are opened no more once one of them is damaged.
    let files = tables.iter().map(|(table, permille)| file_of(folder, *table, *permille));
    for (path, name) in files.collect::<anyhow::Result<Vec<_>>>()? {
        rewrite(&path, |bytes| {
            // Records come first in a file; the small tables have little else.
            turn(bytes, 8);
        })?;
        expected.push(Expected { what: "flipped byte in the file", table: String::new(), places: vec![name] });
    }
    Ok(expected)
}

fn cut_table(folder: &Path, table: Table, permille: u32) -> anyhow::Result<Vec<Expected>> {
    let (path, name) = file_of(folder, table, permille)?;
    cut(&path)?;
    Ok(vec![Expected { what: "file cut short", table: String::new(), places: vec![name] }])
}

/// The file in which a record of a table lies.
fn file_of(folder: &Path, table: Table, permille: u32) -> anyhow::Result<(PathBuf, String)> {
    let records = Records::open(folder)?;
    let picked = records.pick(table, permille)?;
    let name = records.files_of(&picked)?.into_iter().next().context("a file")?;
    drop(records);
    // What the opening wrote is not what is damaged.
    let path = folder.join(&name);
    ensure!(path.is_file(), "{} is no file", path.display());
    Ok((path, name))
}

fn cut_blob(folder: &Path) -> anyhow::Result<Vec<Expected>> {
    let path = largest(folder, |path| path.extension().is_some_and(|extension| extension == "blob"))?;
    cut(&path)?;
    file_expected("file of values cut short", &path)
}

fn rot_values(folder: &Path) -> anyhow::Result<Vec<Expected>> {
    let path = value_file(folder)?;
    rewrite(&path, |bytes| turn(bytes, 2))?;
    file_expected("flipped byte in a value file", &path)
}

fn cut_values(folder: &Path) -> anyhow::Result<Vec<Expected>> {
    let path = value_file(folder)?;
    cut(&path)?;
    file_expected("value file cut short", &path)
}

fn delete_values(folder: &Path) -> anyhow::Result<Vec<Expected>> {
    let path = value_file(folder)?;
    fs::remove_file(&path)?;
    file_expected("value file missing", &path)
}

/// The file with the body of the large block.
fn value_file(folder: &Path) -> anyhow::Result<PathBuf> {
    largest(folder, |path| path.extension().is_some_and(|extension| extension == "values"))
}

fn cut_manifest(folder: &Path) -> anyhow::Result<Vec<Expected>> {
    let path = largest(folder, |path| name(path).starts_with("MANIFEST"))?;
    cut(&path)?;
    file_expected("list of files cut short", &path)
}

/// The last write is in the log alone, and the log ends within it.
fn cut_log(folder: &Path) -> anyhow::Result<Vec<Expected>> {
    let records = Records::open(folder)?;
    let (mut batch, picked) = (WriteBatch::new(), records.pick(Table::Bodies, 900)?);
    batch.put(Table::Bodies, picked.key, picked.value);
    records.write_to_log(batch)?;
    drop(records);
    let path = largest(folder, |path| path.extension().is_some_and(|extension| extension == "log"))?;
    rewrite(&path, |bytes| bytes.truncate(bytes.len().saturating_sub(9)))?;
    file_expected("log cut short", &path)
}

fn missing_file(folder: &Path) -> anyhow::Result<Vec<Expected>> {
    let path = largest(folder, is_table)?;
    fs::remove_file(&path)?;
    file_expected("table file missing", &path)
}

fn missing_current(folder: &Path) -> anyhow::Result<Vec<Expected>> {
    let path = folder.join("CURRENT");
    fs::remove_file(&path)?;
    file_expected("file CURRENT missing", &path)
}

fn file_expected(what: &'static str, path: &Path) -> anyhow::Result<Vec<Expected>> {
    Ok(vec![Expected { what, table: String::new(), places: vec![name(path)] }])
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn largest(folder: &Path, is_meant: impl Fn(&Path) -> bool) -> anyhow::Result<PathBuf> {
    let mut found: Option<(u64, PathBuf)> = None;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let length = entry.metadata()?.len();
        if is_meant(&entry.path()) && found.as_ref().is_none_or(|(most, _)| length > *most) {
            found = Some((length, entry.path()));
        }
    }
    Ok(found.context("there is no such file")?.1)
}

/// Flips a bit of the byte that lies after this part of them, a half or an eighth.
fn turn(bytes: &mut [u8], part: usize) {
    let place = bytes.len() / part;
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 0x10;
    }
}

fn cut(path: &Path) -> anyhow::Result<()> {
    rewrite(path, |bytes| bytes.truncate(bytes.len() * 2 / 3))
}
