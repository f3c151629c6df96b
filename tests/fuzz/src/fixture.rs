//! Keys, validators, blocks and certificates that targets share; the same in every run.

use cairn_primitives::{
    Block, Certificate, ConsensusContext, Epoch, EpochSchedule, FinalizedBlock, Hash, Header, Height, KeyPair,
    OpaqueExtrinsic, Power, Proposal, Signature, Subject, TimestampMs, Validator, ValidatorIndex, ValidatorSet, View,
    Vote,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// The chain. To be changed with the blocks below: what was signed for others, and is in old corpora, is a forgery then.
pub(crate) const GENESIS: Hash = Hash([17; 32]);

/// Validators of [`set`].
pub(crate) const VALIDATORS: usize = 4;

/// Signatures that are kept, so that the same vote is signed once in a long run.
const SIGNATURES_MAX: usize = 1 << 16;

thread_local! {
    static SIGNATURES: RefCell<BTreeMap<(Subject, usize), Signature>> = const { RefCell::new(BTreeMap::new()) };
}

/// Eight keys in the order of their public sides.
pub(crate) fn keys() -> &'static [KeyPair] {
    static KEYS: OnceLock<Vec<KeyPair>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let mut keys: Vec<_> = (1..=8).map(|seed| KeyPair::from_seed(&[seed; 32])).collect();
        keys.sort_by_key(KeyPair::public);
        keys
    })
}

/// The set of some of the keys, by their places, each with the power 1.
pub(crate) fn set_of(places: &[usize]) -> ValidatorSet {
    let validators = places.iter().map(|place| Validator { key: keys()[*place].public(), power: Power(1) });
    ValidatorSet::new(validators.collect()).unwrap()
}

/// The first four keys.
pub(crate) fn set() -> &'static ValidatorSet {
    static SET: OnceLock<ValidatorSet> = OnceLock::new();
    SET.get_or_init(|| set_of(&[0, 1, 2, 3]))
}

/// The places of the validators' keys in epochs 0, 1, …, over and over. Sets change by half and more; the first key is missing
/// in one of them.
const SETS: [[usize; VALIDATORS]; 4] = [[0, 1, 2, 3], [0, 1, 4, 5], [2, 3, 4, 6], [0, 5, 6, 7]];

fn slot(epoch: Epoch) -> usize {
    usize::try_from(epoch.0 % 4).unwrap_or(0)
}

/// The places of the keys of an epoch's validators.
pub(crate) fn places_in(epoch: Epoch) -> &'static [usize; VALIDATORS] {
    &SETS[slot(epoch)]
}

/// The set of an epoch.
pub(crate) fn set_in(epoch: Epoch) -> Arc<ValidatorSet> {
    static KNOWN: OnceLock<Vec<Arc<ValidatorSet>>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| SETS.iter().map(|places| Arc::new(set_of(places))).collect());
    Arc::clone(&known[slot(epoch)])
}

/// The signature of a key, by its place.
pub(crate) fn signature(subject: Subject, place: usize) -> Signature {
    SIGNATURES.with_borrow_mut(|known| {
        if known.len() >= SIGNATURES_MAX {
            known.clear();
        }
        *known.entry((subject, place)).or_insert_with(|| keys()[place].sign(&subject.signing_payload(&GENESIS)))
    })
}

/// A vote of a key in a set that it belongs to.
pub(crate) fn vote(set: &ValidatorSet, subject: Subject, place: usize) -> Option<Vote> {
    let signer = set.index_of(&keys()[place].public())?;
    Some(Vote { subject, signer, signature: signature(subject, place) })
}

/// A certificate by some keys; those outside of the set sign nothing.
pub(crate) fn certificate(set: &ValidatorSet, subject: Subject, places: impl Iterator<Item = usize>) -> Certificate {
    let votes = places.filter_map(|place| vote(set, subject, place)).map(|vote| (vote.signer, vote.signature));
    Certificate::from_signatures(subject, votes.collect::<Vec<_>>(), set)
}

/// A certificate of [`set`] by three of four.
pub(crate) fn quorum(subject: Subject) -> Certificate {
    certificate(set(), subject, 0..3)
}

/// A consensus context in epoch 0.
pub(crate) fn context(view: u64, timestamp: u64) -> ConsensusContext {
    ConsensusContext {
        protocol_version: 1,
        epoch: Epoch(0),
        view: View(view),
        proposer: ValidatorIndex(0),
        timestamp: TimestampMs(timestamp),
        events_root: Hash([3; 32]),
        history_root: Hash([4; 32]),
        validators_hash: set().hash(),
        next_validators_hash: set().hash(),
    }
}

/// A block with a body that is what its header says.
pub(crate) fn sealed(parent: Hash, height: u32, context: &ConsensusContext, extrinsics: Vec<OpaqueExtrinsic>) -> Block {
    let header = Header::new(parent, Height(height), Hash([1; 32]), Hash::ZERO, context);
    let mut block = Block { header, extrinsics: extrinsics.into() };
    block.header.extrinsics_root = block.extrinsics_root();
    block
}

/// The notarize or finalize proposal of a block on the view before its own.
pub(crate) fn proposal(block: &Block) -> Proposal {
    let ConsensusContext { epoch, view, .. } = block.header.context().unwrap();
    Proposal { epoch, view, parent_view: view.previous(), block: block.header.hash() }
}

/// The finalization of a block by some of its epoch's four validators, chosen by their places among these.
pub(crate) fn finalization(block: &Block, signers: impl Iterator<Item = usize>) -> Certificate {
    let proposal = proposal(block);
    let places = signers.map(|signer| places_in(proposal.epoch)[signer]);
    certificate(&set_in(proposal.epoch), Subject::Finalize(proposal), places)
}

/// A chain of `length` finalized blocks from height 1 in one epoch.
pub(crate) fn chain(length: u32) -> Vec<FinalizedBlock> {
    epoch_chain(length, EpochSchedule::new(0))
}

/// A chain of `length` finalized blocks from height 1; every third, every closing one and the last carry their own
/// finalization.
pub(crate) fn epoch_chain(length: u32, schedule: EpochSchedule) -> Vec<FinalizedBlock> {
    let mut parent = GENESIS;
    let mut blocks = Vec::new();
    for height in 1..=length {
        let extrinsics = vec![OpaqueExtrinsic::new(height.to_le_bytes().to_vec())];
        let epoch = schedule.epoch_of(Height(height));
        let opening = schedule.opening(epoch).unwrap_or(Height::ZERO);
        let view = u64::from(height.saturating_sub(opening.0));
        let context = ConsensusContext {
            epoch,
            validators_hash: set_in(epoch).hash(),
            next_validators_hash: set_in(epoch.next()).hash(),
            ..context(view, 1_000 + u64::from(height))
        };
        let block = sealed(parent, height, &context, extrinsics);
        parent = block.header.hash();
        let is_finalized = height % 3 == 0 || height == length || schedule.is_closing(Height(height));
        let finalization = is_finalized.then(|| finalization(&block, 0..3));
        blocks.push(FinalizedBlock { block, finalization });
    }
    blocks
}
