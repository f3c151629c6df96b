//! The readers' side of the state: consistent views of committed versions, and values at past heights.

use super::StateError;
use super::keys::Keys;
use super::past::Past;
use super::shared::{Shared, Version};
use super::store::StateHead;
use super::unsaved::ArchiveMarker;
use super::values::Values;
use cairn_primitives::state_proof::{KeyRange, StateChunk, StateProof};
use cairn_primitives::{Hash, Height};
use std::fmt;
use std::sync::Arc;

/// Reads committed state; cheap to clone. It waits for the writer only while that makes a committed block's changes in memory.
#[derive(Clone)]
pub struct StateReadModel {
    shared: Arc<Shared>,
}

/// One committed version: reads and proofs from it agree with each other and with its root. Hold it briefly: it keeps what
/// later blocks replaced in memory.
#[derive(Clone)]
pub struct StateView {
    shared: Arc<Shared>,
    version: Arc<Version>,
}

impl StateReadModel {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The committed head, or `None` before the genesis state was committed.
    #[must_use]
    pub fn head(&self) -> Option<StateHead> {
        let head = Arc::clone(&self.shared.current().head);
        head.height.map(|height| StateHead { height, root: head.root })
    }

    /// The committed head as it is now, unmoved by later blocks.
    #[must_use]
    pub fn view(&self) -> StateView {
        let version = Arc::clone(&self.shared.current().head);
        StateView { shared: Arc::clone(&self.shared), version }
    }

    /// A recent version with its tree: the head or one of the last [`super::RECENT_VERSIONS_MAX`] before it.
    ///
    /// # Errors
    /// The height is above the head, or its tree is not kept any more.
    pub fn view_at(&self, height: Height) -> Result<StateView, StateError> {
        let current = self.shared.current();
        let versions = current.recent.iter().map(|(version, _)| version).chain([&current.head]);
        let mut lowest = None;
        for version in versions {
            if version.height == Some(height) {
                return Ok(StateView { shared: Arc::clone(&self.shared), version: Arc::clone(version) });
            }
            lowest = lowest.or(version.height);
        }
        let head = current.head.height.unwrap_or_default();
        if height > head {
            return Err(StateError::AboveHead { height, head });
        }
        Err(StateError::ProofNotKept { height, lowest: lowest.unwrap_or_default() })
    }

    /// The lowest height at which values can be read.
    #[must_use]
    pub fn lowest_height(&self) -> Height {
        self.shared.current().lowest
    }

    /// The lowest height at which keys can be proved.
    #[must_use]
    pub fn lowest_provable_height(&self) -> Height {
        let oldest = self.shared.current().oldest().height.unwrap_or_default();
        let unsaved = self.shared.unsaved();
        let archive = unsaved.archive.as_ref().filter(|archive| archive.version.is_some());
        archive.map_or(oldest, |archive| archive.marker.from.min(oldest))
    }

    /// The value of a key at a height.
    ///
    /// # Errors
    /// The height is pruned or above the head, or the database failed.
    pub fn get_at(&self, height: Height, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.check_kept(height)?;
        let value = self.shared.value_at(height, key)?;
        // A block that was committed meanwhile may have pruned what was just read.
        self.check_kept(height)?;
        Ok(value)
    }

