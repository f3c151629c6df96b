//! Over the ends of epochs, with other validators in each.

use super::*;
use crate::{Answer, Offence, State, VALIDATOR_SETS_MAX, Verdict, VerifyError, verify_range};

/// Epochs of ten blocks; every block carries a finalization.
fn chain(length: u32) -> Chain {
    Chain::with_epochs(length, 1, 10, |height| vec![vec![u8::try_from(height % 251).unwrap()]])
}

fn opened(sync: &mut Sync, now_ms: u64, epoch: u64) -> Vec<Output> {
    step(sync, now_ms, Input::Validators { epoch: Epoch(epoch), set: set_of(Epoch(epoch)) })
}

fn imported(sync: &mut Sync, now_ms: u64, chain: &Chain, height: u32) -> Vec<Output> {
    step(sync, now_ms, Input::Imported { height: Height(height), hash: chain.hash(Height(height)) })
}

fn answer(sync: &mut Sync, now_ms: u64, id: RequestId, blocks: Vec<FinalizedBlock>) -> Vec<Output> {
    step(sync, now_ms, Input::Blocks { peer: PeerRef(1), id, answer: Answer::Blocks(blocks) })
}

fn spans(outputs: &[Output]) -> Vec<(u32, u32)> {
    requests(outputs).iter().map(|(_, _, from, count)| (*from, *count)).collect()
}

#[test]
fn sets_known_are_bounded_and_the_oldest_goes() {
    let mut sets = chain(1).sets();
    for epoch in (1..100).map(Epoch) {
        sets.insert(epoch, set_of(epoch));
    }
    assert_eq!(sets.latest(), Epoch(99));
    let known = (0..100).map(Epoch).filter(|epoch| sets.get(*epoch).is_some()).count();
    assert_eq!(known, VALIDATOR_SETS_MAX);
    assert!(sets.get(Epoch(99)).is_some() && sets.get(Epoch(0)).is_none());
}

#[test]
fn range_over_the_end_of_an_epoch_is_refused_even_with_both_sets() {
    let chain = chain(12);
    let mut sets = chain.sets();
    sets.insert(Epoch(1), set_of(Epoch(1)));
    let verify = |from: u32, last: u32| verify_range(chain.range(from, last), Height(from), 20, &GENESIS, &sets);
    assert_eq!(verify(9, 11), Err(VerifyError::SpansEpochs { first: Height(9), last: Height(11) }));
    assert_eq!(verify(1, 10).unwrap().last(), Height(10));
    assert_eq!(verify(11, 12).unwrap().last(), Height(12));
}

#[test]
fn finalization_by_the_validators_of_another_epoch_does_not_hold() {
    let chain = chain(12);
    let mut sets = chain.sets();
    sets.insert(Epoch(1), set_of(Epoch(1)));
    let verify = |blocks| verify_range(blocks, Height(10), 1, &GENESIS, &sets);
    let Subject::Finalize(proposal) = chain.finalize(10, chain.hash(Height(10))) else { unreachable!() };
    // The next epoch's validators cannot finalize what came before them, whatever epoch they name.
    let mut blocks = chain.range(10, 10);
    blocks[0].finalization = Some(chain.certify(Subject::Finalize(Proposal { epoch: Epoch(1), ..proposal })));
    assert_eq!(verify(blocks), Err(VerifyError::WrongEpoch { actual: Epoch(1), expected: Epoch(0) }));
    let mut blocks = chain.range(10, 10);
    let mut theirs = chain.certify(Subject::Finalize(Proposal { epoch: Epoch(1), ..proposal }));
    theirs.subject = Subject::Finalize(proposal);
    blocks[0].finalization = Some(theirs);
    assert!(matches!(verify(blocks), Err(VerifyError::BadCertificate(_))));
}

#[test]
fn blocks_are_asked_for_up_to_the_end_of_the_epoch_and_on_once_the_next_set_is_known() {
    let chain = chain(25);
    let mut sync = chain.machine(SyncConfig::default());
    let asked = connect(&mut sync, 0, 1, &chain, 25);
    assert_eq!((spans(&asked), offences(&asked).len()), (vec![(1, 10)], 0));
    let outputs = answer(&mut sync, 1, requests(&asked)[0].1, chain.range(1, 10));
    assert_eq!(heights(&imports(&outputs)), (1..=10).collect::<Vec<_>>());
    let waiting = imported(&mut sync, 2, &chain, 10);
    assert_eq!((spans(&waiting), sync.progress().state), (vec![], State::Blocks));
    let outputs = opened(&mut sync, 3, 1);
    assert_eq!(spans(&outputs), [(11, 10)]);
    answer(&mut sync, 4, requests(&outputs)[0].1, chain.range(11, 20));
    // The set may come before the import is told of.
    assert_eq!(spans(&opened(&mut sync, 5, 2)), [(21, 5)]);
    assert_eq!(spans(&imported(&mut sync, 6, &chain, 20)), []);
}

