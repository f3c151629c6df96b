//! Time on the clock and time of all threads.

use anyhow::Context;
use std::iter::Sum;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

/// Clock ticks of `/proc/self/stat`: 100 a second on Linux, whatever the kernel's own are.
const TICK: Duration = Duration::from_millis(10);

/// What something took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// On the clock.
    pub(crate) wall: Duration,
    /// Of all threads of the process, in user and kernel mode, to 10 ms.
    pub(crate) cpu: Duration,
}

impl Cost {
    /// What is left of this cost without another one.
    pub(crate) fn without(self, other: Self) -> Self {
        Self { wall: self.wall.saturating_sub(other.wall), cpu: self.cpu.saturating_sub(other.cpu) }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.wall += other.wall;
        self.cpu += other.cpu;
    }
}

impl<'a> Sum<&'a Self> for Cost {
    fn sum<I: Iterator<Item = &'a Self>>(costs: I) -> Self {
        costs.fold(Self::default(), |mut sum, cost| {
            sum += *cost;
            sum
        })
    }
}

/// Runs something and says what it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, Cost)> {
    let (started, before) = (Instant::now(), cpu()?);
    let done = work()?;
    Ok((done, Cost { wall: started.elapsed(), cpu: cpu()?.saturating_sub(before) }))
}

/// As [`timed`], added to a sum.
pub(crate) fn add_to<T>(sum: &mut Cost, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let (done, cost) = timed(work)?;
    *sum += cost;
    Ok(done)
}

/// User and system time of this process.
fn cpu() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
    let fields = stat.rsplit_once(')').context("/proc/self/stat has no name")?.1;
    // After the name come the fields from the third on; user and system time are the 14th and 15th.
    let mut times = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || -> anyhow::Result<u32> { Ok(times.next().context("/proc/self/stat is short")?.parse()?) };
    Ok(TICK * (ticks()? + ticks()?))
}
