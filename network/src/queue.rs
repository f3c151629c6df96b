//! The bounded queue of frames that wait for a validator's stream.
//!
//! A full queue drops its oldest frame: the engine repeats votes and certificates that still matter, and the newest
//! matter most. Frames are shared bytes, so that a broadcast is held in memory once.

use prometheus::IntGauge;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// An encoded message, shared by the queues of all its receivers.
pub(crate) type Frame = Arc<[u8]>;

/// How much a queue holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    /// Frames.
    pub(crate) frames: usize,
    /// Bytes over all frames; one frame is always taken.
    pub(crate) bytes: usize,
}

/// What a push did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The frame waits, after so many older ones were dropped to make room.
    Queued {
        /// Frames dropped.
        dropped: usize,
    },
    /// The stream is gone.
    Closed,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Frame>,
    bytes: usize,
    closed: bool,
}

/// A queue with many writers and one reader.
#[derive(Debug)]
pub(crate) struct FrameQueue {
    limits: QueueLimits,
    waiting: Mutex<Waiting>,
    changed: Notify,
    /// Frames over all queues.
    depth: IntGauge,
}

impl FrameQueue {
    pub(crate) fn new(limits: QueueLimits, depth: IntGauge) -> Self {
        Self { limits, waiting: Mutex::default(), changed: Notify::new(), depth }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a frame; never waits.
    pub(crate) fn push(&self, frame: Frame) -> Pushed {
        let mut waiting = self.lock();
        if waiting.closed {
            return Pushed::Closed;
        }
        self.depth.inc();
        waiting.bytes += frame.len();
        waiting.frames.push_back(frame);
        let mut dropped = 0;
        while waiting.frames.len() > 1
            && (waiting.frames.len() > self.limits.frames || waiting.bytes > self.limits.bytes)
        {
            if let Some(oldest) = waiting.frames.pop_front() {
                waiting.bytes -= oldest.len();
                self.depth.dec();
                dropped += 1;
            }
        }
        drop(waiting);
        self.changed.notify_one();
        Pushed::Queued { dropped }
    }

    /// Takes frames until `bytes_max` is reached, at least one; waits for the first. `None` once closed.
    pub(crate) async fn take(&self, bytes_max: usize, into: &mut Vec<Frame>) -> Option<()> {
        loop {
            {
                let mut waiting = self.lock();
                if waiting.closed {
                    return None;
                }
                let mut taken = 0;
                while let Some(frame) = waiting.frames.front() {
                    if taken > 0 && taken + frame.len() > bytes_max {
                        break;
                    }
                    taken += frame.len();
                    into.extend(waiting.frames.pop_front());
                    self.depth.dec();
                }
                waiting.bytes -= taken;
                if !into.is_empty() {
                    return Some(());
                }
            }
            self.changed.notified().await;
        }
    }

    /// Drops what waits and refuses everything from now on.
    pub(crate) fn close(&self) {
        let left = std::mem::replace(&mut *self.lock(), Waiting { closed: true, ..Waiting::default() });
        self.depth.sub(i64::try_from(left.frames.len()).unwrap_or(i64::MAX));
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(frames: usize, bytes: usize) -> (FrameQueue, IntGauge) {
        let depth = IntGauge::new("depth", "frames").unwrap();
        (FrameQueue::new(QueueLimits { frames, bytes }, depth.clone()), depth)
    }

    fn frame(byte: u8, len: usize) -> Frame {
        vec![byte; len].into()
    }

    #[tokio::test]
    async fn queue_full_drops_the_oldest_and_counts() {
        let (queue, depth) = queue(2, 100);
        assert_eq!(queue.push(frame(1, 10)), Pushed::Queued { dropped: 0 });
        assert_eq!(queue.push(frame(2, 10)), Pushed::Queued { dropped: 0 });
        assert_eq!(queue.push(frame(3, 10)), Pushed::Queued { dropped: 1 });
        assert_eq!(queue.push(frame(4, 95)), Pushed::Queued { dropped: 2 });
        let mut taken = Vec::new();
        queue.take(1000, &mut taken).await.unwrap();
        assert_eq!(taken, [frame(4, 95)]);
        assert_eq!(depth.get(), 0);
    }

    #[tokio::test]
    async fn queue_take_stops_at_the_byte_limit() {
        let (queue, depth) = queue(9, 1000);
        for byte in 0..4 {
            queue.push(frame(byte, 10));
        }
        let mut taken = Vec::new();
        queue.take(25, &mut taken).await.unwrap();
        assert_eq!(taken, [frame(0, 10), frame(1, 10)]);
        assert_eq!(depth.get(), 2);
    }

    #[tokio::test]
    async fn queue_closed_refuses_and_ends_the_reader() {
        let (queue, depth) = queue(2, 100);
        queue.push(frame(1, 1));
        queue.close();
        assert_eq!(queue.push(frame(2, 1)), Pushed::Closed);
        assert!(queue.take(10, &mut Vec::new()).await.is_none());
        assert_eq!(depth.get(), 0);
    }
}
