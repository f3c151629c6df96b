//! Following the tip by gossip.

use super::*;
use crate::{Offence, State, Verdict};

fn announce(sync: &mut Sync, now_ms: u64, peer: u64, block: &FinalizedBlock) -> Vec<Output> {
    step(sync, now_ms, Input::Announced { message: 5, peer: PeerRef(peer), block: Arc::new(block.clone()) })
}

fn judged(verdict: Verdict) -> Output {
    Output::Judged { message: 5, verdict }
}

fn caught_up(chain: &Chain) -> Sync {
    let mut sync = chain.machine(SyncConfig::default());
    connect(&mut sync, 0, 1, chain, 0);
    assert_eq!(sync.progress().state, State::CaughtUp);
    sync
}

#[test]
fn announced_next_block_is_imported_at_once_and_passed_on() {
    let chain = Chain::new(2, 1);
    let mut sync = caught_up(&chain);
    let outputs = announce(&mut sync, 0, 1, chain.block(1));
    assert_eq!(outputs, [judged(Verdict::Accept), Output::Import(chain.range(1, 1))]);
    let outputs = announce(&mut sync, 0, 1, chain.block(2));
    assert_eq!(outputs, [judged(Verdict::Accept), Output::Import(chain.range(2, 2))]);
    assert_eq!(sync.progress().state, State::CaughtUp);
}

#[test]
fn announced_blocks_out_of_order_are_imported_in_order_without_requests() {
    let chain = Chain::new(3, 1);
    let mut sync = caught_up(&chain);
    let mut outputs = announce(&mut sync, 0, 1, chain.block(3));
    outputs.extend(announce(&mut sync, 1, 1, chain.block(2)));
    assert_eq!(imports(&outputs), []);
    let more = announce(&mut sync, 2, 1, chain.block(1));
    assert_eq!(heights(&imports(&more)), [1, 2, 3]);
    assert_eq!((requests(&outputs).len(), requests(&more).len()), (0, 0));
}

#[test]
fn announced_gap_that_lasts_is_fetched() {
    let chain = Chain::new(3, 1);
    let mut sync = caught_up(&chain);
    announce(&mut sync, 100, 1, chain.block(3));
    assert_eq!(requests(&step(&mut sync, 599, Input::Tick)), []);
    let outputs = step(&mut sync, 600, Input::Tick);
    assert_eq!(requests(&outputs).iter().map(|request| (request.2, request.3)).collect::<Vec<_>>(), [(1, 2)]);
    assert_eq!(sync.progress().state, State::Blocks);
}

#[test]
fn announced_tip_far_ahead_is_followed_at_once() {
    let chain = Chain::new(100, 1);
    let mut sync = caught_up(&chain);
    let outputs = announce(&mut sync, 0, 1, chain.block(100));
    assert_eq!(requests(&outputs).iter().map(|request| (request.2, request.3)).collect::<Vec<_>>(), [(1, 99)]);
}

#[test]
fn announced_block_is_passed_on_once() {
    let chain = Chain::new(1, 1);
    let mut sync = caught_up(&chain);
    announce(&mut sync, 0, 1, chain.block(1));
    assert_eq!(announce(&mut sync, 0, 2, chain.block(1)), [judged(Verdict::Ignore)]);
}

#[test]
fn announced_block_that_consensus_committed_before_is_passed_on_but_not_imported() {
    let chain = Chain::new(3, 1);
    let mut sync = caught_up(&chain);
    step(&mut sync, 0, Input::LocalHead { height: Height(3), hash: chain.hash(Height(3)) });
    assert_eq!(announce(&mut sync, 0, 1, chain.block(2)), [judged(Verdict::Accept)]);
}

#[test]
fn announced_block_long_past_is_ignored_unread() {
    let chain = Chain::new(70, 1);
    let mut sync = caught_up(&chain);
    step(&mut sync, 0, Input::LocalHead { height: Height(70), hash: chain.hash(Height(70)) });
    let mut forged = chain.block(6).clone();
    forged.finalization = None;
    assert_eq!(announce(&mut sync, 0, 1, &forged), [judged(Verdict::Ignore)]);
}

#[test]
fn announced_block_that_does_not_hold_is_rejected_and_reported() {
    let chain = Chain::new(2, 1);
    let mut without = chain.block(1).clone();
    without.finalization = None;
    let mut foreign = chain.block(1).clone();
    foreign.finalization = chain.block(2).finalization.clone();
    let mut body = chain.block(1).clone();
    body.block.extrinsics.clear();
    for forged in [without, foreign, body] {
        let mut sync = caught_up(&chain);
        let outputs = announce(&mut sync, 0, 1, &forged);
        assert!(outputs.contains(&judged(Verdict::Reject)));
        assert!(matches!(&offences(&outputs)[..], [(1, Offence::InvalidAnnouncement(_))]));
        assert_eq!(imports(&outputs), []);
        // The forgery does not keep the true block out.
        assert_eq!(heights(&imports(&announce(&mut sync, 1, 2, chain.block(1)))), [1]);
    }
}

#[test]
fn announced_block_of_an_epoch_not_known_yet_is_ignored_until_it_is() {
    let chain = Chain::new(1, 1);
    let sets = ValidatorSets::new(chain.schedule, Epoch(9), Arc::clone(&chain.set));
    let mut sync = Sync::new(SyncConfig::default(), GENESIS, sets, Height::ZERO, GENESIS);
    assert_eq!(announce(&mut sync, 0, 1, chain.block(1)), [judged(Verdict::Ignore)]);
    step(&mut sync, 0, Input::Validators { epoch: Epoch(0), set: Arc::clone(&chain.set) });
    assert_eq!(heights(&imports(&announce(&mut sync, 0, 1, chain.block(1)))), [1]);
}

#[test]
fn second_final_block_at_the_head_is_a_conflict() {
    let chain = Chain::new(1, 1);
    let mut sync = Sync::new(SyncConfig::default(), GENESIS, chain.sets(), Height(1), Hash([9; 32]));
    announce(&mut sync, 0, 1, chain.block(1));
    assert!(matches!(sync.failure(), Some(crate::Failure::Conflict { .. })));
}

#[test]
fn following_a_fast_chain_by_gossip_alone_needs_no_requests() {
    let chain = Chain::new(300, 1);
    let mut sync = caught_up(&chain);
    for height in 1..=chain.length() {
        let now_ms = u64::from(height) * 10;
        let outputs = announce(&mut sync, now_ms, 1, chain.block(height));
        assert_eq!(heights(&imports(&outputs)), [height]);
        let imported = Input::Imported { height: Height(height), hash: chain.hash(Height(height)) };
        assert_eq!(step(&mut sync, now_ms, imported), []);
    }
    assert_eq!(sync.progress().buffered_bytes, 0);
}
