//! Snapshot sync: its rules one by one, and a node among honest and bad peers on a virtual clock, driven by a seed.

mod fixture;
mod simulation;

use crate::message::Severity;
use crate::{
    PartAnswer, PeerRef, RequestId, SnapshotConfig, SnapshotInput, SnapshotOutput, SnapshotState, SnapshotSync,
};
use cairn_primitives::snapshot::SnapshotOffer;
use fixture::{Cut, Lie, anchor};
use std::sync::Arc;

fn machine() -> SnapshotSync {
    SnapshotSync::new(SnapshotConfig::default(), anchor())
}

fn step(sync: &mut SnapshotSync, now_ms: u64, input: SnapshotInput) -> Vec<SnapshotOutput> {
    let mut outputs = Vec::new();
    sync.step(now_ms, input, &mut outputs);
    outputs
}

fn connect(sync: &mut SnapshotSync, now_ms: u64, peer: u64, offers: Option<Vec<SnapshotOffer>>) -> Vec<SnapshotOutput> {
    let peer = PeerRef(peer);
    let outputs = step(sync, now_ms, SnapshotInput::PeerConnected(peer));
    assert!(matches!(outputs[..], [SnapshotOutput::RequestOffers(asked)] if asked == peer), "{outputs:?}");
    step(sync, now_ms, SnapshotInput::Offers { peer, offers })
}

/// Peer, request, and first byte of a manifest or number of a chunk, of each request.
fn requests(outputs: &[SnapshotOutput]) -> Vec<(u64, RequestId, u32)> {
    let request = |output: &SnapshotOutput| match output {
        SnapshotOutput::RequestManifest { peer, id, from: at, .. }
        | SnapshotOutput::RequestChunk { peer, id, index: at, .. } => Some((peer.0, *id, *at)),
        _ => None,
    };
    outputs.iter().filter_map(request).collect()
}

fn severities(outputs: &[SnapshotOutput]) -> Vec<(u64, Severity)> {
    let report = |output: &SnapshotOutput| match output {
        SnapshotOutput::Report { peer, offence } => Some((peer.0, offence.severity())),
        _ => None,
    };
    outputs.iter().filter_map(report).collect()
}

fn answer(sync: &mut SnapshotSync, now_ms: u64, peer: u64, id: RequestId, answer: PartAnswer) -> Vec<SnapshotOutput> {
    step(sync, now_ms, SnapshotInput::Part { peer: PeerRef(peer), id, answer })
}

fn bytes(sync: &mut SnapshotSync, now_ms: u64, peer: u64, id: RequestId, bytes: &[u8]) -> Vec<SnapshotOutput> {
    answer(sync, now_ms, peer, id, PartAnswer::Bytes(bytes.to_vec()))
}

/// A machine that has the manifest of the first peer's offer, and the requests for chunks it made.
fn fetching(cut: &Cut, peers: u64) -> (SnapshotSync, Vec<(u64, RequestId, u32)>) {
    let mut sync = machine();
    for peer in 2..=peers {
        step(&mut sync, 0, SnapshotInput::PeerConnected(PeerRef(peer)));
    }
    connect(&mut sync, 0, 1, Some(vec![cut.offer()]));
    let mut outputs = Vec::new();
    for peer in 2..=peers {
        outputs = step(&mut sync, 0, SnapshotInput::Offers { peer: PeerRef(peer), offers: Some(vec![cut.offer()]) });
    }
    if peers == 1 {
        outputs = step(&mut sync, 0, SnapshotInput::Tick);
        assert_eq!(requests(&outputs).len(), 0, "it was asked at once");
        let id = RequestId(1);
        outputs = bytes(&mut sync, 0, 1, id, &cut.manifest());
    } else {
        let asked = requests(&outputs);
        outputs = bytes(&mut sync, 0, asked[0].0, asked[0].1, &cut.manifest());
    }
    assert!(matches!(outputs[..], [SnapshotOutput::Begin(_)]), "{outputs:?}");
    let outputs = step(&mut sync, 0, SnapshotInput::Begun { held: Vec::new() });
    let asked = requests(&outputs);
    (sync, asked)
}

