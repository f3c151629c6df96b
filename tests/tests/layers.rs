//! The house keeps its layers: the workspace's own metadata shows no edge that `docs/architecture.md` does not allow.
//!
//! Development dependencies are exempt: tests may reach for anything.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What each crate may depend on within the workspace, from the ground up. A new crate needs a line here.
const ALLOWED: [(&str, &[&str]); 20] = [
    ("cairn-primitives-sha256", &[]),
    ("cairn-primitives", &["cairn-primitives-sha256"]),
    ("cairn-verifier", &["cairn-primitives"]),
    ("cairn-runtime", &["cairn-primitives"]),
    ("cairn-consensus", &["cairn-primitives"]),
    ("cairn-mempool", &["cairn-primitives"]),
    ("cairn-sync", &["cairn-primitives"]),
    ("cairn-storage", &["cairn-primitives", "cairn-storage-cpu"]),
    ("cairn-storage-cpu", &[]),
    ("cairn-ledger", &["cairn-primitives", "cairn-runtime", "cairn-storage", "cairn-storage-cpu"]),
    ("cairn-chain-spec", &["cairn-primitives", "cairn-runtime"]),
    ("cairn-storage-rocks", &["cairn-primitives", "cairn-storage"]),
    ("cairn-network", &["cairn-primitives"]),
    ("cairn-rpc", &["cairn-primitives", "cairn-verifier"]),
    ("cairn-node-allocator", &[]),
    ("cairn-node", &["*"]),
    ("cairn-tests", &["*"]),
    (
        "cairn-pipeline",
        &[
            "cairn-primitives",
            "cairn-runtime",
            "cairn-storage",
            "cairn-storage-rocks",
            "cairn-ledger",
            "cairn-node-allocator",
        ],
    ),
    // The simulator takes the pure cores alone, so that a seed gives the same run everywhere.
    (
        "cairn-sim",
        &[
            "cairn-primitives",
            "cairn-runtime",
            "cairn-consensus",
            "cairn-mempool",
            "cairn-sync",
            "cairn-storage",
            "cairn-ledger",
            "cairn-chain-spec",
        ],
    ),
    (
        "cairn-fuzz",
        &[
            "cairn-primitives",
            "cairn-verifier",
            "cairn-runtime",
            "cairn-consensus",
            "cairn-mempool",
            "cairn-sync",
            "cairn-storage",
            "cairn-chain-spec",
        ],
    ),
];

/// The crates without I/O, async, clock and randomness: everything below the adapters.
const PURE: [&str; 11] = [
    "cairn-primitives-sha256",
    "cairn-primitives",
    "cairn-verifier",
    "cairn-runtime",
    "cairn-consensus",
    "cairn-mempool",
    "cairn-sync",
    "cairn-storage",
    "cairn-storage-cpu",
    "cairn-ledger",
    "cairn-chain-spec",
];

/// What no pure crate may reach, over however many steps; `*` stands for any ending.
const IMPURE: [&str; 8] =
    ["tokio", "tokio-*", "libp2p*", "rocksdb", "librocksdb-sys", "rand", "prometheus", "jsonrpsee*"];

/// What enters through one crate alone. The command line and the tests speak JSON-RPC as clients.
const SINGLE_ENTRY: [(&str, &[&str]); 4] = [
    ("rocksdb", &["cairn-storage-rocks"]),
    ("librocksdb-sys", &[]),
    ("libp2p*", &["cairn-network", "cairn-tests"]),
    ("jsonrpsee*", &["cairn-rpc", "cairn-node", "cairn-tests"]),
];

/// Packages by name with the names of what they depend on, development dependencies left out.
#[derive(Default)]
struct Graph {
    members: BTreeSet<String>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn of_workspace() -> Self {
        let metadata = metadata();
        let mut names = BTreeMap::new();
        for package in list(&metadata["packages"]) {
            names.insert(text(&package["id"]), text(&package["name"]));
        }
        let members = list(&metadata["workspace_members"]).iter().map(|id| names[text(id)].to_owned()).collect();
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let needed = list(&node["deps"])
                .iter()
                .filter(|dependency| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev"))
                .map(|dependency| names[text(&dependency["pkg"])].to_owned());
            // Several versions of one package count as one: a rule names packages and not versions.
            edges.entry(names[text(&node["id"])].to_owned()).or_default().extend(needed);
        }
        Self { members, edges }
    }

    fn direct(&self, package: &str) -> impl Iterator<Item = &str> {
        self.edges.get(package).into_iter().flatten().map(String::as_str)
    }

