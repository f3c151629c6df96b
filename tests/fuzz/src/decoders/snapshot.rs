//! Manifests of snapshots.

use super::strict;
use crate::fixture::{GENESIS, epoch_chain, set_in};
use cairn_primitives::light::TrustAnchor;
use cairn_primitives::list_tree::ListAccumulator;
use cairn_primitives::snapshot::{ChunkEntry, EpochHandover, MANIFEST_BYTES_MAX, SNAPSHOT_VERSION, SnapshotManifest};
use cairn_primitives::{Epoch, EpochSchedule, Hash};
use parity_scale_codec::Encode;

const SCHEDULE: EpochSchedule = EpochSchedule::new(3);

/// The hash of the chain's genesis is no header's, and no block above has its history: no manifest leads there.
pub(crate) fn manifest(bytes: &[u8]) {
    let Some(manifest) = strict::<SnapshotManifest>("snapshot manifest", bytes, MANIFEST_BYTES_MAX) else { return };
    let ranges = (0..manifest.chunks.len()).filter_map(|index| manifest.range(index)).count();
    assert!(ranges <= manifest.chunks.len());
    let anchor = TrustAnchor::new(GENESIS, set_in(Epoch::ZERO).as_ref().clone()).with_schedule(SCHEDULE);
    assert!(manifest.verify(anchor).is_err(), "a snapshot of another chain was accepted");
}

pub(crate) fn manifest_seeds() -> Vec<Vec<u8>> {
    let chain = epoch_chain(6, SCHEDULE);
    let mut seeds = Vec::new();
    for (height, finalized) in (1..).zip(&chain) {
        let Some(finalization) = finalized.finalization.clone() else { continue };
        let below = chain.iter().take(height);
        let closing = below.clone().filter(|block| SCHEDULE.is_closing(block.block.header.height()));
        let handovers = closing.filter_map(|block| {
            let epoch = block.block.header.context().ok()?.epoch.next();
            Some(EpochHandover {
                closing: block.block.header.clone(),
                finalization: block.finalization.clone()?,
                validators: set_in(epoch).as_ref().clone(),
            })
        });
        let mut history = ListAccumulator::default();
        history.push(&GENESIS.0);
        below.clone().take(height - 1).for_each(|block| history.push(&block.block.header.hash().0));
        let entry = |to| ChunkEntry { to, leaves: 1, bytes: 100, hash: Hash::ZERO };
        let manifest = SnapshotManifest {
            version: SNAPSHOT_VERSION,
            genesis: GENESIS,
            block: finalized.block.clone(),
            finalization,
            events: vec![0],
            history,
            ancestors: below.take(height - 1).rev().map(|block| block.block.header.clone()).collect(),
            handovers: handovers.collect(),
            chunks: vec![entry(Some(Hash([7; 32]))), entry(None)],
        };
        seeds.push(manifest.encode());
    }
    seeds
}
