//! From a database to a file.

use super::{BlockFileError, BlockFileHeader, BlockWriter};
use crate::error::LedgerError;
use crate::genesis::Genesis;
use crate::rework::OnStep;
use cairn_primitives::Height;
use cairn_storage::{DatabaseError, DatabaseView, Table, blocks};
use std::io::Write;

/// What a file got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The first block.
    pub first: Height,
    /// The last block: the one asked for, or the next one with a finalization of its own.
    pub last: Height,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Writes the blocks from `from` (the first, if none is given) to `to` (the head) with their finalizations. The range goes on
/// to the next block with a finalization of its own: without it the last ones could not be verified.
///
/// # Errors
/// The range is not in the database, the database is damaged or of another chain, or the file cannot be written.
pub fn export(
    view: &dyn DatabaseView,
    genesis: &Genesis,
    from: Option<Height>,
    to: Option<Height>,
    out: impl Write,
    on_step: &mut OnStep<'_>,
) -> Result<Exported, BlockFileError> {
    if let Some(identity) = blocks::chain_identity(view)?
        && identity.genesis_hash != genesis.hash()
    {
        let (found, expected) = (identity.genesis_hash, genesis.hash());
        return Err(LedgerError::OtherChain { found, expected }.into());
    }
    let head = blocks::head(view)?.map_or(Height::ZERO, |head| head.height);
    let (first, to) = (from.unwrap_or(Height(1)).max(Height(1)), to.unwrap_or(head));
    if first > to || to > head {
        return Err(BlockFileError::NoSuchRange { from: first, to, head });
    }
    let covering = blocks::finalization_from(view, to)?;
    let (last, _) = covering.ok_or_else(|| missing(Table::Finalizations, to))?;
    let mut writer = BlockWriter::new(out, BlockFileHeader { genesis: genesis.hash(), first, last })?;
    let total = u64::from(last.0.saturating_sub(first.0)).saturating_add(1);
    for height in first.0..=last.0 {
        let block = blocks::finalized_block(view, Height(height))?;
        writer.write(&block.ok_or_else(|| missing(Table::Headers, Height(height)))?)?;
        on_step(u64::from(height.saturating_sub(first.0)).saturating_add(1), total);
    }
    Ok(Exported { first, last, bytes: writer.finish()? })
}

fn missing(table: Table, height: Height) -> DatabaseError {
    DatabaseError::Missing { table, reason: format!("height {height}") }
}
