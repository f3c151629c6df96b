//! `cairn config`: the settings of a node, checked, shown and explained.

use crate::cli::{ConfigArgs, ConfigCommand};
use crate::config::{self, Layers, Resolved};
use crate::output::Output;
use serde_json::{Value, json};

/// Runs the command.
///
/// # Errors
/// The configuration is refused; the message lists every reason.
pub fn run(command: &ConfigCommand, output: Output) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check(args) => {
            let resolved = load(args)?;
            let changed = resolved.differences().count();
            let text = format!("the configuration is fine: {changed} of {} settings set", resolved.values.len());
            output.print(&json!({ "valid": true, "set": changed }), &text)
        }
        ConfigCommand::Show(args) => {
            let resolved = load(args)?;
            let values: serde_json::Map<String, Value> =
                resolved.values.iter().map(|value| (value.key.path(), value.value.clone())).collect();
            output.print(&Value::Object(values), &config::toml_file(&resolved))
        }
        ConfigCommand::Explain(args) => {
            let resolved = load(args)?;
            output.print(&config::explain_json(&resolved), &config::explain(&resolved))
        }
    }
}

/// Merges the named file, the environment and the flags.
///
/// # Errors
/// As [`config::load`].
pub fn load(args: &ConfigArgs) -> anyhow::Result<Resolved> {
    config::load(&Layers::of_process(args.file.clone(), args.flags.clone()))
}
