//! `cairn dev`: one validator in this process, with data that is thrown away at the end.

use crate::cli::DevArgs;
use crate::commands::devnet::network::{accounts, commands_to_try, finality_moves};
use crate::commands::run::start;
use crate::config::{self, Layers};
use crate::exit::{ExitContext as _, ExitKind};
use crate::logging;
use crate::output::Output;
use crate::shutdown::ParentWatch;
use cairn_chain_spec::ChainSpec;
use serde_json::json;
use std::path::{Path, PathBuf};

/// The preset.
const CHAIN: &str = "dev";

/// Runs the command.
///
/// # Errors
/// The node cannot start, or a part of it failed while it ran.
pub async fn run(args: &DevArgs, output: Output) -> anyhow::Result<()> {
    let data = match &args.data_dir {
        Some(folder) => DataFolder { path: folder.clone(), is_temporary: false },
        None => DataFolder::temporary()?,
    };
    let resolved = config::load(&Layers { flags: settings(args, &data.path), ..Layers::default() })?;
    logging::start(&resolved.config.log)?;
    let node = start(resolved.config, ParentWatch::Off);
    tokio::pin!(node);
    let url = format!("ws://127.0.0.1:{}", args.rpc_port);
    tokio::select! {
        ended = &mut node => return ended,
        ready = finality_moves(&url) => ready?,
    }
    announce(args, &url, &data, output)?;
    node.await
}

fn settings(args: &DevArgs, data: &Path) -> Vec<(String, String)> {
    let pairs = [
        ("node.name", "dev".to_owned()),
        ("node.role", "validator".into()),
        ("node.chain", CHAIN.into()),
        ("node.consensus_key", "//Alice".into()),
        ("node.data_dir", data.display().to_string()),
        ("network.listen", "/ip4/127.0.0.1/tcp/0".into()),
        ("rpc.listen", format!("127.0.0.1:{}", args.rpc_port)),
        ("rpc.connections_max", "1000".into()),
        ("metrics.listen", format!("127.0.0.1:{}", args.metrics_port)),
        ("log.level", args.log.clone()),
    ];
    pairs.into_iter().map(|(path, text)| (path.to_owned(), text)).collect()
}

fn announce(args: &DevArgs, url: &str, data: &DataFolder, output: Output) -> anyhow::Result<()> {
    let spec = ChainSpec::dev();
    let kept = if data.is_temporary { "removed at the end" } else { "kept" };
    let commands = commands_to_try(url, CHAIN);
    let text = format!(
        "ready: one validator, stop with Ctrl-C\n\nrpc      {url}  http://127.0.0.1:{}\nmetrics  \
         http://127.0.0.1:{}/metrics\ndata     {} ({kept})\n\n{}\ntry\n  {}\n",
        args.rpc_port,
        args.metrics_port,
        data.path.display(),
        accounts(&spec),
        commands.join("\n  ")
    );
    let document = json!({
        "ready": true, "rpc": url, "metrics": format!("http://127.0.0.1:{}/metrics", args.metrics_port),
        "dataDir": data.path, "commands": commands,
    });
    output.print(&document, &text)
}

/// The folder of the data; removed when dropped if it is a temporary one.
struct DataFolder {
    path: PathBuf,
    is_temporary: bool,
}

impl DataFolder {
    fn temporary() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("cairn-dev-{}", std::process::id()));
        // Not `create_dir_all`: a folder that somebody else put there is not ours to use.
        std::fs::create_dir(&path)
            .exit_with(ExitKind::Failure, format!("cannot make the folder {}", path.display()))?;
        Ok(Self { path, is_temporary: true })
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, "cannot remove {}", self.path.display());
        }
    }
}