#[test]
fn chunks_are_asked_of_all_that_offer_them_and_complete_in_any_order() {
    let cut = Cut::new(5, 1, 9);
    let (mut sync, mut asked) = fetching(&cut, 3);
    assert_eq!(asked.iter().map(|(peer, ..)| *peer).collect::<Vec<_>>(), [1, 2, 3, 1, 2, 3]);
    let mut stored = Vec::new();
    while let Some((peer, id, index)) = asked.pop() {
        let outputs = bytes(&mut sync, 1_000, peer, id, &cut.chunks[usize::try_from(index).unwrap()]);
        asked.extend(requests(&outputs));
        for output in &outputs {
            if let SnapshotOutput::Store { index, .. } = output {
                stored.push(*index);
                let outputs = step(&mut sync, 1_000, SnapshotInput::Stored { index: *index });
                asked.extend(requests(&outputs));
                let is_complete = outputs.iter().any(|output| matches!(output, SnapshotOutput::Complete(_)));
                assert_eq!(is_complete, stored.len() == cut.chunks.len());
            }
        }
    }
    assert_ne!(stored, (0..cut.chunks.len()).collect::<Vec<_>>());
    stored.sort_unstable();
    assert_eq!(stored, (0..cut.chunks.len()).collect::<Vec<_>>());
    assert_eq!(sync.progress().state, SnapshotState::Done);
}

#[test]
fn peers_without_snapshots_are_asked_for_a_while_then_blocks_go_on() {
    let mut sync = machine();
    let outputs = connect(&mut sync, 0, 1, Some(Vec::new()));
    assert!(outputs.is_empty());
    assert!(step(&mut sync, 4_999, SnapshotInput::Tick).is_empty());
    let outputs = step(&mut sync, 5_000, SnapshotInput::Tick);
    assert!(matches!(outputs.last(), Some(SnapshotOutput::NoSnapshot)), "{outputs:?}");
    assert_eq!(sync.progress().state, SnapshotState::Done);
}

#[test]
fn node_without_peers_waits_for_ever() {
    let mut sync = machine();
    assert!(step(&mut sync, 0, SnapshotInput::Tick).is_empty());
    assert!(step(&mut sync, 1_000_000_000, SnapshotInput::Tick).is_empty());
    connect(&mut sync, 1_000_000_000, 1, Some(Vec::new()));
    assert_eq!(sync.progress().state, SnapshotState::Discovering, "patience begins with the first peer");
}

#[test]
fn newest_snapshot_that_two_peers_offer_is_taken() {
    let (old, new, lone) = (Cut::new(3, 1, 3), Cut::new(5, 1, 3), Cut::new(6, 1, 3));
    let mut sync = machine();
    for peer in [2, 3] {
        step(&mut sync, 0, SnapshotInput::PeerConnected(PeerRef(peer)));
    }
    connect(&mut sync, 0, 1, Some(vec![old.offer(), new.offer()]));
    step(&mut sync, 0, SnapshotInput::Offers { peer: PeerRef(2), offers: Some(vec![lone.offer()]) });
    let offers = Some(vec![new.offer(), old.offer()]);
    let outputs = step(&mut sync, 0, SnapshotInput::Offers { peer: PeerRef(3), offers });
    assert!(
        matches!(outputs[..], [SnapshotOutput::RequestManifest { snapshot, .. }] if snapshot == new.offer().id),
        "{outputs:?}"
    );
}

#[test]
fn manifest_comes_in_parts_and_a_part_of_another_size_is_a_lie() {
    let cut = Cut::with_events(5, 1, 3, 3 << 20);
    let manifest = cut.manifest();
    let mut sync = machine();
    let mut outputs = connect(&mut sync, 0, 1, Some(vec![cut.offer()]));
    let mut from = 0;
    for part in manifest.chunks(1 << 20) {
        let (peer, id, at) = requests(&outputs)[0];
        assert_eq!((peer, usize::try_from(at).unwrap()), (1, from));
        from += part.len();
        outputs = bytes(&mut sync, 0, 1, id, part);
    }
    assert!(matches!(outputs[..], [SnapshotOutput::Begin(_)]), "{outputs:?}");

    let mut sync = machine();
    let outputs = connect(&mut sync, 0, 1, Some(vec![cut.offer()]));
    let outputs = bytes(&mut sync, 0, 1, requests(&outputs)[0].1, &manifest[..100]);
    assert_eq!(severities(&outputs), [(1, Severity::Malicious)]);
}

