//! The pool against a model that has no index and finds everything by looking at everything.

use super::*;
use crate::{Ancestors, Selection};
use std::collections::{BTreeMap, BTreeSet};

const SENDERS: u64 = 5;

#[derive(Clone, Default)]
struct Model {
    config: PoolConfig,
    head: u32,
    arrivals: u64,
    accounts: BTreeMap<AccountId32, AccountState>,
    entries: Vec<(u64, PoolTransaction<u64>)>,
}

impl Model {
    fn queue(&self, sender: &AccountId32) -> Vec<&(u64, PoolTransaction<u64>)> {
        let mut queue: Vec<_> = self.entries.iter().filter(|(_, entry)| entry.sender == *sender).collect();
        queue.sort_by_key(|(_, entry)| entry.nonce);
        queue
    }

    /// The nonce after the last that is contiguous from `start` and affordable, where `spent` is gone.
    fn end(&self, sender: &AccountId32, start: u64, spent: u128) -> u64 {
        let (mut end, mut cost) = (start, spent);
        for (_, entry) in self.queue(sender).into_iter().filter(|(_, entry)| entry.nonce >= start) {
            cost += entry.cost_max;
            if entry.nonce != end || cost > self.accounts[sender].spendable {
                break;
            }
            end += 1;
        }
        end
    }

    fn is_ready(&self, entry: &PoolTransaction<u64>) -> bool {
        entry.nonce < self.end(&entry.sender, self.accounts[&entry.sender].nonce, 0)
    }

    fn fits(&self) -> bool {
        let bytes: usize = self.entries.iter().map(|(_, entry)| entry.bytes_len).sum();
        self.entries.len() <= self.config.transactions_max && bytes <= self.config.bytes_max
    }

    fn sender_fits(&self, sender: &AccountId32) -> bool {
        let queue = self.queue(sender);
        let bytes: usize = queue.iter().map(|(_, entry)| entry.bytes_len).sum();
        queue.len() <= self.config.sender_transactions_max && bytes <= self.config.sender_bytes_max
    }

    /// Takes over what the caller read of the sender.
    fn adopt(&mut self, new: &PoolTransaction<u64>, account: AccountState) {
        if new.valid_until.0 <= self.head {
            return;
        }
        let is_known = !self.queue(&new.sender).is_empty();
        if !is_known || self.accounts[&new.sender].nonce == account.nonce {
            self.accounts.insert(new.sender, account);
            self.settle();
        }
    }

    /// The model after the insertion, or `None` where it is refused.
    fn insert(&self, new: &PoolTransaction<u64>, account: AccountState) -> Option<Self> {
        let state = self.accounts.get(&new.sender).copied()?;
        let first = state.nonce.max(account.nonce);
        let window = u64::try_from(self.config.sender_transactions_max).unwrap();
        if new.valid_until.0 <= self.head || new.nonce < first || new.nonce >= first + window {
            return None;
        }
        let queue = self.queue(&new.sender);
        let old = queue.iter().find(|(_, entry)| entry.nonce == new.nonce);
        if old.is_some_and(|(_, old)| new.priority < old.priority + old.priority.div_ceil(10).max(1)) {
            return None;
        }
        let end = self.end(&new.sender, state.nonce, 0);
        let before =
            queue.iter().filter(|(_, entry)| new.nonce <= end && entry.nonce < end && entry.nonce != new.nonce);
        if before.map(|(_, entry)| entry.cost_max).sum::<u128>() + new.cost_max > state.spendable {
            return None;
        }
        let mut after = self.clone();
        after.entries.retain(|(_, entry)| (entry.sender, entry.nonce) != (new.sender, new.nonce));
        after.entries.push((self.arrivals, new.clone()));
        while !after.sender_fits(&new.sender) {
            let last = after.queue(&new.sender).last().map(|(_, entry)| (entry.nonce, entry.hash))?;
            if last.0 <= new.nonce {
                return None;
            }
            after.entries.retain(|(_, entry)| entry.hash != last.1);
        }
        while !after.fits() {
            let senders: BTreeSet<_> = after.entries.iter().map(|(_, entry)| entry.sender).collect();
            let lasts = senders.iter().filter(|sender| **sender != new.sender);
            let lasts = lasts.map(|sender| (*after.queue(sender).last().unwrap()).clone());
            let rank = |(arrival, entry): &(u64, PoolTransaction<u64>)| {
                (after.is_ready(entry), entry.priority, std::cmp::Reverse(*arrival))
            };
            let worst = lasts.min_by_key(rank)?;
            if rank(&worst) >= rank(&(self.arrivals, new.clone())) {
                return None;
            }
            after.entries.retain(|(_, entry)| entry.hash != worst.1.hash);
        }
        after.arrivals += 1;
        Some(after)
    }

