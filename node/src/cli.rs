//! The command line: nouns, then verbs. Every command that prints takes `--json`.

mod config_args;

pub use config_args::ConfigArgs;

use crate::keystore::KeyKind;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// The URL that client commands use unless told otherwise.
const URL_DEFAULT: &str = "ws://127.0.0.1:9944";

/// A blockchain validator node and the tools around it.
#[derive(Debug, Parser)]
#[command(name = "cairn", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// Print one JSON document instead of words.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one validator with funded development accounts and temporary data.
    Dev(DevArgs),
    /// Run a network of several processes on this machine.
    Devnet(DevnetArgs),
    /// Run a node.
    Run(RunArgs),
    /// Make a data folder with a node key and a commented configuration file.
    Init(InitArgs),
    /// Make, check and show chain specs.
    #[command(subcommand)]
    ChainSpec(ChainSpecCommand),
    /// Make and show keys.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Check, show and explain the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Build, sign and submit transactions.
    #[command(subcommand)]
    Tx(TxCommand),
    /// Look at, check and change the database of a stopped node.
    #[command(subcommand)]
    Db(DbCommand),
    /// Ask a node.
    #[command(subcommand)]
    Query(QueryCommand),
    /// Make, check, restore and list snapshots of the state.
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
}

/// `cairn run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Stop when standard input ends; for programs that start nodes.
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
    /// The settings.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `cairn dev`.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Keep the data here instead of in a folder that is removed at the end.
    #[arg(long, value_name = "PATH")]
    pub data_dir: Option<PathBuf>,
    /// The port of the RPC server on 127.0.0.1.
    #[arg(long, default_value_t = 9944, value_name = "PORT")]
    pub rpc_port: u16,
    /// The port of metrics and health on 127.0.0.1.
    #[arg(long, default_value_t = 9615, value_name = "PORT")]
    pub metrics_port: u16,
    /// Log levels.
    #[arg(long, default_value = "warn", value_name = "LEVELS")]
    pub log: String,
}

/// `cairn devnet`.
#[derive(Debug, Args)]
pub struct DevnetArgs {
    /// How many validators.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=20))]
    pub validators: u16,
    /// How many archive nodes beside them.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=20))]
    pub archive: u16,
    /// Where the network's data is; kept from one start to the next.
    #[arg(long, default_value = "devnet", value_name = "PATH")]
    pub data_dir: PathBuf,
    /// The RPC port of the first node; the others follow. Peers use ports from 100 above, metrics from 200 above.
    #[arg(long, default_value_t = 9944, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..=65_000))]
    pub base_port: u16,
    /// Go on with the others when a node ends by itself.
    #[arg(long)]
    pub keep_going: bool,
    /// Log levels of the nodes.
    #[arg(long, default_value = "info", value_name = "LEVELS")]
    pub log: String,
}

/// `cairn init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder to make.
    #[arg(long, default_value = "cairn-data", value_name = "PATH")]
    pub data_dir: PathBuf,
    /// The chain spec file or preset to write into the configuration.
    #[arg(long)]
    pub chain: Option<String>,
    /// The role to write into the configuration; a validator gets a consensus key too.
    #[arg(long, value_parser = ["validator", "rpc", "archive"])]
    pub role: Option<String>,
}

