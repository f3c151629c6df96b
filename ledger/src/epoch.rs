//! The running epoch, and how one hands over to the next.
//!
//! The set of an epoch is what the state after its opening block says. It is written in the same batch as that block, so a
//! ledger that opens at or above it knows who votes. Until then nothing is built on the block: what stands on it depends on
//! a set that is not fixed.

use crate::error::LedgerError;
use crate::reader::Head;
use cairn_primitives::{Certificate, Epoch, EpochSchedule, Hash, Header, Height, ValidatorSet};
use cairn_storage::{DatabaseError, DatabaseView, Table, blocks};
use std::sync::Arc;

/// An epoch whose opening block is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedEpoch {
    /// Which one.
    pub epoch: Epoch,
    /// Who votes in it.
    pub validators: Arc<ValidatorSet>,
    /// The block it stands on: the last one of the epoch before, or genesis.
    pub opening: Head,
    /// The height of its last block; `None` for an epoch without end.
    pub closing: Option<Height>,
}

/// What shows that one epoch handed over to the next: all that a light client needs to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The header of the epoch's last block.
    pub closing: Header,
    /// That block's own finalization, by the validators of the epoch.
    pub finalization: Certificate,
    /// The validators of the next epoch.
    pub validators: Arc<ValidatorSet>,
}

/// A validator set with its hash, which every header names.
#[derive(Clone, Debug)]
pub(crate) struct NamedSet {
    pub(crate) set: Arc<ValidatorSet>,
    pub(crate) hash: Hash,
}

impl NamedSet {
    pub(crate) fn new(set: Arc<ValidatorSet>) -> Self {
        Self { hash: set.hash(), set }
    }
}

impl OpenedEpoch {
    /// The epoch that the block `opening` opens.
    pub(crate) fn after(schedule: EpochSchedule, opening: Head, validators: Arc<ValidatorSet>) -> Self {
        let epoch = schedule.epoch_of(opening.height.next());
        Self { epoch, validators, opening, closing: schedule.closing(epoch) }
    }

    /// The epoch to which a block on the committed `head` belongs.
    pub(crate) fn read(view: &dyn DatabaseView, schedule: EpochSchedule, head: Height) -> Result<Self, LedgerError> {
        let epoch = schedule.epoch_of(head.next());
        let missing = |table, what: &str| {
            let reason = format!("{what} of epoch {epoch}");
            LedgerError::from(DatabaseError::Missing { table, reason })
        };
        let height = schedule.opening(epoch).ok_or_else(|| missing(Table::Headers, "the opening height"))?;
        let header = blocks::header(view, height)?.ok_or_else(|| missing(Table::Headers, "the opening block"))?;
        let hash = blocks::hash_of(view, height)?.ok_or_else(|| missing(Table::Hashes, "the opening block"))?;
        let set = blocks::validator_set(view, epoch)?.ok_or_else(|| missing(Table::ValidatorSets, "the validators"))?;
        let timestamp = header.context().map_err(|error| DatabaseError::damaged(Table::Headers, error))?.timestamp;
        let opening = Head { height, hash, state_root: header.state_root, timestamp };
        Ok(Self::after(schedule, opening, Arc::new(set)))
    }
}
