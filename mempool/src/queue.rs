//! One sender's transactions by nonce.
//!
//! Invariants: `ready_end >= account.nonce`; every nonce in `account.nonce..ready_end` is present; `ready_cost` is the
//! sum of their costs and at most `account.spendable`. [`Queue::settle`] restores them after the account changed;
//! insertions and the removal of the last transaction keep them in constant time.

use crate::message::Output;
use crate::transaction::{AccountState, PoolTransaction};
use cairn_primitives::AccountId32;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The order of choice among the next transactions of senders: highest tip, then first come.
pub(crate) type HeadKey = (Reverse<u128>, u64);

/// The order of eviction, worst first: future before ready, lowest tip, then last come.
pub(crate) type TailKey = (bool, u128, Reverse<u64>);

#[derive(Clone, Debug)]
pub(crate) struct Entry<T> {
    pub(crate) transaction: PoolTransaction<T>,
    /// Counts up with each admission.
    pub(crate) arrival: u64,
}

impl<T> Entry<T> {
    pub(crate) const fn head_key(&self) -> HeadKey {
        (Reverse(self.transaction.priority), self.arrival)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Queue<T> {
    pub(crate) sender: AccountId32,
    pub(crate) account: AccountState,
    /// Boxed, so that a sender with a single transaction does not pay for a whole tree node of them.
    pub(crate) entries: BTreeMap<u64, Box<Entry<T>>>,
    pub(crate) bytes: usize,
    /// The nonce after the last ready transaction.
    pub(crate) ready_end: u64,
    pub(crate) ready_cost: u128,
    /// What the pool's indexes and counters hold for this queue now.
    pub(crate) indexed: Indexed,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Indexed {
    pub(crate) head: Option<HeadKey>,
    pub(crate) tail: Option<TailKey>,
    pub(crate) ready: usize,
}

impl<T> Queue<T> {
    pub(crate) const fn new(sender: AccountId32, account: AccountState) -> Self {
        Self {
            sender,
            account,
            entries: BTreeMap::new(),
            bytes: 0,
            ready_end: account.nonce,
            ready_cost: 0,
            indexed: Indexed { head: None, tail: None, ready: 0 },
        }
    }

    pub(crate) fn get(&self, nonce: u64) -> Option<&Entry<T>> {
        self.entries.get(&nonce).map(|entry| &**entry)
    }

    /// The nonce and entry after which nothing of this sender comes.
    pub(crate) fn last(&self) -> Option<(u64, &Entry<T>)> {
        self.entries.last_key_value().map(|(nonce, entry)| (*nonce, &**entry))
    }

    /// The entry before `nonce`.
    pub(crate) fn before(&self, nonce: u64) -> Option<(u64, &Entry<T>)> {
        self.entries.range(..nonce).next_back().map(|(nonce, entry)| (*nonce, &**entry))
    }

    pub(crate) const fn is_ready(&self, nonce: u64) -> bool {
        nonce < self.ready_end
    }

    pub(crate) fn tail_key(&self, nonce: u64, entry: &Entry<T>) -> TailKey {
        (self.is_ready(nonce), entry.transaction.priority, Reverse(entry.arrival))
    }

    /// What the pool's indexes and counters must hold for this queue.
    pub(crate) fn index(&self) -> Indexed {
        let head = (self.ready_end > self.account.nonce).then(|| self.get(self.account.nonce).map(Entry::head_key));
        let ready = usize::try_from(self.ready_end.saturating_sub(self.account.nonce)).unwrap_or(usize::MAX);
        Indexed { head: head.flatten(), tail: self.last().map(|(nonce, entry)| self.tail_key(nonce, entry)), ready }
    }

    /// What the ready transactions would cost with one of `cost` at `nonce`; of a future one, its own cost.
    pub(crate) fn cost_with(&self, nonce: u64, cost: u128) -> u128 {
        if nonce > self.ready_end {
            return cost;
        }
        let replaced =
            if self.is_ready(nonce) { self.get(nonce).map_or(0, |entry| entry.transaction.cost_max) } else { 0 };
        self.ready_cost.saturating_sub(replaced).saturating_add(cost)
    }

    /// Puts an entry in, in the place of one with its nonce, and makes ready what became contiguous and affordable.
    pub(crate) fn insert(&mut self, entry: Entry<T>, outputs: &mut Vec<Output>) -> Option<Box<Entry<T>>> {
        let nonce = entry.transaction.nonce;
        let cost = entry.transaction.cost_max;
        self.bytes = self.bytes.saturating_add(entry.transaction.bytes_len);
        if self.is_ready(nonce) {
            self.ready_cost = self.cost_with(nonce, cost);
        }
        let old = self.entries.insert(nonce, Box::new(entry));
        if let Some(old) = &old {
            self.bytes = self.bytes.saturating_sub(old.transaction.bytes_len);
        }
        let ready_before = self.ready_end;
        self.extend_ready();
        self.tell_changes(ready_before, Some(nonce), outputs);
        old
    }

    /// Takes the last entry out.
    pub(crate) fn pop_last(&mut self) -> Option<Box<Entry<T>>> {
        let (nonce, entry) = self.entries.pop_last()?;
        self.bytes = self.bytes.saturating_sub(entry.transaction.bytes_len);
        if self.is_ready(nonce) {
            self.ready_end = nonce;
            self.ready_cost = self.ready_cost.saturating_sub(entry.transaction.cost_max);
        }
        Some(entry)
    }

    /// Takes an entry out; [`Queue::settle`] must follow.
    pub(crate) fn take(&mut self, nonce: u64) -> Option<Box<Entry<T>>> {
        let entry = self.entries.remove(&nonce)?;
        self.bytes = self.bytes.saturating_sub(entry.transaction.bytes_len);
        Some(entry)
    }

    /// Finds the ready part anew and tells what changed; the entries are all at or above the account's nonce.
    pub(crate) fn settle(&mut self, outputs: &mut Vec<Output>) {
        let ready_before = self.ready_end;
        self.ready_end = self.account.nonce;
        self.ready_cost = 0;
        self.extend_ready();
        self.tell_changes(ready_before, None, outputs);
    }

    /// Moves the end of the ready part over everything contiguous and affordable.
    fn extend_ready(&mut self) {
        for (nonce, entry) in self.entries.range(self.ready_end..) {
            let cost = self.ready_cost.saturating_add(entry.transaction.cost_max);
            if *nonce != self.ready_end || cost > self.account.spendable {
                break;
            }
            self.ready_cost = cost;
            self.ready_end = nonce.saturating_add(1);
        }
    }

    /// Tells of all entries, but the one at `quiet`, that became ready or ceased to be.
    fn tell_changes(&self, ready_before: u64, quiet: Option<u64>, outputs: &mut Vec<Output>) {
        let changed = ready_before.min(self.ready_end)..ready_before.max(self.ready_end);
        outputs.extend(self.entries.range(changed).filter(|(nonce, _)| quiet != Some(**nonce)).map(
            |(nonce, entry)| {
                let hash = entry.transaction.hash;
                if self.is_ready(*nonce) { Output::Promoted { hash } } else { Output::Demoted { hash } }
            },
        ));
    }

    /// The end of the transactions that can follow on `next`, where unfinalized ancestors have used the nonces below.
    pub(crate) fn ready_end_after(&self, next: u64) -> u64 {
        if next <= self.ready_end {
            return self.ready_end;
        }
        let spent = self.entries.range(..next).map(|(_, entry)| entry.transaction.cost_max);
        let mut cost = spent.fold(0u128, u128::saturating_add);
        let mut end = next;
        for (nonce, entry) in self.entries.range(next..) {
            cost = cost.saturating_add(entry.transaction.cost_max);
            if *nonce != end || cost > self.account.spendable {
                break;
            }
            end = nonce.saturating_add(1);
        }
        end
    }
}
