//! Committed heads for subscribers: each head once, in order, none left out.
//!
//! One task follows the node's watch of heads, reads each header once and broadcasts it. A subscriber's [`HeadCursor`]
//! takes heads from the broadcast while it keeps up and from the [`ChainPort`] by height where it lags or starts in the
//! past, so the broadcast may be short and nobody waits for a slow subscriber.

use crate::error::RpcError;
use crate::json::HeaderJson;
use crate::ports::{ChainPort, Head, ReadError};
use cairn_primitives::{Header, Height};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{broadcast, watch};

/// Heads kept for subscribers that are a little late; beyond it they read from the chain.
const FEED_LEN: usize = 64;

/// A committed head with its header, read and written as JSON once for all subscribers.
#[derive(Debug)]
pub(crate) struct HeadItem {
    pub(crate) head: Head,
    pub(crate) header: Header,
    pub(crate) json: Box<RawValue>,
}

/// Reads the head at a committed height.
fn read(chain: &dyn ChainPort, height: Height) -> Result<HeadItem, RpcError> {
    let missing = || RpcError::from(ReadError::Database(format!("no block at the committed height {height}")));
    let hash = chain.block_hash(height)?.ok_or_else(missing)?;
    let header = chain.header(&hash)?.ok_or_else(missing)?;
    let json = serde_json::value::to_raw_value(&HeaderJson(&header)).map_err(|_| missing())?;
    Ok(HeadItem { head: Head { height, hash }, header, json })
}

/// The broadcast of heads.
pub(crate) struct HeadFeed {
    chain: Arc<dyn ChainPort>,
    receiver: broadcast::Receiver<Arc<HeadItem>>,
}

/// The task's end of the broadcast; subscribers end once it is dropped.
pub(crate) struct HeadFeeder {
    chain: Arc<dyn ChainPort>,
    sender: broadcast::Sender<Arc<HeadItem>>,
}

impl HeadFeeder {
    /// Broadcasts heads until the node drops its end or a read fails.
    pub(crate) async fn run(self, mut heads: watch::Receiver<Head>) {
        let mut next = heads.borrow_and_update().height.next();
        while heads.changed().await.is_ok() {
            let newest = heads.borrow_and_update().height;
            while next <= newest {
                match read(&*self.chain, next) {
                    // An error means that nobody listens.
                    Ok(item) => drop(self.sender.send(Arc::new(item))),
                    Err(error) => {
                        tracing::error!(height = %next, %error, "the feed of heads ends: a committed header cannot be read");
                        return;
                    }
                }
                next = next.next();
            }
        }
    }
}

impl HeadFeed {
    pub(crate) fn new(chain: Arc<dyn ChainPort>) -> (HeadFeeder, Self) {
        let (sender, receiver) = broadcast::channel(FEED_LEN);
        (HeadFeeder { chain: Arc::clone(&chain), sender }, Self { chain, receiver })
    }

    /// Follows heads from `start` on, or from the newest on.
    pub(crate) fn cursor(&self, start: Option<Height>) -> HeadCursor {
        // Subscribed before the head is read: what is committed in between comes by the broadcast.
        let receiver = self.receiver.resubscribe();
        let known = self.chain.head().height;
        HeadCursor { chain: Arc::clone(&self.chain), receiver, next: start.unwrap_or(known), known, ready: None }
    }
}

/// One subscriber's place in the chain.
pub(crate) struct HeadCursor {
    chain: Arc<dyn ChainPort>,
    receiver: broadcast::Receiver<Arc<HeadItem>>,
    next: Height,
    known: Height,
    ready: Option<Arc<HeadItem>>,
}

impl HeadCursor {
    /// The next head; `None` once the node stops. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Result<Arc<HeadItem>, RpcError>> {
        loop {
            if self.next <= self.known {
                let item = match self.ready.take_if(|item| item.head.height == self.next) {
                    Some(item) => item,
                    None => match read(&*self.chain, self.next) {
                        Ok(item) => Arc::new(item),
                        Err(error) => return Some(Err(error)),
                    },
                };
                self.next = self.next.next();
                return Some(Ok(item));
            }
            match self.receiver.recv().await {
                Ok(item) if item.head.height >= self.next => {
                    self.known = item.head.height;
                    self.ready = Some(item);
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// A connection and the number of a subscription on it.
type ProgressKey = (usize, u64);

/// Keeps `new head` ahead of `finalized head` for each block on each connection: clients take a finalized block that they
/// have not seen as new for a fork.
#[derive(Default)]
pub(crate) struct HeadOrder {
    /// How far each subscription to new heads got, by connection and a number of its own.
    progress: Mutex<BTreeMap<ProgressKey, watch::Receiver<Option<Height>>>>,
    count: std::sync::atomic::AtomicU64,
}

/// A subscription to new heads; it no longer holds finalized heads back once dropped.
pub(crate) struct NewHeadProgress {
    order: Arc<HeadOrder>,
    key: ProgressKey,
    sender: watch::Sender<Option<Height>>,
}

impl HeadOrder {
    /// Registers a subscription to new heads.
    pub(crate) fn register(self: &Arc<Self>, connection: usize) -> NewHeadProgress {
        let (sender, receiver) = watch::channel(None);
        let key = (connection, self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).insert(key, receiver);
        NewHeadProgress { order: Arc::clone(self), key, sender }
    }

    /// Waits until every subscription to new heads of the connection has sent `height`.
    pub(crate) async fn wait(&self, connection: usize, height: Height) {
        let waiting: Vec<_> = self
            .progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .range((connection, 0)..=(connection, u64::MAX))
            .map(|(_, receiver)| receiver.clone())
            .collect();
        for mut receiver in waiting {
            // An error means that the subscription ended: nothing to wait for.
            drop(receiver.wait_for(|sent| sent.is_some_and(|sent| sent >= height)).await);
        }
    }
}

impl NewHeadProgress {
    /// The head at `height` is on its way.
    pub(crate) fn sent(&self, height: Height) {
        self.sender.send_replace(Some(height));
    }
}

impl Drop for NewHeadProgress {
    fn drop(&mut self) {
        self.order.progress.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
