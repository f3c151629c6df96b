//! What tools do to the database of a stopped node: roll back to an earlier block, prune history to a window.
//!
//! Both go in steps, each one batch that leaves a whole database: whoever is interrupted at any point, by a kill or a power
//! cut, starts the same command again and goes on. Neither knows of what validators have signed: that is recorded outside of
//! the database, so that no rollback can make a validator vote twice.

use crate::error::LedgerError;
use crate::genesis::Genesis;
use cairn_primitives::list_tree::ListAccumulator;
use cairn_primitives::{EpochSchedule, Hash, Height};
use cairn_storage::{
    Database, DatabaseError, DatabaseView, Direction, Durability, HistoryMode, KeyRange, StateConfig, StateStore,
    Table, WriteBatch, blocks,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every so many blocks a rollback is synced, and the list of all hashes is known from the start.
const SEGMENT: u32 = 256;
/// Hashes and journal records read at once.
const SCAN_RECORDS: usize = 1_024;

/// Why the database was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum ReworkError {
    /// The height is above the head.
    #[error("the head is at height {head}, there is nothing at {to} to go back to")]
    AboveHead {
        /// Asked for.
        to: Height,
        /// The head.
        head: Height,
    },
    /// The changes of some block above the height are not kept any more.
    #[error(
        "the changes of the blocks above height {to} are not all kept: this database can go back to height {lowest} at most. To start again from \
         a lower one, import the blocks up to it into a new data directory: `cairn db export-blocks FILE --to {to}` here, \
         `cairn db import-blocks FILE` there"
    )]
    NotKept {
        /// Asked for.
        to: Height,
        /// The lowest height that blocks can be taken back to.
        lowest: Height,
    },
    /// The hashes of early blocks are not here.
    #[error(
        "this node began with a snapshot of height {lowest}, so that it cannot go back by itself: restore the snapshot again \
         into a new data directory, the node gets the later blocks from its peers"
    )]
    FromSnapshot {
        /// The snapshot's height.
        lowest: Height,
    },
    /// There is no chain in the database.
    #[error("the database holds no chain yet: start the node once, or import blocks")]
    Empty,
    /// The ledger's own failures.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<DatabaseError> for ReworkError {
    fn from(error: DatabaseError) -> Self {
        Self::Ledger(error.into())
    }
}

impl From<cairn_storage::StateError> for ReworkError {
    fn from(error: cairn_storage::StateError) -> Self {
        Self::Ledger(error.into())
    }
}

/// Told how far the work is: done and total.
pub type OnStep<'a> = dyn FnMut(u64, u64) + 'a;

/// What a rollback did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolledBack {
    /// The head before.
    pub from: Height,
    /// The head now.
    pub head: Height,
    /// Its hash.
    pub hash: Hash,
    /// Blocks that were certified and not final, and are gone.
    pub pending_deleted: u64,
    /// Records of the consensus journal that are gone.
    pub journal_deleted: u64,
}

/// What pruning did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The head.
    pub head: Height,
    /// The lowest height whose state was kept before.
    pub lowest_before: Height,
    /// The lowest one now.
    pub lowest: Height,
}

/// The lowest height whose state the database keeps, and its head.
///
/// # Errors
/// The database fails, is damaged, is empty or belongs to another chain.
pub fn kept_heights(view: &dyn DatabaseView, genesis: &Genesis) -> Result<(Height, Height), ReworkError> {
    let identity = blocks::chain_identity(view)?.ok_or(ReworkError::Empty)?;
    if identity.genesis_hash != genesis.hash() {
        let (found, expected) = (identity.genesis_hash, genesis.hash());
        return Err(LedgerError::OtherChain { found, expected }.into());
    }
    let head = blocks::head(view)?.ok_or(ReworkError::Empty)?;
    let facts = cairn_storage::state::audit::facts(view)?.ok_or(ReworkError::Empty)?;
    Ok((facts.lowest, head.height))
}

