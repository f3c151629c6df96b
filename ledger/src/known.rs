//! Transactions whose signatures were verified and that are not in a committed block yet: what comes again, in a block, is
//! neither decoded nor verified again.
//!
//! A table of fixed size: each transaction has one place, by the first bytes of its signature,
//! and the last one to come has it. Whoever grinds signatures for the place of somebody else's costs the others one
//! verification.

use cairn_primitives::OpaqueExtrinsic;
use cairn_runtime::Transaction;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many transactions are remembered at most: what pool and pending blocks hold under load, at some 600 bytes each for
/// those that nobody else holds any more.
pub const TRANSACTIONS_REMEMBERED_MAX: usize = 1 << 16;

/// Where the signature's commitment begins in a signed extrinsic: after version, kind of address, account and scheme.
const SIGNATURE_AT: usize = 35;

/// The table, shared by pool and ledger.
#[derive(Clone, Default)]
pub(crate) struct KnownTransactions(Arc<Mutex<Vec<Option<Transaction>>>>);

impl KnownTransactions {
    /// For each extrinsic the transaction, where it is remembered.
    pub(crate) fn find(&self, extrinsics: &[OpaqueExtrinsic]) -> Vec<Option<Transaction>> {
        let table = self.lock();
        let known = |extrinsic: &OpaqueExtrinsic| {
            let found = table.get(place(extrinsic)?)?.as_ref()?;
            (found.bytes() == extrinsic).then(|| found.clone())
        };
        extrinsics.iter().map(known).collect()
    }

    /// Remembers transactions.
    pub(crate) fn remember<'a>(&self, transactions: impl Iterator<Item = &'a Transaction>) {
        let mut table = self.lock();
        if table.is_empty() {
            table.resize(TRANSACTIONS_REMEMBERED_MAX, None);
        }
        for transaction in transactions {
            if let Some(slot) = place(transaction.bytes()).and_then(|place| table.get_mut(place)) {
                *slot = Some(transaction.clone());
            }
        }
    }

    /// Forgets transactions of a committed block.
    pub(crate) fn forget(&self, transactions: &[Transaction]) {
        let mut table = self.lock();
        for transaction in transactions {
            if let Some(slot) = place(transaction.bytes()).and_then(|place| table.get_mut(place))
                && slot.as_ref().is_some_and(|known| known.bytes() == transaction.bytes())
            {
                *slot = None;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Transaction>>> {
        // A panic elsewhere leaves each place either empty or with a whole transaction.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one place of an extrinsic; `None` where it is too short to be signed.
fn place(extrinsic: &OpaqueExtrinsic) -> Option<usize> {
    let word = extrinsic.bytes().get(SIGNATURE_AT..)?.first_chunk().map(|word| u32::from_le_bytes(*word))?;
    usize::try_from(word).ok()?.checked_rem(TRANSACTIONS_REMEMBERED_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_primitives::{Hash, KeyPair};
    use cairn_runtime::{Era, TransactionExtra, client};

    fn transaction(nonce: u32) -> Transaction {
        let extra = TransactionExtra { era: Era::Immortal, nonce, tip: 0 };
        let key = KeyPair::from_seed(&[1; 32]);
        Transaction::decode(client::sign(&key, &client::remark(vec![1]), extra, &Hash::ZERO, &Hash::ZERO)).unwrap()
    }

    #[test]
    fn transaction_is_found_by_all_of_its_bytes_until_it_is_forgotten() {
        let known = KnownTransactions::default();
        let one = transaction(1);
        assert!(known.find(&[one.bytes().clone()]).iter().all(Option::is_none));
        known.remember([&one].into_iter());
        let mut other = one.bytes().bytes().to_vec();
        *other.last_mut().unwrap() ^= 1;
        let found = known.clone().find(&[OpaqueExtrinsic::new(other), one.bytes().clone()]);
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
        known.forget(&[transaction(2)]);
        assert!(known.find(&[one.bytes().clone()]).iter().all(Option::is_some));
        known.forget(std::slice::from_ref(&one));
        assert!(known.find(&[one.bytes().clone()]).iter().all(Option::is_none));
    }

    #[test]
    fn last_one_to_come_has_the_place() {
        let known = KnownTransactions::default();
        let first = transaction(0);
        let mut bytes = first.bytes().bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let second = Transaction::decode(OpaqueExtrinsic::new(bytes)).unwrap();
        known.remember([&first, &second].into_iter());
        let found = known.find(&[first.bytes().clone(), second.bytes().clone()]);
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
    }
}
