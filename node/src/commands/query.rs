//! `cairn query`: asks a node and prints the answer for people or as JSON.

use super::trust::Trust;
use crate::cli::{QueryCommand, TrustArgs};
use crate::client::{self, Client, Properties};
use crate::commands::tx;
use crate::exit::{ExitContext as _, ExitKind, Failure};
use crate::output::{Output, amount, table};
use cairn_primitives::hash::blake2_256;
use cairn_primitives::{AccountId32, Hash, list_tree};
use cairn_runtime::{AccountInfo, EventRecord, keys};
use cairn_verifier::{SetAnswer, VerifiedBlock};
use parity_scale_codec::{Decode as _, DecodeAll as _};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Runs the command.
///
/// # Errors
/// The node cannot be reached or refuses; what was asked for does not exist.
pub async fn run(command: &QueryCommand, output: Output) -> anyhow::Result<()> {
    match command {
        QueryCommand::Account { account, at, trust, node } => {
            query_account(&Client::connect(&node.url).await?, account, at.as_deref(), trust, output).await
        }
        QueryCommand::Storage { key, at, trust, node } => {
            query_storage(&Client::connect(&node.url).await?, key, at.as_deref(), trust, output).await
        }
        QueryCommand::Block { block, trust, node } => {
            query_block(&Client::connect(&node.url).await?, block.as_deref(), trust, output).await
        }
        QueryCommand::Tx { hash, trust, node } => {
            query_tx(&Client::connect(&node.url).await?, hash, trust, output).await
        }
        QueryCommand::Validators { at, trust, node } => {
            query_validators(&Client::connect(&node.url).await?, at.as_deref(), trust, output).await
        }
        QueryCommand::Why { node } => query_why(&Client::connect(&node.url).await?, output).await,
        QueryCommand::Info { node } => query_info(&Client::connect(&node.url).await?, output).await,
    }
}

/// An answer for people and as data, to which what was verified is added.
#[derive(Default)]
struct Answer {
    rows: Vec<(&'static str, String)>,
    document: Map<String, Value>,
}

impl Answer {
    fn new(rows: impl IntoIterator<Item = (&'static str, String)>, document: Value) -> Self {
        let document = document.as_object().cloned().unwrap_or_default();
        Self { rows: rows.into_iter().collect(), document }
    }

    /// Adds how it follows from the trust anchor.
    fn verified(&mut self, trust: &Trust<'_>, block: &VerifiedBlock, what: &str) {
        self.rows.extend(trust.rows(block, what));
        self.document.extend(trust.fields(block));
    }

    fn print(self, output: Output) -> anyhow::Result<()> {
        output.print(&Value::Object(self.document), &table(&self.rows))
    }
}

/// A value of the state, and the trust that it was verified with if that was asked for.
struct Read<'a> {
    value: Option<Vec<u8>>,
    height: u32,
    at: Hash,
    proved: Option<(Trust<'a>, VerifiedBlock)>,
}

async fn read<'a>(client: &'a Client, key: &[u8], at: Option<&str>, trust: &TrustArgs) -> anyhow::Result<Read<'a>> {
    let at = block_hash(client, at).await?;
    if trust.verify {
        let mut trust = Trust::new(trust, client).await?;
        let (block, value) = trust.state(key, &at).await?;
        return Ok(Read { value, height: block.header.header().number, at, proved: Some((trust, block)) });
    }
    let height = client.header(&at).await?.map(|header| header.number).ok_or_else(|| no_block(client, &at))?;
    Ok(Read { value: client.storage(key, &at).await?, height, at, proved: None })
}

