//! A chain of two epochs with one validator each.

use crate::{BlockAnswer, Bytes, Encoded, Finality, Handover, HistoryAnswer, ItemAnswer, SetAnswer, Verifier};
use cairn_primitives::hash::sha256;
use cairn_primitives::header::{ConsensusContext, PROTOCOL_VERSION};
use cairn_primitives::light::TrustAnchor;
use cairn_primitives::list_tree::{ListAccumulator, prove, root};
use cairn_primitives::state_proof::{ExistenceProof, StateProof, leaf_hash};
use cairn_primitives::{
    Certificate, Epoch, EpochSchedule, Hash, Header, Height, KeyPair, Power, Proposal, Subject, TimestampMs, Validator,
    ValidatorIndex, ValidatorSet, View, Vote,
};

/// Blocks in an epoch.
pub(super) const EPOCH_LENGTH: u32 = 4;

/// What the state after each block has, and what it has not.
pub(super) const KEY: &[u8] = b"key";
pub(super) const VALUE: &[u8] = b"value";
pub(super) const ABSENT: &[u8] = b"absent";

pub(super) struct Chain {
    seed: u8,
    headers: Vec<Header>,
}

/// Encoded extrinsics of a block: three, so that the last has no sibling at the first level.
pub(super) fn extrinsics(height: u32) -> Vec<Vec<u8>> {
    (0..3u8).map(|index| [vec![0x14, 4], height.to_le_bytes()[..3].to_vec(), vec![index]].concat()).collect()
}

/// Encoded events of a block.
pub(super) fn records(height: u32) -> Vec<Vec<u8>> {
    (0..6u8).map(|index| [vec![0, index], height.to_le_bytes().to_vec()].concat()).collect()
}

/// The items of a proof of [`KEY`] and [`ABSENT`].
pub(super) fn items() -> Vec<ItemAnswer> {
    let leaf = ExistenceProof { key: KEY.to_vec(), value: VALUE.to_vec(), siblings: Vec::new() };
    let absent = if sha256(KEY) < sha256(ABSENT) {
        StateProof::Absent { left: Some(leaf.clone()), right: None }
    } else {
        StateProof::Absent { left: None, right: Some(leaf.clone()) }
    };
    let item = |key: &[u8], value: Option<&[u8]>, proof: StateProof| ItemAnswer {
        key: Bytes(key.to_vec()),
        value: value.map(|value| Bytes(value.to_vec())),
        ics23: Bytes(proof.to_ics23(key)),
        proof: Encoded(proof),
    };
    vec![item(KEY, Some(VALUE), StateProof::Present(leaf)), item(ABSENT, None, absent)]
}

impl Chain {
    pub(super) fn new() -> Self {
        Self::with_seed(1)
    }

    /// Another seed is another chain.
    pub(super) fn with_seed(seed: u8) -> Self {
        let mut chain = Self { seed, headers: Vec::new() };
        let mut history = ListAccumulator::default();
        for height in 0..=2 * EPOCH_LENGTH {
            let epoch = u8::from(height > EPOCH_LENGTH);
            let context = ConsensusContext {
                protocol_version: PROTOCOL_VERSION,
                epoch: Epoch(epoch.into()),
                view: View(height.into()),
                proposer: ValidatorIndex(0),
                timestamp: TimestampMs(height.into()),
                events_root: root(records(height)),
                history_root: history.root(),
                validators_hash: chain.set(epoch).hash(),
                next_validators_hash: chain.set(1).hash(),
            };
            let parent = chain.headers.last().map_or(Hash::ZERO, Header::hash);
            let state = leaf_hash(&sha256(KEY), &sha256(VALUE));
            let header = Header::new(parent, Height(height), state, root(extrinsics(height)), &context);
            history.push(&header.hash().0);
            chain.headers.push(header);
        }
        chain
    }

    fn key(&self, epoch: u8) -> KeyPair {
        KeyPair::from_seed(&[self.seed + epoch; 32])
    }

    pub(super) fn set(&self, epoch: u8) -> ValidatorSet {
        ValidatorSet::new(vec![Validator { key: self.key(epoch).public(), power: Power(3) }]).unwrap()
    }

    pub(super) const fn schedule(&self) -> EpochSchedule {
        EpochSchedule::new(EPOCH_LENGTH)
    }

    pub(super) fn header(&self, height: u32) -> &Header {
        &self.headers[height as usize]
    }

    pub(super) fn hash(&self, height: u32) -> Hash {
        self.header(height).hash()
    }

    pub(super) fn block(&self, height: u32) -> BlockAnswer {
        BlockAnswer::new(self.header(height).clone(), self.hash(height))
    }

    /// Trusts genesis alone.
    pub(super) fn verifier(&self) -> Verifier {
        let anchor = TrustAnchor::from_genesis(self.hash(0), self.header(0), self.set(0)).unwrap();
        Verifier::new(anchor.with_schedule(self.schedule()))
    }

    fn certificate(&self, height: u32) -> Certificate {
        let epoch = u8::from(height > EPOCH_LENGTH);
        let (view, parent_view) = (View(u64::from(height) + 1), View(height.into()));
        let proposal = Proposal { epoch: Epoch(epoch.into()), view, parent_view, block: self.hash(height) };
        let vote = Vote::sign(Subject::Finalize(proposal), ValidatorIndex(0), &self.key(epoch), &self.hash(0));
        Certificate::from_signatures(vote.subject, [(vote.signer, vote.signature)], &self.set(epoch))
    }

    /// Blocks of even height get their finalization with a child, but for the last of an epoch.
    pub(super) fn finality(&self, height: u32, under: Option<u32>) -> Option<Finality> {
        if height == 0 && under.is_none() {
            return None;
        }
        let history = under.map(|under| {
            let hashes: Vec<Hash> = self.headers.iter().take(under as usize).map(Header::hash).collect();
            HistoryAnswer { under: self.block(under), proof: Encoded(prove(&hashes, height.into()).unwrap()) }
        });
        let block = under.unwrap_or(height);
        let has_own = !block.is_multiple_of(2) || block.is_multiple_of(EPOCH_LENGTH);
        let certified = if has_own { block } else { block + 1 };
        Some(Finality {
            history,
            height: certified,
            hash: crate::HashText(self.hash(certified)),
            links: (block..certified).map(|parent| Encoded(self.header(parent + 1).clone())).collect(),
            certificate: Encoded(self.certificate(certified)),
        })
    }

    pub(super) fn handover(&self) -> Handover {
        Handover {
            epoch: 0,
            closing: self.block(EPOCH_LENGTH),
            certificate: Encoded(self.certificate(EPOCH_LENGTH)),
            next: SetAnswer::new(Epoch(1), &self.set(1), None),
        }
    }
}
