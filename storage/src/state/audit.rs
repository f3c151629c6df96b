//! Checking the state on disk record by record: what a damaged database can still be asked.
//!
//! Pages are checked one by one, and then, with the diffs above them, as a tree against the recorded root. The keys are compared
//! with the tree. From a copy of the head, the changes of one block after the other are taken back: every root on the way must
//! be that of a header, so that each record of the past is covered by a root that validators signed. The trees on the way say
//! what the archive must have of past nodes.

mod nodes;

use super::archive::PastTree;
use super::checkpoint::CheckpointLimits;
use super::diff::{self, Filter, KeyChange, first_bits};
use super::history;
use super::merge::{META_MERGE, Merged};
use super::open;
use super::shared::{Shared, Version};
use super::store::{HistoryMode, META_STATE, StateConfig, StateRecord, StateStore};
use super::tree::{Child, Slot};
use super::unsaved::{ArchiveMarker, META_ARCHIVE, META_CHECKPOINT, META_UNDO, read_checkpoint, read_undo};
use super::view::StateView;
use crate::batch::WriteBatch;
use crate::damage::{Damages, scan_table, shown_key};
use crate::database::{Database, DatabaseView, Direction, Durability, KeyRange};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::hash::sha256;
use cairn_primitives::{Hash, Height, StateChanges};
use nodes::PastNodes;
use std::sync::Arc;

/// Records read at once.
const CHUNK: usize = 1_024;
/// Leaves read at once where keys are missing, in bytes of keys and values.
const NAMED_CHUNK_BYTES: usize = 1 << 20;
/// How many of a block's changed keys are named where its root is wrong.
const KEYS_NAMED: usize = 3;

/// What the database says about the state it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateFacts {
    /// The height of the head of the state.
    pub height: Height,
    /// Its root.
    pub root: Hash,
    /// The lowest height whose values may be read.
    pub lowest: Height,
    /// Pages hold everything below this height; from it on there are diffs.
    pub next: Height,
    /// The lowest height that the archive tells, and the last block whose changes it holds.
    pub archive: Option<(Height, Height)>,
    /// The lowest height that blocks can be taken back to: the changes of those above it are kept.
    pub undoable: Height,
    /// Blocks up to this height are being taken back.
    pub undo: Option<Height>,
    /// Records of an archive up to this height are read by nobody: they are on their way here, or below where it begins.
    pub unread: Option<Height>,
}

/// The names of the state's records in [`Table::Meta`].
pub const META_NAMES: [&[u8]; 5] = [META_STATE, META_CHECKPOINT, META_ARCHIVE, META_UNDO, META_MERGE];

/// What the database says about its state; `None` before genesis.
///
/// # Errors
/// The database failed or a record is damaged.
pub fn facts(view: &dyn DatabaseView) -> Result<Option<StateFacts>, DatabaseError> {
    let Some(record) = StateRecord::read(view)? else { return Ok(None) };
    if view.get(Table::Meta, META_CHECKPOINT)?.is_none() {
        let reason = "the marker of the checkpoint".to_owned();
        return Err(DatabaseError::Missing { table: Table::Meta, reason });
    }
    let archive = ArchiveMarker::read(view)?.map(|marker| (marker.from, marker.height));
    let StateRecord { height, root, lowest } = record;
    let lowest_diff = diff::lowest(view)?.unwrap_or_else(|| height.next());
    let undoable = Height(lowest_diff.0.saturating_sub(1)).max(lowest);
    let (next, undo) = (read_checkpoint(view)?, read_undo(view)?);
    let unread = Merged::read(view)?.map(|merged| merged.to).max(archive.map(|(from, _)| from));
    Ok(Some(StateFacts { height, root, lowest, next, archive, undoable, undo, unread }))
}

/// Told the number of what was looked at.
pub type OnCount<'a> = dyn FnMut(u64) + 'a;