#[test]
fn lying_manifests_are_blamed_on_their_sender_and_another_peer_is_asked() {
    for lie in Lie::OF_MANIFESTS {
        let (cut, lying) = (Cut::new(5, 1, 3), Cut::new(5, 1, 3).lying(lie));
        let mut sync = machine();
        step(&mut sync, 0, SnapshotInput::PeerConnected(PeerRef(2)));
        connect(&mut sync, 0, 1, Some(vec![lying.offer()]));
        let outputs = step(&mut sync, 2_000, SnapshotInput::Tick);
        let asked = requests(&outputs);
        step(&mut sync, 2_000, SnapshotInput::Offers { peer: PeerRef(2), offers: Some(vec![cut.offer()]) });
        let outputs = bytes(&mut sync, 2_000, 1, asked[0].1, &lying.manifest());
        assert_eq!(severities(&outputs), [(1, Severity::Malicious)], "{lie:?}");
        let asked = requests(&outputs);
        assert_eq!((asked.len(), asked[0].0), (1, 2), "{lie:?}");
    }
}

#[test]
fn events_that_only_the_caller_can_check_are_blamed_on_the_manifests_sender() {
    let cut = Cut::new(5, 1, 3);
    let mut sync = machine();
    let outputs = connect(&mut sync, 0, 1, Some(vec![cut.offer()]));
    bytes(&mut sync, 0, 1, requests(&outputs)[0].1, &cut.manifest());
    assert_eq!(sync.progress().state, SnapshotState::Manifest);
    let outputs = step(&mut sync, 0, SnapshotInput::Refuted { reason: "events".to_owned() });
    assert_eq!(severities(&outputs), [(1, Severity::Malicious)]);
    // Others may have the same snapshot with the right events.
    let outputs = connect(&mut sync, 0, 2, Some(vec![cut.offer()]));
    assert_eq!(requests(&outputs)[0].0, 2);
}

#[test]
fn manifest_that_calls_true_chunks_damaged_is_blamed_and_not_the_chunks_sender() {
    let (cut, lying) = (Cut::new(5, 1, 3), Cut::new(5, 1, 3).lying(Lie::ChunkHash));
    let (mut sync, asked) = fetching(&lying, 2);
    let (peer, id, index) = *asked.iter().find(|(peer, ..)| *peer == 2).unwrap();
    let outputs = bytes(&mut sync, 0, peer, id, &cut.chunks[usize::try_from(index).unwrap()]);
    assert!(matches!(outputs[0], SnapshotOutput::Abandon), "{outputs:?}");
    assert_eq!(severities(&outputs), [(1, Severity::Malicious)]);
    assert_eq!(requests(&outputs), [], "nobody else's word for this snapshot is taken");
}

#[test]
fn bad_chunk_and_one_of_another_state_are_blamed_and_asked_of_another_peer() {
    let (cut, other) = (Cut::new(5, 1, 3), Cut::new(5, 2, 3));
    let mut flipped = cut.chunks[0].clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for wrong in [flipped, other.chunks[0].clone(), cut.chunks[1].clone(), Vec::new()] {
        let (mut sync, asked) = fetching(&cut, 2);
        assert_eq!((asked[0].0, asked[0].2), (1, 0));
        let outputs = bytes(&mut sync, 0, 1, asked[0].1, &wrong);
        assert_eq!(severities(&outputs), [(1, Severity::Malicious)]);
        assert!(!outputs.iter().any(|output| matches!(output, SnapshotOutput::Store { .. })));
        let again = requests(&outputs);
        assert!(again.iter().any(|(peer, _, index)| (*peer, *index) == (2, 0)), "{again:?}");
    }
}

#[test]
fn silent_peer_is_reported_its_late_answer_ignored_and_its_chunks_asked_of_others() {
    let cut = Cut::new(5, 1, 4);
    let (mut sync, asked) = fetching(&cut, 2);
    for (peer, id, index) in asked.iter().filter(|(peer, ..)| *peer == 2) {
        bytes(&mut sync, 0, *peer, *id, &cut.chunks[usize::try_from(*index).unwrap()]);
        step(&mut sync, 0, SnapshotInput::Stored { index: usize::try_from(*index).unwrap() });
    }
    let silent = asked.iter().find(|(peer, ..)| *peer == 1).unwrap();
    let outputs = step(&mut sync, 14_000, SnapshotInput::Tick);
    assert!(severities(&outputs).contains(&(1, Severity::Slow)), "{outputs:?}");
    assert!(requests(&outputs).iter().any(|(peer, _, index)| (*peer, *index) == (2, silent.2)), "{outputs:?}");
    let late = bytes(&mut sync, 14_001, 1, silent.1, &cut.chunks[usize::try_from(silent.2).unwrap()]);
    assert!(late.is_empty(), "{late:?}");
}

