//! Where the server listens and what it allows.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Settings of the server. The defaults are those of `docs/rpc.md`.
#[derive(Clone, Debug)]
pub struct RpcConfig {
    /// Where HTTP and WebSocket are served; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Web origins that may call (`Origin` header, CORS); requests without an origin are never refused for it.
    pub origins: AllowedOrigins,
    /// The largest request, in bytes.
    pub request_bytes_max: u32,
    /// The largest response, in bytes.
    pub response_bytes_max: u32,
    /// The most calls in one JSON-RPC batch.
    pub batch_len_max: u32,
    /// The most connections at a time.
    pub connections_max: usize,
    /// The most subscriptions on one connection.
    pub subscriptions_per_connection_max: u32,
    /// Messages buffered for one connection before its subscriptions wait.
    pub connection_buffer_len: u32,
    /// A subscriber that takes no message for so long is dropped.
    pub slow_subscriber_timeout: Duration,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// How long a client may take to send the head of a request; also how long an idle HTTP connection is kept.
    pub head_timeout: Duration,
    /// How long one HTTP request may take in all, its body and a whole batch included.
    pub http_request_timeout: Duration,
    /// How long a client on a WebSocket may be silent: it is pinged three times meanwhile.
    pub silence_max: Duration,
    /// How long a client may leave answers unread, so that nothing more can be sent.
    pub write_stall_max: Duration,
    /// Calls that walk state, prove or decode metadata at a time; others wait for a place.
    pub expensive_calls_max: usize,
    /// The most keys in one request and in one page.
    pub keys_max: usize,
    /// The most transactions in one `cairn_submitBatch`.
    pub submit_batch_len_max: usize,
    /// The most `chainHead_v1_follow` subscriptions on one connection.
    pub follows_per_connection_max: usize,
    /// The most blocks that one of them pins; beyond it the subscription stops.
    pub pinned_blocks_max: usize,
    /// The most operations under way for one of them; each storage item counts.
    pub operations_per_follow_max: usize,
    /// The most transactions that one connection has broadcast by `transaction_v1_broadcast`.
    pub broadcasts_per_connection_max: usize,
    /// Point reads that one client address may make in a second; walks, proofs and blocks count as ten.
    pub calls_per_second_max: u32,
    /// Whether that holds for clients on the same machine too.
    pub limits_loopback: bool,
    /// Whether methods for the node's owner are offered to everybody who can connect.
    pub offers_unsafe: bool,
    /// Whoever sends this as a bearer token may call them as well.
    pub unsafe_token: Option<Token>,
}

/// Web origins that may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Pages of the same machine: `http(s)://localhost`, `127.0.0.1` and `[::1]`, any port.
    Local,
    /// These, each `scheme://host[:port]`.
    List(Vec<String>),
    /// Any page.
    Any,
}

/// A secret that a client shows; it is never printed.
#[derive(Clone)]
pub struct Token(pub(crate) Arc<str>);

impl From<&str> for Token {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Default for RpcConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9944)),
            origins: AllowedOrigins::Local,
            request_bytes_max: 2 << 20,
            response_bytes_max: 16 << 20,
            batch_len_max: 50,
            connections_max: 1_000,
            subscriptions_per_connection_max: 64,
            connection_buffer_len: 64,
            slow_subscriber_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(30),
            http_request_timeout: Duration::from_secs(60),
            silence_max: Duration::from_secs(90),
            write_stall_max: Duration::from_secs(60),
            expensive_calls_max: 4,
            keys_max: 1_000,
            submit_batch_len_max: 1_000,
            follows_per_connection_max: 4,
            pinned_blocks_max: 512,
            operations_per_follow_max: 32,
            broadcasts_per_connection_max: 16,
            calls_per_second_max: 1_000,
            limits_loopback: false,
            offers_unsafe: true,
            unsafe_token: None,
        }
    }
}
