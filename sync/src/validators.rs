//! The validator sets that finalizations are verified with.

use cairn_primitives::{Epoch, EpochSchedule, Height, ValidatorSet};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many sets are kept, at 10 KiB each at most: the running epoch's, and some before it for blocks that gossip brings
/// late. An older block is ignored.
pub const VALIDATOR_SETS_MAX: usize = 8;

/// The sets of the latest epochs known; the next one becomes known by importing the block that opens it.
#[derive(Clone, Debug)]
pub struct ValidatorSets {
    schedule: EpochSchedule,
    sets: BTreeMap<Epoch, Arc<ValidatorSet>>,
}

impl ValidatorSets {
    /// The set of one epoch.
    #[must_use]
    pub fn new(schedule: EpochSchedule, epoch: Epoch, set: Arc<ValidatorSet>) -> Self {
        Self { schedule, sets: BTreeMap::from([(epoch, set)]) }
    }

    /// Adds the set of a further epoch; beyond [`VALIDATOR_SETS_MAX`] the oldest goes.
    pub fn insert(&mut self, epoch: Epoch, set: Arc<ValidatorSet>) {
        self.sets.insert(epoch, set);
        while self.sets.len() > VALIDATOR_SETS_MAX {
            self.sets.pop_first();
        }
    }

    /// The set of an epoch, where it is known.
    #[must_use]
    pub fn get(&self, epoch: Epoch) -> Option<&Arc<ValidatorSet>> {
        self.sets.get(&epoch)
    }

    /// Which heights belong to which epoch.
    #[must_use]
    pub const fn schedule(&self) -> EpochSchedule {
        self.schedule
    }

    /// The last epoch whose set is known.
    #[must_use]
    pub fn latest(&self) -> Epoch {
        self.sets.last_key_value().map_or(Epoch::ZERO, |(epoch, _)| *epoch)
    }

    /// The last height of the epoch to which `height` belongs; `None` where the set of that epoch is not known.
    #[must_use]
    pub(crate) fn end_of(&self, height: Height) -> Option<Height> {
        let epoch = self.schedule.epoch_of(height);
        self.get(epoch).map(|_| self.schedule.closing(epoch).unwrap_or(Height(u32::MAX)))
    }

    /// The last height that can be verified.
    #[must_use]
    pub(crate) fn reach(&self) -> Height {
        self.schedule.closing(self.latest()).unwrap_or(Height(u32::MAX))
    }
}