#[test]
fn peer_that_vanishes_frees_its_chunks_at_once() {
    let cut = Cut::new(5, 1, 4);
    let (mut sync, asked) = fetching(&cut, 2);
    let lost: Vec<_> = asked.iter().filter(|(peer, ..)| *peer == 1).map(|(_, _, index)| *index).collect();
    let mut again = requests(&step(&mut sync, 1, SnapshotInput::PeerGone(PeerRef(1))));
    for (peer, id, index) in asked.iter().filter(|(peer, ..)| *peer == 2) {
        let index = usize::try_from(*index).unwrap();
        again.extend(requests(&bytes(&mut sync, 1, *peer, *id, &cut.chunks[index])));
        again.extend(requests(&step(&mut sync, 1, SnapshotInput::Stored { index })));
    }
    assert!(lost.iter().all(|index| again.iter().any(|(peer, _, at)| (*peer, at) == (2, index))), "{again:?}");
}

#[test]
fn requests_to_one_peer_keep_their_distance() {
    let cut = Cut::new(5, 1, 60);
    let config = SnapshotConfig::default();
    let (mut sync, mut asked) = fetching(&cut, 1);
    let mut made = 0;
    for now_ms in 0..1_000 {
        if now_ms % 100 == 0 {
            asked.extend(requests(&step(&mut sync, now_ms, SnapshotInput::Tick)));
        }
        while let Some((peer, id, index)) = asked.pop() {
            made += 1;
            let index = usize::try_from(index).unwrap();
            asked.extend(requests(&bytes(&mut sync, now_ms, peer, id, &cut.chunks[index])));
            asked.extend(requests(&step(&mut sync, now_ms, SnapshotInput::Stored { index })));
        }
    }
    let most = config.requests_burst + 1_000 / config.request_interval_ms + 1;
    assert!((most / 2..=most).contains(&made), "{made} requests in a second");
}

#[test]
fn snapshot_that_nobody_has_any_more_is_abandoned_for_a_newer_one() {
    let (old, new) = (Cut::new(3, 1, 3), Cut::new(5, 1, 3));
    let verified = Arc::new(old.verified());
    let mut sync = SnapshotSync::resume(SnapshotConfig::default(), anchor(), verified, [1]);
    let progress = sync.progress();
    assert_eq!((progress.chunks, progress.chunks_total), (1, 3));
    connect(&mut sync, 0, 1, Some(vec![new.offer()]));
    let offers = || SnapshotInput::Offers { peer: PeerRef(1), offers: Some(vec![new.offer()]) };
    for now_ms in (5_000..15_000).step_by(5_000) {
        let outputs = step(&mut sync, now_ms, SnapshotInput::Tick);
        assert!(matches!(outputs[..], [SnapshotOutput::RequestOffers(_)]), "{outputs:?}");
        assert!(step(&mut sync, now_ms, offers()).is_empty());
    }
    let outputs = step(&mut sync, 15_000, SnapshotInput::Tick);
    assert!(outputs.iter().any(|output| matches!(output, SnapshotOutput::Abandon)), "{outputs:?}");
    let outputs = step(&mut sync, 15_000, offers());
    assert!(
        matches!(outputs[..], [SnapshotOutput::RequestManifest { snapshot, .. }] if snapshot == new.offer().id),
        "{outputs:?}"
    );
}

#[test]
fn offers_beyond_the_limit_or_twice_are_a_lie() {
    let offer = |height| Cut::new(height, 1, 1).offer();
    for offers in [vec![offer(1), offer(2), offer(3), offer(4), offer(5)], vec![offer(1), offer(1)]] {
        let mut sync = machine();
        let outputs = connect(&mut sync, 0, 1, Some(offers));
        assert_eq!(severities(&outputs), [(1, Severity::Malicious)]);
    }
}

#[test]
fn peer_that_keeps_refusing_is_left_out_longer_and_reported() {
    let cut = Cut::new(5, 1, 1);
    let (mut sync, mut asked) = fetching(&cut, 1);
    let mut now_ms = 0;
    for wait_ms in [250, 500] {
        let outputs = answer(&mut sync, now_ms, 1, asked[0].1, PartAnswer::Refused);
        assert_eq!(severities(&outputs), []);
        assert_eq!(requests(&step(&mut sync, now_ms + wait_ms - 1, SnapshotInput::Tick)), []);
        now_ms += wait_ms;
        asked = requests(&step(&mut sync, now_ms, SnapshotInput::Tick));
        assert_eq!(asked.len(), 1);
    }
    let outputs = answer(&mut sync, now_ms, 1, asked[0].1, PartAnswer::Refused);
    assert_eq!(severities(&outputs), [(1, Severity::Useless)]);
}
