//! The table of all configuration keys: flags, environment, checks, `config explain` and the commented file are all made
//! from it, so none of them can miss a key.

/// What values a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text up to 255 characters.
    Text,
    /// A path or another longer text.
    Path,
    /// true or false.
    Switch,
    /// A whole number in a range.
    Number {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
        /// What is counted.
        unit: &'static str,
    },
    /// A number of bytes in a range, as a number or as a text such as `64 MiB`.
    Bytes {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// An IP address with port.
    Address,
    /// A list of multiaddresses.
    Multiaddrs {
        /// The most entries.
        max: usize,
    },
    /// `archive` or the number of blocks whose states are kept.
    History {
        /// The smallest window.
        min: u32,
        /// The largest window.
        max: u32,
    },
    /// Log levels.
    Levels,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The section.
    pub section: &'static str,
    /// The name in its section.
    pub name: &'static str,
    /// Its values.
    pub kind: Kind,
    /// The default, written as in the environment.
    pub default: &'static str,
    /// What it is for, in one sentence.
    pub words: &'static str,
}

impl Key {
    /// `section.name`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The flag without its dashes: the path, or for `[node]` the name alone.
    #[must_use]
    pub fn flag(&self) -> String {
        if self.section == "node" { self.name.replace('_', "-") } else { self.path() }
    }

    /// The environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}_{}__{}", self.section, self.name).to_uppercase()
    }

    /// The key with a path, if there is one.
    #[must_use]
    pub fn find(path: &str) -> Option<&'static Self> {
        let (section, name) = path.split_once('.')?;
        KEYS.iter().find(|key| key.section == section && key.name == name)
    }
}

/// The first word of environment variables.
pub(super) const ENVIRONMENT_PREFIX: &str = "CAIRN";

/// The sections, in the order of the table.
#[must_use]
pub(super) fn sections() -> Vec<&'static str> {
    let mut sections: Vec<&'static str> = KEYS.iter().map(|key| key.section).collect();
    sections.dedup();
    sections
}

/// What a section is for, as the commented file says it.
pub(super) fn section_words(section: &str) -> &'static str {
    match section {
        "node" => "Who this node is, which chain it follows and where its data is.",
        "network" => "The peer-to-peer network.",
        "rpc" => "JSON-RPC over HTTP and WebSocket on one port.",
        "metrics" => "/metrics for Prometheus, /livez and /readyz.",
        "mempool" => "Transactions that wait for a block.",
        "sync" => "How the node gets the blocks and the state that it does not have.",
        "state" => "The accounts' state and its history.",
        "log" => "Log lines on standard error.",
        _ => "",
    }
}

const fn key(section: &'static str, name: &'static str, kind: Kind, default: &'static str, words: &'static str) -> Key {
    Key { section, name, kind, default, words }
}

