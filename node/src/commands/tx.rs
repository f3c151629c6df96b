//! `cairn tx`: builds and signs a transaction here, submits it and waits until it is final.

use crate::cli::{RotateKeyArgs, SetValidatorArgs, SubmitArgs, TransferArgs, TxCommand};
use crate::client::{self, Client, Properties, to_hex};
use crate::exit::{ExitContext as _, ExitKind, Failure};
use crate::keystore::{self, KeyKind};
use crate::output::{Output, amount, parse_amount, table};
use cairn_primitives::extrinsic::{Era, TransactionExtra};
use cairn_primitives::signer::AccountKey;
use cairn_primitives::{AccountId32, Epoch, Hash, OpaqueExtrinsic, PublicKey};
use cairn_runtime::client::{self as calls, sign_by, transfer_allow_death, transfer_keep_alive};
use cairn_runtime::modules::{balances, system, transaction_payment};
use cairn_runtime::{DispatchError, EventRecord, Phase, Rules, RuntimeCall, RuntimeError, RuntimeEvent, SPEC_NAME};
use parity_scale_codec::{Decode as _, Encode as _};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Runs the command.
///
/// # Errors
/// The node cannot be reached, refuses the transaction, or the transaction fails in its block.
pub async fn run(command: &TxCommand, output: Output) -> anyhow::Result<()> {
    match command {
        TxCommand::Transfer(args) => transfer(args, output).await,
        TxCommand::SetValidator(args) => set_validator(args, output).await,
        TxCommand::RotateKey(args) => rotate_key(args, output).await,
    }
}

/// What became of a transaction in its block.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The fee, tip included, in base units.
    pub fee: Option<u128>,
    /// Why the call failed, if it did.
    pub failure: Option<String>,
    /// Its events in words.
    pub events: Vec<String>,
}

async fn transfer(args: &TransferArgs, output: Output) -> anyhow::Result<()> {
    let sender = Sender::new(&args.submit).await?;
    let properties = &sender.properties;
    let to = client::account(&args.to, properties.ss58_format)?;
    let value = tokens(&args.amount, properties)?;
    let call = if args.allow_death { transfer_allow_death(to, value) } else { transfer_keep_alive(to, value) };
    let (shown, words) =
        (to.to_ss58(properties.ss58_format), amount(value, properties.token_decimals, &properties.token_symbol));
    let document = json!({ "to": shown, "amount": value.to_string() });
    sender.submit(&call, vec![("to", shown), ("amount", words)], document, output).await
}

async fn set_validator(args: &SetValidatorArgs, output: Output) -> anyhow::Result<()> {
    let sender = Sender::new(&args.submit).await?;
    let key = PublicKey(client::account(&args.key, sender.properties.ss58_format)?.0);
    let rows = vec![("validator", key.to_string()), ("power", format!("{}, from the next epoch on", args.power))];
    let document = json!({ "validator": key.to_string(), "power": args.power.to_string() });
    sender.submit(&calls::set_validator(key, args.power), rows, document, output).await
}

async fn rotate_key(args: &RotateKeyArgs, output: Output) -> anyhow::Result<()> {
    let old = keystore::from_argument(&args.old, KeyKind::Consensus)?;
    let new = keystore::from_argument(&args.new, KeyKind::Consensus)?;
    let sender = Sender::new(&args.submit).await?;
    let genesis = sender.client.genesis_hash().await?;
    // The proof holds in one epoch only: where a block of the next one takes it in, it fails with `WrongEpoch`.
    let set: Value = sender.client.call("cairn_validators", vec![]).await?;
    let epoch = set.get("epoch").and_then(Value::as_u64).map(Epoch);
    let epoch = epoch.ok_or_else(|| Failure::new(ExitKind::Unreachable, "the node does not tell the epoch"))?;
    let (from, to) = (old.public().to_string(), new.public().to_string());
    let rows = vec![("old key", from.clone()), ("new key", format!("{to}, from epoch {} on", epoch.next()))];
    let document = json!({ "old": from, "new": to, "fromEpoch": epoch.next().0 });
    sender.submit(&calls::rotate_key(&old, &new, epoch, &genesis), rows, document, output).await
}

