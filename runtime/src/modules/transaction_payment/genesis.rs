use super::{FeeParameters, FeeParametersError, PARAMETERS};
use parity_scale_codec::Encode;
use std::collections::BTreeMap;

/// Writes the fee parameters of genesis.
pub(crate) fn build(
    parameters: &FeeParameters,
    state: &mut BTreeMap<Vec<u8>, Vec<u8>>,
) -> Result<(), FeeParametersError> {
    parameters.check()?;
    state.insert(PARAMETERS.key().to_vec(), parameters.encode());
    Ok(())
}
