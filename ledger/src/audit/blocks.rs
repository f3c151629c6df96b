//! Block by block: everything that lies under a height, and the indexes that lead to it.

use super::{Audit, AuditReport, OnProgress, Phase, SCAN_RECORDS, Top};
use crate::epoch::NamedSet;
use cairn_primitives::header::{ConsensusContext, PROTOCOL_VERSION};
use cairn_primitives::list_tree::ListAccumulator;
use cairn_primitives::{Certificate, Epoch, Hash, Header, Height, OpaqueExtrinsic, Subject, TimestampMs, ValidatorSet};
use cairn_runtime::EventRecord;
use cairn_storage::{Damages, DatabaseError, DatabaseView, Direction, KeyRange, Table, blocks};
use parity_scale_codec::{DecodeAll, Encode};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Validator sets in memory: those of the epochs around a block.
const SETS_KEPT: usize = 3;

/// The walk over the blocks.
struct Walk<'a> {
    audit: &'a Audit,
    view: &'a dyn DatabaseView,
    head: Height,
    /// The hashes of all blocks so far.
    history: ListAccumulator,
    parent: Option<Hash>,
    timestamp: TimestampMs,
    /// The validators of the last epochs that were asked for; `None` where they are not known.
    sets: BTreeMap<Epoch, Option<NamedSet>>,
    report: AuditReport,
}

/// Checks the blocks from `audit.from` up to the head.
pub(super) fn check(audit: &Audit, head: &Top, damages: Damages, progress: &OnProgress<'_>) -> AuditReport {
    let lowest = blocks::lowest_block(&*audit.database).unwrap_or_default();
    let first = audit.from.max(lowest).min(head.height);
    let mut walk = Walk {
        audit,
        view: &*audit.database,
        head: head.height,
        history: ListAccumulator::default(),
        parent: None,
        timestamp: TimestampMs(0),
        sets: BTreeMap::new(),
        report: AuditReport { head: head.height, from: first, damages, ..AuditReport::default() },
    };
    let from = walk.report.from;
    walk.skip(from);
    let total = u64::from(head.height.0.saturating_sub(from.0)).saturating_add(1);
    for height in from.0..=head.height.0 {
        walk.block(Height(height));
        walk.report.blocks = walk.report.blocks.saturating_add(1);
        if walk.report.blocks.is_multiple_of(256) || walk.report.blocks == total {
            progress(Phase::Blocks, walk.report.blocks, Some(total));
        }
    }
    walk.finish(head);
    walk.report
}

