//! Value files: what a large block has written once, and not twice.
//!
//! The engine writes each value to its log and, when its buffers are flushed, to a table file; body, events and diff of a large block are
//! nearly all that a node writes. So the long values of a large batch are appended to files of their table
//! (`bodies-00000001.values`) and synced, and then the engine's batch says where they lie.
//!
//! ```text
//!   long values ──► append, sync ──► engine's batch: pointers, and how far each file is written ──► log, sync
//! ```
//! What lies behind that place is of a batch that a crash took back: the next one writes over it. The engine keeps the places in a
//! table of its own (`value_files`): file name; place (u64), first and last key of the records (each after its length, u16),
//! numbers big-endian. A file that is not in it holds nothing, and is deleted at opening.
//!
//! Files are deleted as a whole, once all their keys lie in a range that was deleted, that is on disk, and no snapshot is older. The last file of a table stays, and
//! records that are deleted or replaced one by one leave their bytes behind: blocks that are taken back, nothing else does that.

use crate::database::{Rocks, engine};
use crate::error::OpenError;
use crate::record::{self, Packed, Pointer};
use cairn_storage::batch::RangeDeletion;
use cairn_storage::{DatabaseError, Durability, Table};
use rocksdb::{ColumnFamily, IteratorMode, WriteBatch};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use twox_hash::XxHash64;

/// The engine's table of value files.
pub(crate) const FAMILY: &str = "value_files";
/// How their names end.
pub(crate) const EXTENSION: &str = "values";
/// A shorter value stays in its record, in bytes.
const VALUE_BYTES_MIN: usize = 4 << 10;
/// So do all where those that are not shorter have fewer bytes together: a file that is synced first costs more than it saves.
const BATCH_BYTES_MIN: usize = 128 << 10;
/// The engine's name for the oldest version that somebody looks at; 0 if nobody does.
const OLDEST_SNAPSHOT: &str = "rocksdb.oldest-snapshot-sequence";

/// A file of a table ends with the batch that brings it to this size, in bytes. Diffs are deleted again, file by file.
const fn file_bytes(table: Table) -> u64 {
    if matches!(table, Table::StateDiffs) { 16 << 20 } else { 256 << 20 }
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// How far it is written.
    pub(crate) end: u64,
    first: Vec<u8>,
    last: Vec<u8>,
}

/// A file whose records are deleted.
#[derive(Debug)]
struct Abandoned {
    path: PathBuf,
    /// The deletion is visible from this version on.
    sequence: u64,
    /// The deletion is not logged, and on disk with the next flush only.
    is_derived: bool,
    is_on_disk: bool,
}

#[derive(Debug, Default)]
struct State {
    extents: BTreeMap<(Table, u32), Extent>,
    /// The last files of tables, open for writing.
    open: BTreeMap<Table, (u32, File)>,
    abandoned: Vec<Abandoned>,
}

/// The value files of a database.
#[derive(Debug)]
pub(crate) struct ValueFiles {
    folder: PathBuf,
    state: Mutex<State>,
}

/// A record with its value as it is stored.
pub(crate) struct Large<'a> {
    pub(crate) table: Table,
    pub(crate) key: &'a [u8],
    pub(crate) value: Packed<'a>,
}

