//! The JSON-RPC client behind `cairn tx` and `cairn query`: one WebSocket connection, answers as typed data.

use crate::exit::{ExitContext as _, ExitKind, Failure};
use crate::keystore;
use cairn_primitives::header::DigestItem;
use cairn_primitives::{AccountId32, Hash, Header};
use jsonrpsee::client_transport::ws::{Url, WsTransportClientBuilder};
use jsonrpsee::core::ClientError;
use jsonrpsee::core::client::{Client as RpcClient, ClientT as _, Subscription, SubscriptionClientT as _};
use jsonrpsee::core::params::{ArrayParams, ObjectParams};
use parity_scale_codec::Decode as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::time::Duration;

/// How long a connection may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// How long one request may take.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(20);

/// The largest response that is read, in bytes: more than any node sends unless told otherwise.
const RESPONSE_BYTES_MAX: u32 = 64 << 20;

/// A connection to a node.
#[derive(Debug)]
pub struct Client {
    inner: RpcClient,
    url: String,
}

/// How the chain writes amounts and addresses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Properties {
    /// The SS58 prefix.
    pub ss58_format: u16,
    /// Decimals of the token.
    pub token_decimals: u8,
    /// The token's symbol.
    pub token_symbol: String,
}

/// The versions that go into a signature.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    /// The name of the rules.
    pub spec_name: String,
    /// The version of the rules.
    pub spec_version: u32,
    /// The version of call indices and extensions.
    pub transaction_version: u32,
}

/// A header as the RPC writes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeaderJson {
    parent_hash: String,
    number: String,
    state_root: String,
    extrinsics_root: String,
    digest: DigestJson,
}

#[derive(Clone, Debug, Deserialize)]
struct DigestJson {
    logs: Vec<String>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// The URL is not `ws://…`, or nobody answers there.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let parsed = Url::parse(url).ok().filter(|parsed| parsed.scheme() == "ws").ok_or_else(|| {
            let message =
                format!("`{url}` cannot be used: give a URL like ws://127.0.0.1:9944 (for TLS, use a tunnel)");
            Failure::new(ExitKind::Usage, message)
        })?;
        let (sender, receiver) = WsTransportClientBuilder::default()
            .connection_timeout(CONNECT_TIME_MAX)
            .max_response_size(RESPONSE_BYTES_MAX)
            .build(parsed)
            .await
            .exit_with(
                ExitKind::Unreachable,
                format!("no node answers at {url}: is it running, and is the port right?"),
            )?;
        let inner = RpcClient::builder().request_timeout(REQUEST_TIME_MAX).build_with_tokio(sender, receiver);
        Ok(Self { inner, url: url.into() })
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Calls a method.
    ///
    /// # Errors
    /// The node refuses or does not answer, or the answer has another shape.
    pub async fn call<T: DeserializeOwned>(&self, method: &str, parameters: Vec<Value>) -> anyhow::Result<T> {
        let value: Value =
            self.inner.request(method, array(parameters)?).await.map_err(|error| explain(method, &self.url, error))?;
        serde_json::from_value(value)
            .exit_with(ExitKind::Unreachable, format!("{method}: the answer is not understood"))
    }

    /// Calls a method with named parameters.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn call_named<T: DeserializeOwned>(
        &self,
        method: &str,
        parameters: Map<String, Value>,
    ) -> anyhow::Result<T> {
        let mut object = ObjectParams::new();
        for (name, value) in parameters {
            object.insert(&name, value)?;
        }
        let value: Value =
            self.inner.request(method, object).await.map_err(|error| explain(method, &self.url, error))?;
        serde_json::from_value(value)
            .exit_with(ExitKind::Unreachable, format!("{method}: the answer is not understood"))
    }

    /// Subscribes.
    ///
    /// # Errors
    /// The node refuses or does not answer.
    pub async fn subscribe(
        &self,
        method: &str,
        parameters: Vec<Value>,
        unsubscribe: &str,
    ) -> anyhow::Result<Subscription<Value>> {
        self.inner
            .subscribe(method, array(parameters)?, unsubscribe)
            .await
            .map_err(|error| explain(method, &self.url, error))
    }

    /// The hash of block 0.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn genesis_hash(&self) -> anyhow::Result<Hash> {
        hash(&self.call::<String>("chain_getBlockHash", vec![0.into()]).await?)
    }

    /// The hash of the last finalized block.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn finalized(&self) -> anyhow::Result<Hash> {
        hash(&self.call::<String>("chain_getFinalizedHead", Vec::new()).await?)
    }

    /// A header; `None` for an unknown hash.
    ///
    /// # Errors
    /// As [`Client::call`]; or the header does not hash to what was asked for.
    pub async fn header(&self, at: &Hash) -> anyhow::Result<Option<Header>> {
        let Some(json) = self.call::<Option<Value>>("chain_getHeader", vec![at.to_string().into()]).await? else {
            return Ok(None);
        };
        let header = parse_header(json)?;
        if header.hash() == *at {
            return Ok(Some(header));
        }
        let message = format!("the node at {} gave a header that does not hash to {at}", self.url);
        Err(Failure::new(ExitKind::Proof, message).into())
    }

    /// Height of the last finalized block.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn finalized_height(&self) -> anyhow::Result<u32> {
        let at = self.finalized().await?;
        let header = self.header(&at).await?;
        header.map(|header| header.number).ok_or_else(|| {
            Failure::new(ExitKind::Unreachable, format!("{} does not know its own head {at}", self.url)).into()
        })
    }

    /// How amounts and addresses are written.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn properties(&self) -> anyhow::Result<Properties> {
        self.call("system_properties", Vec::new()).await
    }

    /// The versions after the last block.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn versions(&self) -> anyhow::Result<Versions> {
        self.call("state_getRuntimeVersion", Vec::new()).await
    }

    /// A value in the state; `None` if the key has none.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn storage(&self, key: &[u8], at: &Hash) -> anyhow::Result<Option<Vec<u8>>> {
        let parameters = vec![to_hex(key).into(), at.to_string().into()];
        self.call::<Option<String>>("state_getStorage", parameters).await?.map(|text| from_hex(&text)).transpose()
    }
}

