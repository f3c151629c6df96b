//! The pool: admission, eviction and the re-check after each block.

use crate::admission::{check_nonce, check_replacement, own_victims, pool_full};
use crate::config::PoolConfig;
use crate::error::{DropReason, Refusal};
use crate::message::{Input, Output};
use crate::queue::{Entry, HeadKey, Queue, TailKey};
use crate::recent::RecentlyIncluded;
use crate::transaction::{AccountState, Origin, PoolTransaction};
use cairn_primitives::{AccountId32, Hash, Height};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// The most transactions one newcomer may displace: a large one does not clear the pool of hundreds of small ones.
const EVICTIONS_MAX: usize = 64;

/// The most local transactions that are tracked to be propagated again; those beyond were propagated once.
const LOCAL_TRACKED_MAX: usize = 16_384;

/// The most transactions propagated again by one tick: fits one gossip message of small ones.
const PROPAGATE_AGAIN_MAX: usize = 256;

/// What the pool knows of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It waits.
    Pending,
    /// It was included lately.
    Included(Height),
}

/// How full the pool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Transactions that can go into the next block.
    pub ready: usize,
    /// Transactions that wait for an earlier nonce or for funds.
    pub future: usize,
    /// Bytes of all of them.
    pub bytes: usize,
    /// Accounts that have transactions here.
    pub senders: usize,
}

/// The transactions that wait for a block; see the crate's documentation.
#[derive(Clone, Debug)]
pub struct Pool<T> {
    config: PoolConfig,
    head: Height,
    /// Queues by slot number; the indexes below name slots, which are shorter than accounts.
    slots: Vec<Option<Queue<T>>>,
    free: Vec<u32>,
    senders: BTreeMap<AccountId32, u32>,
    by_hash: BTreeMap<Hash, (u32, u64)>,
    /// The first transaction of each sender that has a ready one.
    heads: BTreeMap<HeadKey, u32>,
    /// The last transaction of each sender.
    tails: BTreeMap<TailKey, u32>,
    /// Mortal transactions by the last height they are valid at.
    expiry: BTreeSet<(Height, u32, u64)>,
    /// Local transactions by the time they are to be propagated again; those that left are skipped when due.
    local: BTreeSet<(u64, Hash)>,
    included: RecentlyIncluded,
    arrivals: u64,
    bytes: usize,
    ready: usize,
}

impl<T: Clone> Pool<T> {
    /// An empty pool on top of the committed block at `head`.
    #[must_use]
    pub const fn new(config: PoolConfig, head: Height) -> Self {
        Self {
            config,
            head,
            slots: Vec::new(),
            free: Vec::new(),
            senders: BTreeMap::new(),
            by_hash: BTreeMap::new(),
            heads: BTreeMap::new(),
            tails: BTreeMap::new(),
            expiry: BTreeSet::new(),
            local: BTreeSet::new(),
            included: RecentlyIncluded::new(config.included_max),
            arrivals: 0,
            bytes: 0,
            ready: 0,
        }
    }

    /// Takes one input; what follows from it is appended to `outputs`.
    pub fn step(&mut self, now_ms: u64, input: Input<T>, outputs: &mut Vec<Output>) {
        match input {
            Input::Insert { transaction, account, origin } => {
                let hash = transaction.hash;
                match self.insert(transaction, account, outputs) {
                    Ok(ready) => {
                        let propagate = origin == Origin::Local;
                        if propagate && self.local.len() < LOCAL_TRACKED_MAX {
                            self.local.insert((now_ms.saturating_add(self.config.propagate_again_ms), hash));
                        }
                        outputs.push(Output::Admitted { hash, ready, propagate });
                    }
                    Err(reason) => outputs.push(Output::Refused { hash, reason }),
                }
            }
            Input::BlockCommitted { height, included, accounts } => {
                self.commit_block(height, &included, &accounts, outputs);
            }
            Input::Invalid { hash, reason } => self.drop_invalid(&hash, reason, outputs),
            Input::Tick => self.propagate_again(now_ms, outputs),
        }
    }

    /// What the pool knows of a hash: ask before decoding and verifying.
    #[must_use]
    pub fn known(&self, hash: &Hash) -> Option<Known> {
        if self.by_hash.contains_key(hash) {
            return Some(Known::Pending);
        }
        self.included.height(hash).map(Known::Included)
    }

    /// A waiting transaction.
    #[must_use]
    pub fn get(&self, hash: &Hash) -> Option<&PoolTransaction<T>> {
        let (slot, nonce) = self.by_hash.get(hash)?;
        Some(&self.queue(*slot)?.get(*nonce)?.transaction)
    }

