//! Tests of block sync: ranges, the machine's rules, the answering side, and a simulation with bad peers.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "tests may fail loudly")]
#![allow(clippy::wildcard_enum_match_arm, reason = "tests pick the cases they look at")]

mod backfill;
mod epochs;
mod following;
mod machine;
mod ranges;
mod serving;
mod simulation;
mod snapshot;

use crate::{BlockSource, Input, Output, PeerRef, RequestId, Sync, SyncConfig, ValidatorSets};
use cairn_primitives::{
    Block, Certificate, ConsensusContext, Epoch, EpochSchedule, FinalizedBlock, Hash, Header, Height, KeyPair,
    OpaqueExtrinsic, Power, Proposal, Subject, TimestampMs, Validator, ValidatorIndex, ValidatorSet, View, Vote,
};
use std::convert::Infallible;
use std::sync::Arc;

const GENESIS: Hash = Hash([7; 32]);

/// A finalized chain of four validators, of which three sign; each epoch has others.
#[derive(Clone)]
struct Chain {
    schedule: EpochSchedule,
    /// Of the first epoch.
    set: Arc<ValidatorSet>,
    blocks: Vec<FinalizedBlock>,
    /// What it says of itself as a source.
    lowest: Height,
}

impl Chain {
    /// `length` blocks, of which every `finalized_every`-th and the last carry a finalization.
    fn new(length: u32, finalized_every: u32) -> Self {
        Self::with_extrinsics(length, finalized_every, |height| vec![vec![u8::try_from(height % 251).unwrap(); 20]])
    }

    fn with_extrinsics(length: u32, finalized_every: u32, extrinsics: impl Fn(u32) -> Vec<Vec<u8>>) -> Self {
        Self::with_epochs(length, finalized_every, 0, extrinsics)
    }

    /// The same with epochs of `epoch_length` blocks, of which the last one always carries a finalization.
    fn with_epochs(
        length: u32,
        finalized_every: u32,
        epoch_length: u32,
        extrinsics: impl Fn(u32) -> Vec<Vec<u8>>,
    ) -> Self {
        let schedule = EpochSchedule::new(epoch_length);
        let mut chain = Self { schedule, set: set_of(Epoch(0)), blocks: Vec::new(), lowest: Height::ZERO };
        for height in 1..=length {
            let is_finalized = height % finalized_every == 0 || height == length || schedule.is_closing(Height(height));
            chain.push(extrinsics(height), is_finalized);
        }
        chain
    }

    fn push(&mut self, extrinsics: Vec<Vec<u8>>, is_finalized: bool) {
        let height = u32::try_from(self.blocks.len()).unwrap() + 1;
        let mut block = Block {
            header: header(self.schedule.epoch_of(Height(height)), height, self.hash(Height(height - 1))),
            extrinsics: extrinsics.into_iter().map(OpaqueExtrinsic::new).collect::<Vec<_>>().into(),
        };
        block.header.extrinsics_root = block.extrinsics_root();
        let finalization = is_finalized.then(|| self.certify(self.finalize(height, block.header.hash())));
        self.blocks.push(FinalizedBlock { block, finalization });
    }

    fn hash(&self, height: Height) -> Hash {
        if height == Height::ZERO { GENESIS } else { self.block(height.0).block.header.hash() }
    }

    fn block(&self, height: u32) -> &FinalizedBlock {
        &self.blocks[usize::try_from(height).unwrap() - 1]
    }

    fn range(&self, from: u32, last: u32) -> Vec<FinalizedBlock> {
        (from..=last).map(|height| self.block(height).clone()).collect()
    }

    fn length(&self) -> u32 {
        u32::try_from(self.blocks.len()).unwrap()
    }

    fn certify(&self, subject: Subject) -> Certificate {
        let votes = keys_of(subject.epoch()).into_iter().zip(0u16..).take(3).map(|(key, index)| {
            let vote = Vote::sign(subject, ValidatorIndex(index), &key, &GENESIS);
            (vote.signer, vote.signature)
        });
        Certificate::from_signatures(subject, votes, &set_of(subject.epoch()))
    }

    /// The subject of a block's finalization; an epoch's last block becomes final some views after its first proposal.
    fn finalize(&self, height: u32, block: Hash) -> Subject {
        let epoch = self.schedule.epoch_of(Height(height));
        let late = if self.schedule.is_closing(Height(height)) { 3 } else { 0 };
        let view = View(u64::from(height - self.schedule.opening(epoch).unwrap().0) + late);
        Subject::Finalize(Proposal { epoch, view, parent_view: view.previous(), block })
    }

    fn sets(&self) -> ValidatorSets {
        ValidatorSets::new(self.schedule, Epoch(0), Arc::clone(&self.set))
    }

    fn machine(&self, config: SyncConfig) -> Sync {
        Sync::new(config, GENESIS, self.sets(), Height::ZERO, GENESIS)
    }
}

