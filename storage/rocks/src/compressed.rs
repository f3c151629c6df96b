//! Long values that are compressed before they are logged.
//!
//! The engine compresses files, and log and write buffers get all there is: of the events of a large block three times as many
//! bytes as they amount to, which are copied, checked and synced before the block is committed. So those are compressed here.
//! Short values are left to the engine, which compresses them with their neighbours.
//!
//! The record: how it is stored (u8), 0 as it is, 1 compressed; of a compressed value the length (u32, big-endian) and a frame of
//! Zstandard (RFC 8878), otherwise the value.

use cairn_storage::{DatabaseError, Table};
use std::io;

const AS_IS: u8 = 0;
const COMPRESSED: u8 = 1;
/// Shorter values are stored as they are, in bytes: the engine's blocks are that long.
const LENGTH_MIN: usize = 16 << 10;
/// Longer ones, too: what is made of a damaged record has a bound, in bytes.
const LENGTH_MAX: usize = 256 << 20;
/// Of events of transfers this leaves a third, as the levels above it do, in the least time.
const LEVEL: i32 = -1;

/// Whether values of a table are compressed before they are logged.
pub(crate) const fn has(table: Table) -> bool {
    matches!(table, Table::Events)
}

/// The record of a value.
pub(crate) fn pack(value: &[u8]) -> Result<Vec<u8>, DatabaseError> {
    let length = u32::try_from(value.len()).ok().filter(|_| (LENGTH_MIN..=LENGTH_MAX).contains(&value.len()));
    let Some(length) = length else { return Ok([&[AS_IS], value].concat()) };
    let failed = |error: io::Error| DatabaseError::Engine { operation: "compress", reason: error.to_string() };
    let frame = zstd::bulk::compress(value, LEVEL).map_err(failed)?;
    Ok([&[COMPRESSED][..], &length.to_be_bytes(), &frame].concat())
}

/// The value of a record; the error says what is wrong with it.
pub(crate) fn unpack(record: &[u8]) -> Result<Vec<u8>, String> {
    let (kind, rest) = record.split_first().ok_or("the record is empty")?;
    match *kind {
        AS_IS => Ok(rest.to_vec()),
        COMPRESSED => {
            let (length, frame) = rest.split_first_chunk().ok_or("the compressed value has no length")?;
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

    #[test]
    fn values_of_all_lengths_come_back_and_long_ones_are_short() {
        for length in [0, 1, LENGTH_MIN - 1, LENGTH_MIN, LENGTH_MIN + 1, 1 << 20] {
            let value = value(length);
            let record = pack(&value).unwrap();
            assert_eq!(unpack(&record).unwrap(), value);
            assert_eq!(record.len() < length, length >= LENGTH_MIN, "{length}");
        }
    }

    #[test]
    fn damaged_records_are_refused_with_a_reason() {
        let record = pack(&value(LENGTH_MIN)).unwrap();
        let refused = |record: &[u8]| unpack(record).unwrap_err();
        assert!(refused(&[]).contains("empty"));
        assert!(refused(&[2]).contains("unknown way"));
        assert!(refused(&record[..4]).contains("no length"));
        assert!(refused(&record[..record.len() - 1]).contains("cannot be decompressed"));
        assert!(refused(&[&[COMPRESSED], &u32::MAX.to_be_bytes()[..], &record[5..]].concat()).contains("at most"));
        let [longer, shorter] =
            [LENGTH_MIN + 1, LENGTH_MIN - 1].map(|length| u32::try_from(length).unwrap().to_be_bytes());
        assert!(refused(&[&[COMPRESSED], &longer[..], &record[5..]].concat()).contains("is said to have"));
        assert!(refused(&[&[COMPRESSED], &shorter[..], &record[5..]].concat()).contains("cannot be decompressed"));
    }
}