    fn settle(&mut self) {
        let accounts = self.accounts.clone();
        let head = self.head;
        self.entries.retain(|(_, entry)| {
            let account = accounts[&entry.sender];
            let is_unaffordable = entry.nonce == account.nonce && entry.cost_max > account.spendable;
            entry.nonce >= account.nonce && entry.valid_until.0 > head && !is_unaffordable
        });
    }

    fn select(&self, height: Height, count_max: usize, ancestors: &Ancestors) -> Vec<u64> {
        let mut next = BTreeMap::new();
        for sender in self.entries.iter().map(|(_, entry)| entry.sender) {
            let account = self.accounts[&sender];
            let own_end = self.end(&sender, account.nonce, 0);
            let start = ancestors.next_nonce(&sender).unwrap_or(0).max(account.nonce);
            let queue = self.queue(&sender);
            let spent = queue.iter().filter(|(_, entry)| entry.nonce < start).map(|(_, entry)| entry.cost_max).sum();
            let end = if start <= own_end { own_end } else { self.end(&sender, start, spent) };
            next.insert(sender, (start, end));
        }
        let mut chosen = Vec::new();
        while chosen.len() < count_max {
            let open = self.entries.iter().filter(|(_, entry)| {
                let (start, end) = next[&entry.sender];
                entry.nonce == start && entry.nonce < end
            });
            let Some((_, best)) = open.min_by_key(|(arrival, entry)| (std::cmp::Reverse(entry.priority), *arrival))
            else {
                break;
            };
            let place = next.get_mut(&best.sender).unwrap();
            if best.valid_until < height {
                place.1 = 0;
            } else {
                place.0 += 1;
                chosen.push(best.payload);
            }
        }
        chosen
    }
}

/// What a watcher of outputs alone believes to be in the pool: hash to ready.
fn follow(believed: &mut BTreeMap<Hash, bool>, outputs: &[Output]) {
    for output in outputs {
        match output {
            Output::Admitted { hash, ready, .. } => assert_eq!(believed.insert(*hash, *ready), None),
            Output::Replaced { old, .. } | Output::Included { hash: old, .. } | Output::Dropped { hash: old, .. } => {
                assert!(believed.remove(old).is_some(), "left without being there");
            }
            Output::Promoted { hash } => assert_eq!(believed.insert(*hash, true), Some(false)),
            Output::Demoted { hash } => assert_eq!(believed.insert(*hash, false), Some(true)),
            Output::Refused { .. } | Output::Propagate { .. } => {}
        }
    }
}

fn random_transaction(numbers: &mut Numbers, id: u64, head: u32) -> PoolTransaction<u64> {
    let sender = u8::try_from(numbers.below(SENDERS)).unwrap();
    let nonce = numbers.below(9);
    let valid_until =
        if numbers.below(3) == 0 { Height(head + u32::try_from(numbers.below(6)).unwrap()) } else { FOREVER };
    PoolTransaction {
        priority: u128::from(numbers.below(6)),
        cost_max: u128::from(1 + numbers.below(12)),
        bytes_len: usize::try_from(1 + numbers.below(4)).unwrap(),
        valid_until,
        ..transaction(id, sender, nonce)
    }
}

