//! The two gossip topics: their names, messages and sizes, and the settings of gossipsub.

use crate::error::{CommandError, StartError};
use cairn_primitives::block::BLOCK_BYTES_MAX;
use cairn_primitives::certificate::CERTIFICATE_BYTES_MAX;
use cairn_primitives::hash::sha256_concat;
use cairn_primitives::message::{TRANSACTIONS_BYTES_MAX, TransactionGossip};
use cairn_primitives::{FinalizedBlock, OpaqueExtrinsic};
use libp2p::gossipsub::{
    Behaviour, ConfigBuilder, IdentTopic, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds,
    TopicHash, TopicScoreParams, ValidationMode,
};
use parity_scale_codec::{Compact, Encode};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// The largest encoded finalized block, in bytes.
pub(crate) const FINALIZED_BLOCK_BYTES_MAX: usize = BLOCK_BYTES_MAX + CERTIFICATE_BYTES_MAX + 16;

/// What gossipsub adds to a message: topic name and protobuf fields, in bytes.
const ENVELOPE_BYTES_MAX: usize = 256;

/// Room for the length prefix of a list in SCALE, in bytes.
const COUNT_BYTES_MAX: usize = 5;

/// A gossip topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Transactions,
    Blocks,
}

/// The topics of one chain.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    transactions: IdentTopic,
    blocks: IdentTopic,
}

impl Topics {
    /// Names the topics of the chain `genesis8`, the first 8 bytes of its genesis hash in hexadecimal.
    pub(crate) fn new(genesis8: &str) -> Self {
        Self {
            transactions: IdentTopic::new(format!("/cairn/{genesis8}/transactions/1")),
            blocks: IdentTopic::new(format!("/cairn/{genesis8}/blocks/1")),
        }
    }

    pub(crate) const fn get(&self, topic: Topic) -> &IdentTopic {
        match topic {
            Topic::Transactions => &self.transactions,
            Topic::Blocks => &self.blocks,
        }
    }

    pub(crate) fn find(&self, hash: &TopicHash) -> Option<Topic> {
        [Topic::Transactions, Topic::Blocks].into_iter().find(|topic| self.get(*topic).hash() == *hash)
    }
}

/// Encodes transactions into messages of at most [`TRANSACTIONS_BYTES_MAX`] bytes, in order.
pub(crate) fn encode_transactions(extrinsics: Vec<OpaqueExtrinsic>) -> Result<Vec<Vec<u8>>, CommandError> {
    let limit = TRANSACTIONS_BYTES_MAX - COUNT_BYTES_MAX;
    let mut messages = Vec::new();
    let mut batch = Vec::new();
    let mut batch_bytes = 0;
    for extrinsic in extrinsics {
        let length = u32::try_from(extrinsic.bytes().len()).unwrap_or(u32::MAX);
        let actual = extrinsic.bytes().len() + Compact(length).encoded_size();
        if actual > limit {
            return Err(CommandError::TooLarge { what: "transaction", actual, limit });
        }
        if batch_bytes + actual > limit {
            messages.push(TransactionGossip(std::mem::take(&mut batch)).encode());
            batch_bytes = 0;
        }
        batch_bytes += actual;
        batch.push(extrinsic);
    }
    if !batch.is_empty() {
        messages.push(TransactionGossip(batch).encode());
    }
    Ok(messages)
}

/// Encodes a finalized block.
pub(crate) fn encode_block(block: &FinalizedBlock) -> Result<Vec<u8>, CommandError> {
    let data = block.encode();
    if data.len() > FINALIZED_BLOCK_BYTES_MAX {
        let (actual, limit) = (data.len(), FINALIZED_BLOCK_BYTES_MAX);
        return Err(CommandError::TooLarge { what: "finalized block", actual, limit });
    }
    Ok(data)
}