#[test]
fn tip_in_an_epoch_to_come_is_no_offence_and_proved_once_it_can_be() {
    let chain = chain(25);
    let mut sync = chain.machine(SyncConfig::default());
    connect(&mut sync, 0, 1, &chain, 25);
    assert_eq!((sync.progress().target, sync.progress().state), (Height(25), State::Blocks));
    step(&mut sync, 1, Input::LocalHead { height: Height(10), hash: chain.hash(Height(10)) });
    assert!(!opened(&mut sync, 1, 1).contains(&Output::RequestStatus(PeerRef(1))));
    step(&mut sync, 2, Input::LocalHead { height: Height(20), hash: chain.hash(Height(20)) });
    let outputs = opened(&mut sync, 2, 2);
    assert!(outputs.contains(&Output::RequestStatus(PeerRef(1))), "now its tip can be verified");
    let mut forged = chain.clone();
    forged.blocks[24].finalization = Some(Certificate::from_signatures(chain.finalize(25, Hash::ZERO), [], &chain.set));
    let outputs = tell_status(&mut sync, 3, 1, &forged, 25);
    assert!(matches!(&offences(&outputs)[..], [(1, Offence::LyingTip { .. })]));
}

#[test]
fn tip_whose_epoch_is_not_that_of_its_height_is_a_lie() {
    let chain = chain(25);
    for head in [19, 31, 5] {
        let mut sync = chain.machine(SyncConfig::default());
        step(&mut sync, 0, Input::PeerConnected(PeerRef(1)));
        let finalization = chain.block(25).finalization.clone();
        let outputs = step(
            &mut sync,
            0,
            Input::Status { peer: PeerRef(1), head: Height(head), finalization, lowest: Height::ZERO },
        );
        assert!(matches!(&offences(&outputs)[..], [(1, Offence::LyingTip { .. })]), "head {head}");
        assert_eq!(requests(&outputs), []);
    }
}

#[test]
fn tip_further_above_the_opening_block_than_its_view_is_a_lie() {
    let chain = chain(25);
    let mut sync = chain.machine(SyncConfig::default());
    step(&mut sync, 0, Input::PeerConnected(PeerRef(1)));
    let finalization = chain.block(22).finalization.clone();
    let outputs =
        step(&mut sync, 0, Input::Status { peer: PeerRef(1), head: Height(23), finalization, lowest: Height::ZERO });
    assert!(matches!(&offences(&outputs)[..], [(1, Offence::LyingTip { .. })]));
}

#[test]
fn announced_block_of_an_epoch_to_come_is_ignored_but_shows_where_to_ask() {
    let chain = chain(25);
    let mut sync = chain.machine(SyncConfig::default());
    connect(&mut sync, 0, 1, &chain, 0);
    let block = Arc::new(chain.block(24).clone());
    let announced = Input::Announced { message: 5, peer: PeerRef(1), block };
    let outputs = step(&mut sync, 1, announced);
    assert_eq!(outputs[0], Output::Judged { message: 5, verdict: Verdict::Ignore });
    assert_eq!(offences(&outputs), []);
    let later = step(&mut sync, 600, Input::Tick);
    assert_eq!(spans(&later), [(1, 10)]);
}

#[test]
fn announced_block_of_an_epoch_long_past_is_ignored_and_shows_nothing() {
    let chain = chain(120);
    let mut sync = chain.machine(SyncConfig::default());
    connect(&mut sync, 0, 1, &chain, 0);
    for epoch in 1..=12 {
        opened(&mut sync, 0, epoch);
    }
    step(&mut sync, 0, Input::LocalHead { height: Height(100), hash: chain.hash(Height(100)) });
    let block = Arc::new(chain.block(45).clone());
    let outputs = step(&mut sync, 1, Input::Announced { message: 5, peer: PeerRef(1), block });
    assert_eq!(outputs, [Output::Judged { message: 5, verdict: Verdict::Ignore }]);
    assert_eq!(sync.progress().target, Height(100));
}

#[test]
fn liar_about_a_tip_in_an_epoch_to_come_is_believed_until_it_has_nothing() {
    let chain = chain(5);
    let mut sync = chain.machine(SyncConfig::default());
    step(&mut sync, 0, Input::PeerConnected(PeerRef(1)));
    let head = Height(1_001);
    let finalization = Some(Certificate::from_signatures(chain.finalize(head.0, Hash::ZERO), [], &chain.set));
    let mut outputs = step(&mut sync, 0, Input::Status { peer: PeerRef(1), head, finalization, lowest: Height::ZERO });
    let mut now_ms = 0;
    for wait_ms in [1_000, 2_000, 0] {
        assert_eq!((spans(&outputs), offences(&outputs)), (vec![(1, 10)], vec![]));
        let (peer, id) = (PeerRef(1), requests(&outputs)[0].1);
        outputs = step(&mut sync, now_ms, Input::Blocks { peer, id, answer: Answer::Refused });
        now_ms += wait_ms;
        if wait_ms > 0 {
            outputs = step(&mut sync, now_ms, Input::Tick);
        }
    }
    assert_eq!(offences(&outputs), [(1, Offence::Useless)]);
    assert_eq!((sync.progress().target, sync.progress().state), (Height(0), State::Discovering));
    // What it says by gossip is not believed either.
    let block = Arc::new(Chain::with_epochs(11, 1, 10, |_| vec![]).block(11).clone());
    step(&mut sync, now_ms, Input::Announced { message: 5, peer: PeerRef(1), block });
    assert_eq!(sync.progress().target, Height(0));
}
