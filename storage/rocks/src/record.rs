//! How values of tables of large records are stored: as they are or compressed, in the engine's record or in a value file.
//!
//! The engine compresses files, and log and write buffers get all there is: of the events of a large block three times as many
//! bytes as they amount to, which are copied, checked and synced before the block is committed. So those are compressed here.
//! Short values are left to the engine, which compresses them with their neighbours.
//!
//! A value's bytes follow its *head*: 0 (u8) for the value as it is; 1, the length of the value (u32) and a frame of Zstandard
//! (RFC 8878). The engine's record is head and bytes, or, where the bytes lie in a [value file](crate::value_files): 2 (u8), a
//! [`Pointer`] and the head. All numbers are big-endian.

use cairn_storage::{DatabaseError, Table};
use std::borrow::Cow;
use std::io;

const AS_IS: u8 = 0;
const COMPRESSED: u8 = 1;
const APART: u8 = 2;
/// Shorter values are stored as they are, in bytes: the engine's blocks are that long.
const LENGTH_MIN: usize = 16 << 10;
/// Longer ones, too: what is made of a damaged record has a bound, in bytes.
const LENGTH_MAX: usize = 256 << 20;
/// Of events of transfers this leaves a third, as the levels above it do, in the least time.
const LEVEL: i32 = -1;

/// Whether values of a table are stored in one of these ways; others are the engine's as they are.
pub(crate) const fn has(table: Table) -> bool {
    matches!(table, Table::Bodies | Table::Events | Table::StateDiffs)
}

/// Whether long values of a table are compressed.
const fn is_compressed(table: Table) -> bool {
    matches!(table, Table::Events)
}

/// A value as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Packed<'a> {
    /// The length of the value, if it is compressed.
    length: Option<u32>,
    pub(crate) bytes: Cow<'a, [u8]>,
}

/// Where the bytes of a value lie, if not in its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    /// The number of the table's value file.
    pub(crate) file: u32,
    /// The place of the first byte.
    pub(crate) start: u64,
    /// How many there are.
    pub(crate) length: u32,
    /// Their XXH64 with seed 0.
    pub(crate) checksum: u64,
}

impl<'a> Packed<'a> {
    /// A value of a table, compressed if that is worth it.
    pub(crate) fn new(table: Table, value: &'a [u8]) -> Result<Self, DatabaseError> {
        let length = u32::try_from(value.len()).ok().filter(|_| (LENGTH_MIN..=LENGTH_MAX).contains(&value.len()));
        match length.filter(|_| is_compressed(table)) {
            None => Ok(Self { length: None, bytes: Cow::Borrowed(value) }),
            Some(length) => {
                let failed =
                    |error: io::Error| DatabaseError::Engine { operation: "compress", reason: error.to_string() };
                let frame = zstd::bulk::compress(value, LEVEL).map_err(failed)?;
                Ok(Self { length: Some(length), bytes: Cow::Owned(frame) })
            }
        }
    }

    /// The engine's record, with the bytes if they lie nowhere else.
    pub(crate) fn record(&self, pointer: Option<Pointer>) -> Vec<u8> {
        let mut record = Vec::new();
        if let Some(Pointer { file, start, length, checksum }) = pointer {
            record.push(APART);
            record.extend(file.to_be_bytes());
            record.extend(start.to_be_bytes());
            record.extend(length.to_be_bytes());
            record.extend(checksum.to_be_bytes());
        } else {
            record.reserve_exact(self.bytes.len() + 1 + size_of::<u32>());
        }
        match self.length {
            None => record.push(AS_IS),
            Some(length) => {
                record.push(COMPRESSED);
                record.extend(length.to_be_bytes());
            }
        }
        if pointer.is_none() {
            record.extend_from_slice(&self.bytes);
        }
        record
    }
}

/// Where the bytes of a record lie, if not in it.
///
/// # Errors
/// The record is too short; the text says so.
pub(crate) fn pointer(record: &[u8]) -> Result<Option<Pointer>, String> {
    match record.split_first() {
        Some((&APART, rest)) => Ok(Some(split_pointer(rest)?.0)),
        Some(_) | None => Ok(None),
    }
}

fn split_pointer(rest: &[u8]) -> Result<(Pointer, &[u8]), String> {
    let short = || "the place of the value is cut short".to_owned();
    let (file, rest) = rest.split_first_chunk().ok_or_else(short)?;
    let (start, rest) = rest.split_first_chunk().ok_or_else(short)?;
    let (length, rest) = rest.split_first_chunk().ok_or_else(short)?;
    let (checksum, rest) = rest.split_first_chunk().ok_or_else(short)?;
    let pointer = Pointer {
        file: u32::from_be_bytes(*file),
        start: u64::from_be_bytes(*start),
        length: u32::from_be_bytes(*length),
        checksum: u64::from_be_bytes(*checksum),
    };
    Ok((pointer, rest))
}

