//! Tells the operator of rules that are to come, in good time.
//!
//! A binary that has the coming rules needs nothing. One that lacks them stops before they begin (see [`super::ledger`]),
//! so it says at every start and every hour when that will be.

use cairn_ledger::Reader;
use cairn_primitives::Height;
use cairn_runtime::{Rules, Upgrade};
use std::time::Duration;
use tokio::sync::watch;

/// How often a change to unknown rules is told.
const REMINDER_INTERVAL: Duration = Duration::from_secs(3_600);

/// How many blocks the pace of the chain is taken from.
const PACE_BLOCKS: u32 = 1_000;

/// What the task works with.
pub struct UpgradeWatch {
    /// Where rules and blocks are read.
    pub reader: Reader,
    /// Closes when the node stops.
    pub stop: watch::Receiver<()>,
}

impl UpgradeWatch {
    /// Runs until the node stops.
    ///
    /// # Errors
    /// The pace of the chain cannot be read.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(REMINDER_INTERVAL);
        let mut started = true;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = self.stop.changed() => return Ok(()),
            }
            let head = self.reader.head().height;
            let coming = self.reader.rules().upgrades().iter().find(|upgrade| upgrade.height > head.next());
            if let Some(upgrade) = coming {
                self.tell(head, upgrade, started)?;
            }
            started = false;
        }
    }

    fn tell(&self, head: Height, upgrade: &Upgrade, started: bool) -> anyhow::Result<()> {
        let Upgrade { height, spec_version } = *upgrade;
        let blocks = height.0.saturating_sub(head.0);
        if Rules::from_spec_version(spec_version).is_some() {
            if started {
                tracing::info!(spec_version, from = %height, blocks, "the rules change; this binary has the new ones");
            }
            return Ok(());
        }
        tracing::warn!(
            spec_version,
            from = %height,
            blocks,
            in_about = self.time_left(head, blocks)?,
            "the rules change to ones that this binary does not have: it stops before them; install a version of cairn that \
             has them until then"
        );
        Ok(())
    }

    /// How long so many blocks take at the pace of the last ones, in words.
    fn time_left(&self, head: Height, blocks: u32) -> anyhow::Result<String> {
        let since = Height(head.0.saturating_sub(PACE_BLOCKS).max(1));
        let timestamp =
            |height| anyhow::Ok(self.reader.block_at(height)?.map(|found| found.block.header.context()).transpose()?);
        let (Some(first), Some(last)) = (timestamp(since)?, timestamp(head)?) else { return Ok("unknown".to_owned()) };
        let counted = u64::from(head.0.saturating_sub(since.0));
        let elapsed_ms = last.timestamp.0.saturating_sub(first.timestamp.0);
        Ok(match elapsed_ms.saturating_mul(u64::from(blocks)).checked_div(counted) {
            Some(ms) => in_words(Duration::from_millis(ms)),
            None => "unknown".to_owned(),
        })
    }
}

/// Days and hours, hours and minutes, or minutes.
fn in_words(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    let (days, hours) = (minutes / (24 * 60), minutes / 60 % 24);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_told_in_the_units_that_matter() {
        for (seconds, expected) in [(59, "0 min"), (61, "1 min"), (3_600, "1 h 0 min"), (86_399, "23 h 59 min")] {
            assert_eq!(in_words(Duration::from_secs(seconds)), expected);
        }
        assert_eq!(in_words(Duration::from_secs(3 * 86_400 + 7_200)), "3 d 2 h");
    }
}
