//! The sync protocol on the wire: one frame each for request and response, decoded off the swarm task.

use crate::frame;
use crate::metrics::{Metrics, Traffic};
use cairn_primitives::codec::decode_strict;
use cairn_primitives::message::{SYNC_REQUEST_BYTES_MAX, SYNC_RESPONSE_BYTES_MAX, SyncRequest, SyncResponse};
use futures::io::{AsyncRead, AsyncWrite};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;
use parity_scale_codec::{Decode, Encode};
use std::io;

/// A request of a peer that does not decode, or announces more than is allowed.
///
/// It is a value and no error: of a request that could not be read the swarm tells nobody, and its sender is to be blamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed sync request")]
pub(crate) struct Malformed;

/// Reads and writes [`SyncRequest`] and [`SyncResponse`].
#[derive(Clone, Debug)]
pub(crate) struct SyncCodec {
    metrics: Metrics,
}

impl SyncCodec {
    pub(crate) const fn new(metrics: Metrics) -> Self {
        Self { metrics }
    }

    async fn read<M: Decode + Encode, R: AsyncRead + Unpin>(
        &self,
        what: &'static str,
        io: &mut R,
        limit: usize,
    ) -> io::Result<M> {
        let bytes = frame::read(io, limit).await?;
        self.metrics.count_in(Traffic::Sync, bytes.len());
        decode_strict(what, &bytes, limit).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    async fn write<M: Encode, W: AsyncWrite + Unpin>(&self, io: &mut W, message: M, limit: usize) -> io::Result<()> {
        let bytes = message.encode();
        // Whoever reads slowly makes the node hold the bytes, and not the message as well.
        drop(message);
        if bytes.len() > limit {
            let reason = format!("a sync message of {} bytes, at most {limit} can be sent", bytes.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        self.metrics.count_out(Traffic::Sync, bytes.len());
        frame::write(io, &bytes).await
    }
}

impl Codec for SyncCodec {
    type Protocol = StreamProtocol;
    type Request = Result<SyncRequest, Malformed>;
    type Response = SyncResponse;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Self::Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        match self.read("sync request", io, SYNC_REQUEST_BYTES_MAX).await {
            Ok(request) => Ok(Ok(request)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Err(Malformed)),
            Err(error) => Err(error),
        }
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<SyncResponse>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read("sync response", io, SYNC_RESPONSE_BYTES_MAX).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Self::Request) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let request = request.map_err(|malformed| io::Error::new(io::ErrorKind::InvalidInput, malformed))?;
        self.write(io, request, SYNC_REQUEST_BYTES_MAX).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: SyncResponse) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write(io, response, SYNC_RESPONSE_BYTES_MAX).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_primitives::block::BLOCK_BYTES_MAX;
    use cairn_primitives::{Block, FinalizedBlock, Header, Height, OpaqueExtrinsic};
    use futures::io::Cursor;

    const PROTOCOL: StreamProtocol = StreamProtocol::new("/cairn/0011223344556677/sync/1");

    fn codec() -> SyncCodec {
        SyncCodec::new(Metrics::new(None).unwrap())
    }

    fn large_response() -> SyncResponse {
        let header = Header::decode(&mut parity_scale_codec::IoReader(std::io::repeat(0))).unwrap();
        let extrinsics = vec![OpaqueExtrinsic::new(vec![0; BLOCK_BYTES_MAX])];
        let block = FinalizedBlock { block: Block { header, extrinsics: extrinsics.into() }, finalization: None };
        SyncResponse::Blocks(vec![block.clone(), block.clone(), block])
    }

    #[tokio::test]
    async fn response_written_is_read_back() {
        let response = SyncResponse::Status { head: Height(7), finalization: None };
        let mut bytes = Vec::new();
        codec().write_response(&PROTOCOL, &mut bytes, response.clone()).await.unwrap();
        assert_eq!(codec().read_response(&PROTOCOL, &mut Cursor::new(bytes)).await.unwrap(), response);
    }

    #[tokio::test]
    async fn response_over_the_limit_is_not_written_and_not_read() {
        let error = codec().write_response(&PROTOCOL, &mut Vec::new(), large_response()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let mut bytes = Vec::new();
        frame::write(&mut bytes, &large_response().encode()).await.unwrap();
        let error = codec().read_response(&PROTOCOL, &mut Cursor::new(bytes)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
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
