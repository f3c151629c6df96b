//! The `cairn` binary: a validator node and the tools around it.
//!
//! ```text
//! cli ─► commands ─► config, keystore, client          tools: one question, one answer
//!            └─► launch ─► node (composition) ─► drivers ─► the pure crates; network, rpc, storage
//! ```
//! Every error ends in one line on standard error and an exit code of [`exit::ExitKind`].
#![allow(unreachable_pub, reason = "nothing is reachable from outside a binary: `pub` marks what other modules use")]

mod bus;
mod cli;
mod client;
mod commands;
mod config;
mod drivers;
mod exit;
mod explain;
mod join;
mod keystore;
mod launch;
mod logging;
mod metrics;
mod node;
mod observability;
mod offered;
mod opening;
mod output;
mod parts;
mod peer_file;
mod ports;
mod progress;
mod shutdown;
mod sizes;
mod snapshot;
mod supervisor;
mod vote_record;

use clap::Parser as _;
use cli::{Cli, Command};
use output::Output;
use std::process::ExitCode;

fn main() -> ExitCode {
    cairn_node_allocator::keep_free_memory();
    let cli = Cli::parse();
    let output = Output::of_flag(cli.json);
    match dispatch(&cli.command, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let kind = exit::kind_of(&error);
            let line = exit::one_line(&error);
            match output {
                Output::Text => eprintln!("error: {line}"),
                Output::Json => eprintln!("{}", serde_json::json!({ "error": line, "exitCode": kind.code() })),
            }
            ExitCode::from(kind.code())
        }
    }
}

fn dispatch(command: &Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Dev(args) => many_threads()?.block_on(commands::dev::run(args, output)),
        Command::Devnet(args) => one_thread()?.block_on(commands::devnet::run(args, output)),
        Command::Run(args) => many_threads()?.block_on(commands::run::run(args)),
        Command::Init(args) => commands::init::run(args, output),
        Command::ChainSpec(command) => commands::chain_spec::run(command, output),
        Command::Keys(command) => commands::keys::run(command, output),
        Command::Db(command) => commands::db::run(command, output),
        Command::Config(command) => commands::config::run(command, output),
        Command::Tx(command) => one_thread()?.block_on(commands::tx::run(command, output)),
        Command::Snapshot(command) => one_thread()?.block_on(commands::snapshot::run(command, output)),
        Command::Query(command) => one_thread()?.block_on(commands::query::run(command, output)),
    }
}

/// For nodes.
fn many_threads() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// For tools.
fn one_thread() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
