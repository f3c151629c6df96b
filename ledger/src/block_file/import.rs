//! From a file to a ledger: verified as block sync does, then executed.
//!
//! Blocks are taken in groups that end with a finalization. Every certificate in the file is verified, the blocks between are
//! linked to it by their hashes. Several groups are committed with one sync; the end of an epoch ends such a batch, since the
//! next certificates are by other validators.

use super::{BlockFileError, BlockReader};
use crate::pending::PENDING_BLOCKS_MAX;
use crate::rework::OnStep;
use crate::writer::Ledger;
use cairn_primitives::{Certificate, FinalizedBlock, Hash, Height, Subject};
use std::io::Read;

/// Blocks that are committed with one sync, in number.
const BATCH_BLOCKS: usize = 256;
/// The same in bytes of extrinsics.
const BATCH_BYTES: usize = 8 << 20;

/// What came of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The first block of the file.
    pub first: Height,
    /// The last one.
    pub last: Height,
    /// How many were here already.
    pub skipped: u64,
    /// How many were committed.
    pub imported: u64,
    /// The head afterwards.
    pub head: Height,
}

/// Verifies, executes and commits the blocks of a file; those that are here already are compared and skipped, so that an
/// import that was interrupted goes on where it was.
///
/// # Errors
/// The file is of another chain, damaged, cut short, begins above the next block, or holds a block that is not proved final or
/// breaks a rule; the blocks before are committed.
pub fn import(ledger: &mut Ledger, input: impl Read, on_step: &mut OnStep<'_>) -> Result<Imported, BlockFileError> {
    let reader = ledger.reader();
    let mut file = BlockReader::new(input)?;
    let header = file.header;
    if header.genesis != reader.genesis_hash() {
        return Err(BlockFileError::OtherChain { found: header.genesis, expected: reader.genesis_hash() });
    }
    let start = reader.head().height;
    if header.first > start.next() {
        return Err(BlockFileError::Gap { first: header.first, next: start.next() });
    }
    let total = u64::from(header.last.0.saturating_sub(header.first.0)).saturating_add(1);
    let mut batch = Batch::default();
    let (mut seen, mut skipped) = (0_u64, 0_u64);
    let mut outcome = loop {
        let block = match file.read() {
            Ok(Some(block)) => block,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        seen = seen.saturating_add(1);
        let height = block.block.header.height();
        if height <= start {
            skipped = skipped.saturating_add(1);
            check_same(ledger, &block)?;
        } else {
            batch.push(block);
            let is_end = ledger.reader().schedule().is_closing(height);
            batch.commit_if(ledger, is_end)?;
        }
        on_step(seen, total);
    };
    // What is whole is kept, whatever follows in the file.
    batch.commit_if(ledger, true)?;
    if outcome.is_ok()
        && let Some(open) = batch.blocks.first()
    {
        let reason = "no finalization follows it in the file".to_owned();
        outcome = Err(BlockFileError::NotFinal { height: open.block.header.height(), reason });
    }
    outcome?;
    let head = ledger.reader().head().height;
    let imported = u64::from(head.0.saturating_sub(start.0));
    Ok(Imported { first: header.first, last: header.last, skipped, imported, head })
}

/// Whether a block at or below the head is the one that is here.
fn check_same(ledger: &mut Ledger, block: &FinalizedBlock) -> Result<(), BlockFileError> {
    ledger.import(std::slice::from_ref(block)).map(drop).map_err(BlockFileError::from)
}

/// Blocks on their way, verified up to a place.
#[derive(Default)]
struct Batch {
    blocks: Vec<FinalizedBlock>,
    bytes: usize,
    /// So many blocks are followed by a finalization among them.
    covered: usize,
}

impl Batch {
    fn push(&mut self, block: FinalizedBlock) {
        let bytes = block.block.extrinsics.iter().fold(0_usize, |sum, one| sum.saturating_add(one.bytes().len()));
        self.bytes = self.bytes.saturating_add(bytes);
        let is_covered = block.finalization.is_some();
        self.blocks.push(block);
        if is_covered {
            self.covered = self.blocks.len();
        }
    }

    /// Commits the covered blocks if there are enough, or if `is_end`.
    fn commit_if(&mut self, ledger: &mut Ledger, is_end: bool) -> Result<(), BlockFileError> {
        let is_full = self.blocks.len() >= BATCH_BLOCKS || self.bytes >= BATCH_BYTES;
        if self.covered == 0 && self.blocks.len() >= PENDING_BLOCKS_MAX {
            let height = self.blocks.first().map_or(Height::ZERO, |first| first.block.header.height());
            let reason = format!("{PENDING_BLOCKS_MAX} blocks follow without a finalization");
            return Err(BlockFileError::NotFinal { height, reason });
        }
        if self.covered == 0 || !(is_full || is_end) {
            return Ok(());
        }
        let rest = self.blocks.split_off(self.covered);
        let blocks = std::mem::replace(&mut self.blocks, rest);
        self.covered = 0;
        self.bytes = 0;
        verify(ledger, &blocks)?;
        ledger.import(&blocks)?;
        Ok(())
    }
}

/// Verifies blocks of the running epoch, the last of which has a finalization: every certificate, and the hashes from it down.
fn verify(ledger: &Ledger, blocks: &[FinalizedBlock]) -> Result<(), BlockFileError> {
    let reader = ledger.reader();
    let (epoch, genesis) = (reader.current_epoch(), reader.genesis_hash());
    let mut expected: Option<Hash> = None;
    for entry in blocks.iter().rev() {
        let header = &entry.block.header;
        let (hash, height) = (header.hash(), header.height());
        let refuse = |reason: String| BlockFileError::NotFinal { height, reason };
        if let Some(expected) = expected.filter(|expected| *expected != hash) {
            return Err(refuse(format!("its hash is {hash}, the next block names {expected}")));
        }
        if let Some(certificate) = &entry.finalization {
            let Certificate { subject: Subject::Finalize(proposal), .. } = certificate else {
                return Err(refuse("its certificate is not a finalization".into()));
            };
            if proposal.block != hash {
                return Err(refuse(format!("its certificate is about block {}", proposal.block)));
            }
            if proposal.epoch != epoch.epoch {
                return Err(refuse(format!("its certificate is of epoch {}, not {}", proposal.epoch, epoch.epoch)));
            }
            certificate.verify(&epoch.validators, &genesis).map_err(|error| refuse(error.to_string()))?;
        }
        if entry.block.extrinsics_root() != header.extrinsics_root {
            return Err(refuse("its extrinsics are not those of its header".into()));
        }
        expected = Some(header.parent_hash);
    }
    Ok(())
}
