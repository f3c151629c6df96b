//! Execution of System's calls.

use super::{Call, Event};
use crate::dispatch::{DispatchError, DispatchResult, Origin};
use crate::overlay::Overlay;
use cairn_primitives::AccountId32;
use cairn_primitives::hash::blake2_256;

/// Executes a call.
pub(crate) fn dispatch(overlay: &mut Overlay<'_>, origin: Origin, call: &Call) -> DispatchResult {
    let sender = ensure_signed(origin)?;
    match call {
        Call::remark { .. } => Ok(()),
        Call::remark_with_event { remark } => remark_with_event(overlay, sender, remark),
    }
}

fn remark_with_event(overlay: &mut Overlay<'_>, sender: AccountId32, remark: &[u8]) -> DispatchResult {
    overlay.emit(Event::Remarked { sender, hash: blake2_256(remark) });
    Ok(())
}

/// The account that signed.
pub(crate) const fn ensure_signed(origin: Origin) -> Result<AccountId32, DispatchError> {
    match origin {
        Origin::Signed(account) => Ok(account),
        Origin::Block => Err(DispatchError::BadOrigin),
    }
}
