//! Nodes on loopback for the tests: each waits for events, never for time.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "shared by test binaries that use different parts")]

use cairn_network::{Event, Handle, Multiaddr, NetworkConfig, NodeKey, PeerId, Validators, start};
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{
    Block, Epoch, Hash, Header, KeyPair, OpaqueExtrinsic, Proposal, PublicKey, Subject, ValidatorIndex, View, Vote,
};
use parity_scale_codec::{Decode, IoReader};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Generous: only a test that fails waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const GENESIS: Hash = Hash([0x5a; 32]);
pub const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

pub struct Node {
    pub handle: Handle,
    pub address: Multiaddr,
    pub peer: PeerId,
    events: mpsc::Receiver<Event>,
    passed_over: VecDeque<Event>,
}

pub fn key(seed: u8) -> KeyPair {
    KeyPair::from_seed(&[seed; 32])
}

/// The validators whose keys have the seeds.
pub fn validators(seeds: impl IntoIterator<Item = u8>) -> Validators {
    Validators { epoch: Epoch(0), keys: seeds.into_iter().map(|seed| key(seed).public()).collect() }
}

/// A node whose node key has the seed, listening on an address, knowing boot nodes.
pub fn config(seed: u8, listen: &str, boot: &[&Multiaddr]) -> NetworkConfig {
    let mut config = NetworkConfig::new(NodeKey::from_seed([seed; 32]), GENESIS);
    config.listen = vec![listen.parse().unwrap()];
    config.boot_nodes = boot.iter().map(|address| (*address).clone()).collect();
    config
}

/// The same as a validator.
pub fn validator(seed: u8, listen: &str, boot: &[&Multiaddr], set: &Validators) -> NetworkConfig {
    NetworkConfig { consensus_keys: vec![key(seed)], validators: set.clone(), ..config(seed, listen, boot) }
}

impl Node {
    pub async fn start(config: NetworkConfig) -> Self {
        let (handle, events) = start(config).unwrap();
        let peer = handle.local_peer_id();
        let mut node = Self { handle, address: Multiaddr::empty(), peer, events, passed_over: VecDeque::new() };
        node.address = node
            .wait("an address", |event| match event {
                Event::Listening(address) => Ok(address),
                other => Err(other),
            })
            .await;
        node
    }

    /// Waits for the first event that `pick` takes; others are kept for later waits, in order.
    pub async fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(Event) -> Result<T, Event>) -> T {
        for _ in 0..self.passed_over.len() {
            match pick(self.passed_over.pop_front().unwrap()) {
                Ok(found) => return found,
                Err(other) => self.passed_over.push_back(other),
            }
        }
        let found = async {
            loop {
                match pick(self.events.recv().await.expect("the network runs")) {
                    Ok(found) => return found,
                    Err(other) => self.passed_over.push_back(other),
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
    }

    pub async fn wait_for_validator(&mut self, expected: PublicKey) {
        self.wait("a validator", |event| match event {
            Event::ValidatorConnected(key) if key == expected => Ok(()),
            other => Err(other),
        })
        .await;
    }

    pub async fn wait_for_loss_of(&mut self, expected: PublicKey) {
        self.wait("the loss of a validator", |event| match event {
            Event::ValidatorDisconnected(key) if key == expected => Ok(()),
            other => Err(other),
        })
        .await;
    }

    pub async fn wait_for_peer(&mut self, expected: PeerId) {
        self.wait("a peer", |event| match event {
            Event::PeerConnected(peer) if peer == expected => Ok(()),
            other => Err(other),
        })
        .await;
    }

    pub async fn next_consensus(&mut self) -> (PublicKey, ConsensusMessage) {
        self.wait("a consensus message", |event| match event {
            Event::Consensus { from, message } => Ok((from, message)),
            other => Err(other),
        })
        .await
    }
}

/// A vote for a view; its signature is not looked at by the network.
pub fn vote(view: u64) -> Vote {
    let subject = Subject::Nullify { epoch: Epoch(0), view: View(view) };
    Vote::sign(subject, ValidatorIndex(0), &key(1), &GENESIS)
}

/// A block with one extrinsic of so many bytes.
pub fn block(bytes: usize) -> Block {
    let header = Header::decode(&mut IoReader(std::io::repeat(0))).unwrap();
    Block { header, extrinsics: vec![OpaqueExtrinsic::new(vec![7; bytes])].into() }
}

/// A proposal of such a block.
pub fn proposal(view: u64, bytes: usize) -> ConsensusMessage {
    let proposal = Proposal { epoch: Epoch(0), view: View(view), parent_view: View(0), block: Hash::ZERO };
    ConsensusMessage::Proposal { proposal, block: Arc::new(block(bytes)), vote: vote(view) }
}
