//! Consensus streams: the mesh comes about, heals, keeps order and keeps strangers out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::result_large_err,
    clippy::wildcard_enum_match_arm,
    reason = "tests: a failure here is the point, and events are taken one kind at a time"
)]
#![allow(missing_docs, reason = "a test")]

mod common;

use cairn_network::{Event, Multiaddr};
use cairn_primitives::block::BLOCK_BYTES_MAX;
use cairn_primitives::message::{ConsensusMessage, SyncRequest, SyncResponse};
use common::{Node, QUIC, TCP, config, key, proposal, validator, validators, vote};

async fn full_mesh_from_one_boot_node(listen: &str) {
    let set = validators(1..=4);
    let mut boot = Node::start(config(9, listen, &[])).await;
    let mut nodes = Vec::new();
    for seed in 1..=4 {
        nodes.push(Node::start(validator(seed, listen, &[&boot.address], &set)).await);
    }
    for (own, node) in (1..=4).zip(&mut nodes) {
        boot.wait_for_peer(node.peer).await;
        for other in (1..=4).filter(|other| *other != own) {
            node.wait_for_validator(key(other).public()).await;
        }
    }
    for view in 1..=300 {
        assert_eq!(nodes[0].handle.broadcast(&ConsensusMessage::Vote(vote(view))), Ok(3));
    }
    for node in &mut nodes[1..] {
        for view in 1..=300 {
            let (from, message) = node.next_consensus().await;
            assert_eq!(from, key(1).public());
            assert_eq!(message, ConsensusMessage::Vote(vote(view)));
        }
    }
    let status = nodes[0].handle.status().await.unwrap();
    assert_eq!(status.connected.len(), 4);
    assert_eq!(status.connected.iter().filter(|peer| peer.validator.is_some()).count(), 3);
    assert!(status.known.len() >= 4, "{:?}", status.known);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validators_knowing_one_boot_node_form_a_full_mesh_over_tcp() {
    full_mesh_from_one_boot_node(TCP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validators_knowing_one_boot_node_form_a_full_mesh_over_quic() {
    full_mesh_from_one_boot_node(QUIC).await;
}

async fn pair(listen: &str) -> (Node, Node) {
    let set = validators(1..=2);
    let mut one = Node::start(validator(1, listen, &[], &set)).await;
    let mut two = Node::start(validator(2, listen, &[&one.address], &set)).await;
    one.wait_for_validator(key(2).public()).await;
    two.wait_for_validator(key(1).public()).await;
    (one, two)
}

async fn vote_overtakes_large_proposals(listen: &str) {
    let (one, mut two) = pair(listen).await;
    let to = key(2).public();
    for view in 1..=3 {
        one.handle.send(&to, &proposal(view, BLOCK_BYTES_MAX - 1024)).unwrap();
    }
    one.handle.send(&to, &ConsensusMessage::Vote(vote(7))).unwrap();
    let (mut views, mut voted_after) = (Vec::new(), None);
    while views.len() < 3 || voted_after.is_none() {
        match two.next_consensus().await.1 {
            ConsensusMessage::Proposal { proposal, .. } => views.push(proposal.view.0),
            ConsensusMessage::Vote(got) if got == vote(7) => voted_after = Some(views.len()),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(views, [1, 2, 3]);
    assert!(voted_after < Some(3), "the vote waited for all proposals");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vote_sent_after_large_proposals_overtakes_them_over_tcp() {
    vote_overtakes_large_proposals(TCP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vote_sent_after_large_proposals_overtakes_them_over_quic() {
    vote_overtakes_large_proposals(QUIC).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_is_no_validator_gets_no_consensus_stream() {
    let set = validators(1..=2);
    let mut honest = Node::start(validator(1, TCP, &[], &set)).await;
    // It believes itself a validator; the others do not.
    let mut strangers = Vec::new();
    for seed in [3, 4, 5] {
        strangers.push(Node::start(validator(seed, TCP, &[&honest.address], &validators(1..=5))).await);
    }
    let second = Node::start(validator(2, TCP, &[&honest.address], &set)).await;
    honest.wait_for_validator(key(2).public()).await;
    for stranger in &mut strangers {
        honest.wait_for_peer(stranger.peer).await;
        stranger.wait_for_peer(honest.peer).await;
        // One round trip more than the refusal needs.
        let asked = stranger.handle.sync_request(honest.peer, SyncRequest::Status);
        let answered = honest.wait("a request", |event| match event {
            Event::SyncRequest { reply, .. } => {
                reply.send(SyncResponse::Refused).unwrap();
                Ok(())
            }
            other => Err(other),
        });
        assert_eq!(tokio::join!(asked, answered).0, Ok(SyncResponse::Refused));
        assert!(stranger.handle.send(&key(1).public(), &ConsensusMessage::Vote(vote(1))).is_err());
    }
    let linked: Vec<_> =
        honest.handle.status().await.unwrap().connected.into_iter().filter_map(|p| p.validator).collect();
    assert_eq!(linked, [key(2).public()]);
    drop(second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validator_set_change_closes_and_opens_streams() {
    let (mut one, mut two) = pair(TCP).await;
    one.handle.set_validators(validators([1, 3])).await.unwrap();
    one.wait_for_loss_of(key(2).public()).await;
    two.wait_for_loss_of(key(1).public()).await;
    one.handle.set_validators(validators([1, 2])).await.unwrap();
    one.wait_for_validator(key(2).public()).await;
    two.wait_for_validator(key(1).public()).await;
}

/// Runs a node on a runtime of its own, so that it can be cut off without a farewell.
fn start_apart(config: cairn_network::NetworkConfig) -> (tokio::runtime::Runtime, Node) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let node = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(Node::start(config))).join().unwrap());
    (runtime, node)
}

async fn restart_heals(listen: &str) {
    let set = validators(1..=3);
    // The node that dies is the boot node of all others.
    let (runtime, first) = start_apart(validator(1, listen, &[], &set));
    let address: Multiaddr = first.address.clone();
    let mut others = Vec::new();
    for seed in 2..=3 {
        others.push(Node::start(validator(seed, listen, &[&address], &set)).await);
    }
    for (own, node) in (2..=3).zip(&mut others) {
        for other in (1..=3).filter(|other| *other != own) {
            node.wait_for_validator(key(other).public()).await;
        }
    }
    runtime.shutdown_background();
    drop(first);
    for node in &mut others {
        node.wait_for_loss_of(key(1).public()).await;
    }
    let (_, bare) = cairn_network::split_peer_address(&address).unwrap();
    let (runtime, _again) = start_apart(validator(1, &bare.to_string(), &[], &set));
    for node in &mut others {
        node.wait_for_validator(key(1).public()).await;
    }
    runtime.shutdown_background();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validator_killed_and_restarted_is_back_in_the_mesh() {
    restart_heals(TCP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_stops_says_farewell_and_ends_its_events() {
    let (one, mut two) = pair(TCP).await;
    one.handle.stop().await;
    two.wait_for_loss_of(key(1).public()).await;
    assert!(one.handle.status().await.is_err());
}
