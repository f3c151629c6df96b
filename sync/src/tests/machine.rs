//! The machine's rules, one by one.

use super::*;
use crate::{Answer, Offence, Severity, State, VerifyError};

fn answer(sync: &mut Sync, now_ms: u64, peer: u64, id: RequestId, answer: Answer) -> Vec<Output> {
    step(sync, now_ms, Input::Blocks { peer: PeerRef(peer), id, answer })
}

fn small() -> SyncConfig {
    SyncConfig { request_blocks: 10, ..SyncConfig::default() }
}

#[test]
fn machine_without_peers_is_idle_and_asks_the_first_for_its_tip() {
    let chain = Chain::new(1, 1);
    let mut sync = chain.machine(small());
    assert_eq!(step(&mut sync, 0, Input::Tick), []);
    let outputs = step(&mut sync, 0, Input::PeerConnected(PeerRef(1)));
    let changed = Output::StateChanged { from: State::Idle, to: State::Discovering };
    assert_eq!(outputs, [Output::RequestStatus(PeerRef(1)), changed]);
    let outputs = step(&mut sync, 0, Input::PeerGone(PeerRef(1)));
    assert_eq!(outputs, [Output::StateChanged { from: State::Discovering, to: State::Idle }]);
}

#[test]
fn tip_equal_to_ours_means_caught_up() {
    let chain = Chain::new(1, 1);
    let mut sync = chain.machine(small());
    let outputs = connect(&mut sync, 0, 1, &chain, 0);
    assert_eq!(outputs.last(), Some(&Output::StateChanged { from: State::Discovering, to: State::CaughtUp }));
}

#[test]
fn tips_of_all_peers_are_awaited_before_we_count_as_caught_up() {
    let chain = Chain::new(1, 1);
    let mut sync = chain.machine(small());
    step(&mut sync, 0, Input::PeerConnected(PeerRef(2)));
    connect(&mut sync, 0, 1, &chain, 0);
    assert_eq!(sync.progress().state, State::Discovering);
    step(&mut sync, 0, Input::StatusFailed(PeerRef(2)));
    assert_eq!(sync.progress().state, State::CaughtUp);
}

#[test]
fn ranges_are_asked_of_several_peers_and_imported_in_order() {
    let chain = Chain::new(40, 1);
    let mut sync = chain.machine(small());
    let mut outputs = connect(&mut sync, 0, 1, &chain, 40);
    outputs.extend(connect(&mut sync, 0, 2, &chain, 40));
    let asked = requests(&outputs);
    assert_eq!(
        asked.iter().map(|(peer, _, from, count)| (*peer, *from, *count)).collect::<Vec<_>>(),
        [(1, 1, 10), (1, 11, 10), (2, 21, 10), (2, 31, 10)]
    );
    for place in [3, 1, 2] {
        let (peer, id, from, _) = asked[place];
        let outputs = answer(&mut sync, 1, peer, id, Answer::Blocks(chain.range(from, from + 9)));
        assert_eq!(imports(&outputs), []);
    }
    let outputs = answer(&mut sync, 1, 1, asked[0].1, Answer::Blocks(chain.range(1, 10)));
    assert_eq!(heights(&imports(&outputs)), (1..=40).collect::<Vec<_>>());
    assert_eq!(sync.progress().state, State::Blocks);
    let outputs = step(&mut sync, 2, Input::Imported { height: Height(40), hash: chain.hash(Height(40)) });
    assert_eq!(outputs, [Output::StateChanged { from: State::Blocks, to: State::CaughtUp }]);
}

#[test]
fn short_answer_is_imported_and_the_rest_asked_for_again() {
    let chain = Chain::new(10, 1);
    let mut sync = chain.machine(small());
    let asked = requests(&connect(&mut sync, 0, 1, &chain, 10));
    let outputs = answer(&mut sync, 1, 1, asked[0].1, Answer::Blocks(chain.range(1, 4)));
    assert_eq!(heights(&imports(&outputs)), [1, 2, 3, 4]);
    assert_eq!(offences(&outputs), []);
    assert_eq!(requests(&outputs).iter().map(|request| (request.2, request.3)).collect::<Vec<_>>(), [(5, 6)]);
}

