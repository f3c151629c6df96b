//! Schedules that a test chooses.

use super::Schedule;
use cairn_primitives::ValidatorIndex;

impl Schedule {
    /// These leaders in turn, over and over.
    pub(crate) const fn rigged(cycle: Vec<ValidatorIndex>) -> Self {
        Self { cycle }
    }
}
