//! Blocks below those that are here: what a database that began with a snapshot lacks.
//!
//! Nothing is executed. Block, events and finalization are kept and indexed as if the block had been committed here; that
//! they hold was for the caller to verify, that they continue the chain downwards is checked. Each batch says how far down
//! all blocks are here, so that a crash leaves no gap.

use crate::error::LedgerError;
use crate::writer::Ledger;
use cairn_primitives::list_tree::ListAccumulator;
use cairn_primitives::{ArchivedBlock, Hash, Height};
use cairn_runtime::EventRecord;
use cairn_storage::{DatabaseError, DatabaseView, Durability, Table, WriteBatch, blocks};
use parity_scale_codec::{Compact, Decode, Encode};
use std::collections::BTreeSet;

/// The root over an encoded list of events, as a header names it; `None` where the list does not decode or is not encoded
/// as a ledger does it.
#[must_use]
pub fn events_root(events: &[u8]) -> Option<Hash> {
    let mut rest = events;
    let count = Compact::<u32>::decode(&mut rest).ok()?.0;
    let mut list = ListAccumulator::default();
    // One at a time: in memory a record takes up to thirty times its bytes, and they are a peer's.
    for _ in 0..count {
        let from = rest;
        let record = EventRecord::decode(&mut rest).ok()?;
        let bytes = from.get(..from.len().checked_sub(rest.len())?)?;
        if record.encode() != bytes {
            return None;
        }
        list.push(bytes);
    }
    rest.is_empty().then(|| list.root())
}

/// Where the blocks end that are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LowestBlock {
    /// The lowest height from which on all blocks are here.
    pub height: Height,
    /// The hash of the block below.
    pub parent: Hash,
    /// The first height from there on whose block has a finalization of its own.
    pub finalized: Height,
}

/// Where the blocks end; `None` where nothing is missing.
///
/// # Errors
/// The database failed or is damaged.
pub(crate) fn wanted(view: &dyn DatabaseView) -> Result<Option<LowestBlock>, DatabaseError> {
    let height = blocks::lowest_block(view)?;
    if height == Height::ZERO {
        return Ok(None);
    }
    let lost = |table| DatabaseError::Missing { table, reason: format!("height {height}") };
    let parent = blocks::header(view, height)?.ok_or_else(|| lost(Table::Headers))?.parent_hash;
    let (finalized, _) = blocks::finalization_from(view, height)?.ok_or_else(|| lost(Table::Finalizations))?;
    Ok(Some(LowestBlock { height, parent, finalized }))
}

impl Ledger {
    /// Adds blocks right below the lowest one here, highest first, with their events; says what is the lowest one now, 0 once
    /// nothing is missing. On disk at the latest with the next committed block.
    ///
    /// # Errors
    /// The blocks are not those below: nothing was done. The database failed.
    pub fn fill(&mut self, archived: &[ArchivedBlock]) -> Result<Height, LedgerError> {
        let view: &dyn DatabaseView = &*self.database;
        let mut batch = WriteBatch::new();
        let mut below = wanted(view)?.map(|lowest| (lowest.height, lowest.parent));
        let mut seen = BTreeSet::new();
        for ArchivedBlock { block, finalization, events } in archived {
            let (hash, height) = (block.header.hash(), block.header.height());
            let fits = below.is_some_and(|(lowest, parent)| height.next() == lowest && hash == parent);
            if !fits || height == Height::ZERO {
                return Err(LedgerError::NotBelow { hash, height });
            }
            blocks::put_block(&mut batch, &hash, block);
            if let Some(certificate) = finalization {
                blocks::put_finalization(&mut batch, height, certificate);
            }
            blocks::put_events(&mut batch, height, events.clone());
            // The index leads to the last inclusion: to one that is here already, or else to the first met on the way down.
            let count = u32::try_from(block.extrinsics.len()).unwrap_or(u32::MAX);
            for (extrinsic, index) in block.extrinsics.iter().rev().zip((0..count).rev()) {
                let transaction = extrinsic.hash();
                if seen.insert(transaction) && blocks::transaction_location(view, &transaction)?.is_none() {
                    blocks::put_transaction(&mut batch, &transaction, height, index);
                }
            }
            below = Some((height, block.header.parent_hash));
        }
        let Some((lowest, parent)) = below else { return Ok(Height::ZERO) };
        let lowest = if lowest.0 > 1 { lowest } else { Height::ZERO };
        if lowest == Height::ZERO && parent != self.genesis.hash() {
            return Err(LedgerError::NotBelow { hash: parent, height: Height::ZERO });
        }
        blocks::put_lowest_block(&mut batch, lowest);
        self.database.write(batch, Durability::Unsynced)?;
        Ok(lowest)
    }
}
