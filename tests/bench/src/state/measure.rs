//! One step of one peer, in this process: filling its database, or measuring blocks on it.

use crate::peers::{Name, Peer};
use crate::workload::{self, Random};
use crate::{Arguments, directory};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Proofs that are made for the proof time.
const PROOFS: u64 = 10_000;
/// Ticks of processor time in a second, as Linux counts them for processes.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a step found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The peer.
    pub peer: String,
    /// Accounts before the first block.
    pub accounts: u64,
    /// Seconds to open the database.
    pub open_seconds: f64,
    /// Writes in a second over all measured blocks.
    pub writes_per_second: f64,
    /// The mean cost of a write, in microseconds, and of its read alone.
    pub write_micros: f64,
    /// Of it, reading.
    pub read_micros: f64,
    /// The cost of a write in the median block, in microseconds.
    pub median_micros: f64,
    /// The cost of a write in the slowest block, in microseconds.
    pub slowest_micros: f64,
    /// Processor time for a write on all threads, in microseconds.
    pub cpu_micros: f64,
    /// The mean time of a proof, in microseconds.
    pub proof_micros: f64,
    /// Resident memory at the end, and at its highest, in MiB.
    pub resident_mib: f64,
    /// Resident memory at its highest, in MiB.
    pub peak_mib: f64,
    /// Files, in MiB.
    pub disk_mib: f64,
    /// The state root at the end.
    pub root: String,
}

/// Fills the database (`first_block` zero) or measures from a block on.
pub fn step(name: Name, first_block: u64, arguments: &Arguments) -> Result<Outcome> {
    let path = directory(arguments, name);
    if first_block == 0 && path.exists() {
        std::fs::remove_dir_all(&path)?;
    }
    std::fs::create_dir_all(&path)?;
    let started = Instant::now();
    let mut peer = name.open(&path, arguments.cache_mib, arguments.accounts)?;
    let open_seconds = started.elapsed().as_secs_f64();
    let mut times = Vec::new();
    let mut cpu = 0.0;
    let mut proof_micros = 0.0;
    if first_block == 0 {
        let started = Instant::now();
        for first in (0..arguments.accounts).step_by(usize::try_from(workload::FILL)?) {
            let accounts = first..(first + workload::FILL).min(arguments.accounts);
            peer.commit(accounts.map(|account| (workload::key(account), workload::value(account))).collect())?;
        }
        times.push((Duration::ZERO, started.elapsed()));
    } else {
        for number in first_block..first_block + arguments.warm_up_blocks {
            block(&mut *peer, number, arguments.accounts)?;
        }
        let first = first_block + arguments.warm_up_blocks;
        for number in first..first + arguments.blocks {
            let (read, all, used) = block(&mut *peer, number, arguments.accounts)?;
            times.push((read, all));
            cpu += used;
        }
        proof_micros = proofs(&mut *peer, arguments.accounts)?;
    }
    let root = hex(&peer.root());
    let (resident_mib, peak_mib) = memory()?;
    drop(peer);
    let writes = if first_block == 0 { arguments.accounts } else { workload::UPDATES + workload::INSERTS } as f64;
    let micros = |time: &Duration| time.as_secs_f64() * 1e6 / writes;
    let mut costs: Vec<_> = times.iter().map(|(_, all)| micros(all)).collect();
    costs.sort_by(f64::total_cmp);
    let blocks = times.len() as f64;
    let mean = costs.iter().sum::<f64>() / blocks;
    Ok(Outcome {
        peer: name.to_string(),
        accounts: arguments.accounts,
        open_seconds,
        writes_per_second: 1e6 / mean,
        write_micros: mean,
        read_micros: times.iter().map(|(read, _)| micros(read)).sum::<f64>() / blocks,
        median_micros: costs[costs.len() / 2],
        slowest_micros: costs[costs.len() - 1],
        cpu_micros: cpu * 1e6 / writes / blocks,
        proof_micros,
        resident_mib,
        peak_mib,
        disk_mib: disk_bytes(&path)? as f64 / f64::from(1 << 20),
        root,
    })
}

/// Runs one block; returns the time of its reads, its whole time, and its processor time in seconds.
fn block(peer: &mut dyn Peer, number: u64, accounts: u64) -> Result<(Duration, Duration, f64)> {
    let block = workload::block(number, accounts);
    let cpu = processor_seconds()?;
    let started = Instant::now();
    let values = peer.read(&block.updates)?;
    let read = started.elapsed();
    let mut changes = block.inserts;
    for (key, value) in block.updates.into_iter().zip(values) {
        let mut value = value.context("an account is missing")?;
        workload::bump(&mut value);
        changes.push((key, value));
    }
    peer.commit(changes)?;
    Ok((read, started.elapsed(), processor_seconds()? - cpu))
}

fn proofs(peer: &mut dyn Peer, accounts: u64) -> Result<f64> {
    let mut random = Random(7);
    let keys: Vec<_> = (0..PROOFS).map(|_| workload::key(random.next() % accounts)).collect();
    let started = Instant::now();
    for key in &keys {
        peer.prove(key)?;
    }
    let micros = started.elapsed().as_secs_f64() * 1e6 / PROOFS as f64;
    for key in keys.iter().take(10) {
        let value = peer.read(std::slice::from_ref(key))?.pop().flatten().context("an account is missing")?;
        ensure!(peer.check_proof(key, &value)?, "a proof does not verify");
    }
    Ok(micros)
}

/// Resident memory now and at its highest, in MiB.
fn memory() -> Result<(f64, f64)> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| -> Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("a line of /proc/self/status")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

fn processor_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, after_name) = stat.rsplit_once(')').context("a name in /proc/self/stat")?;
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / TICKS_PER_SECOND)
}

fn disk_bytes(path: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
