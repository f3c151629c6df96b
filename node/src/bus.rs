//! Facts about the chain, told once to everyone who listens.
//!
//! A fact carries its height. Nobody waits for a listener: one that lags is told so and reads what it missed from the
//! read model.

use cairn_ledger::CommittedBlock;
use cairn_rpc::Head;
use std::sync::Arc;
use tokio::sync::{broadcast, watch};

/// How many committed blocks a listener may lie behind before it must re-read.
const BLOCKS_BUFFERED_MAX: usize = 64;

/// The event bus of the node.
#[derive(Clone)]
pub struct Bus {
    heads: watch::Sender<Head>,
    blocks: broadcast::Sender<Arc<CommittedBlock>>,
}

impl Bus {
    /// A bus that starts at `head`.
    #[must_use]
    pub fn new(head: Head) -> Self {
        Self { heads: watch::Sender::new(head), blocks: broadcast::Sender::new(BLOCKS_BUFFERED_MAX) }
    }

    /// Tells that a block became final and can be read.
    pub fn committed(&self, block: Arc<CommittedBlock>) {
        self.heads.send_replace(Head { height: block.height, hash: block.hash });
        // Nobody listening is fine.
        drop(self.blocks.send(block));
    }

    /// The newest head, and a wake-up when it moves.
    #[must_use]
    pub fn heads(&self) -> watch::Receiver<Head> {
        self.heads.subscribe()
    }

    /// Every block from now on.
    #[must_use]
    pub fn blocks(&self) -> broadcast::Receiver<Arc<CommittedBlock>> {
        self.blocks.subscribe()
    }
}
