//! subxt with its stock configuration against a node, over one of its backends.
//!
//! usage: `cairn-subxt ws://127.0.0.1:9944 default|legacy|chainhead|archive [upgrade]`; with the last word over a change of
//! the rules, from 3 to 4, on one connection.

use ed25519_dalek::{Signer as _, SigningKey};
use std::sync::Arc;
use std::time::Duration;
use subxt::backend::{ArchiveBackend, ChainHeadBackend, CombinedBackend, LegacyBackend};
use subxt::config::{DefaultExtrinsicParamsBuilder, SubstrateConfig};
use subxt::dynamic::{self, Value};
use subxt::transactions::Signer;
use subxt::utils::{AccountId32, MultiAddress, MultiSignature};
use subxt::{OnlineClient, rpcs::RpcClient};

#[subxt::subxt(runtime_metadata_path = "metadata.scale")]
mod node {}

type Failure = Box<dyn std::error::Error>;
type Api = OnlineClient<SubstrateConfig>;

const STEP: Duration = Duration::from_secs(30);

/// An ed25519 key; subxt brings none.
struct Key(SigningKey);

impl Key {
    fn account(&self) -> AccountId32 {
        AccountId32(self.0.verifying_key().to_bytes())
    }
}

impl Signer<SubstrateConfig> for Key {
    fn account_id(&self) -> AccountId32 {
        self.account()
    }

    fn sign(&self, payload: &[u8]) -> MultiSignature {
        MultiSignature::Ed25519(self.0.sign(payload).to_bytes())
    }
}

/// Counts and prints the outcomes of steps.
#[derive(Default)]
struct Run {
    failures: u32,
}

impl Run {
    async fn step(&mut self, name: &str, run: impl Future<Output = Result<String, Failure>>) {
        match tokio::time::timeout(STEP, run).await {
            Ok(Ok(told)) => println!("PASS {name} {told}"),
            Ok(Err(error)) => self.failed(name, &error.to_string()),
            Err(_) => self.failed(name, "no answer in time"),
        }
    }

    fn failed(&mut self, name: &str, reason: &str) {
        self.failures += 1;
        println!("FAIL {name} -> {reason}");
    }
}

async fn connect(url: &str, backend: &str) -> Result<Api, Failure> {
    let rpc = RpcClient::from_insecure_url(url).await?;
    let builder = CombinedBackend::<SubstrateConfig>::builder();
    let builder = match backend {
        "default" => builder,
        "legacy" => builder.no_default_backends().with_legacy_backend(LegacyBackend::builder().build(rpc.clone())),
        "chainhead" => builder
            .no_default_backends()
            .with_chainhead_backend(ChainHeadBackend::builder().build_with_background_driver(rpc.clone())),
        "archive" => builder.no_default_backends().with_archive_backend(ArchiveBackend::new(rpc.clone())),
        other => return Err(format!("no backend `{other}`").into()),
    };
    let backend = builder.build_with_background_driver(rpc).await?;
    Ok(OnlineClient::from_backend_with_config(SubstrateConfig::new(), Arc::new(backend)).await?)
}

