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
//! table of its own (`value_files`): file name; place (u64), the lowest and the highest key that may be in the file (each after its length, u16),
//! numbers big-endian.
//!
//! Of diffs, which go from the lowest height on, by range, a file is deleted as a whole once all of its keys are gone, that is
//! on disk, and no snapshot is older. The last file of a table stays. Blocks that are taken back leave their bytes behind: those of
//! diffs until pruning passes them, bodies and events for good.

use crate::database::Rocks;
use crate::error::OpenError;
use crate::record::{self, Packed, Pointer};
use cairn_storage::batch::RangeDeletion;
use cairn_storage::{DatabaseError, Durability, Table};
use rocksdb::{ColumnFamily, IteratorMode, Options, WriteBatch};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use twox_hash::XxHash64;

/// The engine's table of value files.
pub(crate) const FAMILY: &str = "value_files";
/// How their names end.
pub(crate) const EXTENSION: &str = "values";
/// A shorter value stays in its record, in bytes.
const VALUE_BYTES_MIN: usize = 4 << 10;
/// So do all of a table where those that are not shorter have fewer bytes together: another file to sync costs more than it saves.
const TABLE_BYTES_MIN: usize = 256 << 10;
/// The engine's name for the oldest version that somebody looks at; 0 if nobody does.
const OLDEST_SNAPSHOT: &str = "rocksdb.oldest-snapshot-sequence";

/// A file takes no more batches from this size on, in bytes.
const FILE_BYTES: u64 = 256 << 20;
/// One of diffs, which are deleted file by file.
const DIFFS_FILE_BYTES: u64 = 16 << 20;

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Extent {
    /// How far it is written.
    end: u64,
    /// No key in the file is lower.
    lowest: Vec<u8>,
    /// None is higher. With a higher `lowest` there is none.
    highest: Vec<u8>,
}

/// A file whose records are deleted.
#[derive(Debug)]
struct Abandoned {
    path: PathBuf,
    /// The deletion is visible from this version on.
    sequence: u64,
    is_on_disk: bool,
}

#[derive(Debug, Default)]
struct State {
    extents: BTreeMap<(Table, u32), Extent>,
    /// The highest number that a file of a table has had, known to the engine or not: none is made twice.
    made: BTreeMap<Table, u32>,
    /// The last files of tables, open for writing.
    open: BTreeMap<Table, (u32, Arc<File>)>,
    abandoned: Vec<Abandoned>,
}

/// Puts a file, or the names in a folder, on disk.
type Sync = fn(&File, &Path) -> io::Result<()>;

/// The value files of a database.
#[derive(Debug)]
pub(crate) struct ValueFiles {
    folder: PathBuf,
    file_bytes: fn(Table) -> u64,
    sync: Sync,
    state: Mutex<State>,
}

/// A record with its value as it is stored.
pub(crate) struct Large<'a> {
    pub(crate) table: Table,
    pub(crate) key: &'a [u8],
    pub(crate) value: Packed<'a>,
}

impl Large<'_> {
    fn is_long(&self) -> bool {
        self.value.bytes.len() >= VALUE_BYTES_MIN
    }

    /// Whether the long values of a table are to lie in its file.
    fn are_worth_it(records: &[Self]) -> bool {
        let long = records.iter().filter(|own| own.is_long()).map(|own| own.value.bytes.len());
        long.fold(0, usize::saturating_add) >= TABLE_BYTES_MIN
    }
}

/// Refuses a folder with value files and a list of the engine's tables without theirs: it would make an empty one.
pub(crate) fn check_known(folder: &Path) -> Result<(), OpenError> {
    let inaccessible = OpenError::inaccessible(folder);
    for entry in fs::read_dir(folder).map_err(inaccessible)? {
        let name = entry.map_err(inaccessible)?.file_name();
        if name.to_str().and_then(file_of_name).is_some() {
            let known = Rocks::list_cf(&Options::default(), folder);
            // What is wrong otherwise, opening tells.
            if known.is_ok_and(|known| !known.iter().any(|family| family == FAMILY)) {
                let reason = format!("the list of tables is without {FAMILY}, and there is {}", name.display());
                return Err(OpenError::Damaged { path: folder.to_path_buf(), reason });
            }
            break;
        }
    }
    Ok(())
}

