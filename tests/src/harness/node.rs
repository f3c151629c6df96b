//! One node as a child process.

use super::program::{self, Finished};
use super::until;
use crate::rpc::Rpc;
use anyhow::{Context as _, bail, ensure};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tokio::process::Child;
use tokio::time::{Instant, timeout};

/// Lines of a log that are shown when a test fails.
const TAIL_LINES: usize = 25;

/// Ports from here on are tried; those that the system gives to outgoing connections begin at 32,768.
const PORT_FIRST: u16 = 10_000;

/// How many ports one test program goes through.
const PORTS_LEN: u16 = 400;

/// How many test programs can run at the same time without meeting, if their process ids follow each other.
const PROGRAMS: u32 = 50;

static PORTS_TAKEN: AtomicU16 = AtomicU16::new(0);

/// Ports that are free now and that no other test of this program gets.
///
/// # Errors
/// None are free.
pub fn ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let process = u16::try_from(std::process::id() % PROGRAMS)?;
    let first = PORT_FIRST + process * PORTS_LEN;
    let mut found = Vec::new();
    while found.len() < count {
        let next = PORTS_TAKEN.fetch_add(1, Ordering::Relaxed);
        ensure!(next < PORTS_LEN, "this test program used {PORTS_LEN} ports: raise PORTS_LEN");
        if TcpListener::bind(("127.0.0.1", first + next)).is_ok() {
            found.push(first + next);
        }
    }
    Ok(found)
}

/// A signal short of SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: what service managers send.
    Terminate,
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGSTOP: the process stands still and cannot help it.
    Pause,
    /// SIGCONT: it goes on.
    Continue,
}

impl Signal {
    /// Sends it.
    ///
    /// # Errors
    /// The process has ended.
    pub fn send(self, pid: u32) -> anyhow::Result<()> {
        let name = match self {
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
            Self::Pause => "STOP",
            Self::Continue => "CONT",
        };
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status()?;
        ensure!(sent.success(), "process {pid} cannot be signalled");
        Ok(())
    }
}

/// Waits until a child ends.
///
/// # Errors
/// It takes longer than the patience of tests.
pub async fn wait_for_end(child: &mut Child) -> anyhow::Result<ExitStatus> {
    Ok(timeout(super::PATIENCE, child.wait()).await.context("the process does not end")??)
}

/// Where a node runs: in a network namespace with addresses of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The namespace.
    pub namespace: String,
    /// The address that it listens on for peers.
    pub peers: String,
    /// The address that it listens on for clients.
    pub clients: String,
}

/// What a node's configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `validator`, `rpc` or `archive`.
    pub role: &'static str,
    /// The chain spec's file.
    pub chain: PathBuf,
    /// The development key that votes, such as `//Alice`.
    pub consensus_key: Option<String>,
    /// The key that votes from a later epoch on.
    pub next_consensus_key: Option<String>,
    /// Addresses of other nodes.
    pub boot_nodes: Vec<String>,
    /// Further lines of the section `[network]`.
    pub network: Vec<String>,
    /// Further lines of the section `[rpc]`.
    pub rpc: Vec<String>,
    /// The lines of the section `[sync]`.
    pub sync: Vec<String>,
    /// Where it runs; on loopback if nowhere else.
    pub place: Option<Place>,
}

/// A node: its folder, and its process while it runs.
#[derive(Debug)]
pub struct Node {
    /// Its name and that of its folder.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its settings, written when it starts.
    pub settings: Settings,
    rpc_port: u16,
    peer_port: u16,
    metrics_port: u16,
    peer_id: String,
    child: Option<Child>,
}

impl Node {
    /// A node with a folder and a key, not running.
    ///
    /// # Errors
    /// There are no ports, or the folder cannot be made.
    pub fn new(parent: &Path, name: &str, settings: Settings) -> anyhow::Result<Self> {
        let folder = parent.join(name);
        fs::create_dir_all(&folder)?;
        let key = folder.join("keys").join("node.json");
        let arguments = ["--json", "keys", "generate", "--kind", "node", "--out"].map(Into::into);
        let Finished { code, stdout, stderr } =
            program::cairn(&folder, arguments.into_iter().chain([key.into_os_string()]))?;
        ensure!(code == Some(0), "no node key: {stderr}");
        let made: serde_json::Value = serde_json::from_str(&stdout)?;
        let peer_id = made["peer_id"].as_str().context("a node key has a peer id")?.to_owned();
        let [rpc_port, peer_port, metrics_port] = ports(3)?[..] else { bail!("three ports") };
        Ok(Self { name: name.into(), folder, settings, rpc_port, peer_port, metrics_port, peer_id, child: None })
    }

