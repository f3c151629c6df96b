//! `cairn db check` on a folder: what it says, how long it takes, how much memory.

use crate::harness::{Finished, start};
use anyhow::Context as _;
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// How often the memory of the process is looked at. The system keeps the peak, so that only the last moment can be missed.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A check that ended.
pub(super) struct Checked {
    pub(super) code: Option<i32>,
    /// Each damage as one text: table, place, reason, files; a message where there is nothing else.
    pub(super) found: Vec<Found>,
    /// What else it counted.
    pub(super) report: Value,
    pub(super) took: Duration,
    /// The most memory the process had, in KiB.
    pub(super) peak_kib: u64,
}

/// One place that the check named.
#[derive(Debug)]
pub(super) struct Found {
    /// Empty for a file that is known by its name alone.
    pub(super) table: String,
    pub(super) place: String,
    /// Place, reason and files.
    pub(super) text: String,
}

/// Checks the database of a data folder.
pub(super) fn check(data_dir: &Path, spec: &Path) -> anyhow::Result<Checked> {
    let started = Instant::now();
    let mut arguments = ["--json", "db", "check", "--chain"].map(OsString::from).to_vec();
    arguments.extend([spec.into(), "--data-dir".into(), data_dir.into()]);
    let child = start(data_dir, &arguments)?;
    let (pid, (ended, has_ended)) = (child.id(), sync_channel(1));
    let watch = thread::spawn(move || {
        let mut peak = 0;
        while has_ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            peak = peak_memory_kib(pid).unwrap_or(peak);
        }
        peak
    });
    let output = child.wait_with_output()?;
    let took = started.elapsed();
    ended.send(()).context("the watching thread is gone")?;
    let peak_kib = watch.join().map_err(|_| anyhow::anyhow!("the watching thread ended by a panic"))?;
    let Finished { code, stdout, stderr } = output.into();
    let report = if stdout.is_empty() { Value::Null } else { serde_json::from_str(&stdout)? };
    let mut found = named(&report);
    found.push(Found { table: String::new(), place: String::new(), text: stderr });
    Ok(Checked { code, found, report, took, peak_kib })
}

fn named(report: &Value) -> Vec<Found> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let list = |name: &str| report[name].as_array().cloned().unwrap_or_default();
    let records = list("damages").into_iter().map(|damage| Found {
        table: text(&damage["table"]),
        place: text(&damage["place"]),
        text: format!("{}: {} {}", text(&damage["place"]), text(&damage["reason"]), damage["files"]),
    });
    let files = list("files").into_iter().map(|file| Found {
        table: String::new(),
        place: text(&file["file"]),
        text: format!("{}: {}", text(&file["file"]), text(&file["reason"])),
    });
    records.chain(files).collect()
}

fn peak_memory_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
