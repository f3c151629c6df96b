//! Snapshots of the committed chain: making one while blocks go on, checking one, and beginning a database with one.
//!
//! ```text
//!  Reader ─► SnapshotSource: a pinned version ─ chunks ─► whoever stores or sends them ─ manifest
//!                                                                                         │
//!  Ledger::open ◄─ database ◄─ Restore: state chunk by chunk, then ONE synced batch ◄── verify_snapshot
//! ```
//! What a restored database lacks are the blocks below: it has their state, genesis, the last header of each epoch, and as
//! many headers as transactions may name. Everything else goes on as if all blocks had been executed here.

use crate::error::{LedgerError, ReadError};
use crate::events::encode_events;
use crate::genesis::{Genesis, put_genesis};
use crate::reader::{Published, Reader};
use cairn_primitives::hash::sha256;
use cairn_primitives::snapshot::{
    ANCESTORS_MAX, ChunkEntry, EpochHandover, SNAPSHOT_VERSION, SnapshotError, SnapshotManifest, VerifiedManifest,
};
use cairn_primitives::state_proof::KeyRange;
use cairn_primitives::{Block, Epoch, EpochSchedule, Hash, Height};
use cairn_runtime::EventRecord;
use cairn_storage::{
    Database, DatabaseError, DatabaseView, Durability, StateLoader, StateView, Table, WriteBatch, blocks,
};
use parity_scale_codec::{DecodeAll, Encode};
use std::sync::Arc;

/// A cut through the chain that is being made a snapshot: unmoved by later blocks. It keeps in memory what they replace.
pub struct SnapshotSource {
    state: StateView,
    manifest: SnapshotManifest,
    hash: Hash,
    next: Option<Hash>,
}

impl SnapshotSource {
    pub(crate) fn new(view: &dyn DatabaseView, reader: &Reader, published: Published) -> Result<Self, ReadError> {
        let Published { head, state, history, .. } = published;
        let lost = |table, height: Height| {
            ReadError::from(DatabaseError::Missing { table, reason: format!("height {height}") })
        };
        let finalized = blocks::finalized_block(view, head.height)?.ok_or_else(|| lost(Table::Headers, head.height))?;
        let finalization = finalized.finalization.ok_or(ReadError::NoFinalization(head.height))?;
        let events = blocks::events(view, head.height)?.ok_or_else(|| lost(Table::Events, head.height))?;
        let lowest = head.height.0.saturating_sub(u32::try_from(ANCESTORS_MAX).unwrap_or(u32::MAX));
        let below = (lowest..head.height.0).rev().map(Height);
        let header = |height| blocks::header(view, height)?.ok_or_else(|| lost(Table::Headers, height));
        let ancestors = below.map(header).collect::<Result<_, _>>()?;
        let schedule = reader.schedule();
        let mut handovers = Vec::new();
        let mut epoch = Epoch::ZERO;
        while let Some(height) = schedule.closing(epoch).filter(|height| *height <= head.height) {
            let finalization = blocks::finalization(view, height)?;
            let validators = blocks::validator_set(view, epoch.next())?;
            handovers.push(EpochHandover {
                closing: header(height)?,
                finalization: finalization.ok_or_else(|| lost(Table::Finalizations, height))?,
                validators: validators.ok_or_else(|| lost(Table::ValidatorSets, height))?,
            });
            epoch = epoch.next();
        }
        let manifest = SnapshotManifest {
            version: SNAPSHOT_VERSION,
            genesis: reader.genesis_hash(),
            block: finalized.block,
            finalization,
            events,
            history,
            ancestors,
            handovers,
            chunks: Vec::new(),
        };
        Ok(Self { state, manifest, hash: head.hash, next: Some(KeyRange::WHOLE.from) })
    }

    /// The height of the block after which the state is.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.manifest.height()
    }

    /// The block's hash.
    #[must_use]
    pub const fn block_hash(&self) -> Hash {
        self.hash
    }

    /// How much of the state is in the chunks so far, in thousandths.
    #[must_use]
    pub fn permille(&self) -> u32 {
        let word = |hash: Hash| hash.0.first_chunk().map_or(0, |bytes| u32::from(u16::from_be_bytes(*bytes)));
        self.next.map_or(1_000, |next| word(next).saturating_mul(1_000) / 65_536)
    }

    /// The next chunk, encoded, with leaves of about `bytes` bytes; `None` after the last one.
    ///
    /// # Errors
    /// The database failed, or a long value that was replaced meanwhile has left the window of the node.
    pub fn next_chunk(&mut self, bytes: usize) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(from) = self.next else { return Ok(None) };
        let (range, chunk) = self.state.chunk(from, bytes)?;
        let encoded = chunk.encode();
        self.manifest.chunks.push(ChunkEntry::new(&range, chunk.leaves.len(), &encoded));
        self.next = range.to;
        Ok(Some(encoded))
    }

    /// The manifest, complete after the last chunk.
    #[must_use]
    pub fn finish(self) -> SnapshotManifest {
        self.manifest
    }
}

