//! What an engine tells about itself, for people and for monitoring; nothing in the protocol reads it.

use crate::config::Head;
use crate::guard::Silence;
use cairn_primitives::{Epoch, Power, PublicKey, ValidatorIndex, View, VoteKind};

/// A picture of an engine at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineState {
    /// The epoch.
    pub epoch: Epoch,
    /// The current view.
    pub view: View,
    /// Its leader.
    pub leader: ValidatorIndex,
    /// Our own index; `None` for an observer.
    pub own_index: Option<ValidatorIndex>,
    /// Why our key signs nothing, if so.
    pub silence: Option<Silence>,
    /// Whether a proposal for the current view was received.
    pub proposal_seen: bool,
    /// Whether we voted to notarize in the current view.
    pub notarize_cast: bool,
    /// Whether we voted to nullify the current view.
    pub nullify_cast: bool,
    /// Whether we voted to finalize the current view.
    pub finalize_cast: bool,
    /// The votes seen in the current view.
    pub votes: VoteCount,
    /// The power that makes a certificate.
    pub quorum: Power,
    /// The power of all validators.
    pub total_power: Power,
    /// The factor on time-outs after views without a block, 1 to 64.
    pub backoff: u64,
    /// What comes next if nothing happens, soonest first.
    pub deadlines: Vec<Deadline>,
    /// The highest view with a finalization.
    pub finalized_view: View,
    /// The last block handed to the ledger for commit.
    pub committed: Head,
    /// Certificates and blocks that are being fetched.
    pub fetches: usize,
    /// Every validator, in the order of the set.
    pub validators: Vec<ValidatorState>,
    /// The rule that is waited on, and for what, in words.
    pub waiting_for: String,
    /// The rule alone, such as `R7`; `None` where the protocol has not begun or is over.
    pub rule: Option<&'static str>,
    /// The votes that are short of a quorum and would go on: those of the current view first, then the finalize votes of
    /// the highest view that we voted to finalize.
    pub needed: Vec<NeededVotes>,
    /// Why there is no new block in this moment, for an operator: one sentence.
    pub why: String,
}

/// Votes of one kind in one view that do not make a certificate yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededVotes {
    /// The kind.
    pub kind: VoteKind,
    /// The view.
    pub view: View,
    /// The power of those seen, signatures perhaps not verified yet.
    pub seen: Power,
    /// Whose votes are not here.
    pub missing: Vec<ValidatorIndex>,
}

/// The power behind the current view's votes, by kind; signatures may not be verified yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VoteCount {
    /// Power of the notarize votes.
    pub notarize: Power,
    /// Power of the nullify votes.
    pub nullify: Power,
    /// Power of the finalize votes.
    pub finalize: Power,
}

/// A timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// What happens then.
    pub name: &'static str,
    /// Milliseconds from now; 0 when due.
    pub left_ms: u64,
}

/// What is known about a validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidatorState {
    /// Its index.
    pub index: ValidatorIndex,
    /// Its consensus key.
    pub key: PublicKey,
    /// Its power.
    pub power: Power,
    /// Whether its stream is up; true for ourselves.
    pub connected: bool,
    /// Milliseconds since its last message; `None` if there was none. 0 for ourselves.
    pub heard_ms_ago: Option<u64>,
    /// The highest view a message of it named.
    pub seen_view: View,
}
