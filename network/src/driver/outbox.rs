//! Events on their way to the node.

use crate::event::Event;
use std::collections::VecDeque;
use tokio::sync::mpsc;

/// Facts that wait while the node's queue is full; far more than peers and validators can cause while a node is merely
/// busy.
const WAITING_MAX: usize = 4096;

/// Sends events without waiting.
pub(super) struct Outbox {
    pub(super) sender: mpsc::Sender<Event>,
    waiting: VecDeque<Event>,
}

impl Outbox {
    pub(super) const fn new(sender: mpsc::Sender<Event>) -> Self {
        Self { sender, waiting: VecDeque::new() }
    }

    /// Sends a fact, now or as soon as there is room, in order with the other facts.
    pub(super) fn push(&mut self, event: Event) {
        let event = if self.waiting.is_empty() {
            match self.sender.try_send(event) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return,
                Err(mpsc::error::TrySendError::Full(event)) => event,
            }
        } else {
            event
        };
        if self.waiting.len() >= WAITING_MAX {
            tracing::error!("the node does not take network events; one was dropped");
            return;
        }
        self.waiting.push_back(event);
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Waits until the node's queue has room, or is gone.
    pub(super) async fn has_room(&self) {
        drop(self.sender.reserve().await);
    }

    /// Waits until the node takes no more events.
    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }

    /// Sends what waits as far as there is room.
    pub(super) fn flush(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(event)) = self.sender.try_send(event) {
                self.waiting.push_front(event);
                return;
            }
        }
    }
}

/// Sends an event that may be refused, unless the queue is nearly full: the rest is for consensus messages and facts.
#[allow(clippy::result_large_err, reason = "the event goes back to whoever could not send it")]
pub(super) fn try_event(sender: &mpsc::Sender<Event>, event: Event) -> Result<(), Event> {
    if sender.capacity() <= sender.max_capacity() / 4 {
        return Err(event);
    }
    sender.try_send(event).map_err(|error| match error {
        mpsc::error::TrySendError::Full(event) | mpsc::error::TrySendError::Closed(event) => event,
    })
}
