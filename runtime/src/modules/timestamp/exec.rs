//! Execution of Timestamp's calls.

use super::{Call, NOW};
use crate::dispatch::{DispatchError, DispatchResult, Origin};
use crate::overlay::Overlay;

/// Executes a call.
pub(crate) fn dispatch(overlay: &mut Overlay<'_>, origin: Origin, call: &Call) -> DispatchResult {
    match (origin, call) {
        (Origin::Block, Call::set { now }) => Ok(overlay.set_value(&NOW, now)?),
        (Origin::Signed(_), Call::set { .. }) => Err(DispatchError::BadOrigin.into()),
    }
}
