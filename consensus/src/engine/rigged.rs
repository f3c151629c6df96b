//! Engines that a test tampers with.

use super::Engine;
use crate::guard::VoteGuard;
use crate::schedule::Schedule;

impl Engine {
    /// Replaces the leader schedule; before anything was put in.
    pub(crate) fn rig_schedule(&mut self, schedule: Schedule) {
        self.current.leader = schedule.leader(self.current.view);
        self.schedule = schedule;
    }

    /// Gives a guard that fell silent a successor that knows nothing: a villain's twin does not mind the other one.
    pub(crate) fn rig_guard(&mut self, fresh: impl FnOnce() -> VoteGuard) {
        if let Some(own) = self.own.as_mut().filter(|own| own.guard.silence().is_some()) {
            own.guard = fresh();
        }
    }
}
