//! How far long work is: a bar on a terminal, a line for each tenth elsewhere; on standard error.

use crate::output::Output;
use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

/// Characters of the bar.
const WIDTH: u64 = 40;

/// Shows the progress of one piece of work.
pub struct Progress {
    what: &'static str,
    is_terminal: bool,
    is_silent: bool,
    began: Instant,
    /// The percent or tenth that was shown last.
    shown: Option<u64>,
}

impl Progress {
    /// Nothing is shown beside a JSON answer.
    #[must_use]
    pub fn new(what: &'static str, output: Output) -> Self {
        let (is_terminal, is_silent) = (std::io::stderr().is_terminal(), output == Output::Json);
        Self { what, is_terminal, is_silent, began: Instant::now(), shown: None }
    }

    /// As [`Self::at`], for pieces.
    pub fn at_index(&mut self, done: usize, all: usize) {
        self.at(u64::try_from(done).unwrap_or(u64::MAX), u64::try_from(all).unwrap_or(u64::MAX));
    }

    /// Shows that `done` of `all` is done, where that is news.
    pub fn at(&mut self, done: u64, all: u64) {
        let percent = done.saturating_mul(100).checked_div(all).unwrap_or(100).min(100);
        let step = if self.is_terminal { percent } else { percent / 10 };
        if self.is_silent || self.shown.replace(step) == Some(step) {
            return;
        }
        let (what, seconds) = (self.what, self.began.elapsed().as_secs());
        let mut out = std::io::stderr().lock();
        // Whoever does not want to see it loses nothing.
        let _shown = if self.is_terminal {
            let full = usize::try_from(percent * WIDTH / 100).unwrap_or_default();
            let rest = usize::try_from(WIDTH).unwrap_or_default() - full;
            write!(out, "\r{what} [{}{}] {percent:3} % {seconds} s ", "#".repeat(full), " ".repeat(rest))
        } else {
            writeln!(out, "{what}: {percent} % after {seconds} s")
        }
        .and_then(|()| out.flush());
    }

    /// Ends the bar.
    pub fn end(&mut self) {
        if self.is_terminal && self.shown.is_some() {
            eprintln!();
        }
    }
}
