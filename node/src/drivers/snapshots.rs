//! Makes the snapshots that are offered to new nodes, one every so many blocks, beside the node's work.
//!
//! Nodes of one chain make them at the same heights, so that a new node can fetch one from several of them at once.

use crate::bus::Bus;
use crate::metrics::Metrics;
use crate::offered::Offered;
use crate::snapshot::write;
use anyhow::Context as _;
use cairn_ledger::{ReadError, Reader, SnapshotSource};
use cairn_primitives::Height;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// The pause after each chunk of a megabyte: disk and processor are the node's first.
const PAUSE: Duration = Duration::from_millis(10);

/// What the task works with.
pub struct SnapshotDriver {
    /// Where heads are told.
    pub bus: Bus,
    /// What they are made of.
    pub reader: Reader,
    /// Where they go.
    pub offered: Offered,
    /// Blocks between two of them; none are made if it is 0.
    pub interval: u32,
    /// What is measured.
    pub metrics: Metrics,
    /// Closes when the node stops.
    pub stop: watch::Receiver<()>,
}

impl SnapshotDriver {
    /// Runs until the node stops.
    ///
    /// # Errors
    /// A snapshot cannot be written or read.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut heads = self.bus.heads();
        let mut due = self.due_after(self.reader.head().height.max(self.offered.newest().unwrap_or_default()));
        loop {
            tokio::select! {
                moved = heads.changed() => if moved.is_err() { return Ok(()) },
                _ = self.stop.changed() => return Ok(()),
            }
            let head = heads.borrow_and_update().height;
            if due.is_some_and(|due| head >= due) && self.make().await? {
                due = self.due_after(head);
            }
        }
    }

    /// The next height at which one is made; the same for every node.
    fn due_after(&self, height: Height) -> Option<Height> {
        let passed = height.0.checked_div(self.interval)?;
        Some(Height(passed.saturating_add(1).saturating_mul(self.interval)))
    }

    /// Makes one of the newest block; `false` if that block cannot be one's.
    async fn make(&mut self) -> anyhow::Result<bool> {
        let (reader, offered) = (self.reader.clone(), self.offered.clone());
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        let made = tokio::task::spawn_blocking(move || match reader.snapshot() {
            Ok(source) => make(source, &offered, &flag),
            Err(ReadError::NoFinalization(_)) => Ok(None),
            Err(error) => Err(error.into()),
        });
        tokio::pin!(made);
        let made = tokio::select! {
            made = &mut made => made,
            _ = self.stop.changed() => {
                is_over.store(true, Ordering::Relaxed);
                made.await
            }
        };
        let made = made.context("making a snapshot panicked")??;
        if let Some(height) = made {
            self.metrics.snapshot_made();
            tracing::info!(%height, "a snapshot is offered to new nodes");
        }
        Ok(made.is_some() || is_over.load(Ordering::Relaxed))
    }
}

/// Writes and offers a snapshot; `None` if the node stops meanwhile.
fn make(source: SnapshotSource, offered: &Offered, is_over: &AtomicBool) -> anyhow::Result<Option<Height>> {
    let height = source.height();
    let folder = offered.folder(height);
    if folder.exists() {
        return Ok(Some(height));
    }
    let written = write(source, &folder, |_| {
        std::thread::sleep(PAUSE);
        !is_over.load(Ordering::Relaxed)
    });
    if is_over.load(Ordering::Relaxed) {
        return Ok(None);
    }
    written?;
    offered.add(height)?;
    Ok(Some(height))
}
