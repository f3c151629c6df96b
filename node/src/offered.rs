//! The snapshots that the node offers to others, and the one that it begins with itself.
//!
//! ```text
//!   <data>/sync/<height>/    finished, offered; the newest few are kept
//!   <data>/sync/joining/     on its way here: manifest, and the chunks that came
//! ```
//! What a node began with it offers to others. Snapshots that an operator makes are elsewhere and are never removed.

use crate::exit::{ExitContext as _, ExitKind};
use crate::snapshot::{MANIFEST, chunk_file, list, read_chunk, read_manifest};
use cairn_primitives::message::{MANIFEST_PART_BYTES, StateRequest, StateResponse};
use cairn_primitives::snapshot::SnapshotOffer;
use cairn_primitives::{Hash, Height};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// How many snapshots are kept: the newest, and the one before, which others may be fetching.
const KEPT: usize = 2;

fn sync_folder(data_dir: &Path) -> PathBuf {
    data_dir.join("sync")
}

/// The folder of the snapshot that the node is beginning with.
#[must_use]
pub fn joining_folder(data_dir: &Path) -> PathBuf {
    sync_folder(data_dir).join("joining")
}

/// Snapshots on disk, for any number of threads.
#[derive(Clone, Debug)]
pub struct Offered {
    folder: PathBuf,
    /// Newest first.
    offers: Arc<RwLock<Vec<SnapshotOffer>>>,
}

impl Offered {
    /// The finished snapshots in a data folder. One whose manifest cannot be read is left out.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn load(data_dir: &Path) -> anyhow::Result<Self> {
        let offered = Self { folder: sync_folder(data_dir), offers: Arc::default() };
        for (_, folder) in list(&offered.folder)? {
            match offer_of(&folder) {
                Ok(offer) => offered.insert(offer),
                Err(error) => tracing::warn!("a snapshot is not offered: {}", crate::exit::one_line(&error)),
            }
        }
        Ok(offered)
    }

    /// The folder for a snapshot of this height.
    #[must_use]
    pub fn folder(&self, height: Height) -> PathBuf {
        self.folder.join(height.to_string())
    }

    /// The height of the newest.
    #[must_use]
    pub fn newest(&self) -> Option<Height> {
        self.read().first().map(|offer| offer.height)
    }

    /// Offers the finished snapshot of this height, and removes the oldest.
    ///
    /// # Errors
    /// It cannot be read, or an old one not be removed.
    pub fn add(&self, height: Height) -> anyhow::Result<()> {
        self.insert(offer_of(&self.folder(height))?);
        let old = {
            let mut offers = self.offers.write().unwrap_or_else(PoisonError::into_inner);
            let kept = KEPT.min(offers.len());
            offers.split_off(kept)
        };
        for offer in old {
            let folder = self.folder(offer.height);
            std::fs::remove_dir_all(&folder)
                .exit_with(ExitKind::Failure, format!("cannot remove the old snapshot {}", folder.display()))?;
        }
        Ok(())
    }

    /// Makes the snapshot that the node began with one that it offers.
    ///
    /// # Errors
    /// The folder cannot be renamed or removed.
    pub fn take_over(&self, joining: &Path) -> anyhow::Result<()> {
        let cannot = || format!("cannot rename or remove {}", joining.display());
        let whole = read_manifest(joining)
            .ok()
            .filter(|manifest| (0..manifest.chunks.len()).all(|index| chunk_file(joining, index).exists()));
        let Some(manifest) = whole else {
            return std::fs::remove_dir_all(joining).exit_with(ExitKind::Config, cannot());
        };
        let folder = self.folder(manifest.height());
        if folder.exists() {
            return std::fs::remove_dir_all(joining).exit_with(ExitKind::Config, cannot());
        }
        std::fs::rename(joining, &folder).exit_with(ExitKind::Config, cannot())?;
        self.add(manifest.height())
    }

    /// Answers a peer from the files; what is not here is refused.
    #[must_use]
    pub fn answer(&self, request: &StateRequest) -> StateResponse {
        let known = |id: &Hash| self.read().iter().find(|offer| offer.id == *id).map(|offer| self.folder(offer.height));
        let found = match request {
            StateRequest::Snapshots => return StateResponse::Snapshots(self.read()),
            StateRequest::Manifest { id, from } => known(id).map(|folder| {
                let part = read_part(&folder.join(MANIFEST), u64::from(*from));
                part.map(StateResponse::Manifest).map_err(anyhow::Error::from)
            }),
            StateRequest::Chunk { id, index } => known(id).map(|folder| {
                let index = usize::try_from(*index).unwrap_or(usize::MAX);
                read_chunk(&folder, index).map(StateResponse::Chunk)
            }),
        };
        match found {
            Some(Ok(response)) => response,
            Some(Err(error)) => {
                // An old one may be removed while it is read, and peers may ask for chunks that it does not have.
                tracing::debug!("a part of a snapshot cannot be given: {}", crate::exit::one_line(&error));
                StateResponse::Refused
            }
            None => StateResponse::Refused,
        }
    }

    fn insert(&self, offer: SnapshotOffer) {
        let mut offers = self.offers.write().unwrap_or_else(PoisonError::into_inner);
        offers.retain(|other| other.id != offer.id);
        let place = offers.partition_point(|other| other.height > offer.height);
        offers.insert(place, offer);
    }

    fn read(&self) -> Vec<SnapshotOffer> {
        // Each change leaves the list whole: a panic elsewhere does not spoil it.
        self.offers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn offer_of(folder: &Path) -> anyhow::Result<SnapshotOffer> {
    let manifest = read_manifest(folder)?;
    let path = folder.join(MANIFEST);
    let length = std::fs::metadata(&path).exit_with(ExitKind::Failure, format!("cannot read {}", path.display()))?;
    let manifest_bytes = u32::try_from(length.len())?;
    Ok(SnapshotOffer { id: manifest.id(), height: manifest.height(), manifest_bytes })
}

fn read_part(path: &Path, from: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(u64::try_from(MANIFEST_PART_BYTES).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