/// Makes the database what it was when the block of height `to` was the head: later blocks, their state and their indexes
/// are gone, blocks that are not final and the consensus journal with them.
///
/// # Errors
/// The height is above the head or its state is not kept: nothing was done. The database fails or is damaged: what was done
/// until then is whole.
pub fn roll_back(
    database: &Arc<dyn Database>,
    genesis: &Genesis,
    schedule: EpochSchedule,
    to: Height,
    on_step: &mut OnStep<'_>,
) -> Result<RolledBack, ReworkError> {
    let (_, head) = kept_heights(&**database, genesis)?;
    let lowest = cairn_storage::state::audit::facts(&**database)?.ok_or(ReworkError::Empty)?.undoable;
    if to > head {
        return Err(ReworkError::AboveHead { to, head });
    }
    if to < lowest {
        return Err(ReworkError::NotKept { to, lowest });
    }
    let first = blocks::lowest_block(&**database)?;
    if first > Height::ZERO {
        return Err(ReworkError::FromSnapshot { lowest: first });
    }
    let mut state = open_state(database)?;
    let lists = segment_lists(&**database, to, head)?;
    // First what stands on the blocks that go: without it, whatever is left is a chain that is merely shorter.
    let pending_deleted = delete_all(&**database, Table::PendingBlocks)?;
    let journal_deleted = if to < head { delete_all(&**database, Table::Journal)? } else { 0 };
    let total = u64::from(head.0.saturating_sub(to.0));
    let mut at = head;
    for (start, list) in lists.into_iter().rev() {
        let below = lists_between(&**database, list, start, at)?;
        while at > start.max(to) {
            let under = at.previous();
            let history = below.get(&under).cloned().ok_or(ReworkError::Empty)?;
            let is_last = at == start.max(to).next();
            take_block_back(database, &mut state, schedule, at, history, is_last)?;
            at = under;
            on_step(u64::from(head.0.saturating_sub(at.0)), total);
        }
    }
    state.finish_undo()?;
    let hash = blocks::hash_of(&**database, at)?.ok_or(ReworkError::Empty)?;
    Ok(RolledBack { from: head, head: at, hash, pending_deleted, journal_deleted })
}

/// Keeps the states of the head and of `keep` heights before it, and deletes what only lower heights show; tells how many
/// records of an archive it looked at. The space is given back by the database's own compaction.
///
/// # Errors
/// The database fails, is damaged, is empty or belongs to another chain; what was done until then is whole.
pub fn prune(
    database: &Arc<dyn Database>,
    genesis: &Genesis,
    keep: u32,
    on_step: &mut dyn FnMut(u64),
) -> Result<Pruned, ReworkError> {
    let (lowest_before, head) = kept_heights(&**database, genesis)?;
    let target = Height(head.0.saturating_sub(keep.max(1))).max(lowest_before);
    let lowest = open_state(database)?.prune(target, &mut |records| on_step(records))?;
    database.flush()?;
    Ok(Pruned { head, lowest_before, lowest })
}

/// Opens the state in the mode that it was in.
fn open_state(database: &Arc<dyn Database>) -> Result<StateStore, ReworkError> {
    let is_archive = cairn_storage::state::audit::facts(&**database)?.is_some_and(|facts| facts.archive.is_some());
    let history = if is_archive { HistoryMode::Archive } else { HistoryMode::Window(u32::MAX) };
    let state = StateStore::open(Arc::clone(database), StateConfig { history, ..StateConfig::default() })?;
    state.settle()?;
    Ok(state)
}

/// The list of all hashes below a height, for `to` and every [`SEGMENT`]-th height above it below the head.
fn segment_lists(
    view: &dyn DatabaseView,
    to: Height,
    head: Height,
) -> Result<Vec<(Height, ListAccumulator)>, ReworkError> {
    let mut lists = Vec::new();
    let mut list = ListAccumulator::default();
    each_hash(view, Height::ZERO, head, |height, hash| {
        if height >= to && height < head && height.0.saturating_sub(to.0).is_multiple_of(SEGMENT) {
            lists.push((height, list.clone()));
        }
        list.push(&hash);
    })?;
    Ok(lists)
}