/// The value of a record, whose bytes `read` gets if they lie elsewhere.
///
/// # Errors
/// A text that says what is wrong with it.
pub(crate) fn unpack(record: &[u8], read: impl FnOnce(Pointer) -> Result<Vec<u8>, String>) -> Result<Vec<u8>, String> {
    let (kind, rest) = record.split_first().ok_or("the record is empty")?;
    if *kind != APART {
        return unpack_bytes(*kind, rest, None);
    }
    let (pointer, head) = split_pointer(rest)?;
    let (kind, rest) = head.split_first().ok_or("the place of the value is all there is of it")?;
    unpack_bytes(*kind, rest, Some(read(pointer)?))
}

/// The value of a head whose kind was read; its bytes follow, or lie apart.
fn unpack_bytes(kind: u8, rest: &[u8], apart: Option<Vec<u8>>) -> Result<Vec<u8>, String> {
    match kind {
        AS_IS => Ok(apart.unwrap_or_else(|| rest.to_vec())),
        COMPRESSED => {
            let (length, frame) = rest.split_first_chunk().ok_or("the compressed value has no length")?;
            let frame = apart.as_deref().unwrap_or(frame);
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            if length > LENGTH_MAX {
                return Err(format!(
                    "the compressed value is said to have {length} bytes, at most {LENGTH_MAX} are possible"
                ));
            }
            let value = zstd::bulk::decompress(frame, length);
            let value = value.map_err(|error| format!("the value cannot be decompressed: {error}"))?;
            if value.len() != length {
                return Err(format!("the compressed value has {} bytes and is said to have {length}", value.len()));
            }
            Ok(value)
        }
        _ => Err(format!("the value is stored in an unknown way, {kind}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at / 7 % 251).unwrap()).collect()
    }

    fn nowhere(_: Pointer) -> Result<Vec<u8>, String> {
        Err("it lies nowhere else".to_owned())
    }

    #[test]
    fn values_of_all_lengths_come_back_and_long_events_are_short() {
        for table in [Table::Events, Table::Bodies] {
            for length in [0, 1, LENGTH_MIN - 1, LENGTH_MIN, LENGTH_MIN + 1, 1 << 20] {
                let value = value(length);
                let packed = Packed::new(table, &value).unwrap();
                let record = packed.record(None);
                assert_eq!(pointer(&record).unwrap(), None);
                assert_eq!(unpack(&record, nowhere).unwrap(), value);
                assert_eq!(record.len() < length, length >= LENGTH_MIN && table == Table::Events, "{length}");
                let place = Pointer { file: 7, start: 1 << 40, length: 5, checksum: 9 };
                let record = packed.record(Some(place));
                assert!(record.len() < 36);
                assert_eq!(pointer(&record).unwrap(), Some(place));
                let read = |asked| {
                    assert_eq!(asked, place);
                    Ok(packed.bytes.to_vec())
                };
                assert_eq!(unpack(&record, read).unwrap(), value);
                assert_eq!(unpack(&record, nowhere).unwrap_err(), "it lies nowhere else");
            }
        }
    }

    #[test]
    fn damaged_records_are_refused_with_a_reason() {
        let value = value(LENGTH_MIN);
        let packed = Packed::new(Table::Events, &value).unwrap();
        let record = packed.record(None);
        let refused = |record: &[u8]| unpack(record, |_| Ok(Vec::new())).unwrap_err();
        assert!(refused(&[]).contains("empty"));
        assert!(refused(&[3]).contains("unknown way"));
        assert!(refused(&record[..4]).contains("no length"));
        assert!(refused(&record[..record.len() - 1]).contains("cannot be decompressed"));
        assert!(refused(&[&[COMPRESSED], &u32::MAX.to_be_bytes()[..], &record[5..]].concat()).contains("at most"));
        let [longer, shorter] =
            [LENGTH_MIN + 1, LENGTH_MIN - 1].map(|length| u32::try_from(length).unwrap().to_be_bytes());
        assert!(refused(&[&[COMPRESSED], &longer[..], &record[5..]].concat()).contains("is said to have"));
        assert!(refused(&[&[COMPRESSED], &shorter[..], &record[5..]].concat()).contains("cannot be decompressed"));
        let apart = packed.record(Some(Pointer { file: 1, start: 2, length: 3, checksum: 4 }));
        for length in 1..25 {
            assert!(refused(&apart[..length]).contains("cut short"), "{length}");
        }
        assert!(refused(&apart[..25]).contains("all there is"));
        assert!(refused(&[&apart[..25], &[APART]].concat()).contains("unknown way"));
        assert!(refused(&apart).contains("has 0 bytes"));
    }
}
