//! The loop that fills in the states of an archive once its blocks are here: on a thread of its own, when there is time.
//!
//! ```text
//!   blocks from genesis are here ─► execute them again in `<data>/replay` ─► copy what that has of the past ─► remove it
//!                                   a step, a rest as long                   a chunk, a rest as long
//! ```
//! It works while the node follows the tip and the disk has room, and executes at the lowest priority. What fails ends the filling
//! and not the node.

use crate::drivers::backfill::FillSigns;
use crate::drivers::ledger::{Command, LedgerHandle};
use crate::metrics::Metrics;
use anyhow::Context as _;
use cairn_ledger::{LedgerConfig, LedgerError, Reader, Replay};
use cairn_primitives::Height;
use cairn_storage::{ArchiveMerge, DatabaseError, StateError};
use cairn_storage_cpu::{BEHIND_ALL, give_way};
use cairn_storage_rocks::{OpenError, RocksDatabase, RocksOptions, is_database};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

/// Memory of the side database for blocks of its files, in bytes.
const CACHE_BYTES: usize = 8 << 20;
/// How long it rests after a step at most.
const REST_MAX: Duration = Duration::from_secs(1);
/// It waits where less than this part of the disk is free.
const DISK_FREE_SHARE: u64 = 20;
/// How often the log tells how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Removes what a filling left: a folder that is a database of this program. Where that fails it stays, and the log says so.
pub fn remove(folder: &Path) {
    if is_database(folder)
        && let Err(error) = fs::remove_dir_all(folder)
    {
        tracing::warn!(%error, "{} is of no use any more and cannot be removed: delete what is in it", folder.display());
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
    /// Runs until the node stops; what fails ends the filling.
    pub fn run(mut self) {
        if self.wait() == Next::Work
            && let Err(error) = self.fill()
        {
            let (to, folder, error) = (self.merge.to(), self.folder.display(), crate::exit::one_line(&error));
            tracing::error!(
                "the states below {to} are not filled in, the rest of the archive is whole: {error}; to try again restart the node, \
                 to begin anew delete {folder} before, to do without set sync.backfill = false"
            );
        }
        // There is nothing more to do, and the node goes on.
        drop(self.runtime.block_on(self.stop.changed()));
    }

    fn fill(&mut self) -> anyhow::Result<()> {
        let executed = thread::scope(|scope| {
            let work = || {
                if let Err(error) = give_way(BEHIND_ALL) {
                    tracing::debug!(%error, "the priority of a thread cannot be lowered");
                }
                self.execute()
            };
            let thread = thread::Builder::new().name("replay execution".to_owned()).spawn_scoped(scope, work)?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        // Whoever waits for the disk must not wait for the processor, too: blocks that are committed may be behind it.
        executed?.map_or(Ok(()), |replay| self.take_over(replay))
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
            if is_disk_short(&self.folder) {
                told.tell_short(&self.folder);
                self.rest(REST_MAX);
                continue;
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
        loop {
            let started = Instant::now();
            if !self.merge.step(replay.view())? {
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
            Ok::<_, anyhow::Error>(outcome.await.context("the ledger has stopped")??)
        };
        self.runtime.block_on(finish)?;
        drop(replay);
        tracing::info!("the archive has all states from genesis on");
        remove(&self.folder);
        Ok(())
    }

    /// Opens the side folder, or begins it anew where what it holds is of no use.
    fn open(&self) -> anyhow::Result<Replay> {
        let reason = match self.try_open() {
            Ok(replay) if replay.is_of(&self.reader)? => return Ok(replay),
            Ok(_) => "it is of other blocks".to_owned(),
            Err(error) if is_of_no_use(&error) => crate::exit::one_line(&error),
            Err(error) => return Err(error),
        };
        tracing::warn!("{}: {reason}: beginning anew", self.folder.display());
        fs::remove_dir_all(&self.folder)?;
        self.try_open()
    }

    fn try_open(&self) -> anyhow::Result<Replay> {
        let database = RocksDatabase::open(&self.folder, RocksOptions { cache_bytes: CACHE_BYTES })?;
        Ok(Replay::open(Arc::new(database), self.config.clone())?)
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

    fn tell_short(&mut self, folder: &Path) {
        if self.at.elapsed() >= TELL_EVERY {
            self.at = Instant::now();
            tracing::warn!(
                "filling the archive waits: less than a {DISK_FREE_SHARE}th of the disk of {} is free; make room, or set \
                 sync.backfill = false and delete that folder",
                folder.display()
            );
        }
    }
}

/// Whether a folder could not be opened for what it holds: nothing that room, rights or another program would mend.
fn is_of_no_use(error: &anyhow::Error) -> bool {
    let of_ledger = |error: &LedgerError| {
        !matches!(
            error,
            LedgerError::Database(DatabaseError::Engine { .. })
                | LedgerError::State(StateError::Database(DatabaseError::Engine { .. }))
        )
    };
    match error.downcast_ref::<OpenError>() {
        Some(error) => matches!(error, OpenError::Damaged { .. } | OpenError::Older { .. }),
        None => error.downcast_ref().is_some_and(of_ledger),
    }
}

/// Whether so little of the disk is left that blocks come first.
fn is_disk_short(folder: &Path) -> bool {
    #[cfg(target_os = "linux")]
    if let Ok(disk) = rustix::fs::statvfs(folder) {
        return disk.f_bavail < disk.f_blocks / DISK_FREE_SHARE;
    }
    false
}
