//! A toy ledger over epochs: a script says who validates when, a disk keeps what was synced.

use super::fixture::{GENESIS, WALL, place};
use crate::{EpochStart, Head, JournalRecord};
use cairn_primitives::{
    Block, Certificate, ConsensusContext, Epoch, EpochSchedule, Hash, Header, Height, KeyPair, OpaqueExtrinsic, Power,
    PublicKey, TimestampMs, Validator, ValidatorIndex, ValidatorSet, View,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who validates in which epoch.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) keys: Vec<KeyPair>,
    pub(super) schedule: EpochSchedule,
    /// The keys of each epoch with their power, by place in `keys`; the last set stays.
    sets: Vec<Arc<ValidatorSet>>,
}

impl Script {
    /// Epochs of `length` blocks; all keys have power 1.
    pub(super) fn new(length: u32, sets: &[&[usize]]) -> Self {
        let powers: Vec<_> = sets.iter().map(|set| set.iter().map(|key| (*key, 1)).collect()).collect();
        Self::with_powers(length, &powers)
    }

    pub(super) fn with_powers(length: u32, sets: &[Vec<(usize, u64)>]) -> Self {
        let keys: Vec<_> = (1u8..=32).map(|seed| KeyPair::from_seed(&[seed; 32])).collect();
        let sets = sets.iter().map(|set| {
            let validators =
                set.iter().map(|(key, power)| Validator { key: keys[*key].public(), power: Power(*power) });
            let mut validators: Vec<_> = validators.collect();
            validators.sort_by_key(|validator| validator.key);
            Arc::new(ValidatorSet::new(validators).unwrap())
        });
        let sets = sets.collect();
        Self { schedule: EpochSchedule::new(length), sets, keys }
    }

    pub(super) fn set(&self, epoch: Epoch) -> Arc<ValidatorSet> {
        let place = usize::try_from(epoch.0).unwrap().min(self.sets.len() - 1);
        Arc::clone(&self.sets[place])
    }

    pub(super) const fn genesis() -> Head {
        Head { height: Height(0), hash: GENESIS, view: View(0), timestamp: TimestampMs(WALL - 2) }
    }

    pub(super) fn is_closing(&self, height: Height) -> bool {
        height > Height(0) && self.schedule.closing(self.schedule.epoch_of(height)) == Some(height)
    }

    /// The epoch that a committed block opens.
    pub(super) fn opened_by(&self, block: &Head) -> Option<EpochStart> {
        let epoch = self.schedule.epoch_of(block.height.next());
        let opening = Head { view: View(0), ..*block };
        let opens = block.height == Height(0) || self.is_closing(block.height);
        let (validators, closing) = (self.set(epoch), self.schedule.closing(epoch));
        opens.then_some(EpochStart { epoch, validators, opening, closing })
    }

    pub(super) fn block(
        &self,
        epoch: Epoch,
        view: View,
        proposer: ValidatorIndex,
        parent: &Head,
        timestamp: TimestampMs,
        salt: u64,
    ) -> Arc<Block> {
        let next = self.schedule.epoch_of(parent.height.next().next());
        let context = ConsensusContext {
            protocol_version: 1,
            epoch,
            view,
            proposer,
            timestamp,
            events_root: Hash::ZERO,
            history_root: Hash::ZERO,
            validators_hash: self.set(epoch).hash(),
            next_validators_hash: self.set(next).hash(),
        };
        let header = Header::new(parent.hash, parent.height.next(), Hash([1; 32]), Hash::ZERO, &context);
        let mut block = Block { header, extrinsics: vec![OpaqueExtrinsic::new(salt.to_le_bytes().to_vec())].into() };
        block.header.extrinsics_root = block.extrinsics_root();
        Arc::new(block)
    }
}

/// What a node has on disk, and the blocks that its ledger ever saw.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) journal: Vec<JournalRecord>,
    /// The record of each key; none where it was lost.
    pub(super) records: BTreeMap<PublicKey, Vec<JournalRecord>>,
    pub(super) committed: Vec<(Head, Option<Certificate>)>,
    pub(super) certified: BTreeMap<Hash, Arc<Block>>,
    /// All blocks its ledger ever saw.
    pub(super) blocks: BTreeMap<Hash, Arc<Block>>,
}

impl Disk {
    /// The disk of a node whose keys never signed anything.
    pub(super) fn new(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        Self {
            journal: Vec::new(),
            records: keys.into_iter().map(|key| (key, Vec::new())).collect(),
            committed: vec![(Script::genesis(), None)],
            certified: BTreeMap::new(),
            blocks: BTreeMap::new(),
        }
    }

    pub(super) fn write(&mut self, record: &JournalRecord, key: Option<PublicKey>) {
        if record.is_of_guard() {
            self.records.entry(key.expect("only a guard signs")).or_default().push(record.clone());
        } else {
            self.journal.push(record.clone());
        }
    }

    /// Makes a block durable.
    pub(super) fn keep(&mut self, hash: &Hash) {
        self.certified.insert(*hash, Arc::clone(&self.blocks[hash]));
    }

    pub(super) fn keep_block(&mut self, block: &Arc<Block>) {
        self.certified.insert(block.header.hash(), Arc::clone(block));
    }

    pub(super) fn kept(&self, hash: &Hash) -> Option<Arc<Block>> {
        self.certified.get(hash).cloned()
    }

    pub(super) fn restored(&self) -> impl Iterator<Item = Arc<Block>> + '_ {
        self.certified.values().filter(|block| block.header.height() > self.height()).cloned()
    }

    pub(super) fn height(&self) -> Height {
        self.committed.last().unwrap().0.height
    }

    /// The highest block that has its own finalization.
    pub(super) fn finalized_height(&self) -> Height {
        let newest = self.committed.iter().rev().find(|(_, finalization)| finalization.is_some());
        newest.map_or(Height(0), |(head, _)| head.height)
    }

    /// Where consensus starts: the head, its finalization, and the epoch of the next block.
    pub(super) fn head(&self, script: &Script) -> (Head, Option<Certificate>, EpochStart) {
        let (head, finalization) = self.committed.last().unwrap().clone();
        let opening = self.committed.iter().rev().find_map(|(block, _)| script.opened_by(block)).unwrap();
        let view = finalization.as_ref().map_or(head.view, |certificate| certificate.subject.view());
        let view = if head.height == opening.opening.height { View(0) } else { view };
        (Head { view, ..head }, finalization, opening)
    }

    /// The view in which a committed block was proposed, and the one in which it was finalized.
    pub(super) fn views(&self, height: Height) -> (View, View) {
        let (head, finalization) = self.committed.iter().find(|(head, _)| head.height == height).unwrap();
        let proposed = place(&self.certified[&head.hash]).view;
        (proposed, finalization.as_ref().map_or(proposed, |certificate| certificate.subject.view()))
    }
}