impl ValueFiles {
    /// Compares the files of a folder with what the engine says of them, and deletes those that were abandoned.
    pub(crate) fn open(folder: &Path, rocks: &Rocks) -> Result<Self, OpenError> {
        let file_bytes = |table| if table == Table::StateDiffs { DIFFS_FILE_BYTES } else { FILE_BYTES };
        let damaged = |reason: String| OpenError::Damaged { path: folder.to_path_buf(), reason };
        let inaccessible = OpenError::inaccessible(folder);
        let family = rocks.cf_handle(FAMILY).ok_or_else(|| damaged(format!("table {FAMILY} is missing")))?;
        let mut extents = BTreeMap::new();
        for entry in rocks.iterator_cf(family, IteratorMode::Start) {
            let (key, value) = entry.map_err(|error| damaged(error.to_string()))?;
            let name = String::from_utf8_lossy(&key).into_owned();
            let (Some(file), Some(extent)) = (file_of_name(&name), Extent::decode(&value)) else {
                return Err(damaged(format!("table {FAMILY}: the record of {name} cannot be read")));
            };
            let found = match fs::metadata(folder.join(&name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(inaccessible(error)),
                found => found.map_or(0, |found| found.len()),
            };
            if found < extent.end {
                return Err(damaged(format!("{name} should have {} bytes, and has {found}", extent.end)));
            }
            extents.insert(file, extent);
        }
        let mut made = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(inaccessible)? {
            let name = entry.map_err(inaccessible)?.file_name();
            let Some(file @ (table, number)) = name.to_str().and_then(file_of_name) else { continue };
            let last = extents.range((table, 0)..=(table, u32::MAX)).next_back().map_or(0, |((_, last), _)| *last);
            // One above the last was made for a batch that a crash took back. It is deleted once later ones are known.
            if number < last && !extents.contains_key(&file) {
                fs::remove_file(folder.join(name)).map_err(inaccessible)?;
            }
            let most: &mut u32 = made.entry(table).or_default();
            *most = number.max(*most);
        }
        let state = Mutex::new(State { extents, made, ..State::default() });
        Ok(Self { folder: folder.to_path_buf(), file_bytes, sync: |file, _| file.sync_all(), state })
    }

    /// Appends the long values of a logged batch, where those of a table are worth it together, and syncs them. Files of which all
    /// records lie in ranges that the batch deletes are abandoned. `None` if there is nothing to do.
    pub(crate) fn change(
        &self,
        records: &[Large<'_>],
        deletions: &[RangeDeletion],
        durability: Durability,
    ) -> Result<Option<Change<'_>>, DatabaseError> {
        // What is in no log may come again or be lost apart from all others: it stays in its records, and keeps its files.
        if durability == Durability::Derived {
            return Ok(None);
        }
        let tables = records.chunk_by(|one, next| one.table == next.table);
        let tables: Vec<_> = tables.map(|own| (own, Large::are_worth_it(own))).collect();
        let appends = tables.iter().any(|(_, is_worth_it)| *is_worth_it);
        if !appends && !deletions.iter().any(|deletion| record::has(deletion.table)) {
            return Ok(None);
        }
        let mut change = Change {
            files: self,
            state: self.state(),
            pointers: Vec::new(),
            extents: BTreeMap::new(),
            abandoned: Vec::new(),
            new: Vec::new(),
            durability,
        };
        deletions.iter().for_each(|deletion| change.trim(deletion));
        if let Err(error) = change.append_all(&tables) {
            // The engine does not know of them, and never will.
            for path in &change.new {
                fs::remove_file(path).ok();
            }
            return Err(DatabaseError::Engine { operation: "write values", reason: error.to_string() });
        }
        Ok(Some(change))
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
    fn of_table(&self, table: Table) -> impl DoubleEndedIterator<Item = (u32, &Extent)> {
        self.extents.range((table, 0)..=(table, u32::MAX)).map(|((_, number), extent)| (*number, extent))
    }

    fn delete_abandoned(&mut self, rocks: &Rocks) {
        if self.abandoned.is_empty() {
            return;
        }
        // Where the engine does not tell, somebody may look at the first version.
        let oldest = match rocks.property_int_value(OLDEST_SNAPSHOT) {
            Ok(Some(0)) => u64::MAX,
            Ok(Some(oldest)) => oldest,
            Ok(None) | Err(_) => 0,
        };
        self.abandoned.retain(|abandoned| {
            let is_gone = abandoned.is_on_disk && abandoned.sequence <= oldest;
            // One that cannot be deleted now is deleted at the next opening: the engine does not know it any more.
            is_gone.then(|| fs::remove_file(&abandoned.path));
            !is_gone
        });
    }
}

/// What a batch does to value files: appended and synced, but not true before the engine's batch is written.
pub(crate) struct Change<'a> {
    files: &'a ValueFiles,
    state: MutexGuard<'a, State>,
    pointers: Vec<Option<Pointer>>,
    extents: BTreeMap<(Table, u32), Extent>,
    abandoned: Vec<(Table, u32)>,
    /// Files that it has made.
    new: Vec<PathBuf>,
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
    pub(crate) fn written(self, rocks: &Rocks) {
        let Self { files, mut state, extents, abandoned, durability, .. } = self;
        let sequence = rocks.latest_sequence_number();
        state.extents.extend(extents);
        for file in abandoned {
            state.extents.remove(&file);
            let path = files.folder.join(name(file));
            state.abandoned.push(Abandoned { path, sequence, is_on_disk: false });
        }
        if durability == Durability::Synced {
            state.abandoned.iter_mut().for_each(|abandoned| abandoned.is_on_disk = true);
        }
        state.delete_abandoned(rocks);
    }

    /// Appends and syncs the long values of tables that are worth it; the others stay in their records.
    fn append_all(&mut self, tables: &[(&[Large<'_>], bool)]) -> io::Result<()> {
        let mut written = Vec::new();
        for (own, is_worth_it) in tables {
            if *is_worth_it {
                written.push(self.append(own)?);
            } else {
                self.pointers.resize(self.pointers.len().saturating_add(own.len()), None);
            }
        }
        sync_all(&written, self.files.sync)
    }

    /// Appends the long values among all records of one table; returns what is not synced.
    fn append(&mut self, records: &[Large<'_>]) -> io::Result<Appended> {
        let mut long = records.iter().filter(|own| own.is_long());
        let first = long.next().ok_or_else(|| io::Error::other("no value is long"))?;
        let (table, lowest, highest) = (first.table, first.key, long.next_back().unwrap_or(first).key);
        let last = self.state.of_table(table).next_back();
        let last = last.map(|(number, extent)| (number, self.extents.get(&(table, number)).unwrap_or(extent)));
        let (number, mut extent) = match last {
            Some((number, extent)) if extent.end < (self.files.file_bytes)(table) => (number, extent.clone()),
            Some(_) | None => {
                let number = self.state.made.get(&table).map_or(0, |number| *number).checked_add(1);
                let number =
                    number.ok_or_else(|| io::Error::other(format!("table {table} has no file number left")))?;
                (number, Extent { end: 0, lowest: lowest.to_vec(), highest: highest.to_vec() })
            }
        };
        extent.lowest = extent.lowest.min(lowest.to_vec());
        extent.highest = extent.highest.max(highest.to_vec());
        if extent.lowest.len().max(extent.highest.len()) > usize::from(u16::MAX) {
            return Err(io::Error::other(format!("a key of table {table} has more than {} bytes", u16::MAX)));
        }
        let start = extent.end;
        let mut slices = Vec::new();
        for own in records {
            if !own.is_long() {
                self.pointers.push(None);
                continue;
            }
            let bytes: &[u8] = &own.value.bytes;
            let length = u32::try_from(bytes.len())
                .map_err(|_| io::Error::other(format!("a value of table {table} has 4 GiB or more")))?;
            let checksum = XxHash64::oneshot(0, bytes);
            self.pointers.push(Some(Pointer { file: number, start: extent.end, length, checksum }));
            extent.end += u64::from(length);
            slices.push(IoSlice::new(bytes));
        }
        let file = self.open(table, number)?;
        (&*file).seek(SeekFrom::Start(start))?;
        write_all(&file, &mut slices)?;
        let bytes = extent.end.saturating_sub(start);
        self.extents.insert((table, number), extent);
        Ok(Appended { file, path: self.files.folder.join(name((table, number))), start, bytes })
    }

    /// The last file of a table, or the one after it, which is made.
    fn open(&mut self, table: Table, number: u32) -> io::Result<Arc<File>> {
        if let Some((open, file)) = self.state.open.get(&table)
            && *open == number
        {
            return Ok(Arc::clone(file));
        }
        let path = self.files.folder.join(name((table, number)));
        let is_new = !self.state.extents.contains_key(&(table, number));
        let file = Arc::new(OpenOptions::new().write(true).create_new(is_new).open(&path)?);
        if is_new {
            self.new.push(path);
            self.state.made.insert(table, number);
            (self.files.sync)(&File::open(&self.files.folder)?, &self.files.folder)?;
        }
        self.state.open.insert(table, (number, Arc::clone(&file)));
        Ok(file)
    }

    /// Takes a range off the lower end of what is in files, before the batch appends to them; abandons those of which nothing is left.
    /// Deletions follow one another, and do not end where files do. The last file of a table takes what comes next.
    fn trim(&mut self, RangeDeletion { table, start, end }: &RangeDeletion) {
        let last = self.state.of_table(*table).next_back().map(|(number, _)| number);
        for (number, before) in self.state.of_table(*table) {
            let file = (*table, number);
            let mut extent = self.extents.get(&file).unwrap_or(before).clone();
            if *start <= extent.lowest && extent.lowest < *end {
                extent.lowest.clone_from(end);
                self.extents.insert(file, extent);
            }
        }
        let is_left = |file: &(Table, u32), extent: &Extent| extent.lowest > extent.highest && Some(file.1) != last;
        let left = self.extents.extract_if((*table, 0)..=(*table, u32::MAX), |file, extent| is_left(file, extent));
        self.abandoned.extend(left.map(|(file, _)| file));
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
        for key in [&self.lowest, &self.highest] {
            // Longer ones are refused before.
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
        let (lowest, taken) = key(rest)?;
        let rest = rest.get(taken..)?;
        let (highest, taken) = key(rest)?;
        (taken == rest.len()).then_some(Self { end: u64::from_be_bytes(*end), lowest, highest })
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

fn write_all(mut file: &File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
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

/// What was written to a file.
struct Appended {
    file: Arc<File>,
    path: PathBuf,
    start: u64,
    bytes: u64,
}

impl Appended {
    /// Puts it on disk, and lets the system use its memory for what is written next: most of it nobody reads soon.
    fn sync(&self, sync: Sync) -> io::Result<()> {
        sync(&self.file, &self.path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display())))?;
        #[cfg(target_os = "linux")]
        if let Some(bytes) = std::num::NonZeroU64::new(self.bytes) {
            // A file system that keeps it in memory loses nothing.
            rustix::fs::fadvise(&self.file, self.start, Some(bytes), rustix::fs::Advice::DontNeed).ok();
        }
        Ok(())
    }
}

/// Syncs files side by side: a disk makes one of it, and takes as long for each where they come one after the other.
fn sync_all(written: &[Appended], sync: Sync) -> io::Result<()> {
    thread::scope(|scope| {
        let mut others = Vec::new();
        for own in written.iter().skip(1) {
            // Where there is no thread to be had, this one does it.
            match thread::Builder::new().spawn_scoped(scope, move || own.sync(sync)) {
                Ok(other) => others.push(other),
                Err(_) => own.sync(sync)?,
            }
        }
        written.first().map_or(Ok(()), |first| first.sync(sync))?;
        let ended = |_| Err(io::Error::other("a sync ended by a panic"));
        others.into_iter().try_for_each(|other| other.join().unwrap_or_else(ended))
    })
}

#[cfg(test)]
mod tests;
