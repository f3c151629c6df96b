//! Past states: the head's is taken back block by block; every root on the way must be that of the block's header.
//!
//! So every record of the past is covered by a root that validators signed, those at the head among them.

use super::{Audit, OnProgress, Phase};
use cairn_primitives::{Hash, Height};
use cairn_storage::state::audit::{StateAudit, StateFacts};
use cairn_storage::{Damages, DatabaseView, blocks};

/// How many states are between two reports of progress.
const TOLD_EVERY: u64 = 256;

/// What was found.
#[derive(Default)]
pub(super) struct States {
    /// Leaves of the head's state.
    pub(super) leaves: u64,
    /// Heights whose root was compared.
    pub(super) heights: u64,
    pub(super) damages: Damages,
}

/// Checks the state of the head and of every kept height.
pub(super) fn check(audit: &Audit, facts: Option<&StateFacts>, progress: &OnProgress<'_>) -> States {
    let mut states = States { damages: Damages::new(audit.listed_max), ..States::default() };
    let Some(facts) = facts else { return states };
    let view: &dyn DatabaseView = &*audit.database;
    let root_of = |height| root_of(view, height);
    let state = StateAudit { database: &audit.database, facts, root_of: &root_of };
    states.leaves = state.check_head(&mut states.damages, &mut |leaves| progress(Phase::State, leaves, None));
    let total = u64::from(facts.height.0.saturating_sub(facts.lowest.0));
    let told = &mut |heights: u64| {
        if heights.is_multiple_of(TOLD_EVERY) || heights == total {
            progress(Phase::History, heights, Some(total.max(heights)));
        }
    };
    states.heights = state.check_past(&audit.scratch, &mut states.damages, told);
    states
}

/// The state root that a header names, if the header is the one that its height had: that of the recorded hash, and the
/// parent of the next block.
fn root_of(view: &dyn DatabaseView, height: Height) -> Option<Hash> {
    let header = blocks::header(view, height).ok()??;
    let hash = header.hash();
    let is_named = blocks::header(view, height.next()).ok()?.is_none_or(|child| child.parent_hash == hash);
    (is_named && blocks::hash_of(view, height).ok()? == Some(hash)).then_some(header.state_root)
}
