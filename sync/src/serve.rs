//! The answering side: how much of the finalized chain one request gets.

use cairn_primitives::block::BLOCK_BYTES_MAX;
use cairn_primitives::message::{
    SYNC_BLOCKS_BYTES_MAX, SYNC_BLOCKS_MAX, SYNC_RESPONSE_BYTES_MAX, SyncRequest, SyncResponse,
};
use cairn_primitives::{ArchivedBlock, Certificate, FinalizedBlock, Height};
use parity_scale_codec::Encode;

/// Room for the variant index and the length prefix of an answer, in bytes.
const ENVELOPE_BYTES: usize = 16;

/// Once an answer can be closed it stays below this, in bytes: large answers hold up the others on the connection.
const ANSWER_BYTES_WANTED: usize = BLOCK_BYTES_MAX;

/// Where finalized blocks are read from.
pub trait BlockSource {
    /// Why reading failed.
    type Error;

    /// The height of the last committed block.
    fn head(&self) -> Height;

    /// The block at a height, with its own finalization where it has one; `None` where it is not stored.
    ///
    /// # Errors
    /// The store failed.
    fn finalized_block(&self, height: Height) -> Result<Option<FinalizedBlock>, Self::Error>;

    /// The block's own finalization, where it has one.
    ///
    /// # Errors
    /// The store failed.
    fn finalization(&self, height: Height) -> Result<Option<Certificate>, Self::Error>;

    /// The lowest height from which on all blocks are stored.
    ///
    /// # Errors
    /// The store failed.
    fn lowest(&self) -> Result<Height, Self::Error>;

    /// The encoded events of the block at a height; `None` where it is not stored.
    ///
    /// # Errors
    /// The store failed.
    fn events(&self, height: Height) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// Answers a request.
///
/// Blocks are bounded by the count asked for, [`SYNC_BLOCKS_MAX`] and the size of an answer, and end in a block with its
/// own finalization. Where none of those asked for has one, the answer goes on to the first that has, within the bounds.
/// Archived blocks are bounded in the same way, and end anywhere.
///
/// # Errors
/// The store failed.
pub fn serve<S: BlockSource>(source: &S, request: &SyncRequest) -> Result<SyncResponse, S::Error> {
    match request {
        SyncRequest::Status => status(source),
        SyncRequest::Blocks { from, count } => {
            let blocks = blocks(source, *from, *count)?;
            Ok(if blocks.is_empty() { SyncResponse::Refused } else { SyncResponse::Blocks(blocks) })
        }
        SyncRequest::Archive { last, count } => {
            let blocks = archive(source, *last, *count)?;
            Ok(if blocks.is_empty() { SyncResponse::Refused } else { SyncResponse::Archive(blocks) })
        }
    }
}

/// The highest block with its own finalization; no further back than the longest range one answer can cover.
fn status<S: BlockSource>(source: &S) -> Result<SyncResponse, S::Error> {
    let lowest = source.lowest()?;
    let mut height = source.head();
    for _ in 0..SYNC_BLOCKS_MAX {
        if height == Height::ZERO {
            return Ok(SyncResponse::Status { head: Height::ZERO, finalization: None, lowest });
        }
        if let Some(finalization) = source.finalization(height)? {
            return Ok(SyncResponse::Status { head: height, finalization: Some(finalization), lowest });
        }
        height = height.previous();
    }
    Ok(SyncResponse::Refused)
}

fn blocks<S: BlockSource>(source: &S, from: Height, count: u32) -> Result<Vec<FinalizedBlock>, S::Error> {
    let mut blocks = Vec::new();
    if from == Height::ZERO || count == 0 {
        return Ok(blocks);
    }
    let head = source.head();
    let asked = usize::try_from(count.min(SYNC_BLOCKS_MAX)).unwrap_or(usize::MAX);
    let most = usize::try_from(SYNC_BLOCKS_MAX).unwrap_or(usize::MAX);
    let (mut height, mut bytes, mut closed) = (from, ENVELOPE_BYTES, 0usize);
    // Beyond what was asked for, or is wanted in one answer, only as far as the first block that closes it.
    while height <= head && blocks.len() < most && (closed == 0 || blocks.len() < asked && bytes < ANSWER_BYTES_WANTED)
    {
        let Some(block) = source.finalized_block(height)? else { break };
        bytes = bytes.saturating_add(block.encoded_size());
        if bytes > SYNC_BLOCKS_BYTES_MAX {
            break;
        }
        let closes = block.finalization.is_some();
        blocks.push(block);
        if closes {
            closed = blocks.len();
        }
        height = height.next();
    }
    blocks.truncate(closed);
    Ok(blocks)
}

fn archive<S: BlockSource>(source: &S, last: Height, count: u32) -> Result<Vec<ArchivedBlock>, S::Error> {
    let mut blocks = Vec::new();
    if last > source.head() {
        return Ok(blocks);
    }
    let lowest = source.lowest()?.max(Height(1));
    let (mut height, mut bytes) = (last, ENVELOPE_BYTES);
    for _ in 0..count.min(SYNC_BLOCKS_MAX) {
        if height < lowest || bytes >= ANSWER_BYTES_WANTED {
            break;
        }
        let (Some(finalized), Some(events)) = (source.finalized_block(height)?, source.events(height)?) else { break };
        let FinalizedBlock { block, finalization } = finalized;
        let archived = ArchivedBlock { block, finalization, events };
        bytes = bytes.saturating_add(archived.encoded_size());
        if bytes > SYNC_RESPONSE_BYTES_MAX {
            break;
        }
        blocks.push(archived);
        height = height.previous();
    }
    Ok(blocks)
}
