//! The state after a block that is not committed.

use super::diff::Filter;
use super::layer::LayerCell;
use super::update::{Old, Pages, Replacements};
use cairn_primitives::{Hash, Height, StateChanges};
use std::fmt;
use std::sync::Arc;

/// A storage key that a block changed, its new value (none after a deletion), and what that replaced.
pub(super) type EffectiveChange<'a> = (&'a [u8], Option<&'a [u8]>, Old<'a>);

/// The state after a block that is not committed: what it has otherwise than its parent.
///
/// It needs no parent object: a parent may be committed, dropped or kept. It can be read and built on until the versions
/// between it and the committed head are forgotten.
pub struct Overlay {
    /// The version that it is, in this process.
    pub(super) id: u64,
    /// The version that it was made on.
    pub(super) parent_id: u64,
    /// The height it would be committed at; zero in an empty store.
    pub(super) height: Height,
    pub(super) root: Hash,
    pub(super) cell: Arc<LayerCell>,
    /// Those of the versions below that were not committed, the nearest first.
    pub(super) ancestors: Vec<Arc<LayerCell>>,
    pub(super) changes: StateChanges,
    pub(super) replaced: Replacements,
    /// The keys of the changes that make a difference.
    pub(super) filter: Arc<Filter>,
    pub(super) pages: Pages,
}

impl Overlay {
    /// The state root.
    #[must_use]
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// The changes as they were given, those without effect included.
    #[must_use]
    pub const fn changes(&self) -> &StateChanges {
        &self.changes
    }

    /// The changes that differ from the state below.
    pub fn effective_changes(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.effects().map(|(key, value, _)| (key, value))
    }

    /// The same with what they replace.
    pub(super) fn effects(&self) -> impl Iterator<Item = EffectiveChange<'_>> {
        let all = self.changes.iter().zip(self.replaced.iter());
        all.filter_map(|((key, value), old)| Some((key, value, old?)))
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay").field("height", &self.height).field("root", &self.root).finish_non_exhaustive()
    }
}
