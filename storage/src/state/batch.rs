//! One proof for many keys at a version that is kept.

use super::{StateError, StateReadModel, StateView};
use cairn_primitives::Height;
use cairn_primitives::state_proof::{BATCH_KEYS_MAX, BatchProof, BatchProofError};

impl StateView {
    /// What the version holds under several keys, in one proof against [`Self::root`].
    ///
    /// # Errors
    /// There are no keys or more than [`BATCH_KEYS_MAX`], the proof would be too large, or the database failed.
    pub fn prove_batch(&self, keys: &[Vec<u8>]) -> Result<BatchProof, StateError> {
        if keys.len() > BATCH_KEYS_MAX {
            return Err(BatchProofError::KeyCount { count: keys.len() }.into());
        }
        let proofs = keys.iter().map(|key| self.prove(key)).collect::<Result<Vec<_>, _>>()?;
        Ok(BatchProof::merge(keys.iter().map(Vec::as_slice).zip(&proofs))?)
    }
}

impl StateReadModel {
    /// What several keys have at a height, in one proof against that height's root.
    ///
    /// # Errors
    /// As [`StateView::prove_batch`]; the height is above the head or its tree is not kept any more.
    pub fn prove_batch(&self, height: Height, keys: &[Vec<u8>]) -> Result<BatchProof, StateError> {
        self.view_at(height)?.prove_batch(keys)
    }
}
