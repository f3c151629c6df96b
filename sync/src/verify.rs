//! Verification of finalized blocks and ranges of them.

use crate::validators::ValidatorSets;
use cairn_primitives::certificate::CertificateError;
use cairn_primitives::message::SYNC_BLOCKS_MAX;
use cairn_primitives::{Certificate, Epoch, FinalizedBlock, Hash, Height, Proposal, Subject, ValidatorSet};
use parity_scale_codec::Encode;

/// Why blocks or a finalization do not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// No blocks.
    #[error("no blocks")]
    Empty,
    /// More blocks than asked for, though an earlier one could have closed the range.
    #[error("{actual} blocks, {asked} were asked for")]
    TooMany {
        /// Blocks received.
        actual: usize,
        /// Blocks asked for.
        asked: u32,
    },
    /// A block at another height than its place calls for.
    #[error("a block of height {actual} in the place of height {expected}")]
    WrongHeight {
        /// Found.
        actual: Height,
        /// Wanted.
        expected: Height,
    },
    /// A block is not the child of the one before it.
    #[error("block {0} is not the parent of the next")]
    BrokenLink(Height),
    /// The extrinsics are not those the header commits to.
    #[error("the extrinsics of block {0} are not those of its header")]
    WrongBody(Height),
    /// The last block has no finalization.
    #[error("block {0} comes without a finalization and nothing after it covers it")]
    NotFinalized(Height),
    /// The certificate is about another block or is not a finalization.
    #[error("the certificate does not finalize the block it comes with")]
    WrongSubject,
    /// The certificate does not hold.
    #[error("the finalization does not hold: {0}")]
    BadCertificate(#[from] CertificateError),
    /// The blocks go past the end of an epoch.
    #[error("the blocks {first} to {last} are of more than one epoch")]
    SpansEpochs {
        /// The first height.
        first: Height,
        /// The last height.
        last: Height,
    },
    /// The certificate is of another epoch than the block's height.
    #[error("the finalization is of epoch {actual}, the block's height of epoch {expected}")]
    WrongEpoch {
        /// In the certificate.
        actual: Epoch,
        /// Of the height.
        expected: Epoch,
    },
    /// The validator set is not known here, not yet or not any more; not the sender's fault.
    #[error("the validator set of epoch {0} is not known here")]
    UnknownEpoch(Epoch),
}

/// Consecutive blocks, proved final by the finalization of the last; only the last one carries one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRange {
    blocks: Vec<FinalizedBlock>,
    last_hash: Hash,
    bytes: usize,
}

impl VerifiedRange {
    /// The blocks, in order.
    #[must_use]
    pub fn blocks(&self) -> &[FinalizedBlock] {
        &self.blocks
    }

    /// The blocks, in order.
    #[must_use]
    pub fn into_blocks(self) -> Vec<FinalizedBlock> {
        self.blocks
    }

    /// The hash of the last block.
    #[must_use]
    pub const fn last_hash(&self) -> Hash {
        self.last_hash
    }

    /// The height of the first block.
    #[must_use]
    pub fn first(&self) -> Height {
        self.blocks.first().map_or(Height::ZERO, |first| first.block.header.height())
    }

    /// The height of the last block.
    #[must_use]
    pub fn last(&self) -> Height {
        self.blocks.last().map_or(Height::ZERO, |last| last.block.header.height())
    }

    /// Bytes of all blocks, encoded.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Leaves out the blocks below `height`; `None` if nothing is left.
    #[must_use]
    pub fn starting_at(mut self, height: Height) -> Option<Self> {
        let below = self.blocks.partition_point(|block| block.block.header.height() < height);
        if below > 0 {
            self.blocks.drain(..below);
            self.bytes = self.blocks.encoded_size();
        }
        (!self.blocks.is_empty()).then_some(self)
    }
}