/// `cairn chain-spec`.
#[derive(Debug, Subcommand)]
pub enum ChainSpecCommand {
    /// Write a new chain spec from a preset.
    New {
        /// The preset: dev, or local and a number of validators.
        #[arg(long, default_value = "local4")]
        preset: String,
        /// The file to write; never overwritten. Standard output if none is given.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Check a chain spec and explain every error.
    Check {
        /// A file or preset.
        chain: String,
    },
    /// Show what a chain spec says.
    Show {
        /// A file or preset.
        chain: String,
    },
    /// Print the genesis hash that a chain spec stands for.
    GenesisHash {
        /// A file or preset.
        chain: String,
    },
}

/// `cairn keys`.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key and write it to a new file that only you can read.
    Generate {
        /// What the key is for.
        #[arg(long, value_enum)]
        kind: KeyKind,
        /// The file to write; never overwritten. `<kind>.json` if none is given.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Declare that a consensus key never signed a vote for the chain, or that all it voted on is final: makes an empty
    /// record of its votes. A wrong declaration can make the validator vote twice.
    NewRecord {
        /// The key file.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Confirms the declaration.
        #[arg(long)]
        nothing_signed: bool,
    },
    /// Write the record of what a consensus key has signed to a readable file, to take it to another machine. The node
    /// must be stopped.
    ExportRecord {
        /// The key file.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The chain: a chain spec file or a preset.
        #[arg(long, value_name = "CHAIN")]
        chain: String,
        /// The file to write; never overwritten.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Add what another machine signed with a consensus key to its record. The node must be stopped.
    ImportRecord {
        /// The key file.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The chain: a chain spec file or a preset.
        #[arg(long, value_name = "CHAIN")]
        chain: String,
        /// The exported record.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
    /// Show the public side of a key: a key file or a development key such as //Alice.
    Show {
        /// A file or //Name.
        key: String,
        /// The SS58 prefix of the address.
        #[arg(long, default_value_t = 42, value_parser = clap::value_parser!(u16).range(0..=16_383))]
        ss58_prefix: u16,
    },
}

/// `cairn db`. The node must be stopped.
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Print what the database holds, table by table, and what it takes on disk.
    Stats(ConfigArgs),
    /// Verify everything: blocks, finalizations, indexes, state and its history. Nothing is changed.
    Check {
        /// The first block to verify.
        #[arg(long, default_value_t = 0, value_name = "HEIGHT")]
        from: u32,
        /// The settings.
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Delete past states but for a window, and give the space back.
    Prune {
        /// How many heights before the head stay readable.
        #[arg(long, value_name = "BLOCKS", value_parser = clap::value_parser!(u32).range(1..))]
        keep: u32,
        /// The settings.
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Take the last blocks back: the database becomes what it was at a height.
    Rollback {
        /// The height of the new head.
        #[arg(long, value_name = "HEIGHT")]
        to: u32,
        /// The settings.
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Write finalized blocks with their certificates to a file.
    ExportBlocks {
        /// The file to write; never overwritten.
        file: PathBuf,
        /// The first block; block 1 if none is given.
        #[arg(long, value_name = "HEIGHT")]
        from: Option<u32>,
        /// The last block; the head if none is given.
        #[arg(long, value_name = "HEIGHT")]
        to: Option<u32>,
        /// The settings.
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Verify and execute the blocks of a file; goes on where an earlier import was interrupted.
    ImportBlocks {
        /// The file.
        file: PathBuf,
        /// The settings.
        #[command(flatten)]
        config: ConfigArgs,
    },
}

/// `cairn config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check file, environment and flags together.
    Check(ConfigArgs),
    /// Print the settings as a file.
    Show(ConfigArgs),
    /// Print every setting with origin, range and names.
    Explain(ConfigArgs),
}

/// Which node to ask.
#[derive(Debug, Args)]
pub struct UrlArgs {
    /// The node's WebSocket URL.
    #[arg(long, default_value = URL_DEFAULT)]
    pub url: String,
}

/// `cairn tx`.
#[derive(Debug, Subcommand)]
pub enum TxCommand {
    /// Transfer tokens and wait until the transfer is final.
    Transfer(TransferArgs),
    /// Set a validator's power for the epochs to come, signed by the authority that the chain spec names.
    SetValidator(SetValidatorArgs),
    /// Replace a validator's consensus key from the next epoch on; both keys sign for it, any account may carry it.
    RotateKey(RotateKeyArgs),
}

/// `cairn tx transfer`.
#[derive(Debug, Args)]
pub struct TransferArgs {
    /// Who receives: an SS58 address, 0x and 64 digits, or //Bob and so on.
    #[arg(long)]
    pub to: String,
    /// How many tokens, such as 10 or 0.25.
    #[arg(long)]
    pub amount: String,
    /// Let the sender's account be used up.
    #[arg(long)]
    pub allow_death: bool,
    /// How it is submitted.
    #[command(flatten)]
    pub submit: SubmitArgs,
}

/// `cairn tx set-validator`.
#[derive(Debug, Args)]
pub struct SetValidatorArgs {
    /// The validator's consensus key: 0x and 64 digits, an SS58 address, or //Bob and so on.
    #[arg(long)]
    pub key: String,
    /// Its power from the next epoch on; 0 removes it.
    #[arg(long)]
    pub power: u64,
    /// How it is submitted.
    #[command(flatten)]
    pub submit: SubmitArgs,
}

/// `cairn tx rotate-key`.
#[derive(Debug, Args)]
pub struct RotateKeyArgs {
    /// The key that votes now: a consensus key's file, or //Bob and so on.
    #[arg(long)]
    pub old: String,
    /// The key that shall vote from the next epoch on; name it as `node.next_consensus_key` before.
    #[arg(long)]
    pub new: String,
    /// How it is submitted.
    #[command(flatten)]
    pub submit: SubmitArgs,
}

/// How a transaction is signed and submitted.
#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// Who signs and pays: an account key's file, or //Alice and so on.
    #[arg(long)]
    pub from: String,
    /// What to add to the fee, in tokens.
    #[arg(long, default_value = "0")]
    pub tip: String,
    /// How many blocks the transaction may wait; 0 for ever.
    #[arg(long, default_value_t = 64, value_name = "BLOCKS", value_parser = clap::value_parser!(u64).range(0..=4096))]
    pub mortal: u64,
    /// Do not wait until the transaction is final.
    #[arg(long)]
    pub no_wait: bool,
    /// Give up waiting after so many seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
    /// The node.
    #[command(flatten)]
    pub node: UrlArgs,
}

/// `cairn snapshot`.
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Make a snapshot of the newest final block: by a running node in its data folder, without stopping it, or from the
    /// database of one that does not run.
    Create {
        /// The data folder of a node that does not run.
        #[arg(long, value_name = "PATH", requires = "chain")]
        data_dir: Option<PathBuf>,
        /// Its chain: a chain spec file or a preset.
        #[arg(long, value_name = "CHAIN", requires = "data_dir")]
        chain: Option<String>,
        /// The folder to write; never overwritten. `snapshots/<height>` in the data folder if none is given.
        #[arg(long, value_name = "PATH", requires = "data_dir")]
        out: Option<PathBuf>,
        /// The running node.
        #[command(flatten)]
        node: UrlArgs,
    },
    /// Check a whole snapshot, from the chain spec alone.
    Verify {
        /// The snapshot.
        folder: PathBuf,
        /// The chain to trust: a chain spec file or a preset.
        #[arg(long, value_name = "CHAIN")]
        chain: String,
    },
    /// Check a snapshot and begin an empty data folder with it. Run it again to go on after an interruption.
    Restore {
        /// The snapshot.
        folder: PathBuf,
        /// The chain to trust: a chain spec file or a preset.
        #[arg(long, value_name = "CHAIN")]
        chain: String,
        /// The data folder of the new node.
        #[arg(long, value_name = "PATH")]
        data_dir: PathBuf,
    },
    /// List the snapshots in a data folder, unchecked.
    List {
        /// The data folder.
        #[arg(long, value_name = "PATH")]
        data_dir: PathBuf,
    },
}

/// `cairn query`.
#[derive(Debug, Subcommand)]
pub enum QueryCommand {
    /// An account's balance and nonce.
    Account {
        /// An SS58 address, 0x and 64 digits, or //Alice and so on.
        account: String,
        /// Height or hash of the block after which; the last one if none is given.
        #[arg(long, value_name = "BLOCK")]
        at: Option<String>,
        /// What to check it against.
        #[command(flatten)]
        trust: TrustArgs,
        /// The node.
        #[command(flatten)]
        node: UrlArgs,
    },
    /// A value of the state.
    Storage {
        /// Its key, in hexadecimal.
        key: String,
        /// Height or hash of the block after which; the last one if none is given.
        #[arg(long, value_name = "BLOCK")]
        at: Option<String>,
        /// What to check it against.
        #[command(flatten)]
        trust: TrustArgs,
        /// The node.
        #[command(flatten)]
        node: UrlArgs,
    },
    /// A block.
    Block {
        /// Its height or hash; the last one if none is given.
        block: Option<String>,
        /// What to check it against.
        #[command(flatten)]
        trust: TrustArgs,
        /// The node.
        #[command(flatten)]
        node: UrlArgs,
    },
    /// Where a transaction is and what came of it.
    Tx {
        /// Its hash.
        hash: String,
        /// What to check it against.
        #[command(flatten)]
        trust: TrustArgs,
        /// The node.
        #[command(flatten)]
        node: UrlArgs,
    },
    /// The validators and their power.
    Validators {
        /// Height or hash of the block that they voted on; the last one if none is given.
        #[arg(long, value_name = "BLOCK")]
        at: Option<String>,
        /// What to check it against.
        #[command(flatten)]
        trust: TrustArgs,
        /// The node.
        #[command(flatten)]
        node: UrlArgs,
    },
    /// Why there is no new block in this moment.
    Why {
        /// The node.
        #[command(flatten)]
        node: UrlArgs,
    },
    /// What the node says about itself.
    Info {
        /// The node.
        #[command(flatten)]
        node: UrlArgs,
    },
}

/// `--verify`: from what the answer is to follow.
#[derive(Debug, Args)]
pub struct TrustArgs {
    /// Have the node prove its answer, and check every step here.
    #[arg(long)]
    pub verify: bool,
    /// Trust this chain: a chain spec file or preset. Genesis and validators are computed from it.
    #[arg(long, requires = "verify", conflicts_with = "genesis_hash")]
    pub chain: Option<String>,
    /// Trust this genesis hash. The validators are taken from the node and checked against the genesis header.
    #[arg(long, requires = "verify")]
    pub genesis_hash: Option<String>,
    /// Trust the block with this hash and begin there; what is older is shown in its history.
    #[arg(long, requires = "chain", value_name = "HASH")]
    pub checkpoint: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory as _;

    #[test]
    fn command_line_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
