//! Questions and answers on the wire: one frame each, decoded off the swarm task.

use crate::frame;
use crate::metrics::{Metrics, Traffic};
use cairn_primitives::codec::decode_strict;
use cairn_primitives::message::{
    STATE_REQUEST_BYTES_MAX, STATE_RESPONSE_BYTES_MAX, SYNC_BLOCKS_BYTES_MAX, SYNC_REQUEST_BYTES_MAX,
    SYNC_RESPONSE_BYTES_MAX, StateRequest, StateResponse, SyncRequest, SyncResponse,
};
use futures::io::{AsyncRead, AsyncWrite};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;
use parity_scale_codec::{Decode, Encode};
use std::fmt;
use std::io;
use std::marker::PhantomData;

/// A request of a peer that does not decode, or announces more than is allowed.
///
/// It is a value and no error: of a request that could not be read the swarm tells nobody, and its sender is to be blamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed request")]
pub(crate) struct Malformed;

/// A protocol of questions and answers.
pub(crate) trait Exchange: Clone + Send + Sync + 'static {
    /// What is asked.
    type Request: Decode + Encode + Clone + fmt::Debug + Send + 'static;
    /// What is answered.
    type Response: Decode + Encode + fmt::Debug + Send + 'static;
    /// The largest encoded question, in bytes.
    const REQUEST_BYTES_MAX: usize;
    /// The largest encoded answer, in bytes.
    const RESPONSE_BYTES_MAX: usize;
    /// Whether an answer of so many encoded bytes is within what its kind may have, where that is less than what any may.
    fn is_within_bounds(_: &Self::Response, _: usize) -> bool {
        true
    }
    /// The answer that says no.
    const REFUSED: Self::Response;
    /// What it is called in metrics.
    const TRAFFIC: Traffic;
}

/// Blocks.
#[derive(Clone, Debug)]
pub(crate) enum BlockSync {}

impl Exchange for BlockSync {
    type Request = SyncRequest;
    type Response = SyncResponse;
    const REQUEST_BYTES_MAX: usize = SYNC_REQUEST_BYTES_MAX;
    const RESPONSE_BYTES_MAX: usize = SYNC_RESPONSE_BYTES_MAX;
    fn is_within_bounds(response: &SyncResponse, bytes: usize) -> bool {
        matches!(response, SyncResponse::Archive(_)) || bytes <= SYNC_BLOCKS_BYTES_MAX
    }
    const REFUSED: SyncResponse = SyncResponse::Refused;
    const TRAFFIC: Traffic = Traffic::Sync;
}

/// Snapshots of the state.
#[derive(Clone, Debug)]
pub(crate) enum StateSync {}

impl Exchange for StateSync {
    type Request = StateRequest;
    type Response = StateResponse;
    const REQUEST_BYTES_MAX: usize = STATE_REQUEST_BYTES_MAX;
    const RESPONSE_BYTES_MAX: usize = STATE_RESPONSE_BYTES_MAX;
    const REFUSED: StateResponse = StateResponse::Refused;
    const TRAFFIC: Traffic = Traffic::State;
}

/// Reads and writes the questions and answers of one protocol.
#[derive(Clone, Debug)]
pub(crate) struct ExchangeCodec<E> {
    metrics: Metrics,
    exchange: PhantomData<E>,
}

impl<E: Exchange> ExchangeCodec<E> {
    pub(crate) const fn new(metrics: Metrics) -> Self {
        Self { metrics, exchange: PhantomData }
    }

