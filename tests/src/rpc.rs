//! A JSON-RPC client for tests: one WebSocket connection, answers as typed data, errors that name URL and method.

use anyhow::Context as _;
use jsonrpsee::client_transport::ws::{Url, WsTransportClientBuilder};
use jsonrpsee::core::ClientError;
use jsonrpsee::core::client::{Client, ClientT as _, Subscription, SubscriptionClientT as _};
use jsonrpsee::core::traits::ToRpcParams;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How long a connection may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// How long an answer may take: longer than any node lets a call take.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

/// The largest message that is read, in bytes: the hashes of a full block and a page of state fit many times.
const MESSAGE_BYTES_MAX: u32 = 64 << 20;

/// Messages of one subscription that may wait to be read.
const SUBSCRIPTION_LEN_MAX: usize = 16_384;

/// Requests that may wait for their answers.
const REQUESTS_MAX: usize = 4_096;

/// A connection to a node.
#[derive(Debug)]
pub struct Rpc {
    client: Client,
    url: String,
}

impl Rpc {
    /// Connects.
    ///
    /// # Errors
    /// The URL is not `ws://…`, or nobody answers there.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let parsed = Url::parse(url)
            .ok()
            .filter(|parsed| parsed.scheme() == "ws")
            .with_context(|| format!("`{url}` cannot be used: give a URL like ws://127.0.0.1:9944"))?;
        let (sender, receiver) = WsTransportClientBuilder::default()
            .connection_timeout(CONNECT_TIME_MAX)
            .max_request_size(MESSAGE_BYTES_MAX)
            .max_response_size(MESSAGE_BYTES_MAX)
            .build(parsed)
            .await
            .with_context(|| format!("no node answers at {url}: is it running, and is the port right?"))?;
        let client = Client::builder()
            .request_timeout(REQUEST_TIME_MAX)
            .max_concurrent_requests(REQUESTS_MAX)
            .max_buffer_capacity_per_subscription(SUBSCRIPTION_LEN_MAX)
            .build_with_tokio(sender, receiver);
        Ok(Self { client, url: url.to_owned() })
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Calls a method; a refusal is the inner error.
    ///
    /// # Errors
    /// The connection failed, nobody answered in time, or the answer has another shape.
    pub async fn try_call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: impl ToRpcParams + Send,
    ) -> anyhow::Result<Result<T, jsonrpsee::types::ErrorObjectOwned>> {
        match self.client.request(method, params).await {
            Ok(answer) => Ok(Ok(answer)),
            Err(ClientError::Call(refusal)) => Ok(Err(refusal)),
            Err(error) => Err(error).with_context(|| format!("{} did not answer {method}", self.url)),
        }
    }

    /// Calls a method.
    ///
    /// # Errors
    /// As [`Rpc::try_call`]; or the node refused.
    pub async fn call<T: DeserializeOwned>(&self, method: &str, params: impl ToRpcParams + Send) -> anyhow::Result<T> {
        let answer = self.try_call(method, params).await?;
        answer.map_err(|refusal| anyhow::anyhow!("{} refused {method}: {refusal:?}", self.url))
    }

    /// Subscribes.
    ///
    /// # Errors
    /// The node refused or did not answer.
    pub async fn subscribe<T: DeserializeOwned>(
        &self,
        method: &str,
        params: impl ToRpcParams + Send,
        unsubscribe: &str,
    ) -> anyhow::Result<Subscription<T>> {
        let subscribed = self.client.subscribe(method, params, unsubscribe).await;
        subscribed.with_context(|| format!("{} refused {method}", self.url))
    }
}

/// Bytes as hexadecimal text with 0x.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// Bytes from hexadecimal text with 0x.
///
/// # Errors
/// It is something else.
pub fn from_hex(text: &str) -> anyhow::Result<Vec<u8>> {
    let digits = text.strip_prefix("0x").context("no 0x at the beginning")?;
    Ok(hex::decode(digits)?)
}