/// A check of the state, and what it needs.
pub struct StateAudit<'a> {
    /// The database, of which nobody else writes.
    pub database: &'a Arc<dyn Database>,
    /// What it says.
    pub facts: &'a StateFacts,
    /// The state root that the header of a height names, if it is known.
    pub root_of: &'a dyn Fn(Height) -> Option<Hash>,
}

impl StateAudit<'_> {
    /// Checks every page, all pages together against the recorded root, and the keys; returns how many leaves there are.
    pub fn check_head(&self, damages: &mut Damages, progress: &mut OnCount<'_>) -> u64 {
        let view: &dyn DatabaseView = &**self.database;
        let before = damages.count();
        let mut leaves = 0_u64;
        scan_table(view, Table::StatePages, KeyRange::all(), CHUNK, damages, &mut |key, record, damages| {
            match open::summarize(key, &record) {
                Ok(page) => leaves = leaves.saturating_add(u64::from(page.leaves)),
                Err(error) => damages.add_error(Table::StatePages, Some(key), shown_key(key), &error),
            }
            progress(leaves);
        });
        if damages.count() > before {
            return leaves;
        }
        match self.open_head() {
            Ok(store) => self.check_keys(&store, damages),
            Err(error) => {
                let place = format!("state of height {}", self.facts.height);
                damages.add(Table::StatePages, None, place, format!("{error}; a page is missing or stale"));
                leaves
            }
        }
    }

    /// The head as it stands, opened in a way that writes nothing.
    fn open_head(&self) -> Result<StateStore, super::StateError> {
        let history = match self.facts.archive {
            Some((_, height)) if height >= self.facts.lowest => HistoryMode::Archive,
            _ => HistoryMode::Window(u32::MAX),
        };
        let unsaved = CheckpointLimits { bytes: usize::MAX, archive_bytes: usize::MAX, ..CheckpointLimits::default() };
        StateStore::open_untouched(
            Arc::clone(self.database),
            StateConfig { history, unsaved, ..StateConfig::default() },
        )
    }

    /// Checks that the keys are those of the tree; returns how many that are.
    fn check_keys(&self, store: &StateStore, damages: &mut Damages) -> u64 {
        let view: &dyn DatabaseView = &**self.database;
        let head = store.view();
        let mut found = 0_u64;
        scan_table(view, Table::StateKeys, KeyRange::all(), CHUNK, damages, &mut |key, record, damages| match head
            .get(key)
        {
            Ok(Some(value)) => {
                found = found.saturating_add(1);
                let is_long = value.len() > super::INLINE_VALUE_MAX;
                if record != if is_long { value } else { Vec::new() } {
                    damages.add_key(Table::StateKeys, key, "the value is not what the page says of it");
                }
            }
            Ok(None) => damages.add_key(Table::StateKeys, key, "the state has no such key"),
            Err(error) => damages.add(Table::StateKeys, Some(key), shown_key(key), error.to_string()),
        });
        let leaves = leaves_below(store.shared.forest().head());
        if found < leaves
            && let Err(error) = name_missing_keys(view, &head, damages)
        {
            let place = format!("state of height {}", self.facts.height);
            damages.add(Table::StateKeys, None, place, format!("keys are missing; which ones cannot be read: {error}"));
        }
        leaves
    }

    /// Takes the changes of one block after the other back, in a copy of the state that it makes in an empty database, and
    /// compares every root; returns how many states it saw.
    pub fn check_past(&self, scratch: &Arc<dyn Database>, damages: &mut Damages, progress: &mut OnCount<'_>) -> u64 {
        let view: &dyn DatabaseView = &**self.database;
        self.check_heights(damages);
        let opened = self.sort_archive(scratch, damages).and_then(|()| self.open_head());
        let copied = opened.and_then(|original| Copy::of(&original, scratch));
        let mut copy = match copied {
            Ok(copied) => copied,
            Err(error) => {
                let place = format!("state of height {}", self.facts.height);
                damages.add(Table::StatePages, None, place, format!("{error}; the past is not checked"));
                return 0;
            }
        };
        if copy.root() != self.facts.root {
            let place = format!("state of height {}", self.facts.height);
            damages.add(
                Table::StateKeys,
                None,
                place,
                "the keys do not lead to the whole state; the past is not checked",
            );
            return 0;
        }
        let lowest_diff = diff::lowest(view).ok().flatten().unwrap_or_else(|| self.facts.height.next());
        let heights = self.facts.archive.unwrap_or_default();
        let nodes = PastNodes::scan(view, heights, self.facts.unread, damages);
        let mut past = Past { audit: self, scratch, nodes, states: 0 };
        for height in (self.lowest_change(lowest_diff).0..=self.facts.height.0).rev().map(Height) {
            if !past.step(&mut copy, height, height >= lowest_diff, damages) {
                return past.states;
            }
            progress(past.states);
        }
        past.states
    }

    /// The lowest block whose changes are known.
    fn lowest_change(&self, lowest_diff: Height) -> Height {
        // No block is before genesis, whose changes are the whole state.
        let archived = self.facts.archive.map_or(lowest_diff, |(from, _)| from.next().min(lowest_diff));
        archived.max(Height(1))
    }

    /// Checks that the diffs are those of the heights that need one.
    fn check_heights(&self, damages: &mut Damages) {
        let view: &dyn DatabaseView = &**self.database;
        let facts = self.facts;
        let needed = facts.archive.map_or(facts.lowest, |(_, height)| height.max(facts.lowest)).next().min(facts.next);
        let top = facts.undo.map_or(facts.height, |undo| undo.max(facts.height));
        let mut next: Option<Height> = None;
        scan_table(view, Table::StateDiffs, KeyRange::all(), CHUNK, damages, &mut |key, _, damages| {
            let Some(height) = key.first_chunk().map(|height| Height(u32::from_be_bytes(*height))) else {
                return damages.add_key(Table::StateDiffs, key, "it is of no height");
            };
            let (expected, is_head) = (next.unwrap_or(height.min(needed)), key.len() == size_of::<u32>());
            if height > top {
                return damages.add_key(Table::StateDiffs, key, format!("it is of height {height}, the head is {top}"));
            }
            if is_head && height != expected {
                let reason = format!("the record is missing, the next is of height {height}");
                damages.add(Table::StateDiffs, Some(&expected.0.to_be_bytes()), format!("height {expected}"), reason);
            } else if !is_head && height.next() != expected {
                damages.add_key(Table::StateDiffs, key, format!("a part of height {height} without its beginning"));
            }
            next = Some(height.next());
        });
        let next = next.unwrap_or(needed);
        if next <= top {
            let reason = format!("the record is missing, and all up to height {top}");
            damages.add(Table::StateDiffs, Some(&next.0.to_be_bytes()), format!("height {next}"), reason);
        }
    }

    /// Puts the values of the archive into the scratch database in the order of heights.
    fn sort_archive(&self, scratch: &Arc<dyn Database>, damages: &mut Damages) -> Result<(), super::StateError> {
        let view: &dyn DatabaseView = &**self.database;
        let holds = |height: Height| self.facts.archive.is_some_and(|(from, last)| from < height && height <= last);
        let mut batch = WriteBatch::new();
        let mut failed = None;
        scan_table(view, Table::StateHistory, KeyRange::all(), CHUNK, damages, &mut |record, value, damages| {
            match history::parse_key(record) {
                Ok((key, height)) if holds(height) => {
                    batch.put(Table::StateHistory, [&height.0.to_be_bytes()[..], &key].concat(), value);
                }
                Ok((_, height)) if Some(height) <= self.facts.unread => {}
                Ok((_, height)) => {
                    damages.add_key(Table::StateHistory, record, format!("the archive holds no block {height}"));
                }
                Err(error) => damages.add_error(Table::StateHistory, Some(record), shown_key(record), &error),
            }
            if batch.len() >= CHUNK {
                let full = std::mem::take(&mut batch);
                failed = scratch.write(full, Durability::Unsynced).err().or_else(|| failed.take());
            }
        });
        scratch.write(batch, Durability::Unsynced)?;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Names the leaves of the head that have no record among the keys.
fn name_missing_keys(
    view: &dyn DatabaseView,
    head: &StateView,
    damages: &mut Damages,
) -> Result<(), super::StateError> {
    let mut from = Some(Hash::ZERO);
    while let Some(start) = from {
        let (range, chunk) = head.chunk(start, NAMED_CHUNK_BYTES)?;
        for leaf in chunk.leaves {
            if view.get(Table::StateKeys, &leaf.key)?.is_none() {
                damages.add_key(Table::StateKeys, &leaf.key, "the record is missing");
            }
        }
        from = range.to;
    }
    Ok(())
}

/// Checks what the archive has of the nodes that a block replaced: the head of `copy` is the state before it, `after` that after
/// it.
fn check_nodes(
    nodes: &PastNodes<'_>,
    copy: &Shared,
    height: Height,
    after: &Version,
    changed: &[Hash],
    damages: &mut Damages,
) -> Result<(), super::StateError> {
    let before = Arc::clone(&copy.current().head);
    let forest = copy.forest();
    let (before, after) = (forest.version(&before)?, forest.version(after)?);
    nodes.check(height, PastTree { cache: &copy.cache, tree: &before.tree() }, &after.tree(), changed, damages)
}

/// How many leaves a tree has.
fn leaves_below(slot: &Slot) -> u64 {
    match &slot.child {
        Child::Empty => 0,
        Child::Bucket(leaves, _) => u64::from(*leaves),
        Child::Node(node, _) => node.slots.iter().map(leaves_below).fold(0, u64::saturating_add),
    }
}

/// A copy of the state, whose blocks are those of the chain taken back.
struct Copy {
    store: StateStore,
    database: Arc<dyn Database>,
}

impl Copy {
    fn of(original: &StateStore, scratch: &Arc<dyn Database>) -> Result<Self, super::StateError> {
        let config = StateConfig { history: HistoryMode::Window(1), ..StateConfig::default() };
        let store = StateStore::open(Arc::clone(scratch), config)?;
        let mut copy = Self { store, database: Arc::clone(scratch) };
        let head = original.view();
        let mut range = KeyRange::all();
        loop {
            let keys = original.shared.database.scan(Table::StateKeys, &range, Direction::Forward, CHUNK)?;
            let Some((last, _)) = keys.last() else { break };
            range.start.clone_from(last);
            range.start.push(0);
            let mut changes = Vec::with_capacity(keys.len());
            for (key, _) in keys {
                let value = head.get(&key)?;
                changes.push((key, value));
            }
            copy.apply(changes.into_iter().collect())?;
        }
        Ok(copy)
    }

    fn root(&self) -> Hash {
        self.store.shared.current().head.root
    }

    fn apply(&mut self, changes: StateChanges) -> Result<(), super::StateError> {
        let overlay = self.store.overlay(None, changes)?;
        let height = self.store.head().map_or(Height::ZERO, |head| head.height.next());
        let mut batch = WriteBatch::new();
        let staged = self.store.stage(&overlay, height, &mut batch)?;
        self.database.write(batch, Durability::Unsynced)?;
        self.store.apply(staged);
        self.store.relieve()
    }
}

/// The walk from the head down.
struct Past<'a> {
    audit: &'a StateAudit<'a>,
    scratch: &'a Arc<dyn Database>,
    nodes: PastNodes<'a>,
    states: u64,
}