    /// At most `count` (and [`super::KEYS_PER_CALL_MAX`]) keys with a prefix that have a value at a height, in ascending
    /// order, those after `start` only.
    ///
    /// # Errors
    /// The height is pruned or above the head, or the database failed.
    pub fn keys_at(
        &self,
        height: Height,
        prefix: &[u8],
        start: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<Vec<u8>>, StateError> {
        self.check_kept(height)?;
        let archived = self.shared.unsaved().archive.as_ref().map(|archive| archive.marker);
        let keys = Keys::new(&*self.shared.database, archived, height, prefix)?.list(start, count)?;
        self.check_kept(height)?;
        Ok(keys)
    }

    /// Proofs of what several keys have at a height, all from the same version, in the order asked.
    ///
    /// # Errors
    /// The height is above the head, its tree is not kept any more, or the database failed.
    pub fn prove(&self, height: Height, keys: &[Vec<u8>]) -> Result<Vec<StateProof>, StateError> {
        match self.view_at(height) {
            Err(StateError::ProofNotKept { .. }) => self.prove_past(height, keys),
            view => {
                let version = view?.version;
                self.shared.read(&version, |reading| keys.iter().map(|key| reading.prove(key)).collect())
            }
        }
    }

    /// The same where no version with its tree is kept: on an archive node.
    fn prove_past(&self, height: Height, keys: &[Vec<u8>]) -> Result<Vec<StateProof>, StateError> {
        let (waiting, archived) = {
            let unsaved = self.shared.unsaved();
            let archive = unsaved.archive.as_ref();
            let archived = archive.and_then(|archive| Some((archive.marker, archive.version.clone()?)));
            (archive.and_then(|archive| archive.waiting_version(height)), archived)
        };
        if let Some(version) = waiting {
            return self.shared.read(&version, |reading| keys.iter().map(|key| reading.prove(key)).collect());
        }
        let holds = |marker: &ArchiveMarker| (marker.from..=marker.height).contains(&height);
        let Some((_, version)) = archived.filter(|(marker, _)| holds(marker)) else {
            return Err(StateError::ProofNotKept { height, lowest: self.lowest_provable_height() });
        };
        self.shared.read(&version, |reading| {
            let mut past = Past::new(reading, height);
            keys.iter().map(|key| past.prove(key)).collect()
        })
    }

    /// Bytes of pages of the head that are in memory and could be dropped: what the cache budget bounds.
    #[must_use]
    pub fn page_cache_bytes(&self) -> usize {
        self.shared.cache.bytes()
    }

    /// Bytes of pages of the head that no checkpoint has written: what opening would compute anew from the diffs.
    #[must_use]
    pub fn unsaved_bytes(&self) -> usize {
        self.shared.cache.unsaved()
    }

    fn check_kept(&self, height: Height) -> Result<(), StateError> {
        let current = self.shared.current();
        let head = current.head.height.unwrap_or_default();
        if height > head {
            return Err(StateError::AboveHead { height, head });
        }
        if height < current.lowest {
            return Err(StateError::Pruned { height, lowest: current.lowest });
        }
        Ok(())
    }
}

impl StateView {
    /// The height; zero before genesis.
    #[must_use]
    pub fn height(&self) -> Height {
        self.version.height.unwrap_or_default()
    }

    /// The state root.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.version.root
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The database failed.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.shared.read(&self.version, |reading| reading.get(key))
    }

    /// The values of several keys, in the order asked; on several threads if there are many.
    ///
    /// # Errors
    /// The database failed.
    pub fn get_many(&self, keys: &[&[u8]]) -> Result<Values, StateError> {
        self.shared.read(&self.version, |reading| reading.get_many(keys))
    }

    /// What the version holds under a key, provable against [`Self::root`].
    ///
    /// # Errors
    /// The database failed.
    pub fn prove(&self, key: &[u8]) -> Result<StateProof, StateError> {
        self.shared.read(&self.version, |reading| reading.prove(key))
    }

    /// The leaves with key hashes from `from` on until their keys and values have `bytes_max` bytes (then one more fits, so
    /// that there is always one where any is left), in ascending order; with the range that they fill, and what proves
    /// against [`Self::root`] that they are all. The next chunk begins where the range ends.
    ///
    /// # Errors
    /// The database failed, or a long value was replaced and has left the window meanwhile.
    pub fn chunk(&self, from: Hash, bytes_max: usize) -> Result<(KeyRange, StateChunk), StateError> {
        self.shared.read(&self.version, |reading| reading.chunk(from, bytes_max))
    }
}

impl fmt::Debug for StateView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateView").field("height", &self.height()).field("root", &self.root()).finish_non_exhaustive()
    }
}
