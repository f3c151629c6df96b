//! Who follows which transaction.

use cairn_mempool::{DropReason, Output};
use cairn_primitives::Hash;
use cairn_rpc::TransactionStatus;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Transactions that may be followed at once; the states of a further one end at once.
const WATCHED_MAX: usize = 65_536;

/// States that may wait for one follower: no transaction goes through more.
const STATES_MAX: usize = 16;

/// The followers by transaction.
#[derive(Debug, Default)]
pub struct Watchers(Mutex<BTreeMap<Hash, Vec<mpsc::Sender<TransactionStatus>>>>);

impl Watchers {
    /// Follows a transaction.
    pub fn watch(&self, hash: Hash) -> mpsc::Receiver<TransactionStatus> {
        let (sender, receiver) = mpsc::channel(STATES_MAX);
        let mut watched = self.lock();
        if watched.len() >= WATCHED_MAX {
            watched.retain(|_, followers| followers.iter().any(|follower| !follower.is_closed()));
        }
        if watched.len() < WATCHED_MAX {
            watched.entry(hash).or_default().push(sender);
        }
        receiver
    }

    /// Tells what became of transactions in the pool.
    pub fn tell(&self, outputs: &[Output]) {
        let mut watched = self.lock();
        if watched.is_empty() {
            return;
        }
        for output in outputs {
            let (hash, status) = match output {
                Output::Admitted { hash, ready: true, .. } | Output::Promoted { hash } => {
                    (hash, TransactionStatus::Ready)
                }
                Output::Admitted { hash, ready: false, .. } | Output::Demoted { hash } => {
                    (hash, TransactionStatus::Future)
                }
                Output::Replaced { old, new } => (old, TransactionStatus::Usurped(*new)),
                Output::Dropped { hash, reason: DropReason::Evicted } => (hash, TransactionStatus::Dropped),
                Output::Dropped { hash, .. } => (hash, TransactionStatus::Invalid),
                Output::Refused { .. } | Output::Included { .. } | Output::Propagate { .. } => continue,
            };
            send(&mut watched, hash, status);
        }
    }

    /// Tells that a block with these transactions, in order, is final.
    pub fn included(&self, block: &Hash, transactions: &[Hash]) {
        let mut watched = self.lock();
        if watched.is_empty() {
            return;
        }
        for (hash, index) in transactions.iter().zip(0u32..) {
            send(&mut watched, hash, TransactionStatus::Included { block: *block, index });
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Hash, Vec<mpsc::Sender<TransactionStatus>>>> {
        // Each change is one insertion or removal: a panic elsewhere leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn send(watched: &mut BTreeMap<Hash, Vec<mpsc::Sender<TransactionStatus>>>, hash: &Hash, status: TransactionStatus) {
    let Some(followers) = watched.get_mut(hash) else { return };
    // A follower that does not read its few states is gone or stuck.
    followers.retain(|follower| follower.try_send(status).is_ok());
    let is_last = match status {
        TransactionStatus::Ready | TransactionStatus::Future => false,
        TransactionStatus::Included { .. }
        | TransactionStatus::Usurped(_)
        | TransactionStatus::Dropped
        | TransactionStatus::Invalid => true,
    };
    if is_last || followers.is_empty() {
        watched.remove(hash);
    }
}
