//! From final blocks to committed ones: all or none of a step is checked before the first one is written.
//!
//! Consensus and block sync may bring the same blocks in any interleaving: what is committed already is skipped. A final
//! block that contradicts what is committed, or breaks a rule, is [`LedgerError::FinalizedInvalid`]: nothing is written.
//!
//! The last block of an epoch is the last of any step, with its own finalization: what follows stands on the set that its
//! commit fixes.

use super::{CommittedBlock, Ledger, appended, read_head};
use crate::check::Verdict;
use crate::epoch::OpenedEpoch;
use crate::error::LedgerError;
use crate::prepare::PreparedBlock;
use crate::reader::Published;
use cairn_primitives::{Certificate, FinalizedBlock, Hash, Height};
use cairn_runtime::Transaction;
use cairn_storage::{Durability, WriteBatch, blocks};

impl Ledger {
    /// Commits the finalized block that `finalization` is about, the last of `hashes`, with all its ancestors above the
    /// head. One batch a block, the last one synced, then the read model moves.
    ///
    /// # Errors
    /// [`LedgerError::UnknownBlock`] if one of the blocks is not here: nothing was done, ask again later. A block
    /// contradicts the committed chain or does not hold; state or database fail.
    pub fn commit(&mut self, hashes: &[Hash], finalization: &Certificate) -> Result<Vec<CommittedBlock>, LedgerError> {
        let Some(last) = hashes.last() else { return Ok(Vec::new()) };
        let mut path = Vec::new();
        if !self.is_committed(last)? {
            self.recall(*last)?;
            path = self.path_from_head(*last)?;
        }
        for hash in &path {
            self.check_holds(*hash)?;
        }
        self.commit_all(path.into_iter().map(|hash| (hash, (hash == *last).then(|| finalization.clone()))).collect())
    }

    /// Checks, executes and commits blocks that block sync verified to be final, lowest first; those at or below the head
    /// are skipped. The last one is synced. They end at the end of an epoch at the latest; what is under rules that this binary
    /// does not have is left out.
    ///
    /// # Errors
    /// A block is not on top of the chain or stands on an epoch's last block that is not committed yet, contradicts the
    /// chain or breaks a rule here; an epoch's last block lacks a finalization; or state or database fail. Nothing was
    /// committed.
    pub fn import(&mut self, finalized: &[FinalizedBlock]) -> Result<Vec<CommittedBlock>, LedgerError> {
        self.import_prepared(finalized.iter().cloned().map(PreparedBlock::new).collect())
    }

    /// As [`Self::import`], for blocks that were prepared while those before them were under way.
    ///
    /// # Errors
    /// As [`Self::import`].
    pub fn import_prepared(&mut self, blocks: Vec<PreparedBlock>) -> Result<Vec<CommittedBlock>, LedgerError> {
        let mut path = Vec::with_capacity(blocks.len());
        for PreparedBlock { block, hash, finalization, transactions } in blocks {
            let height = block.header.height();
            if height <= self.head.height {
                self.check_same(hash, height)?;
                continue;
            }
            if self.schedule.is_closing(height) && finalization.is_none() {
                return Err(LedgerError::UnprovedHandover { hash, height });
            }
            if self.rules.at(height).is_err() {
                // Those before it are committed; whoever runs the node sees that there is no more for this binary.
                break;
            }
            let parent = block.header.parent_hash;
            match self.verify_decoded(hash, &block, transactions)? {
                Verdict::Valid => self.check_holds(hash)?,
                Verdict::Invalid(reason) => return Err(LedgerError::FinalizedInvalid { hash, height, reason }),
                Verdict::NotYet if height == self.head.height.next() => return Err(self.contradiction(hash, height)),
                Verdict::NotYet => return Err(LedgerError::UnknownBlock(parent)),
            }
            path.push((hash, finalization));
        }
        self.commit_all(path)
    }

    /// The blocks above the head up to and with a pending block, lowest first.
    fn path_from_head(&self, last: Hash) -> Result<Vec<Hash>, LedgerError> {
        let mut path = Vec::new();
        let mut at = last;
        while at != self.head.hash {
            let pending = self.pending.get(&at).ok_or(LedgerError::UnknownBlock(at))?;
            if pending.block.header.height() <= self.head.height {
                return Err(self.contradiction(at, pending.block.header.height()));
            }
            path.push(at);
            at = pending.block.header.parent_hash;
        }
        path.reverse();
        Ok(path)
    }

