//! What a block must satisfy before it is executed: form and context, by nothing but its bytes, its parent and the epoch.
//!
//! Consensus has compared epoch, view and proposer with the proposal and the timestamp with the clock; block sync has
//! compared the hash with a finalization. What is checked here holds for both. The hash of the next epoch's validators is a
//! result of execution, as the roots are.

use crate::epoch::NamedSet;
use crate::pending::Parent;
use cairn_primitives::block::BLOCK_BYTES_MAX;
use cairn_primitives::header::{ContextError, DigestItem, PROTOCOL_VERSION};
use cairn_primitives::{Block, ConsensusContext, Epoch, TimestampMs, ValidatorIndex};
use cairn_runtime::RulesSchedule;
use parity_scale_codec::Encode;

/// The answer to "may this block be voted for".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Form and context hold and every signature is valid.
    Valid,
    /// The block breaks a rule and always will.
    Invalid(String),
    /// Its parent is not here yet, or the rules at its height never will be.
    NotYet,
}

/// A rule that a block breaks, before execution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CheckError {
    #[error("the block has {0} bytes, at most {BLOCK_BYTES_MAX} are allowed")]
    TooLarge(usize),
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error(
        "the digest has {actual} items, {expected} are expected: the context, and a change of the rules where the chain spec \
         has one in the next block"
    )]
    Digest { actual: usize, expected: usize },
    #[error("the digest does not say that the rules change after this block, and the chain spec does")]
    RulesChange,
    #[error("proposer {0} is not in the validator set")]
    Proposer(ValidatorIndex),
    #[error("{field} of the header is {actual}, expected {expected}")]
    Field { field: &'static str, actual: String, expected: String },
    #[error("the timestamp {actual} does not lie after the parent's {parent}")]
    Timestamp { actual: TimestampMs, parent: TimestampMs },
}

fn check_field<T: PartialEq + ToString>(field: &'static str, actual: T, expected: T) -> Result<(), CheckError> {
    if actual == expected {
        Ok(())
    } else {
        Err(CheckError::Field { field, actual: actual.to_string(), expected: expected.to_string() })
    }
}

/// Checks a header against its parent and its epoch, and the body against the header.
pub(crate) fn check_block(
    block: &Block,
    parent: &Parent,
    epoch: Epoch,
    validators: &NamedSet,
    rules: &RulesSchedule,
) -> Result<ConsensusContext, CheckError> {
    let bytes = block.encoded_size();
    if bytes > BLOCK_BYTES_MAX {
        return Err(CheckError::TooLarge(bytes));
    }
    let header = &block.header;
    let context = header.context()?;
    let rules_change = rules.change_after(header.height());
    let (actual, expected) = (header.digest.len(), if rules_change { 2 } else { 1 });
    if actual != expected {
        return Err(CheckError::Digest { actual, expected });
    }
    if rules_change && header.digest.last() != Some(&DigestItem::RuntimeEnvironmentUpdated) {
        return Err(CheckError::RulesChange);
    }
    check_field("protocol version", context.protocol_version, PROTOCOL_VERSION)?;
    check_field("parent hash", header.parent_hash, parent.hash)?;
    check_field("height", header.height(), parent.height.next())?;
    check_field("history root", context.history_root, parent.history.root())?;
    check_field("epoch", context.epoch, epoch)?;
    check_field("validators hash", context.validators_hash, validators.hash)?;
    check_field("extrinsics root", header.extrinsics_root, block.extrinsics_root())?;
    if validators.set.get(context.proposer).is_none() {
        return Err(CheckError::Proposer(context.proposer));
    }
    if context.timestamp <= parent.timestamp {
        return Err(CheckError::Timestamp { actual: context.timestamp, parent: parent.timestamp });
    }
    Ok(context)
}
