//! The file beside a consensus key in which everything is written that was signed with it: the vote guard's own record.
//!
//! ```text
//! file  = "CAIRN-VOTES-1\n" key (32 bytes) frame*
//! frame = length of the entry (u32, little-endian) ‖ first 4 bytes of SHA-256(entry) ‖ entry (SCALE)
//! ```
//! It lies apart from the database, so that a database that is lost or restored from a backup takes no vote with it. A
//! turn's entries are appended and synced before any of its votes leaves the process. A torn tail is cut off: what it held
//! never left. Damage before the tail, a missing file, and a file of another chain are told apart. When the file has grown
//! past [`COMPACT_BYTES`] it is written anew with what still binds.

#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use crate::exit::{ExitContext as _, ExitKind, Failure};
use cairn_consensus::JournalRecord;
use cairn_primitives::hash::sha256;
use cairn_primitives::{Hash, PublicKey};
use parity_scale_codec::{Decode, DecodeAll as _, Encode};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// The first bytes of the file.
const MAGIC: &[u8] = b"CAIRN-VOTES-1\n";

/// The ending of the file's name, in place of the key file's.
const EXTENSION: &str = "votes";

/// An entry is a vote or less, in bytes.
const ENTRY_BYTES_MAX: usize = 1024;

/// A crash tears no more than what one turn appends, in bytes.
const TORN_BYTES_MAX: usize = 64 * 1024;

/// From this size on the file is written anew, in bytes.
const COMPACT_BYTES: u64 = 1024 * 1024;

/// A larger file is not one of ours, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// One entry of the file.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
enum Entry {
    /// The chain that the votes are for, by its genesis hash; written when the key is first used.
    #[codec(index = 0)]
    Chain(Hash),
    /// A record of the guard.
    #[codec(index = 1)]
    Record(JournalRecord),
}

/// The record of one key for one chain.
#[derive(Debug)]
pub struct VoteRecord {
    path: PathBuf,
    key: PublicKey,
    genesis: Hash,
    /// `None` until the first vote after the record was lost.
    file: Option<File>,
    bytes: u64,
}

/// What was found of a record.
#[derive(Debug)]
pub enum Found {
    /// Everything that was signed and may still bind.
    Records(Vec<JournalRecord>),
    /// There is no file: what was signed is not known.
    Lost,
}

/// The file of the record that belongs to a key file.
#[must_use]
pub fn path_beside(key_file: &Path) -> PathBuf {
    key_file.with_extension(EXTENSION)
}

/// Makes the empty record of a key that never signed anything; one that exists is left as it is.
///
/// # Errors
/// The file cannot be written.
pub fn create(path: &Path, key: &PublicKey) -> anyhow::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let cannot = || format!("cannot write the vote record {}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).exit_with(ExitKind::Key, cannot())?;
    }
    write_whole(path, key, &[]).map(drop).exit_with(ExitKind::Key, cannot())
}