impl BlockSource for Chain {
    type Error = Infallible;

    fn head(&self) -> Height {
        Height(self.length())
    }

    fn finalized_block(&self, height: Height) -> Result<Option<FinalizedBlock>, Infallible> {
        let place = usize::try_from(height.0).unwrap().checked_sub(1);
        Ok(place.and_then(|place| self.blocks.get(place)).cloned())
    }

    fn finalization(&self, height: Height) -> Result<Option<Certificate>, Infallible> {
        Ok(self.finalized_block(height)?.and_then(|block| block.finalization))
    }

    fn lowest(&self) -> Result<Height, Infallible> {
        Ok(self.lowest)
    }

    fn events(&self, height: Height) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.finalized_block(height)?.map(|_| events_of(height)))
    }
}

/// The events of a block, one for each: here the list is its only item.
fn events_of(height: Height) -> Vec<u8> {
    height.0.to_be_bytes().to_vec()
}

fn events_root(events: &[u8]) -> Hash {
    cairn_primitives::list_tree::root([events])
}

/// The validators' keys of an epoch in the order of its set; no two epochs share one.
fn keys_of(epoch: Epoch) -> Vec<KeyPair> {
    let seed = |number: u64| {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&epoch.0.to_le_bytes());
        seed[8..16].copy_from_slice(&number.to_le_bytes());
        seed
    };
    let mut keys: Vec<_> = (1..=4).map(|number| KeyPair::from_seed(&seed(number))).collect();
    keys.sort_by_key(KeyPair::public);
    keys
}

fn set_of(epoch: Epoch) -> Arc<ValidatorSet> {
    let validators = keys_of(epoch).iter().map(|key| Validator { key: key.public(), power: Power(1) }).collect();
    Arc::new(ValidatorSet::new(validators).unwrap())
}

fn header(epoch: Epoch, height: u32, parent: Hash) -> Header {
    let context = ConsensusContext {
        protocol_version: 1,
        epoch,
        view: View(u64::from(height)),
        proposer: ValidatorIndex(0),
        timestamp: TimestampMs(u64::from(height)),
        events_root: events_root(&events_of(Height(height))),
        history_root: Hash::ZERO,
        validators_hash: Hash::ZERO,
        next_validators_hash: Hash::ZERO,
    };
    Header::new(parent, Height(height), Hash::ZERO, Hash::ZERO, &context)
}

/// The subject of a finalization in the view of the block's height.
fn finalize(height: u32, block: Hash) -> Subject {
    let view = View(u64::from(height));
    Subject::Finalize(Proposal { epoch: Epoch(0), view, parent_view: view.previous(), block })
}

fn step(sync: &mut Sync, now_ms: u64, input: Input) -> Vec<Output> {
    let mut outputs = Vec::new();
    sync.step(now_ms, input, &mut outputs);
    outputs
}

/// Connects a peer and lets it tell its tip.
fn connect(sync: &mut Sync, now_ms: u64, peer: u64, chain: &Chain, head: u32) -> Vec<Output> {
    let mut outputs = step(sync, now_ms, Input::PeerConnected(PeerRef(peer)));
    assert!(outputs.contains(&Output::RequestStatus(PeerRef(peer))));
    outputs.extend(tell_status(sync, now_ms, peer, chain, head));
    outputs
}

fn tell_status(sync: &mut Sync, now_ms: u64, peer: u64, chain: &Chain, head: u32) -> Vec<Output> {
    let finalization = (head > 0).then(|| chain.block(head).finalization.clone().unwrap());
    step(sync, now_ms, Input::Status { peer: PeerRef(peer), head: Height(head), finalization, lowest: chain.lowest })
}

/// Peer, request, first height and count of each request for blocks.
fn requests(outputs: &[Output]) -> Vec<(u64, RequestId, u32, u32)> {
    let request = |output: &Output| match output {
        Output::RequestBlocks { peer, id, from, count } => Some((peer.0, *id, from.0, *count)),
        _ => None,
    };
    outputs.iter().filter_map(request).collect()
}

fn imports(outputs: &[Output]) -> Vec<FinalizedBlock> {
    let import = |output: &Output| match output {
        Output::Import(blocks) => blocks.clone(),
        _ => Vec::new(),
    };
    outputs.iter().flat_map(import).collect()
}

fn heights(blocks: &[FinalizedBlock]) -> Vec<u32> {
    blocks.iter().map(|block| block.block.header.number).collect()
}

fn offences(outputs: &[Output]) -> Vec<(u64, crate::Offence)> {
    let offence = |output: &Output| match output {
        Output::Report { peer, offence } => Some((peer.0, offence.clone())),
        _ => None,
    };
    outputs.iter().filter_map(offence).collect()
}

/// A small generator of test numbers (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
