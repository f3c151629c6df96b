//! CPU time and memory of processes, from `/proc`.

use anyhow::Context as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The kernel counts CPU time for user space in hundredths of a second on every common platform.
const TICK: Duration = Duration::from_millis(10);

/// The name of the node's program.
const PROGRAM: &str = "cairn";

/// A node process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// The folder of its configuration, else its command.
    pub name: String,
}

impl Process {
    /// What a process used so far.
    ///
    /// # Errors
    /// It has ended.
    pub fn usage_of(pid: u32) -> anyhow::Result<Usage> {
        usage(pid)
    }
}

/// What a process used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all its threads, user and system.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
}

/// The processes with these numbers, or all that run a node if none is given, sorted by name.
///
/// # Errors
/// One of them does not exist, or `/proc` cannot be read.
pub(super) fn nodes(pids: &[u32]) -> anyhow::Result<Vec<Process>> {
    if !pids.is_empty() {
        let named = pids.iter().map(|pid| {
            let arguments = arguments(*pid).with_context(|| format!("there is no process {pid}"))?;
            Ok(Process { pid: *pid, name: name(&arguments) })
        });
        return named.collect();
    }
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let program = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        // A process may end while it is looked at.
        let Ok(arguments) = arguments(pid) else { continue };
        if program.trim_end() == PROGRAM && runs_node(&arguments) {
            found.push(Process { pid, name: name(&arguments) });
        }
    }
    found.sort_by(|left, right| (&left.name, left.pid).cmp(&(&right.name, right.pid)));
    Ok(found)
}

/// What a process used so far.
///
/// # Errors
/// It has ended.
pub(super) fn usage(pid: u32) -> anyhow::Result<Usage> {
    let read = |file: &str| {
        fs::read_to_string(format!("/proc/{pid}/{file}")).with_context(|| format!("process {pid} has ended"))
    };
    let ticks = cpu_ticks(&read("stat")?).context("/proc/<pid>/stat is not understood")?;
    let kilobytes = field_kilobytes(&read("status")?, "VmRSS:").unwrap_or_default();
    Ok(Usage { cpu: TICK.saturating_mul(u32::try_from(ticks)?), resident_bytes: kilobytes.saturating_mul(1024) })
}

fn arguments(pid: u32) -> anyhow::Result<Vec<String>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline"))?;
    Ok(bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

fn runs_node(arguments: &[String]) -> bool {
    arguments.iter().skip(1).any(|word| word == "run" || word == "dev")
}

/// `validator-1` for `cairn run --config devnet/validator-1/cairn.toml`.
fn name(arguments: &[String]) -> String {
    let config = arguments.iter().position(|word| word == "--config" || word == "-c");
    let file = config.and_then(|position| arguments.get(position.checked_add(1)?));
    let folder = file.and_then(|file| Path::new(file).parent()?.file_name()?.to_str());
    let command = || arguments.iter().skip(1).find(|word| !word.starts_with('-')).map(String::as_str);
    folder.or_else(command).unwrap_or(PROGRAM).to_owned()
}

/// User and system time: fields 14 and 15, counted after the program's name, which may hold spaces and parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    next()?.checked_add(next()?)
}

fn field_kilobytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{cpu_ticks, field_kilobytes, name, nodes, runs_node, usage};

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn cpu_time_is_found_behind_a_name_with_parentheses() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194304 100 0 0 0 123 45 0 0 20 0 5 0 100 1000 200";
        assert_eq!(cpu_ticks(stat), Some(168));
        assert_eq!(cpu_ticks("7 (x) S 1"), None);
    }

    #[test]
    fn memory_is_found_in_the_status() {
        assert_eq!(field_kilobytes("Name:\tcairn\nVmRSS:\t   2048 kB\n", "VmRSS:"), Some(2048));
        assert_eq!(field_kilobytes("Name:\tcairn\n", "VmRSS:"), None);
    }

    #[test]
    fn node_process_is_named_after_its_folder() {
        assert_eq!(name(&words("cairn run --config devnet/validator-1/cairn.toml")), "validator-1");
        assert_eq!(name(&words("/bin/cairn --json dev")), "dev");
        assert!(runs_node(&words("cairn --json dev")));
        assert!(!runs_node(&words("cairn devnet --validators 4")));
    }

    #[test]
    fn own_process_uses_memory_and_an_unknown_one_is_an_error() {
        assert!(usage(std::process::id()).unwrap().resident_bytes > 0);
        assert!(nodes(&[u32::MAX]).is_err());
    }
}