/// Gossipsub for the two topics.
///
/// Messages carry no signature and no author: what they contain proves itself. The id of a message is the hash of topic
/// and data, so that the same bytes sent on a wrong topic cannot shadow a proper message.
pub(crate) fn behaviour(topics: &Topics) -> Result<Behaviour, StartError> {
    let setup = |reason: String| StartError::Setup { part: "gossip", reason };
    let [transactions, blocks] = [Topic::Transactions, Topic::Blocks].map(|topic| topics.get(topic).hash());
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| {
            MessageId::from(sha256_concat(&[message.topic.as_str().as_bytes(), &message.data]).0.to_vec())
        })
        .max_transmit_size(FINALIZED_BLOCK_BYTES_MAX + ENVELOPE_BYTES_MAX)
        .max_transmit_size_for_topic(TRANSACTIONS_BYTES_MAX + ENVELOPE_BYTES_MAX, transactions.clone())
        .max_transmit_size_for_topic(FINALIZED_BLOCK_BYTES_MAX + ENVELOPE_BYTES_MAX, blocks.clone())
        // A heartbeat costs CPU on an idle network; the mesh is also repaired as peers come and go.
        .heartbeat_interval(Duration::from_secs(1))
        .heartbeat_initial_delay(Duration::from_millis(200))
        .flood_publish(false)
        // Below this size telling others not to send a duplicate costs more than the duplicate.
        .idontwant_message_size_threshold(16 << 10)
        .connection_handler_queue_len(256)
        .max_publish_messages(256)
        .max_control_messages_sent(256)
        .build()
        .map_err(|error| setup(error.to_string()))?;
    let mut behaviour =
        Behaviour::new(MessageAuthenticity::Anonymous, config).map_err(|reason| setup(reason.to_owned()))?;
    behaviour
        .with_peer_score(score_params([transactions, blocks]), thresholds())
        .map_err(|reason| setup(reason.clone()))?;
    for topic in [Topic::Transactions, Topic::Blocks] {
        behaviour.subscribe(topics.get(topic)).map_err(|error| setup(error.to_string()))?;
    }
    Ok(behaviour)
}

/// From where on a score has effects. Our own reputation, which is part of the score, bans at -100: what a peer sends is
/// dropped unseen only far below, so that each offence is counted and the peer banned by name. Reserved peers, which are
/// never banned, get there with eight rejected messages.
fn thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds { graylist_threshold: -300.0, ..PeerScoreThresholds::default() }
}

/// Scores: rejected messages and broken promises cost, our own reputation of the peer counts, delivering first earns a
/// little. Nothing is expected of a quiet mesh, since an idle chain sends nothing.
fn score_params(topics: [TopicHash; 2]) -> PeerScoreParams {
    let topic = TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.1,
        first_message_deliveries_decay: 0.9,
        first_message_deliveries_cap: 50.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        // Two rejected messages close together make -20: no gossip about messages any more.
        invalid_message_deliveries_weight: -5.0,
        invalid_message_deliveries_decay: 0.99,
        ..TopicScoreParams::default()
    };
    let loopback: HashSet<IpAddr> = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].into();
    PeerScoreParams {
        topics: topics.into_iter().map(|hash| (hash, topic.clone())).collect::<HashMap<_, _>>(),
        topic_score_cap: 20.0,
        app_specific_weight: 1.0,
        ip_colocation_factor_whitelist: loopback,
        behaviour_penalty_threshold: 6.0,
        retain_score: Duration::from_mins(10),
        ..PeerScoreParams::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_primitives::codec::decode_strict;

    #[test]
    fn transactions_beyond_one_message_are_split_in_order() {
        let all: Vec<_> = (0..5u8).map(|byte| OpaqueExtrinsic::new(vec![byte; 400_000])).collect();
        let messages = encode_transactions(all.clone()).unwrap();
        assert_eq!(messages.len(), 3);
        let mut received = Vec::new();
        for message in messages {
            received.extend(
                decode_strict::<TransactionGossip>("transactions", &message, TRANSACTIONS_BYTES_MAX).unwrap().0,
            );
        }
        assert_eq!(received, all);
    }

    #[test]
    fn transactions_filling_a_message_stay_within_the_limit() {
        let all: Vec<_> = (0..200_000u32).map(|n| OpaqueExtrinsic::new(n.to_le_bytes().to_vec())).collect();
        let messages = encode_transactions(all).unwrap();
        assert_eq!(messages.len(), 1);
        let more: Vec<_> = (0..400_000u32).map(|n| OpaqueExtrinsic::new(n.to_le_bytes().to_vec())).collect();
        assert!(encode_transactions(more).unwrap().iter().all(|message| message.len() <= TRANSACTIONS_BYTES_MAX));
    }

    #[test]
    fn transaction_larger_than_a_message_is_refused() {
        let error = encode_transactions(vec![OpaqueExtrinsic::new(vec![0; TRANSACTIONS_BYTES_MAX])]).unwrap_err();
        assert!(matches!(error, CommandError::TooLarge { what: "transaction", .. }));
    }

    #[test]
    fn gossip_settings_are_accepted_by_gossipsub() {
        assert!(behaviour(&Topics::new("0011223344556677")).is_ok());
    }
}
