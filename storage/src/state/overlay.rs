//! The state after a block that is not committed.

use super::cache::Bucket;
use super::page::Page;
use super::tree::Slot;
use cairn_primitives::{Hash, Height};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What a block does to the state: new values by storage key, `None` for a deletion.
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The state after a block that is not committed: a root that shares all untouched nodes with its parent.
///
/// It needs no parent object: a parent may be committed, dropped or kept.
pub struct Overlay {
    /// The version that it is, in this process.
    pub(super) id: u64,
    /// The version that it was made on.
    pub(super) parent_id: u64,
    /// The height it would be committed at; zero in an empty store.
    pub(super) height: Height,
    pub(super) root: Slot,
    pub(super) changes: Arc<Changes>,
    /// For each change, in order, whether it differs from what was there.
    pub(super) effective: Arc<[bool]>,
    /// Pages to write (or delete) when it is committed, by the path prefix.
    pub(super) pages: BTreeMap<Hash, Option<Arc<Bucket>>>,
    /// Buckets of the parent that are no part of this version, with their pages.
    pub(super) replaced: Vec<(Arc<Bucket>, Arc<Page>)>,
    /// About how many bytes the parent keeps in memory for itself alone, once this version is the head.
    pub(super) kept_bytes: usize,
}

impl Overlay {
    /// The state root.
    #[must_use]
    pub const fn root(&self) -> Hash {
        self.root.hash
    }

    /// The changes as they were given, those without effect included.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The changes that differ from the state below.
    pub fn effective_changes(&self) -> impl Iterator<Item = (&Vec<u8>, Option<&Vec<u8>>)> {
        let marked = self.changes.iter().zip(&*self.effective);
        marked.filter(|(_, effective)| **effective).map(|((key, value), _)| (key, value.as_ref()))
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay").field("height", &self.height).field("root", &self.root.hash).finish_non_exhaustive()
    }
}
