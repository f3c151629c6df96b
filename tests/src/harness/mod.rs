//! Networks of real node processes on loopback addresses.
//!
//! A [`Network`] writes a chain spec and one folder for each node into a temporary folder and starts `cairn run` in it. It
//! never sleeps to let something happen: it waits for what a node says over JSON-RPC or writes into its log, up to a generous
//! deadline. Processes are killed when their [`Node`] goes away, also where a test fails; then the ends of the logs are
//! printed. The nodes watch their standard input, so that none outlives the test program however that ends.
//!
//! Networks take turns ([`turn`]): several at a time on two cores would measure each other.

mod client;
mod network;
mod node;
mod program;

pub use client::{
    Observer, account, hashes, height_of, id, metric, signed_calls, signed_transfer, submit_transfer, transfer,
};
pub use network::{Network, Shape, add_accounts, fast_spec};
pub use node::{Node, Place, Settings, Signal, ports, wait_for_end};
pub(crate) use program::start;
pub use program::{Finished, cairn, program};

use anyhow::Context as _;
use std::future::Future;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep, timeout};

/// How long anything may take that takes a second or two on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often something that sends no event is looked at again.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

static TURN: Mutex<()> = Mutex::const_new(());

/// Waits until no other test of this program runs a network.
pub async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// Looks until there is an answer.
///
/// # Errors
/// There is none before the deadline, or a look fails for good.
pub async fn until<T, F, L>(what: &str, mut look: L) -> anyhow::Result<T>
where
    L: FnMut() -> F,
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = timeout(PATIENCE, look()).await.with_context(|| format!("no answer while waiting for {what}"))??;
        if let Some(seen) = seen {
            return Ok(seen);
        }
        anyhow::ensure!(Instant::now() < deadline, "{what}: not within {} s", PATIENCE.as_secs());
        sleep(LOOK_INTERVAL).await;
    }
}