/// The lists for all heights from `start`, whose list is given, up to below `end`.
fn lists_between(
    view: &dyn DatabaseView,
    mut list: ListAccumulator,
    start: Height,
    end: Height,
) -> Result<BTreeMap<Height, ListAccumulator>, ReworkError> {
    let mut lists = BTreeMap::new();
    each_hash(view, start, end, |height, hash| {
        lists.insert(height, list.clone());
        list.push(&hash);
    })?;
    Ok(lists)
}

/// Goes over the hashes of the heights from `start` up to, not with, `end`.
fn each_hash(
    view: &dyn DatabaseView,
    start: Height,
    end: Height,
    mut visit: impl FnMut(Height, [u8; 32]),
) -> Result<(), ReworkError> {
    let mut next = start;
    while next < end {
        let range = KeyRange::between(next.0.to_be_bytes(), end.0.to_be_bytes());
        let records = view.scan(Table::Hashes, &range, Direction::Forward, SCAN_RECORDS)?;
        let missing = || DatabaseError::Missing { table: Table::Hashes, reason: format!("height {next}") };
        if records.is_empty() {
            return Err(missing().into());
        }
        for (key, value) in records {
            if key != next.0.to_be_bytes() {
                let reason = format!("height {next}");
                return Err(DatabaseError::Missing { table: Table::Hashes, reason }.into());
            }
            let hash = value.try_into().map_err(|_| DatabaseError::damaged(Table::Hashes, "a hash is not 32 bytes"))?;
            visit(next, hash);
            next = next.next();
        }
    }
    Ok(())
}

/// Takes the head's block out of all tables, in one batch.
fn take_block_back(
    database: &Arc<dyn Database>,
    state: &mut StateStore,
    schedule: EpochSchedule,
    height: Height,
    history: ListAccumulator,
    is_synced: bool,
) -> Result<(), ReworkError> {
    let view: &dyn DatabaseView = &**database;
    let below = height.previous();
    let missing = |table| DatabaseError::Missing { table, reason: format!("height {height}") };
    let header = blocks::header(view, below)?.ok_or_else(|| missing(Table::Headers))?;
    let hash = blocks::hash_of(view, height)?.ok_or_else(|| missing(Table::Hashes))?;
    let body = blocks::body(view, height)?.ok_or_else(|| missing(Table::Bodies))?;
    let mut batch = WriteBatch::new();
    blocks::delete_block(&mut batch, height, &hash);
    for (extrinsic, index) in body.iter().zip(0_u32..) {
        let hash = extrinsic.hash();
        if blocks::transaction_location(view, &hash)? == Some((height, index)) {
            batch.delete(Table::Transactions, hash.0);
        }
    }
    if schedule.is_closing(height) {
        batch.delete(Table::ValidatorSets, schedule.epoch_of(height.next()).0.to_be_bytes());
    }
    let staged = state.stage_undo(header.state_root, &mut batch)?;
    let head = blocks::Head { height: below, hash: header.hash(), state_root: header.state_root, history };
    blocks::put_head(&mut batch, &head);
    database.write(batch, if is_synced { Durability::Synced } else { Durability::Unsynced })?;
    Ok(state.apply_undo(staged)?)
}

/// Empties a table; returns how many records it had.
fn delete_all(database: &dyn Database, table: Table) -> Result<u64, ReworkError> {
    let mut deleted = 0_u64;
    loop {
        let records = database.scan(table, &KeyRange::all(), Direction::Forward, SCAN_RECORDS)?;
        if records.is_empty() {
            return Ok(deleted);
        }
        let mut batch = WriteBatch::new();
        for (key, _) in records {
            deleted = deleted.saturating_add(1);
            batch.delete(table, key);
        }
        database.write(batch, Durability::Synced)?;
    }
}
