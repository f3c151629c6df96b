//! Why a transaction is refused or dropped.

use cairn_primitives::Height;

/// Why the pool does not take a transaction; the caller may try again after doing what the message says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The same transaction waits already.
    #[error("the transaction is already in the pool")]
    Duplicate,
    /// The same transaction is part of a committed block.
    #[error("the transaction was included in block {height}")]
    AlreadyIncluded {
        /// The height of the block.
        height: Height,
    },
    /// The nonce is used up.
    #[error("nonce {nonce} is used, the account is at nonce {expected}")]
    Stale {
        /// The transaction's nonce.
        nonce: u64,
        /// The account's nonce.
        expected: u64,
    },
    /// The nonce is too far ahead of the account's.
    #[error("nonce {nonce} is too far ahead: the account is at nonce {expected}, the pool takes up to {max}")]
    TooFarFuture {
        /// The transaction's nonce.
        nonce: u64,
        /// The account's nonce.
        expected: u64,
        /// The highest nonce the pool takes now.
        max: u64,
    },
    /// The sender cannot pay for it, nor for it together with the ready transactions before it.
    #[error("costs up to {cost} together with the sender's pending transactions before it, {spendable} can be spent")]
    Unaffordable {
        /// What it and the ready transactions before it may cost, in base units.
        cost: u128,
        /// What the sender may spend, in base units.
        spendable: u128,
    },
    /// The encoding is too long.
    #[error("the transaction has {bytes} bytes, at most {max} are allowed")]
    Oversized {
        /// Bytes of the encoding.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Its era is over.
    #[error("the transaction was valid up to block {valid_until}, the next block is {next}: sign it again")]
    Expired {
        /// The last height it may be included at.
        valid_until: Height,
        /// The height of the next block.
        next: Height,
    },
    /// The pool is full of transactions at least as good.
    #[error("the pool is full: a tip of at least {tip_needed} is needed now, the transaction offers {tip}")]
    PoolFull {
        /// The tip offered, in base units.
        tip: u128,
        /// The tip that would displace another transaction now, in base units.
        tip_needed: u128,
    },
    /// The pool is full of ready transactions and this one cannot be ready yet.
    #[error("the pool is full: send nonce {expected} first, nonce {nonce} would have to wait for it")]
    PoolFullOfReady {
        /// The transaction's nonce.
        nonce: u64,
        /// The sender's next nonce.
        expected: u64,
    },
    /// The sender has as much in the pool as one sender may have.
    #[error(
        "the sender has {transactions} transactions of {bytes} bytes pending, at most {transactions_max} and \
         {bytes_max} are allowed: wait until some are included"
    )]
    SenderFull {
        /// Transactions pending.
        transactions: usize,
        /// Bytes pending.
        bytes: usize,
        /// Transactions allowed.
        transactions_max: usize,
        /// Bytes allowed.
        bytes_max: usize,
    },
    /// A transaction with the same sender and nonce waits, and this one does not offer enough more.
    #[error("replacing the pending transaction with this nonce needs a tip of at least {needed}, not {tip}")]
    ReplacementTooCheap {
        /// The tip offered, in base units.
        tip: u128,
        /// The tip needed, in base units.
        needed: u128,
    },
}

/// Why an admitted transaction left the pool without being included.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DropReason {
    /// Another transaction used its nonce.
    #[error("another transaction used nonce {nonce}, the account is at nonce {expected}")]
    Stale {
        /// The transaction's nonce.
        nonce: u64,
        /// The account's nonce.
        expected: u64,
    },
    /// Its era is over.
    #[error("it was valid up to block {valid_until}")]
    Expired {
        /// The last height it could have been included at.
        valid_until: Height,
    },
    /// It is the sender's next transaction and the sender can no longer pay for it.
    #[error("it costs up to {cost}, the sender can spend {spendable}")]
    Unaffordable {
        /// What it may cost, in base units.
        cost: u128,
        /// What the sender may spend, in base units.
        spendable: u128,
    },
    /// The pool or the sender's share was full and a better transaction came.
    #[error("the pool was full and a better transaction took its place")]
    Evicted,
    /// Executing it in a block failed for good.
    #[error("it cannot be executed: {0}")]
    Invalid(String),
}
