//! The processes of a network: started together, watched, stopped together.

use super::plan::{NodePlan, Plan};
use crate::exit::{ExitContext as _, ExitKind, Failure};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, ChildStdin, Command};

/// How long nodes may take to stop before they are killed: a little more than they give themselves.
const STOP_TIME_MAX: Duration = Duration::from_secs(12);

/// How much of a log is looked at for its last lines, in bytes.
const TAIL_BYTES: u64 = 8 << 10;

/// How many of its last lines are shown.
const TAIL_LINES: usize = 12;

/// The nodes that run.
#[derive(Debug)]
pub(super) struct Processes(Vec<Process>);

#[derive(Debug)]
struct Process {
    plan: NodePlan,
    child: Child,
    /// The node stops when this is closed, by us or by our end.
    input: Option<ChildStdin>,
}

impl Processes {
    /// Starts every node of a plan.
    ///
    /// # Errors
    /// A process cannot be started; those that were are killed.
    pub(super) fn start(plan: &Plan) -> anyhow::Result<Self> {
        plan.nodes.iter().map(Process::start).collect::<anyhow::Result<_>>().map(Self)
    }

    /// How many run.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Waits until one of them ends by itself and takes it off the list; the error says which and why. For ever if none
    /// runs.
    pub(super) async fn first_end(&mut self) -> anyhow::Error {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let ends = self.0.iter_mut().map(|process| Box::pin(process.child.wait()));
        let (end, position, _) = futures::future::select_all(ends).await;
        let process = self.0.remove(position);
        let how = end.map_or_else(|error| error.to_string(), |status| status.to_string());
        let log = process.plan.log_file();
        let message = format!("{} ended ({how}); the end of {}:\n{}", process.plan.name, log.display(), tail(&log));
        Failure::new(ExitKind::Child, message).into()
    }

    /// Stops all: asks them, waits, kills the rest; gives the names of those that were killed.
    pub(super) async fn stop(mut self) -> Vec<String> {
        for process in &mut self.0 {
            drop(process.input.take());
        }
        let stops = self.0.iter_mut().map(|process| async move {
            let name = process.plan.name.clone();
            match tokio::time::timeout(STOP_TIME_MAX, process.child.wait()).await {
                Ok(_) => None,
                Err(_) => process.child.kill().await.map_or(Some(name.clone()), |()| Some(name)),
            }
        });
        futures::future::join_all(stops).await.into_iter().flatten().collect()
    }
}

impl Process {
    fn start(plan: &NodePlan) -> anyhow::Result<Self> {
        let log = plan.log_file();
        let cannot = format!("cannot write {}", log.display());
        if log.exists() {
            std::fs::rename(&log, log.with_extension("log.1")).exit_with(ExitKind::Failure, cannot.clone())?;
        }
        let file = File::create(&log).exit_with(ExitKind::Failure, cannot.clone())?;
        let again = file.try_clone().exit_with(ExitKind::Failure, cannot)?;
        let program = std::env::current_exe().exit_with(ExitKind::Failure, "cannot find this program's own file")?;
        let mut command = Command::new(program);
        command
            .args(["run", "--exit-with-parent", "--config"])
            .arg(plan.config_file())
            .stdin(Stdio::piped())
            .stdout(file)
            .stderr(again)
            .kill_on_drop(true);
        // The file alone decides: a variable meant for one node would change them all.
        let ours =
            std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("CAIRN_"));
        for name in ours {
            command.env_remove(name);
        }
        // A group of its own: Ctrl-C reaches this process alone, which then stops the nodes in order.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn().exit_with(ExitKind::Failure, format!("cannot start {}", plan.name))?;
        let input = child.stdin.take();
        Ok(Self { plan: plan.clone(), child, input })
    }
}

/// The last lines of a log; empty if it cannot be read.
fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines.iter().skip(from).map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::{TAIL_LINES, tail};

    #[test]
    fn tail_of_long_log_is_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.log");
        let text: String = (0..5_000).map(|number| format!("line {number}\n")).collect();
        std::fs::write(&path, text).unwrap();
        let shown = tail(&path);
        assert_eq!(shown.lines().count(), TAIL_LINES);
        assert!(shown.ends_with("  line 4999\n"), "{shown}");
        assert_eq!(tail(&folder.path().join("missing")), "");
    }
}
