//! Frames on a stream: four bytes of length, little-endian, then so many bytes.

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::io;

/// The size of the length before a frame, in bytes.
pub(crate) const PREFIX_BYTES: usize = 4;

/// Memory that is set aside before the bytes of a frame arrive.
const READ_AHEAD_BYTES: usize = 64 << 10;

/// A frame's announced length exceeds the limit.
#[derive(Debug, thiserror::Error)]
#[error("a frame of {announced} bytes, at most {limit} are allowed")]
pub(crate) struct FrameTooLarge {
    announced: usize,
    limit: usize,
}

/// The length that goes before a frame.
pub(crate) fn prefix(frame: &[u8]) -> io::Result<[u8; PREFIX_BYTES]> {
    u32::try_from(frame.len()).map(u32::to_le_bytes).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Reads one frame. Memory grows with the bytes that arrive, so a peer that announces much and sends little holds little.
///
/// # Errors
/// The stream ends or fails; with [`io::ErrorKind::InvalidData`] the frame is larger than `limit`.
pub(crate) async fn read<R: AsyncRead + Unpin>(io: &mut R, limit: usize) -> io::Result<Vec<u8>> {
    let mut prefix = [0; PREFIX_BYTES];
    io.read_exact(&mut prefix).await?;
    let length = u32::from_le_bytes(prefix);
    let announced = usize::try_from(length).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, FrameTooLarge { announced, limit }));
    }
    let mut frame = Vec::with_capacity(announced.min(READ_AHEAD_BYTES));
    io.take(u64::from(length)).read_to_end(&mut frame).await?;
    if frame.len() == announced { Ok(frame) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Writes one frame and flushes.
///
/// # Errors
/// The stream fails.
pub(crate) async fn write<W: AsyncWrite + Unpin>(io: &mut W, frame: &[u8]) -> io::Result<()> {
    io.write_all(&prefix(frame)?).await?;
    io.write_all(frame).await?;
    io.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::io::Cursor;

    #[tokio::test]
    async fn frame_written_is_read_back() {
        let mut bytes = Vec::new();
        write(&mut bytes, b"one").await.unwrap();
        write(&mut bytes, b"").await.unwrap();
        let mut io = Cursor::new(bytes);
        assert_eq!(read(&mut io, 3).await.unwrap(), b"one");
        assert_eq!(read(&mut io, 3).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn frame_over_the_limit_is_refused_by_its_prefix() {
        let mut io = Cursor::new(u32::MAX.to_le_bytes().to_vec());
        assert_eq!(read(&mut io, 1 << 20).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn frame_cut_short_is_an_error() {
        let mut io = Cursor::new([&5u32.to_le_bytes()[..], b"four"].concat());
        assert_eq!(read(&mut io, 100).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