impl ValueFiles {
    /// Compares the files of a folder with what the engine says of them, and deletes those that it does not know.
    pub(crate) fn open(folder: &Path, rocks: &Rocks) -> Result<Self, OpenError> {
        let damaged = |reason: String| OpenError::Damaged { path: folder.to_path_buf(), reason };
        let inaccessible =
            |error: io::Error| OpenError::Inaccessible { path: folder.to_path_buf(), reason: error.to_string() };
        let family = rocks.cf_handle(FAMILY).ok_or_else(|| damaged(format!("table {FAMILY} is missing")))?;
        let mut extents = BTreeMap::new();
        for entry in rocks.iterator_cf(family, IteratorMode::Start) {
            let (key, value) = entry.map_err(|error| damaged(error.to_string()))?;
            let name = String::from_utf8_lossy(&key).into_owned();
            let (Some(file), Some(extent)) = (file_of_name(&name), Extent::decode(&value)) else {
                return Err(damaged(format!("table {FAMILY}: the record of {name} cannot be read")));
            };
            let found = fs::metadata(folder.join(&name)).map_or(0, |found| found.len());
            if found < extent.end {
                return Err(damaged(format!("{name} should have {} bytes, and has {found}", extent.end)));
            }
            extents.insert(file, extent);
        }
        for entry in fs::read_dir(folder).map_err(inaccessible)? {
            let name = entry.map_err(inaccessible)?.file_name();
            let file = name.to_str().and_then(file_of_name);
            if file.is_some_and(|file| !extents.contains_key(&file)) {
                fs::remove_file(folder.join(name)).map_err(inaccessible)?;
            }
        }
        Ok(Self { folder: folder.to_path_buf(), state: Mutex::new(State { extents, ..State::default() }) })
    }

    /// Appends the long values of a batch, if together they are worth it, and syncs them; says where each lies now. Files whose
    /// records all lie in ranges that the batch deletes are abandoned.
    pub(crate) fn change(
        &self,
        records: &[Large<'_>],
        deletions: &[RangeDeletion],
        durability: Durability,
    ) -> Result<Option<Change<'_>>, DatabaseError> {
        let is_long = |own: &&Large<'_>| own.value.bytes.len() >= VALUE_BYTES_MIN;
        let bytes = records.iter().filter(is_long).map(|own| own.value.bytes.len()).fold(0, usize::saturating_add);
        // What is in no log comes again after a crash, and need not be on disk before.
        let appends = bytes >= BATCH_BYTES_MIN && durability != Durability::Derived;
        if !appends && !deletions.iter().any(|deletion| record::has(deletion.table)) {
            return Ok(None);
        }
        let mut change = Change {
            folder: &self.folder,
            state: self.state(),
            pointers: vec![None; records.len()],
            extents: BTreeMap::new(),
            abandoned: Vec::new(),
            durability,
        };
        if appends {
            let failed =
                |error: io::Error| DatabaseError::Engine { operation: "write values", reason: error.to_string() };
            let mut at = 0;
            for own in records.chunk_by(|one, next| one.table == next.table) {
                change.append(own, at).map_err(failed)?;
                at += own.len();
            }
        }
        change.abandon(deletions);
        Ok(Some(change))
    }

    /// Deletions that were written before are on disk: their files are deleted, unless somebody still looks at them.
    pub(crate) fn flushed(&self, rocks: &Rocks) -> Result<(), DatabaseError> {
        let mut state = self.state();
        state.abandoned.iter_mut().for_each(|abandoned| abandoned.is_on_disk = true);
        state.delete_abandoned(rocks)
    }

    /// The name of the file that a pointer of a table leads to.
    pub(crate) fn name(table: Table, pointer: Pointer) -> String {
        name((table, pointer.file))
    }

    /// The files of a table: how many, and their bytes.
    pub(crate) fn size(&self, table: Table) -> (u64, u64) {
        let state = self.state();
        let ends = state.extents.iter().filter(|((of, _), _)| *of == table).map(|(_, extent)| extent.end);
        ends.fold((0, 0), |(files, bytes), end| (files + 1, bytes + end))
    }

    /// Reads values of a table, for which the caller holds a snapshot.
    pub(crate) fn reader(&self, table: Table) -> Reader<'_> {
        Reader { folder: &self.folder, table, open: None }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn delete_abandoned(&mut self, rocks: &Rocks) -> Result<(), DatabaseError> {
        if self.abandoned.is_empty() {
            return Ok(());
        }
        let oldest = rocks.property_int_value(OLDEST_SNAPSHOT).map_err(|error| engine("read", &error))?;
        let oldest = oldest.filter(|oldest| *oldest > 0).unwrap_or(u64::MAX);
        self.abandoned.retain(|abandoned| {
            let is_gone = abandoned.is_on_disk && abandoned.sequence <= oldest;
            // One that cannot be deleted now is deleted at the next opening: the engine does not know it any more.
            is_gone.then(|| fs::remove_file(&abandoned.path));
            !is_gone
        });
        Ok(())
    }
}

