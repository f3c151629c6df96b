//! `cairn init`: a data folder with a node key and a commented configuration file.

use crate::cli::InitArgs;
use crate::config::commented_file;
use crate::exit::{ExitContext as _, ExitKind, Failure};
use crate::keystore::{self, KeyKind};
use crate::launch::{is_preset, key_file, load_spec};
use crate::output::Output;
use cairn_chain_spec::ChainSpec;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The name of the configuration file in a data folder.
pub const CONFIG_FILE: &str = "cairn.toml";

/// Runs the command.
///
/// # Errors
/// The folder has been made before, or cannot be written.
pub fn run(args: &InitArgs, output: Output) -> anyhow::Result<()> {
    let folder = &args.data_dir;
    let config = folder.join(CONFIG_FILE);
    if config.exists() {
        let message = format!(
            "{} exists and is never overwritten: edit it, move it away, or choose another folder with --data-dir",
            config.display()
        );
        return Err(Failure::new(ExitKind::Config, message).into());
    }
    let spec = args.chain.as_deref().map(load_spec).transpose()?;
    let is_validator = args.role.as_deref() == Some("validator");
    let mut kinds = vec![KeyKind::Node];
    if is_validator {
        kinds.push(KeyKind::Consensus);
    }
    let mut lines = Vec::new();
    let mut files = Vec::new();
    for kind in kinds {
        let (path, line) = ensure_key(folder, kind)?;
        lines.push(line);
        files.push(path.display().to_string());
    }
    if let Some(line) = spec.as_ref().filter(|_| is_validator).and_then(|spec| not_yet_a_validator(folder, spec)) {
        lines.push(line);
    }
    // Whole paths, so that the node starts from any folder.
    let mut set = BTreeMap::from([("node.data_dir".to_owned(), json!(whole(folder)?))]);
    if let Some(chain) = &args.chain {
        let chain = if is_preset(chain) { json!(chain) } else { json!(whole(Path::new(chain))?) };
        set.insert("node.chain".to_owned(), chain);
    }
    set.extend(args.role.iter().map(|role| ("node.role".to_owned(), json!(role))));
    write_new(&config, &commented_file(&set))?;
    lines.push(format!("configuration   {}", config.display()));
    if args.chain.is_none() {
        lines.push(format!("next            set node.chain in {}, then", config.display()));
    }
    lines.push(format!("start           cairn run --config {}", config.display()));
    files.push(config.display().to_string());
    output.print(&json!({ "data_dir": folder, "files": files }), &lines.join("\n"))
}

/// What is to be done where the chain does not know the consensus key yet; such a validator would not start.
fn not_yet_a_validator(folder: &Path, spec: &ChainSpec) -> Option<String> {
    let pair = keystore::read_kind(&key_file(folder, KeyKind::Consensus), KeyKind::Consensus).ok()?;
    let is_known = spec.validator_set().index_of(&pair.public()).is_some();
    (!is_known).then(|| format!("next            add {} to the validators of the chain spec", pair.public()))
}

fn whole(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).exit_with(ExitKind::Failure, format!("{} is no path", path.display()))
}

/// Makes a key unless there is one, and says which it was.
fn ensure_key(folder: &Path, kind: KeyKind) -> anyhow::Result<(PathBuf, String)> {
    let path = key_file(folder, kind);
    let (pair, word) = if path.exists() {
        (keystore::read_kind(&path, kind)?, "kept")
    } else {
        (keystore::generate(&path, kind)?, "made")
    };
    let name = match kind {
        KeyKind::Node => keystore::peer_id(&pair.public()),
        KeyKind::Consensus | KeyKind::Account => pair.public().to_string(),
    };
    let label = format!("{} key", kind.word());
    let line = format!("{label:<16}{} ({word}: {name})", path.display());
    Ok((path, line))
}

/// Writes a file that must not exist.
///
/// # Errors
/// It exists or cannot be written.
pub fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .exit_with(ExitKind::Failure, format!("cannot make the folder {}", folder.display()))?;
    }
    std::fs::File::create_new(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .exit_with(ExitKind::Failure, format!("cannot write {}; files are never overwritten", path.display()))
}
