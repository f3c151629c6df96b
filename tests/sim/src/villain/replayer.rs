//! Sends old messages again: its own and those of others, votes, proposals and certificates of views long over.

use super::{Parcel, Stage, Villain};
use crate::plan::Machine;
use cairn_primitives::message::ConsensusMessage;
use std::sync::Arc;

/// Messages remembered.
const REMEMBERED_MAX: usize = 256;

/// How often something old goes along with something new, of a hundred.
const REPLAYED_PERCENT: u64 = 60;

#[derive(Default)]
pub(super) struct Replayer {
    heard: Vec<Arc<ConsensusMessage>>,
}

impl Replayer {
    fn keep(&mut self, stage: &mut Stage<'_>, message: &Arc<ConsensusMessage>) {
        if self.heard.len() < REMEMBERED_MAX {
            self.heard.push(message.clone());
        } else {
            let place = stage.rng.index(REMEMBERED_MAX);
            self.heard[place] = message.clone();
        }
    }
}

impl Villain for Replayer {
    fn send(&mut self, stage: &mut Stage<'_>, to: &[Machine], message: &Arc<ConsensusMessage>, out: &mut Vec<Parcel>) {
        super::honestly(to, message, out);
        self.keep(stage, message);
        if stage.rng.percent(REPLAYED_PERCENT) {
            let old = stage.rng.pick(&self.heard).clone();
            let to = *stage.rng.pick(stage.others);
            out.push((to, old));
        }
    }

    fn receive(&mut self, stage: &mut Stage<'_>, message: &Arc<ConsensusMessage>, _: &mut Vec<Parcel>) {
        self.keep(stage, message);
    }
}
