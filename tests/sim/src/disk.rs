//! A disk that survives crashes as faithfully as the database port allows, and no better.
//!
//! A machine that loses power keeps every synced batch, and of the later ones a prefix that the caller draws. A process that
//! is killed keeps them all. Either way of the derived batches since the last flush a prefix is left. A crash can be armed for the k-th write from now on: then the write is lost, or done without
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

/// The file beside the key in which signed votes are written: entries of bytes. `None` while there is no file.
type VoteFile = Option<Vec<Vec<u8>>>;

#[derive(Debug, Default)]
struct State {
    votes: VoteFile,
    writes: u64,
    armed: Option<(u64, WriteFault)>,
    /// What ended the process that used the disk.
    ended_by: Option<WriteFault>,
}

impl WriteFault {
    /// Whether the write is done all the same.
    const fn is_done(self) -> bool {
        matches!(self, Self::PowerLossAfter | Self::KillAfter)
    }

    fn refuse<T>(self) -> Result<T, DatabaseError> {
        Err(DatabaseError::Engine { operation: "write", reason: format!("simulated: {self:?}") })
    }
}

impl State {
    /// Counts a write; the fault that befalls it, if one does.
    fn next_write(&mut self) -> Result<Option<WriteFault>, DatabaseError> {
        if let Some(fault) = self.ended_by {
            return fault.refuse();
        }
        self.writes += 1;
        let armed = self.armed.filter(|(at, _)| *at <= self.writes);
        if let Some((_, fault)) = armed {
            self.armed = None;
            self.ended_by = Some(fault);
        }
        Ok(armed.map(|(_, fault)| fault))
    }
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

    /// Hands the disk to a new process: of the derived batches that were not flushed some are gone, how many is drawn
    /// from the number of writes so far.
    pub fn reopen(&self) {
        let mut state = self.state();
        state.armed = None;
        state.ended_by = None;
        let survivors = u64::try_from(self.contents.unflushed_count()).map_or(0, |count| state.writes % (count + 1));
        self.contents.lose_unflushed(usize::try_from(survivors).unwrap_or_default());
    }

    /// The entries of the vote record; `None` if there is none.
    #[must_use]
    pub fn votes(&self) -> Option<Vec<Vec<u8>>> {
        self.state().votes.clone()
    }

    /// Makes an empty vote record, as for a key that never signed anything.
    pub fn make_vote_record(&self) {
        self.state().votes = Some(Vec::new());
    }

    /// Loses the vote record.
    pub fn lose_vote_record(&self) {
        self.state().votes = None;
    }

    /// Appends entries to the vote record and syncs it, or replaces all of it. A crash tears an append: its first half
    /// survives. It leaves the old record in place of one that was to be replaced.
    ///
    /// # Errors
    /// The fault that was armed, or one that ended the process before.
    pub fn write_votes(&self, entries: Vec<Vec<u8>>, is_whole: bool) -> Result<(), DatabaseError> {
        let mut state = self.state();
        let fault = state.next_write()?;
        let (mut entries, is_done) = (entries, fault.is_none_or(WriteFault::is_done));
        if !is_done {
            entries.truncate(entries.len() / 2);
        }
        match &mut state.votes {
            Some(votes) if !is_whole => votes.extend(entries),
            votes if is_done => *votes = Some(entries),
            _ => {}
        }
        fault.map_or(Ok(()), WriteFault::refuse)
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
        let mut state = self.state();
        let fault = state.next_write()?;
        if fault.is_none_or(WriteFault::is_done) {
            self.contents.write(batch, durability)?;
        }
        fault.map_or(Ok(()), WriteFault::refuse)
    }

    fn flush(&self) -> Result<(), DatabaseError> {
        let mut state = self.state();
        let fault = state.next_write()?;
        if fault.is_none_or(WriteFault::is_done) {
            self.contents.flush()?;
        }
        fault.map_or(Ok(()), WriteFault::refuse)
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
    fn vote_record_is_torn_by_a_crash_and_whole_otherwise() {
        let disk = Disk::default();
        disk.make_vote_record();
        disk.write_votes(vec![vec![1]], false).unwrap();
        disk.arm(1, WriteFault::PowerLossBefore);
        assert!(disk.write_votes(vec![vec![2], vec![3]], false).is_err());
        assert!(disk.write_votes(vec![vec![4]], false).is_err());
        assert_eq!(disk.votes(), Some(vec![vec![1], vec![2]]));
        disk.reopen();
        disk.arm(1, WriteFault::KillBefore);
        assert!(disk.write_votes(vec![vec![9]], true).is_err());
        assert_eq!(disk.votes(), Some(vec![vec![1], vec![2]]));
        disk.reopen();
        disk.write_votes(vec![vec![9]], true).unwrap();
        assert_eq!(disk.votes(), Some(vec![vec![9]]));
        disk.lose_vote_record();
        assert_eq!(disk.votes(), None);
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
