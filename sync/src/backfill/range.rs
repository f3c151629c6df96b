//! Verification of archived blocks: a range that follows from the hash of its highest block.

use crate::verify::{VerifyError, verify_subject};
use cairn_primitives::header::ContextError;
use cairn_primitives::message::SYNC_BLOCKS_MAX;
use cairn_primitives::{ArchivedBlock, Epoch, EpochSchedule, Hash, Height, ValidatorSet};
use parity_scale_codec::Encode;
use std::sync::Arc;

/// Why archived blocks do not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// What other blocks may do wrong, too.
    #[error(transparent)]
    Blocks(#[from] VerifyError),
    /// The header does not say what every header says.
    #[error("the header of block {height} cannot be read: {reason}")]
    BadHeader {
        /// The block.
        height: Height,
        /// What is wrong.
        reason: ContextError,
    },
    /// The events are not those that the header commits to.
    #[error("the events of block {0} are not those of its header")]
    WrongEvents(Height),
    /// The last block of an epoch comes without its own finalization.
    #[error("block {0} closes its epoch and comes without a finalization of its own")]
    UnprovedHandover(Height),
    /// So many blocks without a finalization of their own that nobody could be served those below: there were more.
    #[error("no block from {0} on comes with a finalization for {SYNC_BLOCKS_MAX} blocks")]
    Unfinalized(Height),
    /// The highest block is not the parent of the lowest one here.
    #[error("block {0} is not the parent of the next one, which is here")]
    ForeignChain(Height),
}

/// What archived blocks are checked against.
pub trait ArchiveRules {
    /// The hash of the genesis block.
    fn genesis(&self) -> Hash;

    /// Which heights belong to which epoch.
    fn schedule(&self) -> EpochSchedule;

    /// The validators of an epoch; `None` where they cannot be told, which is nobody's fault.
    fn validators(&self, epoch: Epoch) -> Option<Arc<ValidatorSet>>;

    /// The root over an encoded list of events; `None` where it does not decode.
    fn events_root(&self, events: &[u8]) -> Option<Hash>;
}

/// Blocks in falling order of height, each the parent of the one before, with their events and finalizations, all of which
/// hold. That the first is part of the chain is for its child to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedRange {
    blocks: Vec<ArchivedBlock>,
    last: Height,
    last_hash: Hash,
    first: Height,
    parent: Hash,
    finalized: Option<(Height, Height)>,
    bytes: usize,
}

impl ArchivedRange {
    /// Verifies the answer to a request for `count` blocks from `last` down.
    ///
    /// # Errors
    /// The blocks are not those asked for, or do not hold.
    pub fn verify(
        blocks: Vec<ArchivedBlock>,
        last: Height,
        count: u32,
        rules: &impl ArchiveRules,
    ) -> Result<Self, ArchiveError> {
        if blocks.len() > usize::try_from(count).unwrap_or(usize::MAX) {
            return Err(VerifyError::TooMany { actual: blocks.len(), asked: count }.into());
        }
        let mut expected: Option<Hash> = None;
        let (mut height, mut last_hash) = (last, Hash::ZERO);
        let mut finalized: Option<(Height, Height)> = None;
        for archived in &blocks {
            let header = &archived.block.header;
            if header.height() != height || height == Height::ZERO {
                return Err(VerifyError::WrongHeight { actual: header.height(), expected: height }.into());
            }
            let hash = header.hash();
            match expected {
                Some(expected) if expected != hash => return Err(VerifyError::BrokenLink(height).into()),
                Some(_) => {}
                None => last_hash = hash,
            }
            check_block(archived, height, hash, rules)?;
            if archived.finalization.is_some() {
                finalized = Some(finalized.map_or((height, height), |(highest, _)| (highest, height)));
            }
            expected = Some(header.parent_hash);
            height = height.previous();
        }
        let parent = expected.ok_or(VerifyError::Empty)?;
        let bytes = blocks.encoded_size();
        Ok(Self { blocks, last, last_hash, first: height.next(), parent, finalized, bytes })
    }

    /// The blocks, highest first.
    #[must_use]
    pub fn blocks(&self) -> &[ArchivedBlock] {
        &self.blocks
    }

    /// The blocks, highest first, by value.
    #[must_use]
    pub fn into_blocks(self) -> Vec<ArchivedBlock> {
        self.blocks
    }

    /// The highest height.
    #[must_use]
    pub const fn last(&self) -> Height {
        self.last
    }

    /// The hash of the highest block.
    #[must_use]
    pub const fn last_hash(&self) -> Hash {
        self.last_hash
    }

    /// The lowest height.
    #[must_use]
    pub const fn first(&self) -> Height {
        self.first
    }

    /// The hash of the block below the lowest.
    #[must_use]
    pub const fn parent(&self) -> Hash {
        self.parent
    }

    /// The highest and the lowest of the blocks that come with a finalization of their own.
    pub(super) const fn finalized(&self) -> Option<(Height, Height)> {
        self.finalized
    }

    /// Their encoded size.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Checks what belongs to a header whose place in the chain is known: body, events, finalization.
fn check_block(
    archived: &ArchivedBlock,
    height: Height,
    hash: Hash,
    rules: &impl ArchiveRules,
) -> Result<(), ArchiveError> {
    let ArchivedBlock { block, finalization, events } = archived;
    if block.extrinsics_root() != block.header.extrinsics_root {
        return Err(VerifyError::WrongBody(height).into());
    }
    let context = block.header.context().map_err(|reason| ArchiveError::BadHeader { height, reason })?;
    if rules.events_root(events) != Some(context.events_root) {
        return Err(ArchiveError::WrongEvents(height));
    }
    let Some(finalization) = finalization else {
        let closes = rules.schedule().is_closing(height);
        return if closes { Err(ArchiveError::UnprovedHandover(height)) } else { Ok(()) };
    };
    let epoch = rules.schedule().epoch_of(height);
    let set = || rules.validators(epoch);
    let proposal = verify_subject(finalization, epoch, &rules.genesis(), set)?;
    if proposal.block == hash { Ok(()) } else { Err(VerifyError::WrongSubject.into()) }
}
