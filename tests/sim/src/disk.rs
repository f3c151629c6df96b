//! A disk that survives crashes as faithfully as the database port allows, and no better.
//!
//! A machine that loses power keeps every synced batch, and of the later ones a prefix that the caller draws. A process that
//! is killed keeps them all. A crash can be armed for the k-th write from now on: then the write is lost, or done without
//! anybody being told. A full disk refuses a write and, by the rules of the port, must never be written to again by the
//! same process.

use cairn_storage::{
    Database, DatabaseError, DatabaseView, Direction, Durability, KeyRange, MemoryDatabase, Record, Table, WriteBatch,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What goes wrong at a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFault {
    /// The machine loses power before the write is on disk.
    PowerLossBefore,
    /// The machine loses power after the write, before the process hears of it.
    PowerLossAfter,
    /// The process is killed before the write.
    KillBefore,
    /// The process is killed after the write, before it hears of it.
    KillAfter,
    /// There is no room.
    Full,
}

#[derive(Debug, Default)]
struct State {
    writes: u64,
    armed: Option<(u64, WriteFault)>,
    /// What ended the process that used the disk.
    ended_by: Option<WriteFault>,
}

/// The disk of one machine; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    contents: MemoryDatabase,
    state: Arc<Mutex<State>>,
}

impl Disk {
    /// Arms a fault for the `after`-th write from now on, the next one being the first.
    pub fn arm(&self, after: u64, fault: WriteFault) {
        let mut state = self.state();
        state.armed = Some((state.writes + after.max(1), fault));
    }

    /// Takes an armed fault back.
    pub fn disarm(&self) {
        self.state().armed = None;
    }

    /// What ended the process that used the disk, if the disk did.
    #[must_use]
    pub fn ended_by(&self) -> Option<WriteFault> {
        self.state().ended_by
    }

    /// How many batches a loss of power could lose now.
    #[must_use]
    pub fn unsynced_count(&self) -> usize {
        self.contents.unsynced_count()
    }

    /// Loses power: of the batches that were not synced the first `kept` survive.
    pub fn lose_power(&self, kept: usize) {
        self.contents.lose_unsynced(kept);
    }

    /// Hands the disk to a new process.
    pub fn reopen(&self) {
        let mut state = self.state();
        state.armed = None;
        state.ended_by = None;
    }

    /// How many batches were written so far.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DatabaseView for Disk {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, DatabaseError> {
        self.contents.get(table, key)
    }

    fn multi_get(&self, table: Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, DatabaseError> {
        self.contents.multi_get(table, keys)
    }

    fn scan(
        &self,
        table: Table,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Record>, DatabaseError> {
        self.contents.scan(table, range, direction, limit)
    }
}

impl Database for Disk {
    fn write(&self, batch: WriteBatch, durability: Durability) -> Result<(), DatabaseError> {
        let refuse = |fault: WriteFault| {
            Err(DatabaseError::Engine { operation: "write", reason: format!("simulated: {fault:?}") })
        };
        let mut state = self.state();
        if let Some(fault) = state.ended_by {
            return refuse(fault);
        }
        state.writes += 1;
        let Some((_, fault)) = state.armed.filter(|(at, _)| *at <= state.writes) else {
            return self.contents.write(batch, durability);
        };
        state.armed = None;
        state.ended_by = Some(fault);
        if matches!(fault, WriteFault::PowerLossAfter | WriteFault::KillAfter) {
            self.contents.write(batch, durability)?;
        }
        refuse(fault)
    }

    fn snapshot(&self) -> Box<dyn DatabaseView + '_> {
        self.contents.snapshot()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(disk: &Disk, key: u8, durability: Durability) -> Result<(), DatabaseError> {
        let mut batch = WriteBatch::new();
        batch.put(Table::Meta, [key], [key]);
        disk.write(batch, durability)
    }

    fn has(disk: &Disk, key: u8) -> bool {
        disk.get(Table::Meta, &[key]).unwrap().is_some()
    }

    #[test]
    fn armed_write_is_lost_or_done_and_nothing_is_written_after_it() {
        for (fault, is_done) in [
            (WriteFault::PowerLossBefore, false),
            (WriteFault::PowerLossAfter, true),
            (WriteFault::KillBefore, false),
            (WriteFault::KillAfter, true),
            (WriteFault::Full, false),
        ] {
            let disk = Disk::default();
            disk.arm(2, fault);
            assert!(put(&disk, 1, Durability::Synced).is_ok());
            assert!(put(&disk, 2, Durability::Synced).is_err());
            assert!(put(&disk, 3, Durability::Synced).is_err());
            assert_eq!((disk.ended_by(), has(&disk, 2), has(&disk, 3)), (Some(fault), is_done, false));
            disk.reopen();
            assert!(put(&disk, 4, Durability::Synced).is_ok());
            assert!(has(&disk, 1) && has(&disk, 4));
        }
    }

    #[test]
    fn power_loss_keeps_what_was_synced_and_a_prefix_of_the_rest() {
        let disk = Disk::default();
        put(&disk, 1, Durability::Synced).unwrap();
        for key in 2..=4 {
            put(&disk, key, Durability::Unsynced).unwrap();
        }
        assert_eq!(disk.unsynced_count(), 3);
        disk.lose_power(1);
        assert_eq!([1, 2, 3, 4].map(|key| has(&disk, key)), [true, true, false, false]);
    }
}