async fn reads(run: &mut Run, api: &Api, alice: &Key, backend: &str) -> Result<(), Failure> {
    let at = api.at_current_block().await?;
    let account = alice.account();
    run.step("constant", async {
        Ok(at.constants().entry(node::constants().balances().existential_deposit())?.to_string())
    })
    .await;
    run.step("account", async {
        let found = at.storage().fetch(node::storage().system().account(), (account.clone(),)).await?.decode()?;
        Ok(format!("free={}", found.data.free))
    })
    .await;
    run.step("account map", async {
        let mut entries = at.storage().iter(node::storage().system().account(), ()).await?;
        let mut count = 0;
        while let Some(entry) = entries.next().await {
            entry?.key()?.decode()?;
            count += 1;
        }
        if count < 12 { Err(format!("{count} accounts").into()) } else { Ok(count.to_string()) }
    })
    .await;
    run.step("runtime call", async {
        let call = node::runtime_apis().account_nonce_api().account_nonce(account.clone());
        Ok(at.runtime_apis().call(call).await?.to_string())
    })
    .await;
    run.step("fee and validity", async {
        let call = node::transactions().system().remark(vec![1]);
        let transaction = at.tx().create_signed(&call, alice, Default::default()).await?;
        let fee = transaction.partial_fee_estimate().await?;
        if !transaction.validate().await?.is_valid() {
            return Err("found invalid".into());
        }
        Ok(format!("fee={fee}"))
    })
    .await;
    // subxt has no stream of blocks over `archive_v1` alone, and no block by number over `chainHead_v1` alone.
    if backend != "archive" {
        run.step("three finalized blocks", finalized_blocks(api)).await;
    }
    if backend != "chainhead" {
        run.step("historic block", async {
            let block = api.at_block(1u64).await?;
            Ok(format!("{} events", block.events().fetch().await?.len()))
        })
        .await;
    }
    Ok(())
}

async fn finalized_blocks(api: &Api) -> Result<String, Failure> {
    let mut blocks = api.stream_blocks().await?;
    let mut numbers = Vec::new();
    for _ in 0..3 {
        let block = blocks.next().await.ok_or("the stream ended")??;
        block.at().await?.extrinsics().fetch().await?;
        numbers.push(block.number());
    }
    Ok(format!("{numbers:?}"))
}

async fn transactions(run: &mut Run, api: &Api, alice: &Key) {
    let bob = Key(SigningKey::from_bytes(&[7; 32]));
    let transfer = |value| node::transactions().balances().transfer_keep_alive(MultiAddress::Id(bob.account()), value);
    run.step("transfer, mortal, to finalized", async {
        let progress = api.tx().await?.sign_and_submit_then_watch_default(&transfer(5_000_000), alice).await?;
        let events = progress.wait_for_finalized_success().await?;
        let found = events.find_first::<node::balances::events::Transfer>().ok_or("no event")??;
        Ok(format!("amount={}", found.amount))
    })
    .await;
    run.step("dynamic call, immortal", async {
        let call = dynamic::transaction("System", "remark_with_event", (Value::from_bytes(b"remark"),));
        let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new().immortal().build();
        let progress = api.tx().await?.sign_and_submit_then_watch(&call, alice, params).await?;
        Ok(format!("{} events", progress.wait_for_finalized_success().await?.iter().count()))
    })
    .await;
    run.step("payload over 256 bytes", async {
        let call = node::transactions().system().remark_with_event(vec![0x42; 400]);
        let progress = api.tx().await?.sign_and_submit_then_watch_default(&call, alice).await?;
        Ok(format!("{} events", progress.wait_for_finalized_success().await?.iter().count()))
    })
    .await;
    run.step("failing call: module error", async {
        let progress = api.tx().await?.sign_and_submit_then_watch_default(&transfer(u128::MAX / 2), alice).await?;
        match progress.wait_for_finalized_success().await {
            Err(error) if error.to_string().contains("InsufficientBalance") => Ok(String::new()),
            Err(error) => Err(error.into()),
            Ok(_) => Err("it succeeded".into()),
        }
    })
    .await;
    run.step("transaction without funds refused", async {
        let call = node::transactions().system().remark(vec![1]);
        let poor = Key(SigningKey::from_bytes(&[99; 32]));
        match api.tx().await?.sign_and_submit_then_watch_default(&call, &poor).await {
            Err(_) => Ok("at once".into()),
            Ok(progress) => match progress.wait_for_finalized().await {
                Err(_) => Ok("by status".into()),
                Ok(_) => Err("accepted".into()),
            },
        }
    })
    .await;
}

