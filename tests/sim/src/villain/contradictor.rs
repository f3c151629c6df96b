//! Finalizes and nullifies the same views: finalize votes to some, nullify votes to others, for every proposal it hears of.

use super::{Parcel, Stage, Villain};
use crate::plan::Machine;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Proposal, Subject, View};
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Contradictor {
    done: BTreeSet<View>,
}

impl Contradictor {
    fn contradict(&mut self, stage: &mut Stage<'_>, proposal: &Proposal, out: &mut Vec<Parcel>) {
        if !self.done.insert(proposal.view) {
            return;
        }
        let notarize = stage.vote(Subject::Notarize(*proposal));
        let finalize = stage.vote(Subject::Finalize(*proposal));
        let nullify = stage.vote(Subject::Nullify { epoch: proposal.epoch, view: proposal.view });
        for to in stage.others {
            out.push((*to, notarize.clone()));
            match stage.rng.below(3) {
                0 => out.push((*to, finalize.clone())),
                1 => out.push((*to, nullify.clone())),
                _ => out.extend([(*to, nullify.clone()), (*to, finalize.clone())]),
            }
        }
    }
}

impl Villain for Contradictor {
    fn send(&mut self, stage: &mut Stage<'_>, to: &[Machine], message: &Arc<ConsensusMessage>, out: &mut Vec<Parcel>) {
        super::honestly(to, message, out);
        if let ConsensusMessage::Proposal { proposal, .. } = &**message {
            self.contradict(stage, proposal, out);
        }
    }

    fn receive(&mut self, stage: &mut Stage<'_>, message: &Arc<ConsensusMessage>, out: &mut Vec<Parcel>) {
        let subject = match &**message {
            ConsensusMessage::Proposal { proposal, .. } => Subject::Notarize(*proposal),
            ConsensusMessage::Vote(vote) => vote.subject,
            ConsensusMessage::Certificate(certificate) => certificate.subject,
            ConsensusMessage::FetchCertificate { .. }
            | ConsensusMessage::FetchBlock(_)
            | ConsensusMessage::Probe { .. }
            | ConsensusMessage::Standing { .. }
            | ConsensusMessage::Block(_)
            | ConsensusMessage::Evidence(_) => return,
        };
        if let Some(proposal) = subject.proposal() {
            self.contradict(stage, proposal, out);
        }
    }
}
