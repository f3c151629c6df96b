//! The engine.

use crate::config::{Config, ConfigError};
use crate::input::{Input, Now};
use crate::output::Output;
use crate::state::EngineState;

/// The consensus engine of one epoch; see the crate's documentation for its rules.
#[derive(Debug)]
pub struct Engine {
    config: Config,
}

impl Engine {
    /// An engine that stands at the last committed block and waits for the journal, then for [`Input::Start`].
    ///
    /// # Errors
    /// The configuration contradicts itself.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self { config })
    }

    /// Takes one input and appends what must be done for it.
    pub fn step(&mut self, _now: Now, _input: Input, _out: &mut Vec<Output>) {}

    /// The monotonic time, in milliseconds, at which [`Input::Tick`] is needed if nothing else happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        None
    }

    /// A picture of the engine, for people and for monitoring.
    #[must_use]
    pub fn state(&self, _now: Now) -> EngineState {
        EngineState {
            epoch: self.config.epoch,
            view: cairn_primitives::View::ZERO,
            leader: cairn_primitives::ValidatorIndex(0),
            own_index: None,
            proposal_seen: false,
            notarize_cast: false,
            nullify_cast: false,
            votes: crate::state::VoteCount::default(),
            quorum: self.config.validators.quorum(),
            total_power: self.config.validators.total_power(),
            backoff: 1,
            deadlines: Vec::new(),
            finalized_view: self.config.committed.view,
            committed: self.config.committed,
            fetches: 0,
            validators: Vec::new(),
            waiting_for: String::new(),
        }
    }
}
