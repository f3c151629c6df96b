//! Speaks to a part of the validators, another part in each view, so that they know different things.

use super::{Parcel, Stage, Villain};
use crate::plan::Machine;
use crate::rng::Rng;
use cairn_primitives::message::ConsensusMessage;
use std::sync::Arc;

pub(super) struct Selective;

impl Villain for Selective {
    fn send(&mut self, stage: &mut Stage<'_>, to: &[Machine], message: &Arc<ConsensusMessage>, out: &mut Vec<Parcel>) {
        let view = match &**message {
            ConsensusMessage::Proposal { proposal, .. } => proposal.view.0,
            ConsensusMessage::Vote(vote) => vote.subject.view().0,
            ConsensusMessage::Certificate(certificate) => certificate.subject.view().0,
            ConsensusMessage::FetchCertificate { .. }
            | ConsensusMessage::FetchBlock(_)
            | ConsensusMessage::Probe { .. }
            | ConsensusMessage::Standing { .. }
            | ConsensusMessage::Block(_)
            | ConsensusMessage::Evidence(_) => return super::honestly(to, message, out),
        };
        // The same part for everything in the view.
        let mut rng = Rng::new(stage.setup.plan.seed ^ view, "selective");
        let favoured = rng.next();
        let chosen: Vec<_> = to.iter().copied().filter(|to| favoured >> (to % 64) & 1 == 1).collect();
        super::honestly(&chosen, message, out);
    }
}
