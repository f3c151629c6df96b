//! Several nodes of one chain.

use super::node::{Node, Settings};
use super::{Observer, program, turn};
use crate::rpc::{Rpc, to_hex};
use anyhow::{Context as _, ensure};
use cairn_chain_spec::{BalanceEntry, ChainSpec, Document, development};
use cairn_primitives::Hash;
use cairn_primitives::light::TrustAnchor;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::sync::MutexGuard;

/// How many nodes of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Validators, each with the same power.
    pub validators: u16,
    /// Archive nodes.
    pub archives: u16,
}

/// A chain with its nodes, in a folder that is removed at the end.
#[derive(Debug)]
pub struct Network {
    /// Validators first, then archive nodes.
    pub nodes: Vec<Node>,
    /// The chain.
    pub spec: ChainSpec,
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// A chain of `validators` equal development validators with time-outs for tests: a fifth of the usual, and four empty
/// blocks a second.
///
/// # Errors
/// There are too many validators.
pub fn fast_spec(validators: u16, id: &str) -> anyhow::Result<ChainSpec> {
    let mut document = ChainSpec::local(validators)?.document().clone();
    document.id = id.to_owned();
    document.consensus.idle_block_interval_ms = 250;
    document.consensus.leader_timeout_ms = 500;
    document.consensus.certify_timeout_ms = 1_000;
    document.consensus.retry_ms = 300;
    document.consensus.skip_timeout_ms = 1_500;
    Ok(document.check()?)
}

/// Adds accounts that hold as much as the first one and that nobody has a key of.
///
/// # Errors
/// The document has no account to begin with.
pub fn add_accounts(document: &mut Document, count: u32) -> anyhow::Result<()> {
    let entry = document.balances.first().context("no account in the chain spec")?.clone();
    for number in 0..count {
        let mut account = [0x5a; 32];
        if let Some(place) = account.first_chunk_mut() {
            *place = number.to_be_bytes();
        }
        document.balances.push(BalanceEntry { account: to_hex(&account), ..entry.clone() });
    }
    Ok(())
}

impl Network {
    /// The files of a network, nothing running; waits until no other network runs.
    ///
    /// # Errors
    /// There are no ports, or files cannot be written.
    pub async fn prepare(shape: Shape) -> anyhow::Result<Self> {
        Self::prepare_chain(fast_spec(shape.validators, "test")?, shape).await
    }

    /// The same for a given chain; nodes that have a validator's key need not all be in its first set.
    ///
    /// # Errors
    /// There are no ports, or files cannot be written.
    pub async fn prepare_chain(spec: ChainSpec, shape: Shape) -> anyhow::Result<Self> {
        let turn = turn().await;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("spec.json");
        fs::write(&file, spec.to_json())?;
        let mut nodes = Vec::new();
        let settings = |role, consensus_key| Settings {
            role,
            chain: file.clone(),
            consensus_key,
            next_consensus_key: None,
            boot_nodes: Vec::new(),
            network: Vec::new(),
            rpc: Vec::new(),
            sync: Vec::new(),
            place: None,
        };
        for number in 1..=shape.validators {
            let key = format!("//{}", development::name(number));
            let name = format!("validator-{number}");
            nodes.push(Node::new(folder.path(), &name, settings("validator", Some(key)))?);
        }
        for number in 1..=shape.archives {
            nodes.push(Node::new(folder.path(), &format!("archive-{number}"), settings("archive", None))?);
        }
        let addresses: Vec<String> = nodes.iter().map(Node::multiaddr).collect();
        for (position, node) in nodes.iter_mut().enumerate() {
            let others = addresses.iter().enumerate().filter(|(other, _)| *other != position);
            node.settings.boot_nodes = others.map(|(_, address)| address.clone()).collect();
        }
        Ok(Self { nodes, spec, folder, _turn: turn })
    }

    /// A network whose nodes all run and finalize.
    ///
    /// # Errors
    /// A node ends, or nothing becomes final.
    pub async fn start(shape: Shape) -> anyhow::Result<(Self, Vec<Rpc>)> {
        let mut network = Self::prepare(shape).await?;
        let all: Vec<usize> = (0..network.nodes.len()).collect();
        let clients = network.start_nodes(&all).await?;
        for client in &clients {
            Observer::new(client).await?.reach(1).await?;
        }
        Ok((network, clients))
    }

    /// Starts some nodes at once and waits until they answer.
    ///
    /// # Errors
    /// A node ends or does not answer.
    pub async fn start_nodes(&mut self, which: &[usize]) -> anyhow::Result<Vec<Rpc>> {
        for position in which {
            self.node(*position)?.spawn()?;
        }
        let mut clients = Vec::new();
        for position in which {
            clients.push(self.node(*position)?.connect().await?);
        }
        Ok(clients)
    }

    /// One node.
    ///
    /// # Errors
    /// There is no such node.
    pub fn node(&mut self, position: usize) -> anyhow::Result<&mut Node> {
        self.nodes.get_mut(position).with_context(|| format!("there is no node {position}"))
    }

    /// The folder of everything.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves the folder with databases and logs where it is, for people to look into.
    pub fn keep_folder(&mut self) {
        self.folder.disable_cleanup(true);
    }

    /// The file of the chain spec.
    #[must_use]
    pub fn spec_file(&self) -> PathBuf {
        self.folder.path().join("spec.json")
    }

    /// What a light client of this chain trusts: the genesis that the program computes from the spec, and its validators.
    ///
    /// # Errors
    /// The program fails.
    pub fn anchor(&self) -> anyhow::Result<TrustAnchor> {
        let computed = program::cairn(self.folder(), ["chain-spec", "genesis-hash", "spec.json"])?;
        ensure!(computed.code == Some(0), "no genesis hash: {}", computed.stderr);
        let genesis: Hash = computed.stdout.trim().parse().context("the genesis hash is not understood")?;
        Ok(TrustAnchor::new(genesis, self.spec.validator_set().clone()).with_schedule(self.spec.epoch_schedule()))
    }
}
