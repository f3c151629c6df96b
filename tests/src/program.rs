//! The end of a program of this package.

use std::fmt;
use std::process::ExitCode;

/// Prints a report, or why there is none, and says so to whoever started the program.
#[must_use]
pub fn finish(outcome: anyhow::Result<impl fmt::Display>) -> ExitCode {
    match outcome {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
