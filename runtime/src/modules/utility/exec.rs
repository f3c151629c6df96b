//! Execution of Utility's calls.

use super::{BATCH_CALLS_MAX, Call, Error, Event};
use crate::dispatch::{DispatchResult, Fault, Origin};
use crate::modules::RuntimeError;
use crate::modules::system::exec::ensure_signed;
use crate::overlay::Overlay;

/// Executes a call.
pub(crate) fn dispatch(overlay: &mut Overlay<'_>, origin: Origin, call: &Call) -> DispatchResult {
    ensure_signed(origin)?;
    if call.calls().len() > BATCH_CALLS_MAX {
        return Err(Fault::Failed(RuntimeError::Utility(Error::TooManyCalls).into()));
    }
    let mut failed = false;
    for (index, item) in (0u32..).zip(call.calls()) {
        match (overlay.transactional(|overlay| item.dispatch(overlay, origin)), call) {
            (Ok(()), _) => overlay.emit(Event::ItemCompleted),
            (Err(Fault::Failed(error)), Call::batch { .. }) => {
                overlay.emit(Event::BatchInterrupted { index, error });
                return Ok(());
            }
            (Err(Fault::Failed(error)), Call::force_batch { .. }) => {
                failed = true;
                overlay.emit(Event::ItemFailed { error });
            }
            (Err(fault), _) => return Err(fault),
        }
    }
    overlay.emit(if failed { Event::BatchCompletedWithErrors } else { Event::BatchCompleted });
    Ok(())
}
