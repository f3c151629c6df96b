//! Says nothing, and answers no question of block or snapshot sync.

use super::{Parcel, Stage, Villain};
use crate::plan::Machine;
use cairn_primitives::message::{ConsensusMessage, StateResponse, SyncResponse};
use std::sync::Arc;

pub(super) struct Mute;

impl Villain for Mute {
    fn send(&mut self, _: &mut Stage<'_>, _: &[Machine], _: &Arc<ConsensusMessage>, _: &mut Vec<Parcel>) {}

    fn answer(&mut self, _: &mut Stage<'_>, _: SyncResponse) -> Option<SyncResponse> {
        None
    }

    fn answer_state(&mut self, _: &mut Stage<'_>, _: StateResponse) -> Option<StateResponse> {
        None
    }
}
