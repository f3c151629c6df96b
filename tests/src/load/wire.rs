//! JSON-RPC on a bare socket, over HTTP or WebSocket: a client that costs little beside the node that it measures.

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A message larger than this is refused, in bytes: more than any block's header.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The first byte of a WebSocket frame that is a whole text, a ping, a pong.
const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// How requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    /// One POST for each, on a connection that stays.
    Http,
    /// One frame for each.
    Ws,
}

/// A connection with one request under way.
pub(crate) struct Wire {
    socket: TcpStream,
    transport: Transport,
    host: String,
    /// Bytes that were read and belong to no message yet.
    unread: Vec<u8>,
}

impl Wire {
    /// Connects to a `ws://host:port` URL.
    ///
    /// # Errors
    /// Nobody answers there, or no WebSocket.
    pub(crate) async fn connect(url: &str, transport: Transport) -> anyhow::Result<Self> {
        let host = url.strip_prefix("ws://").context("give a URL like ws://127.0.0.1:9944")?.trim_end_matches('/');
        let socket = TcpStream::connect(host).await.with_context(|| format!("no node answers at {url}"))?;
        socket.set_nodelay(true)?;
        let mut wire = Self { socket, transport, host: host.to_owned(), unread: Vec::new() };
        if transport == Transport::Ws {
            let upgrade = format!(
                "GET / HTTP/1.1\r\nhost: {host}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            );
            wire.socket.write_all(upgrade.as_bytes()).await?;
            let head = wire.head().await?;
            ensure!(head.starts_with("HTTP/1.1 101"), "{url} opens no WebSocket: {head}");
        }
        Ok(wire)
    }

    /// A request as it goes over this kind of connection, made once and sent often.
    pub(crate) fn request(&self, body: &str) -> anyhow::Result<Vec<u8>> {
        match self.transport {
            Transport::Http => Ok(format!(
                "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                self.host,
                body.len()
            )
            .into_bytes()),
            Transport::Ws => {
                let mut frame = vec![TEXT];
                // Clients mask what they send; a mask of zeros leaves it as it is.
                match u8::try_from(body.len()) {
                    Ok(len) if len < 126 => frame.push(0x80 | len),
                    _ => {
                        frame.push(0x80 | 126);
                        frame.extend_from_slice(&u16::try_from(body.len())?.to_be_bytes());
                    }
                }
                frame.extend_from_slice(&[0; 4]);
                frame.extend_from_slice(body.as_bytes());
                Ok(frame)
            }
        }
    }

    /// Sends bytes made by [`Self::request`].
    pub(crate) async fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        Ok(self.socket.write_all(request).await?)
    }

    /// The next message.
    pub(crate) async fn message(&mut self) -> anyhow::Result<Vec<u8>> {
        match self.transport {
            Transport::Http => {
                let head = self.head().await?;
                let len = head
                    .lines()
                    .filter_map(|line| line.split_once(':'))
                    .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
                let len = len.context("an answer without a length")?.1.trim().parse()?;
                self.take(len).await
            }
            Transport::Ws => loop {
                let start = self.take(2).await?;
                let len = match start[1] {
                    126 => usize::from(u16::from_be_bytes(self.take(2).await?.as_slice().try_into()?)),
                    127 => usize::try_from(u64::from_be_bytes(self.take(8).await?.as_slice().try_into()?))?,
                    len => usize::from(len),
                };
                let payload = self.take(len).await?;
                match start[0] {
                    TEXT => return Ok(payload),
                    PING => self.socket.write_all(&[PONG, 0x80, 0, 0, 0, 0]).await?,
                    other => bail!("a frame of kind {other:#x}"),
                }
            },
        }
    }

    /// The head of an HTTP message.
    async fn head(&mut self) -> anyhow::Result<String> {
        loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                return Ok(String::from_utf8(self.take(end + 4).await?)?);
            }
            self.read().await?;
        }
    }

    async fn take(&mut self, len: usize) -> anyhow::Result<Vec<u8>> {
        ensure!(len <= MESSAGE_BYTES_MAX, "a message of {len} bytes");
        while self.unread.len() < len {
            self.read().await?;
        }
        let rest = self.unread.split_off(len);
        Ok(std::mem::replace(&mut self.unread, rest))
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        ensure!(self.unread.len() <= MESSAGE_BYTES_MAX, "a head of {} bytes", self.unread.len());
        ensure!(self.socket.read_buf(&mut self.unread).await? > 0, "the node closed the connection");
        Ok(())
    }
}