/// What a batch does to value files: appended and synced, but not true before the engine's batch is written.
pub(crate) struct Change<'a> {
    folder: &'a Path,
    state: MutexGuard<'a, State>,
    pointers: Vec<Option<Pointer>>,
    extents: BTreeMap<(Table, u32), Extent>,
    abandoned: Vec<(Table, u32)>,
    durability: Durability,
}

impl Change<'_> {
    /// Where the value of a record lies, by its number; none for one that stays in its record.
    pub(crate) fn pointer(&self, number: usize) -> Option<Pointer> {
        self.pointers.get(number).copied().flatten()
    }

    /// Adds to the engine's batch what it says of the files.
    pub(crate) fn put(&self, family: &ColumnFamily, writes: &mut WriteBatch) {
        for (file, extent) in &self.extents {
            writes.put_cf(family, name(*file), extent.encode());
        }
        for file in &self.abandoned {
            writes.delete_cf(family, name(*file));
        }
    }

    /// The engine has written the batch.
    pub(crate) fn written(self, rocks: &Rocks) -> Result<(), DatabaseError> {
        let Self { folder, mut state, extents, abandoned, durability, .. } = self;
        let sequence = rocks.latest_sequence_number();
        state.extents.extend(extents);
        for file in abandoned {
            state.extents.remove(&file);
            state.abandoned.push(Abandoned {
                path: folder.join(name(file)),
                sequence,
                is_derived: durability == Durability::Derived,
                is_on_disk: false,
            });
        }
        if durability == Durability::Synced {
            let logged = state.abandoned.iter_mut().filter(|abandoned| !abandoned.is_derived);
            logged.for_each(|abandoned| abandoned.is_on_disk = true);
        }
        state.delete_abandoned(rocks)
    }

    /// Appends the long values among records of one table, of which the first has this number.
    fn append(&mut self, records: &[Large<'_>], first: usize) -> io::Result<()> {
        let long: Vec<_> = (first..).zip(records).filter(|(_, own)| own.value.bytes.len() >= VALUE_BYTES_MIN).collect();
        let (Some((_, lowest)), Some((_, highest))) = (long.first(), long.last()) else { return Ok(()) };
        let (table, lowest, highest) = (lowest.table, lowest.key, highest.key);
        let last = self.state.extents.range((table, 0)..=(table, u32::MAX)).next_back();
        let last = last.map(|((_, number), extent)| (*number, extent.clone()));
        let (number, mut extent) = match last {
            Some((number, extent)) if extent.end < file_bytes(table) => (number, extent),
            last => {
                let number = last.map_or(0, |(number, _)| number).checked_add(1);
                let number =
                    number.ok_or_else(|| io::Error::other(format!("table {table} has no file number left")))?;
                (number, Extent { end: 0, first: lowest.to_vec(), last: highest.to_vec() })
            }
        };
        let mut slices = Vec::with_capacity(long.len());
        for (at, own) in &long {
            let bytes: &[u8] = &own.value.bytes;
            let length = u32::try_from(bytes.len())
                .map_err(|_| io::Error::other(format!("a value of table {table} has 4 GiB or more")))?;
            let pointer = Pointer { file: number, start: extent.end, length, checksum: XxHash64::oneshot(0, bytes) };
            if let Some(place) = self.pointers.get_mut(*at) {
                *place = Some(pointer);
            }
            extent.end += u64::from(length);
            slices.push(IoSlice::new(bytes));
        }
        let start = long.first().and_then(|(at, _)| self.pointer(*at)).map_or(0, |pointer| pointer.start);
        let mut file = self.open(table, number)?;
        file.seek(SeekFrom::Start(start))?;
        write_all(&mut file, &mut slices)?;
        file.sync_data()?;
        extent.first = extent.first.min(lowest.to_vec());
        extent.last = extent.last.max(highest.to_vec());
        self.extents.insert((table, number), extent);
        Ok(())
    }

    /// The last file of a table, which is made if it is not there.
    fn open(&mut self, table: Table, number: u32) -> io::Result<&File> {
        let is_open = self.state.open.get(&table).is_some_and(|(open, _)| *open == number);
        if !is_open {
            let path = self.folder.join(name((table, number)));
            let is_new = !path.exists();
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
            if is_new {
                File::open(self.folder)?.sync_all()?;
            }
            self.state.open.insert(table, (number, file));
        }
        let open = self.state.open.get(&table).map(|(_, file)| file);
        open.ok_or_else(|| io::Error::other("the file is not open"))
    }

    /// Leaves files of which all records are deleted. The last one of a table takes what comes next.
    fn abandon(&mut self, deletions: &[RangeDeletion]) {
        for RangeDeletion { table, start, end } in deletions {
            let mut own: Vec<_> = self.state.extents.range((*table, 0)..=(*table, u32::MAX)).collect();
            own.pop();
            let covered = own.into_iter().filter(|(_, extent)| *start <= extent.first && extent.last < *end);
            self.abandoned.extend(covered.map(|(file, _)| *file));
        }
        self.abandoned.sort_unstable();
        self.abandoned.dedup();
    }
}

