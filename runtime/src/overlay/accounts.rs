//! The accounts of a block: each is read and decoded once, and reached by a handle.
//!
//! ```text
//! transactions   alice ► bob     carol ► bob     alice ► dave      the accounts that each names
//! named            0      1        2      1        0      3        their handles: a transaction's own are looked at first
//! accounts       0 alice, 1 bob, 2 carol, 3 dave                   as they are named first: in the order of their use
//! ```

use crate::keys;
use crate::modules::system::AccountInfo;
use crate::state::{StateReadError, StateReader};
use cairn_primitives::AccountId32;
use cairn_primitives::state_changes::first_bytes;
use std::collections::BTreeMap;
use std::ops::Range;

/// Accounts that most transactions name.
const NAMED_USUAL: usize = 2;
/// Accounts of a block that no transaction names: its proposer's, and a few that calls come to.
const ACCOUNTS_BESIDE: usize = 16;

/// The place of an account among those that returned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AccountRef(usize);

/// An account of the block.
pub(super) struct CachedAccount {
    pub(super) id: AccountId32,
    pub(super) key: keys::AccountKey,
    pub(super) original: Option<AccountInfo>,
    pub(super) current: Option<AccountInfo>,
}

/// All accounts that the block has come to so far.
#[derive(Default)]
pub(super) struct Accounts {
    all: Vec<CachedAccount>,
    /// The accounts that transactions name, one transaction after the other.
    named: Vec<AccountRef>,
    /// Where the names of each transaction end.
    ends: Vec<usize>,
    /// Where those of the transaction at hand stand.
    at_hand: Range<usize>,
    /// Named accounts by the first bytes of their identifier, then by all of it.
    prepared: Vec<(u64, AccountRef)>,
    /// Accounts that no transaction names.
    others: BTreeMap<AccountId32, AccountRef>,
}

impl CachedAccount {
    /// An account as the state has it.
    fn parse(id: AccountId32, key: keys::AccountKey, value: Option<&[u8]>) -> Result<Self, StateReadError> {
        let original = AccountInfo::parse(value)?;
        Ok(Self { id, key, original, current: original })
    }
}

impl Accounts {
    /// Reads the accounts that transactions name, all together, but for those that were loaded before. Once a block.
    ///
    /// # Panics
    /// It was called before.
    pub(super) fn prepare<N: Iterator<Item = AccountId32>>(
        &mut self,
        state: &dyn StateReader,
        transactions: impl ExactSizeIterator<Item = N>,
    ) -> Result<(), StateReadError> {
        assert!(self.ends.is_empty(), "a block's transactions are prepared once");
        let mut names = Vec::with_capacity(transactions.len().saturating_mul(NAMED_USUAL));
        self.ends.reserve(transactions.len());
        for transaction in transactions {
            names.extend(transaction);
            self.ends.push(names.len());
        }
        let sorted = sort(&names);
        let firsts = first_places(&sorted, &names);
        let (first, mut ids) = (self.all.len(), Vec::with_capacity(names.len()));
        for ((place, id), first_place) in names.iter().enumerate().zip(firsts) {
            let known = if first_place < place { self.named.get(first_place) } else { self.others.get(id) };
            self.named.push(known.copied().unwrap_or_else(|| {
                ids.push(*id);
                AccountRef(first.saturating_add(ids.len()).saturating_sub(1))
            }));
        }
        let account = |(first_bytes, place): (u64, usize)| Some((first_bytes, *self.named.get(place)?));
        self.prepared = sorted.into_iter().filter_map(account).collect();
        self.prepared.dedup_by_key(|(_, account)| *account);
        self.read(state, &ids)
    }

    fn read(&mut self, state: &dyn StateReader, ids: &[AccountId32]) -> Result<(), StateReadError> {
        let keys = keys::system_accounts(ids);
        self.all.reserve(ids.len().saturating_add(ACCOUNTS_BESIDE));
        let mut accounts = ids.iter().zip(&keys);
        state.get_many(&keys.iter().map(<[u8; _]>::as_slice).collect::<Vec<_>>(), &mut |value| {
            if let Some((id, key)) = accounts.next() {
                self.all.push(CachedAccount::parse(*id, *key, value)?);
            }
            Ok(())
        })?;
        // A handle without its account would become another's.
        match accounts.next() {
            None => Ok(()),
            Some((id, _)) => Err(StateReadError::new(format!("no answer was given for {id:?}"))),
        }
    }

    /// Says which of the prepared transactions is next, from 0.
    pub(super) fn begin_transaction(&mut self, number: usize) {
        let start = number.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
        let end = self.ends.get(number).copied();
        self.at_hand = start.zip(end).map_or(0..0, |(start, end)| start..end);
    }

    /// The handle of an account, which need not exist; reads it on first use.
    pub(super) fn load(&mut self, state: &dyn StateReader, id: &AccountId32) -> Result<AccountRef, StateReadError> {
        if let Some(found) = self.find(id) {
            return Ok(found);
        }
        let key = keys::system_account(id);
        let found = AccountRef(self.all.len());
        self.all.push(CachedAccount::parse(*id, key, state.get(&key)?.as_deref())?);
        self.others.insert(*id, found);
        Ok(found)
    }

    fn find(&self, id: &AccountId32) -> Option<AccountRef> {
        let at_hand = self.named.get(self.at_hand.clone()).unwrap_or_default();
        let is_it = |account: &&AccountRef| self.get(**account).is_some_and(|cached| cached.id == *id);
        at_hand.iter().find(is_it).or_else(|| self.others.get(id)).copied().or_else(|| self.find_prepared(id))
    }

    fn find_prepared(&self, id: &AccountId32) -> Option<AccountRef> {
        let wanted = first_bytes(&id.0);
        let order = |(first_bytes, account): &(u64, AccountRef)| {
            first_bytes.cmp(&wanted).then_with(|| self.get(*account).map(|cached| cached.id).cmp(&Some(*id)))
        };
        let place = self.prepared.binary_search_by(order).ok()?;
        self.prepared.get(place).map(|(_, account)| *account)
    }

    pub(super) fn get(&self, account: AccountRef) -> Option<&CachedAccount> {
        self.all.get(account.0)
    }

    pub(super) fn get_mut(&mut self, account: AccountRef) -> Option<&mut CachedAccount> {
        self.all.get_mut(account.0)
    }

    pub(super) fn all(&self) -> &[CachedAccount] {
        &self.all
    }
}

/// The places of names in the order of the names, then of the places; each with the first bytes of its name.
fn sort(names: &[AccountId32]) -> Vec<(u64, usize)> {
    let mut sorted: Vec<_> = names.iter().map(|id| first_bytes(&id.0)).zip(0..).collect();
    let name = |place: usize| names.get(place);
    sorted.sort_unstable_by(|(one, a), (other, b)| {
        one.cmp(other).then_with(|| name(*a).cmp(&name(*b))).then_with(|| a.cmp(b))
    });
    sorted
}

/// For each name the place of the first that is equal.
fn first_places(sorted: &[(u64, usize)], names: &[AccountId32]) -> Vec<usize> {
    let mut firsts = vec![0; names.len()];
    for equal in sorted.chunk_by(|(one, a), (other, b)| one == other && names.get(*a) == names.get(*b)) {
        let first = equal.first().map_or(0, |(_, place)| *place);
        for (_, place) in equal {
            if let Some(entry) = firsts.get_mut(*place) {
                *entry = first;
            }
        }
    }
    firsts
}

#[cfg(test)]
mod tests;
