//! The logs of nodes, read on from where they were read before.

use anyhow::ensure;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

/// What no honest node that is killed and started again has to say. A damaged or repaired database and evidence of a second
/// vote are logged as errors; a panic says so itself.
const ALARMS: [&str; 4] = ["ERROR", "panicked at", "exclude each other", "repair"];

/// One node's log.
#[derive(Debug)]
pub(super) struct Log {
    file: PathBuf,
    read: u64,
}

impl Log {
    pub(super) const fn new(file: PathBuf) -> Self {
        Self { file, read: 0 }
    }

    /// Reads on.
    ///
    /// # Errors
    /// The log holds an alarm.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        let Ok(mut file) = File::open(&self.file) else { return Ok(()) };
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        // A line that is being written is read with the next ones.
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |position| position.saturating_add(1));
        bytes.truncate(end);
        self.read = self.read.saturating_add(u64::try_from(end)?);
        let text = String::from_utf8_lossy(&bytes);
        let alarm = text.lines().find(|line| ALARMS.iter().any(|alarm| line.contains(alarm)));
        ensure!(alarm.is_none(), "{} holds: {}", self.file.display(), alarm.unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Log;
    use std::fs;

    #[test]
    fn log_with_an_alarm_after_the_first_reading_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.log");
        let mut log = Log::new(file.clone());
        assert!(log.check().is_ok(), "no log yet");
        fs::write(&file, "INFO fine\nWARN a validator").unwrap();
        log.check().unwrap();
        fs::write(&file, "INFO fine\nWARN a validator went\nERROR two votes\n").unwrap();
        assert!(log.check().unwrap_err().to_string().contains("two votes"));
    }
}
