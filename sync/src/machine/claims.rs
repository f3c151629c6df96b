//! What peers say of their tips, and what becomes of it.

use super::{Sync, Tip};
use crate::message::{Offence, Output, PeerRef};
use crate::peers::{Claim, FAILURES_MAX};
use crate::validators::ValidatorSets;
use crate::verify::{VerifiedRange, VerifyError, verify_finalization};
use cairn_primitives::{Certificate, Epoch, Hash, Height};
use std::collections::BTreeMap;

impl Sync {
    pub(super) fn handle_status(
        &mut self,
        now_ms: u64,
        name: PeerRef,
        (lowest, head): (Height, Height),
        finalization: Option<&Certificate>,
        outputs: &mut Vec<Output>,
    ) {
        let Some(peer) = self.peers.get_mut(&name) else { return };
        if peer.status_deadline_ms.take().is_none() {
            return;
        }
        peer.is_settled = true;
        if lowest > head {
            peer.punish(now_ms, &self.config);
            let reason = format!("its blocks begin at height {lowest}");
            outputs.push(Output::Report { peer: name, offence: Offence::LyingTip { claimed: head, reason } });
            return;
        }
        peer.lowest = lowest;
        match check_claim(head, finalization, &self.genesis, &self.validators) {
            Ok(claim) if is_lie(claim, self.head) => {
                peer.punish(now_ms, &self.config);
                let reason = format!("the block finalized has height {}", self.head.height);
                outputs.push(Output::Report { peer: name, offence: Offence::LyingTip { claimed: head, reason } });
            }
            Ok(claim) => {
                peer.told = claim.hash.map(|hash| (claim.height, hash));
                peer.claim = Some(claim);
            }
            Err(reason) => {
                peer.punish(now_ms, &self.config);
                outputs.push(Output::Report { peer: name, offence: Offence::LyingTip { claimed: head, reason } });
            }
        }
    }

    /// Finalized blocks show which tips named a wrong height for their finalization, be they above or below.
    pub(super) fn check_claims(&mut self, now_ms: u64, range: &VerifiedRange, outputs: &mut Vec<Output>) {
        if self.peers.values().all(|peer| peer.told.is_none()) {
            return;
        }
        let headers = range.blocks().iter().map(|block| &block.block.header);
        let blocks: BTreeMap<_, _> = headers.map(|header| (header.height(), header.hash())).collect();
        let heights: BTreeMap<_, _> = blocks.iter().map(|(height, hash)| (hash, height)).collect();
        let is_lie = |(height, hash): &(Height, Hash)| {
            blocks.get(height).is_some_and(|block| block != hash)
                || heights.get(hash).is_some_and(|actual| *actual != height)
        };
        for (name, peer) in &mut self.peers {
            let Some((claimed, _)) = peer.told.filter(is_lie) else { continue };
            peer.told = None;
            peer.punish(now_ms, &self.config);
            let reason = "the block finalized has another height".to_owned();
            outputs.push(Output::Report { peer: *name, offence: Offence::LyingTip { claimed, reason } });
        }
    }

    /// A block in an epoch that cannot be checked yet shows how far the peer says it is.
    pub(super) fn note_unproved(&mut self, name: PeerRef, height: Height, epoch: Epoch) {
        let is_ahead = epoch > self.validators.latest();
        if let Some(peer) = self.peers.get_mut(&name)
            && is_ahead
            && peer.claim.is_none_or(|claim| claim.height < height)
            && peer.failures < FAILURES_MAX
        {
            peer.claim = Some(Claim { height, hash: None, unproved: Some(epoch) });
            peer.is_settled = true;
        }
    }

    /// Asks for the tips that can be verified now. Until the answer the peer keeps its old claim.
    pub(super) fn ask_unproved(&mut self, now_ms: u64, outputs: &mut Vec<Output>) {
        let latest = self.validators.latest();
        let can_be_proved = |claim: Claim| claim.unproved.is_some_and(|epoch| epoch <= latest);
        let due = self.peers.iter().filter(|(_, peer)| {
            peer.claim.is_some_and(can_be_proved) && peer.status_deadline_ms.is_none() && peer.resume_ms <= now_ms
        });
        for name in due.map(|(name, _)| *name).collect::<Vec<_>>() {
            self.request_status(name, now_ms, outputs);
        }
    }
}

/// Whether a tip names the local head's finalization for another height.
fn is_lie(claim: Claim, head: Tip) -> bool {
    claim.hash == Some(head.hash) && claim.height != head.height
}

/// Checks a tip.
fn check_claim(
    head: Height,
    finalization: Option<&Certificate>,
    genesis: &Hash,
    validators: &ValidatorSets,
) -> Result<Claim, String> {
    let unseen = Claim { height: head, hash: None, unproved: None };
    let Some(finalization) = finalization else {
        return if head == Height::ZERO { Ok(unseen) } else { Err("it comes without a finalization".to_owned()) };
    };
    let (epoch, view) = (finalization.subject.epoch(), finalization.subject.view());
    // Each view has at most one block, so no block is further above its epoch's opening one than its view.
    let opening = validators.schedule().opening(epoch).unwrap_or_default();
    if head == Height::ZERO || view.0 < u64::from(head.0.saturating_sub(opening.0)) {
        return Err(format!("its block was finalized in view {view}"));
    }
    match verify_finalization(finalization, head, genesis, validators) {
        Ok(proposal) => Ok(Claim { hash: Some(proposal.block), ..unseen }),
        Err(VerifyError::UnknownEpoch(epoch)) if epoch > validators.latest() => {
            Ok(Claim { unproved: Some(epoch), ..unseen })
        }
        // Long past: whatever it has is of no use here.
        Err(VerifyError::UnknownEpoch(_)) => Ok(unseen),
        Err(error) => Err(error.to_string()),
    }
}
