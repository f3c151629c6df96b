//! The bounds and times of block sync.

use cairn_primitives::message::SYNC_BLOCKS_BYTES_MAX;

/// How often the caller is to feed [`crate::Input::Tick`], in milliseconds: the precision of all times here.
pub const TICK_INTERVAL_MS: u64 = 100;

/// The bounds and times of block sync; [`Default`] suits a node with 150 MiB of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncConfig {
    /// Blocks asked for at once: 128 small blocks are about a megabyte and a few milliseconds of execution.
    pub request_blocks: u32,
    /// Requests in flight in total; each may bring [`SYNC_BLOCKS_BYTES_MAX`].
    pub requests_max: usize,
    /// Requests in flight to one peer: two keep it busy while an answer travels.
    pub requests_per_peer_max: u32,
    /// How far above the last block handed out blocks are fetched.
    pub window_blocks: u32,
    /// Bytes of blocks held or awaited; the next range needed may exceed it by one answer, so that sync never stops.
    pub bytes_max: usize,
    /// Blocks handed out and not yet imported.
    pub importing_max: u32,
    /// After this a request counts as stalled, in milliseconds: the largest answer at 2 MiB/s.
    pub request_timeout_ms: u64,
    /// How often each peer is asked for its tip, in milliseconds; gossip tells sooner.
    pub status_interval_ms: u64,
    /// How long a gap must last before a node that was at the tip asks for blocks, in milliseconds: gossip may come out
    /// of order, and a validator finalizes by itself.
    pub behind_grace_ms: u64,
    /// A gap of more blocks than this is not waited for.
    pub behind_blocks_max: u32,
    /// How long a peer is left out after its first failure, in milliseconds; doubled by each further one in a row.
    pub backoff_ms: u64,
    /// The longest time a peer is left out, in milliseconds.
    pub backoff_ms_max: u64,
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self {
            request_blocks: 128,
            requests_max: 4,
            requests_per_peer_max: 2,
            window_blocks: 2_048,
            bytes_max: SYNC_BLOCKS_BYTES_MAX.saturating_mul(5),
            importing_max: 512,
            request_timeout_ms: 5_000,
            status_interval_ms: 10_000,
            behind_grace_ms: 500,
            behind_blocks_max: 32,
            backoff_ms: 1_000,
            backoff_ms_max: 600_000,
        }
    }
}
