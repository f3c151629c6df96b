//! The state while a block executes: reads go through to the state below once, writes stay here until the block ends.
//!
//! Accounts are kept decoded and are reached by a handle, so a transfer looks each of its accounts up once. Every write
//! leaves the old value in a journal; a call that fails is undone by walking the journal back to a [`Mark`].

mod accounts;

pub(crate) use accounts::AccountRef;

use crate::dispatch::{DispatchResult, Fault};
use crate::event::{EventRecord, Phase};
use crate::executor::BlockContext;
use crate::keys;
use crate::modules::RuntimeEvent;
use crate::modules::system::AccountInfo;
use crate::state::{StateReadError, StateReader};
use accounts::Accounts;
use cairn_primitives::hash::blake2_128;
use cairn_primitives::{AccountId32, StateChanges, StateChangesBuilder};
use parity_scale_codec::{Decode, DecodeAll, Encode};
use std::collections::BTreeMap;
use std::marker::PhantomData;

/// Bytes of an account's key and value.
const ACCOUNT_BYTES: usize = 160;
/// Events that most transactions emit.
const EVENTS_USUAL: usize = 5;

/// A point to which the overlay can be taken back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    journal: usize,
    events: usize,
}

/// A single value in the state, under a fixed key.
#[derive(Debug)]
pub(crate) struct StorageValue<T> {
    name: &'static str,
    key: keys::ItemPrefix,
    value: PhantomData<T>,
}

impl<T> StorageValue<T> {
    /// The item `name` under `key`.
    pub(crate) const fn new(name: &'static str, key: keys::ItemPrefix) -> Self {
        Self { name, key, value: PhantomData }
    }

    /// The key.
    pub(crate) const fn key(&self) -> &keys::ItemPrefix {
        &self.key
    }
}

impl<T: Decode + Default> StorageValue<T> {
    /// Reads the item below any overlay; the default where it is not set.
    pub(crate) fn read(&self, state: &dyn StateReader) -> Result<T, StateReadError> {
        self.parse(state.get(&self.key)?.as_deref())
    }

    fn parse(&self, bytes: Option<&[u8]>) -> Result<T, StateReadError> {
        match bytes {
            None => Ok(T::default()),
            Some(mut bytes) => T::decode_all(&mut bytes).map_err(|e| StateReadError::malformed(self.name, &e)),
        }
    }
}

/// Values in the state by key, under `prefix ‖ Blake2_128Concat(key)`.
#[derive(Debug)]
pub(crate) struct StorageMap<K, V> {
    name: &'static str,
    prefix: keys::ItemPrefix,
    entry: PhantomData<(K, V)>,
}

impl<K: Encode, V: Decode> StorageMap<K, V> {
    /// The map `name` under `prefix`.
    pub(crate) const fn new(name: &'static str, prefix: keys::ItemPrefix) -> Self {
        Self { name, prefix, entry: PhantomData }
    }

    /// The storage key of an entry.
    pub(crate) fn key(&self, key: &K) -> Vec<u8> {
        let encoded = key.encode();
        [&self.prefix[..], &blake2_128(&encoded), &encoded].concat()
    }

    /// Reads an entry below any overlay.
    pub(crate) fn read(&self, state: &dyn StateReader, key: &K) -> Result<Option<V>, StateReadError> {
        self.parse(state.get(&self.key(key))?.as_deref())
    }

    fn parse(&self, bytes: Option<&[u8]>) -> Result<Option<V>, StateReadError> {
        let decode = |mut bytes: &[u8]| V::decode_all(&mut bytes);
        bytes.map(decode).transpose().map_err(|error| StateReadError::malformed(self.name, &error))
    }
}

struct CachedValue {
    original: Option<Vec<u8>>,
    current: Option<Vec<u8>>,
}

enum Undo {
    Account(AccountRef, Option<AccountInfo>),
    Value(Vec<u8>, Option<Vec<u8>>),
}

/// The state and the events of the block being executed.
pub(crate) struct Overlay<'a> {
    state: &'a dyn StateReader,
    context: &'a BlockContext,
    accounts: Accounts,
    values: BTreeMap<Vec<u8>, CachedValue>,
    journal: Vec<Undo>,
    events: Vec<EventRecord>,
    phase: Phase,
}

impl<'a> Overlay<'a> {
    /// An overlay without changes.
    pub(crate) fn new(state: &'a dyn StateReader, context: &'a BlockContext) -> Self {
        Self {
            state,
            context,
            accounts: Accounts::default(),
            values: BTreeMap::new(),
            journal: Vec::new(),
            events: Vec::new(),
            phase: Phase::Initialization,
        }
    }

