//! `cairn devnet`: a real network of processes of this same binary on loopback addresses.
//!
//! The network's data is made on the first start and kept; later starts go on from it. Every process watches its standard
//! input and stops when it ends, so none outlives this one, however this one ends.

pub mod network;
mod plan;
mod process;

use crate::cli::DevnetArgs;
use crate::exit::{ExitContext as _, ExitKind, Failure};
use crate::output::Output;
use crate::shutdown::{self, ParentWatch};
use network::{accounts, commands_to_try, finality_moves};
use plan::{NodePlan, Plan};
use process::Processes;
use serde_json::json;
use std::time::{Duration, Instant};

/// How long the network may take until finality moves on every node.
const READY_TIME_MAX: Duration = Duration::from_secs(120);

/// Runs the command.
///
/// # Errors
/// The network cannot start, or a node ended by itself.
pub async fn run(args: &DevnetArgs, output: Output) -> anyhow::Result<()> {
    let stop = shutdown::requested(ParentWatch::Off)?;
    tokio::pin!(stop);
    let plan = Plan::prepare(args)?;
    let mut processes = Processes::start(&plan)?;
    let started = Instant::now();
    output.step(&format!("starting {} nodes, data in {} …", plan.nodes.len(), plan.folder.display()))?;
    let outcome = tokio::select! {
        signal = &mut stop => Ok(Some(signal)),
        ended = processes.first_end() => Err(ended),
        ready = all_ready(&plan) => ready.map(|()| None),
    };
    let outcome = match outcome {
        Ok(None) => {
            announce(&plan, started.elapsed(), output)?;
            watch(&mut processes, stop, args.keep_going, output).await
        }
        Ok(Some(signal)) => Ok(signal),
        Err(error) => Err(error),
    };
    if let Ok(signal) = &outcome {
        output.step(&format!("stopping {} nodes ({signal}) …", processes.len()))?;
    }
    let killed = processes.stop().await;
    if !killed.is_empty() {
        output.step(&format!("did not stop in time and were killed: {}", killed.join(", ")))?;
    }
    outcome.map(|_| ())
}

/// Waits for a signal; nodes that end meanwhile are reported, and end the network unless it shall keep going.
async fn watch(
    processes: &mut Processes,
    stop: impl Future<Output = &'static str>,
    keep_going: bool,
    output: Output,
) -> anyhow::Result<&'static str> {
    tokio::pin!(stop);
    loop {
        let ended = tokio::select! {
            signal = &mut stop => return Ok(signal),
            ended = processes.first_end() => ended,
        };
        if !keep_going || processes.len() == 0 {
            return Err(ended);
        }
        output.step(&format!("{ended}\n{} nodes go on (--keep-going)", processes.len()))?;
    }
}

async fn all_ready(plan: &Plan) -> anyhow::Result<()> {
    let nodes = plan.nodes.iter().map(|node| async move {
        let message = || format!("{} has not come up: see {}", node.name, node.log_file().display());
        tokio::time::timeout(READY_TIME_MAX, finality_moves(&node.rpc_url()))
            .await
            .exit_with(ExitKind::Timeout, message())?
            .exit_with(ExitKind::Failure, message())
    });
    futures::future::try_join_all(nodes).await.map(|_| ())
}

fn announce(plan: &Plan, elapsed: Duration, output: Output) -> anyhow::Result<()> {
    let first = plan.nodes.first().ok_or_else(|| Failure::new(ExitKind::Usage, "a network needs a node"))?;
    let commands = commands_to_try(&first.rpc_url(), &plan.spec_file().display().to_string());
    let width = plan.nodes.iter().map(|node| node.name.len()).max().unwrap_or_default();
    let row = |node: &NodePlan| {
        format!("{:<width$}  {}  {}  {}\n", node.name, node.rpc_url(), node.metrics_url(), node.multiaddr())
    };
    let text = format!(
        "ready after {:.1} s, stop with Ctrl-C\n\n{}\n{}\ntry\n  {}\n",
        elapsed.as_secs_f64(),
        plan.nodes.iter().map(row).collect::<String>(),
        accounts(&plan.spec),
        commands.join("\n  ")
    );
    let nodes: Vec<_> = plan
        .nodes
        .iter()
        .map(|node| {
            json!({
                "name": node.name, "role": node.role.word(), "rpc": node.rpc_url(), "metrics": node.metrics_url(),
                "p2p": node.multiaddr(), "log": node.log_file(),
            })
        })
        .collect();
    output.print(&json!({ "ready": true, "nodes": nodes, "commands": commands }), &text)
}