async fn query_account(
    client: &Client,
    text: &str,
    at: Option<&str>,
    trust: &TrustArgs,
    output: Output,
) -> anyhow::Result<()> {
    let properties = client.properties().await?;
    let account = client::account(text, properties.ss58_format)?;
    let key = keys::system_account(&account);
    let read = read(client, &key, at, trust).await?;
    // An account that was never funded has no entry; it reads as all zero.
    let info = match &read.value {
        None => AccountInfo::default(),
        Some(bytes) => AccountInfo::decode(&mut bytes.as_slice())
            .exit_with(ExitKind::Unreachable, "the account's state is not understood: is the program too old?")?,
    };
    let tokens = |units| amount(units, properties.token_decimals, &properties.token_symbol);
    let address = account.to_ss58(properties.ss58_format);
    let rows = [
        ("account", address.clone()),
        ("free", tokens(info.data.free)),
        ("reserved", tokens(info.data.reserved)),
        ("frozen", tokens(info.data.frozen)),
        ("nonce", info.nonce.to_string()),
        ("at block", format!("{} {}", read.height, read.at)),
    ];
    let document = json!({
        "account": address, "free": info.data.free.to_string(), "reserved": info.data.reserved.to_string(),
        "frozen": info.data.frozen.to_string(), "nonce": info.nonce, "height": read.height, "block": read.at.to_string(),
    });
    let mut answer = Answer::new(rows, document);
    if let Some((trust, block)) = &read.proved {
        answer.rows.push(("key", client::to_hex(&key)));
        answer.verified(trust, block, "state root, key and value");
        answer.document.insert("key".to_owned(), json!(client::to_hex(&key)));
        answer.document.insert("value".to_owned(), json!(read.value.as_deref().map(client::to_hex)));
    }
    answer.print(output)
}

async fn query_storage(
    client: &Client,
    key: &str,
    at: Option<&str>,
    trust: &TrustArgs,
    output: Output,
) -> anyhow::Result<()> {
    let key = client::from_hex(key)?;
    let read = read(client, &key, at, trust).await?;
    let value = read.value.as_deref().map(client::to_hex);
    let shown = value.clone().unwrap_or_else(|| "none: the state has no value under this key".to_owned());
    let rows = [("value", shown), ("key", client::to_hex(&key)), ("at block", format!("{} {}", read.height, read.at))];
    let document = json!({
        "key": client::to_hex(&key), "value": value, "height": read.height, "block": read.at.to_string(),
    });
    let mut answer = Answer::new(rows, document);
    if let Some((trust, block)) = &read.proved {
        answer.verified(trust, block, "state root, key and value");
    }
    answer.print(output)
}

fn no_block(client: &Client, at: &Hash) -> Failure {
    Failure::new(ExitKind::NotFound, format!("{} has no block with the hash {at}", client.url()))
}

/// A block's hash from its height, its hash, or nothing for the last one.
async fn block_hash(client: &Client, block: Option<&str>) -> anyhow::Result<Hash> {
    let Some(text) = block else { return client.finalized().await };
    let Ok(height) = text.parse::<u32>() else { return client::hash(text) };
    let answer: Option<String> = client.call("chain_getBlockHash", vec![height.into()]).await?;
    match answer {
        Some(text) => client::hash(&text),
        None => Err(Failure::new(ExitKind::NotFound, format!("there is no block {height} yet")).into()),
    }
}