const fn number(min: u64, max: u64, unit: &'static str) -> Kind {
    Kind::Number { min, max, unit }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Every key, section by section.
pub const KEYS: &[Key] = &[
    key("node", "name", Kind::Text, "cairn", "The node's name in logs and in cairn_nodeInfo."),
    key(
        "node",
        "role",
        Kind::Choice(&["validator", "rpc", "archive"]),
        "rpc",
        "What the node is for; presets other keys (see `cairn config explain --role …`).",
    ),
    key("node", "data_dir", Kind::Path, "cairn-data", "The folder of database and keys."),
    key("node", "chain", Kind::Path, "", "A chain spec file, or the preset dev or local4. Must be chosen."),
    key(
        "node",
        "consensus_key",
        Kind::Path,
        "",
        "A validator's key: a file or, on development chains, //Alice and so on. Empty: keys/consensus.json in data_dir.",
    ),
    key(
        "node",
        "next_consensus_key",
        Kind::Path,
        "",
        "The key that takes over from consensus_key in the epoch in which the chain's validators hold it.",
    ),
    key("node", "node_key", Kind::Path, "", "The key of the node's peer id. Empty: keys/node.json in data_dir."),
    key(
        "network",
        "listen",
        Kind::Multiaddrs { max: 16 },
        "/ip4/0.0.0.0/tcp/30333,/ip4/0.0.0.0/udp/30333/quic-v1",
        "Where peers can reach this node.",
    ),
    key(
        "network",
        "external",
        Kind::Multiaddrs { max: 4 },
        "",
        "Addresses to announce besides those listened on: what others see in front of a router or proxy.",
    ),
    key(
        "network",
        "boot_nodes",
        Kind::Multiaddrs { max: 64 },
        "",
        "First nodes to dial, with /p2p/<peer id>; added to those of the chain spec.",
    ),
    key(
        "network",
        "reserved",
        Kind::Multiaddrs { max: 64 },
        "",
        "Nodes to stay connected with beyond all limits, with /p2p/<peer id>.",
    ),
    key("network", "reserved_only", Kind::Switch, "false", "Talk to reserved nodes only."),
    key("network", "peers_in_max", number(0, 1000, "peers"), "50", "The most peers that dialled us."),
    key("network", "peers_out_max", number(1, 1000, "peers"), "16", "The most peers that we dial."),
    key(
        "network",
        "connections_per_address_max",
        number(1, 1000, "connections"),
        "16",
        "The most connections from one IP address, or one IPv6 network of 64 bits.",
    ),
    key("rpc", "listen", Kind::Address, "127.0.0.1:9944", "The address of the RPC server."),
    key(
        "rpc",
        "unsafe_methods",
        Kind::Choice(&["auto", "on", "off"]),
        "auto",
        "Offer methods that can harm the node; auto offers them on loopback addresses only.",
    ),
    key(
        "rpc",
        "unsafe_token_file",
        Kind::Path,
        "",
        "A file that only you can read, with the token whose bearer may call unsafe methods from anywhere; none if empty.",
    ),
    key("rpc", "allow_public", Kind::Switch, "false", "Let a validator serve RPC on an address that others can reach."),
    key(
        "rpc",
        "allow_public_unsafe",
        Kind::Switch,
        "false",
        "Let unsafe methods be offered on an address that others can reach.",
    ),
    key("rpc", "connections_max", number(1, 100_000, "connections"), "1000", "The most connections at once."),
    key("rpc", "subscriptions_max", number(1, 4096, "subscriptions"), "64", "The most subscriptions a connection."),
    key(
        "rpc",
        "calls_per_second_max",
        number(1, 1_000_000, "calls"),
        "1000",
        "Point reads that one client address may make in a second; walks and proofs count as ten.",
    ),
    key("rpc", "batch_max", number(1, 1000, "calls"), "50", "The most calls in one batch."),
    key(
        "rpc",
        "request_bytes_max",
        Kind::Bytes { min: 64 * KIB, max: 64 * MIB },
        "2 MiB",
        "The largest request that is read.",
    ),
    key(
        "rpc",
        "response_bytes_max",
        Kind::Bytes { min: MIB, max: 256 * MIB },
        "16 MiB",
        "The largest response that is sent.",
    ),
    key("rpc", "request_time_ms_max", number(100, 600_000, "ms"), "10000", "The most time one request may take."),
    key("metrics", "enabled", Kind::Switch, "true", "Serve /metrics, /livez and /readyz."),
    key("metrics", "listen", Kind::Address, "127.0.0.1:9615", "The address of metrics and health."),
    key(
        "mempool",
        "bytes_max",
        Kind::Bytes { min: MIB, max: 4 * GIB },
        "64 MiB",
        "The most bytes of waiting transactions.",
    ),
    key("mempool", "count_max", number(16, 1_000_000, "transactions"), "100000", "The most waiting transactions."),
    key(
        "sync",
        "mode",
        Kind::Choice(&["blocks", "snapshot"]),
        "blocks",
        "How a new node begins: with all blocks from genesis, or with the state after a late one, which peers offer.",
    ),
    key(
        "sync",
        "snapshot_interval",
        number(0, 100_000_000, "blocks"),
        "10000",
        "How many blocks lie between two snapshots of the state that are offered to new nodes; 0 for none.",
    ),
    key(
        "sync",
        "backfill",
        Kind::Switch,
        "true",
        "Whether an archive node gets the blocks and states below those that it began with while it runs.",
    ),
    key(
        "state",
        "history",
        Kind::History { min: 64, max: 100_000_000 },
        "16384",
        "How many blocks' states are kept for queries: a number, or archive for all.",
    ),
    key("state", "cache_bytes", Kind::Bytes { min: MIB, max: 64 * GIB }, "64 MiB", "Memory for cached state."),
    key(
        "state",
        "signers_bytes",
        Kind::Bytes { min: MIB, max: 64 * GIB },
        "16 MiB",
        "Memory for the keys of accounts that signed lately, 200 bytes each: their next signatures cost a third less.",
    ),
    key(
        "log",
        "level",
        Kind::Levels,
        "info",
        "error, warn, info, debug or trace; per module as in info,cairn_network=debug.",
    ),
    key("log", "format", Kind::Choice(&["text", "json"]), "text", "Lines for people, or one JSON object a line."),
];

/// What a role changes in the defaults, written as in the environment.
#[must_use]
pub(super) fn preset(role: &str) -> &'static [(&'static str, &'static str)] {
    match role {
        "validator" => &[("state.history", "4096"), ("rpc.connections_max", "100")],
        "archive" => &[("state.history", "archive")],
        _ => &[],
    }
}
