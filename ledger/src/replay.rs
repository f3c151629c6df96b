//! The states below those that an archive has: its blocks are executed again from genesis, in a database beside it.
//!
//! ```text
//!   Reader ── blocks from genesis up to where the states begin ──► Replay: a ledger of its own
//!                                                                     │ its past states
//!   Ledger ◄── finish_merge ──────────── ArchiveMerge ◄───────────────┘
//! ```
//! Every block is checked and executed as block sync does it, under the rules of its height, and its roots are compared with
//! the header; but for the signatures of transactions: the blocks are committed ones, so that a quorum has verified those.
//!
//! It is a database like any other: a crash leaves it at a block, and the next run goes on there. Memory: [`STATE`], one
//! batch of blocks, and the upper levels of the state's tree.

use crate::error::LedgerError;
use crate::prepare::PreparedBlock;
use crate::reader::Reader;
use crate::writer::{Ledger, LedgerConfig};
use cairn_primitives::Height;
use cairn_storage::{
    ArchiveMerge, CheckpointLimits, Database, DatabaseError, DatabaseView, HistoryMode, StateConfig, Table, blocks,
};
use std::sync::Arc;

/// Little memory: this work has time.
const STATE: StateConfig = StateConfig {
    history: HistoryMode::Archive,
    cache_bytes: 24 << 20,
    recent_bytes: 4 << 20,
    unsaved: CheckpointLimits {
        bytes: 8 << 20,
        archive_bytes: 8 << 20,
        diff_bytes: 64 << 20,
        blocks: 4_096,
        chunk_bytes: 1 << 20,
    },
    threads: 1,
};
/// Blocks that are executed in one step.
const BLOCKS_MAX: u32 = 64;
/// Bytes of extrinsics of those, but for the last one.
const BYTES_MAX: usize = 1 << 20;

/// A ledger that executes again what another one has committed.
pub struct Replay {
    database: Arc<dyn Database>,
    ledger: Ledger,
}

impl Replay {
    /// Opens the database of a replay, or begins one at genesis. How state is kept is not up to `config`.
    ///
    /// # Errors
    /// The database fails, is damaged, or belongs to another chain.
    pub fn open(database: Arc<dyn Database>, config: LedgerConfig) -> Result<Self, LedgerError> {
        let mut ledger = Ledger::open(Arc::clone(&database), LedgerConfig { state: STATE, ..config })?;
        ledger.signatures = ledger.signatures.for_final_blocks();
        Ok(Self { database, ledger })
    }

    /// The last block that was executed.
    #[must_use]
    pub fn height(&self) -> Height {
        self.ledger.reader().head().height
    }

    /// Its database, to be merged from.
    #[must_use]
    pub fn view(&self) -> &dyn DatabaseView {
        &*self.database
    }

    /// Whether the last executed block is one of a chain: a folder may be older than what lies beside it.
    ///
    /// # Errors
    /// The database of the chain failed.
    pub fn is_of(&self, chain: &Reader) -> Result<bool, LedgerError> {
        let head = self.ledger.reader().head();
        Ok(blocks::hash_of(chain.view(), head.height)? == Some(head.hash))
    }

    /// Executes the next blocks of a chain up to a height; false once that is done and all is on disk.
    ///
    /// # Errors
    /// A block is missing or does not give the roots that its header names; a database failed.
    pub fn step(&mut self, chain: &Reader, to: Height) -> Result<bool, LedgerError> {
        let mut batch = Vec::new();
        let mut bytes = 0_usize;
        let head = self.height();
        for height in (head.next().0..=to.0.min(head.0.saturating_add(BLOCKS_MAX))).map(Height) {
            chain.rules().at(height)?;
            let block = blocks::finalized_block(chain.view(), height)?;
            let missing = || DatabaseError::Missing { table: Table::Bodies, reason: format!("height {height}") };
            let block = PreparedBlock::new(block.ok_or_else(missing)?);
            let sizes = block.block().extrinsics.iter().map(|extrinsic| extrinsic.bytes().len());
            bytes = sizes.fold(bytes, usize::saturating_add);
            batch.push(block);
            // Nothing stands on the last block of an epoch before it is committed.
            if bytes >= BYTES_MAX || chain.schedule().is_closing(height) {
                break;
            }
        }
        if batch.is_empty() {
            self.settle()?;
            return Ok(false);
        }
        self.ledger.import_prepared(batch)?;
        Ok(true)
    }

    /// Puts all that was executed on disk, so that the next opening is quick.
    ///
    /// # Errors
    /// The database failed.
    pub fn settle(&self) -> Result<(), LedgerError> {
        Ok(self.ledger.state.settle()?)
    }
}

impl Ledger {
    /// What takes the past states of a [`Replay`] over, for a thread of its own; none where every state from genesis on is
    /// here, and on a node that is no archive.
    #[must_use]
    pub fn merge(&self) -> Option<ArchiveMerge> {
        self.state.merge()
    }

    /// Makes what was taken over part of the archive: every state from genesis on can be read and proved then.
    ///
    /// # Errors
    /// Not all is here: nothing was done. The database failed.
    pub fn finish_merge(&mut self) -> Result<(), LedgerError> {
        Ok(self.state.finish_merge()?)
    }
}
