//! What happened, as a running hash and, where wanted, as text.

use cairn_primitives::Hash;
use cairn_primitives::hash::sha256_concat;
use std::fmt;
use std::io::Write;

/// The running hash of a run: two runs that differ in one event differ here.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: Hash,
    events: u64,
    is_printing: bool,
}

impl Trace {
    /// An empty trace; `is_printing` says whether every event goes to standard output, too.
    #[must_use]
    pub(crate) const fn new(is_printing: bool) -> Self {
        Self { hash: Hash::ZERO, events: 0, is_printing }
    }

    /// Adds an event: its time, the machine it happens at, and what it is.
    pub(crate) fn add(&mut self, time_ms: u64, machine: usize, what: &dyn fmt::Display) {
        let text = what.to_string();
        let machine_bytes = (machine as u64).to_le_bytes();
        self.hash = sha256_concat(&[&self.hash.0, &time_ms.to_le_bytes(), &machine_bytes, text.as_bytes()]);
        self.events += 1;
        if self.is_printing {
            print(format_args!("{time_ms:>8} ms  node {machine:<2} {text}"));
        }
    }

    /// Prints a remark that is not part of the hash.
    pub(crate) fn remark(&self, time_ms: u64, machine: usize, what: &dyn fmt::Display) {
        if self.is_printing {
            print(format_args!("{time_ms:>8} ms  node {machine:<2}   {what}"));
        }
    }

    /// The hash of everything so far.
    #[must_use]
    pub(crate) const fn hash(&self) -> Hash {
        self.hash
    }

    /// How many events there were.
    #[must_use]
    pub(crate) const fn events(&self) -> u64 {
        self.events
    }
}

/// Prints a line; whoever reads may leave before the end.
fn print(line: fmt::Arguments<'_>) {
    let mut output = std::io::stdout().lock();
    drop(writeln!(output, "{line}"));
}