    /// Whether the account has transactions here.
    #[must_use]
    pub fn is_sender(&self, account: &AccountId32) -> bool {
        self.senders.contains_key(account)
    }

    /// The nonce after the account's last contiguous transaction, given its nonce in the committed state.
    #[must_use]
    pub fn next_nonce(&self, account: &AccountId32, account_nonce: u64) -> u64 {
        let Some((_, queue)) = self.queue_of(account) else { return account_nonce };
        let mut next = queue.ready_end.max(account_nonce);
        for nonce in queue.entries.range(next..).map(|(nonce, _)| *nonce) {
            if nonce != next {
                break;
            }
            next = next.saturating_add(1);
        }
        next
    }

    /// How full the pool is.
    #[must_use]
    pub fn status(&self) -> Status {
        let future = self.by_hash.len().saturating_sub(self.ready);
        Status { ready: self.ready, future, bytes: self.bytes, senders: self.senders.len() }
    }

    fn insert(
        &mut self,
        transaction: PoolTransaction<T>,
        account: AccountState,
        outputs: &mut Vec<Output>,
    ) -> Result<bool, Refusal> {
        self.check_form(&transaction)?;
        self.adopt(&transaction.sender, account, outputs);
        let slot = self.senders.get(&transaction.sender).copied();
        let empty = Queue::new(transaction.sender, account);
        let queue = slot.and_then(|slot| self.queue(slot)).unwrap_or(&empty);
        check_nonce(queue, &transaction, account.nonce, &self.config)?;
        check_replacement(queue, &transaction, self.config.replacement_percent)?;
        let cost = queue.cost_with(transaction.nonce, transaction.cost_max);
        let spendable = queue.account.spendable;
        if cost > spendable {
            return Err(Refusal::Unaffordable { cost, spendable });
        }
        let own = own_victims(queue, &transaction, &self.config)?;
        let others = self.victims(queue, slot, &transaction, own)?;
        for victim in std::iter::repeat_n(slot, own).flatten().chain(others) {
            self.evict_last(victim, outputs);
        }
        Ok(self.put(transaction, account, outputs))
    }

    /// Brings a sender's queue up to date on what can be spent.
    ///
    /// The account was read no earlier than the queue's: with the same nonce it is as new or newer. With a higher one the
    /// block that used the nonces is still to be announced here, and must find its transactions.
    fn adopt(&mut self, sender: &AccountId32, account: AccountState, outputs: &mut Vec<Output>) {
        let Some(slot) = self.senders.get(sender).copied() else { return };
        let Some(queue) = self.queue_mut(slot) else { return };
        if queue.account.nonce == account.nonce && queue.account.spendable != account.spendable {
            queue.account = account;
            self.settle(slot, outputs);
        }
    }

    /// What can be told without the sender.
    fn check_form(&self, transaction: &PoolTransaction<T>) -> Result<(), Refusal> {
        if transaction.bytes_len > self.config.transaction_bytes_max {
            return Err(Refusal::Oversized { bytes: transaction.bytes_len, max: self.config.transaction_bytes_max });
        }
        match self.known(&transaction.hash) {
            Some(Known::Pending) => return Err(Refusal::Duplicate),
            Some(Known::Included(height)) => return Err(Refusal::AlreadyIncluded { height }),
            None => {}
        }
        let next = self.head.next();
        if transaction.valid_until < next {
            return Err(Refusal::Expired { valid_until: transaction.valid_until, next });
        }
        Ok(())
    }

