//! Log lines on standard error, and the lines that a node prints when it starts.

use crate::config::{LogFormat, LogSection, Resolved, toml_literal};
use crate::exit::{ExitContext as _, ExitKind};
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Modules that warn about what is normal here, such as starting before any peer is known; named again, they speak.
const QUIET: &str = "libp2p_kad=error";

/// Sends log lines to standard error from now on.
///
/// # Errors
/// The levels are malformed, or logging was set up before.
pub fn start(section: &LogSection) -> anyhow::Result<()> {
    let levels = format!("{QUIET},{}", section.level);
    let filter: EnvFilter = levels.parse().exit_with(ExitKind::Config, "log.level is malformed")?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match section.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot set up logging: {error}"))
}

/// What a node says about itself once it is up.
#[derive(Clone, Debug)]
pub struct Banner {
    /// Name and id of the chain.
    pub chain: String,
    /// The genesis hash.
    pub genesis: String,
    /// The role.
    pub role: &'static str,
    /// Format version of the database.
    pub database_format: u32,
    /// Height and hash of the last finalized block.
    pub head: String,
    /// How many peers the node looks for.
    pub peers_wanted: u32,
    /// Where clients and peers reach it.
    pub urls: Vec<String>,
}

impl Banner {
    /// Prints it, one fact a line.
    pub fn print(&self) {
        tracing::info!("cairn {}", env!("CARGO_PKG_VERSION"));
        tracing::info!("chain            {}", self.chain);
        tracing::info!("genesis          {}", self.genesis);
        tracing::info!("role             {}", self.role);
        tracing::info!("database format  {}", self.database_format);
        tracing::info!("head             {}", self.head);
        tracing::info!("peers wanted     {}", self.peers_wanted);
        for url in &self.urls {
            tracing::info!("listening        {url}");
        }
    }
}

/// Prints what differs from the defaults, and why.
pub fn print_differences(resolved: &Resolved) {
    for value in resolved.differences() {
        tracing::info!("setting          {} = {} ({})", value.key.path(), toml_literal(&value.value), value.origin);
    }
}
