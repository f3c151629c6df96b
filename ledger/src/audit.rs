//! A check of everything that the database of a stopped node holds, against the chain spec and against itself.
//!
//! ```text
//!   blocks ── header by header from a height on: hash, parent link, history root, epoch, validators; extrinsics, events
//!      │       and finalization against it; the indexes of the block and of its extrinsics
//!   indexes ─ nothing but what those blocks account for; validator sets, blocks not final, the consensus journal
//!   state ─── beside it, on a second thread: pages against their root and the head's header, keys against the pages; then
//!             a copy of the state in a scratch database, from which one block after the other is taken back, its root
//!             compared with every header's on the way, its nodes with those of the archive
//! ```
//! Nothing is executed and nothing is written but the scratch database. Damage does not end the check: it goes on with what
//! can still be known, and lists the first [`cairn_storage::damage::DAMAGES_LISTED_MAX`] places of each table.
//!
//! Memory: one block, [`SCAN_RECORDS`] records, the shape of the state's tree, four bytes for each block of an archive, and
//! what the scratch database keeps.

mod blocks;
mod history;
mod indexes;

use crate::genesis::Genesis;
use cairn_primitives::header::DigestItem;
use cairn_primitives::{Epoch, EpochSchedule, Hash, Height, ValidatorSet};
use cairn_storage::blocks as tables;
use cairn_storage::state::audit::{self as state, StateFacts};
use cairn_storage::{Damages, Database, DatabaseView, Direction, KeyRange, Table};
use std::sync::Arc;

/// Records read at once from tables of small records.
const SCAN_RECORDS: usize = 1_024;

/// What a check works with.
pub struct Audit {
    /// The database, of which nobody else writes.
    pub database: Arc<dyn Database>,
    /// An empty database for a copy of the state; its contents mean nothing afterwards.
    pub scratch: Arc<dyn Database>,
    /// The chain that it must hold.
    pub genesis: Genesis,
    /// Which heights belong to which epoch.
    pub schedule: EpochSchedule,
    /// The first block to check. The blocks below are taken for granted, as far as the checked ones do not name them.
    pub from: Height,
    /// How many damages of each table are listed.
    pub listed_max: usize,
}

/// What a check is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Blocks, by height.
    Blocks,
    /// Indexes, by record.
    Indexes,
    /// Pages of the state, by leaf.
    State,
    /// Past states, by height.
    History,
}

/// Told how far a phase is: done, and the total where it is known.
pub type OnProgress<'a> = dyn Fn(Phase, u64, Option<u64>) + Sync + 'a;

/// Judges a record of the consensus journal, whose form this crate does not know: epoch of its key, that epoch's
/// validators if they are known, record.
pub type JudgeRecord<'a> = dyn Fn(Epoch, Option<&ValidatorSet>, &[u8]) -> Result<(), String> + 'a;

/// What a check looked at, and what it found.
#[derive(Clone, Debug, Default)]
pub struct AuditReport {
    /// The head's height.
    pub head: Height,
    /// The head's hash, as the database names it.
    pub head_hash: Hash,
    /// The first block that was checked.
    pub from: Height,
    /// Blocks.
    pub blocks: u64,
    /// Their extrinsics.
    pub extrinsics: u64,
    /// Blocks with a finalization of their own.
    pub finalizations: u64,
    /// Epochs whose validators were compared with the headers that name them.
    pub epochs: u64,
    /// Leaves of the head's state.
    pub leaves: u64,
    /// Heights whose state was built again.
    pub states: u64,
    /// The lowest of them.
    pub lowest_state: Height,
    /// What is wrong.
    pub damages: Damages,
}

