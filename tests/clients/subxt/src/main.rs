//! subxt with its stock configuration against a node, over one of its backends.
//!
//! usage: `cairn-subxt ws://127.0.0.1:9944 default|legacy|chainhead|archive`

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
    reads(&mut run, &api, &alice, &backend).await?;
    transactions(&mut run, &api, &alice).await;
    if run.failures > 0 {
        return Err(format!("{} FAILED", run.failures).into());
    }
    println!("ALL PASS");
    Ok(())
}
