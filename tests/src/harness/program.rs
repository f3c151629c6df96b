//! The program under test.

use super::Signal;
use anyhow::{Context as _, bail};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

/// Names the program to test in place of the one built beside the test.
const VARIABLE: &str = "CAIRN_BINARY";

/// The node's program: `$CAIRN_BINARY`, else `cairn` in the folder that this test was built into.
///
/// # Errors
/// It does not exist.
pub fn program() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os(VARIABLE) {
        let named = PathBuf::from(named);
        anyhow::ensure!(named.is_file(), "{VARIABLE} names {}, which is no file", named.display());
        return Ok(named);
    }
    let test = std::env::current_exe().context("where this test is")?;
    // Tests are in target/<profile>/deps, programs beside that folder.
    let beside = test.ancestors().skip(1).take(2).map(|folder| folder.join("cairn")).find(|path| path.is_file());
    match beside {
        Some(path) => Ok(path),
        None => {
            bail!("no program `cairn` beside {}: build it with `make build` or name it with {VARIABLE}", test.display())
        }
    }
}

/// A command that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// Its messages.
    pub stderr: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

/// A command of the program that leaves its settings to files and flags.
pub(crate) fn command(folder: &Path) -> anyhow::Result<Command> {
    Ok(prepared(Command::new(program()?), folder))
}

/// The same in a network namespace; the process is the program itself, which takes the place of `ip`.
pub(crate) fn command_in(folder: &Path, namespace: &str) -> anyhow::Result<Command> {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program()?);
    Ok(prepared(command, folder))
}

fn prepared(mut command: Command, folder: &Path) -> Command {
    let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("CAIRN_"));
    for name in ours {
        command.env_remove(name);
    }
    command.current_dir(folder);
    command
}

/// Starts a command of the program; what it prints is kept for who waits for its end.
///
/// # Errors
/// The program cannot be started.
pub(crate) fn start(folder: &Path, arguments: &[OsString]) -> anyhow::Result<Child> {
    let mut command = command(folder)?;
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().context("cannot start the program")
}

/// A command that takes longer was meant to end and runs as a node, say: it is ended.
const COMMAND_LIMIT: Duration = Duration::from_secs(300);

/// Runs a command of the program to its end.
///
/// # Errors
/// The program cannot be started, or does not end.
pub fn cairn<I: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = I>) -> anyhow::Result<Finished> {
    let arguments: Vec<OsString> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
    let child = start(folder, &arguments)?;
    let pid = child.id();
    let (sender, receiver) = sync_channel(1);
    // Who waits no more needs no answer.
    let waiting = thread::spawn(move || drop(sender.send(child.wait_with_output())));
    let Ok(output) = receiver.recv_timeout(COMMAND_LIMIT) else {
        Signal::Terminate.send(pid)?;
        waiting.join().map_err(|_| anyhow::anyhow!("the waiting thread ended by a panic"))?;
        bail!("`cairn {arguments:?}` did not end within {} s", COMMAND_LIMIT.as_secs());
    };
    Ok(output.context("what the program printed")?.into())
}
