//! Blocks that this node certified and that are not final: they must survive a restart, because votes were sent on them.

use super::decode;
use crate::batch::WriteBatch;
use crate::database::{DatabaseView, Direction, KeyRange};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::{Block, Hash};
use parity_scale_codec::Encode;

/// More pending blocks than this are not read back: between two finalizations there are fewer views than that.
pub const PENDING_BLOCKS_MAX: usize = 4_096;

/// Adds a block.
pub fn put(batch: &mut WriteBatch, hash: &Hash, block: &Block) {
    batch.put(Table::PendingBlocks, hash.0, block.encode());
}

/// Deletes a block that became final or cannot become final any more.
pub fn delete(batch: &mut WriteBatch, hash: &Hash) {
    batch.delete(Table::PendingBlocks, hash.0);
}

/// The block with a hash.
///
/// # Errors
/// The engine failed or the record is damaged.
pub fn get(view: &dyn DatabaseView, hash: &Hash) -> Result<Option<Block>, DatabaseError> {
    super::read(view, Table::PendingBlocks, &hash.0)
}

/// All pending blocks by hash, in no order that means anything; at most [`PENDING_BLOCKS_MAX`].
///
/// # Errors
/// The engine failed or a record is damaged.
pub fn all(view: &dyn DatabaseView) -> Result<Vec<(Hash, Block)>, DatabaseError> {
    let records = view.scan(Table::PendingBlocks, &KeyRange::all(), Direction::Forward, PENDING_BLOCKS_MAX)?;
    let parse = |(key, value): (Vec<u8>, Vec<u8>)| {
        let hash = key.try_into().map_err(|_| DatabaseError::damaged(Table::PendingBlocks, "a key is not 32 bytes"))?;
        Ok((Hash(hash), decode(Table::PendingBlocks, &value)?))
    };
    records.into_iter().map(parse).collect()
}
