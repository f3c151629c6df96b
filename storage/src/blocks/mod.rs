//! Typed access to blocks and what is indexed from them: functions that read from a view or append to a batch.
//!
//! Finalized blocks lie by height; a header is read without its body. Blocks that are certified and not yet final lie by
//! hash in [`pending`], the records of the consensus engine in [`journal`].

pub mod journal;
pub mod pending;

use crate::batch::WriteBatch;
use crate::database::{DatabaseView, Direction, KeyRange};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::list_tree::ListAccumulator;
use cairn_primitives::{
    Block, Certificate, Epoch, FinalizedBlock, Hash, Header, Height, OpaqueExtrinsic, ValidatorSet,
};
use parity_scale_codec::{Decode, DecodeAll, Encode};

/// Key in [`Table::Meta`] of the [`Head`].
pub const META_HEAD: &[u8] = b"head";
/// Key in [`Table::Meta`] of the [`ChainIdentity`].
pub const META_CHAIN: &[u8] = b"chain";

/// Key in [`Table::Meta`] of the lowest height from which on all blocks are here; absent where that is genesis.
const META_LOWEST: &[u8] = b"lowest_block";
/// The names of the records of this module in [`Table::Meta`].
pub const META_NAMES: [&[u8]; 3] = [META_HEAD, META_CHAIN, META_LOWEST];

/// The last finalized block that was committed, and what is needed to build on it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Head {
    /// The block's height.
    pub height: Height,
    /// The block's hash.
    pub hash: Hash,
    /// The root of the state after the block.
    pub state_root: Hash,
    /// The hashes of all headers below this block's, in order.
    pub history: ListAccumulator,
}

/// Which chain the database belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ChainIdentity {
    /// The hash of the genesis block.
    pub genesis_hash: Hash,
    /// The hash of the chain specification.
    pub spec_hash: Hash,
}

/// The head, or `None` in a database without genesis.
///
/// # Errors
/// The engine failed or the record is damaged.
pub fn head(view: &dyn DatabaseView) -> Result<Option<Head>, DatabaseError> {
    read(view, Table::Meta, META_HEAD)
}

/// Sets the head.
pub fn put_head(batch: &mut WriteBatch, head: &Head) {
    batch.put(Table::Meta, META_HEAD, head.encode());
}

/// The chain that the database belongs to, or `None` in a new database.
///
/// # Errors
/// The engine failed or the record is damaged.
pub fn chain_identity(view: &dyn DatabaseView) -> Result<Option<ChainIdentity>, DatabaseError> {
    read(view, Table::Meta, META_CHAIN)
}

/// Sets the chain that the database belongs to.
pub fn put_chain_identity(batch: &mut WriteBatch, identity: &ChainIdentity) {
    batch.put(Table::Meta, META_CHAIN, identity.encode());
}

/// Adds a finalized block: header, body and both hash indexes, under a `hash` that the caller computed.
pub fn put_block(batch: &mut WriteBatch, hash: &Hash, block: &Block) {
    put_header(batch, hash, &block.header);
    batch.put(Table::Bodies, key(block.header.height()), block.extrinsics.encode());
}

/// Adds a finalized header without its block, under a `hash` that the caller computed.
pub fn put_header(batch: &mut WriteBatch, hash: &Hash, header: &Header) {
    let height = header.height();
    batch.put(Table::Headers, key(height), header.encode());
    batch.put(Table::Hashes, key(height), hash.0);
    batch.put(Table::Heights, hash.0, key(height));
}

/// The lowest height from which on all blocks are here: below it a node that began with a snapshot has genesis and some
/// headers.
///
/// # Errors
/// The engine failed or the record is damaged.
pub fn lowest_block(view: &dyn DatabaseView) -> Result<Height, DatabaseError> {
    Ok(read(view, Table::Meta, META_LOWEST)?.unwrap_or_default())
}

/// Sets the lowest height from which on all blocks are here.
pub fn put_lowest_block(batch: &mut WriteBatch, height: Height) {
    batch.put(Table::Meta, META_LOWEST, height.encode());
}