    /// Whose last transactions must go to make room, after the sender gave up `own` of its own.
    fn victims(
        &self,
        queue: &Queue<T>,
        slot: Option<u32>,
        transaction: &PoolTransaction<T>,
        own: usize,
    ) -> Result<Vec<u32>, Refusal> {
        let nonce = transaction.nonce;
        let replaced = queue.get(nonce).map(|entry| entry.transaction.bytes_len);
        let given_up: usize = queue.entries.values().rev().take(own).map(|entry| entry.transaction.bytes_len).sum();
        let mut count = self.by_hash.len().saturating_sub(own).saturating_add(usize::from(replaced.is_none()));
        let mut bytes = self.bytes.saturating_sub(given_up).saturating_sub(replaced.unwrap_or(0));
        bytes = bytes.saturating_add(transaction.bytes_len);

        let newcomer: TailKey = (nonce <= queue.ready_end, transaction.priority, Reverse(self.arrivals));
        let mut tails = self.tails.iter().peekable();
        // Transactions that become their sender's last when those after them go.
        let mut exposed: BinaryHeap<Reverse<(TailKey, u32, u64)>> = BinaryHeap::new();
        let mut victims = Vec::new();
        while count > self.config.transactions_max || bytes > self.config.bytes_max {
            let next = match (tails.peek(), exposed.peek()) {
                (Some((tail, _)), Some(Reverse((other, _, _)))) if other < tail => exposed.pop(),
                (None, _) => exposed.pop(),
                _ => tails.next().and_then(|(key, slot)| Some(Reverse((*key, *slot, self.queue(*slot)?.last()?.0)))),
            };
            let Some(Reverse((key, victim, victim_nonce))) = next else { break };
            // The newcomer would not be ready, or not fit, without the sender's own transactions before it.
            if Some(victim) == slot {
                continue;
            }
            if key >= newcomer || victims.len() >= EVICTIONS_MAX {
                return Err(pool_full(queue, transaction, &key));
            }
            victims.push(victim);
            let Some(queue) = self.queue(victim) else { break };
            let freed = queue.get(victim_nonce).map_or(0, |entry| entry.transaction.bytes_len);
            (count, bytes) = (count.saturating_sub(1), bytes.saturating_sub(freed));
            let before = queue.before(victim_nonce);
            exposed.extend(before.map(|(nonce, entry)| Reverse((queue.tail_key(nonce, entry), victim, nonce))));
        }
        if count > self.config.transactions_max || bytes > self.config.bytes_max {
            return Err(pool_full(queue, transaction, &newcomer));
        }
        Ok(victims)
    }

    fn evict_last(&mut self, slot: u32, outputs: &mut Vec<Output>) {
        let Some(entry) = self.queue_mut(slot).and_then(Queue::pop_last) else { return };
        self.forget(slot, &entry);
        outputs.push(Output::Dropped { hash: entry.transaction.hash, reason: DropReason::Evicted });
        self.index(slot);
    }

    /// Puts a transaction in that passed all checks; says whether it is ready.
    fn put(&mut self, transaction: PoolTransaction<T>, account: AccountState, outputs: &mut Vec<Output>) -> bool {
        let (hash, nonce, valid_until) = (transaction.hash, transaction.nonce, transaction.valid_until);
        let (slot, arrival) = (self.slot_for(transaction.sender, account), self.arrivals);
        self.arrivals = self.arrivals.saturating_add(1);
        self.bytes = self.bytes.saturating_add(transaction.bytes_len);
        self.by_hash.insert(hash, (slot, nonce));
        let mut changes = Vec::new();
        let Some(queue) = self.queue_mut(slot) else { return false };
        let old = queue.insert(Entry { transaction, arrival }, &mut changes);
        let ready = queue.is_ready(nonce);
        if let Some(old) = old {
            self.forget(slot, &old);
            outputs.push(Output::Replaced { old: old.transaction.hash, new: hash });
        }
        if valid_until != Height(u32::MAX) {
            self.expiry.insert((valid_until, slot, nonce));
        }
        outputs.append(&mut changes);
        self.index(slot);
        ready
    }

    fn commit_block(
        &mut self,
        height: Height,
        included: &[Hash],
        accounts: &[(AccountId32, AccountState)],
        outputs: &mut Vec<Output>,
    ) {
        self.head = height.max(self.head);
        let mut touched = BTreeSet::new();
        for hash in included {
            self.included.add(*hash, height);
            let Some((slot, nonce)) = self.by_hash.get(hash).copied() else { continue };
            let Some(queue) = self.queue_mut(slot) else { continue };
            queue.account.nonce = queue.account.nonce.max(nonce.saturating_add(1));
            let Some(entry) = queue.take(nonce) else { continue };
            self.forget(slot, &entry);
            outputs.push(Output::Included { hash: *hash, height });
            touched.insert(slot);
        }
        for (account, state) in accounts {
            let Some(slot) = self.senders.get(account).copied() else { continue };
            let Some(queue) = self.queue_mut(slot) else { continue };
            let nonce = queue.account.nonce.max(state.nonce);
            queue.account = AccountState { nonce, spendable: state.spendable };
            touched.insert(slot);
        }
        while let Some((valid_until, slot, nonce)) = self.expiry.first().copied() {
            if valid_until > self.head {
                break;
            }
            self.expiry.pop_first();
            let Some(entry) = self.queue_mut(slot).and_then(|queue| queue.take(nonce)) else { continue };
            self.forget(slot, &entry);
            let reason = DropReason::Expired { valid_until };
            outputs.push(Output::Dropped { hash: entry.transaction.hash, reason });
            touched.insert(slot);
        }
        for slot in touched {
            self.settle(slot, outputs);
        }
    }

    fn drop_invalid(&mut self, hash: &Hash, reason: String, outputs: &mut Vec<Output>) {
        let Some((slot, nonce)) = self.by_hash.get(hash).copied() else { return };
        let Some(entry) = self.queue_mut(slot).and_then(|queue| queue.take(nonce)) else { return };
        self.forget(slot, &entry);
        outputs.push(Output::Dropped { hash: *hash, reason: DropReason::Invalid(reason) });
        self.settle(slot, outputs);
    }

