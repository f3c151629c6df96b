//! One `chainHead_v1_follow` subscription: the blocks it pins and the operations it has under way.
//!
//! ```text
//! method (body, call, storage) ── slots free? ──► operation task ──► events ──► the subscription's task ──► client
//!                                    continue, stopOperation ──┘   (bounded)    (heads and pins)
//! ```
//!
//! An operation begins only after its answer with the id is on its way, so no event overtakes it. The events channel is
//! bounded: operations of a client that does not read wait, and end with the subscription.

use crate::error::{Code, RpcError};
use cairn_primitives::Hash;
use jsonrpsee::server::MethodResponseFuture;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;

/// Events of operations that wait for the subscription's task.
const EVENTS_LEN: usize = 16;

/// The state of one follow subscription.
pub(crate) struct Follow {
    /// Whether runtimes are reported, and so calls allowed.
    pub(crate) with_runtime: bool,
    pins_max: usize,
    slots_max: usize,
    events: mpsc::Sender<Value>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pinned: BTreeSet<Hash>,
    operations: BTreeMap<String, Operation>,
    slots_used: usize,
    count: u64,
    is_closed: bool,
}

/// An operation under way.
struct Operation {
    slots: usize,
    task: AbortHandle,
    resume: Arc<Notify>,
    is_waiting: bool,
}

/// An operation seen from its own task.
pub(crate) struct Running {
    follow: Arc<Follow>,
    resume: Arc<Notify>,
    /// Its id.
    pub(crate) id: String,
}

/// An operation that begins once its answer is sent.
pub(crate) struct Started {
    /// Its id.
    pub(crate) id: String,
    /// How many of the wanted slots it has.
    pub(crate) slots: usize,
    /// Items that found no slot, of an operation with items.
    pub(crate) discarded: Option<usize>,
    /// Takes what tells that the answer is on its way.
    pub(crate) begin: oneshot::Sender<MethodResponseFuture>,
}

impl Follow {
    /// A subscription without pins, and where events of its operations come out.
    pub(crate) fn new(with_runtime: bool, pins_max: usize, slots_max: usize) -> (Arc<Self>, mpsc::Receiver<Value>) {
        let (events, receiver) = mpsc::channel(EVENTS_LEN);
        (Arc::new(Self { with_runtime, pins_max, slots_max, events, state: Mutex::default() }), receiver)
    }

    /// Pins a block; `false` if as many are pinned as may be.
    pub(crate) fn pin(&self, hash: Hash) -> bool {
        let mut state = self.lock();
        state.pinned.len() < self.pins_max && {
            state.pinned.insert(hash);
            true
        }
    }

    /// Checks that a block is pinned.
    pub(crate) fn check_pinned(&self, hash: &Hash) -> Result<(), RpcError> {
        if self.lock().pinned.contains(hash) { Ok(()) } else { Err(not_pinned(hash)) }
    }

    /// Unpins all of `hashes`, or none if one of them is not pinned or named twice.
    pub(crate) fn unpin(&self, hashes: &[Hash]) -> Result<(), RpcError> {
        let unique: BTreeSet<_> = hashes.iter().collect();
        if unique.len() < hashes.len() {
            return Err(RpcError::new(Code::DuplicateHashes));
        }
        let mut state = self.lock();
        if let Some(unknown) = hashes.iter().find(|hash| !state.pinned.contains(hash)) {
            return Err(not_pinned(unknown));
        }
        for hash in hashes {
            state.pinned.remove(hash);
        }
        Ok(())
    }

    /// Starts an operation with as many of the `wanted` slots as are free; `None` if none is.
    pub(crate) fn start<Run, Task>(self: &Arc<Self>, wanted: usize, run: Run) -> Option<Started>
    where
        Run: FnOnce(Running, usize) -> Task,
        Task: Future<Output = ()> + Send + 'static,
    {
        let mut state = self.lock();
        let slots = wanted.min(self.slots_max.saturating_sub(state.slots_used));
        if state.is_closed || slots == 0 {
            return None;
        }
        state.count = state.count.saturating_add(1);
        state.slots_used = state.slots_used.saturating_add(slots);
        let id = state.count.to_string();
        let resume = Arc::new(Notify::new());
        let (begin, begun) = oneshot::channel::<MethodResponseFuture>();
        let running = Running { follow: Arc::clone(self), resume: Arc::clone(&resume), id: id.clone() };
        let work = run(running, slots);
        let (follow, own) = (Arc::clone(self), id.clone());
        let task = tokio::spawn(async move {
            if let Ok(sent) = begun.await
                && sent.await.is_err()
            {
                tracing::trace!("the answer went out in a batch");
            }
            work.await;
            follow.remove(&own);
        });
        state.operations.insert(id.clone(), Operation { slots, task: task.abort_handle(), resume, is_waiting: false });
        Some(Started { id, slots, discarded: None, begin })
    }

    /// Stops an operation, if there is one of that id.
    pub(crate) fn stop(&self, id: &str) {
        if let Some(operation) = self.remove(id) {
            operation.task.abort();
        }
    }

    /// Lets an operation go on that waits for it.
    pub(crate) fn resume(&self, id: &str) -> Result<(), RpcError> {
        match self.lock().operations.get_mut(id) {
            None => Ok(()),
            Some(operation) if operation.is_waiting => {
                operation.is_waiting = false;
                operation.resume.notify_one();
                Ok(())
            }
            Some(_) => Err(RpcError::new(Code::NothingToContinue)),
        }
    }

    /// Ends all operations: the subscription is over.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.pinned.clear();
        for operation in std::mem::take(&mut state.operations).into_values() {
            operation.task.abort();
        }
    }

    fn remove(&self, id: &str) -> Option<Operation> {
        let mut state = self.lock();
        let operation = state.operations.remove(id)?;
        state.slots_used = state.slots_used.saturating_sub(operation.slots);
        Some(operation)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Sends an event; waits while the client reads others.
    pub(crate) async fn send(&self, event: Value) {
        // An error means that the subscription ended; the task ends with it.
        drop(self.follow.events.send(event).await);
    }

    /// Marks the operation as waiting, says so to the client by `event`, and waits to be continued.
    pub(crate) async fn wait_for_continue(&self, event: Value) {
        if let Some(operation) = self.follow.lock().operations.get_mut(&self.id) {
            operation.is_waiting = true;
        }
        self.send(event).await;
        self.resume.notified().await;
    }
}

fn not_pinned(hash: &Hash) -> RpcError {
    RpcError::with_detail(Code::BlockNotPinned, format!("{hash} was not reported by the subscription, or was unpinned"))
}
