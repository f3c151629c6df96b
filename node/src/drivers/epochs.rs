//! Tells the network and block sync who the validators of a new epoch are.
//!
//! Validators of the last epoch stay linked for one more: those who are still in it get its last finalization on that way.
//!
//! Consensus hears of it from the ledger itself, in order with its other answers. Here only the newest epoch matters, so the
//! task follows the head, which cannot be missed, and reads the rest.

use crate::bus::Bus;
use crate::drivers::sync::SyncHandle;
use cairn_ledger::{OpenedEpoch, Reader};
use cairn_network::{Handle as Network, Validators};
use cairn_primitives::Epoch;
use tokio::sync::watch;

/// What the task works with.
pub struct EpochWatch {
    /// Where heads are told.
    pub bus: Bus,
    /// Where epochs are read.
    pub reader: Reader,
    /// Who is told.
    pub network: Network,
    /// Who is told.
    pub sync: SyncHandle,
    /// Closes when the node stops: the handles held here would keep others waiting.
    pub stop: watch::Receiver<()>,
    /// The epoch that everybody started with.
    pub told: Epoch,
}

impl EpochWatch {
    /// Runs until the node stops.
    ///
    /// # Errors
    /// The validators of an epoch cannot be read.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut heads = self.bus.heads();
        loop {
            let current = self.reader.current_epoch();
            while self.told < current.epoch {
                self.told = self.told.next();
                self.sync.validators(self.told, self.reader.validators_of(self.told)?).await;
                if self.told == current.epoch {
                    let validators = linked(&self.reader, &current)?;
                    if self.network.set_validators(validators).await.is_err() {
                        return Ok(()); // The network has stopped, and so does the node.
                    }
                }
            }
            tokio::select! {
                moved = heads.changed() => if moved.is_err() { return Ok(()) },
                _ = self.stop.changed() => return Ok(()),
            }
        }
    }
}

/// Whom a node in this epoch keeps links with: its validators and those of the epoch before.
///
/// # Errors
/// The validators of the epoch before cannot be read.
pub fn linked(reader: &Reader, epoch: &OpenedEpoch) -> anyhow::Result<Validators> {
    let mut linked = Validators::new(epoch.epoch, &epoch.validators);
    if epoch.epoch > Epoch::ZERO {
        let last = reader.validators_of(epoch.epoch.previous())?;
        linked.keys.extend(last.validators().iter().map(|validator| validator.key));
    }
    Ok(linked)
}