impl Audit {
    /// Checks everything.
    #[must_use]
    pub fn run(&self, judge: &JudgeRecord<'_>, progress: &OnProgress<'_>) -> AuditReport {
        let view: &dyn DatabaseView = &*self.database;
        let mut damages = Damages::new(self.listed_max);
        self.check_identity(view, &mut damages);
        Self::check_names(view, &mut damages);
        let head = head_or_highest(view, &mut damages);
        let facts = self.state_facts(view, head.height, &mut damages);
        let mut report = std::thread::scope(|scope| {
            // What a thread cannot give back is what a panic took: it goes on as one.
            let states = scope.spawn(|| history::check(self, facts.as_ref(), progress));
            let mut report = blocks::check(self, &head, damages, progress);
            indexes::check(self, &head, &mut report, judge, progress);
            match states.join() {
                Ok(states) => {
                    report.damages.merge(states.damages);
                    (report.leaves, report.states) = (states.leaves, states.heights);
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
            report
        });
        let states = u32::try_from(report.states).unwrap_or(u32::MAX);
        report.lowest_state = Height(head.height.0.saturating_sub(states));
        report
    }

    fn check_identity(&self, view: &dyn DatabaseView, damages: &mut Damages) {
        let key = tables::META_CHAIN;
        match tables::chain_identity(view) {
            Ok(Some(identity)) if identity.genesis_hash == self.genesis.hash() => {
                let named = DigestItem::Other(identity.spec_hash.0.to_vec());
                if !self.genesis.block().header.digest.contains(&named) {
                    let reason = format!("spec hash {}, which is not in the genesis block", identity.spec_hash);
                    damages.add(Table::Meta, Some(key), "chain", reason);
                }
            }
            Ok(Some(identity)) => {
                let reason = format!("genesis {}, the chain spec has {}", identity.genesis_hash, self.genesis.hash());
                damages.add(Table::Meta, Some(key), "chain", reason);
            }
            Ok(None) => damages.add(Table::Meta, Some(key), "chain", "the record is missing"),
            Err(error) => damages.add_error(Table::Meta, Some(key), "chain", &error),
        }
    }

    /// Checks that no record has a name that nobody reads.
    fn check_names(view: &dyn DatabaseView, damages: &mut Damages) {
        let known = |key: &[u8]| tables::META_NAMES.contains(&key) || state::META_NAMES.contains(&key);
        match view.scan(Table::Meta, &KeyRange::all(), Direction::Forward, SCAN_RECORDS) {
            Ok(records) => {
                for (key, _) in records.into_iter().filter(|(key, _)| !known(key)) {
                    damages.add_key(Table::Meta, &key, "no record has this name");
                }
            }
            Err(error) => damages.add_error(Table::Meta, None, "all records", &error),
        }
    }

    /// Whether there is a record that only an archive has. Where it cannot be read, the check of the table says so.
    fn has_archive(view: &dyn DatabaseView) -> bool {
        let first = |table| view.scan(table, &KeyRange::all(), Direction::Forward, 1);
        [Table::StateHistory, Table::StateNodes]
            .into_iter()
            .any(|table| first(table).is_ok_and(|records| !records.is_empty()))
    }

    fn state_facts(&self, view: &dyn DatabaseView, head: Height, damages: &mut Damages) -> Option<StateFacts> {
        let mut facts = match state::facts(view) {
            Ok(Some(facts)) => facts,
            Ok(None) => {
                damages.add(Table::Meta, None, "state", "the record is missing");
                return None;
            }
            Err(error) => {
                damages.add_error(Table::Meta, None, "state", &error);
                return None;
            }
        };
        if facts.archive.is_none() && Self::has_archive(view) {
            damages.add(Table::Meta, None, "archive", "the record is missing, and there are records of an archive");
        }
        if facts.height != head {
            let reason = format!("it is of height {}, the head is {head}", facts.height);
            damages.add(Table::Meta, None, "state", reason);
            facts.height = facts.height.min(head);
        }
        if let Ok(Some(header)) = tables::header(view, facts.height)
            && header.state_root != facts.root
        {
            let reason =
                format!("root {}, the header of height {} names {}", facts.root, facts.height, header.state_root);
            damages.add(Table::Meta, None, "state", reason);
        }
        let archive_fits =
            facts.archive.is_none_or(|(from, last)| from <= facts.lowest && from <= last && last <= facts.height);
        if facts.lowest > facts.height || facts.next > facts.height.next() && facts.undo.is_none() || !archive_fits {
            let reason = format!(
                "lowest height {}, pages up to below {}, archive {:?}, head {}: these do not fit together",
                facts.lowest, facts.next, facts.archive, facts.height
            );
            damages.add(Table::Meta, None, "state", reason);
            return None;
        }
        Some(facts)
    }
}

/// The head, as far as it can be known.
struct Top {
    height: Height,
    /// The record, if it is whole.
    record: Option<tables::Head>,
}

/// The head as recorded, but not above the highest block there is: a damaged record must not make the check endless.
fn head_or_highest(view: &dyn DatabaseView, damages: &mut Damages) -> Top {
    let highest =
        [Table::Headers, Table::Hashes, Table::Bodies].into_iter().filter_map(|table| highest(view, table)).max();
    let highest = highest.unwrap_or(Height::ZERO);
    match tables::head(view) {
        Ok(Some(record)) if record.height <= highest => return Top { height: record.height, record: Some(record) },
        Ok(Some(record)) => {
            let reason = format!("it is at height {}, the highest block at {highest}", record.height);
            damages.add(Table::Meta, Some(tables::META_HEAD), "head", reason);
        }
        Ok(None) => damages.add(Table::Meta, Some(tables::META_HEAD), "head", "the record is missing"),
        Err(error) => damages.add_error(Table::Meta, Some(tables::META_HEAD), "head", &error),
    }
    Top { height: highest, record: None }
}

fn highest(view: &dyn DatabaseView, table: Table) -> Option<Height> {
    let last = view.scan(table, &KeyRange::all(), Direction::Backward, 1).ok()?;
    <[u8; 4]>::try_from(last.into_iter().next()?.0).ok().map(|key| Height(u32::from_be_bytes(key)))
}
