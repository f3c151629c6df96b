//! What the pool knows of a transaction and of its sender.

use cairn_primitives::{AccountId32, Hash, Height};

/// A transaction with the facts the pool orders and bounds it by; its signature was verified by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTransaction<T> {
    /// The extrinsic's hash.
    pub hash: Hash,
    /// Who pays and whose nonce is used.
    pub sender: AccountId32,
    /// The nonce.
    pub nonce: u64,
    /// The tip, in base units: a higher one is chosen first.
    pub priority: u128,
    /// The most it can take from the sender: fee, tip and amounts, in base units.
    pub cost_max: u128,
    /// The last height it may be included at; `Height(u32::MAX)` for ever.
    pub valid_until: Height,
    /// Length of the encoding, in bytes.
    pub bytes_len: usize,
    /// Execution weight, in the unit of [`crate::Selection::weight_max`].
    pub weight: u64,
    /// What [`crate::Pool::select`] hands out; cheap to clone.
    pub payload: T,
}

/// An account as the committed state has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountState {
    /// The nonce of its next transaction.
    pub nonce: u64,
    /// What it can pay with, in base units.
    pub spendable: u128,
}

/// Where a transaction came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From a client of this node: this node tells its peers.
    Local,
    /// From a peer: gossip has spread it already.
    Remote,
}
