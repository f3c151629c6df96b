//! Why a database does not open.

use cairn_storage::ErrorClass;
use std::io;
use std::path::{Path, PathBuf};

/// Why a database did not open; each message names the place and the cure.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The processor has not all that the database was compiled for.
    #[error(
        "this processor has no instruction for checksums (SSE 4.2, PCLMULQDQ): run the node on one made after 2011"
    )]
    Processor,
    /// Another process has it open.
    #[error(
        "the database {} is in use by another process: stop that node, or give this one its own data directory",
        path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// It was written by a later version of this program.
    #[error(
        "the database {} has format {found}, this program knows formats up to {known}: run the newer program that wrote it",
        path.display()
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// It was written by an earlier version of this program, under rules that this one does not know.
    #[error(
        "the database {} has format {found}, this program needs {known} and cannot convert it: run the older program that \
         wrote it, or name a new directory and sync again",
        path.display()
    )]
    Older {
        /// The directory.
        path: PathBuf,
        /// Its format version.
        found: u32,
        /// The version needed.
        known: u32,
    },
    /// The directory holds something else.
    #[error(
        "{} is not a database of this program, and not empty: name an empty or a new directory, or move what is there away",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// Files are missing or corrupted.
    #[error(
        "the database {} is damaged: {reason}; restore the directory from a copy, or delete it and sync again",
        path.display()
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The directory cannot be read or written.
    #[error("the database {} cannot be opened: {reason}; check that it exists, its owner and the free space", path.display())]
    Inaccessible {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

impl OpenError {
    /// What is said where the system refuses something in a directory.
    pub(crate) fn inaccessible(path: &Path) -> impl Fn(io::Error) -> Self + Copy + '_ {
        |error| Self::Inaccessible { path: path.to_path_buf(), reason: error.to_string() }
    }

    /// A node cannot run without its database.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        ErrorClass::Fatal
    }
}