fn tokens(text: &str, properties: &Properties) -> anyhow::Result<u128> {
    Ok(parse_amount(text, properties.token_decimals).map_err(|problem| Failure::new(ExitKind::Usage, problem))?)
}

/// Somebody with a key and a node to submit to.
struct Sender<'a> {
    args: &'a SubmitArgs,
    key: AccountKey,
    client: Client,
    rules: Rules,
    properties: Properties,
}

impl<'a> Sender<'a> {
    async fn new(args: &'a SubmitArgs) -> anyhow::Result<Self> {
        let key = keystore::account_key(&args.from)?;
        let client = Client::connect(&args.node.url).await?;
        let rules = rules_of(&client).await?;
        let properties = client.properties().await?;
        Ok(Self { args, key, client, rules, properties })
    }

    /// Signs, submits, waits if that is wanted, and prints what became of it; `about` and `document` say what it is.
    async fn submit(
        &self,
        call: &RuntimeCall,
        about: Vec<(&'static str, String)>,
        document: Value,
        output: Output,
    ) -> anyhow::Result<()> {
        let Self { args, key, client, rules, properties } = self;
        let tip = tokens(&args.tip, properties)?;
        let extrinsic = build(client, (key, *rules), call, args.mortal, tip, properties).await?;
        let hash = extrinsic.hash();
        if args.no_wait {
            client.call::<Value>("author_submitExtrinsic", vec![to_hex(&extrinsic.encode()).into()]).await?;
            let rows =
                [("submitted", hash.to_string()), ("follow", format!("cairn query tx {hash} --url {}", client.url()))];
            return output.print(&json!({ "hash": hash.to_string(), "status": "submitted" }), &table(&rows));
        }
        let started = Instant::now();
        let wait = Duration::from_secs(args.timeout);
        let block = tokio::time::timeout(wait, submit_and_watch(client, &extrinsic)).await.map_err(|_| {
            let message = format!(
                "transaction {hash} is not final after {} s; it may still become final: cairn query tx {hash} --url {}",
                args.timeout,
                client.url()
            );
            Failure::new(ExitKind::Timeout, message)
        })??;
        let elapsed = started.elapsed();
        let (height, index) = place_of(client, &block, &extrinsic).await?;
        let outcome = outcome_at(client, &block, index, properties).await?;
        let from = key.account().to_ss58(properties.ss58_format);
        let words = |base_units| amount(base_units, properties.token_decimals, &properties.token_symbol);
        let mut rows = vec![("transaction", hash.to_string()), ("from", from.clone())];
        rows.extend(about);
        rows.extend([
            ("fee", outcome.fee.map_or_else(|| "unknown".into(), words)),
            ("block", format!("{height} {block}")),
            ("final after", format!("{} ms", elapsed.as_millis())),
            ("result", outcome.failure.as_ref().map_or_else(|| "success".into(), |reason| format!("failed: {reason}"))),
        ]);
        rows.extend(outcome.events.iter().map(|event| ("event", event.clone())));
        let mut told = json!({
            "hash": hash.to_string(), "status": "finalized", "block": block.to_string(), "height": height,
            "index": index, "from": from, "fee": outcome.fee.map(|fee| fee.to_string()),
            "success": outcome.failure.is_none(), "failure": outcome.failure, "events": outcome.events,
            "finalAfterMs": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        });
        if let (Some(told), Value::Object(document)) = (told.as_object_mut(), document) {
            told.extend(document);
        }
        output.print(&told, &table(&rows))?;
        outcome.failure.map_or(Ok(()), |failure| {
            let message = format!("the transaction is in block {height} but failed: {failure}; the fee was paid");
            Err(Failure::new(ExitKind::Refused, message).into())
        })
    }
}

/// The rules of the chain: a transaction means what it says only under the rules it was built for.
async fn rules_of(client: &Client) -> anyhow::Result<Rules> {
    let theirs = client.versions().await?;
    let known = Rules::from_spec_version(theirs.spec_version)
        .filter(|rules| theirs.spec_name == SPEC_NAME && theirs.transaction_version == rules.transaction_version());
    let message = || {
        format!(
            "the chain at {} follows {} version {} (transactions {}), this program builds transactions for {SPEC_NAME} \
             versions {} to {}: use the program of the chain's version",
            client.url(),
            theirs.spec_name,
            theirs.spec_version,
            theirs.transaction_version,
            Rules::FIRST.spec_version(),
            Rules::NEWEST.spec_version()
        )
    };
    Ok(known.ok_or_else(|| Failure::new(ExitKind::Refused, message()))?)
}

async fn build(
    client: &Client,
    (key, rules): (&AccountKey, Rules),
    call: &RuntimeCall,
    mortal: u64,
    tip: u128,
    properties: &Properties,
) -> anyhow::Result<OpaqueExtrinsic> {
    let address = key.account().to_ss58(properties.ss58_format);
    let genesis = client.genesis_hash().await?;
    let nonce: u32 = client.call("system_accountNextIndex", vec![address.into()]).await?;
    let (era, era_block) = if mortal == 0 {
        (Era::Immortal, genesis)
    } else {
        let at = client.finalized().await?;
        let height = client
            .header(&at)
            .await?
            .map(|header| u64::from(header.number))
            .ok_or_else(|| Failure::new(ExitKind::Unreachable, "the node does not know its own head"))?;
        let era = Era::mortal(mortal, height);
        let birth = era.birth(height);
        let text: String = client.call("chain_getBlockHash", vec![birth.into()]).await?;
        (era, client::hash(&text)?)
    };
    Ok(sign_by(key, call, TransactionExtra { era, nonce, tip }, rules, &genesis, &era_block))
}

/// Submits and waits for finality; gives the block's hash.
async fn submit_and_watch(client: &Client, extrinsic: &OpaqueExtrinsic) -> anyhow::Result<Hash> {
    let bytes = to_hex(&extrinsic.encode());
    let mut statuses =
        client.subscribe("author_submitAndWatchExtrinsic", vec![bytes.into()], "author_unwatchExtrinsic").await?;
    while let Some(status) = statuses.next().await {
        let status = status.exit_with(ExitKind::Unreachable, "the node's status is not understood")?;
        match judge(&status) {
            Step::Waiting => {}
            Step::Final(block) => return client::hash(&block),
            Step::Lost(reason) => {
                let message = format!("transaction {} was not included: {reason}", extrinsic.hash());
                return Err(Failure::new(ExitKind::Refused, message).into());
            }
        }
    }
    let message = format!("{} closed the connection before {} was final", client.url(), extrinsic.hash());
    Err(Failure::new(ExitKind::Unreachable, message).into())
}

/// What a status means for somebody who waits.
enum Step {
    Waiting,
    Final(String),
    Lost(String),
}

fn judge(status: &Value) -> Step {
    let lost = |reason: &str| Step::Lost(reason.into());
    if let Some(block) = status.get("finalized").and_then(Value::as_str) {
        return Step::Final(block.into());
    }
    if let Some(other) = status.get("usurped") {
        return Step::Lost(format!("another transaction with the same nonce took its place: {other}"));
    }
    match status.as_str() {
        Some("invalid") => lost("it became invalid, for example because its blocks went by"),
        Some("dropped") => lost("the node's pool was full of better ones; try again, or with a higher --tip"),
        // ready, future, broadcast, inBlock and what later nodes may add.
        Some(_) | None => Step::Waiting,
    }
}

/// Height of a block and the place of an extrinsic in it.
async fn place_of(client: &Client, block: &Hash, extrinsic: &OpaqueExtrinsic) -> anyhow::Result<(u32, u32)> {
    let answer: Value = client.call("chain_getBlock", vec![block.to_string().into()]).await?;
    let header = client::parse_header(answer.pointer("/block/header").cloned().unwrap_or_default())?;
    let wanted = to_hex(&extrinsic.encode());
    let bodies = answer.pointer("/block/extrinsics").and_then(Value::as_array);
    let index = bodies.into_iter().flatten().position(|body| body.as_str() == Some(&wanted));
    let index = index.and_then(|index| u32::try_from(index).ok()).ok_or_else(|| {
        Failure::new(ExitKind::Unreachable, format!("the node named block {block}, but the transaction is not in it"))
    })?;
    Ok((header.number, index))
}

/// Fee, result and events of one extrinsic of a block.
///
/// # Errors
/// The events cannot be read.
pub async fn outcome_at(client: &Client, block: &Hash, index: u32, properties: &Properties) -> anyhow::Result<Outcome> {
    let bytes = client.storage(&cairn_runtime::keys::SYSTEM_EVENTS, block).await?.unwrap_or_default();
    let records = Vec::<EventRecord>::decode(&mut bytes.as_slice())
        .exit_with(ExitKind::Unreachable, "the events of the block are not understood")?;
    Ok(outcome(&records, index, properties))
}

/// Fee, result and events of one extrinsic among those of its block.
pub(super) fn outcome(records: &[EventRecord], index: u32, properties: &Properties) -> Outcome {
    let mut outcome = Outcome { fee: None, failure: None, events: Vec::new() };
    for record in records.iter().filter(|record| record.phase == Phase::ApplyExtrinsic(index)) {
        match &record.event {
            RuntimeEvent::TransactionPayment(transaction_payment::Event::TransactionFeePaid { actual_fee, .. }) => {
                outcome.fee = Some(*actual_fee);
            }
            RuntimeEvent::System(system::Event::ExtrinsicFailed { dispatch_error, .. }) => {
                outcome.failure = Some(reason(dispatch_error));
            }
            // The result says it.
            RuntimeEvent::System(system::Event::ExtrinsicSuccess { .. }) => {}
            RuntimeEvent::Balances(event) => outcome.events.push(balances_event(event, properties)),
            other @ (RuntimeEvent::System(_)
            | RuntimeEvent::TransactionPayment(_)
            | RuntimeEvent::Utility(_)
            | RuntimeEvent::Validators(_)) => {
                outcome.events.push(format!("{other:?}"));
            }
        }
    }
    outcome
}

/// An event of Balances with addresses and tokens as people write them.
fn balances_event(event: &balances::Event, properties: &Properties) -> String {
    use balances::Event::{Burned, Deposit, DustLost, Endowed, Transfer, Withdraw};
    let shown = |account: &AccountId32| account.to_ss58(properties.ss58_format);
    let (name, who, units) = match event {
        Transfer { from, to, amount } => ("Transfer", format!("{} -> {}", shown(from), shown(to)), *amount),
        Endowed { account, free_balance } => ("Endowed", shown(account), *free_balance),
        DustLost { account, amount } => ("DustLost", shown(account), *amount),
        Deposit { who, amount } => ("Deposit", shown(who), *amount),
        Withdraw { who, amount } => ("Withdraw", shown(who), *amount),
        Burned { who, amount } => ("Burned", shown(who), *amount),
    };
    format!("Balances.{name} {who} {}", amount(units, properties.token_decimals, &properties.token_symbol))
}

/// The name of a module's error, else the kind of the failure.
fn reason(error: &DispatchError) -> String {
    if let DispatchError::Module(module) = error
        && let Some(named) = RuntimeError::from_module_error(module)
    {
        return format!("{named:?}");
    }
    format!("{error:?}")
}

#[cfg(test)]
mod tests {
    use super::balances_event;
    use crate::client::{Properties, account};
    use cairn_runtime::modules::balances::Event;

    #[test]
    fn balances_events_show_addresses_and_tokens() {
        let properties = Properties { ss58_format: 42, token_decimals: 12, token_symbol: "CRN".into() };
        let (alice, bob) = (account("//Alice", 42).unwrap(), account("//Bob", 42).unwrap());
        let transfer = Event::Transfer { from: alice, to: bob, amount: 1_500_000_000_000 };
        let words = format!("Balances.Transfer {} -> {} 1.5 CRN", alice.to_ss58(42), bob.to_ss58(42));
        assert_eq!(balances_event(&transfer, &properties), words);
        let fee = Event::Withdraw { who: alice, amount: 1 };
        let words = format!("Balances.Withdraw {} 0.000000000001 CRN", alice.to_ss58(42));
        assert_eq!(balances_event(&fee, &properties), words);
    }
}
