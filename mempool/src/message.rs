//! What goes into the pool's `step` and what comes out.

use crate::error::{DropReason, Refusal};
use crate::transaction::{AccountState, Origin, PoolTransaction};
use cairn_primitives::{AccountId32, Hash, Height};

/// An input of [`crate::Pool::step`].
#[derive(Clone, Debug)]
pub enum Input<T> {
    /// A transaction arrived and was found valid by itself. Answered by exactly one `Admitted` or `Refused`.
    Insert {
        /// The transaction.
        transaction: PoolTransaction<T>,
        /// The sender's account, read from a committed state that is not older than the pool's last block.
        account: AccountState,
        /// Where it came from.
        origin: Origin,
    },
    /// A block was committed.
    BlockCommitted {
        /// Its height.
        height: Height,
        /// The hashes of its transactions.
        included: Vec<Hash>,
        /// The accounts it changed, as they are now; only those of which [`crate::Pool::is_sender`] holds matter.
        accounts: Vec<(AccountId32, AccountState)>,
    },
    /// A transaction that [`crate::Pool::select`] handed out can never be executed.
    Invalid {
        /// Its hash.
        hash: Hash,
        /// What the executor said.
        reason: String,
    },
    /// Time went by; wanted about once a second.
    Tick,
}

/// An output of [`crate::Pool::step`], in the order in which things happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The transaction is in the pool.
    Admitted {
        /// Its hash.
        hash: Hash,
        /// Whether it can go into the next block; else it waits for an earlier nonce.
        ready: bool,
        /// Whether this node is to send it to its peers.
        propagate: bool,
    },
    /// The transaction is not in the pool, or not a second time.
    Refused {
        /// Its hash.
        hash: Hash,
        /// Why.
        reason: Refusal,
    },
    /// A transaction took the place of another with the same sender and nonce.
    Replaced {
        /// The hash of the one that left.
        old: Hash,
        /// The hash of the one that came.
        new: Hash,
    },
    /// A waiting transaction became ready.
    Promoted {
        /// Its hash.
        hash: Hash,
    },
    /// A ready transaction must wait: one before it left, or the sender can spend less.
    Demoted {
        /// Its hash.
        hash: Hash,
    },
    /// A transaction of the pool is part of a committed block.
    Included {
        /// Its hash.
        hash: Hash,
        /// The height of the block.
        height: Height,
    },
    /// A transaction left the pool without being included.
    Dropped {
        /// Its hash.
        hash: Hash,
        /// Why.
        reason: DropReason,
    },
    /// A local transaction is still pending: send it to the peers again.
    Propagate {
        /// Its hash.
        hash: Hash,
    },
}
