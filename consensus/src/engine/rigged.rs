//! Engines that a test tampers with or looks into.

use super::Engine;
use crate::guard::VoteGuard;
use crate::schedule::Schedule;
use cairn_primitives::{View, VoteKind};

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

    /// Whether it holds a certificate of a view.
    pub(crate) fn holds(&self, view: u64, kind: VoteKind) -> bool {
        self.round(View(view)).is_some_and(|round| round.certificate(kind).is_some())
    }
}
