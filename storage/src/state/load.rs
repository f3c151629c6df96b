//! A state that comes whole, leaf by leaf in the order of key hashes, into a database that has none.
//!
//! ```text
//!  chunk ──► leaves held back ──► pages of subtrees that are complete ──┐ one batch a chunk, not logged:
//!                 │ at most one page of them                            ├ pages, keys, progress
//!                 └──────────────────────────────────► progress record ─┘
//!  finish: flush, then the caller's synced batch with the state record
//! ```
//! A subtree is decided once no leaf can join it, or once it has more leaves than a bucket: so pages are the same whatever
//! the chunks. A crash takes whole chunks from the end; loading goes on where the progress record says. Until the end the
//! database cannot be opened as a state.

use super::StateError;
use super::keys;
use super::page::{INLINE_VALUE_MAX, Leaf, Page, SPLIT_LEAVES_MAX, ValueRef};
use super::store::StateRecord;
use super::tree::{CHILDREN, Location, child_index};
use super::unsaved::put_checkpoint;
use crate::batch::WriteBatch;
use crate::blocks;
use crate::database::{Database, DatabaseView, Direction, Durability, KeyRange};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::Height;
use cairn_primitives::hash::{Hash, sha256};
use cairn_primitives::state_proof::{DEPTH_MAX, StateLeaf, leaf_hash};
use parity_scale_codec::{Decode, Encode};
use std::sync::Arc;

/// Key in [`Table::Meta`] of the [`Progress`].
const META_LOAD: &[u8] = b"load";
/// Bytes between two flushes: what a crash may take.
const FLUSH_BYTES: usize = 64 << 20;

/// How far loading came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
struct Progress {
    /// What is loaded.
    name: Hash,
    /// How many chunks are in.
    chunks: u32,
    /// The last key hash in a page.
    last: Option<Hash>,
    /// Leaves that are in no page yet.
    held: Vec<StateLeaf>,
}

/// Whether a database holds part of a state.
pub(super) fn is_unfinished(view: &dyn DatabaseView) -> Result<bool, DatabaseError> {
    Ok(view.get(Table::Meta, META_LOAD)?.is_some())
}

/// Loads a state from chunks of its leaves.
pub struct StateLoader {
    database: Arc<dyn Database>,
    progress: Progress,
    unflushed: usize,
}

impl StateLoader {
    /// Begins, or goes on where an earlier loader of the same `name` stopped. A name stands for one list of chunks.
    ///
    /// # Errors
    /// The database holds a state already, or part of another one; it failed.
    pub fn open(database: Arc<dyn Database>, name: Hash) -> Result<Self, StateError> {
        let progress = match blocks::read::<Progress>(&*database, Table::Meta, META_LOAD)? {
            Some(progress) if progress.name == name => progress,
            Some(_) => return Err(StateError::Unfinished),
            None => {
                let any = database.scan(Table::Meta, &KeyRange::all(), Direction::Forward, 1)?;
                if !any.is_empty() {
                    return Err(StateError::NotEmpty);
                }
                Progress { name, ..Progress::default() }
            }
        };
        Ok(Self { database, progress, unflushed: 0 })
    }

    /// How many chunks are in: the number of the next one.
    #[must_use]
    pub const fn chunks(&self) -> u32 {
        self.progress.chunks
    }

    /// Adds the next chunk: all leaves below `to` that follow those of the chunks before, in the order of key hashes; without
    /// `to` all that are left.
    ///
    /// # Errors
    /// The database failed.
    pub fn add(&mut self, leaves: Vec<StateLeaf>, to: Option<Hash>) -> Result<(), StateError> {
        let mut batch = WriteBatch::new();
        for leaf in &leaves {
            keys::put(&mut batch, &leaf.key, Some(&leaf.value));
        }
        let mut waiting = std::mem::take(&mut self.progress.held);
        waiting.extend(leaves);
        let hashes: Vec<_> = waiting.iter().map(Hashes::of).collect();
        let all: Vec<_> = waiting.iter().zip(&hashes).map(|(leaf, hashes)| hashes.leaf(leaf)).collect();
        let mut placing = Placing { batch, to, last: self.progress.last, bytes: 0, held: 0 };
        placing.place(Location::ROOT, &all);
        let Placing { mut batch, bytes, held, .. } = placing;
        let placed = waiting.len().saturating_sub(held);
        self.progress.last =
            hashes.get(..placed).and_then(<[_]>::last).map_or(self.progress.last, |last| Some(last.key));
        self.progress.held = waiting.split_off(placed);
        self.progress.chunks = self.progress.chunks.saturating_add(1);
        batch.put(Table::Meta, META_LOAD, self.progress.encode());
        self.database.write(batch, Durability::Derived)?;
        self.unflushed = self.unflushed.saturating_add(bytes);
        if self.unflushed >= FLUSH_BYTES {
            self.unflushed = 0;
            self.database.flush()?;
        }
        Ok(())
    }

    /// Puts everything on disk and adds to the batch what makes it the state of a height; the batch has to be synced.
    ///
    /// # Errors
    /// The database failed.
    pub fn finish(self, height: Height, root: Hash, batch: &mut WriteBatch) -> Result<(), StateError> {
        self.database.flush()?;
        batch.delete(Table::Meta, META_LOAD);
        put_checkpoint(batch, height.next());
        StateRecord { height, root, lowest: height }.put(batch);
        Ok(())
    }
}

/// What a page keeps of a leaf beside key and value.
struct Hashes {
    key: Hash,
    value: Hash,
    leaf: Hash,
}

impl Hashes {
    fn of(leaf: &StateLeaf) -> Self {
        let (key, value) = (sha256(&leaf.key), sha256(&leaf.value));
        Self { key, value, leaf: leaf_hash(&key, &value) }
    }

    fn leaf<'a>(&self, leaf: &'a StateLeaf) -> Leaf<'a> {
        let value = if leaf.value.len() > INLINE_VALUE_MAX {
            ValueRef::Large(self.value, None)
        } else {
            ValueRef::Inline(&leaf.value)
        };
        Leaf { key_hash: self.key, hash: self.leaf, key: &leaf.key, value }
    }
}

/// Puts leaves into pages.
struct Placing {
    batch: WriteBatch,
    /// No leaf below is missing.
    to: Option<Hash>,
    last: Option<Hash>,
    bytes: usize,
    /// How many leaves from the end find no page yet.
    held: usize,
}

impl Placing {
    fn place(&mut self, at: Location, leaves: &[Leaf<'_>]) {
        if leaves.is_empty() {
            return;
        }
        let is_cut = self.to.is_some_and(|to| at.contains(&to));
        // Leaves that were placed before the subtree was complete: it has more than a bucket.
        let is_node = leaves.len() > SPLIT_LEAVES_MAX || self.last.is_some_and(|last| at.contains(&last));
        if is_node && at.depth < DEPTH_MAX {
            let mut rest = leaves;
            for index in 0..CHILDREN {
                let end = rest.partition_point(|leaf| child_index(&leaf.key_hash, at.depth) <= index);
                let (own, later) = rest.split_at_checked(end).unwrap_or((rest, &[]));
                rest = later;
                self.place(at.child(index), own);
            }
        } else if is_cut {
            self.held = leaves.len();
        } else {
            let (key, record) = (Location::page_key(&at.prefix), Page::pack(at.depth, leaves).to_record());
            self.bytes = self.bytes.saturating_add(key.len()).saturating_add(record.len());
            self.batch.put(Table::StatePages, key, record);
        }
    }
}