/// Deletes a block with its finalization and events, and its hash from the index.
pub fn delete_block(batch: &mut WriteBatch, height: Height, hash: &Hash) {
    for table in [Table::Headers, Table::Bodies, Table::Hashes, Table::Finalizations, Table::Events] {
        batch.delete(table, key(height));
    }
    batch.delete(Table::Heights, hash.0);
}

/// Adds the certificate that finalized the block of `height`.
pub fn put_finalization(batch: &mut WriteBatch, height: Height, certificate: &Certificate) {
    batch.put(Table::Finalizations, key(height), certificate.encode());
}

/// Adds the validator set of an epoch.
pub fn put_validator_set(batch: &mut WriteBatch, epoch: Epoch, set: &ValidatorSet) {
    batch.put(Table::ValidatorSets, epoch.0.to_be_bytes(), set.encode());
}

/// Adds the encoded event records of a block.
pub fn put_events(batch: &mut WriteBatch, height: Height, events: Vec<u8>) {
    batch.put(Table::Events, key(height), events);
}

/// Adds the places of a block's extrinsics, given by hash in the order of the block.
pub fn put_transactions(batch: &mut WriteBatch, height: Height, hashes: impl IntoIterator<Item = Hash>) {
    for (hash, index) in hashes.into_iter().zip(0u32..) {
        put_transaction(batch, &hash, height, index);
    }
}

/// Adds the place of one extrinsic, given by hash.
pub fn put_transaction(batch: &mut WriteBatch, hash: &Hash, height: Height, index: u32) {
    let mut place = [0; 8];
    place.as_chunks_mut::<4>().0.copy_from_slice(&[key(height), index.to_be_bytes()]);
    batch.put(Table::Transactions, hash.0, place);
}

/// The header of a height.
///
/// # Errors
/// The engine failed or the record is damaged.
pub fn header(view: &dyn DatabaseView, height: Height) -> Result<Option<Header>, DatabaseError> {
    read(view, Table::Headers, &key(height))
}

/// The header of a finalized block.
///
/// # Errors
/// The engine failed or a record is damaged or missing.
pub fn header_by_hash(view: &dyn DatabaseView, hash: &Hash) -> Result<Option<Header>, DatabaseError> {
    height_of(view, hash)?.map(|height| header(view, height)?.ok_or_else(|| lost(Table::Headers, height))).transpose()
}

/// The extrinsics of a height.
///
/// # Errors
/// The engine failed or the record is damaged.
pub fn body(view: &dyn DatabaseView, height: Height) -> Result<Option<Vec<OpaqueExtrinsic>>, DatabaseError> {
    read(view, Table::Bodies, &key(height))
}

/// The block of a height; `None` also where only its header is here.
///
/// # Errors
/// The engine failed, a record is damaged, or there is a header without a body above [`lowest_block`].
pub fn block(view: &dyn DatabaseView, height: Height) -> Result<Option<Block>, DatabaseError> {
    let Some(header) = header(view, height)? else { return Ok(None) };
    match body(view, height)? {
        Some(extrinsics) => Ok(Some(Block { header, extrinsics: extrinsics.into() })),
        None if height < lowest_block(view)? => Ok(None),
        None => Err(lost(Table::Bodies, height)),
    }
}

/// The block of a height with its own finalization, if it has one.
///
/// # Errors
/// As [`block`] and [`finalization`].
pub fn finalized_block(view: &dyn DatabaseView, height: Height) -> Result<Option<FinalizedBlock>, DatabaseError> {
    let Some(block) = block(view, height)? else { return Ok(None) };
    Ok(Some(FinalizedBlock { block, finalization: finalization(view, height)? }))
}

/// The hash of the block of a height.
///
/// # Errors
/// The engine failed or the record is damaged.
pub fn hash_of(view: &dyn DatabaseView, height: Height) -> Result<Option<Hash>, DatabaseError> {
    read(view, Table::Hashes, &key(height))
}

