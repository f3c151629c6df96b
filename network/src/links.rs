//! The streams to other validators, as senders see them: one pair of queues for each.
//!
//! Small frames (votes, certificates, fetches, small blocks) and large ones have a queue and a stream each. Streams of
//! one connection take turns, so a vote waits for a part of a large block that is on its way, never for the block; and
//! a receiver decodes them on two tasks. Order holds within each queue.

use crate::error::CommandError;
use crate::metrics::{Metrics, Queue};
use crate::queue::{Frame, FrameQueue, Pushed, QueueLimits};
use cairn_primitives::PublicKey;
use cairn_primitives::authority::Lane;
use cairn_primitives::message::CONSENSUS_MESSAGE_BYTES_MAX;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The largest frame of the small lane, in bytes: any vote, certificate or fetch fits, the largest certificate having
/// about 17 KiB.
pub(crate) const SMALL_FRAME_BYTES_MAX: usize = 32 << 10;

/// Small frames that wait for one validator: at 200 bytes a vote, the votes of several hundred views.
const SMALL_QUEUE: QueueLimits = QueueLimits { frames: 2048, bytes: 4 << 20 };

/// Large frames that wait for one validator: a few full blocks.
const LARGE_QUEUE: QueueLimits = QueueLimits { frames: 64, bytes: 16 << 20 };

/// The largest frame of a lane, in bytes.
pub(crate) const fn frame_bytes_max(lane: Lane) -> usize {
    match lane {
        Lane::Small => SMALL_FRAME_BYTES_MAX,
        Lane::Large => CONSENSUS_MESSAGE_BYTES_MAX,
    }
}

const fn queue_of(lane: Lane) -> Queue {
    match lane {
        Lane::Small => Queue::ConsensusSmall,
        Lane::Large => Queue::ConsensusLarge,
    }
}

/// The queues of one link.
#[derive(Clone, Debug)]
pub(crate) struct LinkQueues {
    small: Arc<FrameQueue>,
    large: Arc<FrameQueue>,
}

impl LinkQueues {
    fn new(metrics: &Metrics) -> Self {
        let queue = |limits| Arc::new(FrameQueue::new(limits, metrics.queued.clone()));
        Self { small: queue(SMALL_QUEUE), large: queue(LARGE_QUEUE) }
    }

    pub(crate) const fn lane(&self, lane: Lane) -> &Arc<FrameQueue> {
        match lane {
            Lane::Small => &self.small,
            Lane::Large => &self.large,
        }
    }

    fn close(&self) {
        self.small.close();
        self.large.close();
    }
}

/// All links, shared by the senders and the swarm task.
#[derive(Debug)]
pub(crate) struct Links {
    queues: RwLock<BTreeMap<PublicKey, LinkQueues>>,
    metrics: Metrics,
}

impl Links {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { queues: RwLock::default(), metrics }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<PublicKey, LinkQueues>> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<PublicKey, LinkQueues>> {
        self.queues.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens queues for a validator; those it had are closed.
    pub(crate) fn open(&self, key: PublicKey) -> LinkQueues {
        let queues = LinkQueues::new(&self.metrics);
        if let Some(old) = self.write().insert(key, queues.clone()) {
            old.close();
        }
        queues
    }

    /// Closes a validator's queues.
    pub(crate) fn remove(&self, key: &PublicKey) {
        if let Some(old) = self.write().remove(key) {
            old.close();
        }
    }

    /// Closes all queues.
    pub(crate) fn clear(&self) {
        for queues in std::mem::take(&mut *self.write()).values() {
            queues.close();
        }
    }

    /// Queues a frame for one validator.
    pub(crate) fn send(&self, to: &PublicKey, frame: Frame) -> Result<(), CommandError> {
        let queues = self.read();
        let link = queues.get(to).ok_or(CommandError::NotConnected)?;
        if self.push(link, frame) { Ok(()) } else { Err(CommandError::NotConnected) }
    }

    /// Queues a frame for all validators; returns how many take it.
    pub(crate) fn broadcast(&self, frame: &Frame) -> usize {
        self.read().values().filter(|link| self.push(link, Arc::clone(frame))).count()
    }

    fn push(&self, link: &LinkQueues, frame: Frame) -> bool {
        let lane = if frame.len() > SMALL_FRAME_BYTES_MAX { Lane::Large } else { Lane::Small };
        match link.lane(lane).push(frame) {
            Pushed::Queued { dropped } => {
                self.metrics.dropped(queue_of(lane), dropped);
                true
            }
            Pushed::Closed => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: PublicKey = PublicKey([1; 32]);

    #[test]
    fn link_full_drops_the_oldest_and_counts_them_by_lane() {
        let metrics = Metrics::new(None).unwrap();
        let links = Links::new(metrics.clone());
        let _queues = links.open(KEY);
        let vote: Frame = vec![0; 200].into();
        for _ in 0..SMALL_QUEUE.frames + 3 {
            assert_eq!(links.broadcast(&vote), 1);
        }
        let block: Frame = vec![0; 4 << 20].into();
        for _ in 0..5 {
            links.send(&KEY, Arc::clone(&block)).unwrap();
        }
        assert_eq!(metrics.drops.with_label_values(&["consensus_small"]).get(), 3);
        assert_eq!(metrics.drops.with_label_values(&["consensus_large"]).get(), 1);
        links.remove(&KEY);
        assert_eq!(metrics.queued.get(), 0);
    }

    #[test]
    fn send_to_a_validator_without_link_is_refused() {
        let links = Links::new(Metrics::new(None).unwrap());
        let vote: Frame = vec![0; 200].into();
        assert_eq!(links.send(&KEY, Arc::clone(&vote)), Err(CommandError::NotConnected));
        assert_eq!(links.broadcast(&vote), 0);
    }
}
