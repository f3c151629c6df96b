//! Files of finalized blocks: written from one database, verified and executed into another.
//!
//! ```text
//!   "cairn blocks\n" ‖ version: u32 ‖ header ‖ record … record ‖ end
//!   header   genesis hash (32) ‖ first height: u32 ‖ last height: u32 ‖ checksum so far (32)
//!   record   length: u32 ‖ SCALE of a finalized block
//!   end      length 0 ‖ checksum (32)
//! ```
//! Numbers are big-endian. The checksum is a chain: it begins with SHA-256 of all before it, and each record makes it SHA-256
//! of the checksum before and the record. It finds damage; what makes a block worth taking is its finalization. The last block
//! carries one, so that every block is covered.
//!
//! A reader holds one block; lengths are refused above [`RECORD_BYTES_MAX`] before anything is reserved.

mod export;
mod import;

pub use export::{Exported, export};
pub use import::{Imported, import};

use crate::error::LedgerError;
use cairn_primitives::block::BLOCK_BYTES_MAX;
use cairn_primitives::certificate::CERTIFICATE_BYTES_MAX;
use cairn_primitives::hash::sha256;
use cairn_primitives::{FinalizedBlock, Hash, Height};
use parity_scale_codec::{DecodeAll, Encode};
use std::io::{ErrorKind, Read, Write};

/// How a file begins.
const TITLE: &[u8; 13] = b"cairn blocks\n";
/// The version of the format.
const VERSION: u32 = 1;
/// The longest record: a block and its certificate, in bytes.
pub const RECORD_BYTES_MAX: usize = BLOCK_BYTES_MAX + CERTIFICATE_BYTES_MAX + 16;

/// Why a file of blocks was not written or read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BlockFileError {
    /// It is something else.
    #[error("this is not a file of blocks: make one with `cairn db export-blocks`")]
    Foreign,
    /// It was written by a later version of this program.
    #[error("the file has format {found}, this program knows {VERSION}: use the newer program that wrote it")]
    Newer {
        /// Its version.
        found: u32,
    },
    /// It is of another chain.
    #[error(
        "the file holds blocks of the chain with genesis {found}, this node's chain is {expected}: use the file of this chain, or the other chain's spec"
    )]
    OtherChain {
        /// In the file.
        found: Hash,
        /// Of the chain spec.
        expected: Hash,
    },
    /// It ends too early.
    #[error(
        "the file ends after block {after}, though it should go up to {last}: copy it again, or export again; the blocks before are imported"
    )]
    CutShort {
        /// The last whole block, or the height before the first.
        after: Height,
        /// What the header promises.
        last: Height,
    },
    /// A record or the checksum is wrong.
    #[error("the file is damaged after block {after}: {reason}; copy it again, or export again")]
    Damaged {
        /// The last whole block.
        after: Height,
        /// What is wrong.
        reason: String,
    },
    /// The range is not in the database.
    #[error("the blocks {from} to {to} were asked for, the database holds 1 to {head}")]
    NoSuchRange {
        /// First.
        from: Height,
        /// Last.
        to: Height,
        /// The head.
        head: Height,
    },
    /// The file begins above the next block.
    #[error("the file begins at height {first}, the next block here is {next}: import the blocks before it first")]
    Gap {
        /// The first block in the file.
        first: Height,
        /// The next one here.
        next: Height,
    },
    /// A block is not final by what the file says.
    #[error("block {height} in the file is not proved final: {reason}; the file is not to be trusted")]
    NotFinal {
        /// The height.
        height: Height,
        /// Why.
        reason: String,
    },
    /// The file cannot be read or written.
    #[error("the file cannot be read or written: {0}")]
    Io(#[from] std::io::Error),
    /// The ledger's own failures.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<cairn_storage::DatabaseError> for BlockFileError {
    fn from(error: cairn_storage::DatabaseError) -> Self {
        Self::Ledger(error.into())
    }
}

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockFileHeader {
    /// The chain.
    pub genesis: Hash,
    /// The first height.
    pub first: Height,
    /// The last height.
    pub last: Height,
}

impl BlockFileHeader {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = TITLE.to_vec();
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&self.genesis.0);
        bytes.extend_from_slice(&self.first.0.to_be_bytes());
        bytes.extend_from_slice(&self.last.0.to_be_bytes());
        bytes
    }
}

fn chained(checksum: Hash, record: &[u8]) -> Hash {
    let mut bytes = Vec::with_capacity(record.len().saturating_add(32));
    bytes.extend_from_slice(&checksum.0);
    bytes.extend_from_slice(record);
    sha256(&bytes)
}