fn array(parameters: Vec<Value>) -> anyhow::Result<ArrayParams> {
    let mut array = ArrayParams::new();
    for parameter in parameters {
        array.insert(parameter)?;
    }
    Ok(array)
}

/// A refusal keeps the node's reason; everything else is a matter of the connection.
fn explain(method: &str, url: &str, error: ClientError) -> anyhow::Error {
    if let ClientError::Call(refusal) = &error {
        let detail = refusal.data().and_then(|data| serde_json::from_str::<Value>(data.get()).ok());
        let words = |data: &Value| match data {
            Value::String(text) => Some(text.clone()),
            Value::Object(fields) => {
                let field = |name: &str| fields.get(name).and_then(Value::as_str);
                let text = field("message").or_else(|| field("detail"))?;
                Some(field("reason").map_or_else(|| text.to_owned(), |reason| format!("{text} [{reason}]")))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
        };
        let mut message = format!("the node refused {method}: {}", refusal.message());
        if let Some(words) = detail.as_ref().and_then(words).filter(|words| !message.contains(words.as_str())) {
            message = format!("{message}: {words}");
        }
        return Failure::new(ExitKind::Refused, format!("{message} (code {})", refusal.code())).into();
    }
    anyhow::Error::new(error).context(Failure::new(ExitKind::Unreachable, format!("{url} did not answer {method}")))
}

/// Bytes as hexadecimal text with 0x.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// Hexadecimal text, with or without 0x.
///
/// # Errors
/// It is something else.
pub fn from_hex(text: &str) -> anyhow::Result<Vec<u8>> {
    let shown: String = text.chars().take(40).collect();
    hex::decode(text.strip_prefix("0x").unwrap_or(text))
        .exit_with(ExitKind::Usage, format!("`{shown}` is not hexadecimal"))
}

/// A hash from its text.
///
/// # Errors
/// It is no hash.
pub fn hash(text: &str) -> anyhow::Result<Hash> {
    text.parse::<Hash>().map_err(|error| Failure::new(ExitKind::Usage, error.to_string()).into())
}

/// A header from its JSON; whoever calls compares the hash.
///
/// # Errors
/// A part is missing or malformed.
pub fn parse_header(json: Value) -> anyhow::Result<Header> {
    let not_understood = || "the header is not understood";
    let json: HeaderJson = serde_json::from_value(json).exit_with(ExitKind::Unreachable, not_understood())?;
    let digits = json.number.strip_prefix("0x").unwrap_or(&json.number);
    let number = u32::from_str_radix(digits, 16).exit_with(ExitKind::Unreachable, not_understood())?;
    let logs = json.digest.logs.iter().map(|log| {
        let bytes = from_hex(log)?;
        DigestItem::decode(&mut bytes.as_slice()).exit_with(ExitKind::Unreachable, not_understood())
    });
    Ok(Header {
        parent_hash: hash(&json.parent_hash)?,
        number,
        state_root: hash(&json.state_root)?,
        extrinsics_root: hash(&json.extrinsics_root)?,
        digest: logs.collect::<anyhow::Result<_>>()?,
    })
}

/// An account from what people write: an SS58 address, 0x and 64 digits, //Alice, sr25519//Alice and so on.
///
/// # Errors
/// It is none of these, or an address of another chain.
pub fn account(text: &str, ss58_prefix: u16) -> anyhow::Result<AccountId32> {
    if text.starts_with("sr25519//") {
        return keystore::account_key(text).map(|key| key.account());
    }
    if text.starts_with("//") {
        return keystore::from_argument(text, keystore::KeyKind::Account).map(|key| key.public().into());
    }
    if text.starts_with("0x") {
        let bytes = from_hex(text)?;
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| {
            Failure::new(ExitKind::Usage, format!("an account has 32 bytes, `{text}` has {}", bytes.len()))
        })?;
        return Ok(AccountId32(bytes));
    }
    AccountId32::from_ss58(text, ss58_prefix).exit_with(ExitKind::Usage, format!("`{text}` is not an account"))
}

