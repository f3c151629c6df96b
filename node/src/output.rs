//! What commands print: words for people or one JSON document, on standard output.

use anyhow::Context as _;
use serde_json::Value;
use std::io::Write as _;

/// The form of a command's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Words.
    Text,
    /// One JSON document on one line, so that several make a stream.
    Json,
}

impl Output {
    /// The form that `--json` asks for.
    #[must_use]
    pub const fn of_flag(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }

    /// Prints an answer. A reader that has read enough and left, such as `head`, is no error.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn print(self, value: &Value, text: &str) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        let printed = match self {
            Self::Text => writeln!(out, "{}", text.trim_end()),
            Self::Json => writeln!(out, "{value}"),
        };
        match printed.and_then(|()| out.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome.context("cannot write to standard output"),
        }
    }

    /// Prints a step of longer work, for people only.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn step(self, text: &str) -> anyhow::Result<()> {
        match self {
            Self::Text => self.print(&Value::Null, text),
            Self::Json => Ok(()),
        }
    }
}

/// Lines of `label  value` with the values aligned.
#[must_use]
pub fn table(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
    rows.iter().map(|(label, value)| format!("{label:<width$}  {value}\n")).collect()
}

/// An amount of base units as a decimal number with its symbol.
#[must_use]
pub fn amount(base_units: u128, decimals: u8, symbol: &str) -> String {
    let digits = format!("{base_units:0>width$}", width = usize::from(decimals) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(decimals));
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{whole}{point}{fraction} {symbol}")
}

/// A decimal number of tokens in base units.
///
/// # Errors
/// Not a number, more decimals than the token has, or too large.
pub fn parse_amount(text: &str, decimals: u8) -> Result<u128, String> {
    let refused = || format!("`{text}` is not an amount: write it like 10 or 0.25, with at most {decimals} decimals");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) || fraction.len() > usize::from(decimals) {
        return Err(refused());
    }
    if text.ends_with('.') {
        return Err(refused());
    }
    let digits = format!("{whole}{fraction:0<width$}", width = usize::from(decimals));
    digits.parse().map_err(|_| format!("{text} is more than the chain can count"))
}

#[cfg(test)]
mod tests {
    use super::{amount, parse_amount, table};

    #[test]
    fn amount_parsed_and_printed_is_the_same() {
        for (text, units) in [("10", 10_000), ("0.25", 250), ("0.001", 1), ("0", 0), ("1234.5", 1_234_500)] {
            assert_eq!(parse_amount(text, 3), Ok(units));
            assert_eq!(amount(units, 3, "CRN"), format!("{text} CRN"));
        }
        assert_eq!(amount(7, 0, "X"), "7 X");
        assert_eq!(parse_amount("7", 0), Ok(7));
    }

    #[test]
    fn amount_malformed_or_too_fine_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "1e3", "0.0001", "1,5", "1_000", "+1", "0x10", " 1"] {
            assert!(parse_amount(text, 3).is_err(), "{text}");
        }
        assert!(parse_amount("340282366920938463463374607431768211456", 0).is_err());
        assert_eq!(parse_amount("340282366920938463463374607431768211455", 0), Ok(u128::MAX));
    }

    #[test]
    fn table_aligns_values() {
        assert_eq!(table(&[("a", "1".into()), ("long", "2".into())]), "a     1\nlong  2\n");
    }
}