#[test]
fn bad_answer_is_reported_and_the_range_goes_to_another_peer() {
    let chain = Chain::new(10, 5);
    let mut body = chain.range(1, 10);
    body[0].block.extrinsics.clear();
    let cases = [
        (vec![], VerifyError::Empty, Severity::Useless),
        (chain.range(1, 9), VerifyError::NotFinalized(Height(9)), Severity::Malicious),
        (chain.range(2, 10), VerifyError::WrongHeight { actual: Height(2), expected: Height(1) }, Severity::Malicious),
        (body, VerifyError::WrongBody(Height(1)), Severity::Malicious),
    ];
    for (blocks, error, severity) in cases {
        let mut sync = chain.machine(small());
        let asked = requests(&connect(&mut sync, 0, 1, &chain, 10));
        connect(&mut sync, 0, 2, &chain, 10);
        let outputs = answer(&mut sync, 1, 1, asked[0].1, Answer::Blocks(blocks));
        let offence = Offence::InvalidBlocks(error);
        assert_eq!(offence.severity(), severity);
        assert_eq!(offences(&outputs), [(1, offence)]);
        let again = requests(&outputs);
        assert_eq!((again[0].0, again[0].2, again[0].3), (2, 1, 10));
        assert_eq!(imports(&outputs), []);
    }
}

#[test]
fn stalled_peer_is_reported_and_its_late_answer_ignored() {
    let chain = Chain::new(10, 1);
    let mut sync = chain.machine(small());
    let asked = requests(&connect(&mut sync, 0, 1, &chain, 10));
    connect(&mut sync, 0, 2, &chain, 10);
    assert_eq!(offences(&step(&mut sync, 4_999, Input::Tick)), []);
    let outputs = step(&mut sync, 5_000, Input::Tick);
    assert_eq!(offences(&outputs), [(1, Offence::Stalled)]);
    assert_eq!(requests(&outputs)[0].0, 2);
    assert_eq!(answer(&mut sync, 5_001, 1, asked[0].1, Answer::Blocks(chain.range(1, 10))), []);
}

#[test]
fn answer_under_another_peers_name_is_ignored() {
    let chain = Chain::new(10, 1);
    let mut sync = chain.machine(small());
    let asked = requests(&connect(&mut sync, 0, 1, &chain, 10));
    connect(&mut sync, 0, 2, &chain, 10);
    assert_eq!(answer(&mut sync, 1, 2, asked[0].1, Answer::Blocks(chain.range(1, 10))), []);
    assert_eq!(sync.progress().requests, 1);
}

#[test]
fn peer_that_is_gone_frees_its_range() {
    let chain = Chain::new(10, 1);
    let mut sync = chain.machine(small());
    connect(&mut sync, 0, 1, &chain, 10);
    connect(&mut sync, 0, 2, &chain, 10);
    let again = requests(&step(&mut sync, 1, Input::PeerGone(PeerRef(1))));
    assert_eq!((again[0].0, again[0].2), (2, 1));
}

#[test]
fn peer_that_keeps_refusing_is_left_out_longer_each_time_and_reported() {
    let chain = Chain::new(10, 1);
    let mut sync = chain.machine(small());
    let mut asked = requests(&connect(&mut sync, 0, 1, &chain, 10));
    let mut now_ms = 0;
    for wait_ms in [1_000, 2_000] {
        let outputs = answer(&mut sync, now_ms, 1, asked[0].1, Answer::Refused);
        assert_eq!((requests(&outputs).len(), offences(&outputs).len()), (0, 0));
        assert_eq!(requests(&step(&mut sync, now_ms + wait_ms - 1, Input::Tick)), []);
        now_ms += wait_ms;
        asked = requests(&step(&mut sync, now_ms, Input::Tick));
        assert_eq!(asked.len(), 1);
    }
    let outputs = answer(&mut sync, now_ms, 1, asked[0].1, Answer::Refused);
    assert_eq!(offences(&outputs), [(1, Offence::Useless)]);
    // Its claim is forgotten, so it no longer keeps us from being caught up.
    assert_eq!(sync.progress().state, State::Discovering);
}

