//! The accounts that send and receive: derived from their number, funded from //Alice, the same in every run.

use crate::rpc::{Rpc, from_hex, to_hex};
use anyhow::{Context as _, bail, ensure};
use cairn_chain_spec::development;
use cairn_primitives::hash::blake2_256;
use cairn_primitives::{AccountId32, Hash, KeyPair, OpaqueExtrinsic};
use cairn_runtime::client::{batch_all, sign, transfer_keep_alive};
use cairn_runtime::{AccountInfo, Era, TransactionExtra, keys};
use parity_scale_codec::{Decode as _, Encode as _};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Keys in one request for state: the limit of nodes.
const KEYS_MAX: usize = 1_000;

/// Transfers in one funding transaction: about 10 KiB.
const TRANSFERS_MAX: usize = 250;

/// Base units that an account gets: the fees of some hundred thousand transfers.
const FUNDS: u128 = 2_000_000_000_000;

/// An account with less is funded again, in base units.
const FUNDS_MIN: u128 = FUNDS / 2;

/// How long finality may stand still while accounts are funded.
const STANDSTILL_MAX: Duration = Duration::from_secs(60);

/// An account of the load generator.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) key: KeyPair,
    pub(crate) id: AccountId32,
    /// The nonce of its next transaction.
    pub(crate) nonce: u32,
    balance: u128,
}

#[derive(Deserialize)]
struct Changes {
    changes: Vec<(String, Option<String>)>,
}

/// The first `count` accounts, funded.
///
/// # Errors
/// The node fails, or //Alice has too little.
pub(crate) async fn funded(rpc: &Rpc, genesis: &Hash, count: u64) -> anyhow::Result<Vec<Account>> {
    let mut accounts: Vec<Account> = (0..count).map(account).collect();
    read(rpc, &mut accounts).await?;
    let poor: Vec<AccountId32> = poor(&accounts).map(|account| account.id).collect();
    if !poor.is_empty() {
        eprintln!("funding {} of {count} accounts from //Alice", poor.len());
        fund(rpc, genesis, &poor).await?;
        read(rpc, &mut accounts).await?;
    }
    let left = self::poor(&accounts).count();
    ensure!(left == 0, "{left} accounts have too little and //Alice could not fund them: take fewer --accounts");
    Ok(accounts)
}

/// Account `number`, nothing read yet.
pub(crate) fn account(number: u64) -> Account {
    let key = KeyPair::from_seed(&blake2_256(&("cairn load account", number).encode()).0);
    Account { id: key.public().into(), key, nonce: 0, balance: 0 }
}

fn poor(accounts: &[Account]) -> impl Iterator<Item = &Account> {
    accounts.iter().filter(|account| account.balance < FUNDS_MIN)
}

/// Reads nonces and balances.
async fn read(rpc: &Rpc, accounts: &mut [Account]) -> anyhow::Result<()> {
    for part in accounts.chunks_mut(KEYS_MAX) {
        let mut places = BTreeMap::new();
        for (position, account) in part.iter().enumerate() {
            places.insert(to_hex(&keys::system_account(&account.id)), position);
        }
        let wanted: Vec<&String> = places.keys().collect();
        let answer: Vec<Changes> = rpc.call("state_queryStorageAt", vec![json!(wanted)]).await?;
        for (key, value) in answer.into_iter().flat_map(|changes| changes.changes) {
            let account = places.get(&key).and_then(|position| part.get_mut(*position));
            let account = account.context("the node answered for a key nobody asked for")?;
            let info = info(value.as_deref())?;
            (account.nonce, account.balance) = (info.nonce, info.data.free);
        }
    }
    Ok(())
}

fn info(value: Option<&str>) -> anyhow::Result<AccountInfo> {
    let Some(text) = value else { return Ok(AccountInfo::default()) };
    AccountInfo::decode(&mut from_hex(text)?.as_slice()).context("an account is not understood")
}

async fn fund(rpc: &Rpc, genesis: &Hash, poor: &[AccountId32]) -> anyhow::Result<()> {
    let alice = development::key_pair("Alice");
    let key = keys::system_account(&AccountId32::from(alice.public()));
    let nonce = || async {
        let value: Option<String> = rpc.call("state_getStorage", vec![Value::from(to_hex(&key))]).await?;
        anyhow::Ok(info(value.as_deref())?.nonce)
    };
    let mut next = nonce().await?;
    for part in poor.chunks(TRANSFERS_MAX) {
        let call = batch_all(part.iter().map(|account| transfer_keep_alive(*account, FUNDS)).collect());
        let extra = TransactionExtra { era: Era::Immortal, nonce: next, tip: 0 };
        submit(rpc, &sign(&alice, &call, extra, genesis, genesis)).await?;
        next = next.checked_add(1).context("//Alice has no nonce left")?;
    }
    let mut heads = rpc
        .subscribe::<Value>("chain_subscribeFinalizedHeads", Vec::<Value>::new(), "chain_unsubscribeFinalizedHeads")
        .await?;
    while nonce().await? < next {
        match tokio::time::timeout(STANDSTILL_MAX, heads.next()).await {
            Ok(Some(head)) => head.map(drop)?,
            Ok(None) => bail!("{} closed the connection", rpc.url()),
            Err(_) => bail!("no block was finalized for {} s: is the network running?", STANDSTILL_MAX.as_secs()),
        }
    }
    Ok(())
}

async fn submit(rpc: &Rpc, extrinsic: &OpaqueExtrinsic) -> anyhow::Result<()> {
    let text = Value::from(to_hex(&extrinsic.encode()));
    rpc.call::<Value>("author_submitExtrinsic", vec![text]).await.map(drop).context("//Alice cannot fund the accounts")
}