/// The hashes of up to `count` blocks in a row from a height on; fewer where one is not here.
///
/// # Errors
/// The engine failed or a record is damaged.
pub fn hashes_from(view: &dyn DatabaseView, from: Height, count: usize) -> Result<Vec<Hash>, DatabaseError> {
    let records = view.scan(Table::Hashes, &KeyRange::from(key(from)), Direction::Forward, count)?;
    let mut hashes = Vec::with_capacity(records.len());
    let mut next = from;
    for (at, value) in records {
        if parse_height(Table::Hashes, &at)? != next {
            break;
        }
        hashes.push(decode(Table::Hashes, &value)?);
        next = next.next();
    }
    Ok(hashes)
}

/// The height of a finalized block.
///
/// # Errors
/// The engine failed or the record is damaged.
pub fn height_of(view: &dyn DatabaseView, hash: &Hash) -> Result<Option<Height>, DatabaseError> {
    let Some(value) = view.get(Table::Heights, &hash.0)? else { return Ok(None) };
    parse_height(Table::Heights, &value).map(Some)
}

/// The certificate that finalized the block of a height itself.
///
/// # Errors
/// The engine failed or the record is damaged.
pub fn finalization(view: &dyn DatabaseView, height: Height) -> Result<Option<Certificate>, DatabaseError> {
    read(view, Table::Finalizations, &key(height))
}

/// The first certificate at or above a height, with the height of its block: what makes `height` final.
///
/// # Errors
/// The engine failed or the record is damaged.
pub fn finalization_from(
    view: &dyn DatabaseView,
    height: Height,
) -> Result<Option<(Height, Certificate)>, DatabaseError> {
    let found = view.scan(Table::Finalizations, &KeyRange::from(key(height)), Direction::Forward, 1)?;
    let Some((at, value)) = found.into_iter().next() else { return Ok(None) };
    Ok(Some((parse_height(Table::Finalizations, &at)?, decode(Table::Finalizations, &value)?)))
}

/// The validator set of an epoch; `None` where the epoch has not begun.
///
/// # Errors
/// The engine failed or the record is damaged.
pub fn validator_set(view: &dyn DatabaseView, epoch: Epoch) -> Result<Option<ValidatorSet>, DatabaseError> {
    read(view, Table::ValidatorSets, &epoch.0.to_be_bytes())
}

/// The encoded event records of a height.
///
/// # Errors
/// The engine failed.
pub fn events(view: &dyn DatabaseView, height: Height) -> Result<Option<Vec<u8>>, DatabaseError> {
    view.get(Table::Events, &key(height))
}

/// Where an extrinsic was included last: height and index in the block.
///
/// # Errors
/// The engine failed or the record is damaged.
pub fn transaction_location(view: &dyn DatabaseView, hash: &Hash) -> Result<Option<(Height, u32)>, DatabaseError> {
    let Some(value) = view.get(Table::Transactions, &hash.0)? else { return Ok(None) };
    let (height, index) = value.split_at_checked(4).unwrap_or((&[], &[]));
    let height = parse_height(Table::Transactions, height)?;
    Ok(Some((height, parse_height(Table::Transactions, index)?.0)))
}

const fn key(height: Height) -> [u8; 4] {
    height.0.to_be_bytes()
}

fn parse_height(table: Table, bytes: &[u8]) -> Result<Height, DatabaseError> {
    let bytes = bytes.try_into().map_err(|_| DatabaseError::damaged(table, "a height is not 4 bytes"))?;
    Ok(Height(u32::from_be_bytes(bytes)))
}

fn lost(table: Table, height: Height) -> DatabaseError {
    DatabaseError::Missing { table, reason: format!("height {height}") }
}

pub(crate) fn decode<T: Decode>(table: Table, mut bytes: &[u8]) -> Result<T, DatabaseError> {
    T::decode_all(&mut bytes).map_err(|error| DatabaseError::damaged(table, error))
}

pub(crate) fn read<T: Decode>(view: &dyn DatabaseView, table: Table, key: &[u8]) -> Result<Option<T>, DatabaseError> {
    view.get(table, key)?.map(|bytes| decode(table, &bytes)).transpose()
}

#[cfg(test)]
mod tests;
