//! The node, its ledger, its disk, and what the others know.
//!
//! All that depends on the shape of the consensus crate is here and in [`super::check`].

use crate::fixture::{GENESIS, keys, set_in};
use cairn_consensus::{Config, Consensus, EpochStart, Head, Input, JournalRecord, Now, Output, Timing, VoteGuard};
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{
    Block, Certificate, Epoch, EpochSchedule, Hash, Height, Proposal, PublicKey, Subject, TimestampMs, ValidatorIndex,
    View,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The wall clock at monotonic time 0.
const WALL: u64 = 1_000_000;

/// The state root of blocks that do not execute to it.
pub(super) const WRONG_ROOT: Hash = Hash([0xba; 32]);

/// Blocks of an epoch.
const EPOCH_LENGTH: u32 = 3;

const TIMING: Timing = Timing {
    leader_timeout_ms: 200,
    certify_timeout_ms: 400,
    retry_ms: 100,
    skip_timeout_ms: 1_000,
    block_interval_ms: 0,
    idle_block_interval_ms: 300,
};

/// Messages that are kept to be sent again.
const REPLAYS_MAX: usize = 64;

/// A question of the node to its ledger.
#[derive(Clone, Debug)]
pub(super) enum Question {
    Propose { view: View, parent: Hash, timestamp: TimestampMs, proposer: ValidatorIndex },
    Verify(Hash),
    Certify(Hash),
    OpenEpoch(EpochStart, Certificate),
}

pub(super) struct World {
    pub(super) node: Consensus,
    pub(super) time: u64,
    pub(super) skew: i64,
    /// Questions without an answer.
    pub(super) questions: Vec<Question>,
    /// Every block that anybody made or proposed, in that order.
    pub(super) blocks: Vec<(Hash, Arc<Block>)>,
    /// Every proposal that anybody made.
    pub(super) proposals: Vec<Proposal>,
    pub(super) sent: Vec<(PublicKey, ConsensusMessage)>,
    /// The committed chain: blocks above the opening one.
    pub(super) committed: Vec<Head>,
    pub(super) finalizations: BTreeMap<Hash, Certificate>,
    /// Blocks that the ledger stored when they were certified.
    pub(super) certified: BTreeMap<Hash, Arc<Block>>,
    /// Records of the journal, and of the guard.
    pub(super) journal: Vec<JournalRecord>,
    pub(super) record: Vec<JournalRecord>,
    /// Views whose nullification the node held.
    pub(super) nullified: BTreeSet<(Epoch, View)>,
    /// Our votes of each view, in the order in which they were signed.
    pub(super) own: BTreeMap<(Epoch, View), Vec<Subject>>,
    pub(super) has_diverged: bool,
    pub(super) is_started: bool,
    /// Records of the next step that reach the disk before the node dies in it.
    pub(super) doom: Option<usize>,
    pub(super) connected: BTreeSet<PublicKey>,
}

const fn schedule() -> EpochSchedule {
    EpochSchedule::new(EPOCH_LENGTH)
}

fn genesis() -> Head {
    Head { height: Height(0), hash: GENESIS, view: View(0), timestamp: TimestampMs(WALL - 10) }
}

fn own_key() -> PublicKey {
    keys()[0].public()
}

impl World {
    pub(super) fn new(first: u8) -> Self {
        let node = Self::build(&[], &BTreeMap::new(), Self::guard(&[]));
        let mut world = Self {
            node,
            time: 0,
            skew: 0,
            questions: Vec::new(),
            blocks: Vec::new(),
            proposals: Vec::new(),
            sent: Vec::new(),
            committed: Vec::new(),
            finalizations: BTreeMap::new(),
            certified: BTreeMap::new(),
            journal: Vec::new(),
            record: Vec::new(),
            nullified: BTreeSet::new(),
            own: BTreeMap::new(),
            has_diverged: false,
            is_started: false,
            doom: None,
            connected: BTreeSet::new(),
        };
        if first & 1 == 1 {
            for key in &keys()[1..] {
                world.peer(key.public(), true);
            }
            world.step(Input::WorkAvailable(true));
            world.start();
        }
        world
    }

    fn guard(record: &[JournalRecord]) -> VoteGuard {
        VoteGuard::new(keys()[0].clone(), GENESIS, record.to_vec())
    }

    /// Consensus as it stands after a start on a ledger.
    fn build(committed: &[Head], finalizations: &BTreeMap<Hash, Certificate>, guard: VoteGuard) -> Consensus {
        let head = committed.last().copied().unwrap_or_else(genesis);
        let epoch = schedule().epoch_of(head.height.next());
        let opening = schedule().opening(epoch).unwrap_or(Height::ZERO);
        let opening = committed.iter().find(|block| block.height == opening).copied().unwrap_or_else(genesis);
        let start = start_of(epoch, opening);
        let committed = if head.hash == opening.hash { start.opening } else { head };
        let finalization = finalizations.get(&head.hash).cloned();
        let config = Config {
            genesis: GENESIS,
            epoch: start,
            committed,
            finalization,
            guards: vec![guard],
            timing: TIMING,
            retention: 8,
        };
        Consensus::new(config).expect("the configuration holds")
    }

    pub(super) fn head(&self) -> Head {
        self.committed.last().copied().unwrap_or_else(genesis)
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.node.epoch().epoch
    }

    pub(super) fn view(&self) -> View {
        self.node.state(self.now()).view
    }

    /// The key of the leader of the present view.
    pub(super) fn leader(&self) -> ValidatorIndex {
        self.node.state(self.now()).leader
    }

    pub(super) const fn is_over(&self) -> bool {
        self.has_diverged
    }

    pub(super) fn now(&self) -> Now {
        let wall = WALL.saturating_add(self.time).saturating_add_signed(self.skew);
        Now { monotonic_ms: self.time, wall: TimestampMs(wall) }
    }

    pub(super) fn block(&self, hash: &Hash) -> Option<&Arc<Block>> {
        self.blocks.iter().find(|(known, _)| known == hash).map(|(_, block)| block)
    }

    pub(super) fn learn(&mut self, block: &Arc<Block>) -> Hash {
        let hash = block.header.hash();
        if self.block(&hash).is_none() {
            self.blocks.push((hash, Arc::clone(block)));
        }
        hash
    }

    pub(super) fn start(&mut self) {
        self.is_started = true;
        self.step(Input::Start);
    }

    pub(super) fn peer(&mut self, validator: PublicKey, connected: bool) {
        if connected {
            self.connected.insert(validator);
        } else {
            self.connected.remove(&validator);
        }
        self.step(Input::Peer { validator, connected });
    }

    /// A message from somebody else.
    pub(super) fn receive(&mut self, from: PublicKey, message: ConsensusMessage) {
        if self.sent.len() < REPLAYS_MAX {
            self.sent.push((from, message.clone()));
        }
        self.step(Input::Message { from, message });
    }

    pub(super) fn step(&mut self, input: Input<PublicKey>) {
        let now = self.now();
        let mut outputs = Vec::new();
        self.node.step(now, input, &mut outputs);
        self.take(outputs);
    }

    pub(super) fn open_epoch(&mut self, start: EpochStart, finalization: Certificate) {
        let now = self.now();
        let mut outputs = Vec::new();
        self.node.open_epoch(now, start, finalization, &mut outputs).expect("the epoch holds");
        self.take(outputs);
    }

    /// What the driver does: records to disk, then words to others.
    fn take(&mut self, outputs: Vec<Output<PublicKey>>) {
        if let Some(kept) = self.doom.take() {
            return self.die(kept, outputs);
        }
        super::check::outputs(self, outputs);
    }

    /// Dies in the middle of a turn: a beginning of its records is on disk, nothing was said.
    fn die(&mut self, kept: usize, outputs: Vec<Output<PublicKey>>) {
        let mut left = kept;
        for output in outputs {
            if let Output::Journal(record) = output
                && left > 0
            {
                left -= 1;
                self.write(record);
            }
        }
        self.restart(0);
    }

    pub(super) fn write(&mut self, record: JournalRecord) {
        if record.is_of_guard() {
            super::check::own_vote(self, &record);
            super::check::ancestry(self, &record);
            self.record.push(record);
        } else {
            if let JournalRecord::Certificate(certificate) = &record
                && let Subject::Nullify { epoch, view } = certificate.subject
            {
                self.nullified.insert((epoch, view));
            }
            self.journal.push(record);
        }
    }

    /// Starts again from what is on disk; `shuffle` has the journal come back in another order and partly twice.
    pub(super) fn restart(&mut self, shuffle: usize) {
        self.node = Self::build(&self.committed, &self.finalizations, Self::guard(&self.record));
        self.questions.clear();
        self.is_started = false;
        let mut journal = self.journal.clone();
        if shuffle > 0 && !journal.is_empty() {
            let middle = shuffle % journal.len();
            journal.rotate_left(middle);
            journal.extend_from_within(..middle);
        }
        for record in journal {
            self.step(Input::Replay(record));
        }
        let head = self.head();
        let restored: Vec<_> =
            self.certified.values().filter(|block| block.header.height() > head.height).cloned().collect();
        for block in restored {
            self.step(Input::Restored(block));
        }
        for key in self.connected.clone() {
            self.peer(key, true);
        }
    }

    /// The ledger commits blocks; the closing one opens the next epoch, in its own time.
    pub(super) fn commit(&mut self, hashes: &[Hash], certificate: &Certificate) {
        for hash in hashes {
            let Some(block) = self.block(hash).cloned() else { continue };
            if block.header.height() <= self.head().height {
                continue;
            }
            let context = block.header.context().expect("a committed block has a context");
            let is_last = certificate.subject.proposal().is_some_and(|proposal| proposal.block == *hash);
            let view = if is_last { certificate.subject.view() } else { context.view };
            let head = Head { height: block.header.height(), hash: *hash, view, timestamp: context.timestamp };
            self.committed.push(head);
            self.certified.remove(hash);
            if is_last {
                self.finalizations.insert(*hash, certificate.clone());
            }
            if schedule().is_closing(head.height) {
                let epoch = schedule().epoch_of(head.height.next());
                self.questions.push(Question::OpenEpoch(start_of(epoch, head), certificate.clone()));
            }
        }
    }
}

/// An epoch from its opening block.
fn start_of(epoch: Epoch, opening: Head) -> EpochStart {
    EpochStart {
        epoch,
        validators: set_in(epoch),
        opening: Head { view: View(0), ..opening },
        closing: schedule().closing(epoch),
    }
}

/// Whether a key is ours.
pub(super) fn is_own(key: &PublicKey) -> bool {
    *key == own_key()
}

/// Our index in an epoch.
pub(super) fn own_index(epoch: Epoch) -> Option<ValidatorIndex> {
    set_in(epoch).index_of(&own_key())
}
