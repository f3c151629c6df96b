//! When a tick is needed.

use super::Engine;
use crate::round::Stage;

impl Engine {
    /// The monotonic time, in milliseconds, at which [`crate::Input::Tick`] is needed if nothing else happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let now = self.time();
        self.timers().into_iter().map(|(_, at)| at).filter(|at| *at > now).min()
    }

    /// All timers that run, with what they are for. Those that ran out have done their work: whatever they could not
    /// do waits for something else.
    pub(super) fn timers(&self) -> Vec<(&'static str, u64)> {
        if self.started_at.is_none() || self.diverged || self.is_closed() {
            return Vec::new();
        }
        let mut timers = Vec::with_capacity(8);
        if self.current.expired.is_none() {
            if self.may_propose() {
                timers.push(("propose", self.current.clocks.propose_at(self.work_since)));
            }
            timers.extend(self.leader_deadline().map(|at| ("leader deadline", at)));
            timers.push(("certify deadline", self.certify_deadline()));
            let slot = self.round(self.current.view).and_then(|round| round.slot.as_ref());
            if let Some(Stage::Waiting { not_before }) = slot.map(|slot| slot.stage) {
                timers.push(("verify again", not_before));
            }
        } else if self.own.is_some() {
            timers.push(("send nullify again", self.current.nullify_again_at));
        }
        timers.extend(self.finalize_again_at.map(|at| ("send finalize again", at)));
        timers.extend(self.relays.front().map(|relay| ("pass a certificate on", relay.at)));
        timers.extend(self.fetches.deadline().map(|at| ("fetch again", at)));
        timers.extend(self.probe_deadline().map(|at| ("ask where the others stand", at)));
        timers.extend(self.behind_at.map(|at| ("ask for block sync", at)));
        timers
    }
}
