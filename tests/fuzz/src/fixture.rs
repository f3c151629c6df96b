//! Keys, validators, blocks and certificates that targets share; the same in every run.

use cairn_primitives::{
    Block, Certificate, ConsensusContext, Epoch, FinalizedBlock, Hash, Header, Height, KeyPair, OpaqueExtrinsic, Power,
    Proposal, Signature, Subject, TimestampMs, Validator, ValidatorIndex, ValidatorSet, View, Vote,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// The chain.
pub(crate) const GENESIS: Hash = Hash([7; 32]);

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
    let mut block = Block { header, extrinsics };
    block.header.extrinsics_root = block.extrinsics_root();
    block
}

/// The notarize or finalize proposal of a block of epoch 0 on its predecessor.
pub(crate) fn proposal(block: &Block) -> Proposal {
    let view = block.header.context().unwrap().view;
    Proposal { epoch: Epoch(0), view, parent_view: view.previous(), block: block.header.hash() }
}

/// A chain of `length` finalized blocks from height 1; every third and the last carry their own finalization.
pub(crate) fn chain(length: u32) -> Vec<FinalizedBlock> {
    let mut parent = GENESIS;
    let mut blocks = Vec::new();
    for height in 1..=length {
        let extrinsics = vec![OpaqueExtrinsic::new(height.to_le_bytes().to_vec())];
        let block = sealed(parent, height, &context(u64::from(height), 1_000 + u64::from(height)), extrinsics);
        parent = block.header.hash();
        let is_finalized = height % 3 == 0 || height == length;
        let finalization = is_finalized.then(|| quorum(Subject::Finalize(proposal(&block))));
        blocks.push(FinalizedBlock { block, finalization });
    }
    blocks
}