/// Writes blocks one after the other.
struct BlockWriter<W> {
    out: W,
    checksum: Hash,
    bytes: u64,
}

impl<W: Write> BlockWriter<W> {
    fn new(mut out: W, header: BlockFileHeader) -> Result<Self, BlockFileError> {
        let bytes = header.to_bytes();
        let checksum = sha256(&bytes);
        out.write_all(&bytes)?;
        out.write_all(&checksum.0)?;
        let written = u64::try_from(bytes.len()).unwrap_or(u64::MAX).saturating_add(32);
        Ok(Self { out, checksum, bytes: written })
    }

    fn write(&mut self, block: &FinalizedBlock) -> Result<(), BlockFileError> {
        let record = block.encode();
        let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(&record)?;
        self.checksum = chained(self.checksum, &record);
        self.bytes = self.bytes.saturating_add(u64::from(length)).saturating_add(4);
        Ok(())
    }

    /// Writes the end; returns the bytes of the whole file.
    fn finish(mut self) -> Result<u64, BlockFileError> {
        self.out.write_all(&0_u32.to_be_bytes())?;
        self.out.write_all(&self.checksum.0)?;
        self.out.flush()?;
        Ok(self.bytes.saturating_add(36))
    }
}

/// Reads them.
struct BlockReader<R> {
    input: R,
    header: BlockFileHeader,
    checksum: Hash,
    next: Height,
}

impl<R: Read> BlockReader<R> {
    fn new(mut input: R) -> Result<Self, BlockFileError> {
        let mut title = [0; TITLE.len()];
        let mut version = [0; 4];
        read_or(&mut input, &mut title, || BlockFileError::Foreign)?;
        if title != *TITLE {
            return Err(BlockFileError::Foreign);
        }
        read_or(&mut input, &mut version, || BlockFileError::Foreign)?;
        let found = u32::from_be_bytes(version);
        if found != VERSION {
            return Err(if found > VERSION { BlockFileError::Newer { found } } else { BlockFileError::Foreign });
        }
        let (mut genesis, mut first, mut last, mut checksum) = ([0; 32], [0; 4], [0; 4], [0; 32]);
        for part in [&mut genesis[..], &mut first, &mut last, &mut checksum] {
            read_or(&mut input, part, || BlockFileError::Foreign)?;
        }
        let (first, last) = (Height(u32::from_be_bytes(first)), Height(u32::from_be_bytes(last)));
        let header = BlockFileHeader { genesis: Hash(genesis), first, last };
        if sha256(&header.to_bytes()).0 != checksum || first == Height::ZERO || last < first {
            let reason = "its head does not have its own checksum".to_owned();
            return Err(BlockFileError::Damaged { after: Height::ZERO, reason });
        }
        Ok(Self { input, header, checksum: Hash(checksum), next: first })
    }

    /// The next block; `None` after the last one, once the end was found whole.
    fn read(&mut self) -> Result<Option<FinalizedBlock>, BlockFileError> {
        let after = self.next.previous();
        let last = self.header.last;
        let damaged = |reason: String| BlockFileError::Damaged { after, reason };
        let cut = || BlockFileError::CutShort { after, last };
        let mut length = [0; 4];
        read_or(&mut self.input, &mut length, cut)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length == 0 {
            let mut checksum = [0; 32];
            read_or(&mut self.input, &mut checksum, cut)?;
            if checksum != self.checksum.0 {
                return Err(damaged("the blocks do not have the file's checksum".into()));
            }
            return if after == last { Ok(None) } else { Err(cut()) };
        }
        if length > RECORD_BYTES_MAX {
            return Err(damaged(format!("a record of {length} bytes, at most {RECORD_BYTES_MAX} are possible")));
        }
        let mut record = vec![0; length];
        read_or(&mut self.input, &mut record, cut)?;
        self.checksum = chained(self.checksum, &record);
        let block = FinalizedBlock::decode_all(&mut record.as_slice()).map_err(|error| damaged(error.to_string()))?;
        if block.block.header.height() != self.next || self.next > last {
            return Err(damaged(format!("block {} where {} is due", block.block.header.number, self.next)));
        }
        self.next = self.next.next();
        Ok(Some(block))
    }
}

fn read_or(
    input: &mut impl Read,
    buffer: &mut [u8],
    at_end: impl FnOnce() -> BlockFileError,
) -> Result<(), BlockFileError> {
    input
        .read_exact(buffer)
        .map_err(|error| if error.kind() == ErrorKind::UnexpectedEof { at_end() } else { BlockFileError::Io(error) })
}
