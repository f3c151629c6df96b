//! Progress of long work on standard error: a bar on a terminal, a line now and then elsewhere, nothing with `--json`.

use crate::output::Output;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a bar is drawn.
const BAR_EVERY: Duration = Duration::from_millis(200);
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// The width of a bar, in characters.
const BAR_WIDTH: u64 = 30;

/// Where progress goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Bar,
    Lines,
    Silent,
}

/// The progress of one command; shared by its threads.
#[derive(Debug)]
pub struct Progress {
    style: Style,
    started: Instant,
    drawn: Mutex<Drawn>,
}

#[derive(Debug, Default)]
struct Drawn {
    last: Option<Instant>,
    width: usize,
}

impl Progress {
    /// Begins now.
    #[must_use]
    pub fn new(output: Output) -> Self {
        let style = match output {
            Output::Json => Style::Silent,
            Output::Text if std::io::stderr().is_terminal() => Style::Bar,
            Output::Text => Style::Lines,
        };
        Self { style, started: Instant::now(), drawn: Mutex::default() }
    }

    /// Tells how far a step is: what it counts, done, and the total where it is known.
    pub fn tell(&self, what: &str, done: u64, total: Option<u64>) {
        let every = match self.style {
            Style::Bar => BAR_EVERY,
            Style::Lines => LINE_EVERY,
            Style::Silent => return,
        };
        // What was drawn is only for the eye: a panic elsewhere does not matter here.
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let began = drawn.last.unwrap_or(self.started);
        if now.duration_since(began) < every {
            return;
        }
        drawn.last = Some(now);
        let text = line(what, done, total, self.rate(done));
        let shown = match self.style {
            Style::Bar => format!("\r{text:<width$}", width = drawn.width),
            Style::Lines | Style::Silent => format!("{text}\n"),
        };
        drawn.width = text.len();
        write(&shown);
    }

    /// As [`Self::tell`], for pieces.
    pub fn tell_index(&self, what: &str, done: usize, total: usize) {
        self.tell(what, u64::try_from(done).unwrap_or(u64::MAX), Some(u64::try_from(total).unwrap_or(u64::MAX)));
    }

    /// Clears the bar.
    pub fn finish(&self) {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.style == Style::Bar && drawn.width > 0 {
            write(&format!("\r{:width$}\r", "", width = drawn.width));
            drawn.width = 0;
        }
    }

    /// Seconds since the beginning.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// So many a second since the beginning.
    #[must_use]
    pub fn rate(&self, count: u64) -> u64 {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        count.saturating_mul(1_000) / millis
    }
}

fn write(text: &str) {
    let mut out = std::io::stderr().lock();
    // Nobody reads it any more: the work goes on.
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {}
}

fn line(what: &str, done: u64, total: Option<u64>, rate: u64) -> String {
    let mut text = String::new();
    if let Some(total) = total.filter(|total| *total > 0) {
        let filled = done.min(total) * BAR_WIDTH / total;
        let bar: String = (0..BAR_WIDTH).map(|place| if place < filled { '#' } else { '.' }).collect();
        if write!(text, "[{bar}] {what} {done} of {total}, {rate}/s").is_err() {}
    } else if write!(text, "{what} {done}, {rate}/s").is_err() {
    }
    text
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn progress_line_shows_share_count_and_rate() {
        assert_eq!(line("blocks", 50, Some(100), 7), "[###############...............] blocks 50 of 100, 7/s");
        assert_eq!(line("leaves", 3, None, 1), "leaves 3, 1/s");
        assert!(line("blocks", 200, Some(100), 7).starts_with("[##############################]"));
    }
}
