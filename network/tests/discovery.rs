//! How nodes find each other again: remembered addresses, authority records, new addresses; and who is kept out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::result_large_err,
    clippy::wildcard_enum_match_arm,
    reason = "tests: a failure here is the point, and events are taken one kind at a time"
)]
#![allow(missing_docs, reason = "a test")]

mod common;

use cairn_network::{BanStatus, Event, Multiaddr, NodeKey, Offence, PeerId, split_peer_address};
use common::{Node, TCP, config, key, validator, validators};
use libp2p::futures::StreamExt;
use libp2p::kad::store::MemoryStore;
use libp2p::kad::{self, Quorum, Record};
use libp2p::swarm::SwarmEvent;
use libp2p::{StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use std::time::Duration;

/// Nothing listens there any more.
async fn address_of_a_node_that_is_gone(seed: u8) -> Multiaddr {
    let node = Node::start(config(seed, TCP, &[])).await;
    node.handle.stop().await;
    node.address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_restarted_finds_its_peers_though_the_boot_node_is_gone() {
    let boot = Node::start(config(9, TCP, &[])).await;
    let mut one = Node::start(config(1, TCP, &[&boot.address])).await;
    let mut two = Node::start(config(2, TCP, &[&boot.address])).await;
    two.wait_for_peer(one.peer).await;
    one.wait_for_peer(two.peer).await;
    let known = two.handle.status().await.unwrap().known;
    two.handle.stop().await;
    boot.handle.stop().await;
    let mut again = config(2, TCP, &[&boot.address]);
    again.known = known;
    let mut two = Node::start(again).await;
    two.wait_for_peer(one.peer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_knows_wrong_addresses_only_goes_on_with_the_boot_node() {
    let mut boot = Node::start(config(9, TCP, &[])).await;
    let mut node = config(1, TCP, &[&boot.address]);
    node.known = vec![address_of_a_node_that_is_gone(7).await, address_of_a_node_that_is_gone(8).await];
    let node = Node::start(node).await;
    boot.wait_for_peer(node.peer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validators_with_no_place_for_ordinary_peers_find_each_other_by_their_records() {
    let set = validators(1..=3);
    let boot = Node::start({
        let mut boot = config(9, TCP, &[]);
        boot.validators = set.clone();
        boot
    })
    .await;
    let mut nodes = Vec::new();
    for seed in 1..=3 {
        let mut one = validator(seed, TCP, &[&boot.address], &set);
        // The boot node is all they want: whom a walk through the table finds is not dialled.
        one.limits.peers_wanted = 1;
        one.limits.outbound = 1;
        nodes.push(Node::start(one).await);
    }
    for (own, node) in (1..=3).zip(&mut nodes) {
        for other in (1..=3).filter(|other| *other != own) {
            node.wait_for_validator(key(other).public()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validator_that_moves_to_another_address_is_found_again() {
    let set = validators(1..=2);
    let boot = Node::start({
        let mut boot = config(9, TCP, &[]);
        boot.validators = set.clone();
        boot
    })
    .await;
    let mut one = Node::start(validator(1, TCP, &[&boot.address], &set)).await;
    let two = Node::start(validator(2, TCP, &[&boot.address], &set)).await;
    one.wait_for_validator(key(2).public()).await;
    two.handle.stop().await;
    one.wait_for_loss_of(key(2).public()).await;
    // The port is another one. It is told nothing of the first validator and dials nobody it finds.
    let mut moved = validator(2, TCP, &[&boot.address], &set);
    moved.limits.peers_wanted = 1;
    let mut moved = Node::start(moved).await;
    assert_ne!(moved.address, two.address);
    one.wait_for_validator(key(2).public()).await;
    moved.wait_for_validator(key(1).public()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_one_address_beyond_its_share_are_refused_and_counted() {
    let registry = prometheus::Registry::new();
    let mut crowded = config(1, TCP, &[]);
    crowded.limits.per_address = 2;
    crowded.limits.peers_wanted = 0;
    crowded.registry = Some(registry.clone());
    let mut crowded = Node::start(crowded).await;
    let mut others = Vec::new();
    for seed in 2..=3 {
        let node = Node::start(config(seed, TCP, &[&crowded.address])).await;
        crowded.wait_for_peer(node.peer).await;
        others.push(node);
    }
    let mut late = Node::start(config(4, TCP, &[&crowded.address])).await;
    let refused = || {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == "cairn_network_refused_connections_total").unwrap();
        let by_reason = family
            .get_metric()
            .iter()
            .map(|metric| (metric.get_label()[0].value().to_owned(), metric.get_counter().get_value()));
        by_reason.collect::<std::collections::BTreeMap<_, _>>()
    };
    while refused()["address"] < 1.0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(crowded.handle.status().await.unwrap().connected.len(), 2);
    // A place that is given back is given to whoever comes next.
    others.pop().unwrap().handle.stop().await;
    late.wait_for_peer(crowded.peer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ban_of_an_earlier_run_keeps_the_peer_out_until_it_ends() {
    let banned = NodeKey::from_seed([2; 32]).peer_id();
    let mut one = config(1, TCP, &[]);
    let remaining = Duration::from_millis(600);
    one.banned = vec![BanStatus { peer: banned, reason: Offence::Invalid, remaining, count: 3 }];
    let mut one = Node::start(one).await;
    let status = one.handle.status().await.unwrap();
    assert_eq!((status.banned[0].peer, status.banned[0].count), (banned, 3));
    let _two = Node::start(config(2, TCP, &[&one.address])).await;
    one.wait_for_peer(banned).await;
    assert!(one.handle.status().await.unwrap().banned.is_empty(), "the peer came in before its ban had ended");
}

/// A program on libp2p that is not ours and speaks Kademlia alone.
fn stranger() -> Swarm<kad::Behaviour<MemoryStore>> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|pair| {
            let local = pair.public().to_peer_id();
            let protocol = StreamProtocol::new("/cairn/5a5a5a5a5a5a5a5a/kad/1");
            kad::Behaviour::with_config(local, MemoryStore::new(local), kad::Config::new(protocol))
        })
        .unwrap()
        .build()
}

async fn put_again_and_again(mut swarm: Swarm<kad::Behaviour<MemoryStore>>, to: PeerId) {
    let mut number = 0_u64;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { .. }
            | SwarmEvent::Behaviour(kad::Event::OutboundQueryProgressed { .. }) => {
                number += 1;
                let record = Record::new(number.to_le_bytes().to_vec(), vec![0xff; 300]);
                swarm.behaviour_mut().put_record_to(record, [to].into_iter(), Quorum::One);
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stranger_that_puts_records_of_nobody_is_banned() {
    let mut node = Node::start(config(1, TCP, &[])).await;
    let mut swarm = stranger();
    let peer = *swarm.local_peer_id();
    let (to, address) = split_peer_address(&node.address).unwrap();
    swarm.behaviour_mut().add_address(&to, address.clone());
    swarm.dial(address).unwrap();
    let flood = tokio::spawn(put_again_and_again(swarm, to));
    let reason = node
        .wait("a ban", |event| match event {
            Event::Banned { peer: banned, reason, .. } if banned == peer => Ok(reason),
            other => Err(other),
        })
        .await;
    assert_eq!(reason, Offence::Malformed);
    flood.abort();
}
