//! The `FORMAT` file: says whose directory it is and which version of the formats it has, before RocksDB touches it.

use crate::error::OpenError;
use crate::value_files::EXTENSION;
use cairn_storage::table::FORMAT_VERSION;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

const FILE: &str = "FORMAT";
/// The first format there was.
const FORMAT_FIRST: u32 = 1;
/// What the file says before the version.
const TITLE: &str = "cairn database format ";

/// Whether a directory is a database of this program, of whatever version.
#[must_use]
pub fn is_database(path: &Path) -> bool {
    path.join(FILE).is_file()
}

/// Checks the directory, or makes it a database directory if it is new or empty.
///
/// # Errors
/// The directory is foreign, newer, damaged or inaccessible.
pub(crate) fn check_or_create(path: &Path) -> Result<(), OpenError> {
    let inaccessible = OpenError::inaccessible(path);
    fs::create_dir_all(path).map_err(inaccessible)?;
    match fs::read_to_string(path.join(FILE)) {
        Ok(text) => {
            check(path, &text)?;
            check_complete(path).map_err(inaccessible)?.map_or(Ok(()), Err)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if fs::read_dir(path).map_err(inaccessible)?.next().is_some() {
                return Err(OpenError::Foreign { path: path.into() });
            }
            create(path).map_err(inaccessible)
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(OpenError::Damaged { path: path.into(), reason: format!("{FILE} is not text") })
        }
        Err(error) => Err(inaccessible(error)),
    }
}

fn check(path: &Path, text: &str) -> Result<(), OpenError> {
    let version = text.strip_prefix(TITLE).and_then(|version| version.trim_end().parse::<u32>().ok());
    match version {
        Some(FORMAT_VERSION) => Ok(()),
        Some(found) if found > FORMAT_VERSION => {
            Err(OpenError::Newer { path: path.into(), found, known: FORMAT_VERSION })
        }
        Some(found @ FORMAT_FIRST..) => Err(OpenError::Older { path: path.into(), found, known: FORMAT_VERSION }),
        Some(_) | None => {
            let reason = format!("{FILE} does not name a format version that exists");
            Err(OpenError::Damaged { path: path.into(), reason })
        }
    }
}

/// RocksDB takes a directory without `CURRENT` for a new one and deletes the tables in it, and then nobody knows the value files:
/// that is refused here.
fn check_complete(path: &Path) -> io::Result<Option<OpenError>> {
    if path.join("CURRENT").exists() {
        return Ok(None);
    }
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if Path::new(&name).extension().is_some_and(|extension| extension == "sst" || extension == EXTENSION) {
            let reason = "the file CURRENT is missing".to_owned();
            return Ok(Some(OpenError::Damaged { path: path.into(), reason }));
        }
    }
    Ok(None)
}

/// Writes the file under another name first: a crash leaves it whole or absent.
fn create(path: &Path) -> io::Result<()> {
    let temporary = path.join("FORMAT.new");
    let mut file = File::create(&temporary)?;
    writeln!(file, "{TITLE}{FORMAT_VERSION}")?;
    file.sync_all()?;
    fs::rename(&temporary, path.join(FILE))?;
    File::open(path)?.sync_all()
}
