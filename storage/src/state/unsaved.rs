//! What is committed and not in the derived tables yet.

use super::StateError;
use super::archive;
use super::diff;
use super::history;
use super::merge::Merged;
use super::shared::{Shared, Version};
use super::update::Pages;
use crate::batch::WriteBatch;
use crate::blocks;
use crate::database::DatabaseView;
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::hash::sha256;
use cairn_primitives::{Hash, Height};
use parity_scale_codec::{Decode, Encode};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Key in [`Table::Meta`] of the height below which the pages hold everything.
pub(super) const META_CHECKPOINT: &[u8] = b"checkpoint";
/// Key in [`Table::Meta`] of the [`ArchiveMarker`].
pub(super) const META_ARCHIVE: &[u8] = b"archive";

/// Key in [`Table::Meta`] of the height from which blocks are being taken back.
pub(super) const META_UNDO: &[u8] = b"undo";

/// The height from which blocks are being taken back, if any are.
pub(super) fn read_undo(view: &dyn DatabaseView) -> Result<Option<Height>, DatabaseError> {
    blocks::read(view, Table::Meta, META_UNDO)
}

/// Says that blocks up to a height are being taken back.
pub(super) fn put_undo(batch: &mut WriteBatch, top: Height) {
    batch.put(Table::Meta, META_UNDO, top.encode());
}

/// Says that none are.
pub(super) fn delete_undo(batch: &mut WriteBatch) {
    batch.delete(Table::Meta, META_UNDO);
}

/// The height below which the pages hold everything; zero where no checkpoint was written.
pub(super) fn read_checkpoint(view: &dyn DatabaseView) -> Result<Height, DatabaseError> {
    Ok(blocks::read(view, Table::Meta, META_CHECKPOINT)?.unwrap_or_default())
}

/// Says that the pages hold everything below a height.
pub(super) fn put_checkpoint(batch: &mut WriteBatch, next: Height) {
    batch.put(Table::Meta, META_CHECKPOINT, next.encode());
}

/// Which past the archive holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct ArchiveMarker {
    /// The lowest height that it can tell.
    pub(super) from: Height,
    /// The last block whose changes it holds.
    pub(super) height: Height,
}

impl ArchiveMarker {
    pub(super) fn read(view: &dyn DatabaseView) -> Result<Option<Self>, DatabaseError> {
        blocks::read(view, Table::Meta, META_ARCHIVE)
    }

    /// Whether the archive can tell what the block of a height changed.
    pub(super) fn holds_changes_of(&self, height: Height) -> bool {
        self.from < height && height <= self.height
    }

    pub(super) fn put(self, batch: &mut WriteBatch) {
        batch.put(Table::Meta, META_ARCHIVE, self.encode());
    }

    /// Deletes the archive with all that it holds.
    pub(super) fn clear(batch: &mut WriteBatch) {
        batch.delete(Table::Meta, META_ARCHIVE);
        Merged::delete(batch);
        history::clear(batch);
        archive::clear(batch);
    }
}

/// The archive, and the blocks that it is behind the head.
pub(super) struct Archive {
    pub(super) marker: ArchiveMarker,
    /// The version of the last height that it holds; none on a node that is an archive no more.
    pub(super) version: Option<Arc<Version>>,
    /// Blocks that it does not hold, oldest first.
    waiting: VecDeque<Waiting>,
    /// Bytes that only these keep in memory.
    waiting_bytes: usize,
}

/// A block's versions, until the archive holds what it replaced.
#[derive(Clone)]
struct Waiting {
    height: Height,
    before: Arc<Version>,
    after: Arc<Version>,
    bytes: usize,
}

impl Archive {
    /// An archive that holds everything up to its marker, which stands for this version.
    pub(super) const fn new(marker: ArchiveMarker, version: Option<Arc<Version>>) -> Self {
        Self { marker, version, waiting: VecDeque::new(), waiting_bytes: 0 }
    }

    /// Adds a block; `bytes` is what only its trees keep in memory.
    pub(super) fn push(&mut self, height: Height, before: Arc<Version>, after: Arc<Version>, bytes: usize) {
        self.waiting.push_back(Waiting { height, before, after, bytes });
        self.waiting_bytes = self.waiting_bytes.saturating_add(bytes);
    }

