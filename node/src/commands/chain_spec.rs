//! `cairn chain-spec`: makes, checks and shows chain specs.

use crate::cli::ChainSpecCommand;
use crate::commands::init::write_new;
use crate::exit::{ExitKind, Failure};
use crate::launch::{genesis_of, load_spec};
use crate::output::{Output, amount, table};
use cairn_chain_spec::{ChainSpec, SpecError};
use cairn_runtime::Rules;
use serde_json::json;

/// Runs the command.
///
/// # Errors
/// The chain spec cannot be read or written, or is wrong.
pub fn run(command: &ChainSpecCommand, output: Output) -> anyhow::Result<()> {
    match command {
        ChainSpecCommand::New { preset, out } => {
            let is_file = preset.contains(['/', '.']);
            if is_file {
                let message = format!("`{preset}` is not a preset: use dev, or local and a number, such as local4");
                return Err(Failure::new(ExitKind::Usage, message).into());
            }
            let spec = load_spec(preset)?;
            let text = spec.to_json();
            let Some(path) = out else {
                return output.print(&serde_json::from_str(&text)?, &text);
            };
            write_new(path, &text)?;
            let genesis = genesis_of(&spec)?.hash().to_string();
            let words = format!(
                "wrote {} (genesis {genesis})\nits keys are known to everybody: for a chain of your own change name, id, \
                 chain_type, validators and balances, then run cairn chain-spec check {}",
                path.display(),
                path.display()
            );
            output.print(&json!({ "file": path, "genesis": genesis }), &words)
        }
        ChainSpecCommand::Check { chain } => check(chain, output),
        ChainSpecCommand::Show { chain } => show(chain, output),
        ChainSpecCommand::GenesisHash { chain } => {
            let hash = genesis_of(&load_spec(chain)?)?.hash().to_string();
            output.print(&json!({ "genesis": hash }), &hash)
        }
    }
}

fn check(chain: &str, output: Output) -> anyhow::Result<()> {
    match load_spec(chain) {
        Ok(spec) => {
            let genesis = genesis_of(&spec)?.hash().to_string();
            let words = format!("{chain} is fine: {}, genesis {genesis}", spec.name());
            output.print(&json!({ "valid": true, "issues": [], "genesis": genesis }), &words)
        }
        Err(error) => {
            if let (Output::Json, Some(spec_error)) = (output, error.downcast_ref::<SpecError>()) {
                let issues: Vec<_> = spec_error
                    .issues()
                    .iter()
                    .map(|issue| json!({ "path": issue.path, "message": issue.message }))
                    .collect();
                output.print(&json!({ "valid": false, "issues": issues }), "")?;
            }
            Err(error)
        }
    }
}

fn show(chain: &str, output: Output) -> anyhow::Result<()> {
    let spec = load_spec(chain)?;
    let genesis = genesis_of(&spec)?.hash().to_string();
    let value = json!({
        "genesis": genesis,
        "spec_hash": spec.spec_hash().to_string(),
        "spec": serde_json::from_str::<serde_json::Value>(&spec.to_json())?,
    });
    output.print(&value, &words(&spec, &genesis))
}

/// The version of the rules, and those that follow.
fn rules(spec: &ChainSpec) -> String {
    let mut text = spec.document().spec_version.to_string();
    for upgrade in spec.rules().upgrades() {
        let known = if Rules::from_spec_version(upgrade.spec_version).is_some() { "" } else { ", not known here" };
        text.push_str(&format!("; {} from block {} on{known}", upgrade.spec_version, upgrade.height));
    }
    text
}

fn words(spec: &ChainSpec, genesis: &str) -> String {
    let timing = spec.consensus();
    let properties = spec.properties();
    let issued = spec.balances().iter().fold(0u128, |sum, (_, balance)| sum.saturating_add(*balance));
    let tokens = |base_units| amount(base_units, properties.token_decimals, &properties.token_symbol);
    let mut text = table(&[
        ("name", spec.name().to_owned()),
        ("id", spec.id().to_owned()),
        ("genesis", genesis.to_owned()),
        (
            "development",
            if spec.is_development() { "yes: the keys of //Alice and others are known to all" } else { "no" }.into(),
        ),
        (
            "block interval",
            format!("{} ms, {} ms without transactions", timing.block_interval_ms, timing.idle_block_interval_ms),
        ),
        ("addresses", format!("SS58 prefix {}", properties.ss58_format)),
        ("issuance", format!("{} in {} accounts", tokens(issued), spec.balances().len())),
        ("quorum", format!("{} of {}", spec.validator_set().quorum(), spec.validator_set().total_power())),
        ("rules", rules(spec)),
        ("boot nodes", spec.boot_nodes().len().to_string()),
    ]);
    text.push_str("validators\n");
    for validator in spec.validator_set().validators() {
        text.push_str(&format!("  {}  power {}\n", validator.key, validator.power));
    }
    text
}
