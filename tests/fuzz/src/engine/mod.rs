//! Consensus of one node among others that do whatever the bytes say: they sign anything with their real keys, make any
//! certificate, replay, lie and crash us.
//!
//! The others hold a quorum together, so the chain may fork and diverge; what must hold is what one node promises alone:
//! it never signs two votes that exclude each other, says nothing that is not in its record, hands over only certified
//! blocks that continue the committed chain, keeps its outputs bounded, and never panics.
//!
//! [`world`] holds the node and its ledger, [`acts`] turns bytes into what happens, [`check`] looks at every output.

mod acts;
mod check;
mod world;

use crate::draw::Draw;
use world::World;

/// Things that happen in one run.
const ACTS_MAX: usize = 120;

pub(crate) fn run(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let mut world = World::new(draw.byte());
    for _ in 0..ACTS_MAX {
        if draw.is_empty() || world.is_over() {
            return;
        }
        acts::act(&mut world, &mut draw);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    // A proposal by the leader, the ledger's answers, a notarization, the answer, a finalization, the ledger's answer.
    let block = [0u8, 0, 0, 9, 9, 9, 9, 4, 0, 0, 9, 9, 4, 1, 0, 0, 9, 9];
    let goes_on: Vec<u8> = [1].into_iter().chain((0..20).flat_map(|_| block)).collect();
    let waits: Vec<u8> = [0].into_iter().chain((0..30).flat_map(|turn| [8, turn % 3, 3, 2, turn, 9, 9])).collect();
    let restarts: Vec<u8> =
        [1].into_iter().chain((0..12).flat_map(|turn| block.into_iter().chain([11, turn, 3]))).collect();
    let everything: Vec<u8> = (0..=255).collect();
    vec![goes_on, waits, restarts, everything]
}
