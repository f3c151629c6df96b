//! `state-bench`: what a write to a durable, provable state costs, ours beside its peers in one run.
//!
//! ```text
//!   state-bench ──► for each peer: process that fills a database with --accounts, and ends
//!               ──► --rounds times, the peers taking turns: process that opens it, warms up, measures --blocks
//! ```
//! A block reads 10,000 random accounts, writes them back changed, and adds 1,000 new ones; it counts as done when root and
//! values are on disk. All peers get the same accounts, the same blocks and the same memory for caches. A process of its
//! own for each measurement makes resident memory and processor time mean something. Roots of peers with the same tree are
//! compared, and a proof of each peer is verified.

mod measure;
mod peers;
mod report;
mod workload;

use anyhow::{Context, Result, bail};
use clap::Parser;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Compares the cost of state writes.
#[derive(Parser, Clone, Debug)]
struct Arguments {
    /// Accounts in the state before the first block
    #[arg(long, default_value_t = 100_000)]
    accounts: u64,
    /// Measured blocks in each round
    #[arg(long, default_value_t = 20)]
    blocks: u64,
    /// Blocks before them in each round: caches warm, and versions kept as in a node that runs
    #[arg(long, default_value_t = 70)]
    warm_up_blocks: u64,
    /// Memory for the caches of a peer, in MiB
    #[arg(long, default_value_t = 512)]
    cache_mib: usize,
    /// Who takes part
    #[arg(long, value_delimiter = ',', default_value = "cairn-1,cairn-2,jmt,nomt-1,nomt-2")]
    peers: Vec<peers::Name>,
    /// How often each peer is measured; the median counts
    #[arg(long, default_value_t = 1)]
    rounds: u64,
    /// Where the databases are made, and removed afterwards
    #[arg(long, default_value = "target/state-bench")]
    dir: PathBuf,
    /// Keep the databases, and use those that are there
    #[arg(long)]
    keep: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Run one step of one peer in this process; the number is that of the first block, zero fills the database
    #[arg(long, hide = true)]
    step: Option<u64>,
}

fn main() -> Result<()> {
    cairn_node_allocator::keep_free_memory();
    let arguments = Arguments::parse();
    if let Some(first_block) = arguments.step {
        let [name] = arguments.peers[..] else { bail!("a step is of one peer") };
        let outcome = measure::step(name, first_block, &arguments)?;
        println!("{}", serde_json::to_string(&outcome)?);
        return Ok(());
    }
    std::fs::create_dir_all(&arguments.dir)?;
    let outcomes = rounds(&arguments);
    if !arguments.keep {
        std::fs::remove_dir_all(&arguments.dir)?;
    }
    report::print(&outcomes?, arguments.json)
}

/// Fills one database after the other, then measures the peers in turns.
fn rounds(arguments: &Arguments) -> Result<Vec<Vec<measure::Outcome>>> {
    let mut outcomes = Vec::new();
    for name in &arguments.peers {
        if !progress(arguments, *name).exists() {
            child(arguments, *name, 0)?;
            std::fs::write(progress(arguments, *name), "1")?;
        }
        outcomes.push(Vec::new());
    }
    for _ in 0..arguments.rounds {
        for (name, outcomes) in arguments.peers.iter().zip(&mut outcomes) {
            let file = progress(arguments, *name);
            let first_block: u64 = std::fs::read_to_string(&file)?.parse()?;
            outcomes.push(child(arguments, *name, first_block)?);
            let next = first_block + arguments.warm_up_blocks + arguments.blocks;
            std::fs::write(file, next.to_string())?;
        }
    }
    Ok(outcomes)
}

/// Holds the number of a peer's next block.
fn progress(arguments: &Arguments, name: peers::Name) -> PathBuf {
    arguments.dir.join(format!("{name}-{}.block", arguments.accounts))
}

/// Where a peer has its files.
fn directory(arguments: &Arguments, name: peers::Name) -> PathBuf {
    arguments.dir.join(format!("{name}-{}", arguments.accounts))
}

fn child(arguments: &Arguments, name: peers::Name, step: u64) -> Result<measure::Outcome> {
    eprintln!("{name}: {}", if step == 0 { "fill".to_owned() } else { format!("measure from block {step}") });
    let program = std::env::current_exe()?;
    let output = Command::new(program)
        .args(["--peers", &name.to_string(), "--step", &step.to_string()])
        .args(["--accounts", &arguments.accounts.to_string(), "--blocks", &arguments.blocks.to_string()])
        .args(["--warm-up-blocks", &arguments.warm_up_blocks.to_string()])
        .args(["--cache-mib", &arguments.cache_mib.to_string()])
        .arg("--dir")
        .arg(Path::new(&arguments.dir))
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("{name}: {}", output.status);
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("{name}: what the step printed"))
}