    fn propagate_again(&mut self, now_ms: u64, outputs: &mut Vec<Output>) {
        let due_next = now_ms.saturating_add(self.config.propagate_again_ms);
        let mut sent = 0usize;
        while sent < PROPAGATE_AGAIN_MAX
            && let Some((due, hash)) = self.local.first().copied()
            && due <= now_ms
        {
            self.local.pop_first();
            if self.by_hash.contains_key(&hash) {
                sent = sent.saturating_add(1);
                outputs.push(Output::Propagate { hash });
                self.local.insert((due_next, hash));
            }
        }
    }

    /// Brings a queue whose account or entries changed in order again; an empty one goes.
    fn settle(&mut self, slot: u32, outputs: &mut Vec<Output>) {
        let Some(queue) = self.queue_mut(slot) else { return };
        let AccountState { nonce: expected, spendable } = queue.account;
        let mut dropped = Vec::new();
        while let Some((&nonce, first)) = queue.entries.first_key_value() {
            let cost = first.transaction.cost_max;
            let reason = match nonce {
                nonce if nonce < expected => DropReason::Stale { nonce, expected },
                nonce if nonce == expected && cost > spendable => DropReason::Unaffordable { cost, spendable },
                _ => break,
            };
            dropped.extend(queue.take(nonce).map(|entry| (entry, reason)));
        }
        let mut changes = Vec::new();
        queue.settle(&mut changes);
        for (entry, reason) in dropped {
            self.forget(slot, &entry);
            outputs.push(Output::Dropped { hash: entry.transaction.hash, reason });
        }
        outputs.append(&mut changes);
        self.index(slot);
    }

    /// Takes an entry that left its queue out of the indexes by hash and height and out of the byte count.
    fn forget(&mut self, slot: u32, entry: &Entry<T>) {
        let transaction = &entry.transaction;
        self.bytes = self.bytes.saturating_sub(transaction.bytes_len);
        self.by_hash.remove(&transaction.hash);
        if transaction.valid_until != Height(u32::MAX) {
            self.expiry.remove(&(transaction.valid_until, slot, transaction.nonce));
        }
    }

    /// Brings the indexes by head and tail and the ready count up to date; removes an empty queue.
    fn index(&mut self, slot: u32) {
        let Some(queue) = self.queue_mut(slot) else { return };
        let now = queue.index();
        let before = std::mem::replace(&mut queue.indexed, now);
        let (sender, is_empty) = (queue.sender, queue.entries.is_empty());
        if now.head != before.head {
            before.head.map(|key| self.heads.remove(&key));
            now.head.map(|key| self.heads.insert(key, slot));
        }
        if now.tail != before.tail {
            before.tail.map(|key| self.tails.remove(&key));
            now.tail.map(|key| self.tails.insert(key, slot));
        }
        self.ready = self.ready.saturating_sub(before.ready).saturating_add(now.ready);
        if is_empty {
            self.senders.remove(&sender);
            if let Some(place) = usize::try_from(slot).ok().and_then(|slot| self.slots.get_mut(slot)) {
                *place = None;
            }
            self.free.push(slot);
        }
    }

    fn slot_for(&mut self, sender: AccountId32, account: AccountState) -> u32 {
        if let Some(slot) = self.senders.get(&sender) {
            return *slot;
        }
        let queue = Some(Queue::new(sender, account));
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(place) = usize::try_from(slot).ok().and_then(|slot| self.slots.get_mut(slot)) {
                    *place = queue;
                }
                slot
            }
            None => {
                self.slots.push(queue);
                u32::try_from(self.slots.len().saturating_sub(1)).unwrap_or(u32::MAX)
            }
        };
        self.senders.insert(sender, slot);
        slot
    }

    pub(crate) const fn heads(&self) -> &BTreeMap<HeadKey, u32> {
        &self.heads
    }

    pub(crate) fn queue_of(&self, sender: &AccountId32) -> Option<(u32, &Queue<T>)> {
        let slot = self.senders.get(sender)?;
        Some((*slot, self.queue(*slot)?))
    }
}

impl<T> Pool<T> {
    pub(crate) fn queue(&self, slot: u32) -> Option<&Queue<T>> {
        self.slots.get(usize::try_from(slot).ok()?)?.as_ref()
    }

    fn queue_mut(&mut self, slot: u32) -> Option<&mut Queue<T>> {
        self.slots.get_mut(usize::try_from(slot).ok()?)?.as_mut()
    }
}
