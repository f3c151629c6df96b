//! Until a lost record of votes does no harm any more: asking the others where they stand.
//!
//! Whoever voted in a view had entered it by a certificate of the view before, signed by a quorum. Of any quorum of the
//! others at least one honest validator is among those signers, and its view is now that one or later. So once a quorum of
//! the others has answered, our own view, which their answers lifted, is at most one below any view we ever voted in.

use super::Engine;
use crate::guard::Silence;
use crate::output::{Offence, Output};
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Certificate, Epoch, Height, Power, ValidatorIndex, View};

impl Engine {
    /// Asks those who have not answered where they stand, every retry interval, while the record is lost.
    pub(super) fn update_probe(&mut self, out: &mut Vec<Output>) {
        if !self.is_probing() || self.time() < self.probe.again_at {
            return;
        }
        self.probe.again_at = self.in_retry();
        let epoch = self.config.epoch;
        let unanswered = self.peers.connected().filter(|(index, _)| !self.probe.answered.contains(index));
        out.extend(unanswered.map(|(to, _)| Output::Send { to, message: ConsensusMessage::Probe { epoch } }));
    }

    /// When the others are asked again.
    pub(super) fn probe_deadline(&self) -> Option<u64> {
        self.is_probing().then_some(self.probe.again_at)
    }

    fn is_probing(&self) -> bool {
        self.guard().is_some_and(|guard| guard.silence() == Some(Silence::RecordLost))
    }

    /// Tells a validator that lost its record where we stand.
    pub(super) fn answer_probe(&self, to: ValidatorIndex, epoch: Epoch, out: &mut Vec<Output>) {
        if epoch == self.config.epoch {
            let (view, entry) = (self.current.view, self.entry_certificate().cloned());
            out.push(Output::Send { to, message: ConsensusMessage::Standing { epoch, view, entry } });
        }
    }

    /// Takes the answer: its certificate must prove the view, and lifts ours.
    pub(super) fn handle_standing(
        &mut self,
        from: ValidatorIndex,
        epoch: Epoch,
        view: View,
        entry: Option<Certificate>,
        out: &mut Vec<Output>,
    ) {
        if epoch != self.config.epoch || !self.is_probing() {
            return;
        }
        let is_proved = match &entry {
            Some(certificate) => certificate.subject.epoch() == epoch && certificate.subject.view().next() >= view,
            // The first view, or one right after the block it started from without a certificate of it.
            None => view <= self.current.view,
        };
        if !is_proved {
            return super::admission::blame(from, Offence::BadStanding, out);
        }
        if let Some(certificate) = entry {
            // A notarization lets us enter its view's successor only when certified: what it proves counts at once.
            let proved = certificate.subject.view().next();
            self.handle_certificate(from, certificate.clone(), out);
            if !self.is_certificate_known(&certificate.subject) {
                return;
            }
            self.probe.reached = self.probe.reached.max(proved);
        }
        self.probe.answered.insert(from);
        let powers = self.probe.answered.iter().filter_map(|index| self.config.validators.get(*index));
        let answered = Power(powers.fold(0, |sum, validator| sum.saturating_add(validator.power.0)));
        if answered >= self.quorum {
            let above = self.probe.reached.max(self.current.view).next();
            if let Some(own) = &mut self.own {
                own.guard.bound_silence(epoch, above);
            }
        }
    }

    /// R9, R10: a finalization ends what the guard must remember.
    pub(super) fn tell_guard_finalized(&mut self, view: View) {
        let epoch = self.config.epoch;
        if let Some(own) = &mut self.own {
            own.guard.on_finalized(epoch, view);
        }
    }

    /// A committed block may end a silence, unless it closes the epoch: a lost record can hold votes of the next one then.
    /// If it does, the closing block had been finalized before the others told where they stand. So each block that is
    /// finalized above the bound is that one, and none but a block that does not close the epoch proves anything.
    pub(super) fn tell_guard_committed(&mut self, height: Height, view: View, out: &mut Vec<Output>) {
        let epoch = self.config.epoch;
        if self.closes(height) {
            return;
        }
        if let Some(record) = self.own.as_mut().and_then(|own| own.guard.on_committed(epoch, view)) {
            out.push(Output::Journal(record));
        }
    }

    /// A certificate with a vote of ours that the record does not hold: the record is not what it was.
    pub(super) fn inspect_own_votes(&mut self, certificate: &Certificate, out: &mut Vec<Output>) {
        let Some(own) = &mut self.own else { return };
        if let Some(record) = own.guard.inspect(certificate, own.index) {
            self.probe = super::Probe::default();
            out.push(Output::Journal(record));
            out.push(Output::RecordLost { subject: certificate.subject });
        }
    }
}