    /// The URL for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}:{}", self.client_host(), self.rpc_port)
    }

    fn client_host(&self) -> &str {
        self.settings.place.as_ref().map_or("127.0.0.1", |place| &place.clients)
    }

    fn peer_host(&self) -> &str {
        self.settings.place.as_ref().map_or("127.0.0.1", |place| &place.peers)
    }

    /// The address for clients, of a node on loopback.
    #[must_use]
    pub fn rpc_address(&self) -> (&'static str, u16) {
        ("127.0.0.1", self.rpc_port)
    }

    /// The address of the metrics.
    #[must_use]
    pub fn metrics_address(&self) -> (String, u16) {
        (self.client_host().to_owned(), self.metrics_port)
    }

    /// The address for peers.
    #[must_use]
    pub fn multiaddr(&self) -> String {
        format!("/ip4/{}/tcp/{}/p2p/{}", self.peer_host(), self.peer_port, self.peer_id)
    }

    /// The folder of the database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.folder.join("db")
    }

    /// What it logged, over all starts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.log_file()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The process's number while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Whether the process has ended without having been killed or stopped from here.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        let ended = self.child.as_mut().map(Child::try_wait).transpose()?;
        Ok(ended.flatten().is_some())
    }

    /// The file of everything it logs, over all starts.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("node.log")
    }

    /// Writes the configuration and gives its file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn configure(&self) -> anyhow::Result<PathBuf> {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let path = |path: &Path| quoted(&path.display().to_string());
        let Settings { role, chain, consensus_key, next_consensus_key, boot_nodes, network, rpc, sync, place } =
            &self.settings;
        let boot_nodes: Vec<String> = boot_nodes.iter().map(|address| quoted(address)).collect();
        let mut text = format!(
            "[node]\nname = {}\nrole = \"{role}\"\ndata_dir = {}\nchain = {}\n",
            quoted(&self.name),
            path(&self.folder),
            path(chain)
        );
        if let Some(key) = consensus_key {
            writeln!(text, "consensus_key = {}", quoted(key))?;
        }
        if let Some(key) = next_consensus_key {
            writeln!(text, "next_consensus_key = {}", quoted(key))?;
        }
        writeln!(text, "[network]\nlisten = [\"/ip4/{}/tcp/{}\"]", self.peer_host(), self.peer_port)?;
        writeln!(text, "boot_nodes = [{}]", boot_nodes.join(", "))?;
        for line in network {
            writeln!(text, "{line}")?;
        }
        writeln!(text, "[sync]\n{}", sync.join("\n"))?;
        let host = self.client_host();
        writeln!(text, "[rpc]\nlisten = \"{host}:{}\"", self.rpc_port)?;
        if place.is_some() {
            writeln!(text, "allow_public = true")?;
        }
        for line in rpc {
            writeln!(text, "{line}")?;
        }
        writeln!(text, "[metrics]\nlisten = \"{host}:{}\"", self.metrics_port)?;
        let file = self.folder.join("cairn.toml");
        fs::write(&file, text)?;
        Ok(file)
    }

    /// Starts the process and waits until it answers.
    ///
    /// # Errors
    /// It ends, or does not answer.
    pub async fn start(&mut self) -> anyhow::Result<Rpc> {
        self.spawn()?;
        self.connect().await
    }

    /// Starts the process.
    ///
    /// # Errors
    /// It runs already, or cannot be started.
    pub fn spawn(&mut self) -> anyhow::Result<()> {
        ensure!(self.child.is_none(), "{} runs already", self.name);
        let config = self.configure()?;
        let log = OpenOptions::new().create(true).append(true).open(self.log_file())?;
        let again: File = log.try_clone()?;
        let mut command = match &self.settings.place {
            None => program::command(&self.folder)?,
            Some(place) => program::command_in(&self.folder, &place.namespace)?,
        };
        command.args(["run", "--exit-with-parent", "--config"]).arg(config);
        command.stdin(Stdio::piped()).stdout(log).stderr(again);
        let mut command = tokio::process::Command::from(command);
        self.child = Some(command.kill_on_drop(true).spawn().with_context(|| format!("cannot start {}", self.name))?);
        Ok(())
    }

    /// Connects to a node that is starting.
    ///
    /// # Errors
    /// It ends, or does not answer.
    pub async fn connect(&mut self) -> anyhow::Result<Rpc> {
        let url = self.url();
        let deadline = Instant::now() + super::PATIENCE;
        loop {
            let child = self.child.as_mut().with_context(|| format!("{} does not run", self.name))?;
            if let Some(status) = child.try_wait()? {
                bail!("{} ended while starting ({status}): {}", self.name, self.tail());
            }
            match Rpc::connect(&url).await {
                Ok(rpc) => return Ok(rpc),
                Err(error) if Instant::now() > deadline => return Err(error.context(self.tail())),
                Err(_) => tokio::time::sleep(super::LOOK_INTERVAL).await,
            }
        }
    }

    /// Kills the process as `kill -9` does.
    ///
    /// # Errors
    /// It does not run.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().with_context(|| format!("{} does not run", self.name))?;
        Ok(child.kill().await?)
    }

    /// Sends a signal and waits until the process ends; gives its end and how long that took.
    ///
    /// # Errors
    /// It does not run, or does not end.
    pub async fn stop(&mut self, signal: Signal) -> anyhow::Result<(ExitStatus, Duration)> {
        let started = Instant::now();
        signal.send(self.pid().with_context(|| format!("{} does not run", self.name))?)?;
        let status = self.end().await?;
        Ok((status, started.elapsed()))
    }

    /// Waits until the process ends by itself.
    ///
    /// # Errors
    /// It does not run, or does not end.
    pub async fn end(&mut self) -> anyhow::Result<ExitStatus> {
        let mut child = self.child.take().with_context(|| format!("{} does not run", self.name))?;
        wait_for_end(&mut child).await.with_context(|| self.tail())
    }

    /// Waits until the log holds a text.
    ///
    /// # Errors
    /// It does not come.
    pub async fn logs(&self, text: &str) -> anyhow::Result<()> {
        let look = || async { Ok(self.log().contains(text).then_some(())) };
        until(&format!("`{text}` in the log of {}", self.name), look).await.with_context(|| self.tail())
    }

    /// The last lines of the log.
    #[must_use]
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(TAIL_LINES);
        format!("the end of the log of {}:\n  {}", self.name, lines.get(from..).unwrap_or_default().join("\n  "))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}
