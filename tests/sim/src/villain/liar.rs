//! Lies about its finalized blocks: tips that do not exist, blocks that are not those asked for, changed or without proof.

use super::{Stage, Villain};
use cairn_primitives::message::{StateResponse, SyncResponse};
use cairn_primitives::{Certificate, FinalizedBlock, Height, Subject};

pub(super) struct Liar;

fn spoil(stage: &mut Stage<'_>, blocks: &mut [FinalizedBlock]) {
    let Some(last) = blocks.len().checked_sub(1) else { return };
    let place = stage.rng.index(blocks.len());
    match stage.rng.below(5) {
        0 => blocks[last].finalization = None,
        1 => blocks[place].block.header.state_root = stage.hash(),
        2 => blocks[place].block.extrinsics.clear(),
        3 => {
            let Some(certificate) = blocks[last].finalization.clone() else { return };
            let set = stage.set;
            let own = stage.sign(certificate.subject).signature;
            let forged = set.indices().map(|index| (index, own));
            blocks[last].finalization = Some(Certificate::from_signatures(certificate.subject, forged, set));
        }
        _ => blocks[place].block.header.number ^= 1,
    }
}

impl Villain for Liar {
    fn answer(&mut self, stage: &mut Stage<'_>, response: SyncResponse) -> Option<SyncResponse> {
        match response {
            SyncResponse::Status { head, finalization, lowest } => {
                let head = match stage.rng.below(4) {
                    0 => head,
                    1 => Height(head.0 + 1 + u32::try_from(stage.rng.below(1_000)).expect("a small number")),
                    2 => Height(head.0 / 2),
                    _ => Height(u32::MAX),
                };
                let finalization = finalization.map(|certificate| {
                    if stage.rng.percent(70) {
                        return certificate;
                    }
                    let Subject::Finalize(proposal) = certificate.subject else { return certificate };
                    let made_up = cairn_primitives::Proposal { block: stage.hash(), ..proposal };
                    let subject = Subject::Finalize(made_up);
                    let own = stage.sign(subject).signature;
                    Certificate::from_signatures(subject, [(stage.index, own)], stage.set)
                });
                Some(SyncResponse::Status { head, finalization, lowest })
            }
            SyncResponse::Blocks(mut blocks) => match stage.rng.below(5) {
                0 => None,
                1 => Some(SyncResponse::Refused),
                2 => Some(SyncResponse::Blocks(Vec::new())),
                3 => Some(SyncResponse::Blocks(blocks)),
                _ => {
                    spoil(stage, &mut blocks);
                    Some(SyncResponse::Blocks(blocks))
                }
            },
            // Nobody asks for them.
            SyncResponse::Archive(_) | SyncResponse::Refused => Some(SyncResponse::Refused),
        }
    }

    fn answer_state(&mut self, stage: &mut Stage<'_>, response: StateResponse) -> Option<StateResponse> {
        let changed = |stage: &mut Stage<'_>, mut bytes: Vec<u8>| {
            if stage.rng.percent(70) && !bytes.is_empty() {
                let place = stage.rng.index(bytes.len());
                bytes[place] ^= 1 << stage.rng.below(8);
            }
            bytes
        };
        Some(match response {
            StateResponse::Snapshots(mut offers) => {
                for offer in &mut offers {
                    match stage.rng.below(4) {
                        0 => offer.id = stage.hash(),
                        1 => offer.height = Height(offer.height.0 + 1_000),
                        2 => offer.manifest_bytes = offer.manifest_bytes.saturating_mul(3),
                        _ => {}
                    }
                }
                StateResponse::Snapshots(offers)
            }
            StateResponse::Manifest(bytes) => StateResponse::Manifest(changed(stage, bytes)),
            StateResponse::Chunk(bytes) => StateResponse::Chunk(changed(stage, bytes)),
            StateResponse::Refused => StateResponse::Refused,
        })
    }
}
