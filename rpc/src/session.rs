//! What one connection has under way: followed heads and broadcast transactions.
//!
//! A session is made with its connection and travels in the extensions of its requests. When the connection ends,
//! everything in it ends.

use crate::config::RpcConfig;
use crate::error::{Code, RpcError};
use crate::follow::Follow;
use crate::rate::Budget;
use jsonrpsee::Extensions;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::AbortHandle;

/// The session of one connection.
#[derive(Default)]
pub(crate) struct Session {
    /// What its client may call in a time; `None` without limit.
    pub(crate) budget: Option<Arc<Budget>>,
    follows: Mutex<BTreeMap<String, Arc<Follow>>>,
    broadcasts: Mutex<Broadcasts>,
}

#[derive(Default)]
struct Broadcasts {
    tasks: BTreeMap<String, AbortHandle>,
    count: u64,
    is_closed: bool,
}

/// A follow subscription in its session; taken out once dropped.
pub(crate) struct Followed {
    session: Arc<Session>,
    id: String,
    pub(crate) follow: Arc<Follow>,
}

impl Session {
    /// The session of a new connection.
    pub(crate) fn new(budget: Option<Arc<Budget>>) -> Arc<Self> {
        Arc::new(Self { budget, ..Self::default() })
    }

    /// The session of the connection that a request came on.
    pub(crate) fn of(extensions: &Extensions) -> Result<Arc<Self>, RpcError> {
        // Every connection is given one when it is accepted.
        extensions.get::<Arc<Self>>().cloned().ok_or_else(|| RpcError::new(Code::Internal))
    }

    /// Adds a follow subscription.
    ///
    /// # Errors
    /// The connection has as many as it may.
    pub(crate) fn add_follow(
        self: &Arc<Self>,
        id: String,
        follow: Arc<Follow>,
        config: &RpcConfig,
    ) -> Result<Followed, RpcError> {
        let mut follows = lock(&self.follows);
        let limit = config.follows_per_connection_max;
        if follows.len() >= limit {
            return Err(RpcError::with_detail(Code::TooManyFollows, format!("at most {limit} on one connection")));
        }
        follows.insert(id.clone(), Arc::clone(&follow));
        Ok(Followed { session: Arc::clone(self), id, follow })
    }

    /// A follow subscription that is alive.
    pub(crate) fn follow(&self, id: &str) -> Option<Arc<Follow>> {
        lock(&self.follows).get(id).cloned()
    }

    /// Runs a task until the connection ends or it is told to stop; `None` if as many run as may.
    pub(crate) fn broadcast(&self, limit: usize, task: impl Future<Output = ()> + Send + 'static) -> Option<String> {
        let mut broadcasts = lock(&self.broadcasts);
        if broadcasts.is_closed || broadcasts.tasks.len() >= limit {
            return None;
        }
        broadcasts.count = broadcasts.count.saturating_add(1);
        let id = broadcasts.count.to_string();
        broadcasts.tasks.insert(id.clone(), tokio::spawn(task).abort_handle());
        Some(id)
    }

    /// Stops a broadcast; `false` if there is none of that id.
    pub(crate) fn stop_broadcast(&self, id: &str) -> bool {
        lock(&self.broadcasts).tasks.remove(id).map(|task| task.abort()).is_some()
    }

    /// Ends everything: the connection is gone.
    pub(crate) fn close(&self) {
        let mut broadcasts = lock(&self.broadcasts);
        broadcasts.is_closed = true;
        for task in std::mem::take(&mut broadcasts.tasks).into_values() {
            task.abort();
        }
        drop(broadcasts);
        for follow in std::mem::take(&mut *lock(&self.follows)).into_values() {
            follow.close();
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        lock(&self.session.follows).remove(&self.id);
        self.follow.close();
    }
}

/// Each change is one insertion or removal: a panic elsewhere leaves the map whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