    pub(super) fn exceeds(&self, bytes: usize, blocks: usize) -> bool {
        self.waiting_bytes > bytes || self.waiting.len() > blocks
    }

    /// The version of a height that the archive does not hold yet.
    pub(super) fn waiting_version(&self, height: Height) -> Option<Arc<Version>> {
        Some(Arc::clone(&self.waiting.iter().find(|block| block.height == height)?.after))
    }

    /// The first blocks that it does not hold, to be written in one batch.
    pub(super) fn chunk(&self) -> ArchiveChunk {
        ArchiveChunk {
            from: self.marker.from,
            blocks: self.waiting.iter().take(ArchiveChunk::BLOCKS_MAX).cloned().collect(),
        }
    }

    /// A chunk was written up to a height.
    pub(super) fn advance(&mut self, height: Height) {
        while self.waiting.front().is_some_and(|block| block.height <= height) {
            let Some(block) = self.waiting.pop_front() else { return };
            self.waiting_bytes = self.waiting_bytes.saturating_sub(block.bytes);
            self.marker.height = block.height;
            self.version = Some(block.after);
        }
    }
}

/// Blocks that the archive is to hold.
pub(super) struct ArchiveChunk {
    from: Height,
    blocks: Vec<Waiting>,
}

impl ArchiveChunk {
    const BLOCKS_MAX: usize = 64;

    pub(super) const fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Adds what the blocks replaced, about so many bytes, and the marker; returns the height of the last one.
    pub(super) fn put(&self, shared: &Shared, bytes: usize, batch: &mut WriteBatch) -> Result<Height, StateError> {
        let mut written = 0_usize;
        let mut marker = ArchiveMarker { from: self.from, height: self.from };
        for block in &self.blocks {
            let changes = diff::read(&*shared.database, block.height)?;
            written = written.saturating_add(history::put(batch, block.height, &changes));
            let mut changed: Vec<_> = changes.iter().map(|change| sha256(&change.key)).collect();
            changed.sort_unstable();
            let forest = shared.forest();
            let (before, after) = (forest.version(&block.before)?, forest.version(&block.after)?);
            let before = archive::PastTree { cache: &shared.cache, tree: &before.tree() };
            written = written.saturating_add(archive::put(batch, block.height, before, &after.tree(), &changed)?);
            marker.height = block.height;
            if written >= bytes {
                break;
            }
        }
        marker.put(batch);
        Ok(marker.height)
    }
}

/// What is committed and not in the derived tables.
#[derive(Default)]
pub(super) struct Unsaved {
    /// Places that have no page and may have one on disk.
    gone: BTreeSet<Hash>,
    /// Blocks since the last checkpoint began.
    pub(super) blocks: usize,
    /// The bytes of their diffs.
    pub(super) diff_bytes: usize,
    /// On an archive node, and on one that was until a while ago.
    pub(super) archive: Option<Archive>,
}

impl Unsaved {
    /// Adds a block with so many bytes of changes.
    pub(super) fn push(&mut self, diff_bytes: usize, pages: &Pages) {
        self.blocks = self.blocks.saturating_add(1);
        self.diff_bytes = self.diff_bytes.saturating_add(diff_bytes);
        for (place, has_page) in &pages.places {
            if *has_page {
                self.gone.remove(place);
            } else {
                self.gone.insert(*place);
            }
        }
    }

    /// Takes the places in a region, or everywhere, that lost their pages.
    pub(super) fn take_gone(&mut self, region: Option<u8>) -> Vec<Hash> {
        let Some(region) = region else { return std::mem::take(&mut self.gone).into_iter().collect() };
        let mut taken = self.gone.split_off(&first_of_region(region));
        if let Some(next) = region.checked_add(1) {
            self.gone.append(&mut taken.split_off(&first_of_region(next)));
        }
        taken.into_iter().collect()
    }
}

/// The first key hash of a region, which is that of its first byte.
pub(super) fn first_of_region(number: u8) -> Hash {
    let mut hash = Hash::ZERO;
    if let Some(first) = hash.0.first_mut() {
        *first = number;
    }
    hash
}
