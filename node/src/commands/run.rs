//! `cairn run`: reads configuration, chain spec and keys, then runs the node until it is told to stop.

use crate::cli::RunArgs;
use crate::commands::config::load;
use crate::config::NodeConfig;
use crate::launch::{Launch, check_addresses};
use crate::logging;
use crate::shutdown::{self, ParentWatch};

/// Runs the command.
///
/// # Errors
/// The node cannot start, or a part of it failed while it ran.
pub async fn run(args: &RunArgs) -> anyhow::Result<()> {
    let resolved = load(&args.config)?;
    logging::start(&resolved.config.log)?;
    logging::print_differences(&resolved);
    let watch = if args.exit_with_parent { ParentWatch::StandardInput } else { ParentWatch::Off };
    start(resolved.config, watch).await
}

/// Runs a node with a configuration that was checked.
///
/// # Errors
/// As [`run`].
pub async fn start(config: NodeConfig, watch: ParentWatch) -> anyhow::Result<()> {
    // Listening to signals comes first: a stop that is asked for while the node starts must not be lost.
    let stop = shutdown::requested(watch)?;
    check_addresses(&config)?;
    let launch = Launch::prepare(config)?;
    crate::node::run(launch, stop).await
}
