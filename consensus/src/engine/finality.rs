//! From a finalization to committed blocks: R14.

use super::{Engine, Finalized};
use crate::chain::{Execution, Path};
use crate::config::Head;
use crate::fetch::{Want, Wants};
use crate::output::Output;
use cairn_primitives::{Certificate, Hash, Height, Proposal, TimestampMs, View};

/// Holes up to this many blocks are filled by fetching the blocks one by one; block sync fills larger ones.
const FETCHED_BLOCKS_MAX: u32 = 16;

impl Engine {
    /// R14: last finalized = max, cancel certifications at or below, enter the next view, prune.
    pub(super) fn on_finalization(&mut self, proposal: Proposal, certificate: Certificate, out: &mut Vec<Output>) {
        let view = proposal.view;
        if view <= self.finalized.view {
            return;
        }
        self.rounds.entry(view).or_default().adopt(proposal); // R4
        self.finalized = Finalized { view, block: proposal.block, certificate: Some(certificate) };
        self.pending = self.pending.split_off(&view.next());
        self.backoff.on_finalized();
        self.tell_guard_finalized(view);
        self.enter(view.next(), out);
        let lowest = View(view.0.saturating_sub(self.config.retention));
        while self.rounds.first_key_value().is_some_and(|(view, _)| *view < lowest) {
            self.rounds.pop_first();
        }
    }

    /// R14: commits the last finalized block with its ancestors, once all of them are here and executed.
    pub(super) fn try_commit(&mut self, out: &mut Vec<Output>) -> bool {
        if self.chain.head().hash == self.finalized.block {
            self.behind_at = None;
            return false;
        }
        match self.chain.path(self.finalized.block) {
            Path::Foreign => {
                self.diverge(self.finalized.block, out);
                true
            }
            Path::Missing { gap, .. } => {
                self.report_behind(gap, out);
                false
            }
            Path::Complete(blocks) => self.commit(blocks, out),
        }
    }

    fn commit(&mut self, blocks: Vec<Hash>, out: &mut Vec<Output>) -> bool {
        self.behind_at = None;
        let execution = |hash: &Hash| self.chain.node(hash).map(|node| node.execution);
        let unfinished = blocks.iter().find(|hash| execution(hash) != Some(Execution::Done)).copied();
        if let Some(block) = unfinished {
            return match execution(&block) {
                Some(Execution::Idle) => self.execute(block, out),
                Some(Execution::Failed) => {
                    self.diverge(block, out);
                    true
                }
                Some(Execution::Asked | Execution::Done) | None => false,
            };
        }
        let Some(place) = self.chain.place(&self.finalized.block) else { return false };
        // A closing block may be final in a later view than its own.
        let head = Head { view: self.finalized.view, ..place };
        let Some(certificate) = self.finalized.certificate.clone() else { return false };
        self.tell_guard_committed(head.height, head.view, out);
        out.push(Output::Finalize { blocks, certificate });
        self.chain.commit(head);
        true
    }

    /// The chain went where we cannot follow: nothing more is signed or committed.
    pub(super) fn diverge(&mut self, block: Hash, out: &mut Vec<Output>) {
        self.diverged = true;
        out.push(Output::Diverged { block });
    }

    /// Asks for block sync when fetching single blocks does not help: at once if too many are missing, else after a
    /// while, and again as long as it stays so.
    fn report_behind(&mut self, gap: Option<u32>, out: &mut Vec<Output>) {
        let is_far = gap.is_some_and(|gap| gap > FETCHED_BLOCKS_MAX);
        let (now, again_at) = (self.time(), self.in_retry());
        let behind_at = *self.behind_at.get_or_insert(if is_far { now } else { again_at });
        if behind_at <= now
            && let Some(certificate) = self.finalized.certificate.clone()
        {
            self.behind_at = Some(again_at);
            out.push(Output::Behind { certificate });
        }
    }

    /// R14: the next block missing on the way to the last finalized one.
    pub(super) fn want_for_commit(&self, wants: &mut Wants) {
        if self.chain.head().hash == self.finalized.block {
            return;
        }
        if let Path::Missing { block, gap } = self.chain.path(self.finalized.block)
            && gap.is_none_or(|gap| gap <= FETCHED_BLOCKS_MAX)
        {
            wants.add(Want::Block(block), self.schedule.leader(self.finalized.view));
        }
    }

    /// Block sync brought blocks up to the one that `certificate` finalizes.
    pub(super) fn handle_committed(
        &mut self,
        height: Height,
        timestamp: TimestampMs,
        certificate: Certificate,
        out: &mut Vec<Output>,
    ) {
        let Some(proposal) = certificate.subject.proposal().copied() else { return };
        if height <= self.chain.head().height || proposal.epoch != self.config.epoch {
            return;
        }
        self.chain.commit(Head { height, hash: proposal.block, view: proposal.view, timestamp });
        self.behind_at = None;
        self.tell_guard_committed(height, proposal.view, out);
        self.on_finalization(proposal, certificate, out);
    }
}
