//! `cairn query`: asks a node and prints the answer for people or as JSON.

use crate::cli::QueryCommand;
use crate::client::{self, Client, Properties};
use crate::commands::{proof, tx};
use crate::exit::{ExitContext as _, ExitKind, Failure};
use crate::output::{Output, amount, table};
use cairn_primitives::hash::blake2_256;
use cairn_primitives::{AccountId32, Hash};
use cairn_runtime::{AccountInfo, keys};
use parity_scale_codec::Decode as _;
use serde_json::{Value, json};

/// Runs the command.
///
/// # Errors
/// The node cannot be reached or refuses; what was asked for does not exist.
pub async fn run(command: &QueryCommand, output: Output) -> anyhow::Result<()> {
    match command {
        QueryCommand::Account { account, at, node } => {
            query_account(&Client::connect(&node.url).await?, account, at.as_deref(), output).await
        }
        QueryCommand::Block { block, node } => {
            query_block(&Client::connect(&node.url).await?, block.as_deref(), output).await
        }
        QueryCommand::Tx { hash, node } => query_tx(&Client::connect(&node.url).await?, hash, output).await,
        QueryCommand::Proof(args) => proof::run(args, output).await,
        QueryCommand::Validators { node } => query_validators(&Client::connect(&node.url).await?, output).await,
        QueryCommand::Why { node } => query_why(&Client::connect(&node.url).await?, output).await,
        QueryCommand::Info { node } => query_info(&Client::connect(&node.url).await?, output).await,
    }
}

async fn query_account(client: &Client, text: &str, at: Option<&str>, output: Output) -> anyhow::Result<()> {
    let properties = client.properties().await?;
    let account = client::account(text, properties.ss58_format)?;
    let at = block_hash(client, at).await?;
    let height = client.header(&at).await?.map(|header| header.number);
    // An account that was never funded has no entry; it reads as all zero.
    let info = match client.storage(&keys::system_account(&account), &at).await? {
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
        ("at block", format!("{} {at}", height.unwrap_or_default())),
    ];
    let document = json!({
        "account": address, "free": info.data.free.to_string(), "reserved": info.data.reserved.to_string(),
        "frozen": info.data.frozen.to_string(), "nonce": info.nonce, "height": height, "block": at.to_string(),
    });
    output.print(&document, &table(&rows))
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

async fn query_block(client: &Client, block: Option<&str>, output: Output) -> anyhow::Result<()> {
    let at = block_hash(client, block).await?;
    let answer: Option<Value> = client.call("chain_getBlock", vec![at.to_string().into()]).await?;
    let answer = answer
        .ok_or_else(|| Failure::new(ExitKind::NotFound, format!("{} has no block with the hash {at}", client.url())))?;
    let header = client::parse_header(answer.pointer("/block/header").cloned().unwrap_or_default())?;
    let bodies = answer.pointer("/block/extrinsics").and_then(Value::as_array).cloned().unwrap_or_default();
    let hashes: Vec<String> = bodies
        .iter()
        .filter_map(Value::as_str)
        .map(|text| client::from_hex(text).map(|bytes| blake2_256(&bytes).to_string()))
        .collect::<anyhow::Result<_>>()?;
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
    output.print(&document, &table(&rows))
}

async fn query_tx(client: &Client, text: &str, output: Output) -> anyhow::Result<()> {
    let hash = client::hash(text)?;
    let answer: Option<Value> = client.call("cairn_getTransaction", vec![hash.to_string().into()]).await?;
    let not_understood = || Failure::new(ExitKind::Unreachable, "the node's answer is not understood");
    let Some(answer) = answer else {
        let message =
            format!("{} has no block with transaction {hash}; it may still wait, or was never sent", client.url());
        return Err(Failure::new(ExitKind::NotFound, message).into());
    };
    let number = |name: &str| answer.get(name).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    let (height, index) = number("height").zip(number("index")).ok_or_else(not_understood)?;
    let block = client::hash(answer.get("blockHash").and_then(Value::as_str).ok_or_else(not_understood)?)?;
    let properties: Properties = client.properties().await?;
    let outcome = tx::outcome_at(client, &block, index, &properties).await?;
    let tokens = |units| amount(units, properties.token_decimals, &properties.token_symbol);
    let result = outcome.failure.as_ref().map_or_else(|| "success".into(), |failure| format!("failed: {failure}"));
    let mut rows = vec![
        ("transaction", hash.to_string()),
        ("block", format!("{height} {block} (final)")),
        ("index", index.to_string()),
        ("fee", outcome.fee.map_or_else(|| "none".into(), tokens)),
        ("result", result),
    ];
    rows.extend(outcome.events.iter().map(|event| ("event", event.clone())));
    let document = json!({
        "hash": hash.to_string(), "height": height, "block": block.to_string(), "index": index,
        "fee": outcome.fee.map(|fee| fee.to_string()), "success": outcome.failure.is_none(),
        "failure": outcome.failure, "events": outcome.events,
    });
    output.print(&document, &table(&rows))
}

async fn query_validators(client: &Client, output: Output) -> anyhow::Result<()> {
    let properties = client.properties().await?;
    let set = proof::validators(client, None).await?;
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
    output.print(&document, &text)
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