/// Reads values of one table; keeps the last file open.
pub(crate) struct Reader<'a> {
    folder: &'a Path,
    table: Table,
    open: Option<(u32, File)>,
}

impl Reader<'_> {
    /// The bytes that a pointer leads to.
    ///
    /// # Errors
    /// A text that names the file and says what is wrong with it.
    pub(crate) fn read(&mut self, pointer: Pointer) -> Result<Vec<u8>, String> {
        let name = ValueFiles::name(self.table, pointer);
        let of_file = |error: io::Error| format!("{name}: {error}");
        let file = match &mut self.open {
            Some((number, file)) if *number == pointer.file => &*file,
            open => &open.insert((pointer.file, File::open(self.folder.join(&name)).map_err(of_file)?)).1,
        };
        let Pointer { start, length, checksum, .. } = pointer;
        let end = start.saturating_add(u64::from(length));
        let found = file.metadata().map_err(of_file)?.len();
        if found < end {
            return Err(format!("{name} should have {end} bytes at least, and has {found}"));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, start).map_err(of_file)?;
        if XxHash64::oneshot(0, &bytes) != checksum {
            return Err(format!("{name}: the checksum of {length} bytes at {start} does not fit"));
        }
        Ok(bytes)
    }
}

impl Extent {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.end.to_be_bytes().to_vec();
        for key in [&self.first, &self.last] {
            // No table has longer keys: those of diffs have four bytes and a storage key.
            bytes.extend(u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend_from_slice(key);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (end, rest) = bytes.split_first_chunk()?;
        let key = |rest: &[u8]| -> Option<(Vec<u8>, usize)> {
            let (length, rest) = rest.split_first_chunk()?;
            let key = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
            Some((key.to_vec(), size_of::<u16>() + key.len()))
        };
        let (first, taken) = key(rest)?;
        let rest = rest.get(taken..)?;
        let (last, taken) = key(rest)?;
        (taken == rest.len()).then_some(Self { end: u64::from_be_bytes(*end), first, last })
    }
}

fn name((table, number): (Table, u32)) -> String {
    format!("{table}-{number:08}.{EXTENSION}")
}

fn file_of_name(text: &str) -> Option<(Table, u32)> {
    let (stem, number) = text.strip_suffix(EXTENSION)?.strip_suffix('.')?.rsplit_once('-')?;
    let table = Table::ALL.into_iter().find(|table| table.name() == stem)?;
    Some((table, number.parse().ok()?)).filter(|file| name(*file) == text)
}

fn write_all(file: &mut &File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
