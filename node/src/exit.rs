//! Exit codes: one number for each kind of failure, the same in every command, listed in `docs/operations.md`.

use std::fmt;

/// Why the program ended, as scripts and service managers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ExitKind {
    /// Something failed that no other code describes.
    Failure = 1,
    /// The command line is wrong; the argument parser uses this number too.
    Usage = 2,
    /// The configuration is wrong: unknown key, value out of range, refused combination.
    Config = 3,
    /// The chain spec cannot be read or is wrong.
    ChainSpec = 4,
    /// A listening address is taken or cannot be used.
    Address = 5,
    /// The database is locked by another process.
    DatabaseLocked = 6,
    /// The database is damaged or of a format that this binary does not know.
    DatabaseDamaged = 7,
    /// The data belongs to another chain than the one chosen.
    WrongChain = 8,
    /// A key file is missing, unreadable or wrong.
    Key = 9,
    /// The node at the given URL does not answer.
    Unreachable = 10,
    /// The node answered and refused the request.
    Refused = 11,
    /// A proof, header or certificate does not hold.
    Proof = 12,
    /// A node process of a network on this machine ended by itself.
    Child = 13,
    /// What was waited for did not happen in time.
    Timeout = 14,
    /// What was asked for does not exist.
    NotFound = 15,
    /// The chain comes to rules that this binary does not have.
    UnknownRules = 16,
}

impl ExitKind {
    /// All kinds, in the order of their numbers.
    #[cfg(test)]
    const ALL: [Self; 16] = [
        Self::Failure,
        Self::Usage,
        Self::Config,
        Self::ChainSpec,
        Self::Address,
        Self::DatabaseLocked,
        Self::DatabaseDamaged,
        Self::WrongChain,
        Self::Key,
        Self::Unreachable,
        Self::Refused,
        Self::Proof,
        Self::Child,
        Self::Timeout,
        Self::NotFound,
        Self::UnknownRules,
    ];

    /// The number that the process ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// An error with the code that the process shall end with.
#[derive(Debug)]
pub struct Failure {
    kind: ExitKind,
    message: String,
}

impl Failure {
    /// A failure with a message for the operator.
    pub fn new(kind: ExitKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Attaches an exit code to the error of a result.
pub trait ExitContext<T> {
    /// Adds a message and the code to end with.
    ///
    /// # Errors
    /// The error of `self`, with both.
    fn exit_with(self, kind: ExitKind, message: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E> ExitContext<T> for Result<T, E>
where
    E: Into<anyhow::Error>,
{
    fn exit_with(self, kind: ExitKind, message: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|error| error.into().context(Failure::new(kind, message)))
    }
}

/// The code for an error: the one nearest to the top of its chain, else [`ExitKind::Failure`].
#[must_use]
pub fn kind_of(error: &anyhow::Error) -> ExitKind {
    // A context is found by downcasting the error itself, a plain failure further down by its cause.
    error
        .downcast_ref::<Failure>()
        .or_else(|| error.chain().find_map(|cause| cause.downcast_ref::<Failure>()))
        .map_or(ExitKind::Failure, |failure| failure.kind)
}

/// The error and its causes on one line.
#[must_use]
pub fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // A wrapper often repeats its source: say it once.
        if line.contains(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(text.trim_end());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{ExitContext as _, ExitKind, Failure, kind_of, one_line};
    use anyhow::Context as _;

    #[test]
    fn exit_kinds_all_have_their_own_code() {
        let codes: Vec<u8> = ExitKind::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes, (1..=16).collect::<Vec<u8>>());
    }

    #[test]
    fn failure_under_further_context_keeps_its_code() {
        let error = Err::<(), _>(std::io::Error::other("taken"))
            .exit_with(ExitKind::Address, "cannot listen")
            .context("cannot start")
            .unwrap_err();
        assert_eq!(kind_of(&error), ExitKind::Address);
        assert_eq!(one_line(&error), "cannot start: cannot listen: taken");
    }

    #[test]
    fn failure_at_the_bottom_keeps_its_code() {
        let error = anyhow::Error::new(Failure::new(ExitKind::Key, "no key")).context("cannot sign");
        assert_eq!(kind_of(&error), ExitKind::Key);
    }

    #[test]
    fn plain_error_gets_the_general_code() {
        assert_eq!(kind_of(&anyhow::anyhow!("odd")), ExitKind::Failure);
    }
}
