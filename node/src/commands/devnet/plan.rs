//! Which nodes a network on this machine has, and the files they start from.
//!
//! ```text
//! devnet/spec.json                 made once, then kept
//! devnet/<node>/cairn.toml         written at each start
//! devnet/<node>/keys/node.json     made once, then kept
//! devnet/<node>/db/                the node's data
//! devnet/<node>/node.log           the node's log; the last start's is node.log.1
//! ```

use crate::cli::DevnetArgs;
use crate::commands::init::{CONFIG_FILE, write_new};
use crate::config::Role;
use crate::exit::{ExitContext as _, ExitKind, Failure};
use crate::keystore::{self, KeyKind};
use crate::launch::{check_address, key_file, load_spec};
use cairn_chain_spec::{ChainSpec, development};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// How far above the first RPC port the ports of peers begin.
const PEER_PORTS_ABOVE: u16 = 100;

/// How far above the first RPC port the ports of metrics begin.
const METRICS_PORTS_ABOVE: u16 = 200;

/// A network on this machine.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Where everything is.
    pub folder: PathBuf,
    /// The chain.
    pub spec: ChainSpec,
    /// The nodes, validators first.
    pub nodes: Vec<NodePlan>,
}

/// One node of it.
#[derive(Clone, Debug)]
pub(super) struct NodePlan {
    /// Its name and the name of its folder.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its folder.
    pub folder: PathBuf,
    /// The development key of a validator.
    consensus_key: Option<String>,
    rpc_port: u16,
    peer_port: u16,
    metrics_port: u16,
    peer_id: String,
}

impl NodePlan {
    /// The URL for clients.
    pub(super) fn rpc_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.rpc_port)
    }

    /// The URL for Prometheus.
    pub(super) fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.metrics_port)
    }

    /// The address for peers.
    pub(super) fn multiaddr(&self) -> String {
        format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", self.peer_port, self.peer_id)
    }

    /// The file of its log.
    pub(super) fn log_file(&self) -> PathBuf {
        self.folder.join("node.log")
    }

    /// The file of its settings.
    pub(super) fn config_file(&self) -> PathBuf {
        self.folder.join(CONFIG_FILE)
    }

    fn check_ports(&self) -> anyhow::Result<()> {
        for port in [self.rpc_port, self.peer_port, self.metrics_port] {
            check_address(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), "base-port")?;
        }
        Ok(())
    }

    fn settings(&self, spec: &Path, others: &[String], log: &str) -> anyhow::Result<String> {
        let mut text = String::from("# Written by `cairn devnet` at each start: changes here are lost.\n\n[node]\n");
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let path = |path: &Path| quoted(&path.display().to_string());
        writeln!(text, "name = {}\nrole = {}", quoted(&self.name), quoted(self.role.word()))?;
        writeln!(text, "data_dir = {}\nchain = {}", path(&self.folder), path(spec))?;
        if let Some(key) = &self.consensus_key {
            writeln!(text, "consensus_key = {}", quoted(key))?;
        }
        let listen = format!("/ip4/127.0.0.1/tcp/{}", self.peer_port);
        writeln!(text, "\n[network]\nlisten = [{}]", quoted(&listen))?;
        let others: Vec<String> = others.iter().map(|address| quoted(address)).collect();
        writeln!(text, "boot_nodes = [{}]", others.join(", "))?;
        // All nodes have one address.
        writeln!(text, "connections_per_address_max = 1000")?;
        writeln!(
            text,
            "\n[rpc]\nlisten = {}\nconnections_max = 1000",
            quoted(&format!("127.0.0.1:{}", self.rpc_port))
        )?;
        writeln!(text, "\n[metrics]\nlisten = {}", quoted(&format!("127.0.0.1:{}", self.metrics_port)))?;
        writeln!(text, "\n[log]\nlevel = {}", quoted(log))?;
        Ok(text)
    }
}

impl Plan {
    /// Makes what is missing under the folder of the network and checks that its ports are free.
    ///
    /// # Errors
    /// The folder holds another network, a file cannot be read or written, or a port is taken.
    pub(super) fn prepare(args: &DevnetArgs) -> anyhow::Result<Self> {
        let spec = spec(args)?;
        let mut nodes = Vec::new();
        for number in 1..=args.validators {
            let key = format!("//{}", development::name(number));
            nodes.push(node(args, nodes.len(), format!("validator-{number}"), Role::Validator, Some(key))?);
        }
        for number in 1..=args.archive {
            nodes.push(node(args, nodes.len(), format!("archive-{number}"), Role::Archive, None)?);
        }
        let plan = Self { folder: args.data_dir.clone(), spec, nodes };
        for node in &plan.nodes {
            node.check_ports()?;
        }
        let spec_file = plan.spec_file();
        for node in &plan.nodes {
            let others: Vec<String> =
                plan.nodes.iter().filter(|other| other.name != node.name).map(NodePlan::multiaddr).take(64).collect();
            let text = node.settings(&spec_file, &others, &args.log)?;
            let path = node.config_file();
            std::fs::write(&path, text).exit_with(ExitKind::Failure, format!("cannot write {}", path.display()))?;
        }
        Ok(plan)
    }

