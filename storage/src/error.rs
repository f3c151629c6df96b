//! Errors of the database port.

use crate::table::Table;

/// What an error asks of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The request is wrong: refuse it.
    Invalid,
    /// The answer is not here now: ask later or elsewhere.
    Unavailable,
    /// The node cannot go on: stop it.
    Fatal,
}

/// Why the database did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// The engine below failed: disk full, I/O error, corrupted file.
    #[error("the database failed to {operation}: {reason}; check the disk for space and errors, then restart")]
    Engine {
        /// What was tried: `read`, `scan` or `write`.
        operation: &'static str,
        /// What the engine said.
        reason: String,
    },
    /// A record does not decode.
    #[error("table `{table}` holds a damaged record: {reason}; restore the data directory or sync again")]
    Damaged {
        /// The table.
        table: Table,
        /// What is wrong with it.
        reason: String,
    },
    /// A record that another record promises is not there.
    #[error("table `{table}` lacks a record: {reason}; restore the data directory or sync again")]
    Missing {
        /// The table.
        table: Table,
        /// What was looked for.
        reason: String,
    },
}

impl DatabaseError {
    /// Every failure of the database stops the node: going on could lose or contradict what was promised.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        ErrorClass::Fatal
    }

    /// A damaged record of `table`.
    pub fn damaged(table: Table, reason: impl ToString) -> Self {
        Self::Damaged { table, reason: reason.to_string() }
    }
}
