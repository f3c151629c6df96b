//! As leader it proposes two blocks in one view: one to a part of the validators, the other to the rest, both to some.

use super::{Parcel, Stage, Villain, honestly};
use crate::plan::Machine;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Block, Proposal, Subject};
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Equivocator {
    other: Option<Arc<Block>>,
}

impl Villain for Equivocator {
    fn send(&mut self, stage: &mut Stage<'_>, to: &[Machine], message: &Arc<ConsensusMessage>, out: &mut Vec<Parcel>) {
        let ConsensusMessage::Proposal { proposal, block, .. } = &**message else {
            return honestly(to, message, out);
        };
        let Some(other) = self.other.take().filter(|other| other.header.parent_hash == block.header.parent_hash) else {
            return honestly(to, message, out);
        };
        let rival = Proposal { block: other.header.hash(), ..*proposal };
        let second = stage.proposal(proposal, other);
        let second_vote = stage.vote(Subject::Notarize(rival));
        let first_vote = stage.vote(Subject::Notarize(*proposal));
        for to in to {
            match stage.rng.below(7) {
                0..3 => out.push((*to, message.clone())),
                3..5 => out.push((*to, second.clone())),
                5 => out.extend([(*to, message.clone()), (*to, second.clone())]),
                _ => out.extend([(*to, second.clone()), (*to, first_vote.clone()), (*to, second_vote.clone())]),
            }
        }
    }

    fn alternative(&mut self, block: Arc<Block>) {
        self.other = Some(block);
    }
}