/// Verifies the answer to a request for `count` blocks from `from` on.
///
/// It may be shorter. It may be longer only where no block among the first `count` could close it. Certificates other
/// than the last are taken off unverified.
///
/// # Errors
/// The blocks are not consecutive from `from` on, of more than one epoch, not linked, do not match their headers, or the last one's
/// finalization does not hold.
pub fn verify_range(
    mut blocks: Vec<FinalizedBlock>,
    from: Height,
    count: u32,
    genesis: &Hash,
    validators: &ValidatorSets,
) -> Result<VerifiedRange, VerifyError> {
    check_length(&blocks, count)?;
    check_heights(&blocks, from)?;
    check_epochs(&blocks, validators)?;
    // One certificate first: it is cheap to refuse, and without it the rest is not worth hashing.
    let last = blocks.last().ok_or(VerifyError::Empty)?;
    let finalization = last.finalization.as_ref().ok_or(VerifyError::NotFinalized(last.block.header.height()))?;
    let last_hash = last.block.header.hash();
    let proposal = verify_finalization(finalization, last.block.header.height(), genesis, validators)?;
    if proposal.block != last_hash {
        return Err(VerifyError::WrongSubject);
    }
    let mut expected = last_hash;
    for block in blocks.iter().rev() {
        let header = &block.block.header;
        if header.hash() != expected {
            return Err(VerifyError::BrokenLink(header.height()));
        }
        expected = header.parent_hash;
    }
    for block in &blocks {
        if block.block.extrinsics_root() != block.block.header.extrinsics_root {
            return Err(VerifyError::WrongBody(block.block.header.height()));
        }
    }
    if let Some((_, inner)) = blocks.split_last_mut() {
        inner.iter_mut().for_each(|block| block.finalization = None);
    }
    let bytes = blocks.encoded_size();
    Ok(VerifiedRange { blocks, last_hash, bytes })
}

/// Verifies that a certificate is a finalization by a quorum of the validators that vote on blocks of `height`. Its view may
/// lie above the one in the block's header: an epoch's last block is proposed again until it is final.
///
/// # Errors
/// It is of another kind or epoch, the set is not known, or it does not hold.
pub(crate) fn verify_finalization(
    certificate: &Certificate,
    height: Height,
    genesis: &Hash,
    validators: &ValidatorSets,
) -> Result<Proposal, VerifyError> {
    let epoch = validators.schedule().epoch_of(height);
    verify_subject(certificate, epoch, genesis, || validators.get(epoch))
}

/// Verifies that a certificate is a finalization by a quorum of an epoch's validators.
///
/// # Errors
/// It is of another kind or epoch, there is no set, or it does not hold.
pub(crate) fn verify_subject<S: AsRef<ValidatorSet>>(
    certificate: &Certificate,
    epoch: Epoch,
    genesis: &Hash,
    set: impl FnOnce() -> Option<S>,
) -> Result<Proposal, VerifyError> {
    let Subject::Finalize(proposal) = certificate.subject else { return Err(VerifyError::WrongSubject) };
    if proposal.epoch != epoch {
        return Err(VerifyError::WrongEpoch { actual: proposal.epoch, expected: epoch });
    }
    let set = set().ok_or(VerifyError::UnknownEpoch(epoch))?;
    certificate.verify(set.as_ref(), genesis)?;
    Ok(proposal)
}

fn check_length(blocks: &[FinalizedBlock], count: u32) -> Result<(), VerifyError> {
    let asked = usize::try_from(count).unwrap_or(usize::MAX);
    let limit = usize::try_from(SYNC_BLOCKS_MAX).unwrap_or(usize::MAX);
    let closed_early =
        blocks.split_last().is_some_and(|(_, inner)| inner.iter().any(|block| block.finalization.is_some()));
    if blocks.len() > limit || blocks.len() > asked && closed_early {
        return Err(VerifyError::TooMany { actual: blocks.len(), asked: count });
    }
    Ok(())
}

fn check_heights(blocks: &[FinalizedBlock], from: Height) -> Result<(), VerifyError> {
    let mut expected = from;
    for block in blocks {
        let actual = block.block.header.height();
        if actual != expected {
            return Err(VerifyError::WrongHeight { actual, expected });
        }
        expected = expected.next();
    }
    Ok(())
}

fn check_epochs(blocks: &[FinalizedBlock], validators: &ValidatorSets) -> Result<(), VerifyError> {
    let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return Ok(()) };
    let (first, last) = (first.block.header.height(), last.block.header.height());
    let schedule = validators.schedule();
    if schedule.epoch_of(first) == schedule.epoch_of(last) {
        Ok(())
    } else {
        Err(VerifyError::SpansEpochs { first, last })
    }
}
