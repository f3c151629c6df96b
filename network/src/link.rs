//! A link: the two streams to one validator, each with a reader and a writer of its own.

use crate::event::Event;
use crate::frame::{self, FrameTooLarge};
use crate::links::{LinkQueues, frame_bytes_max};
use crate::metrics::{Metrics, Traffic};
use crate::queue::FrameQueue;
use cairn_primitives::PublicKey;
use cairn_primitives::authority::Lane;
use cairn_primitives::codec::{DecodeError, decode_strict};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{PeerId, Stream};
use std::io;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Small frames are gathered up to this size before they are written, in bytes.
const WRITE_BYTES: usize = 64 << 10;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkEnd {
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    #[error("it was closed here")]
    Closed,
    #[error("a stream task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl LinkEnd {
    /// Whether the peer broke the protocol.
    pub(crate) fn is_offence(&self) -> bool {
        match self {
            Self::Malformed(_) => true,
            Self::Io(error) => error.get_ref().is_some_and(|source| source.is::<FrameTooLarge>()),
            Self::Closed | Self::Task(_) => false,
        }
    }
}

/// What a link is made of.
pub(crate) struct Link {
    pub(crate) peer: PeerId,
    pub(crate) key: PublicKey,
    pub(crate) id: u64,
    pub(crate) streams: [(Lane, Stream); 2],
    pub(crate) queues: LinkQueues,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) metrics: Metrics,
}

/// A link that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) peer: PeerId,
    pub(crate) key: PublicKey,
    pub(crate) id: u64,
    pub(crate) reason: LinkEnd,
}

impl Link {
    /// Runs until the first of the four tasks ends; the others end with it.
    pub(crate) async fn run(self) -> Ended {
        let mut tasks = JoinSet::new();
        for (lane, stream) in self.streams {
            let (reader, writer) = stream.split();
            tasks.spawn(read(reader, lane, self.key, self.events.clone(), self.metrics.clone()));
            tasks.spawn(write(writer, Arc::clone(self.queues.lane(lane)), self.metrics.clone()));
        }
        let reason = match tasks.join_next().await {
            Some(Ok(reason)) => reason,
            Some(Err(error)) => error.into(),
            None => LinkEnd::Closed,
        };
        Ended { peer: self.peer, key: self.key, id: self.id, reason }
    }
}

/// Reads, decodes and hands on messages; waits while the node is slow, which in the end makes the sender's queue drop.
async fn read<R: AsyncRead + Unpin>(
    mut stream: R,
    lane: Lane,
    from: PublicKey,
    events: mpsc::Sender<Event>,
    metrics: Metrics,
) -> LinkEnd {
    loop {
        let frame = match frame::read(&mut stream, frame_bytes_max(lane)).await {
            Ok(frame) => frame,
            Err(error) => return error.into(),
        };
        metrics.count_in(Traffic::Consensus, frame.len());
        match decode_strict("consensus message", &frame, frame_bytes_max(lane)) {
            Ok(message) => {
                if events.send(Event::Consensus { from, message }).await.is_err() {
                    return LinkEnd::Closed;
                }
            }
            Err(error) => return error.into(),
        }
    }
}

/// Writes what is queued, small frames together, large ones without a copy.
async fn write<W: AsyncWrite + Unpin>(mut stream: W, queue: Arc<FrameQueue>, metrics: Metrics) -> LinkEnd {
    let mut frames = Vec::new();
    let mut buffer = Vec::new();
    while queue.take(WRITE_BYTES, &mut frames).await.is_some() {
        for frame in frames.drain(..) {
            metrics.count_out(Traffic::Consensus, frame.len());
            let result = if frame.len() <= WRITE_BYTES {
                frame::prefix(&frame).map(|prefix| {
                    buffer.extend_from_slice(&prefix);
                    buffer.extend_from_slice(&frame);
                })
            } else {
                frame::write(&mut stream, &frame).await
            };
            if let Err(error) = result {
                return error.into();
            }
        }
        if !buffer.is_empty() {
            if let Err(error) = stream.write_all(&buffer).await {
                return error.into();
            }
            buffer.clear();
        }
        if let Err(error) = stream.flush().await {
            return error.into();
        }
    }
    LinkEnd::Closed
}