fn check(pool: &TestPool, model: &Model, believed: &BTreeMap<Hash, bool>, numbers: &mut Numbers) {
    let ready = model.entries.iter().filter(|(_, entry)| model.is_ready(entry)).count();
    let status = pool.status();
    assert_eq!((status.ready, status.ready + status.future), (ready, model.entries.len()));
    assert_eq!(status.bytes, model.entries.iter().map(|(_, entry)| entry.bytes_len).sum::<usize>());
    let contents: BTreeMap<_, _> = model.entries.iter().map(|(_, entry)| (entry.hash, model.is_ready(entry))).collect();
    assert_eq!(*believed, contents, "outputs tell another story");
    assert!(model.fits());
    let none = Ancestors::default();
    assert_eq!(pending(pool), model.select(Height(0), usize::MAX, &none));
    let mut ancestors = Ancestors::default();
    for sender in 0..SENDERS {
        if numbers.below(2) == 0 {
            ancestors.add(account(u8::try_from(sender).unwrap()), numbers.below(8));
        }
    }
    let (height, count_max) = (Height(model.head + 1), usize::try_from(numbers.below(12)).unwrap());
    let selection = Selection { height, bytes_max: usize::MAX, weight_max: u64::MAX, count_max };
    assert_eq!(pool.select(&selection, &ancestors), model.select(height, count_max, &ancestors));
}

fn run(seed: u64) {
    let mut numbers = Numbers(seed);
    let config = PoolConfig {
        transactions_max: 12,
        bytes_max: 30,
        sender_transactions_max: 6,
        sender_bytes_max: 14,
        ..PoolConfig::default()
    };
    let mut pool = Pool::new(config, Height(0));
    let mut model = Model { config, ..Model::default() };
    // The chain's accounts; the model's are what the pool may know of them.
    let mut chain: BTreeMap<_, _> = (0..SENDERS)
        .map(|sender| (account(u8::try_from(sender).unwrap()), AccountState { nonce: 0, spendable: 30 }))
        .collect();
    let mut believed = BTreeMap::new();
    for id in 0..400 {
        let outputs = if numbers.below(5) > 0 {
            let new = random_transaction(&mut numbers, id, model.head);
            let account = chain[&new.sender];
            model.adopt(&new, account);
            let after = model.insert(&new, account);
            let outputs = insert_with(&mut pool, new.clone(), account.nonce, account.spendable);
            let is_refused = outputs.iter().any(|output| matches!(output, Output::Refused { .. }));
            assert_eq!(after.is_none(), is_refused, "seed {seed}, step {id}: {new:?}, {outputs:?}");
            model = after.unwrap_or(model);
            outputs
        } else {
            commit_random(&mut numbers, &mut pool, &mut model, &mut chain)
        };
        follow(&mut believed, &outputs);
        check(&pool, &model, &believed, &mut numbers);
    }
}

fn commit_random(
    numbers: &mut Numbers,
    pool: &mut TestPool,
    model: &mut Model,
    chain: &mut BTreeMap<AccountId32, AccountState>,
) -> Vec<Output> {
    model.head += 1;
    let count = usize::try_from(numbers.below(6)).unwrap();
    let chosen = model.select(Height(model.head), count, &Ancestors::default());
    let included: Vec<_> = chosen.iter().map(|id| hash(*id)).collect();
    for (_, entry) in &model.entries {
        if included.contains(&entry.hash) {
            let account = chain.get_mut(&entry.sender).unwrap();
            account.nonce = account.nonce.max(entry.nonce + 1);
        }
    }
    for account in chain.values_mut() {
        if numbers.below(4) == 0 {
            account.spendable = u128::from(numbers.below(50));
        }
        // Now and then a transaction that this pool never saw.
        account.nonce += u64::from(numbers.below(8) == 0);
    }
    model.entries.retain(|(_, entry)| !included.contains(&entry.hash));
    model.accounts = chain.clone();
    model.settle();
    let accounts = chain.iter().map(|(account, state)| (*account, *state)).collect();
    step(pool, Input::BlockCommitted { height: Height(model.head), included, accounts })
}

#[test]
fn pool_under_random_inputs_equals_the_model() {
    (0..150).for_each(run);
}

#[test]
fn pool_fed_the_same_inputs_gives_the_same_outputs() {
    let feed = || {
        let mut numbers = Numbers(7);
        let mut pool = pool(|config| config.transactions_max = 20);
        let mut outputs = Vec::new();
        for id in 0..300 {
            outputs.extend(insert(&mut pool, random_transaction(&mut numbers, id, 10)));
        }
        (outputs, pending(&pool))
    };
    assert_eq!(feed(), feed());
}
