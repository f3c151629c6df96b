//! The loop that fills in the states of an archive once its blocks are here: on a thread of its own, when there is time.
//!
//! ```text
//!   blocks from genesis are here ─► execute them again in `<data>/replay` ─► copy what that has of the past ─► remove it
//!                                   a step, a rest as long                   a chunk, a rest as long
//! ```
//! It works while the node follows the tip, at the lowest priority. What fails while blocks are executed ends the filling and
//! not the node.

use crate::drivers::backfill::FillSigns;
use crate::drivers::ledger::{Command, LedgerHandle};
use crate::metrics::Metrics;
use crate::opening::open_database;
use anyhow::Context as _;
use cairn_ledger::{LedgerConfig, LedgerError, Reader, Replay};
use cairn_primitives::Height;
use cairn_storage::ArchiveMerge;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

/// Memory of the side database for blocks of its files, in bytes.
const CACHE_BYTES: usize = 8 << 20;
/// How long it rests after a step at most.
const REST_MAX: Duration = Duration::from_secs(1);
/// How often the log tells how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Removes what a filling left.
///
/// # Errors
/// The folder cannot be removed.
pub fn remove(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("the folder {} cannot be removed", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What the thread works with.
pub struct ReplayDriver {
    /// Where blocks are executed again.
    pub folder: PathBuf,
    /// The chain, as the node's own ledger has it.
    pub config: LedgerConfig,
    /// Where blocks come from.
    pub reader: Reader,
    /// Where the past states go.
    pub merge: ArchiveMerge,
    /// Who makes them part of the archive.
    pub ledger: LedgerHandle,
    /// What is measured.
    pub metrics: Metrics,
    /// When there is something to do.
    pub signs: FillSigns,
    /// Closes when the node stops.
    pub stop: watch::Receiver<()>,
    /// Where it waits.
    pub runtime: Handle,
}

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Work,
    Stop,
}

/// How far the log told.
struct Told {
    at: Instant,
    height: Height,
}

impl ReplayDriver {
    /// Runs until the node stops.
    ///
    /// # Errors
    /// The node's own database failed, or the ledger has stopped.
    pub fn run(mut self) -> anyhow::Result<()> {
        lower_priority();
        if self.wait() == Next::Work {
            match self.execute() {
                Ok(Some(replay)) => self.take_over(replay)?,
                Ok(None) => {}
                Err(error) => {
                    let (error, folder) = (crate::exit::one_line(&error), self.folder.display());
                    tracing::error!("the states below {} are not filled in, {folder}: {error}", self.merge.to());
                }
            }
        }
        // There is nothing more to do, and the node goes on.
        drop(self.runtime.block_on(self.stop.changed()));
        Ok(())
    }

    /// Executes all blocks up to where the states begin; `None` if the node stops before.
    fn execute(&mut self) -> anyhow::Result<Option<Replay>> {
        let mut replay = self.open()?;
        let to = self.merge.to();
        self.metrics.replayed(replay.height().0);
        let mut told = Told { at: Instant::now(), height: replay.height() };
        tracing::info!(from = %replay.height(), %to, "filling the archive: executing the blocks below while blocks go on");
        loop {
            if self.wait() == Next::Stop {
                replay.settle()?;
                return Ok(None);
            }
            let started = Instant::now();
            if !replay.step(&self.reader, to)? {
                return Ok(Some(replay));
            }
            self.metrics.replayed(replay.height().0);
            told.tell(replay.height(), to);
            self.rest(started.elapsed());
        }
    }

    /// Copies the past states, and removes the folder once they are part of the archive.
    fn take_over(&mut self, replay: Replay) -> anyhow::Result<()> {
        tracing::info!("filling the archive: taking over the states below");
        let (mut told, mut chunks) = (Instant::now(), 0_u64);
        let wrong =
            format!("the states below cannot be taken over; if {} is damaged, delete it", self.folder.display());
        loop {
            let started = Instant::now();
            if !self.merge.step(replay.view()).with_context(|| wrong.clone())? {
                break;
            }
            chunks = chunks.saturating_add(1);
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                tracing::info!(chunks, "filling the archive: taking over the states below");
            }
            self.rest(started.elapsed());
            if self.wait() == Next::Stop {
                return Ok(());
            }
        }
        let (reply, outcome) = oneshot::channel::<Result<(), LedgerError>>();
        let finish = async {
            self.ledger.send(Command::FinishMerge { reply }).await?;
            outcome.await.context("the ledger has stopped")?.context("the states below cannot be taken over")
        };
        self.runtime.block_on(finish)?;
        drop(replay);
        tracing::info!("the archive has all states from genesis on");
        remove(&self.folder)
    }

    /// Opens the side folder, or begins it anew where what it holds is of no use.
    fn open(&self) -> anyhow::Result<Replay> {
        match self.try_open() {
            Ok(replay) if replay.is_of(&self.reader)? => return Ok(replay),
            Ok(_) => tracing::warn!("{} is of other blocks: beginning anew", self.folder.display()),
            Err(error) => {
                tracing::warn!("{}: {}: beginning anew", self.folder.display(), crate::exit::one_line(&error));
            }
        }
        remove(&self.folder)?;
        self.try_open()
    }

    fn try_open(&self) -> anyhow::Result<Replay> {
        Ok(Replay::open(open_database(&self.folder, CACHE_BYTES)?, self.config.clone())?)
    }

    /// Waits until there is something to do.
    fn wait(&mut self) -> Next {
        let Self { runtime, signs, stop, .. } = self;
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = stop.changed() => Next::Stop,
                ready = signs.ready() => ready.map_or(Next::Stop, |()| Next::Work),
            }
        })
    }

    /// Leaves the processor and the disk to others for as long as it had them.
    fn rest(&mut self, worked: Duration) {
        let Self { runtime, stop, .. } = self;
        // The stop is seen again by whoever waits next.
        drop(runtime.block_on(async { tokio::time::timeout(worked.min(REST_MAX), stop.changed()).await }));
    }
}

impl Told {
    fn tell(&mut self, height: Height, to: Height) {
        if self.at.elapsed() < TELL_EVERY {
            return;
        }
        let blocks = height.0.saturating_sub(self.height.0);
        let blocks_per_second = u64::from(blocks) / self.at.elapsed().as_secs().max(1);
        tracing::info!(%height, %to, blocks_per_second, "filling the archive: executing the blocks below");
        *self = Self { at: Instant::now(), height };
    }
}

/// Takes what others leave of the processor. Elsewhere than on Linux a priority is that of the whole process.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(LOWEST_PRIORITY) {
        tracing::debug!(%error, "the priority of a thread cannot be lowered");
    }
}

/// The largest niceness.
#[cfg(target_os = "linux")]
const LOWEST_PRIORITY: i32 = 19;
