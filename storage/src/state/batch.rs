//! One proof for many keys at a version that is kept.

use super::{StateError, StateReadModel, StateView};
use cairn_primitives::Height;
use cairn_primitives::state_proof::{BATCH_KEYS_MAX, BatchProof, BatchProofError, StateProof};

impl StateView {
    /// What the version holds under several keys, in one proof against [`Self::root`].
    ///
    /// # Errors
    /// There are no keys or more than [`BATCH_KEYS_MAX`], the proof would be too large, or the database failed.
    pub fn prove_batch(&self, keys: &[Vec<u8>]) -> Result<BatchProof, StateError> {
        merge(keys, || keys.iter().map(|key| self.prove(key)).collect())
    }
}

fn merge(
    keys: &[Vec<u8>],
    prove: impl FnOnce() -> Result<Vec<StateProof>, StateError>,
) -> Result<BatchProof, StateError> {
    if keys.len() > BATCH_KEYS_MAX {
        return Err(BatchProofError::KeyCount { count: keys.len() }.into());
    }
    let proofs = prove()?;
    Ok(BatchProof::merge(keys.iter().map(Vec::as_slice).zip(&proofs))?)
}

impl StateReadModel {
    /// What several keys have at a height, in one proof against that height's root.
    ///
    /// # Errors
    /// As [`StateView::prove_batch`]; the height is above the head or cannot be proved.
    pub fn prove_batch(&self, height: Height, keys: &[Vec<u8>]) -> Result<BatchProof, StateError> {
        merge(keys, || self.prove(height, keys))
    }
}
