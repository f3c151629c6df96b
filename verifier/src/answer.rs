//! The shapes of the answers.

use crate::text::{Bytes, Encoded, HashText, Number};
use cairn_primitives::list_tree::{InclusionProof, PlaceProof};
use cairn_primitives::state_proof::StateProof;
use cairn_primitives::{Certificate, Epoch, Hash, Header, ValidatorSet};
use serde::{Deserialize, Serialize};

/// The most headers between a block and the descendant whose finalization covers it. Only blocks that became final with a
/// child lack a finalization of their own, so the way is short.
pub const LINKS_MAX: usize = 256;

/// The most ends of epochs in one answer.
pub const HANDOVERS_MAX: usize = 64;

/// A block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BlockAnswer {
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub hash: HashText,
    /// The root of the state after it.
    pub state_root: HashText,
    /// The whole header, of which the fields above are parts.
    pub header: Encoded<Header>,
}

impl BlockAnswer {
    /// The block of a header whose hash is known.
    #[must_use]
    pub fn new(header: Header, hash: Hash) -> Self {
        Self {
            height: header.number,
            hash: HashText(hash),
            state_root: HashText(header.state_root),
            header: Encoded(header),
        }
    }
}

/// What proves a block final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Finality {
    /// Where the block is only shown to be in the history of a later one: that one, which the rest is about.
    pub history: Option<HistoryAnswer>,
    /// Height of the block that the certificate is of.
    pub height: u32,
    /// Hash of that block.
    pub hash: HashText,
    /// The headers from the block's child to that block; none if it is the block itself.
    pub links: Vec<Encoded<Header>>,
    /// The signatures of a quorum.
    pub certificate: Encoded<Certificate>,
}

/// That a block is in the history of a later one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HistoryAnswer {
    /// The later block.
    pub under: BlockAnswer,
    /// That the earlier one's hash is in the list under its history root.
    pub proof: Encoded<InclusionProof>,
}

/// The answer of `cairn_getFinality`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FinalityAnswer {
    /// The block.
    pub block: BlockAnswer,
    /// What proves it final; `None` for genesis, which is trusted by its hash.
    pub finality: Option<Finality>,
    /// The ends of epochs from the one asked for on, up to the epoch whose validators signed; at most [`HANDOVERS_MAX`].
    pub handovers: Vec<Handover>,
}

/// What shows that an epoch handed over to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Handover {
    /// The epoch that ended.
    pub epoch: u64,
    /// Its last block.
    pub closing: BlockAnswer,
    /// That block's own finalization, by the validators of the epoch.
    pub certificate: Encoded<Certificate>,
    /// The validators of the next epoch.
    pub next: SetAnswer,
}

/// A validator set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetAnswer {
    /// Its epoch.
    pub epoch: u64,
    /// Its hash.
    pub hash: HashText,
    /// The power of all.
    pub total_power: Number,
    /// The power that decides.
    pub quorum: Number,
    /// The validators in their order.
    pub validators: Vec<ValidatorAnswer>,
    /// In `cairn_validators` the block that they voted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_hash: Option<HashText>,
}

/// A validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValidatorAnswer {
    /// Its place in the set.
    pub index: u16,
    /// Its consensus key.
    pub key: HashText,
    /// Its voting power.
    pub power: Number,
}

impl SetAnswer {
    /// The set of an epoch.
    #[must_use]
    pub fn new(epoch: Epoch, set: &ValidatorSet, block_hash: Option<Hash>) -> Self {
        let validators = set.indices().zip(set.validators()).map(|(index, validator)| ValidatorAnswer {
            index: index.0,
            key: HashText(Hash(validator.key.0)),
            power: Number(validator.power.0),
        });
        Self {
            epoch: epoch.0,
            hash: HashText(set.hash()),
            total_power: Number(set.total_power().0),
            quorum: Number(set.quorum().0),
            validators: validators.collect(),
            block_hash: block_hash.map(HashText),
        }
    }
}

/// The answer of `cairn_getProof`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProofAnswer {
    /// The block after which the state is.
    pub block: BlockAnswer,
    /// The keys asked for, in their order.
    pub items: Vec<ItemAnswer>,
    /// What proves the block final; `None` for genesis.
    pub finality: Option<Finality>,
}

/// A key with its value and proofs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ItemAnswer {
    /// The storage key.
    pub key: Bytes,
    /// The value; `None` is proved as well.
    pub value: Option<Bytes>,
    /// The proof.
    pub proof: Encoded<StateProof>,
    /// The same proof for ICS-23 verifiers.
    pub ics23: Bytes,
}

/// The answer of `cairn_getTransactionProof`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TransactionAnswer {
    /// The block that has it.
    pub block: BlockAnswer,
    /// Its place in the block.
    pub index: u32,
    /// The extrinsic with its length prefix.
    pub extrinsic: Bytes,
    /// That it is there.
    pub proof: Encoded<PlaceProof>,
    /// What proves the block final.
    pub finality: Option<Finality>,
}

/// The answer of `cairn_getEventProof`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventAnswer {
    /// The block that has it.
    pub block: BlockAnswer,
    /// Its place among the block's events.
    pub index: u32,
    /// The encoded record.
    pub event: Bytes,
    /// That it is there.
    pub proof: Encoded<PlaceProof>,
    /// What proves the block final.
    pub finality: Option<Finality>,
}
