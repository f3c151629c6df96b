//! Proofs that a block is in the history of a later one.
//!
//! The list of all header hashes grows for ever, and its tree is not stored: the root of each full group of
//! [`GROUP_LEN`] hashes is computed when it is first needed and kept in memory, 32 bytes for so many blocks. So the first
//! proof after a start reads every hash once, later ones read two groups at most.

use crate::error::ReadError;
use cairn_primitives::list_tree::{GROUP_LEN, InclusionProof, LeafSource, prove_from, root};
use cairn_primitives::{Hash, Height};
use cairn_storage::{DatabaseView, blocks};
use std::sync::{Mutex, PoisonError};

/// The roots of full groups that were computed, by group.
#[derive(Default)]
pub(crate) struct HistoryGroups(Mutex<Vec<Hash>>);

/// The hashes of committed headers, with the roots of groups.
struct Source<'a> {
    view: &'a dyn DatabaseView,
    groups: &'a HistoryGroups,
}

impl HistoryGroups {
    /// Proves the header hash of `block` among those of all blocks below `under`; both are committed.
    ///
    /// # Errors
    /// `block` is not below `under`; headers are missing here, as on a node that began with a snapshot; the database failed.
    pub(crate) fn prove(
        &self,
        view: &dyn DatabaseView,
        block: Height,
        under: Height,
    ) -> Result<InclusionProof, ReadError> {
        let mut source = Source { view, groups: self };
        let proof = prove_from(&mut source, under.0.into(), block.0.into())?;
        proof.ok_or(ReadError::NotBelow { block, under })
    }

    fn known(&self, group: u64) -> Option<Hash> {
        let groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        usize::try_from(group).ok().and_then(|group| groups.get(group).copied())
    }

    /// Keeps the root of the next group; another is only used once.
    fn keep(&self, group: u64, root: Hash) {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if u64::try_from(groups.len()) == Ok(group) {
            groups.push(root);
        }
    }
}

impl Source<'_> {
    fn height(index: u64) -> Height {
        // Below the height of a committed block.
        Height(u32::try_from(index).unwrap_or(u32::MAX))
    }

    fn missing(&self) -> ReadError {
        match blocks::lowest_block(self.view) {
            Ok(lowest) => ReadError::NoHistory { lowest },
            Err(error) => error.into(),
        }
    }
}

impl LeafSource for Source<'_> {
    type Error = ReadError;

    fn item(&mut self, index: u64) -> Result<Hash, ReadError> {
        blocks::hash_of(self.view, Self::height(index))?.ok_or_else(|| self.missing())
    }

    fn group(&mut self, group: u64) -> Result<Hash, ReadError> {
        if let Some(root) = self.groups.known(group) {
            return Ok(root);
        }
        let count = usize::try_from(GROUP_LEN).unwrap_or(usize::MAX);
        let hashes = blocks::hashes_from(self.view, Self::height(group.saturating_mul(GROUP_LEN)), count)?;
        if hashes.len() != count {
            return Err(self.missing());
        }
        let root = root(&hashes);
        self.groups.keep(group, root);
        Ok(root)
    }
}