async fn query_block(client: &Client, block: Option<&str>, trust: &TrustArgs, output: Output) -> anyhow::Result<()> {
    let at = block_hash(client, block).await?;
    let found: Option<Value> = client.call("chain_getBlock", vec![at.to_string().into()]).await?;
    let found = found.ok_or_else(|| no_block(client, &at))?;
    let header = client::parse_header(found.pointer("/block/header").cloned().unwrap_or_default())?;
    let bodies = found.pointer("/block/extrinsics").and_then(Value::as_array).cloned().unwrap_or_default();
    let bodies = bodies.iter().filter_map(Value::as_str).map(client::from_hex).collect::<anyhow::Result<Vec<_>>>()?;
    let hashes: Vec<String> = bodies.iter().map(|bytes| blake2_256(bytes).to_string()).collect();
    let mut rows = vec![
        ("height", header.number.to_string()),
        ("hash", at.to_string()),
        ("parent", header.parent_hash.to_string()),
        ("state root", header.state_root.to_string()),
        ("extrinsics root", header.extrinsics_root.to_string()),
    ];
    let context = header.context().ok();
    if let Some(context) = &context {
        rows.push(("view", format!("{} (epoch {})", context.view, context.epoch)));
        rows.push(("proposer", context.proposer.to_string()));
        rows.push(("timestamp", format!("{} ms", context.timestamp)));
    }
    rows.extend(hashes.iter().map(|hash| ("extrinsic", hash.clone())));
    let document = json!({
        "height": header.number, "hash": at.to_string(), "parent": header.parent_hash.to_string(),
        "stateRoot": header.state_root.to_string(), "extrinsicsRoot": header.extrinsics_root.to_string(),
        "view": context.as_ref().map(|context| context.view.0), "epoch": context.as_ref().map(|context| context.epoch.0),
        "proposer": context.as_ref().map(|context| context.proposer.0),
        "timestampMs": context.as_ref().map(|context| context.timestamp.0), "extrinsics": hashes,
    });
    let mut answer = Answer::new(rows, document);
    if trust.verify {
        let mut trust = Trust::new(trust, client).await?;
        let proved = trust.block(&at).await?;
        let proved_root = proved.header.header().extrinsics_root;
        if header.hash() != proved.header.hash() || list_tree::root(&bodies) != proved_root {
            let message = format!("REFUSED: the block that {} shows is not the one that it proves", client.url());
            return Err(Failure::new(ExitKind::Proof, message).into());
        }
        answer.verified(&trust, &proved, "every extrinsic");
    }
    answer.print(output)
}

async fn query_tx(client: &Client, text: &str, trust: &TrustArgs, output: Output) -> anyhow::Result<()> {
    let hash = client::hash(text)?;
    let found: Option<Found> = client.call("cairn_getTransaction", vec![hash.to_string().into()]).await?;
    let Some(found) = found else {
        let message =
            format!("{} has no block with transaction {hash}; it may still wait, or was never sent", client.url());
        return Err(Failure::new(ExitKind::NotFound, message).into());
    };
    let (at, index) = (client::hash(&found.block_hash)?, found.index);
    let properties: Properties = client.properties().await?;
    let mut proved = None;
    let outcome = if trust.verify {
        let mut trust = Trust::new(trust, client).await?;
        let block = trust.transaction(&hash, &at).await?;
        let outcome = outcome_proved(&mut trust, &at, &found, &properties).await?;
        proved = Some((trust, block));
        outcome
    } else {
        tx::outcome_at(client, &at, index, &properties).await?
    };
    let tokens = |units| amount(units, properties.token_decimals, &properties.token_symbol);
    let result = outcome.failure.as_ref().map_or_else(|| "success".into(), |failure| format!("failed: {failure}"));
    let mut rows = vec![
        ("transaction", hash.to_string()),
        ("block", format!("{} {at} (final)", found.height)),
        ("index", index.to_string()),
        ("fee", outcome.fee.map_or_else(|| "none".into(), tokens)),
        ("result", result),
    ];
    rows.extend(outcome.events.iter().map(|event| ("event", event.clone())));
    let document = json!({
        "hash": hash.to_string(), "height": found.height, "block": at.to_string(), "index": index,
        "fee": outcome.fee.map(|fee| fee.to_string()), "success": outcome.failure.is_none(),
        "failure": outcome.failure, "events": outcome.events,
    });
    let mut answer = Answer::new(rows, document);
    if let Some((trust, (block, place))) = &proved {
        if *place != index || block.header.header().number != found.height {
            let message = format!("REFUSED: {} proves another place of the transaction than it names", client.url());
            return Err(Failure::new(ExitKind::Proof, message).into());
        }
        let what = format!("the transaction at its place, its result and {} events", found.events.len());
        answer.verified(trust, block, &what);
    }
    answer.print(output)
}

/// What `cairn_getTransaction` says of a transaction.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    block_hash: String,
    height: u32,
    index: u32,
    events: Vec<FoundEvent>,
}

#[derive(Deserialize)]
struct FoundEvent {
    index: u32,
}

