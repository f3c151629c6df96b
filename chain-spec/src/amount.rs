//! Amounts of the chain's token as JSON writes them.

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// An amount in base units: a string of decimal digits, or a whole number where it is small enough for JSON.
///
/// Written back as a string, because JSON numbers above 2^53 change their value in many programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(pub u128);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AmountVisitor)
    }
}

struct AmountVisitor;

impl Visitor<'_> for AmountVisitor {
    type Value = Amount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount in base units: decimal digits in quotes, or a whole number")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Amount, E> {
        Ok(Amount(value.into()))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(E::invalid_value(de::Unexpected::Str(text), &self));
        }
        text.parse().map(Amount).map_err(|_| E::custom(format!("{text} is more than 128 bits can hold")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amount_as_digits_or_number_is_read() {
        let largest = u128::MAX.to_string();
        assert_eq!(serde_json::from_str::<Amount>(&format!("\"{largest}\"")).unwrap(), Amount(u128::MAX));
        assert_eq!(serde_json::from_str::<Amount>("18446744073709551615").unwrap(), Amount(u64::MAX.into()));
        assert_eq!(serde_json::from_str::<Amount>("\"0\"").unwrap(), Amount(0));
    }

    #[test]
    fn amount_that_is_no_whole_number_of_base_units_is_refused() {
        for text in ["1.5", "-1", "1e3", "18446744073709551616", "\"\"", "\"+1\"", "\"1_000\"", "\"0x10\"", "null"] {
            assert!(serde_json::from_str::<Amount>(text).is_err(), "{text}");
        }
        let error = serde_json::from_str::<Amount>("\"340282366920938463463374607431768211456\"").unwrap_err();
        assert!(error.to_string().contains("128 bits"), "{error}");
    }

    #[test]
    fn amount_written_is_a_string() {
        assert_eq!(serde_json::to_string(&Amount(u128::MAX)).unwrap(), format!("\"{}\"", u128::MAX));
    }
}