    /// The file of the chain spec.
    pub(super) fn spec_file(&self) -> PathBuf {
        spec_file(&self.folder)
    }
}

fn spec_file(folder: &Path) -> PathBuf {
    folder.join("spec.json")
}

/// The network's chain: that of the folder if there is one, else a new one.
fn spec(args: &DevnetArgs) -> anyhow::Result<ChainSpec> {
    let path = spec_file(&args.data_dir);
    if !path.exists() {
        let spec = ChainSpec::local(args.validators).exit_with(ExitKind::Usage, "--validators")?;
        write_new(&path, &spec.to_json())?;
        return Ok(spec);
    }
    let spec = load_spec(&path.display().to_string())?;
    let there = spec.validator_set().len();
    if there == usize::from(args.validators) {
        return Ok(spec);
    }
    let message = format!(
        "{} holds a network of {there} validators, asked for were {}: start it with --validators {there}, choose another \
         folder with --data-dir, or remove this one",
        args.data_dir.display(),
        args.validators
    );
    Err(Failure::new(ExitKind::WrongChain, message).into())
}

fn node(
    args: &DevnetArgs,
    position: usize,
    name: String,
    role: Role,
    consensus_key: Option<String>,
) -> anyhow::Result<NodePlan> {
    let folder = args.data_dir.join(&name);
    let key = key_file(&folder, KeyKind::Node);
    let pair =
        if key.exists() { keystore::read_kind(&key, KeyKind::Node)? } else { keystore::generate(&key, KeyKind::Node)? };
    let port = |above: u16| {
        let position = u16::try_from(position).ok()?;
        args.base_port.checked_add(above)?.checked_add(position)
    };
    let too_high = || Failure::new(ExitKind::Usage, format!("--base-port {}: choose a lower one", args.base_port));
    Ok(NodePlan {
        name,
        role,
        folder,
        consensus_key,
        rpc_port: port(0).ok_or_else(too_high)?,
        peer_port: port(PEER_PORTS_ABOVE).ok_or_else(too_high)?,
        metrics_port: port(METRICS_PORTS_ABOVE).ok_or_else(too_high)?,
        peer_id: keystore::peer_id(&pair.public()),
    })
}

#[cfg(test)]
mod tests {
    use super::Plan;
    use crate::cli::DevnetArgs;
    use crate::config::{Layers, load};
    use crate::exit::{ExitKind, kind_of, one_line};
    use std::path::Path;

    fn args(folder: &Path, base_port: u16) -> DevnetArgs {
        DevnetArgs {
            validators: 4,
            archive: 1,
            data_dir: folder.join("devnet"),
            base_port,
            keep_going: false,
            log: "info".into(),
        }
    }

    #[test]
    fn plan_prepared_twice_keeps_spec_and_peer_ids() {
        let folder = tempfile::tempdir().unwrap();
        let first = Plan::prepare(&args(folder.path(), 21_000)).unwrap();
        let again = Plan::prepare(&args(folder.path(), 21_300)).unwrap();
        assert_eq!(first.spec, again.spec);
        let ids = |plan: &Plan| plan.nodes.iter().map(|node| node.peer_id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&first), ids(&again));
        assert_eq!(again.nodes.len(), 5);
        assert_eq!(again.nodes[4].rpc_url(), "ws://127.0.0.1:21304");
    }

    #[test]
    fn plan_settings_are_accepted_as_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan::prepare(&args(folder.path(), 21_600)).unwrap();
        for node in &plan.nodes {
            let resolved = load(&Layers { file: Some(node.config_file()), ..Layers::default() }).unwrap();
            assert_eq!(resolved.config.node.role, node.role);
            assert_eq!(resolved.config.network.boot_nodes.len(), 4);
            assert_eq!(resolved.config.node.data_dir, node.folder);
        }
    }

    #[test]
    fn plan_with_other_validators_than_the_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        Plan::prepare(&args(folder.path(), 21_900)).unwrap();
        let error = Plan::prepare(&DevnetArgs { validators: 3, ..args(folder.path(), 21_900) }).unwrap_err();
        assert_eq!(kind_of(&error), ExitKind::WrongChain);
        assert!(one_line(&error).contains("--validators 4"), "{}", one_line(&error));
    }

    #[test]
    fn plan_with_a_port_taken_names_the_flag() {
        let folder = tempfile::tempdir().unwrap();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = Plan::prepare(&DevnetArgs { base_port: port.min(65_000), ..args(folder.path(), 0) });
        // The highest ports leave no room above them, which is refused as well.
        let error = error.unwrap_err();
        assert!(one_line(&error).contains("base-port"), "{}", one_line(&error));
    }
}