/// Fee, result and events of a transaction from records that were proved one by one.
async fn outcome_proved(
    trust: &mut Trust<'_>,
    at: &Hash,
    found: &Found,
    properties: &Properties,
) -> anyhow::Result<tx::Outcome> {
    let mut records = Vec::with_capacity(found.events.len());
    for FoundEvent { index } in &found.events {
        let bytes = trust.event(at, *index).await?;
        let record = EventRecord::decode_all(&mut bytes.as_slice())
            .exit_with(ExitKind::Unreachable, "the events of the block are not understood: is the program too old?")?;
        records.push(record);
    }
    let own = records.iter().filter(|record| record.extrinsic() == Some(found.index));
    if own.filter_map(EventRecord::outcome).count() != 1 {
        let message = "REFUSED: the node does not prove what came of the transaction";
        return Err(Failure::new(ExitKind::Proof, message).into());
    }
    Ok(tx::outcome(&records, found.index, properties))
}

async fn query_validators(client: &Client, at: Option<&str>, trust: &TrustArgs, output: Output) -> anyhow::Result<()> {
    let properties = client.properties().await?;
    let at = block_hash(client, at).await?;
    let answer: SetAnswer = client.call("cairn_validators", vec![at.to_string().into()]).await?;
    let set = answer.set().exit_with(ExitKind::Unreachable, "the node's validators are no set")?;
    let mut text = format!("{} validators, quorum {} of {}\n", set.len(), set.quorum(), set.total_power());
    let mut list = Vec::new();
    for (index, validator) in set.indices().zip(set.validators()) {
        let address = AccountId32::from(validator.key).to_ss58(properties.ss58_format);
        text.push_str(&format!("{index:>3}  {}  {address}  power {}\n", validator.key, validator.power));
        list.push(json!({ "index": index.0, "key": validator.key.to_string(), "address": address, "power": validator.power.0 }));
    }
    let document = json!({
        "validators": list, "quorum": set.quorum().0, "totalPower": set.total_power().0, "hash": set.hash().to_string(),
    });
    let mut shown = Answer::new([], document);
    if trust.verify {
        let mut trust = Trust::new(trust, client).await?;
        let block = trust.block(&at).await?;
        trust.validators(&block, &answer)?;
        shown.verified(&trust, &block, "that these are the validators of the block");
        text.push_str(&format!("\n{}", table(&shown.rows)));
    }
    output.print(&Value::Object(shown.document), &text)
}

async fn query_info(client: &Client, output: Output) -> anyhow::Result<()> {
    let info: Value = client.call("cairn_nodeInfo", Vec::new()).await?;
    let mut rows = Vec::new();
    flatten("", &info, &mut rows);
    let rows: Vec<(&str, String)> = rows.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    output.print(&info, &table(&rows))
}

/// The answer in words first, then what it was concluded from.
async fn query_why(client: &Client, output: Output) -> anyhow::Result<()> {
    let answer: Value = client.call("cairn_whyNoBlock", Vec::new()).await?;
    let mut text = answer.get("why").and_then(Value::as_str).unwrap_or_default().to_owned();
    text.push_str("\n\n");
    let mut rows = Vec::new();
    for (name, value) in answer.as_object().into_iter().flatten().filter(|(name, _)| *name != "why") {
        match value.as_array().filter(|items| items.iter().all(Value::is_object)) {
            Some(items) => rows.extend(items.iter().map(|item| (name.clone(), one_line(item)))),
            None => flatten(name, value, &mut rows),
        }
    }
    let rows: Vec<(&str, String)> = rows.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    text.push_str(&table(&rows));
    output.print(&answer, &text)
}

/// The fields of an object one after the other.
fn one_line(item: &Value) -> String {
    let mut fields = Vec::new();
    flatten("", item, &mut fields);
    let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("{name} {value}")).collect();
    fields.join(", ")
}

/// Nested data as `outer.inner` rows.
fn flatten(prefix: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&path, field, rows);
            }
        }
        Value::Array(items) => {
            for item in items {
                flatten(prefix, item, rows);
            }
        }
        Value::String(text) => rows.push((prefix.to_owned(), text.clone())),
        Value::Null | Value::Bool(_) | Value::Number(_) => rows.push((prefix.to_owned(), value.to_string())),
    }
}