    /// The block being executed.
    pub(crate) const fn context(&self) -> &'a BlockContext {
        self.context
    }

    /// Makes room for what transactions do, and reads the accounts that each names, all together. Once a block.
    pub(crate) fn prepare<N: Iterator<Item = AccountId32>>(
        &mut self,
        transactions: impl ExactSizeIterator<Item = N>,
    ) -> Result<(), StateReadError> {
        self.events.reserve(transactions.len().saturating_mul(EVENTS_USUAL));
        self.accounts.prepare(self.state, transactions)
    }

    /// Says which of the prepared transactions is next, from 0: its accounts are found at once.
    pub(crate) fn begin_transaction(&mut self, number: usize) {
        self.accounts.begin_transaction(number);
    }

    /// The handle of an account, which need not exist; reads it on first use.
    pub(crate) fn load(&mut self, id: &AccountId32) -> Result<AccountRef, StateReadError> {
        self.accounts.load(self.state, id)
    }

    /// The account; `None` where there is none.
    pub(crate) fn account(&self, account: AccountRef) -> Option<AccountInfo> {
        self.accounts.get(account).and_then(|cached| cached.current)
    }

    /// Whose account it is.
    pub(crate) fn id(&self, account: AccountRef) -> AccountId32 {
        // A handle comes from `load` of this overlay, which never forgets an account.
        self.accounts.get(account).map_or(AccountId32([0; 32]), |cached| cached.id)
    }

    /// Writes or removes the account.
    pub(crate) fn set_account(&mut self, account: AccountRef, value: Option<AccountInfo>) {
        if let Some(cached) = self.accounts.get_mut(account) {
            self.journal.push(Undo::Account(account, cached.current));
            cached.current = value;
        }
    }

    /// Reads a single value; its default where it is not set.
    pub(crate) fn value<T: Decode + Default>(&mut self, item: &StorageValue<T>) -> Result<T, StateReadError> {
        item.parse(self.cached(item.key.to_vec())?.current.as_deref())
    }

    /// Writes a single value.
    pub(crate) fn set_value<T: Encode>(&mut self, item: &StorageValue<T>, value: &T) -> Result<(), StateReadError> {
        self.write(item.key.to_vec(), value.encode())
    }

    /// Reads an entry of a map.
    pub(crate) fn entry<K: Encode, V: Decode>(
        &mut self,
        map: &StorageMap<K, V>,
        key: &K,
    ) -> Result<Option<V>, StateReadError> {
        map.parse(self.cached(map.key(key))?.current.as_deref())
    }

    /// Writes an entry of a map.
    pub(crate) fn set_entry<K: Encode, V: Encode + Decode>(
        &mut self,
        map: &StorageMap<K, V>,
        key: &K,
        value: &V,
    ) -> Result<(), StateReadError> {
        self.write(map.key(key), value.encode())
    }

    fn write(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), StateReadError> {
        let previous = self.cached(key.clone())?.current.replace(value);
        self.journal.push(Undo::Value(key, previous));
        Ok(())
    }

    fn cached(&mut self, key: Vec<u8>) -> Result<&mut CachedValue, StateReadError> {
        use std::collections::btree_map::Entry;
        match self.values.entry(key) {
            Entry::Occupied(found) => Ok(found.into_mut()),
            Entry::Vacant(place) => {
                let original = self.state.get(place.key())?;
                Ok(place.insert(CachedValue { current: original.clone(), original }))
            }
        }
    }

    /// Says which part of the block the next events belong to.
    pub(crate) const fn enter(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// Records an event.
    pub(crate) fn emit(&mut self, event: impl Into<RuntimeEvent>) {
        self.events.push(EventRecord { phase: self.phase, event: event.into(), topics: Vec::new() });
    }

    /// How many events there are.
    pub(crate) const fn event_count(&self) -> usize {
        self.events.len()
    }

    /// The point to which [`Self::rollback`] returns.
    pub(crate) const fn mark(&self) -> Mark {
        Mark { journal: self.journal.len(), events: self.events.len() }
    }

    /// Undoes every write and event since `mark`.
    pub(crate) fn rollback(&mut self, mark: Mark) {
        while self.journal.len() > mark.journal {
            match self.journal.pop() {
                Some(Undo::Account(account, value)) => {
                    if let Some(cached) = self.accounts.get_mut(account) {
                        cached.current = value;
                    }
                }
                Some(Undo::Value(key, value)) => {
                    if let Some(cached) = self.values.get_mut(&key) {
                        cached.current = value;
                    }
                }
                None => break,
            }
        }
        self.events.truncate(mark.events);
    }

    /// Runs `action`; where it fails, nothing of it remains.
    pub(crate) fn transactional(&mut self, action: impl FnOnce(&mut Self) -> DispatchResult) -> DispatchResult {
        let mark = self.mark();
        let result = action(self);
        if matches!(result, Err(Fault::Failed(_))) {
            self.rollback(mark);
        }
        result
    }

    /// Forgets how to undo what was done so far: an extrinsic is finished.
    pub(crate) fn seal(&mut self) {
        self.journal.clear();
    }

    /// What differs from the state below, and the events.
    pub(crate) fn finish(self) -> (StateChanges, Vec<EventRecord>) {
        let accounts = self.accounts.all();
        let mut changes = StateChangesBuilder::with_capacity(
            accounts.len().saturating_add(self.values.len()),
            accounts.len().saturating_mul(ACCOUNT_BYTES),
        );
        for account in accounts.iter().filter(|account| account.current != account.original) {
            match &account.current {
                Some(info) => changes.put_encoded(&account.key, info),
                None => changes.delete(&account.key),
            }
        }
        for (key, value) in self.values.iter().filter(|(_, value)| value.current != value.original) {
            match &value.current {
                Some(value) => changes.put(key, value),
                None => changes.delete(key),
            }
        }
        (changes.finish(), self.events)
    }
}
