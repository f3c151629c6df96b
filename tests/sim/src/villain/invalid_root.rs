//! Proposes blocks that look right and do not execute to the roots in their headers, or whose headers are wrong at once.

use super::{Parcel, Stage, Villain};
use crate::plan::Machine;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Block, Header};
use std::sync::Arc;

/// Proposals that are spoilt, of a hundred.
const SPOILT_PERCENT: u64 = 70;

pub(super) struct InvalidRoot;

fn spoil(stage: &mut Stage<'_>, block: &Block) -> Option<Block> {
    let mut block = block.clone();
    let mut context = block.header.context().ok()?;
    match stage.rng.below(6) {
        0 | 1 => block.header.state_root = stage.hash(),
        2 => {
            context.events_root = stage.hash();
        }
        3 => {
            // A transaction less than was executed.
            block.extrinsics.truncate(1);
            block.header.extrinsics_root = block.extrinsics_root();
        }
        4 => context.history_root = stage.hash(),
        _ => context.timestamp.0 += stage.rng.below(5_000),
    }
    let Header { parent_hash, state_root, extrinsics_root, .. } = block.header;
    block.header = Header::new(parent_hash, block.header.height(), state_root, extrinsics_root, &context);
    Some(block)
}

impl Villain for InvalidRoot {
    fn send(&mut self, stage: &mut Stage<'_>, to: &[Machine], message: &Arc<ConsensusMessage>, out: &mut Vec<Parcel>) {
        let ConsensusMessage::Proposal { proposal, block, .. } = &**message else {
            return super::honestly(to, message, out);
        };
        let spoilt = if stage.rng.percent(SPOILT_PERCENT) { spoil(stage, block) } else { None };
        let message = spoilt.map_or_else(|| message.clone(), |block| stage.proposal(proposal, Arc::new(block)));
        super::honestly(to, &message, out);
    }
}
