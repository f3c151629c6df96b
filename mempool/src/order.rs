//! The order in which transactions go into blocks, and the selection for one block.
//!
//! At each step the best *next* transaction of any sender is taken: the highest tip, then the first come. So a sender's
//! nonces stay in order, and one with a cheap first transaction does not hide others with better ones.

use crate::pool::Pool;
use crate::queue::{HeadKey, Queue};
use crate::transaction::PoolTransaction;
use cairn_primitives::{AccountId32, Height};
use std::cmp::Reverse;
use std::collections::btree_map::Iter;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::iter::Peekable;

/// After this many transactions that do not fit, a block counts as full: bounds the search for small ones.
const MISFITS_MAX: u32 = 64;

/// The nonces used by blocks that are not final yet and on which a new block is to be built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ancestors {
    next: BTreeMap<AccountId32, u64>,
}

impl Ancestors {
    /// Notes a transaction of an ancestor: the sender goes on with the nonce after it.
    pub fn add(&mut self, sender: AccountId32, nonce: u64) {
        let next = self.next.entry(sender).or_default();
        *next = nonce.saturating_add(1).max(*next);
    }

    /// The sender's next nonce, where an ancestor has a transaction of it.
    #[must_use]
    pub fn next_nonce(&self, sender: &AccountId32) -> Option<u64> {
        self.next.get(sender).copied()
    }
}

/// What a block has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The height of the block to be built: transactions that are not valid at it stay out.
    pub height: Height,
    /// Bytes of all transactions.
    pub bytes_max: usize,
    /// Weight of all transactions.
    pub weight_max: u64,
    /// How many.
    pub count_max: usize,
}

impl<T: Clone> Pool<T> {
    /// The transactions for a block on top of `ancestors`, in the order of execution.
    ///
    /// A transaction that does not fit keeps its sender's later ones out; those of other senders are still looked at.
    #[must_use]
    pub fn select(&self, selection: &Selection, ancestors: &Ancestors) -> Vec<T> {
        let mut chosen = Vec::new();
        let (mut bytes, mut weight, mut misfits) = (0usize, 0u64, 0u32);
        let mut pending = self.pending_after(ancestors);
        while chosen.len() < selection.count_max && misfits < MISFITS_MAX {
            let Some(transaction) = pending.next() else { break };
            let bytes_with = bytes.saturating_add(transaction.bytes_len);
            let weight_with = weight.saturating_add(transaction.weight);
            if transaction.valid_until < selection.height {
                pending.skip_sender();
            } else if bytes_with > selection.bytes_max || weight_with > selection.weight_max {
                pending.skip_sender();
                misfits = misfits.saturating_add(1);
            } else {
                chosen.push(transaction.payload.clone());
                (bytes, weight) = (bytes_with, weight_with);
            }
        }
        chosen
    }

    /// All ready transactions, in the order in which they would go into blocks.
    #[must_use]
    pub fn pending(&self) -> Pending<'_, T> {
        self.pending_after(&Ancestors::default())
    }

    /// All transactions that can follow on `ancestors`, in order.
    ///
    /// A sender named there goes on after its ancestors' nonces even if the pool never saw the transactions that used
    /// them; all others start at their account's nonce.
    #[must_use]
    pub fn pending_after(&self, ancestors: &Ancestors) -> Pending<'_, T> {
        let mut pending = Pending {
            pool: self,
            heads: self.heads().iter().peekable(),
            advanced: BTreeSet::new(),
            open: BinaryHeap::new(),
            last: None,
        };
        for (sender, next) in &ancestors.next {
            let Some((slot, queue)) = self.queue_of(sender) else { continue };
            if *next > queue.account.nonce {
                pending.advanced.insert(slot);
                let end = queue.ready_end_after(*next);
                pending.open.extend(Candidate::at(slot, queue, *next, end));
            }
        }
        pending
    }
}

/// A sender's next transaction; the greatest one is chosen first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    key: Reverse<HeadKey>,
    slot: u32,
    nonce: u64,
    /// The nonce after the last of this sender that may be chosen.
    end: u64,
}

impl Candidate {
    fn at<T>(slot: u32, queue: &Queue<T>, nonce: u64, end: u64) -> Option<Self> {
        let entry = queue.get(nonce).filter(|_| nonce < end)?;
        Some(Self { key: Reverse(entry.head_key()), slot, nonce, end })
    }
}

/// Transactions in the order in which they go into blocks; made by [`Pool::pending`].
#[derive(Debug)]
pub struct Pending<'a, T> {
    pool: &'a Pool<T>,
    /// First transactions of all senders, best first.
    heads: Peekable<Iter<'a, HeadKey, u32>>,
    /// Senders whose entry in `heads` does not count.
    advanced: BTreeSet<u32>,
    /// Next transactions of the senders that were begun.
    open: BinaryHeap<Candidate>,
    /// What was handed out last: its successor is not in `open` yet.
    last: Option<(Candidate, &'a Queue<T>)>,
}

impl<T> Pending<'_, T> {
    /// Leaves out the later transactions of the sender whose transaction came last.
    pub const fn skip_sender(&mut self) {
        self.last = None;
    }
}

impl<'a, T> Iterator for Pending<'a, T> {
    type Item = &'a PoolTransaction<T>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some((Candidate { slot, nonce, end, .. }, queue)) = self.last.take() {
            self.open.extend(Candidate::at(slot, queue, nonce.saturating_add(1), end));
        }
        let candidate = self.pop_best()?;
        let queue = self.pool.queue(candidate.slot)?;
        let entry = queue.get(candidate.nonce)?;
        self.last = Some((candidate, queue));
        Some(&entry.transaction)
    }
}

impl<T> Pending<'_, T> {
    /// The better one of the best head and the best of the senders begun.
    fn pop_best(&mut self) -> Option<Candidate> {
        while let Some((key, slot)) = self.heads.peek() {
            if self.advanced.contains(slot) {
                self.heads.next();
                continue;
            }
            if self.open.peek().is_some_and(|best| best.key.0 < **key) {
                break;
            }
            let queue = self.pool.queue(**slot)?;
            let first =
                Candidate { key: Reverse(**key), slot: **slot, nonce: queue.account.nonce, end: queue.ready_end };
            self.heads.next();
            return Some(first);
        }
        self.open.pop()
    }
}