    /// Whether a final block executes to its roots.
    fn check_holds(&mut self, hash: Hash) -> Result<(), LedgerError> {
        if self.execute(&hash)? {
            return Ok(());
        }
        let height = self.pending.get(&hash).map_or(self.head.height, |pending| pending.block.header.height());
        let reason = "execution gives other roots or next validators than the header".to_owned();
        Err(LedgerError::FinalizedInvalid { hash, height, reason })
    }

    /// Whether a final block at or below the head is the one that was committed.
    fn check_same(&self, hash: Hash, height: Height) -> Result<(), LedgerError> {
        match blocks::hash_of(&*self.database, height)? {
            Some(committed) if committed != hash => Err(self.contradiction(hash, height)),
            Some(_) | None => Ok(()),
        }
    }

    fn contradiction(&self, hash: Hash, height: Height) -> LedgerError {
        let reason = format!("it contradicts the committed head {} at height {}", self.head.hash, self.head.height);
        LedgerError::FinalizedInvalid { hash, height, reason }
    }

    fn commit_all(&mut self, path: Vec<(Hash, Option<Certificate>)>) -> Result<Vec<CommittedBlock>, LedgerError> {
        let mut committed = Vec::with_capacity(path.len());
        let mut rest = path.into_iter().peekable();
        while let Some((hash, finalization)) = rest.next() {
            let durability = if rest.peek().is_none() { Durability::Synced } else { Durability::Unsynced };
            committed.push(self.commit_one(hash, finalization, durability)?);
        }
        if !committed.is_empty() {
            self.publish();
        }
        Ok(committed)
    }

    fn commit_one(
        &mut self,
        hash: Hash,
        finalization: Option<Certificate>,
        durability: Durability,
    ) -> Result<CommittedBlock, LedgerError> {
        let pending = self.pending.take(&hash).ok_or(LedgerError::UnknownBlock(hash))?;
        let height = pending.block.header.height();
        let execution = pending.execution.filter(|execution| execution.holds);
        let execution = execution.ok_or(LedgerError::UnknownBlock(hash))?;
        assert_eq!(pending.block.header.parent_hash, self.head.hash, "only a child of the head is ever committed");
        let opens = self.schedule.is_closing(height);
        assert!(!opens || finalization.is_some(), "an epoch is handed over with the finalization of its last block");
        let transactions: Vec<_> = pending.transactions.iter().map(Transaction::hash).collect();
        let mut batch = WriteBatch::new();
        blocks::put_block(&mut batch, &hash, &pending.block);
        if let Some(certificate) = &finalization {
            blocks::put_finalization(&mut batch, height, certificate);
        }
        blocks::put_events(&mut batch, height, execution.events);
        blocks::put_transactions(&mut batch, height, transactions.iter().copied());
        let state_root = execution.overlay.root();
        let history = appended(&self.head.history, &self.head.hash);
        let head = blocks::Head { height, hash, state_root, history };
        blocks::put_head(&mut batch, &head);
        let opens = opens.then(|| {
            let opening = read_head(&head, pending.context.timestamp);
            OpenedEpoch::after(self.schedule, opening, execution.next.set.clone())
        });
        if let Some(opened) = &opens {
            blocks::put_validator_set(&mut batch, opened.epoch, &opened.validators);
        }
        let staged = self.state.stage(&execution.overlay, height, &mut batch)?;
        self.pending.commit(hash);
        for useless in self.stored.commit(hash, height) {
            blocks::pending::delete(&mut batch, &useless);
        }
        self.database.write(batch, durability)?;
        self.state.apply(staged);
        self.signatures.forget(&pending.transactions);
        self.head = head;
        self.head_timestamp = pending.context.timestamp;
        if let Some(opened) = &opens {
            self.epoch = opened.clone();
            self.validators = execution.next.clone();
        }
        self.next = execution.next;
        self.state.relieve()?;
        Ok(CommittedBlock {
            height,
            hash,
            block: pending.block,
            transactions,
            changes: execution.overlay,
            finalization,
            opens,
        })
    }

    /// Moves the read model to the head.
    fn publish(&self) {
        let head = read_head(&self.head, self.head_timestamp);
        let (epoch, history) = (self.epoch.clone(), self.head.history.clone());
        self.reader.publish(Published { head, state: self.state.view(), epoch, history });
    }
}