impl VoteRecord {
    /// Opens the record of `key` for the chain of `genesis`.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or belongs to another key or chain.
    pub fn open(path: &Path, key: PublicKey, genesis: Hash) -> anyhow::Result<(Self, Found)> {
        let mut record = Self { path: path.to_owned(), key, genesis, file: None, bytes: 0 };
        let mut file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((record, Found::Lost)),
            Err(error) => {
                return Err(error).exit_with(ExitKind::Key, format!("cannot open the vote record {}", path.display()));
            }
        };
        record.lock(&file)?;
        let mut bytes = Vec::new();
        std::io::Read::by_ref(&mut file)
            .take(FILE_BYTES_MAX)
            .read_to_end(&mut bytes)
            .exit_with(ExitKind::Key, format!("cannot read the vote record {}", path.display()))?;
        let (entries, whole) = record.parse(&bytes)?;
        let mut records = Vec::with_capacity(entries.len());
        let mut chain = None;
        for entry in entries {
            match entry {
                Entry::Chain(genesis) => chain = Some(genesis),
                Entry::Record(found) => records.push(found),
            }
        }
        record.bytes = u64::try_from(whole).unwrap_or(u64::MAX);
        file.set_len(record.bytes)?;
        file.seek(SeekFrom::End(0))?;
        record.file = Some(file);
        match chain {
            Some(chain) if chain != genesis => Err(record.refuse(&format!("it is of the chain with genesis {chain}"))),
            Some(_) => Ok((record, Found::Records(records))),
            None => {
                record.append_entries(&[Entry::Chain(genesis)])?;
                Ok((record, Found::Records(records)))
            }
        }
    }

    /// One process at a time: two that sign with one key would vote twice.
    fn lock(&self, file: &File) -> anyhow::Result<()> {
        file.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => {
                let message = format!(
                    "another process uses the vote record {}: two nodes with one key would vote twice, stop that one first",
                    self.path.display()
                );
                Failure::new(ExitKind::Key, message).into()
            }
            std::fs::TryLockError::Error(error) => anyhow::Error::from(error),
        })
    }

    /// The entries, and how many bytes they take; the rest is a torn tail.
    fn parse(&self, bytes: &[u8]) -> anyhow::Result<(Vec<Entry>, usize)> {
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| self.refuse("it does not begin as one"))?;
        let rest = rest.strip_prefix(&self.key.0[..]).ok_or_else(|| self.refuse("it is of another key"))?;
        let mut entries = Vec::new();
        let mut at = bytes.len() - rest.len();
        while let Some((entry, length)) = bytes.get(at..).and_then(frame) {
            entries.push(entry);
            at += length;
        }
        if bytes.len() - at > TORN_BYTES_MAX {
            return Err(self.refuse(&format!("it is damaged at byte {at}")));
        }
        Ok((entries, at))
    }

    fn refuse(&self, reason: &str) -> anyhow::Error {
        let message = format!(
            "the vote record {} cannot be used: {reason}. Bring back the file that belongs to this key and chain; or move it \
             away: the validator then votes again once everything it can have voted on is final",
            self.path.display()
        );
        Failure::new(ExitKind::Key, message).into()
    }

    /// Appends records and syncs once.
    ///
    /// # Errors
    /// The file cannot be written; no vote of the turn may leave then.
    pub fn append(&mut self, records: &[JournalRecord]) -> anyhow::Result<()> {
        let entries: Vec<_> = records.iter().cloned().map(Entry::Record).collect();
        if self.file.is_none() {
            return self.rewrite_entries(&entries);
        }
        self.append_entries(&entries)
    }

    /// Whether the file has grown so much that it should be written anew.
    #[must_use]
    pub const fn is_large(&self) -> bool {
        self.bytes > COMPACT_BYTES
    }

    /// Writes the file anew with nothing but these records.
    ///
    /// # Errors
    /// The file cannot be written; the old one is as it was.
    pub fn rewrite(&mut self, records: &[JournalRecord]) -> anyhow::Result<()> {
        let entries: Vec<_> = records.iter().cloned().map(Entry::Record).collect();
        self.rewrite_entries(&entries)
    }

    fn append_entries(&mut self, entries: &[Entry]) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        entries.iter().for_each(|entry| push_frame(&mut bytes, entry));
        if let Some(file) = &mut self.file {
            file.write_all(&bytes)?;
            file.sync_data()?;
        }
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len())?);
        Ok(())
    }

    fn rewrite_entries(&mut self, entries: &[Entry]) -> anyhow::Result<()> {
        let mut all = vec![Entry::Chain(self.genesis)];
        all.extend_from_slice(entries);
        let (file, bytes) = write_whole(&self.path, &self.key, &all)?;
        self.lock(&file)?;
        (self.file, self.bytes) = (Some(file), bytes);
        Ok(())
    }
}

/// Writes a record beside its place, syncs it and moves it there.
fn write_whole(path: &Path, key: &PublicKey, entries: &[Entry]) -> std::io::Result<(File, u64)> {
    let mut bytes = [MAGIC, &key.0[..]].concat();
    entries.iter().for_each(|entry| push_frame(&mut bytes, entry));
    let beside = path.with_extension("votes-new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok((file, u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
}

fn push_frame(bytes: &mut Vec<u8>, entry: &Entry) {
    let entry = entry.encode();
    bytes.extend_from_slice(&u32::try_from(entry.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&checksum(&entry));
    bytes.extend_from_slice(&entry);
}

/// The entry at the beginning of `bytes` and the length of its frame.
fn frame(bytes: &[u8]) -> Option<(Entry, usize)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (expected, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|length| *length <= ENTRY_BYTES_MAX)?;
    let entry = rest.get(..length)?;
    if checksum(entry) != *expected {
        return None;
    }
    Some((Entry::decode_all(&mut &entry[..]).ok()?, length + 8))
}

fn checksum(entry: &[u8]) -> [u8; 4] {
    let [first, second, third, fourth, ..] = sha256(entry).0;
    [first, second, third, fourth]
}

#[cfg(test)]
mod tests;