impl Walk<'_> {
    fn damage(&mut self, table: Table, height: Height, reason: impl ToString) {
        self.report.damages.add(table, Some(&height.0.to_be_bytes()), format!("height {height}"), reason);
    }

    /// The record, or `None` where it is missing or damaged, which is noted.
    fn expect<T>(&mut self, table: Table, height: Height, found: Result<Option<T>, DatabaseError>) -> Option<T> {
        match found {
            Ok(Some(record)) => return Some(record),
            Ok(None) => self.damage(table, height, "the record is missing"),
            Err(error) => {
                let key = height.0.to_be_bytes();
                self.report.damages.add_error(table, Some(&key), format!("height {height}"), &error);
            }
        }
        None
    }

    /// Takes the hashes below the first block as they are: the first header names the root of them all.
    fn skip(&mut self, from: Height) {
        let mut next = 0_u32;
        if blocks::lowest_block(self.view).is_ok_and(|lowest| lowest > Height::ZERO) {
            // A node that began with a snapshot has few of the hashes below it.
            let parent = from.0.checked_sub(1).map(|below| blocks::hash_of(self.view, Height(below)));
            self.parent = parent.and_then(|hash| hash.ok().flatten());
            next = from.0;
        }
        while next < from.0 {
            let range = KeyRange::between(next.to_be_bytes(), from.0.to_be_bytes());
            let records = match self.view.scan(Table::Hashes, &range, Direction::Forward, SCAN_RECORDS) {
                Ok(records) if !records.is_empty() => records,
                Ok(_) => return self.damage(Table::Hashes, Height(next), "the record is missing"),
                Err(error) => return self.damage(Table::Hashes, Height(next), error),
            };
            for (key, value) in records {
                if key != next.to_be_bytes() {
                    return self.damage(Table::Hashes, Height(next), "the record is missing");
                }
                self.parent = value.try_into().ok().map(Hash);
                self.history.push(&self.parent.unwrap_or_default().0);
                next = next.saturating_add(1);
            }
        }
        if let Some(Ok(Some(header))) = from.0.checked_sub(1).map(|below| blocks::header(self.view, Height(below))) {
            self.timestamp = header.context().map_or(self.timestamp, |context| context.timestamp);
        }
    }

    fn block(&mut self, height: Height) {
        let header = blocks::header(self.view, height);
        let header = self.expect(Table::Headers, height, header);
        let stored = blocks::hash_of(self.view, height);
        let stored = self.expect(Table::Hashes, height, stored);
        let computed = header.as_ref().map(Header::hash);
        let hash = self.settle_hash(height, computed, stored);
        // What a damaged header says of the rest is worth nothing.
        let header = header.filter(|_| hash == computed);
        if let Some(header) = &header {
            self.header(height, header);
        }
        let context = header.as_ref().and_then(|header| header.context().ok());
        self.body(height, header.as_ref());
        self.events(height, context.as_ref());
        self.finalization(height, hash, context.as_ref());
        if let Some(hash) = hash {
            self.height_index(height, hash);
        }
        // The head's record has those below it.
        if height < self.head {
            self.history.push(&hash.unwrap_or_default().0);
        }
        self.parent = hash;
    }

    /// The block's hash, by the header and by the table of hashes; where they differ, the index from hashes and the next
    /// block say which one is damaged.
    fn settle_hash(&mut self, height: Height, computed: Option<Hash>, stored: Option<Hash>) -> Option<Hash> {
        let (Some(computed), Some(stored)) = (computed, stored) else { return computed.or(stored) };
        if computed == stored {
            return Some(computed);
        }
        let child = blocks::header(self.view, height.next()).ok().flatten().map(|child| child.parent_hash);
        let is_indexed = |hash| matches!(blocks::height_of(self.view, hash), Ok(Some(found)) if found == height);
        let is_header_true = match child {
            Some(parent) if parent == computed => true,
            Some(parent) if parent == stored => false,
            _ => is_indexed(&computed),
        };
        if is_header_true {
            self.damage(Table::Hashes, height, format!("it says {stored}, the header hashes to {computed}"));
            Some(computed)
        } else {
            self.damage(Table::Headers, height, format!("it hashes to {computed}, the block's hash is {stored}"));
            Some(stored)
        }
    }

    fn header(&mut self, height: Height, header: &Header) {
        if header.height() != height {
            self.damage(Table::Headers, height, format!("the header is of height {}", header.number));
        }
        if height == Height::ZERO && header.hash() != self.audit.genesis.hash() {
            let reason =
                format!("the genesis block is {}, the chain spec's is {}", header.hash(), self.audit.genesis.hash());
            self.damage(Table::Headers, height, reason);
        }
        let expected = if height == Height::ZERO { Some(Hash::ZERO) } else { self.parent };
        if expected.is_some_and(|parent| parent != header.parent_hash) {
            let reason =
                format!("the parent is {}, the block below is {}", header.parent_hash, expected.unwrap_or_default());
            self.damage(Table::Headers, height, reason);
        }
        match header.context() {
            Ok(context) => self.context(height, &context),
            Err(error) => self.damage(Table::Headers, height, error),
        }
    }

    fn context(&mut self, height: Height, context: &ConsensusContext) {
        if context.protocol_version != PROTOCOL_VERSION {
            self.damage(Table::Headers, height, format!("protocol version {}", context.protocol_version));
        }
        if self.history.count() == u64::from(height.0) && context.history_root != self.history.root() {
            self.damage(Table::Headers, height, "the root of all earlier hashes is not that of the blocks below");
        }
        if height > Height::ZERO && context.timestamp <= self.timestamp {
            self.damage(
                Table::Headers,
                height,
                format!("the timestamp {} is not after the parent's", context.timestamp),
            );
        }
        self.timestamp = context.timestamp;
        let epoch = self.audit.schedule.epoch_of(height);
        if context.epoch != epoch {
            self.damage(
                Table::Headers,
                height,
                format!("it says epoch {}, its height is of epoch {epoch}", context.epoch),
            );
        }
        let known = self.validators(epoch).map(|set| set.hash);
        if let Some(known) = known.filter(|known| *known != context.validators_hash) {
            let reason = format!("the set hashes to {known}, block {height} names {}", context.validators_hash);
            self.epoch_damage(epoch, reason);
        }
        if self.audit.schedule.is_closing(height) {
            let opened = self.audit.schedule.epoch_of(height.next());
            let known = self.validators(opened).map(|set| set.hash);
            if let Some(known) = known.filter(|known| *known != context.next_validators_hash) {
                let reason =
                    format!("the set hashes to {known}, block {height} hands over to {}", context.next_validators_hash);
                self.epoch_damage(opened, reason);
            }
        }
    }

    fn epoch_damage(&mut self, epoch: Epoch, reason: impl ToString) {
        let key = epoch.0.to_be_bytes();
        self.report.damages.add(Table::ValidatorSets, Some(&key), format!("epoch {epoch}"), reason);
        // Said once: nothing is judged by this set.
        self.sets.insert(epoch, None);
    }

    /// The validators of an epoch, read once; what is wrong with them is noted then.
    fn validators(&mut self, epoch: Epoch) -> Option<NamedSet> {
        if let Some(set) = self.sets.get(&epoch) {
            return set.clone();
        }
        self.report.epochs = self.report.epochs.saturating_add(1);
        let found = blocks::validator_set(self.view, epoch);
        let key = epoch.0.to_be_bytes();
        let set = match found {
            Ok(Some(set)) => Some(NamedSet::new(Arc::<ValidatorSet>::new(set))),
            Ok(None) => {
                self.epoch_damage(epoch, "the record is missing");
                None
            }
            Err(error) => {
                self.report.damages.add_error(Table::ValidatorSets, Some(&key), format!("epoch {epoch}"), &error);
                None
            }
        };
        self.sets.insert(epoch, set.clone());
        while self.sets.len() > SETS_KEPT {
            self.sets.pop_first();
        }
        set
    }

    fn body(&mut self, height: Height, header: Option<&Header>) {
        let body = blocks::body(self.view, height);
        let Some(extrinsics) = self.expect(Table::Bodies, height, body) else { return };
        if let Some(header) = header {
            let root = root_one_by_one(&extrinsics);
            if root != header.extrinsics_root {
                let reason =
                    format!("the extrinsics have the root {root}, the header names {}", header.extrinsics_root);
                return self.damage(Table::Bodies, height, reason);
            }
        }
        self.report.extrinsics =
            self.report.extrinsics.saturating_add(u64::try_from(extrinsics.len()).unwrap_or(u64::MAX));
        self.transactions(height, &extrinsics);
    }

    /// Each extrinsic is found by its hash, here or at a later inclusion.
    fn transactions(&mut self, height: Height, extrinsics: &[OpaqueExtrinsic]) {
        for (extrinsic, index) in extrinsics.iter().zip(0_u32..) {
            let hash = extrinsic.hash();
            let place = format!("extrinsic {hash} of height {height}");
            match blocks::transaction_location(self.view, &hash) {
                Ok(Some(location)) if location == (height, index) => {}
                Ok(Some((later, at))) if (later, at) > (height, index) && self.is_included(later, at, &hash) => {}
                Ok(Some((other, at))) => {
                    let reason = format!("the index leads to height {other}, place {at}, instead of place {index}");
                    self.report.damages.add(Table::Transactions, Some(&hash.0), place, reason);
                }
                Ok(None) => {
                    self.report.damages.add(Table::Transactions, Some(&hash.0), place, "the record is missing");
                }
                Err(error) => self.report.damages.add_error(Table::Transactions, Some(&hash.0), place, &error),
            }
        }
    }

    fn is_included(&self, height: Height, index: u32, hash: &Hash) -> bool {
        let Ok(Some(body)) = blocks::body(self.view, height) else { return false };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        body.get(index).is_some_and(|extrinsic| extrinsic.hash() == *hash)
    }

    fn events(&mut self, height: Height, context: Option<&ConsensusContext>) {
        let events = blocks::events(self.view, height);
        let Some(bytes) = self.expect(Table::Events, height, events) else { return };
        let records = match Vec::<EventRecord>::decode_all(&mut bytes.as_slice()) {
            Ok(records) => records,
            Err(error) => return self.damage(Table::Events, height, error),
        };
        let Some(context) = context else { return };
        let root = root_one_by_one(&records);
        if root != context.events_root || records.encode() != bytes {
            let reason = format!("the events have the root {root}, the header names {}", context.events_root);
            self.damage(Table::Events, height, reason);
        }
    }

    fn finalization(&mut self, height: Height, hash: Option<Hash>, context: Option<&ConsensusContext>) {
        let is_needed = height > Height::ZERO && (height == self.head || self.audit.schedule.is_closing(height));
        let certificate = match blocks::finalization(self.view, height) {
            Ok(Some(certificate)) => certificate,
            Ok(None) if is_needed => {
                let why = if height == self.head { "the head" } else { "the last block of its epoch" };
                return self.damage(Table::Finalizations, height, format!("the record is missing, and this is {why}"));
            }
            Ok(None) => return,
            Err(error) => {
                let key = height.0.to_be_bytes();
                let place = format!("height {height}");
                return self.report.damages.add_error(Table::Finalizations, Some(&key), place, &error);
            }
        };
        self.report.finalizations = self.report.finalizations.saturating_add(1);
        if let Err(reason) = self.check_certificate(height, hash, context, &certificate) {
            self.damage(Table::Finalizations, height, reason);
        }
    }

    fn check_certificate(
        &mut self,
        height: Height,
        hash: Option<Hash>,
        context: Option<&ConsensusContext>,
        certificate: &Certificate,
    ) -> Result<(), String> {
        let Subject::Finalize(proposal) = certificate.subject else {
            return Err("the certificate is not a finalization".into());
        };
        let epoch = self.audit.schedule.epoch_of(height);
        if proposal.epoch != epoch {
            return Err(format!("the certificate is of epoch {}, the height of epoch {epoch}", proposal.epoch));
        }
        if let Some(hash) = hash.filter(|hash| *hash != proposal.block) {
            return Err(format!("the certificate finalizes {}, the block is {hash}", proposal.block));
        }
        if context.is_some_and(|context| proposal.view < context.view) {
            return Err(format!("the certificate is of view {}, before the block's", proposal.view));
        }
        let Some(set) = self.validators(epoch) else { return Ok(()) };
        certificate.verify(&set.set, &self.audit.genesis.hash()).map_err(|error| error.to_string())
    }

    fn height_index(&mut self, height: Height, hash: Hash) {
        let place = format!("block {hash} of height {height}");
        match blocks::height_of(self.view, &hash) {
            Ok(Some(found)) if found == height => {}
            Ok(Some(found)) => {
                let reason = format!("the index leads to height {found}");
                self.report.damages.add(Table::Heights, Some(&hash.0), place, reason);
            }
            Ok(None) => self.report.damages.add(Table::Heights, Some(&hash.0), place, "the record is missing"),
            Err(error) => self.report.damages.add_error(Table::Heights, Some(&hash.0), place, &error),
        }
    }

    /// Compares the head record with the last block.
    fn finish(&mut self, head: &Top) {
        let Some(record) = &head.record else { return };
        self.report.head_hash = record.hash;
        let mut wrong = Vec::new();
        if self.parent.is_some_and(|last| last != record.hash) {
            wrong.push("the hash is not that of the highest block");
        }
        if let Ok(Some(header)) = blocks::header(self.view, head.height)
            && header.state_root != record.state_root
        {
            wrong.push("the state root is not that of its header");
        }
        if self.history != record.history && self.history.count() == u64::from(head.height.0) {
            wrong.push("the list of all hashes is not that of the blocks");
        }
        for reason in wrong {
            self.report.damages.add(Table::Meta, Some(blocks::META_HEAD), "head", reason);
        }
    }
}

/// The root of a list, not in the way in which blocks were hashed.
fn root_one_by_one(items: &[impl Encode]) -> Hash {
    let mut list = ListAccumulator::default();
    items.iter().for_each(|item| list.push(&item.encode()));
    list.root()
}
