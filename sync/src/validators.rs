//! The validator sets that finalizations are verified with.

use cairn_primitives::{Epoch, ValidatorSet};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The sets of the epochs known so far; later ones become known by importing the blocks that fix them.
#[derive(Clone, Debug, Default)]
pub struct ValidatorSets {
    sets: BTreeMap<Epoch, Arc<ValidatorSet>>,
}

impl ValidatorSets {
    /// The set of one epoch.
    #[must_use]
    pub fn new(epoch: Epoch, set: Arc<ValidatorSet>) -> Self {
        Self { sets: BTreeMap::from([(epoch, set)]) }
    }

    /// Adds the set of a further epoch.
    pub fn insert(&mut self, epoch: Epoch, set: Arc<ValidatorSet>) {
        self.sets.insert(epoch, set);
    }

    /// The set of an epoch, where it is known.
    #[must_use]
    pub fn get(&self, epoch: Epoch) -> Option<&ValidatorSet> {
        self.sets.get(&epoch).map(|set| &**set)
    }
}
