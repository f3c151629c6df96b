//! Keys, blocks and certificates for tests.

use crate::schedule::Schedule;
use crate::{EpochConfig, Head, JournalRecord, Timing, VoteGuard};
use cairn_primitives::hash::sha256_concat;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{
    Block, Certificate, ConsensusContext, Epoch, Hash, Header, Height, KeyPair, OpaqueExtrinsic, Power, Proposal,
    Subject, TimestampMs, Validator, ValidatorIndex, ValidatorSet, View, Vote,
};
use std::sync::Arc;

pub(super) const GENESIS: Hash = Hash([7; 32]);
pub(super) const EPOCH: Epoch = Epoch(3);
/// The wall clock at monotonic time 0, two milliseconds after the timestamp of the opening block.
pub(super) const WALL: u64 = 1_000_000;
/// The state root of a block that never executes to it.
pub(super) const WRONG_ROOT: Hash = Hash([0xBA; 32]);

pub(super) const TIMING: Timing = Timing {
    leader_timeout_ms: 200,
    certify_timeout_ms: 400,
    retry_ms: 100,
    skip_timeout_ms: 3000,
    block_interval_ms: 0,
    idle_block_interval_ms: 500,
};

/// A validator set with all its keys.
#[derive(Clone, Debug)]
pub(super) struct Fixture {
    pub(super) set: ValidatorSet,
    keys: Vec<KeyPair>,
    pub(super) schedule: Schedule,
    pub(super) timing: Timing,
}

impl Fixture {
    pub(super) fn new(powers: &[u64]) -> Self {
        let mut keys: Vec<_> = (1u8..).zip(powers).map(|(seed, _)| KeyPair::from_seed(&[seed; 32])).collect();
        keys.sort_by_key(KeyPair::public);
        let validators = keys.iter().zip(powers);
        let validators = validators.map(|(key, power)| Validator { key: key.public(), power: Power(*power) });
        let set = ValidatorSet::new(validators.collect()).unwrap();
        let schedule = Schedule::new(&set, &Self::opening().hash);
        Self { set, keys, schedule, timing: TIMING }
    }

    pub(super) fn equal(validators: usize) -> Self {
        Self::new(&vec![1; validators])
    }

    pub(super) fn key(&self, index: ValidatorIndex) -> KeyPair {
        self.keys[index.position()].clone()
    }

    pub(super) fn opening() -> Head {
        Head { height: Height(10), hash: Hash([9; 32]), view: View(0), timestamp: TimestampMs(WALL - 2) }
    }

    pub(super) fn config(&self, own: Option<ValidatorIndex>) -> EpochConfig {
        EpochConfig {
            genesis: GENESIS,
            epoch: EPOCH,
            validators: Arc::new(self.set.clone()),
            guard: own.map(|own| self.guard(own, [])),
            timing: self.timing,
            retention: 10,
            opening: Self::opening(),
            closing: None,
            committed: Self::opening(),
            finalization: None,
        }
    }

    /// The vote guard of a validator with the votes of its journal as record.
    pub(super) fn guard(&self, own: ValidatorIndex, journal: impl IntoIterator<Item = JournalRecord>) -> VoteGuard {
        VoteGuard::new(self.key(own), GENESIS, journal)
    }

    pub(super) fn leader(&self, view: u64) -> ValidatorIndex {
        self.schedule.leader(View(view))
    }

    /// The first view from `from` on that `index` leads.
    pub(super) fn view_led_by(&self, index: ValidatorIndex, from: u64) -> u64 {
        (from..).find(|view| self.leader(*view) == index).unwrap()
    }

    pub(super) fn vote(&self, signer: ValidatorIndex, subject: Subject) -> Vote {
        Vote::sign(subject, signer, &self.keys[signer.position()], &GENESIS)
    }

    /// A certificate by the first validators that make a quorum, leaving out `without`.
    pub(super) fn certificate_without(&self, subject: Subject, without: Option<ValidatorIndex>) -> Certificate {
        let mut power = 0;
        let signers = self.set.indices().filter(|index| Some(*index) != without).take_while(|index| {
            let missing = power < self.set.quorum().0;
            power += self.set.get(*index).unwrap().power.0;
            missing
        });
        let signatures = signers.map(|signer| (signer, self.vote(signer, subject).signature));
        Certificate::from_signatures(subject, signatures, &self.set)
    }

    pub(super) fn certificate(&self, subject: Subject) -> Certificate {
        self.certificate_without(subject, None)
    }

    /// A block for a view on a parent; `salt` makes different ones.
    pub(super) fn block(&self, view: u64, parent: &Head, timestamp: u64, salt: u64) -> Arc<Block> {
        self.block_with_root(view, parent, timestamp, salt, Hash([1; 32]))
    }

    pub(super) fn block_with_root(
        &self,
        view: u64,
        parent: &Head,
        timestamp: u64,
        salt: u64,
        root: Hash,
    ) -> Arc<Block> {
        let extrinsics = vec![OpaqueExtrinsic::new(salt.to_le_bytes().to_vec())];
        let context = ConsensusContext {
            protocol_version: 1,
            epoch: EPOCH,
            view: View(view),
            proposer: self.leader(view),
            timestamp: TimestampMs(timestamp),
            events_root: Hash::ZERO,
            history_root: Hash::ZERO,
            validators_hash: self.set.hash(),
            next_validators_hash: self.set.hash(),
        };
        let header = Header::new(parent.hash, parent.height.next(), root, Hash::ZERO, &context);
        let mut block = Block { header, extrinsics: extrinsics.into() };
        block.header.extrinsics_root = block.extrinsics_root();
        Arc::new(block)
    }

    /// The leader's message for a block.
    pub(super) fn proposal_message(&self, proposal: Proposal, block: &Arc<Block>) -> ConsensusMessage {
        let vote = self.vote(self.schedule.leader(proposal.view), Subject::Notarize(proposal));
        ConsensusMessage::Proposal { proposal, block: Arc::clone(block), vote }
    }
}

/// The place of a block, as parent of the next.
pub(super) fn place(block: &Block) -> Head {
    let context = block.header.context().unwrap();
    Head { height: block.header.height(), hash: block.header.hash(), view: context.view, timestamp: context.timestamp }
}

pub(super) fn proposal_of(block: &Block, parent_view: u64) -> Proposal {
    let place = place(block);
    Proposal { epoch: EPOCH, view: place.view, parent_view: View(parent_view), block: place.hash }
}

pub(super) const fn nullify(view: u64) -> Subject {
    Subject::Nullify { epoch: EPOCH, view: View(view) }
}

/// A small generator of numbers from a seed; the same everywhere.
#[derive(Clone, Debug)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        let hash = sha256_concat(&[b"dice", &seed.to_le_bytes()]);
        Self { state: u64::from_le_bytes(hash.0[..8].try_into().unwrap()) }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}
