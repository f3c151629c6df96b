//! What consensus and its engines are started with.

use crate::guard::VoteGuard;
use cairn_primitives::{Certificate, Epoch, Hash, Height, TimestampMs, ValidatorSet, View};
use std::sync::Arc;

/// Everything consensus must know about the chain and its node.
#[derive(Clone, Debug)]
pub struct Config {
    /// Hash of the genesis block: part of every signed payload.
    pub genesis: Hash,
    /// The epoch that the next block belongs to.
    pub epoch: EpochStart,
    /// The last block the ledger committed; the opening block where the epoch has none yet.
    pub committed: Head,
    /// The finalization of `committed`, if the ledger holds one of that very block: served to nodes that are behind.
    pub finalization: Option<Certificate>,
    /// The guards of all keys of this node: the one whose key is in an epoch's set votes in it. Without one the node only
    /// observes.
    pub guards: Vec<VoteGuard>,
    /// Time-outs and cadence.
    pub timing: Timing,
    /// For how many views below the last finalized one votes are kept and admitted.
    pub retention: u64,
}

/// An epoch, from the block that opened it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: Epoch,
    /// Its validators.
    pub validators: Arc<ValidatorSet>,
    /// The block that opened it, with view 0.
    pub opening: Head,
    /// The height of the block that closes it; `None` for an epoch without end.
    pub closing: Option<Height>,
}

/// Everything an engine must know about its epoch and its node; one engine per epoch.
#[derive(Clone, Debug)]
pub struct EpochConfig {
    /// Hash of the genesis block: part of every signed payload.
    pub genesis: Hash,
    /// The epoch.
    pub epoch: Epoch,
    /// The validators of the epoch.
    pub validators: Arc<ValidatorSet>,
    /// Signs the votes of this node. An engine without a guard, or with one whose key is outside the set, only observes.
    pub guard: Option<VoteGuard>,
    /// Time-outs and cadence.
    pub timing: Timing,
    /// For how many views below the last finalized one votes are kept and admitted.
    pub retention: u64,
    /// The block that opened the epoch, as view 0. Its hash is what the leader permutation is shuffled with.
    pub opening: Head,
    /// The height of the block that closes the epoch; `None` for an epoch without end.
    pub closing: Option<Height>,
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
    /// The epoch would be over before its first block.
    #[error("the closing block {closing} is not above the block {opening} that opened the epoch")]
    Closing {
        /// Height of the closing block.
        closing: Height,
        /// Height of the opening block.
        opening: Height,
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

impl EpochConfig {
    /// For an engine that stands at the block that opened its epoch.
    #[must_use]
    pub fn at_start(
        start: &EpochStart,
        genesis: Hash,
        guard: Option<VoteGuard>,
        timing: Timing,
        retention: u64,
    ) -> Self {
        Self {
            genesis,
            epoch: start.epoch,
            validators: Arc::clone(&start.validators),
            guard,
            timing,
            retention,
            opening: start.opening,
            closing: start.closing,
            committed: start.opening,
            finalization: None,
        }
    }

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
        if let Some(closing) = self.closing.filter(|closing| *closing <= self.opening.height) {
            return Err(ConfigError::Closing { closing, opening: self.opening.height });
        }
        Ok(())
    }
}