#[test]
fn tip_without_or_with_a_wrong_finalization_is_a_lie() {
    let chain = Chain::new(10, 1);
    let cases = [
        (10, None),
        (0, chain.block(1).finalization.clone()),
        (11, chain.block(10).finalization.clone()),
        (5, Some(Certificate::from_signatures(finalize(5, chain.hash(Height(5))), [], &chain.set))),
    ];
    for (head, finalization) in cases {
        let mut sync = chain.machine(small());
        step(&mut sync, 0, Input::PeerConnected(PeerRef(1)));
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
fn tip_with_the_finalization_of_another_height_is_found_out() {
    let chain = Chain::new(10, 1);
    let mut sync = chain.machine(small());
    let asked = requests(&connect(&mut sync, 0, 1, &chain, 10));
    step(&mut sync, 0, Input::PeerConnected(PeerRef(2)));
    let finalization = chain.block(9).finalization.clone();
    step(&mut sync, 0, Input::Status { peer: PeerRef(2), head: Height(4), finalization, lowest: Height::ZERO });
    let outputs = answer(&mut sync, 1, 1, asked[0].1, Answer::Blocks(chain.range(1, 10)));
    assert!(matches!(&offences(&outputs)[..], [(2, Offence::LyingTip { claimed: Height(4), .. })]));
}

/// The finalization of a block in a later view: height and view need not be the same.
fn late(chain: &Chain, height: u32) -> Option<Certificate> {
    let Subject::Finalize(mut proposal) = chain.finalize(height, chain.hash(Height(height))) else {
        panic!("it is a finalization")
    };
    proposal.view = View(proposal.view.0 + 100);
    Some(chain.certify(Subject::Finalize(proposal)))
}

#[test]
fn tip_above_the_block_that_its_finalization_is_of_is_found_out_when_that_block_comes_though_the_claim_is_forgotten() {
    let chain = Chain::new(10, 1);
    let mut sync = chain.machine(small());
    step(&mut sync, 0, Input::PeerConnected(PeerRef(2)));
    let finalization = late(&chain, 10);
    let outputs =
        step(&mut sync, 0, Input::Status { peer: PeerRef(2), head: Height(15), finalization, lowest: Height::ZERO });
    assert_eq!(offences(&outputs), []);
    let mut asked = requests(&outputs);
    let mut now_ms = 0;
    for wait_ms in [1_000, 2_000, 4_000] {
        answer(&mut sync, now_ms, 2, asked[0].1, Answer::Refused);
        now_ms += wait_ms;
        asked = requests(&step(&mut sync, now_ms, Input::Tick));
    }
    assert_eq!(asked, [], "its claim is forgotten");
    let asked = requests(&connect(&mut sync, now_ms, 1, &chain, 10));
    let outputs = answer(&mut sync, now_ms, 1, asked[0].1, Answer::Blocks(chain.range(1, 10)));
    assert!(matches!(&offences(&outputs)[..], [(2, Offence::LyingTip { claimed: Height(15), .. })]), "{outputs:?}");
}

#[test]
fn tip_above_with_the_finalization_of_the_local_head_is_a_lie_at_once() {
    let chain = Chain::new(10, 1);
    let mut sync = Sync::new(small(), GENESIS, chain.sets(), Height(10), chain.hash(Height(10)));
    step(&mut sync, 0, Input::PeerConnected(PeerRef(1)));
    let finalization = late(&chain, 10);
    let outputs =
        step(&mut sync, 0, Input::Status { peer: PeerRef(1), head: Height(15), finalization, lowest: Height::ZERO });
    assert!(matches!(&offences(&outputs)[..], [(1, Offence::LyingTip { claimed: Height(15), .. })]), "{outputs:?}");
    assert_eq!(requests(&outputs), []);
}

#[test]
fn old_but_true_tip_is_no_offence_and_its_peer_is_asked_for_what_it_has_alone() {
    let chain = Chain::new(40, 1);
    let mut sync = chain.machine(small());
    let mut outputs = connect(&mut sync, 0, 1, &chain, 15);
    outputs.extend(connect(&mut sync, 0, 2, &chain, 40));
    assert_eq!(offences(&outputs), []);
    let above = requests(&outputs).iter().filter(|(peer, _, from, count)| *peer == 1 && from + count > 16).count();
    assert_eq!(above, 0, "{outputs:?}");
}

#[test]
fn status_that_was_not_asked_for_is_ignored() {
    let chain = Chain::new(10, 1);
    let mut sync = chain.machine(small());
    connect(&mut sync, 0, 1, &chain, 0);
    assert_eq!(tell_status(&mut sync, 0, 1, &chain, 10), []);
}

#[test]
fn consensus_that_is_behind_asks_at_once_but_not_all_the_time() {
    let chain = Chain::new(10, 1);
    let mut sync = chain.machine(small());
    connect(&mut sync, 0, 1, &chain, 0);
    assert_eq!(step(&mut sync, 999, Input::Behind), []);
    assert_eq!(step(&mut sync, 1_000, Input::Behind), [Output::RequestStatus(PeerRef(1))]);
    assert_eq!(step(&mut sync, 1_001, Input::Behind), []);
}

#[test]
fn import_that_failed_stops_the_machine_until_the_head_passes_it() {
    let chain = Chain::new(20, 1);
    let mut sync = chain.machine(small());
    let asked = requests(&connect(&mut sync, 0, 1, &chain, 10));
    answer(&mut sync, 1, 1, asked[0].1, Answer::Blocks(chain.range(1, 10)));
    let outputs = step(&mut sync, 2, Input::ImportFailed { height: Height(3), reason: "disk full".to_owned() });
    assert_eq!(outputs, [Output::StateChanged { from: State::Blocks, to: State::Failed }]);
    let failure = sync.failure().unwrap().to_string();
    assert_eq!(failure, "final block 3 could not be imported: disk full");
    assert_eq!(step(&mut sync, 3, Input::LocalHead { height: Height(2), hash: chain.hash(Height(2)) }), []);
    let outputs = step(&mut sync, 4, Input::LocalHead { height: Height(3), hash: chain.hash(Height(3)) });
    assert_eq!(sync.progress().state, State::Blocks);
    assert_eq!(requests(&outputs).iter().map(|request| request.2).collect::<Vec<_>>(), [4]);
}

#[test]
fn final_block_that_does_not_fit_the_local_chain_is_a_conflict() {
    let chain = Chain::new(10, 1);
    let mut sync = Sync::new(small(), GENESIS, chain.sets(), Height(4), Hash([9; 32]));
    let asked = requests(&connect(&mut sync, 0, 1, &chain, 10));
    let outputs = answer(&mut sync, 1, 1, asked[0].1, Answer::Blocks(chain.range(5, 10)));
    assert_eq!(imports(&outputs), []);
    assert_eq!(sync.progress().state, State::Failed);
    assert!(matches!(sync.failure(), Some(crate::Failure::Conflict { height: Height(5), .. })));
}

#[test]
fn blocks_that_consensus_committed_meanwhile_are_not_imported() {
    let chain = Chain::new(10, 10);
    let mut sync = chain.machine(small());
    let asked = requests(&connect(&mut sync, 0, 1, &chain, 10));
    step(&mut sync, 0, Input::LocalHead { height: Height(6), hash: chain.hash(Height(6)) });
    let outputs = answer(&mut sync, 1, 1, asked[0].1, Answer::Blocks(chain.range(1, 10)));
    assert_eq!(heights(&imports(&outputs)), [7, 8, 9, 10]);
}

#[test]
fn importing_is_bounded() {
    let chain = Chain::new(60, 1);
    let mut sync = chain.machine(SyncConfig { importing_max: 15, ..small() });
    let mut asked = requests(&connect(&mut sync, 0, 1, &chain, 60));
    let mut imported = Vec::new();
    while let Some((peer, id, from, count)) = asked.pop() {
        let outputs = answer(&mut sync, 1, peer, id, Answer::Blocks(chain.range(from, from + count - 1)));
        asked.extend(requests(&outputs));
        imported.extend(heights(&imports(&outputs)));
    }
    assert_eq!(imported, (1..=20).collect::<Vec<_>>());
    let outputs = step(&mut sync, 2, Input::Imported { height: Height(10), hash: chain.hash(Height(10)) });
    assert_eq!(heights(&imports(&outputs)), (21..=30).collect::<Vec<_>>());
}

#[test]
fn bytes_held_bound_the_requests_but_never_the_next_range() {
    let chain = Chain::new(60, 1);
    let mut sync = chain.machine(SyncConfig { bytes_max: 1, ..small() });
    let asked = requests(&connect(&mut sync, 0, 1, &chain, 60));
    assert_eq!(asked.len(), 1);
    let outputs = answer(&mut sync, 1, 1, asked[0].1, Answer::Blocks(chain.range(1, 10)));
    assert_eq!(requests(&outputs).len(), 1);
}

#[test]
fn failures_long_past_are_forgiven() {
    let chain = Chain::new(10, 1);
    let mut sync = chain.machine(small());
    connect(&mut sync, 0, 1, &chain, 0);
    // Three questions without an answer, each long after the one before: the peer is asked again a second later.
    for round in 1..=3 {
        let now_ms = round * 1_000_000;
        let asked = Output::RequestStatus(PeerRef(1));
        assert!(step(&mut sync, now_ms, Input::Tick).contains(&asked));
        step(&mut sync, now_ms, Input::StatusFailed(PeerRef(1)));
        assert_eq!(sync.progress().state, State::CaughtUp);
        assert!(step(&mut sync, now_ms + 10_000, Input::Tick).contains(&asked));
        tell_status(&mut sync, now_ms + 10_000, 1, &chain, 0);
    }
}

#[test]
fn peer_is_not_asked_for_blocks_below_its_lowest() {
    let mut chain = Chain::new(40, 1);
    let mut sync = chain.machine(SyncConfig { requests_per_peer_max: 1, ..small() });
    chain.lowest = Height(21);
    assert_eq!(requests(&connect(&mut sync, 0, 1, &chain, 40)), [], "nobody has the next block");
    chain.lowest = Height::ZERO;
    let asked = requests(&connect(&mut sync, 0, 2, &chain, 40));
    assert_eq!(asked.iter().map(|(peer, _, from, _)| (*peer, *from)).collect::<Vec<_>>(), [(2, 1)]);
    let outputs = answer(&mut sync, 1, 2, asked[0].1, Answer::Blocks(chain.range(1, 10)));
    let asked = requests(&outputs);
    assert_eq!(asked.iter().map(|(peer, _, from, _)| (*peer, *from)).collect::<Vec<_>>(), [(2, 11), (1, 21)]);
}

#[test]
fn peer_whose_blocks_begin_above_its_tip_lies() {
    let mut chain = Chain::new(9, 1);
    chain.lowest = Height(10);
    let outputs = connect(&mut chain.machine(small()), 0, 1, &chain, 9);
    let reason = "its blocks begin at height 10".to_owned();
    assert_eq!(offences(&outputs), [(1, Offence::LyingTip { claimed: Height(9), reason })]);
}
