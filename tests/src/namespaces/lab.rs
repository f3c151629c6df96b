//! Namespaces, and a line from each to the others and to clients.

use super::air::{Air, MTU};
use crate::harness::{Network, Place};
use anyhow::{Context as _, ensure};
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;
use tokio_tun::Tun;

/// The bridge of clients.
const CLIENTS: &str = "cairn-ctl";

/// A namespace that is made to see whether one can be.
const PROBE: &str = "cairn-probe";

/// The first node's address for peers.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// The most nodes: what an earlier run left is looked for up to here.
const NODES_MAX: usize = 32;

/// What the stories need and this machine does not have; `None` if nothing is missing.
#[must_use]
pub fn missing() -> Option<String> {
    if Command::new("ip").arg("-V").output().is_err() {
        return Some("there is no program `ip` (package iproute2)".to_owned());
    }
    let made = run(&["ip", "netns", "add", PROBE]).and_then(|()| run(&["ip", "netns", "del", PROBE]));
    if let Err(error) = made {
        return Some(format!("network namespaces cannot be made, which takes root: {error:#}"));
    }
    std::fs::File::open("/dev/net/tun").err().map(|error| format!("/dev/net/tun cannot be opened: {error}"))
}

fn run(words: &[&str]) -> anyhow::Result<()> {
    let (program, arguments) = words.split_first().context("a command has a name")?;
    let output = Command::new(program).args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{}`: {}", words.join(" "), said.trim());
    Ok(())
}

/// The lines of a network; taken down at the end.
#[derive(Debug)]
pub(super) struct Lab {
    air: Air,
    _ground: Ground,
}

/// The namespaces and what is in them.
#[derive(Debug)]
struct Ground {
    nodes: usize,
}

fn namespace(node: usize) -> String {
    format!("cairn-{}", node + 1)
}

/// The outer end of a node's line for clients.
fn clients_end(node: usize) -> String {
    format!("cairnc{}", node + 1)
}

impl Drop for Ground {
    fn drop(&mut self) {
        // What is gone already cannot be removed again.
        for node in 0..self.nodes {
            // A namespace lives on while a process is in it, and its line with it: that is cut from outside.
            drop(run(&["ip", "link", "del", &clients_end(node)]));
            drop(run(&["ip", "netns", "del", &namespace(node)]));
        }
        drop(run(&["ip", "link", "del", CLIENTS]));
    }
}

impl Lab {
    /// Makes a namespace and lines for each node of a network, and tells the nodes.
    pub(super) fn make(network: &mut Network) -> anyhow::Result<Self> {
        let nodes = network.nodes.len();
        ensure!(nodes <= NODES_MAX, "{nodes} nodes, at most {NODES_MAX}");
        drop(Ground { nodes: NODES_MAX });
        let ground = Ground { nodes };
        run(&["ip", "link", "add", CLIENTS, "type", "bridge"])?;
        run(&["ip", "link", "set", CLIENTS, "up"])?;
        run(&["ip", "address", "add", "10.78.0.254/24", "dev", CLIENTS])?;
        let mut devices = Vec::new();
        for (node, process) in network.nodes.iter_mut().enumerate() {
            let name = namespace(node);
            run(&["ip", "netns", "add", &name])?;
            run(&["ip", "-n", &name, "link", "set", "lo", "up"])?;
            let peers = Ipv4Addr::from(u32::from(FIRST) + u32::try_from(node)?).to_string();
            let clients = format!("10.78.0.{}", node + 1);
            devices.push(peers_line(&name, node, &peers)?);
            clients_line(&name, &clients_end(node), &clients)?;
            process.settings.place = Some(Place { namespace: name, peers, clients });
        }
        let addresses: Vec<_> = network.nodes.iter().map(|node| node.multiaddr()).collect();
        for (position, node) in network.nodes.iter_mut().enumerate() {
            let others = addresses.iter().enumerate().filter(|(other, _)| *other != position);
            node.settings.boot_nodes = others.map(|(_, address)| address.clone()).collect();
        }
        Ok(Self { air: Air::connect(devices, FIRST), _ground: ground })
    }

    /// Delays each node's packets to its peers, and loses so many of a thousand.
    pub(super) fn shape(&self, delay: Duration, lost_permille: u32) -> anyhow::Result<()> {
        self.air.shape(delay, lost_permille)
    }

    /// Puts each node on a side; sides do not reach each other.
    pub(super) fn split(&self, sides: &[&[usize]]) {
        self.air.split(sides);
    }

    /// Puts everybody together again.
    pub(super) fn heal(&self) {
        self.air.split(&[]);
    }

    /// Bytes and packets that all nodes together have sent to peers, IP headers included.
    pub(super) fn sent(&self) -> (u64, u64) {
        self.air.sent()
    }
}

/// A device for peers in a namespace, and its other end: it stays with this process when the device moves.
fn peers_line(namespace: &str, node: usize, address: &str) -> anyhow::Result<Tun> {
    let name = format!("cairnd{}", node + 1);
    let made = Tun::builder().name(&name).mtu(i32::from(MTU)).build().with_context(|| format!("device {name}"))?;
    run(&["ip", "link", "set", &name, "netns", namespace])?;
    run(&["ip", "-n", namespace, "address", "add", &format!("{address}/24"), "dev", &name])?;
    run(&["ip", "-n", namespace, "link", "set", &name, "mtu", &MTU.to_string(), "up"])?;
    made.into_iter().next().context("a device")
}

fn clients_line(namespace: &str, outer: &str, address: &str) -> anyhow::Result<()> {
    run(&["ip", "link", "add", outer, "type", "veth", "peer", "name", "clients0", "netns", namespace])?;
    run(&["ip", "link", "set", outer, "master", CLIENTS, "up"])?;
    run(&["ip", "-n", namespace, "address", "add", &format!("{address}/24"), "dev", "clients0"])?;
    run(&["ip", "-n", namespace, "link", "set", "clients0", "up"])
}
