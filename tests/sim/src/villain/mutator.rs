//! Changes, cuts off or adds bytes of what it sends. What still decodes reaches the others.

use super::{Parcel, Stage, Villain};
use crate::plan::Machine;
use cairn_primitives::codec::decode_strict;
use cairn_primitives::message::{CONSENSUS_MESSAGE_BYTES_MAX, ConsensusMessage, SYNC_RESPONSE_BYTES_MAX, SyncResponse};
use parity_scale_codec::Encode;
use std::sync::Arc;

/// Messages that are changed, of a hundred.
const CHANGED_PERCENT: u64 = 40;

pub(super) struct Mutator;

fn change(stage: &mut Stage<'_>, bytes: &mut Vec<u8>) {
    for _ in 0..stage.rng.between(1, 3) {
        if bytes.is_empty() {
            return;
        }
        let place = stage.rng.index(bytes.len());
        match stage.rng.below(8) {
            0 => bytes.truncate(place),
            1 => bytes.push(0),
            2 => bytes[place] = u8::MAX,
            _ => bytes[place] ^= 1 << stage.rng.below(8),
        }
    }
}

impl Villain for Mutator {
    fn send(&mut self, stage: &mut Stage<'_>, to: &[Machine], message: &Arc<ConsensusMessage>, out: &mut Vec<Parcel>) {
        for to in to {
            if !stage.rng.percent(CHANGED_PERCENT) {
                out.push((*to, message.clone()));
                continue;
            }
            let mut bytes = message.encode();
            change(stage, &mut bytes);
            // The network refuses what does not decode, as here.
            if let Ok(changed) = decode_strict("consensus message", &bytes, CONSENSUS_MESSAGE_BYTES_MAX) {
                out.push((*to, Arc::new(changed)));
            }
        }
    }

    fn answer(&mut self, stage: &mut Stage<'_>, response: SyncResponse) -> Option<SyncResponse> {
        if !stage.rng.percent(CHANGED_PERCENT) {
            return Some(response);
        }
        let mut bytes = response.encode();
        change(stage, &mut bytes);
        decode_strict("sync response", &bytes, SYNC_RESPONSE_BYTES_MAX).ok()
    }
}