    /// The shortest path from a package to one that matches the pattern.
    fn path_to(&self, package: &str, pattern: &str) -> Option<String> {
        let mut seen = BTreeSet::from([package]);
        let mut level = vec![vec![package]];
        while !level.is_empty() {
            let mut next = Vec::new();
            for path in level {
                for needed in self.direct(path[path.len() - 1]) {
                    let longer = [path.as_slice(), &[needed]].concat();
                    if matches(pattern, needed) {
                        return Some(longer.join(" ► "));
                    }
                    if seen.insert(needed) {
                        next.push(longer);
                    }
                }
            }
            level = next;
        }
        None
    }

    /// Every edge and path that breaks a rule.
    fn violations(&self) -> Vec<String> {
        let allowed: BTreeMap<_, _> = ALLOWED.into_iter().collect();
        let mut found = Vec::new();
        for member in &self.members {
            let Some(allowed) = allowed.get(member.as_str()) else {
                found.push(format!("{member} has no line in the table of allowed edges"));
                continue;
            };
            for needed in self.direct(member).filter(|needed| self.members.contains(*needed)) {
                if !allowed.iter().any(|pattern| matches(pattern, needed)) {
                    found.push(format!("{member} ► {needed} is not allowed"));
                }
            }
            for (pattern, entries) in SINGLE_ENTRY {
                for needed in self.direct(member).filter(|needed| matches(pattern, needed)) {
                    if !entries.contains(&member.as_str()) {
                        found.push(format!("{member} ► {needed}: enters through {entries:?} alone"));
                    }
                }
            }
        }
        for member in PURE {
            found.extend(IMPURE.iter().filter_map(|pattern| self.path_to(member, pattern)));
        }
        found
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn root() -> PathBuf {
    // Tests run in the folder of their crate.
    Path::new("..").canonicalize().expect("the crate lies in the workspace")
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

fn metadata() -> Value {
    let version = cargo(&["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo tells its host");
    let json = cargo(&["metadata", "--format-version", "1", "--locked", "--filter-platform", host]);
    serde_json::from_str(&json).expect("cargo writes JSON")
}

#[test]
fn workspace_edges_are_those_of_the_architecture() {
    let graph = Graph::of_workspace();
    let known: BTreeSet<_> = ALLOWED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(graph.members, known, "the table of allowed edges names every crate and no other");
    assert!(graph.direct("cairn-storage-rocks").any(|needed| needed == "rocksdb"), "the graph is read as it should be");
    let violations = graph.violations();
    assert!(violations.is_empty(), "the layers are broken:\n{}", violations.join("\n"));
}

#[test]
fn layer_rules_find_what_they_forbid() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph = Graph { members: PURE.iter().map(|name| (*name).to_owned()).collect(), ..Graph::default() };
        graph.members.extend(["cairn-network", "cairn-node"].map(str::to_owned));
        for (from, to) in edges {
            graph.edges.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        graph.violations()
    };
    assert!(graph(&[("cairn-ledger", "cairn-storage"), ("cairn-node", "cairn-network")]).is_empty());
    assert_eq!(graph(&[("cairn-mempool", "cairn-runtime")]), ["cairn-mempool ► cairn-runtime is not allowed"]);
    assert_eq!(graph(&[("cairn-primitives", "cairn-node")]), ["cairn-primitives ► cairn-node is not allowed"]);
    assert_eq!(graph(&[("cairn-sync", "helper"), ("helper", "tokio")]), ["cairn-sync ► helper ► tokio"]);
    assert_eq!(graph(&[("cairn-node", "libp2p-kad")]).len(), 1);
    assert!(graph(&[("cairn-network", "libp2p-kad"), ("cairn-network", "tokio")]).is_empty());
    assert!(graph(&[("cairn-primitives", "rand_core")]).is_empty());
}

#[test]
fn pure_crates_deny_what_could_make_two_nodes_differ() {
    let shared = std::fs::read_to_string(root().join("clippy.toml")).expect("the root has a clippy.toml");
    for package in PURE {
        let name = package.trim_start_matches("cairn-");
        let folder = root().join(name.replace("storage-", "storage/").replace("primitives-", "primitives/"));
        let own = std::fs::read_to_string(folder.join("clippy.toml")).expect("a pure crate has its own clippy.toml");
        for line in shared.lines() {
            assert!(own.contains(line), "{package}/clippy.toml replaces the root's and lacks `{line}`");
        }
        for banned in ["HashMap", "HashSet", "Instant", "SystemTime"] {
            assert!(own.contains(banned), "{package}/clippy.toml does not ban {banned}");
        }
        let source = std::fs::read_to_string(folder.join("src/lib.rs")).expect("a pure crate has a lib.rs");
        for lint in ["arithmetic_side_effects", "float_arithmetic", "indexing_slicing"] {
            assert!(source.contains(&format!("clippy::{lint}")), "{package} does not deny {lint}");
        }
    }
}
