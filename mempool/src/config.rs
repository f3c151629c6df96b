//! The bounds of a pool.

/// The bounds of a pool; [`Default`] suits a validator with 150 MiB of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Transactions in total. 100,000 are five seconds of the throughput aimed at.
    pub transactions_max: usize,
    /// Bytes of all encoded transactions. 64 MiB are sixteen of the largest blocks.
    pub bytes_max: usize,
    /// Bytes of one transaction. 256 KiB let four of the largest share a gossip message.
    pub transaction_bytes_max: usize,
    /// Transactions of one sender, and how far from the account's nonce a nonce may be: any of these nonces may arrive
    /// in any order. 1,024 keep one sender below about one percent of the pool.
    pub sender_transactions_max: usize,
    /// Bytes of one sender's transactions. 1 MiB is one sixty-fourth of the pool.
    pub sender_bytes_max: usize,
    /// By how many percent a replacement must raise the tip, so that replacing costs more than it makes others gossip.
    pub replacement_percent: u32,
    /// How many hashes of included transactions are remembered to refuse late duplicates without reading state.
    pub included_max: usize,
    /// After how long a local transaction that is still pending is offered to the peers again, in milliseconds.
    pub propagate_again_ms: u64,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            transactions_max: 100_000,
            bytes_max: 64 << 20,
            transaction_bytes_max: 256 << 10,
            sender_transactions_max: 1_024,
            sender_bytes_max: 1 << 20,
            replacement_percent: 10,
            included_max: 65_536,
            propagate_again_ms: 10_000,
        }
    }
}