impl Past<'_> {
    /// Takes one block back; false if the walk cannot go on.
    fn step(&mut self, copy: &mut Copy, height: Height, has_diff: bool, damages: &mut Damages) -> bool {
        let view: &dyn DatabaseView = &**self.audit.database;
        let key = height.0.to_be_bytes();
        let is_archived = self.audit.facts.archive.is_some_and(|(from, last)| from < height && height <= last);
        let archived = if is_archived { self.archived(height) } else { Ok(None) };
        let archived = match archived {
            Ok(archived) => archived,
            Err(error) => {
                damages.add_error(Table::StateHistory, None, format!("height {height}"), &error);
                return false;
            }
        };
        let changes = if has_diff {
            match diff::read(view, height) {
                Ok(changes) => {
                    check_diff(view, copy, height, &changes, damages);
                    let replaced: StateChanges = changes.into_iter().map(|change| (change.key, change.old)).collect();
                    if archived.is_some_and(|archived| archived != replaced) {
                        let reason = "it is not what the diff says of the block";
                        damages.add(Table::StateHistory, None, format!("height {height}"), reason);
                    }
                    replaced
                }
                Err(error) => {
                    damages.add_error(Table::StateDiffs, Some(&key), format!("height {height}"), &error);
                    return false;
                }
            }
        } else {
            archived.unwrap_or_default()
        };
        self.take_back(copy, height, changes, is_archived, has_diff, damages)
    }

    fn take_back(
        &mut self,
        copy: &mut Copy,
        height: Height,
        changes: StateChanges,
        is_archived: bool,
        has_diff: bool,
        damages: &mut Damages,
    ) -> bool {
        let table = if has_diff { Table::StateDiffs } else { Table::StateHistory };
        let place = format!("height {height}");
        let named: Vec<_> = changes.keys().take(KEYS_NAMED).map(shown_key).collect();
        let mut changed: Vec<_> = changes.keys().map(sha256).collect();
        changed.sort_unstable();
        let after = Arc::clone(&copy.store.shared.current().head);
        if let Err(error) = copy.apply(changes) {
            damages.add(table, None, place, error.to_string());
            return false;
        }
        self.states = self.states.saturating_add(1);
        let (root, below) = (copy.root(), Height(height.0.saturating_sub(1)));
        if let Some(expected) = (self.audit.root_of)(below).filter(|expected| *expected != root) {
            let reason = format!(
                "with the changes of {} taken back the root is {}, the header of height {below} names {expected}",
                named.join(", "),
                root
            );
            damages.add(table, Some(&height.0.to_be_bytes()), place, reason);
            return false;
        }
        if is_archived
            && let Err(error) = check_nodes(&self.nodes, &copy.store.shared, height, &after, &changed, damages)
        {
            damages.add(Table::StateNodes, None, format!("height {below}"), error.to_string());
        }
        true
    }

    /// What the archive says that a block replaced.
    fn archived(&self, height: Height) -> Result<Option<StateChanges>, DatabaseError> {
        let range = KeyRange::prefix(&height.0.to_be_bytes());
        let records = self.scratch.scan(Table::StateHistory, &range, Direction::Forward, usize::MAX)?;
        let change = |(key, value): (Vec<u8>, Vec<u8>)| {
            (key.get(size_of::<u32>()..).unwrap_or_default().to_vec(), Some(value).filter(|value| !value.is_empty()))
        };
        Ok(Some(records.into_iter().map(change).collect()))
    }
}

/// Checks what a diff says of the state after its block, and its filter.
fn check_diff(view: &dyn DatabaseView, copy: &Copy, height: Height, changes: &[KeyChange], damages: &mut Damages) {
    let key = height.0.to_be_bytes();
    let after = copy.store.view();
    for change in changes {
        if !after.get(&change.key).is_ok_and(|value| value == change.new) {
            let place = format!("height {height}, {}", shown_key(&change.key));
            damages.add(
                Table::StateDiffs,
                Some(&key),
                place,
                "the new value is not what the state had after the block",
            );
        }
    }
    let bits: Vec<_> = changes.iter().map(|change| first_bits(&sha256(&change.key))).collect();
    match diff::filter(view, height) {
        Ok(filter) if filter == Filter::new(bits.into_iter()) => {}
        Ok(_) => damages.add(Table::StateDiffs, Some(&key), format!("height {height}"), "the filter is of other keys"),
        Err(error) => damages.add_error(Table::StateDiffs, Some(&key), format!("height {height}"), &error),
    }
}
