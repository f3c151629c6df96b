//! Whether files are whole that the engine takes as they are, or does not name.
//!
//! Of log files it takes an unfinished end for a crash, and goes on without it: they are looked at before it opens them. Of a
//! file of values (`….blob`) that ends too early it says only that there is one: they are looked at once it has deleted those
//! that it does not use. Such a file ends with 32 bytes that begin with a number of four (little-endian), always the same.
//!
//! Write-ahead logs and the list of files (`MANIFEST-…`) have one form: blocks of 32 KiB with fragments of records, each after
//! a head of checksum (4), length (2, little-endian) and kind (1): 1 a whole record, 2 its first, 3 a middle, 4 its last part;
//! 5 to 8 the same with four more bytes of head. Checksums are left to the engine, which does not pass over wrong ones.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const BLOCK_BYTES: usize = 32 << 10;
const HEAD_BYTES: usize = 7;
/// The head of the kinds that name their log.
const LONG_HEAD_BYTES: usize = 11;

/// The end of a file of values.
const VALUES_END_BYTES: u64 = 32;
/// What it begins with.
const VALUES_END_MARK: [u8; 4] = 2_395_959_u32.to_le_bytes();

/// A file of the directory that is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDamage {
    /// Its name.
    pub file: String,
    /// What is wrong.
    pub reason: String,
}

/// Checks the ends of the logs and of the list of files in a directory of which no process has a database open.
///
/// # Errors
/// The directory cannot be read.
pub fn check_logs(path: &Path) -> io::Result<Vec<FileDamage>> {
    let mut damages = Vec::new();
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    let current = fs::read_to_string(path.join("CURRENT")).unwrap_or_default();
    for name in names {
        let is_log = name.strip_suffix(".log").is_some_and(|stem| stem.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_log && name != current.trim_end() {
            continue;
        }
        if let Some(at) = cut_at(BufReader::new(File::open(path.join(&name))?))? {
            let what = if is_log { "the last writes are lost" } else { "the list of files is not complete" };
            damages
                .push(FileDamage { file: name, reason: format!("it ends within a record, after byte {at}: {what}") });
        }
    }
    Ok(damages)
}

/// Checks the ends of the files of values in a directory of which this process has the database open.
///
/// # Errors
/// The directory cannot be read.
pub fn check_values(path: &Path) -> io::Result<Vec<FileDamage>> {
    let mut damages = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "blob") && !has_end(&File::open(&file)?)? {
            let file = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            damages.push(FileDamage { file, reason: "its end is missing, and with it values of the state".to_owned() });
        }
    }
    damages.sort_by(|one, other| one.file.cmp(&other.file));
    Ok(damages)
}

fn has_end(file: &File) -> io::Result<bool> {
    let Some(at) = file.metadata()?.len().checked_sub(VALUES_END_BYTES) else { return Ok(false) };
    let mut mark = [0; VALUES_END_MARK.len()];
    file.read_exact_at(&mut mark, at)?;
    Ok(mark == VALUES_END_MARK)
}

/// The end of the last whole record, if the file does not end there.
fn cut_at(mut input: impl Read) -> io::Result<Option<u64>> {
    let mut block = vec![0; BLOCK_BYTES];
    let (mut start, mut whole) = (0_u64, 0_u64);
    let mut is_open = false;
    loop {
        let length = fill(&mut input, &mut block)?;
        let mut at = 0;
        while let Some(head) = block.get(at..length).filter(|rest| rest.len() >= HEAD_BYTES) {
            let (size, kind) = (usize::from(u16::from_le_bytes([head[4], head[5]])), head[6]);
            if kind == 0 && size == 0 {
                // Space that was reserved and not written: nothing follows.
                return Ok(is_open.then_some(whole));
            }
            let head_bytes = if (5..=8).contains(&kind) { LONG_HEAD_BYTES } else { HEAD_BYTES };
            let end = at + head_bytes + size;
            if end > length {
                return Ok(Some(whole));
            }
            at = end;
            is_open = matches!(kind, 2 | 3 | 6 | 7);
            if !is_open {
                whole = start + u64::try_from(at).unwrap_or(u64::MAX);
            }
        }
        if length < BLOCK_BYTES {
            return Ok((is_open || at < length).then_some(whole));
        }
        start += u64::try_from(length).unwrap_or(u64::MAX);
    }
}

fn fill(input: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < block.len() {
        let read = input.read(&mut block[length..])?;
        if read == 0 {
            break;
        }
        length += read;
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::{cut_at, has_end};
    use std::io::Write as _;

    /// A log of records of these sizes, cut into fragments as the engine does.
    fn log(sizes: &[usize]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for size in sizes {
            let (mut left, mut is_first) = (*size, true);
            loop {
                let room = (32 << 10) - bytes.len() % (32 << 10);
                if room < 7 {
                    bytes.extend(vec![0; room]);
                    continue;
                }
                let part = left.min(room - 7);
                left -= part;
                let kind = match (is_first, left == 0) {
                    (true, true) => 1,
                    (true, false) => 2,
                    (false, false) => 3,
                    (false, true) => 4,
                };
                bytes.extend([9; 4]);
                bytes.extend(u16::try_from(part).unwrap().to_le_bytes());
                bytes.push(kind);
                bytes.extend(vec![7; part]);
                is_first = false;
                if left == 0 {
                    break;
                }
            }
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn log_cut_anywhere_but_between_records_is_found() {
        let (bytes, ends) = log(&[10, 40_000, 0, 70_000, 32_000, 3]);
        for length in (0..=bytes.len()).step_by(13).chain(ends.iter().copied()) {
            let whole = ends.iter().copied().filter(|end| *end <= length).max().unwrap_or_default();
            // Padding at the end of a block belongs to no record.
            let is_padding = bytes[whole..length].iter().all(|byte| *byte == 0) && length - whole < 7;
            let expected = (length != whole && !is_padding).then_some(u64::try_from(whole).unwrap());
            let found = cut_at(&bytes[..length]).unwrap();
            assert!(
                found == expected || (is_padding && found == Some(u64::try_from(whole).unwrap())),
                "{length}: {found:?}"
            );
        }
    }

    #[test]
    fn file_of_values_without_its_end_is_found() {
        for (bytes, expected) in [
            (vec![7; 100], false),
            ([vec![7; 68], 2_395_959_u32.to_le_bytes().to_vec(), vec![0; 28]].concat(), true),
            ([vec![7; 68], 2_395_959_u32.to_le_bytes().to_vec(), vec![0; 27]].concat(), false),
            (vec![0; 31], false),
        ] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            assert_eq!(has_end(&file).unwrap(), expected, "{}", bytes.len());
        }
    }
}
