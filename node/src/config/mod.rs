//! The configuration of a node: one TOML file, the environment and flags, all with the same names.
//!
//! ```text
//!   defaults < preset of the role < file < environment (CAIRN_SECTION__KEY) < flags (--section.key)
//!        └──────────────── merged by the `config` crate ────────────────┘
//!                                  │  keys.rs: one table of all keys: kind, range, default, words
//!                                  ▼
//!            Resolved (value and origin of every key) ──► NodeConfig ──► rules.rs: combinations
//! ```
//!
//! A key that is not in the table is an error, whichever layer it comes from. Values that all nodes of a chain must share
//! are not here but in the chain spec.

mod keys;
mod load;
mod rules;
mod template;
#[cfg(test)]
mod tests;
mod value;

pub use keys::{KEYS, Kind};
pub use load::{Layers, Resolved, ResolvedValue, load};
pub use template::{commented_file, explain, explain_json, toml_file};
pub use value::toml_literal;

use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What a node is for; a preset of other settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Votes; keeps a short window of old states.
    Validator,
    /// Serves clients; keeps a longer window.
    Rpc,
    /// Keeps every state.
    Archive,
}

impl Role {
    /// The word used in configuration and on screen.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Validator => "validator",
            Self::Rpc => "rpc",
            Self::Archive => "archive",
        }
    }
}

/// How many old states are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum History {
    /// All of them.
    Archive,
    /// Those of the last so many blocks.
    Window(u32),
}

/// How a new node begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncMode {
    /// With all blocks from genesis.
    Blocks,
    /// With the state after a late block, where a peer offers it.
    Snapshot,
}

/// Whether unsafe RPC methods are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnsafeMethods {
    /// On a loopback address only.
    Auto,
    /// Always; a public address needs `rpc.allow_public_unsafe` too.
    On,
    /// Never.
    Off,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The whole configuration of a node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Who the node is and where its data is.
    pub node: NodeSection,
    /// The peer-to-peer network.
    pub network: NetworkSection,
    /// JSON-RPC.
    pub rpc: RpcSection,
    /// Metrics and health.
    pub metrics: MetricsSection,
    /// Waiting transactions.
    pub mempool: MempoolSection,
    /// Getting blocks and state from peers.
    pub sync: SyncSection,
    /// The state tree.
    pub state: StateSection,
    /// Logging.
    pub log: LogSection,
}

/// `[node]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSection {
    /// The name in logs and node info.
    pub name: String,
    /// The role.
    pub role: Role,
    /// The folder of database and keys.
    pub data_dir: PathBuf,
    /// A chain spec file or the name of a preset; empty where none was chosen.
    pub chain: String,
    /// The consensus key: a file or a development key; empty stands for the file in the data folder.
    pub consensus_key: String,
    /// The consensus key of a coming epoch; empty where no other key takes over.
    pub next_consensus_key: String,
    /// The node key's file; empty stands for the file in the data folder.
    pub node_key: String,
}

/// `[network]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSection {
    /// Multiaddresses to listen on.
    pub listen: Vec<String>,
    /// Multiaddresses to announce besides those listened on.
    pub external: Vec<String>,
    /// Multiaddresses with peer id of the first nodes to dial, beside those of the chain spec.
    pub boot_nodes: Vec<String>,
    /// Multiaddresses with peer id of nodes that are always kept connected.
    pub reserved: Vec<String>,
    /// Whether only reserved nodes may connect.
    pub reserved_only: bool,
    /// The most inbound peers.
    pub peers_in_max: u32,
    /// The most outbound peers.
    pub peers_out_max: u32,
    /// The most connections from one IP address.
    pub connections_per_address_max: u32,
}

/// `[rpc]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RpcSection {
    /// The address for HTTP and WebSocket.
    pub listen: SocketAddr,
    /// Whether unsafe methods are offered.
    pub unsafe_methods: UnsafeMethods,
    /// The file with the token whose bearer may call unsafe methods; empty where there is none.
    pub unsafe_token_file: String,
    /// Lets a validator listen on a public address.
    pub allow_public: bool,
    /// Lets unsafe methods be offered on a public address.
    pub allow_public_unsafe: bool,
    /// The most connections at once.
    pub connections_max: u32,
    /// The most subscriptions of one connection.
    pub subscriptions_max: u32,
    /// The most calls in one batch.
    pub batch_max: u32,
    /// Point reads that one client address may make in a second.
    pub calls_per_second_max: u32,
    /// The largest request, in bytes.
    pub request_bytes_max: u32,
    /// The largest response, in bytes.
    pub response_bytes_max: u32,
    /// The most time one request may take, in milliseconds.
    pub request_time_ms_max: u32,
}

impl RpcSection {
    /// Whether unsafe methods are offered at the address that is listened on.
    #[must_use]
    pub fn offers_unsafe(&self) -> bool {
        match self.unsafe_methods {
            UnsafeMethods::Auto => self.listen.ip().is_loopback(),
            UnsafeMethods::On => true,
            UnsafeMethods::Off => false,
        }
    }
}

/// `[metrics]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsSection {
    /// Whether `/metrics`, `/livez` and `/readyz` are served.
    pub enabled: bool,
    /// Their address.
    pub listen: SocketAddr,
}

/// `[mempool]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MempoolSection {
    /// The most bytes of waiting transactions.
    pub bytes_max: u64,
    /// The most waiting transactions.
    pub count_max: u32,
}

/// `[sync]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncSection {
    /// How a node without a chain begins.
    pub mode: SyncMode,
    /// Blocks between two snapshots that are offered to others; 0 for none.
    pub snapshot_interval: u32,
    /// Whether an archive node gets the blocks and states below those that it began with.
    pub backfill: bool,
}

/// `[state]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateSection {
    /// How many old states are kept.
    pub history: History,
    /// Memory for cached state, in bytes.
    pub cache_bytes: u64,
    /// Memory for the keys of accounts that signed lately, in bytes.
    pub signers_bytes: u64,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSection {
    /// Level, or levels per module as in `info,cairn_network=debug`.
    pub level: String,
    /// The form of the lines.
    pub format: LogFormat,
}
