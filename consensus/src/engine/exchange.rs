//! Helping each other: fetching, serving, passing certificates on.

use super::{Engine, Relay};
use crate::fetch::{Want, Wants};
use crate::output::Output;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Certificate, Epoch, Hash, ValidatorIndex, View, VoteKind};
use std::sync::Arc;

impl Engine {
    /// Everything that is missing at this moment, most urgent first.
    pub(super) fn wants(&self) -> Wants {
        let mut wants = Wants::default();
        self.want_for_commit(&mut wants);
        self.want_for_certification(&mut wants);
        self.want_for_ancestry(&mut wants);
        self.want_for_own_proposal(&mut wants);
        self.want_to_follow(&mut wants);
        wants
    }

    /// What lets us leave the current view, if somebody was seen further on than votes are admitted.
    fn want_to_follow(&self, wants: &mut Wants) {
        let view = self.current.view;
        let is_notarized = self.round(view).is_some_and(|round| round.notarization.is_some());
        if let Some((furthest, seen)) = self.peers.furthest()
            && seen > view.next()
            && !is_notarized
        {
            wants.add(Want::Certificate(view, VoteKind::Notarize), furthest);
        }
    }

    /// Asks for what is wanted and not under way, and again for what was not answered.
    pub(super) fn update_fetches(&mut self, out: &mut Vec<Output>) {
        let wants = self.wants();
        let (now, retry_ms) = (self.time(), self.config.timing.retry_ms);
        for (to, want) in self.fetches.update(&wants, &self.peers, now, retry_ms) {
            out.push(Output::Send { to, message: want.request(self.config.epoch) });
        }
    }

    /// What we hold for a view: a finalization at or above it, else what is asked for, else what else lets one pass it.
    ///
    /// A notarization is offered only if its block is certified.
    pub(super) fn certificate_for(&self, view: View, kind: VoteKind) -> Option<&Certificate> {
        if self.finalized.view >= view {
            return self.finalized.certificate.as_ref();
        }
        let round = self.round(view)?;
        let notarization = round.notarization.as_ref().filter(|_| round.certified_block().is_some());
        let nullification = round.nullification.as_ref();
        match kind {
            VoteKind::Nullify => nullification.or(notarization),
            VoteKind::Notarize | VoteKind::Finalize => notarization.or(nullification),
        }
    }

    pub(super) fn serve_certificate(
        &self,
        to: ValidatorIndex,
        kind: VoteKind,
        epoch: Epoch,
        view: View,
        out: &mut Vec<Output>,
    ) {
        if epoch == self.config.epoch
            && let Some(certificate) = self.certificate_for(view, kind)
        {
            out.push(Output::Send { to, message: ConsensusMessage::Certificate(certificate.clone()) });
        }
    }

    pub(super) fn serve_block(&self, to: ValidatorIndex, hash: Hash, out: &mut Vec<Output>) {
        match self.chain.node(&hash).and_then(|node| node.body.as_ref()) {
            Some(block) => out.push(Output::Send { to, message: ConsensusMessage::Block(Arc::clone(block)) }),
            None => out.push(Output::ServeBlock { to, block: hash }),
        }
    }

    /// Sends a validator that votes in a view we left what lets it leave, too; not more often than twice per retry.
    pub(super) fn assist(&mut self, to: ValidatorIndex, view: View, out: &mut Vec<Output>) {
        let now = self.time();
        let pause = self.config.timing.retry_ms.checked_div(2).unwrap_or(0).max(1);
        if view >= self.current.view {
            return;
        }
        let Some(certificate) = self.certificate_for(view, VoteKind::Notarize).cloned() else { return };
        let Some(peer) = self.peers.get_mut(to) else { return };
        if peer.assisted_at.is_some_and(|assisted_at| now < assisted_at.saturating_add(pause)) {
            return;
        }
        peer.assisted_at = Some(now);
        out.push(Output::Send { to, message: ConsensusMessage::Certificate(certificate) });
    }

    /// Passes a certificate that we formed on to those who showed no sign of having it.
    pub(super) fn relay(&self, relay: Relay, out: &mut Vec<Output>) {
        let Relay { view, kind, .. } = relay;
        let Some(round) = self.round(view) else { return };
        let Some(certificate) = round.certificate(kind) else { return };
        let is_covered = match kind {
            VoteKind::Finalize => view < self.finalized.view,
            VoteKind::Notarize | VoteKind::Nullify => view <= self.finalized.view,
        };
        if is_covered {
            return;
        }
        for (to, peer) in self.peers.connected() {
            let has_finalized = round.finalizes.vote(to).is_some();
            let is_past = match kind {
                VoteKind::Notarize => peer.seen > view || has_finalized,
                VoteKind::Nullify => peer.seen > view,
                VoteKind::Finalize => has_finalized,
            };
            if !is_past {
                out.push(Output::Send { to, message: ConsensusMessage::Certificate(certificate.clone()) });
            }
        }
    }

    /// Notes a stream that came up or went down, and tells a validator that came up where we are.
    pub(super) fn handle_peer(&mut self, index: ValidatorIndex, connected: bool, out: &mut Vec<Output>) {
        let now = self.time();
        let Some(peer) = self.peers.get_mut(index) else { return };
        let came_up = connected && !peer.connected;
        peer.connected = connected;
        if connected {
            peer.heard_at = Some(now);
        }
        if !came_up || self.started_at.is_none() {
            return;
        }
        let mut greeting = Vec::new();
        greeting.extend(self.finalized.certificate.clone().map(ConsensusMessage::Certificate));
        if self.current.view > self.finalized.view.next() {
            greeting.extend(self.entry_certificate().cloned().map(ConsensusMessage::Certificate));
        }
        let open = self.rounds.range(self.current.view.previous()..);
        let votes = open.flat_map(|(_, round)| round.ballot.votes()).filter(|vote| {
            let view = vote.subject.view();
            view > self.finalized.view && (view == self.current.view || vote.subject.kind() == VoteKind::Finalize)
        });
        greeting.extend(votes.cloned().map(ConsensusMessage::Vote));
        out.extend(greeting.into_iter().map(|message| Output::Send { to: index, message }));
    }
}
