//! The records of a copy: picked by table and place, changed, and put on disk.

use crate::chain::EPOCH_LENGTH;
use anyhow::{Context as _, ensure};
use cairn_primitives::Height;
use cairn_storage::damage::shown_key;
use cairn_storage::{Database, DatabaseView, Direction, Durability, KeyRange, Record, Table, WriteBatch, blocks};
use cairn_storage_rocks::{RocksDatabase, RocksOptions};
use std::path::Path;

/// A record to damage.
pub(super) struct Picked {
    pub(super) table: Table,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// What a check must say of its place.
    pub(super) place: String,
}

/// The database of a copy, open.
pub(super) struct Records {
    rocks: RocksDatabase,
    head: Height,
}

impl Records {
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let rocks = RocksDatabase::open(folder, RocksOptions::default())?;
        let head = blocks::head(&rocks)?.context("a whole database has a head")?.height;
        Ok(Self { rocks, head })
    }

    pub(super) const fn head(&self) -> Height {
        self.head
    }

    pub(super) fn view(&self) -> &dyn DatabaseView {
        &self.rocks
    }

    /// The height after this share of the chain, in thousandths.
    pub(super) fn height(&self, permille: u32) -> Height {
        Height(u32::try_from(u64::from(self.head.0) * u64::from(permille) / 1_000).unwrap_or(self.head.0))
    }

    /// The record of a table that belongs to a height, or that lies after this share of the keys.
    pub(super) fn pick(&self, table: Table, permille: u32) -> anyhow::Result<Picked> {
        let height = self.height(permille);
        let place = format!("height {height}");
        let key = match table {
            Table::Headers | Table::Bodies | Table::Hashes | Table::Events | Table::StateDiffs => {
                height.0.to_be_bytes().to_vec()
            }
            Table::Heights => blocks::hash_of(&self.rocks, height)?.context("a hash")?.0.to_vec(),
            Table::Transactions => self.extrinsic(height)?,
            // Others may be covered by a descendant's.
            Table::Finalizations => return self.next(table, last_of_epoch(height).0.to_be_bytes().to_vec(), 0),
            Table::Meta => b"head".to_vec(),
            Table::ValidatorSets | Table::PendingBlocks | Table::Journal => return self.middle(table),
            Table::StatePages | Table::StateKeys | Table::StateNodes | Table::StateHistory => {
                return self.next(table, self.share_of_keys(table, permille)?, 0);
            }
        };
        let place = if table == Table::Meta { "head".to_owned() } else { place };
        let value = self.rocks.get(table, &key)?.with_context(|| format!("table {table} has no record of {place}"))?;
        Ok(Picked { table, key, value, place })
    }

    /// A record of `meta` by its name.
    pub(super) fn meta(&self, name: &str) -> anyhow::Result<Picked> {
        let key = name.as_bytes().to_vec();
        let value = self.rocks.get(Table::Meta, &key)?.with_context(|| format!("no record {name}"))?;
        Ok(Picked { table: Table::Meta, key, value, place: String::new() })
    }

    fn extrinsic(&self, height: Height) -> anyhow::Result<Vec<u8>> {
        let body = blocks::body(&self.rocks, height)?.context("a body")?;
        // The first is the block's own and may be the same elsewhere.
        Ok(body.last().context("an extrinsic")?.hash().0.to_vec())
    }

    /// A key of the state whose value lies beside it, being too long for a page.
    pub(super) fn long_value(&self) -> anyhow::Result<Picked> {
        self.next(Table::StateKeys, Vec::new(), 1)
    }

    /// The first record from a key on whose value has some bytes at least.
    fn next(&self, table: Table, start: Vec<u8>, bytes_min: usize) -> anyhow::Result<Picked> {
        let mut range = KeyRange::from(start);
        loop {
            let records = self.rocks.scan(table, &range, Direction::Forward, 256)?;
            let last = records.last().with_context(|| format!("table {table} ends"))?.0.clone();
            if let Some(record) = records.into_iter().find(|(_, value)| value.len() >= bytes_min) {
                return Ok(Picked { place: place_of(table, &record.0), table, key: record.0, value: record.1 });
            }
            range.start = [last.as_slice(), &[0]].concat();
        }
    }

    fn middle(&self, table: Table) -> anyhow::Result<Picked> {
        let records: Vec<Record> = self.rocks.scan(table, &KeyRange::all(), Direction::Forward, usize::MAX)?;
        let count = records.len();
        let (key, value) = records.into_iter().nth(count / 2).with_context(|| format!("table {table} is empty"))?;
        Ok(Picked { place: place_of(table, &key), table, key, value })
    }

    /// A key between the first and the last of a table, by the first byte in which these differ.
    fn share_of_keys(&self, table: Table, permille: u32) -> anyhow::Result<Vec<u8>> {
        let end = |direction| self.rocks.scan(table, &KeyRange::all(), direction, 1);
        let (first, last) = (end(Direction::Forward)?, end(Direction::Backward)?);
        let (Some((first, _)), Some((last, _))) = (first.first(), last.first()) else {
            anyhow::bail!("table {table} is empty");
        };
        let common = first.iter().zip(last).take_while(|(first, last)| first == last).count();
        let byte = |key: &[u8]| u32::from(key.get(common).copied().unwrap_or_default());
        let (low, high) = (byte(first), byte(last));
        let mut key = first.get(..common).unwrap_or_default().to_vec();
        key.push(u8::try_from(low + high.saturating_sub(low) * permille / 1_000)?);
        Ok(key)
    }

    /// The files in which a record lies, and stays: what the opening put on disk may have set off a merge.
    pub(super) fn files_of(&self, picked: &Picked) -> anyhow::Result<Vec<String>> {
        self.rocks.wait_for_merges()?;
        let files = self.rocks.files_of(picked.table, &picked.key)?;
        ensure!(!files.is_empty(), "no file holds {} of {}", picked.place, picked.table);
        Ok(files.into_iter().map(|name| name.trim_start_matches('/').to_owned()).collect())
    }

    /// Writes what is damaged, into table files.
    pub(super) fn write(&self, batch: WriteBatch) -> anyhow::Result<()> {
        self.rocks.write(batch, Durability::Synced)?;
        Ok(self.rocks.flush()?)
    }

    /// Writes without a flush: the batch is in the log alone.
    pub(super) fn write_to_log(&self, batch: WriteBatch) -> anyhow::Result<()> {
        Ok(self.rocks.write(batch, Durability::Synced)?)
    }
}

/// The last block of the epoch before the one that a height belongs to.
const fn last_of_epoch(height: Height) -> Height {
    Height(height.0 / EPOCH_LENGTH * EPOCH_LENGTH)
}

/// What a check says of a record's place.
fn place_of(table: Table, key: &[u8]) -> String {
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let last = |count: usize| number(key.get(key.len().saturating_sub(count)..).unwrap_or_default());
    match table {
        Table::Headers
        | Table::Bodies
        | Table::Hashes
        | Table::Heights
        | Table::Finalizations
        | Table::Events
        | Table::StateDiffs => format!("height {}", number(key.get(..4).unwrap_or_default())),
        // The record of a block is about the state before it.
        Table::StateNodes => format!("height {}", last(4).saturating_sub(1)),
        Table::StateHistory => format!("height {}", last(4)),
        Table::ValidatorSets => format!("epoch {}", number(key)),
        Table::Journal => format!("epoch {}", number(key.get(..8).unwrap_or_default())),
        Table::Meta | Table::Transactions | Table::StateKeys => shown_key(key),
        // Pages carry no hashes: the whole state is wrong, and not one of them. Which blocks are not final nobody else says.
        Table::StatePages | Table::PendingBlocks => String::new(),
    }
}
