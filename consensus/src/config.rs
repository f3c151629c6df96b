//! What an engine is started with.

use cairn_primitives::{Certificate, Epoch, Hash, Height, KeyPair, TimestampMs, ValidatorSet, View};

/// Everything an engine must know about its epoch and its node; one engine per epoch.
#[derive(Clone, Debug)]
pub struct Config {
    /// Hash of the genesis block: part of every signed payload.
    pub genesis: Hash,
    /// The epoch.
    pub epoch: Epoch,
    /// The validators of the epoch.
    pub validators: ValidatorSet,
    /// The consensus key of this node. An engine without a key, or with one outside the set, only observes.
    pub key: Option<KeyPair>,
    /// What the leader permutation is shuffled with: the same at every node, from the block that opened the epoch.
    pub leader_seed: Hash,
    /// Time-outs and cadence.
    pub timing: Timing,
    /// For how many views below the last finalized one votes are kept and admitted.
    pub retention: u64,
    /// The block that opened the epoch, as view 0.
    pub opening: Head,
    /// The last block the ledger committed; equal to `opening` where the epoch has no finalized block yet.
    pub committed: Head,
    /// The finalization of `committed`, if the ledger holds one of that very block: served to nodes that are behind.
    pub finalization: Option<Certificate>,
}

/// Time-outs and cadence, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a view waits for its leader's proposal; above zero.
    pub leader_timeout_ms: u64,
    /// How long a view waits for a certified block; above the leader time-out.
    pub certify_timeout_ms: u64,
    /// How often unanswered votes and fetches are repeated; above zero.
    pub retry_ms: u64,
    /// A leader not heard from for this long is not waited for while a quorum is heard.
    pub skip_timeout_ms: u64,
    /// The least time between a block's timestamp and its child's proposal; 0 counts as 1.
    pub block_interval_ms: u64,
    /// How long a leader without transactions waits before it proposes an empty block.
    pub idle_block_interval_ms: u64,
}

/// A block at the tip of the committed chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: Hash,
    /// The view it was proposed in; 0 for the block that opened the epoch.
    pub view: View,
    /// Its timestamp.
    pub timestamp: TimestampMs,
}

/// Why an engine cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Time-outs that cannot work together.
    #[error(
        "leader_timeout_ms is {leader_timeout_ms}, certify_timeout_ms is {certify_timeout_ms}: \
         both must be above 0 and the second above the first"
    )]
    Timeouts {
        /// The leader time-out.
        leader_timeout_ms: u64,
        /// The certify time-out.
        certify_timeout_ms: u64,
    },
    /// A retry interval of zero would spin.
    #[error("retry_ms is 0: it must be above 0")]
    NoRetry,
    /// Idle leaders would propose sooner than busy ones.
    #[error("idle_block_interval_ms is {idle_ms}, below block_interval_ms {busy_ms}: it must not be shorter")]
    Intervals {
        /// The idle interval.
        idle_ms: u64,
        /// The block interval.
        busy_ms: u64,
    },
    /// The committed block is older than the one that opened the epoch.
    #[error("the committed block {committed} is below the block {opening} that opened the epoch")]
    Committed {
        /// Height of the committed block.
        committed: Height,
        /// Height of the opening block.
        opening: Height,
    },
}

impl Config {
    /// Checks what no type can say.
    ///
    /// # Errors
    /// Time-outs or intervals contradict each other, or the committed block lies below the opening one.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Timing { leader_timeout_ms, certify_timeout_ms, .. } = self.timing;
        if leader_timeout_ms == 0 || certify_timeout_ms <= leader_timeout_ms {
            return Err(ConfigError::Timeouts { leader_timeout_ms, certify_timeout_ms });
        }
        if self.timing.retry_ms == 0 {
            return Err(ConfigError::NoRetry);
        }
        let (idle_ms, busy_ms) = (self.timing.idle_block_interval_ms, self.timing.block_interval_ms);
        if idle_ms < busy_ms {
            return Err(ConfigError::Intervals { idle_ms, busy_ms });
        }
        if self.committed.height < self.opening.height {
            return Err(ConfigError::Committed { committed: self.committed.height, opening: self.opening.height });
        }
        Ok(())
    }
}