/// The events of a dynamic call, which has arguments that the generated client may not know.
async fn events_of(api: &Api, alice: &Key, name: &str, values: &[u128]) -> Result<Vec<String>, Failure> {
    let bob = AccountId32([7; 32]);
    let to = |value: &u128| {
        let dest = Value::unnamed_variant("Id", [Value::from_bytes(bob.0)]);
        let call = Value::named_variant("transfer_keep_alive", [("dest", dest), ("value", Value::u128(*value))]);
        Value::unnamed_variant("Balances", [call])
    };
    let call = dynamic::transaction("Utility", name, (Value::unnamed_composite(values.iter().map(to)),));
    let progress = api.tx().await?.sign_and_submit_then_watch_default(&call, alice).await?;
    let events = progress.wait_for_finalized_success().await?;
    let mut names = Vec::new();
    for event in events.iter() {
        let event = event?;
        names.push(format!("{}.{}", event.pallet_name(), event.event_name()));
    }
    Ok(names)
}

/// What is the same client before, over and after a change of the rules.
async fn upgrade(run: &mut Run, api: &Api, alice: &Key) {
    let mut old = 0;
    run.step("rules 3", async {
        let at = api.at_current_block().await?;
        if at.spec_version() != 3 {
            return Err(format!("rules {}: started too late", at.spec_version()).into());
        }
        let names = events_of(api, alice, "batch", &[5_000_000]).await?;
        if events_of(api, alice, "force_batch", &[1]).await.is_ok() {
            return Err("force_batch is there already".into());
        }
        old = api.at_current_block().await?.block_number();
        Ok(format!("{} at {old}", names.len()))
    })
    .await;
    let mut blocks = match api.stream_blocks().await {
        Ok(blocks) => blocks,
        Err(error) => return run.failed("stream of blocks", &error.to_string()),
    };
    loop {
        let number = match tokio::time::timeout(STEP, blocks.next()).await {
            Ok(Some(Ok(block))) => match block.at().await {
                Ok(at) if at.spec_version() == 4 => break println!("PASS the client learns of rules 4 {}", block.number()),
                Ok(_) => block.number(),
                Err(error) => return run.failed("block", &error.to_string()),
            },
            _ => return run.failed("stream of blocks", "it ended"),
        };
        if number > 200 {
            return run.failed("the client learns of rules 4", "it does not");
        }
    }
    run.step("a call that the new rules added", async {
        let names = events_of(api, alice, "force_batch", &[1_000_000, u128::MAX / 2, 2_000_000]).await?;
        let has = |name: &str| names.iter().any(|found| found == name);
        if !has("Utility.ItemFailed") || !has("Utility.BatchCompletedWithErrors") {
            return Err(names.join(" ").into());
        }
        Ok(String::new())
    })
    .await;
    run.step("a block from before decodes with the old metadata", async {
        let block = api.at_block(old).await?;
        if block.spec_version() != 3 {
            return Err(format!("rules {}", block.spec_version()).into());
        }
        let events = block.events().fetch().await?;
        for event in events.iter() {
            event?;
        }
        Ok(format!("{} events", events.len()))
    })
    .await;
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:9944".into());
    let backend = arguments.next().unwrap_or_else(|| "default".into());
    println!("-- {backend}");
    let seed = hex::decode("abf8e5bdbe30c65656c0a3cbd181ff8a56294a69dfedd27982aace4a76909115")?;
    let alice = Key(SigningKey::from_bytes(seed.as_slice().try_into()?));
    let mut run = Run::default();
    let api = tokio::time::timeout(STEP, connect(&url, &backend)).await??;
    if arguments.next().as_deref() == Some("upgrade") {
        upgrade(&mut run, &api, &alice).await;
    } else {
        reads(&mut run, &api, &alice, &backend).await?;
        transactions(&mut run, &api, &alice).await;
    }
    if run.failures > 0 {
        return Err(format!("{} FAILED", run.failures).into());
    }
    println!("ALL PASS");
    Ok(())
}
