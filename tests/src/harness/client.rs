//! What tests ask of a node and send to it.

use super::PATIENCE;
use crate::rpc::{Rpc, from_hex, to_hex};
use anyhow::{Context as _, bail};
use cairn_chain_spec::development;
use cairn_primitives::signer::AccountKey;
use cairn_primitives::{AccountId32, Hash};
use cairn_runtime::client::{sign_by, transfer_keep_alive};
use cairn_runtime::{AccountInfo, Era, Rules, RuntimeCall, TransactionExtra, keys};
use jsonrpsee::core::client::Subscription;
use parity_scale_codec::{Decode as _, Encode as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A finalized block as `cairn_subscribeBlocks` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Block {
    height: u32,
    hash: String,
}

/// Follows a node's finalized blocks.
#[derive(Debug)]
pub struct Observer<'a> {
    rpc: &'a Rpc,
    blocks: Subscription<Block>,
    /// The last block heard of.
    pub height: u32,
    /// Its hash.
    pub hash: String,
}

impl<'a> Observer<'a> {
    /// Begins with the node's head.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn new(rpc: &'a Rpc) -> anyhow::Result<Self> {
        let blocks = rpc.subscribe("cairn_subscribeBlocks", Vec::<Value>::new(), "cairn_unsubscribeBlocks").await?;
        let mut observer = Self { rpc, blocks, height: 0, hash: String::new() };
        observer.next().await?;
        Ok(observer)
    }

    /// Waits for the next block.
    ///
    /// # Errors
    /// It does not come.
    pub async fn next(&mut self) -> anyhow::Result<()> {
        match timeout(PATIENCE, self.blocks.next()).await {
            Ok(Some(block)) => Block { height: self.height, hash: self.hash } = block?,
            Ok(None) => bail!("{} went away", self.rpc.url()),
            Err(_) => bail!("{}: no block after {} in {} s", self.rpc.url(), self.height, PATIENCE.as_secs()),
        }
        Ok(())
    }

    /// Waits until a height is final.
    ///
    /// # Errors
    /// It does not become final.
    pub async fn reach(&mut self, height: u32) -> anyhow::Result<()> {
        while self.height < height {
            self.next().await?;
        }
        Ok(())
    }
}

/// The hashes of the blocks from 0 to `height`.
///
/// # Errors
/// The node does not answer or does not have them all.
pub async fn hashes(rpc: &Rpc, height: u32) -> anyhow::Result<Vec<String>> {
    let heights: Vec<u32> = (0..=height).collect();
    let mut hashes = Vec::new();
    for part in heights.chunks(200) {
        let found: Vec<Option<String>> = rpc.call("chain_getBlockHash", vec![json!(part)]).await?;
        for (height, hash) in part.iter().zip(found) {
            hashes.push(hash.with_context(|| format!("{} has no block {height}", rpc.url()))?);
        }
    }
    Ok(hashes)
}

/// The account of a development key.
#[must_use]
pub fn id(name: &str) -> AccountId32 {
    development::key_pair(name).public().into()
}

/// An account in the state of a block, by its hash; of the head if none is given.
///
/// # Errors
/// The node does not answer.
pub async fn account(rpc: &Rpc, name: &str, at: Option<&str>) -> anyhow::Result<AccountInfo> {
    let key = to_hex(&keys::system_account(&id(name)));
    let value: Option<String> = rpc.call("state_getStorage", vec![json!(key), json!(at)]).await?;
    let Some(text) = value else { return Ok(AccountInfo::default()) };
    AccountInfo::decode(&mut from_hex(&text)?.as_slice()).context("an account is not understood")
}

/// Calls of a development account, signed one after the other for the rules of the next block, in hexadecimal.
///
/// # Errors
/// The node does not answer.
pub async fn signed_calls(rpc: &Rpc, from: &str, calls: &[RuntimeCall]) -> anyhow::Result<Vec<String>> {
    let genesis: String = rpc.call("chain_getBlockHash", vec![json!(0)]).await?;
    let genesis: Hash = genesis.parse().context("the genesis hash is not understood")?;
    let nonce: u32 = rpc.call("system_accountNextIndex", vec![json!(id(from).to_ss58(42))]).await?;
    let version: Value = rpc.call("state_getRuntimeVersion", Vec::<Value>::new()).await?;
    let rules =
        version["specVersion"].as_u64().and_then(|version| Rules::from_spec_version(u32::try_from(version).ok()?));
    let rules = rules.with_context(|| format!("the chain follows rules that are not here: {version}"))?;
    let key = AccountKey::from(development::key_pair(from));
    let signed = (nonce..).zip(calls).map(|(nonce, call)| {
        let extra = TransactionExtra { era: Era::Immortal, nonce, tip: 0 };
        to_hex(&sign_by(&key, call, extra, rules, &genesis, &genesis).encode())
    });
    Ok(signed.collect())
}

/// A transfer between development accounts, signed and in hexadecimal.
///
/// # Errors
/// The node does not answer.
pub async fn signed_transfer(rpc: &Rpc, from: &str, to: &str, value: u128) -> anyhow::Result<String> {
    let signed = signed_calls(rpc, from, &[transfer_keep_alive(id(to), value)]).await?;
    signed.into_iter().next().context("one call gives one transaction")
}

/// Submits a transfer without waiting.
///
/// # Errors
/// It is refused.
pub async fn submit_transfer(rpc: &Rpc, from: &str, to: &str, value: u128) -> anyhow::Result<String> {
    let signed = signed_transfer(rpc, from, to, value).await?;
    rpc.call("author_submitExtrinsic", vec![json!(signed)]).await
}

/// Submits a transfer and waits until it is final; gives the hash of its block.
///
/// # Errors
/// It is refused or does not become final.
pub async fn transfer(rpc: &Rpc, from: &str, to: &str, value: u128) -> anyhow::Result<String> {
    let signed = signed_transfer(rpc, from, to, value).await?;
    let mut states: Subscription<Value> =
        rpc.subscribe("author_submitAndWatchExtrinsic", vec![json!(signed)], "author_unwatchExtrinsic").await?;
    loop {
        let state = timeout(PATIENCE, states.next()).await.context("a transfer does not become final")?;
        let state = state.with_context(|| format!("{} went away", rpc.url()))??;
        if let Some(block) = state.get("finalized").and_then(Value::as_str) {
            return Ok(block.to_owned());
        }
        let is_lost = state.get("usurped").is_some() || matches!(state.as_str(), Some("invalid" | "dropped"));
        anyhow::ensure!(!is_lost, "a transfer was lost: {state}");
    }
}

/// The height of a block.
///
/// # Errors
/// The node does not know it.
pub async fn height_of(rpc: &Rpc, hash: &str) -> anyhow::Result<u32> {
    let header: Value = rpc.call("chain_getHeader", vec![json!(hash)]).await?;
    let digits = header["number"].as_str().and_then(|number| number.strip_prefix("0x"));
    u32::from_str_radix(digits.context("a header has a number")?, 16).context("a block's number is not understood")
}

/// The sum of a metric over its labels, as the node's `/metrics` tells it.
///
/// # Errors
/// Nobody answers, or there is no such metric.
pub async fn metric(address: (String, u16), name: &str) -> anyhow::Result<f64> {
    let ask = async {
        let mut stream = TcpStream::connect((address.0.as_str(), address.1)).await?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = timeout(PATIENCE, ask).await.context("the metrics do not come")??;
    let rows = answer.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    let values = rows.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).collect::<Vec<_>>();
    anyhow::ensure!(!values.is_empty(), "there is no metric {name}");
    Ok(values.iter().sum())
}