    async fn write<M: Encode, W: AsyncWrite + Unpin>(&self, io: &mut W, message: M, limit: usize) -> io::Result<()> {
        let bytes = message.encode();
        // Whoever reads slowly makes the node hold the bytes, and not the message as well.
        drop(message);
        if bytes.len() > limit {
            let reason = format!("a message of {} bytes, at most {limit} can be sent", bytes.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        self.metrics.count_out(E::TRAFFIC, bytes.len());
        frame::write(io, &bytes).await
    }
}

impl<E: Exchange> Codec for ExchangeCodec<E> {
    type Protocol = StreamProtocol;
    type Request = Result<E::Request, Malformed>;
    type Response = E::Response;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Self::Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        let bytes = match frame::read(io, E::REQUEST_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(Err(Malformed)),
            Err(error) => return Err(error),
        };
        self.metrics.count_in(E::TRAFFIC, bytes.len());
        Ok(decode_strict("request", &bytes, E::REQUEST_BYTES_MAX).map_err(|_| Malformed))
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<E::Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        let bytes = frame::read(io, E::RESPONSE_BYTES_MAX).await?;
        self.metrics.count_in(E::TRAFFIC, bytes.len());
        let malformed = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        let response =
            decode_strict("response", &bytes, E::RESPONSE_BYTES_MAX).map_err(|error| malformed(error.to_string()))?;
        if E::is_within_bounds(&response, bytes.len()) {
            Ok(response)
        } else {
            Err(malformed(format!("an answer of {} bytes is more than its kind may have", bytes.len())))
        }
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Self::Request) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let request = request.map_err(|malformed| io::Error::new(io::ErrorKind::InvalidInput, malformed))?;
        self.write(io, request, E::REQUEST_BYTES_MAX).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: E::Response) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write(io, response, E::RESPONSE_BYTES_MAX).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_primitives::block::BLOCK_BYTES_MAX;
    use cairn_primitives::{Block, FinalizedBlock, Header, Height, OpaqueExtrinsic};
    use futures::io::Cursor;

    const PROTOCOL: StreamProtocol = StreamProtocol::new("/cairn/0011223344556677/sync/1");

    fn codec() -> ExchangeCodec<BlockSync> {
        ExchangeCodec::new(Metrics::new(None).unwrap())
    }

    fn response_with(blocks: usize) -> SyncResponse {
        let header = Header::decode(&mut parity_scale_codec::IoReader(std::io::repeat(0))).unwrap();
        let extrinsics = vec![OpaqueExtrinsic::new(vec![0; BLOCK_BYTES_MAX])];
        let block = FinalizedBlock { block: Block { header, extrinsics: extrinsics.into() }, finalization: None };
        SyncResponse::Blocks(vec![block; blocks])
    }

    #[tokio::test]
    async fn response_written_is_read_back() {
        let response = SyncResponse::Status { head: Height(7), finalization: None, lowest: Height(0) };
        let mut bytes = Vec::new();
        codec().write_response(&PROTOCOL, &mut bytes, response.clone()).await.unwrap();
        assert_eq!(codec().read_response(&PROTOCOL, &mut Cursor::new(bytes)).await.unwrap(), response);
    }

    #[tokio::test]
    async fn response_over_the_limit_is_not_written_and_not_read() {
        let error = codec().write_response(&PROTOCOL, &mut Vec::new(), response_with(5)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let mut bytes = Vec::new();
        frame::write(&mut bytes, &response_with(5).encode()).await.unwrap();
        let error = codec().read_response(&PROTOCOL, &mut Cursor::new(bytes)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn blocks_without_events_may_not_take_the_room_of_those_with() {
        let mut bytes = Vec::new();
        frame::write(&mut bytes, &response_with(3).encode()).await.unwrap();
        let error = codec().read_response(&PROTOCOL, &mut Cursor::new(bytes)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("more than its kind may have"), "{error}");
    }

    #[tokio::test]
    async fn request_that_is_malformed_is_told_and_one_that_is_cut_off_is_an_error() {
        let mut trailing = Vec::new();
        frame::write(&mut trailing, &[SyncRequest::Status.encode(), vec![0]].concat()).await.unwrap();
        let read = async |bytes: Vec<u8>| codec().read_request(&PROTOCOL, &mut Cursor::new(bytes)).await;
        assert_eq!(read(trailing).await.unwrap(), Err(Malformed));
        assert_eq!(read(vec![0xff; 8]).await.unwrap(), Err(Malformed), "4 GiB");
        assert_eq!(read(vec![4, 0, 0, 0, 1]).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
