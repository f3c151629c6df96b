//! Votes for whatever was proposed, its own choice or not, and for blocks that nobody proposed; each to a part of the others.

use super::{Parcel, Stage, Villain};
use crate::plan::Machine;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Proposal, Subject};
use std::sync::Arc;

/// Proposals remembered.
const REMEMBERED_MAX: usize = 8;

#[derive(Default)]
pub(super) struct DoubleVoter {
    seen: Vec<Proposal>,
}

impl DoubleVoter {
    fn note(&mut self, proposal: &Proposal) {
        if !self.seen.contains(proposal) {
            self.seen.push(*proposal);
            if self.seen.len() > REMEMBERED_MAX {
                self.seen.remove(0);
            }
        }
    }
}

impl Villain for DoubleVoter {
    fn send(&mut self, stage: &mut Stage<'_>, to: &[Machine], message: &Arc<ConsensusMessage>, out: &mut Vec<Parcel>) {
        let ConsensusMessage::Vote(vote) = &**message else {
            return super::honestly(to, message, out);
        };
        let other = self.seen.iter().rev().find(|seen| seen.view == vote.subject.view()).copied();
        let made_up = stage.hash();
        let other = |own: &Proposal| match other {
            Some(seen) if seen != *own => seen,
            _ => Proposal { block: made_up, ..*own },
        };
        let second = match vote.subject {
            Subject::Notarize(own) => Subject::Notarize(other(&own)),
            Subject::Finalize(own) => Subject::Finalize(other(&own)),
            Subject::Nullify { .. } => return super::honestly(to, message, out),
        };
        let second = stage.vote(second);
        for to in to {
            match stage.rng.below(3) {
                0 => out.push((*to, message.clone())),
                1 => out.push((*to, second.clone())),
                _ => out.extend([(*to, second.clone()), (*to, message.clone())]),
            }
        }
    }

    fn receive(&mut self, stage: &mut Stage<'_>, message: &Arc<ConsensusMessage>, out: &mut Vec<Parcel>) {
        match &**message {
            ConsensusMessage::Proposal { proposal, .. } => {
                self.note(proposal);
                if stage.rng.percent(50) {
                    let votes =
                        [Subject::Notarize(*proposal), Subject::Finalize(*proposal)].map(|vote| stage.vote(vote));
                    let to = *stage.rng.pick(stage.others);
                    out.extend(votes.into_iter().map(|vote| (to, vote)));
                }
            }
            ConsensusMessage::Vote(vote) => {
                if let Some(proposal) = vote.subject.proposal() {
                    self.note(proposal);
                }
            }
            ConsensusMessage::Certificate(_)
            | ConsensusMessage::FetchCertificate { .. }
            | ConsensusMessage::FetchBlock(_)
            | ConsensusMessage::Probe { .. }
            | ConsensusMessage::Standing { .. }
            | ConsensusMessage::Block(_)
            | ConsensusMessage::Evidence(_) => {}
        }
    }
}
