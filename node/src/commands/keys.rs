//! `cairn keys`: makes key files and shows their public side. Secrets are never shown: to back a key up, copy its file.

use crate::cli::KeysCommand;
use crate::commands::vote_record;
use crate::exit::{ExitKind, Failure};
use crate::keystore::{self, KeyKind, StoredKey};
use crate::output::{Output, table};
use cairn_primitives::account::SS58_PREFIX_DEFAULT;
use cairn_primitives::{AccountId32, KeyPair};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Runs the command.
///
/// # Errors
/// The key file exists, cannot be written or read.
pub fn run(command: &KeysCommand, output: Output) -> anyhow::Result<()> {
    match command {
        KeysCommand::Generate { kind, out } => {
            let path = out.clone().unwrap_or_else(|| PathBuf::from(format!("{}.json", kind.word())));
            let pair = keystore::generate(&path, *kind)?;
            let mut facts = facts(&StoredKey { kind: *kind, pair }, SS58_PREFIX_DEFAULT);
            facts.insert(0, ("file", path.display().to_string()));
            print(&facts, output)
        }
        KeysCommand::NewRecord { key, nothing_signed } => vote_record::new(key, *nothing_signed, output),
        KeysCommand::ExportRecord { key, chain, out } => vote_record::export(key, chain, out, output),
        KeysCommand::ImportRecord { key, chain, from } => vote_record::import(key, chain, from, output),
        KeysCommand::Show { key, ss58_prefix } => {
            let stored = match keystore::development(key) {
                Some(pair) => StoredKey { kind: KeyKind::Account, pair },
                None if key.starts_with("//") => {
                    let message = format!("`{key}` is not a development key: write //Alice, //Bob and so on");
                    return Err(Failure::new(ExitKind::Key, message).into());
                }
                None => keystore::read(Path::new(key))?,
            };
            print(&facts(&stored, *ss58_prefix), output)
        }
    }
}

fn facts(key: &StoredKey, ss58_prefix: u16) -> Vec<(&'static str, String)> {
    let public = KeyPair::public(&key.pair);
    let mut facts = vec![("kind", key.kind.word().to_owned()), ("public", public.to_string())];
    match key.kind {
        KeyKind::Account | KeyKind::Consensus => facts.push(("ss58", AccountId32::from(public).to_ss58(ss58_prefix))),
        KeyKind::Node => facts.push(("peer_id", keystore::peer_id(&public))),
    }
    facts
}

fn print(facts: &[(&'static str, String)], output: Output) -> anyhow::Result<()> {
    let value: serde_json::Map<String, Value> =
        facts.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
    output.print(&Value::Object(value), &table(facts))
}