#[cfg(test)]
mod tests {
    use super::{account, hash, parse_header, to_hex};
    use crate::exit::{ExitKind, kind_of, one_line};
    use cairn_primitives::header::DigestItem;
    use cairn_primitives::{Hash, Header};
    use parity_scale_codec::Encode as _;
    use serde_json::json;

    #[test]
    fn hash_mistyped_is_refused_in_one_sentence() {
        let error = hash("latest").unwrap_err();
        assert_eq!(kind_of(&error), ExitKind::Usage);
        assert_eq!(one_line(&error).matches("not a hash").count(), 1, "{}", one_line(&error));
    }

    #[test]
    fn header_from_json_hashes_as_the_original() {
        let header = Header {
            parent_hash: Hash([1; 32]),
            number: 300,
            state_root: Hash([2; 32]),
            extrinsics_root: Hash([3; 32]),
            digest: vec![DigestItem::PreRuntime(*b"CARN", vec![1, 2, 3]), DigestItem::Other(vec![9])],
        };
        let logs: Vec<String> = header.digest.iter().map(|item| to_hex(&item.encode())).collect();
        let json = json!({
            "parentHash": header.parent_hash.to_string(),
            "number": "0x12c",
            "stateRoot": header.state_root.to_string(),
            "extrinsicsRoot": header.extrinsics_root.to_string(),
            "digest": { "logs": logs },
        });
        assert_eq!(parse_header(json.clone()).unwrap().hash(), header.hash());
        let mut forged = json;
        forged["number"] = json!("0x12d");
        assert_ne!(parse_header(forged).unwrap().hash(), header.hash());
        assert!(parse_header(json!({})).is_err());
    }

    #[test]
    fn account_in_each_form_is_the_same_account() {
        let alice = account("//Alice", 42).unwrap();
        assert_eq!(account(&alice.to_ss58(42), 42).unwrap(), alice);
        assert_eq!(account(&to_hex(&alice.0), 42).unwrap(), alice);
    }

    #[test]
    fn account_mistyped_is_refused() {
        let alice = account("//Alice", 42).unwrap().to_ss58(42);
        for text in ["", "Alice", "0x12", &alice.replace('A', "B"), &alice[1..]] {
            assert_eq!(kind_of(&account(text, 42).unwrap_err()), ExitKind::Usage, "{text}");
        }
        assert!(account(&alice, 0).is_err());
    }
}
