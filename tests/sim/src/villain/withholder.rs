//! Keeps back most of what others wait for: votes, certificates, blocks that were asked for; speaks now and then.

use super::{Parcel, Stage, Villain};
use crate::plan::Machine;
use cairn_primitives::message::{ConsensusMessage, StateResponse, SyncResponse};
use std::sync::Arc;

/// What is let through, of a hundred.
const PASSED_PERCENT: u64 = 25;

pub(super) struct Withholder;

impl Villain for Withholder {
    fn send(&mut self, stage: &mut Stage<'_>, to: &[Machine], message: &Arc<ConsensusMessage>, out: &mut Vec<Parcel>) {
        for to in to {
            if stage.rng.percent(PASSED_PERCENT) {
                out.push((*to, message.clone()));
            }
        }
    }

    fn answer(&mut self, stage: &mut Stage<'_>, response: SyncResponse) -> Option<SyncResponse> {
        // It tells how far it is, and does not deliver.
        match response {
            SyncResponse::Status { .. } => Some(response),
            SyncResponse::Blocks(_) | SyncResponse::Archive(_) | SyncResponse::Refused => {
                stage.rng.percent(PASSED_PERCENT).then_some(SyncResponse::Refused)
            }
        }
    }

    fn answer_state(&mut self, stage: &mut Stage<'_>, response: StateResponse) -> Option<StateResponse> {
        // It offers snapshots, and gives few parts of them.
        match response {
            StateResponse::Snapshots(_) => Some(response),
            StateResponse::Manifest(_) | StateResponse::Chunk(_) | StateResponse::Refused => {
                stage.rng.percent(PASSED_PERCENT).then_some(response)
            }
        }
    }
}