/// Checks a manifest from the chain's genesis alone: all but the chunks, which the answer checks.
///
/// # Errors
/// The manifest is of another chain, or a part of it does not follow from genesis.
pub fn verify_snapshot(
    manifest: SnapshotManifest,
    genesis: &Genesis,
    schedule: EpochSchedule,
) -> Result<VerifiedManifest, SnapshotError> {
    let verified = manifest.verify(genesis.trust_anchor(schedule))?;
    verify_snapshot_events(&verified)?;
    Ok(verified)
}

/// Checks what [`SnapshotManifest::verify`] leaves: that the events are those of the block.
///
/// # Errors
/// They are others.
pub fn verify_snapshot_events(verified: &VerifiedManifest) -> Result<(), SnapshotError> {
    let manifest = verified.manifest();
    let wrong = SnapshotError::Part { what: "the list of events" };
    let Ok(events) = Vec::<EventRecord>::decode_all(&mut &*manifest.events) else { return Err(wrong) };
    let (encoded, root) = encode_events(&events);
    let is_it = encoded == manifest.events && root == manifest.block.header.context()?.events_root;
    if is_it { Ok(()) } else { Err(wrong) }
}

/// Why a snapshot was not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The snapshot does not hold.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The database failed, or is not empty.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// An empty database on its way to the state of a snapshot; it goes on where an earlier one stopped.
pub struct Restore {
    database: Arc<dyn Database>,
    genesis: Genesis,
    spec_hash: Hash,
    verified: VerifiedManifest,
    loader: StateLoader,
}

impl Restore {
    /// Begins, or goes on with the same snapshot.
    ///
    /// # Errors
    /// The database holds a chain already, or part of another snapshot; it failed.
    pub fn open(
        database: Arc<dyn Database>,
        genesis: Genesis,
        spec_hash: Hash,
        verified: VerifiedManifest,
    ) -> Result<Self, LedgerError> {
        let name = sha256(&verified.manifest().encode());
        let loader = StateLoader::open(Arc::clone(&database), name)?;
        Ok(Self { database, genesis, spec_hash, verified, loader })
    }

    /// The number of the next chunk to add; as many as the manifest names are there at the end.
    #[must_use]
    pub fn next_chunk(&self) -> usize {
        usize::try_from(self.loader.chunks()).unwrap_or(usize::MAX)
    }

    /// Checks and adds the next chunk.
    ///
    /// # Errors
    /// The bytes are not that chunk: nothing was done. The database failed.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        let index = self.next_chunk();
        let chunk = self.verified.open_chunk(index, bytes)?;
        let range = self.verified.manifest().range(index).ok_or(SnapshotError::NoChunk { index })?;
        self.loader.add(chunk.leaves, range.to).map_err(LedgerError::from)?;
        Ok(())
    }

    /// Makes the database one that a ledger opens, once all chunks are there.
    ///
    /// # Errors
    /// Chunks are missing; the database failed.
    pub fn finish(self) -> Result<(), RestoreError> {
        let manifest = self.verified.manifest();
        let (found, expected) = (self.next_chunk(), manifest.chunks.len());
        if found != expected {
            let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
            return Err(SnapshotError::Count { what: "chunks", found: count(found), expected: count(expected) }.into());
        }
        let mut batch = WriteBatch::new();
        put_genesis(&mut batch, &self.genesis, self.spec_hash);
        let mut epoch = Epoch::ZERO;
        for EpochHandover { closing, finalization, validators } in &manifest.handovers {
            epoch = epoch.next();
            blocks::put_header(&mut batch, &closing.hash(), closing);
            blocks::put_finalization(&mut batch, closing.height(), finalization);
            blocks::put_validator_set(&mut batch, epoch, validators);
        }
        for (hash, header) in self.verified.ancestors() {
            blocks::put_header(&mut batch, hash, header);
        }
        let (height, hash, state_root) = (manifest.height(), self.verified.block_hash(), self.verified.state_root());
        let Block { extrinsics, .. } = &manifest.block;
        blocks::put_block(&mut batch, &hash, &manifest.block);
        blocks::put_finalization(&mut batch, height, &manifest.finalization);
        blocks::put_events(&mut batch, height, manifest.events.clone());
        blocks::put_transactions(&mut batch, height, extrinsics.iter().map(cairn_primitives::OpaqueExtrinsic::hash));
        blocks::put_head(&mut batch, &blocks::Head { height, hash, state_root, history: manifest.history.clone() });
        blocks::put_lowest_block(&mut batch, height);
        self.loader.finish(height, state_root, &mut batch).map_err(LedgerError::from)?;
        self.database.write(batch, Durability::Synced).map_err(LedgerError::from)?;
        Ok(())
    }
}
