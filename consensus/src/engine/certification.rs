//! From a notarization to a certified block: R7, R8.

use super::Engine;
use crate::chain::Execution;
use crate::fetch::{Want, Wants};
use crate::journal::JournalRecord;
use crate::mutant::{Mutant, is_on};
use crate::output::Output;
use crate::round::Round;
use cairn_primitives::{Hash, Proposal, View, VoteKind};

impl Engine {
    /// R7: makes the notarized proposal authoritative and has its block certified.
    pub(super) fn on_notarization(&mut self, proposal: Proposal, out: &mut Vec<Output>) {
        let round = self.rounds.entry(proposal.view).or_default();
        round.adopt(proposal);
        let failed = round.verdict.is_some_and(|(_, holds)| !holds);
        if proposal.view > self.finalized.view && !failed {
            self.pending.insert(proposal.view);
        }
        if is_on(Mutant::FinalizeUncertified) {
            self.try_finalize(proposal.view, out);
        }
    }

    /// R7: asks for the execution of a notarized block whose parent is executed.
    ///
    /// Independent of the current view: a nullification of the block's own view does not end the wait (R8).
    pub(super) fn try_certify(&mut self, out: &mut Vec<Output>) -> bool {
        let ready = self.pending.iter().find_map(|view| {
            let block = self.round(*view).and_then(Round::notarized_block)?;
            self.is_answerable(&block).then_some(block)
        });
        ready.is_some_and(|block| self.execute(block, out))
    }

    /// Whether execution of the block can be asked for, or its result is known without asking.
    fn is_answerable(&self, hash: &Hash) -> bool {
        self.chain.node(hash).is_some_and(|node| match node.execution {
            Execution::Idle => self.chain.is_executed(&node.parent) || self.has_failed(&node.parent),
            Execution::Asked => false,
            Execution::Done | Execution::Failed => true,
        })
    }

    fn has_failed(&self, hash: &Hash) -> bool {
        self.chain.node(hash).is_some_and(|node| node.execution == Execution::Failed)
    }

    /// Asks the ledger to execute a block whose parent is executed; `true` if something changed.
    pub(super) fn execute(&mut self, hash: Hash, out: &mut Vec<Output>) -> bool {
        let Some(node) = self.chain.node(&hash) else { return false };
        match node.execution {
            Execution::Asked => return false,
            Execution::Done | Execution::Failed => {
                // Executed before it was notarized, on behalf of a finalization.
                let holds = node.execution == Execution::Done;
                self.on_executed(hash, holds, out);
                return true;
            }
            Execution::Idle => {}
        }
        let parent = self.chain.place(&node.parent).filter(|place| self.chain.is_executed(&place.hash));
        let fits = parent.is_some_and(|parent| self.is_context_right(node, &parent, node.context.view));
        match node.body.clone().filter(|_| fits) {
            Some(block) => {
                self.chain.set_execution(&hash, Execution::Asked);
                out.push(Output::Certify { hash, block });
            }
            None => {
                self.chain.set_execution(&hash, Execution::Failed);
                self.on_executed(hash, false, out);
            }
        }
        true
    }

    /// R8: takes the ledger's answer.
    pub(super) fn handle_certified(&mut self, hash: Hash, holds: bool, out: &mut Vec<Output>) {
        if self.chain.node(&hash).is_none_or(|node| node.execution != Execution::Asked) {
            return;
        }
        self.chain.set_execution(&hash, if holds { Execution::Done } else { Execution::Failed });
        self.on_executed(hash, holds, out);
    }

    fn on_executed(&mut self, hash: Hash, holds: bool, out: &mut Vec<Output>) {
        let notarizes = |view: &View| self.round(*view).and_then(Round::notarized_block) == Some(hash);
        let views: Vec<_> = self.pending.iter().copied().filter(notarizes).collect();
        for view in views {
            self.pending.remove(&view);
            let round = self.rounds.entry(view).or_default();
            match round.verdict {
                Some((_, true)) if !holds => return self.diverge(hash, out),
                Some(_) => {}
                None => {
                    round.verdict = Some((hash, holds));
                    let epoch = self.config.epoch;
                    out.push(Output::Journal(JournalRecord::Certified { epoch, view, block: hash, holds }));
                }
            }
            if holds {
                self.try_finalize(view, out); // R9
                self.enter(view.next(), out); // R8, R1
                self.hasten_to_close(view);
            }
        }
    }

    /// R7: bodies and parents that certification waits for.
    pub(super) fn want_for_certification(&self, wants: &mut Wants) {
        for view in &self.pending {
            let Some(round) = self.round(*view) else { continue };
            let Some(hash) = round.notarized_block() else { continue };
            let first = self.schedule.leader(*view);
            let Some(node) = self.chain.node(&hash) else {
                wants.add(Want::Block(hash), first);
                continue;
            };
            let proposal = round.notarization.as_ref().and_then(|certificate| certificate.subject.proposal());
            let Some(parent) = proposal.map(|proposal| proposal.parent_view) else { continue };
            let is_known = parent <= self.finalized.view || self.pending.contains(&parent);
            if node.execution == Execution::Idle && !is_known && !self.chain.is_executed(&node.parent) {
                wants.add(Want::Certificate(parent, VoteKind::Notarize), first);
            }
        }
    }
}
